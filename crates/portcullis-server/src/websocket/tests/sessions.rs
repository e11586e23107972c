//! Sessions and connections are not the same thing: one outlives the other (J7–J9), and the other ends for reasons of its own.

use std::time::Duration;

use portcullis_core::upstream::Media;

use super::{LIST, MODERN, with_key};
use crate::settings::IdentitySettings;
use crate::testing::sockets::{Socket, sockets};
use crate::testing::{
    CannedUpstream, DenyList, INITIALIZE, INITIALIZED, Running, fed, from_server, ordinary, reply, start_with,
};
use crate::websocket::WebSocketListener;

const SLOW: &str = r#"{"jsonrpc":"2.0","id":5,"method":"tools/call","params":{"name":"slow","arguments":{}}}"#;

/// A server whose tool `slow` is answered by the test, and a client of the draft in a session.
async fn slow() -> (Running, crate::testing::Feed, Socket, String) {
    let (feed, held) = fed(Media::EventStream);
    let held = std::sync::Mutex::new(Some(held));
    let upstream = CannedUpstream::new(move |call| match call.name() {
        Some("slow") => Ok(held.lock().unwrap().take().unwrap()),
        _ => ordinary(call),
    });
    let running = start_with(upstream, DenyList(&[]), sockets(WebSocketListener::default())).await;
    let mut socket = running.socket("mcp.version.2025-11-25").await;
    let told = socket.ask(INITIALIZE).await;
    let session = told.split(r#""mcpSessionId":""#).nth(1).unwrap().split('"').next().unwrap().to_owned();
    socket.say(r#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#).await;
    (running, feed, socket, session)
}

fn again(session: &str) -> String {
    INITIALIZE.replacen('{', &format!(r#"{{"mcpSessionId":"{session}","#), 1).replace(r#""id":0"#, r#""id":"again""#)
}

/// Waits until the server was sent something.
async fn sent(running: &Running, what: &str) {
    while !running.upstream.sent().iter().any(|sent| sent.contains(what)) {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn j8_j9_a_lost_connection_ends_nothing_and_the_next_gets_the_answer() {
    let (running, feed, mut socket, session) = slow().await;
    socket.say(SLOW).await;
    sent(&running, "slow").await;
    socket.left().await;
    feed.send(Ok(from_server(r#"{"jsonrpc":"2.0","id":5,"result":{"content":[]}}"#))).await.unwrap();
    let mut back = running.socket("mcp.version.2025-11-25").await;
    let (mut greeted, mut answered) = (false, false);
    back.say(&again(&session)).await;
    while !(greeted && answered) {
        let heard = back.hear().await;
        greeted |= heard.contains(r#""id":"again""#) && heard.contains("protocolVersion");
        answered |= heard.contains(r#""id":5,"#);
    }
    let initializes = running.upstream.sent().iter().filter(|sent| sent.contains(r#""initialize""#)).count();
    assert_eq!(initializes, 1, "the server was told once");
    assert!(back.ask(LIST).await.contains(r#""result":{}"#));
}

/// Two members of one name would be nobody's JSON, and the server's id leads nowhere here.
#[tokio::test]
async fn a_session_id_that_the_server_names_reaches_no_client() {
    let upstream = CannedUpstream::new(|call| match call.method() {
        "initialize" => {
            let text = format!(r#"{{"jsonrpc":"2.0","mcpSessionId":"the-servers","id":0,"result":{INITIALIZED}}}"#);
            Ok(reply(Media::Json, vec![from_server(text)]))
        }
        _ => ordinary(call),
    });
    let running = start_with(upstream, DenyList(&[]), sockets(WebSocketListener::default())).await;
    for (protocol, ids) in [("mcp", 0), ("mcp.version.2025-11-25", 1)] {
        let told = running.socket(protocol).await.ask(INITIALIZE).await;
        assert_eq!(told.matches("mcpSessionId").count(), ids, "{told}");
        assert!(!told.contains("the-servers") && told.contains("protocolVersion"), "{told}");
    }
}

#[tokio::test]
async fn j9_whoever_comes_back_has_the_session_and_the_connection_before_is_closed() {
    let (running, _feed, mut old, session) = slow().await;
    let mut new = running.socket("mcp.version.2025-11-25").await;
    new.say(&again(&session)).await;
    assert_eq!(old.closed().await, (1000, "MCP session reconnected on another connection".into()));
    assert!(new.hear().await.contains(r#""id":"again""#));
    let named = LIST.replacen('{', &format!(r#"{{"mcpSessionId":"{session}","#), 1);
    assert!(new.ask(&named).await.contains(r#""result":{}"#));
    assert!(!running.upstream.sent().join("").contains("mcpSessionId"), "no server sees an id of ours");
}

#[tokio::test]
async fn j7_a_session_that_is_not_this_callers_or_not_this_connections_is_unknown() {
    let (running, _feed, mut socket, session) = slow().await;
    let mut other = running.socket("mcp.version.2025-11-25").await;
    let named = LIST.replacen('{', &format!(r#"{{"mcpSessionId":"{session}","#), 1);
    assert!(other.ask(&named).await.contains("session_unknown"), "without `initialize`");
    assert!(other.ask(&again("forged")).await.contains("session_unknown"));
    let escaped = named.replace("mcpSessionId", r"mcpSession\u0049d");
    assert!(other.ask(&escaped).await.contains("session_unknown"), "however it is written");
    assert!(socket.ask(LIST).await.contains("result"), "and nobody was closed for it");
}

#[tokio::test]
async fn a_session_that_nobody_can_come_back_to_ends_with_its_connection() {
    let mut settings = sockets(WebSocketListener::default());
    // Less than the clock shows, so that only who left for ever has been idle for so long.
    settings.sessions.idle_seconds = 500;
    let running = start_with(CannedUpstream::new(ordinary), DenyList(&[]), settings).await;
    let socket = running.socket("mcp").await.initialized().await;
    sent(&running, "notifications/initialized").await;
    assert!(running.gateway.sessions.expire(running.gateway.clock.now()).is_empty());
    socket.left().await;
    while running.gateway.sessions.expire(running.gateway.clock.now()).is_empty() {
        tokio::task::yield_now().await;
    }
    assert_eq!(running.gateway.open_sessions(), 0);
}

#[tokio::test]
async fn c8_a_modern_request_is_cancelled_by_a_notification_and_by_the_end_of_its_connection() {
    for hangs_up in [false, true] {
        let (feed, held) = fed(Media::EventStream);
        let held = std::sync::Mutex::new(Some(held));
        let upstream = CannedUpstream::new(move |_| Ok(held.lock().unwrap().take().unwrap()));
        let running = start_with(upstream, DenyList(&[]), sockets(WebSocketListener::default())).await;
        let mut socket = running.socket("mcp").await;
        socket.say(MODERN).await;
        sent(&running, "tools/list").await;
        assert!(socket.ask(MODERN).await.contains("id_in_use"), "C11");
        if hangs_up {
            drop(socket);
        } else {
            let cancel = r#"{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":"m"}}"#;
            socket.say(cancel).await;
        }
        feed.closed().await;
        assert_eq!(running.outcomes(1).await, ["abandoned"]);
        assert!(!running.upstream.sent().iter().any(|sent| sent.contains("cancelled")), "told in the server's own way");
    }
}

#[tokio::test]
async fn j13_a_caller_that_is_known_no_more_is_closed_even_while_it_is_silent() {
    let running = start_with(CannedUpstream::new(ordinary), DenyList(&[]), with_key()).await;
    let (socket, _) = running.shake("/mcp/ws", &[("authorization", "Bearer ana")]).await.unwrap();
    let mut socket = socket.initialized().await;
    running
        .gateway
        .reload_identity(&IdentitySettings { anonymous: Some(true), ..IdentitySettings::default() })
        .unwrap();
    assert_eq!(socket.closed().await.0, 1008);
}

#[tokio::test]
async fn j13_a_key_that_expires_closes_its_connections() {
    let mut settings = with_key();
    settings.identity.keys[0].expires = Some(crate::identify::Expiry::parse("1970-01-02").unwrap());
    let running = start_with(CannedUpstream::new(ordinary), DenyList(&[]), settings).await;
    let (socket, _) = running.shake("/mcp/ws", &[("authorization", "Bearer ana")]).await.unwrap();
    let mut socket = socket.initialized().await;
    running.clock.advance(Duration::from_secs(2 * 86_400));
    socket.say(LIST).await;
    assert_eq!(socket.closed().await.0, 1008);
}

#[tokio::test]
async fn a_reload_that_changes_nothing_about_a_caller_leaves_its_connection_open() {
    let running = start_with(CannedUpstream::new(ordinary), DenyList(&[]), with_key()).await;
    let (socket, _) = running.shake("/mcp/ws", &[("authorization", "Bearer ana")]).await.unwrap();
    let mut socket = socket.initialized().await;
    running.gateway.reload_identity(&with_key().identity).unwrap();
    assert!(socket.ask(LIST).await.contains(r#""result":{}"#));
}

#[tokio::test]
async fn a_gateway_that_stops_lets_calls_finish_and_then_closes_with_1001() {
    let (running, feed, mut socket, _) = slow().await;
    socket.say(SLOW).await;
    sent(&running, "slow").await;
    running.shutdown.cancel();
    while !running.gateway.draining.is_said() {
        tokio::task::yield_now().await;
    }
    assert!(socket.ask(LIST).await.contains("shutting_down"), "no new ones");
    feed.send(Ok(from_server(r#"{"jsonrpc":"2.0","id":5,"result":{"content":[]}}"#))).await.unwrap();
    assert!(socket.hear().await.contains(r#""id":5,"#));
    assert_eq!(socket.closed().await.0, 1001);
    tokio::time::timeout(Duration::from_secs(20), running.stopped).await.unwrap().unwrap();
    assert!(running.ledger.is_balanced());
}
