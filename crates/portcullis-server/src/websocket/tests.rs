//! Sockets from outside: handshakes, messages of both eras, sessions that change their connection, and clients that misbehave.

mod hostile;
mod sessions;

use portcullis_core::upstream::Media;
use portcullis_core::version::Era;

use super::WebSocketListener;
use crate::settings::{IdentitySettings, ServerSettings};
use crate::testing::sockets::sockets;
use crate::testing::{CannedUpstream, DenyList, Running, api_key, fed, from_server, ordinary, start, start_with};

pub(super) async fn usual() -> Running {
    start_with(CannedUpstream::new(ordinary), DenyList(&[]), sockets(WebSocketListener::default())).await
}

fn with_key() -> ServerSettings {
    let identity = IdentitySettings { keys: vec![api_key("ana")], ..IdentitySettings::default() };
    ServerSettings { identity, ..sockets(WebSocketListener::default()) }
}

const LIST: &str = r#"{"jsonrpc":"2.0","id":1,"method":"tools/list"}"#;
const MODERN: &str = r#"{"jsonrpc":"2.0","id":"m","method":"tools/list","params":{"_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientCapabilities":{}}}}"#;

#[tokio::test]
async fn j12_nothing_is_upgraded_unless_the_operator_says_so() {
    let running = start(CannedUpstream::new(ordinary)).await;
    assert_eq!(running.unshaken("/mcp/ws", &[]).await, (404, "path_unknown".into()));
    assert_eq!(running.unshaken("/mcp", &[]).await, (406, "not_acceptable".into()));
}

#[tokio::test]
async fn j4_a_socket_is_opened_at_both_paths_and_the_subprotocol_is_the_one_that_is_spoken() {
    let running = usual().await;
    for path in ["/mcp", "/mcp/ws"] {
        let offered = [("sec-websocket-protocol", "mcp.version.2025-11-25, mcp")];
        let (_socket, response) = running.shake(path, &offered).await.unwrap();
        assert_eq!(response.headers()["sec-websocket-protocol"], "mcp.version.2025-11-25");
        assert!(!response.headers().contains_key("sec-websocket-extensions"), "no compression");
    }
    let (_socket, response) = running.shake("/mcp/ws", &[]).await.unwrap();
    assert!(!response.headers().contains_key("sec-websocket-protocol"));
    let unknown = [("sec-websocket-protocol", "graphql-ws")];
    assert_eq!(running.unshaken("/mcp/ws", &unknown).await, (400, "subprotocol_unknown".into()));
}

#[tokio::test]
async fn j13_origin_and_host_are_checked_before_anything_else() {
    let running = usual().await;
    let foreign = [("origin", "https://evil.example"), ("sec-websocket-protocol", "nothing we speak")];
    assert_eq!(running.unshaken("/mcp/ws", &foreign).await, (403, "origin_refused".into()));
    // By hand: the library writes the host of its own.
    let elsewhere =
        running.client().with("host", "evil.example").with("connection", "upgrade").with("upgrade", "websocket");
    let refused = elsewhere.get().await;
    assert!(refused.status == 403 && refused.body.contains("host_refused"), "{refused:?}");
    let own = format!("http://{}", running.addr);
    assert!(running.shake("/mcp/ws", &[("origin", &own)]).await.is_ok());
}

#[tokio::test]
async fn j14_a_key_is_shown_in_a_header_or_as_a_subprotocol_and_a_wrong_one_opens_nothing() {
    let running = start_with(CannedUpstream::new(ordinary), DenyList(&[]), with_key()).await;
    for good in [
        &[("authorization", "Bearer ana")][..],
        &[("x-api-key", "ana")],
        &[("sec-websocket-protocol", "mcp, mcp.auth.ana")],
    ] {
        let (socket, response) = running.shake("/mcp/ws", good).await.unwrap();
        assert!(!format!("{response:?}").contains("ana"), "J14: {response:?}");
        socket.initialized().await;
    }
    for (bad, refused) in [
        (&[][..], (401, "unauthenticated")),
        (&[("sec-websocket-protocol", "mcp, mcp.auth.bob")], (401, "unauthenticated")),
        (&[("sec-websocket-protocol", "mcp, mcp.auth.ana, mcp.auth.ana")], (400, "credentials_malformed")),
        (&[("sec-websocket-protocol", "mcp, mcp.auth.ana"), ("x-api-key", "ana")], (400, "credentials_malformed")),
    ] {
        let (status, code) = running.unshaken("/mcp/ws", bad).await;
        assert_eq!((status, code.as_str()), refused, "{bad:?}");
    }
}

#[tokio::test]
async fn where_every_body_must_be_signed_or_chained_there_are_no_sockets() {
    let mut signed = sockets(WebSocketListener::default());
    (signed.identity.chains.required, signed.identity.chains.gateway) = (true, Some("hub".into()));
    let running = start_with(CannedUpstream::new(ordinary), DenyList(&[]), signed).await;
    assert_eq!(running.unshaken("/mcp/ws", &[]).await.1, "chain_malformed");
    let running = usual().await;
    let chained = [("x-upstream-agents", "a")];
    assert_eq!(running.unshaken("/mcp/ws", &chained).await.1, "chain_malformed", "a chain is never taken for none");
}

#[tokio::test]
async fn a_legacy_client_initializes_calls_and_is_answered_by_id() {
    let running = usual().await;
    let mut socket = running.socket("mcp").await;
    assert!(socket.ask(LIST).await.contains("session_missing"), "nothing before `initialize`");
    let mut socket = socket.initialized().await;
    assert_eq!(socket.ask(LIST).await, r#"{"jsonrpc":"2.0","id":1,"result":{}}"#);
    let sent = running.upstream.sent().join("\n");
    assert!(sent.contains("notifications/initialized") && sent.contains("tools/list"), "{sent}");
}

/// The TypeScript SDK reads envelopes strictly: only a client of the draft is told an id.
#[tokio::test]
async fn j7_a_client_of_the_draft_is_told_its_session_and_no_other() {
    let running = usual().await;
    let plain = running.socket("mcp").await.ask(crate::testing::INITIALIZE).await;
    assert!(!plain.contains("mcpSessionId"), "{plain}");
    let draft = running.socket("mcp.version.2025-11-25").await.ask(crate::testing::INITIALIZE).await;
    assert!(draft.contains(r#""mcpSessionId":""#), "{draft}");
}

#[tokio::test]
async fn j15_a_modern_message_says_its_version_in_its_body_and_needs_no_headers() {
    let upstream = CannedUpstream::new(|call| {
        assert_eq!(call.era(), Era::Modern);
        ordinary(call)
    });
    let running = start_with(upstream, DenyList(&[]), sockets(WebSocketListener::default())).await;
    let mut socket = running.socket("mcp.version.2026-07-28").await;
    assert_eq!(socket.ask(MODERN).await, r#"{"jsonrpc":"2.0","id":"m","result":{}}"#);
    let unknown = MODERN.replace("2026-07-28", "2031-01-01");
    assert!(socket.ask(&unknown).await.contains("-32022"), "C18");
    let untyped = MODERN.replace(r#""2026-07-28""#, "7");
    assert!(socket.ask(&untyped).await.contains("meta_missing"), "C14");
}

#[tokio::test]
async fn answers_come_when_they_are_there_and_requests_of_the_server_go_both_ways() {
    let (first, held) = fed(Media::EventStream);
    let held = std::sync::Mutex::new(Some(held));
    let upstream = CannedUpstream::new(move |call| match call.name() {
        Some("slow") => Ok(held.lock().unwrap().take().unwrap()),
        _ => ordinary(call),
    });
    let running = start_with(upstream, DenyList(&[]), sockets(WebSocketListener::default())).await;
    let mut socket = running.socket("mcp").await.initialized().await;
    socket.say(r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"slow","arguments":{}}}"#).await;
    let quick = r#"{"jsonrpc":"2.0","id":2,"method":"tools/call","params":{"name":"quick","arguments":{}}}"#;
    assert!(socket.ask(quick).await.contains(r#""id":2,"#));
    first.send(Ok(from_server(r#"{"jsonrpc":"2.0","id":"q","method":"roots/list"}"#))).await.unwrap();
    let asked = socket.hear().await;
    assert!(asked.contains("roots/list"), "{asked}");
    socket.say(r#"{"jsonrpc":"2.0","id":"q","result":{"roots":[]}}"#).await;
    first.send(Ok(from_server(r#"{"jsonrpc":"2.0","id":1,"result":{"content":[]}}"#))).await.unwrap();
    assert!(socket.hear().await.contains(r#""id":1,"#));
    while !running.upstream.sent().iter().any(|sent| sent.contains(r#""roots":[]"#)) {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn a_refused_message_is_answered_with_its_id_and_an_unreadable_one_without() {
    let policy = DenyList(&[("tools/list", portcullis_core::refusal::Manner::Plain)]);
    let settings = sockets(WebSocketListener::default());
    let running = start_with(CannedUpstream::new(ordinary), policy, settings).await;
    let mut socket = running.socket("mcp").await.initialized().await;
    let denied = socket.ask(LIST).await;
    assert!(denied.contains(r#""id":1"#) && denied.contains("because the test says so"), "{denied}");
    assert!(socket.ask("{").await.contains("-32700"));
    assert!(socket.ask("[]").await.contains("batch"), "J5: one message each");
    assert!(socket.ask(r#"{"jsonrpc":"2.0","id":7,"id":7,"method":"ping"}"#).await.contains("error"));
}
