//! The gateway as a server of its parent: lines in, lines out.

use portcullis_core::upstream::Media;
use tokio::io::AsyncWriteExt;

use crate::settings::ServerSettings;
use crate::testing::parent::Parent;
use crate::testing::{CannedUpstream, DenyList, Feed, INITIALIZE, Running, fed, from_server, ordinary, start_with};

async fn slow() -> (Running, Feed, Parent) {
    let (feed, held) = fed(Media::EventStream);
    let held = std::sync::Mutex::new(Some(held));
    let upstream = CannedUpstream::new(move |call| match call.name() {
        Some("slow") => Ok(held.lock().unwrap().take().unwrap()),
        _ => ordinary(call),
    });
    let running = start_with(upstream, DenyList(&[]), ServerSettings::default()).await;
    let parent = Parent::of(&running);
    (running, feed, parent)
}

const LIST: &str = r#"{"jsonrpc":"2.0","id":1,"method":"tools/list"}"#;
const SLOW: &str = r#"{"jsonrpc":"2.0","id":5,"method":"tools/call","params":{"name":"slow","arguments":{}}}"#;

#[tokio::test]
async fn a_parent_initializes_and_is_answered_line_by_line_as_the_local_user() {
    let (running, _feed, mut parent) = slow().await;
    assert!(parent.ask(INITIALIZE).await.contains("protocolVersion"));
    parent.say("\r").await;
    parent.say(r#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#).await;
    assert_eq!(parent.ask(LIST).await, r#"{"jsonrpc":"2.0","id":1,"result":{}}"#);
    let records = running.ledger.records.lock().unwrap();
    let callers: Vec<_> = records
        .iter()
        .filter_map(|record| match record {
            portcullis_core::ledger::Record::Intent(intent) => Some((intent.caller.clone(), intent.proof)),
            _ => None,
        })
        .collect();
    assert!(callers.iter().all(|(name, proof)| name == "local:ada" && *proof == "stdio"), "{callers:?}");
    assert!(!callers.is_empty());
}

/// ST26: a message is one line, whatever its server wrote between the tokens.
#[tokio::test]
async fn line_breaks_of_the_server_do_not_break_lines() {
    let (_running, feed, mut parent) = slow().await;
    parent.ask(INITIALIZE).await;
    parent.say(SLOW).await;
    feed.send(Ok(from_server("{\n \"jsonrpc\": \"2.0\",\r\n \"id\": 5, \"result\": {\"text\":\"a\\nb\"}\n}")))
        .await
        .unwrap();
    let heard = parent.hear().await.unwrap();
    assert!(heard.contains(r#""id": 5"#) && heard.contains(r#"a\nb"#) && heard.ends_with('}'), "{heard}");
}

#[tokio::test]
async fn a_line_that_is_too_long_is_refused_and_the_next_one_is_read() {
    let settings = ServerSettings {
        limits: crate::settings::LimitSettings { message_bytes: 4096, ..crate::settings::LimitSettings::default() },
        ..ServerSettings::default()
    };
    let running = start_with(CannedUpstream::new(ordinary), DenyList(&[]), settings).await;
    let mut parent = Parent::of(&running);
    let refused = parent.ask(&"x".repeat(200_000)).await;
    assert!(refused.contains("error") && !refused.contains("xx"), "{refused}");
    assert!(parent.ask("not json").await.contains("-32700"));
    assert!(parent.ask(INITIALIZE).await.contains("protocolVersion"));
}

#[tokio::test]
async fn a_parent_that_closes_its_end_still_gets_what_it_asked_for() {
    let (running, feed, mut parent) = slow().await;
    parent.ask(INITIALIZE).await;
    parent.say(SLOW).await;
    while !running.upstream.sent().iter().any(|sent| sent.contains("slow")) {
        tokio::task::yield_now().await;
    }
    parent.input.shutdown().await.unwrap();
    while !running.gateway.draining.is_said() {
        tokio::task::yield_now().await;
    }
    feed.send(Ok(from_server(r#"{"jsonrpc":"2.0","id":5,"result":{"content":[]}}"#))).await.unwrap();
    assert!(parent.hear().await.unwrap().contains(r#""id":5,"#));
    assert_eq!(parent.hear().await, None, "and then the end");
    parent.served.await.unwrap();
    assert!(running.ledger.is_balanced());
}

#[tokio::test(start_paused = true)]
async fn a_call_that_outlasts_the_drain_is_answered_with_an_error() {
    let (running, _feed, mut parent) = slow().await;
    parent.ask(INITIALIZE).await;
    parent.say(SLOW).await;
    while !running.upstream.sent().iter().any(|sent| sent.contains("slow")) {
        tokio::task::yield_now().await;
    }
    parent.shutdown.cancel();
    let last = parent.hear().await.unwrap();
    assert!(last.contains(r#""id":5,"#) && last.contains("shutting_down"), "{last}");
    assert_eq!(parent.hear().await, None);
    parent.served.await.unwrap();
}

#[tokio::test]
async fn the_server_asks_its_questions_and_says_what_it_likes_over_the_same_line() {
    let (standing, held) = fed(Media::EventStream);
    let held = std::sync::Mutex::new(Some(held));
    let upstream = CannedUpstream::new(move |call| match call.message() {
        None => Ok(held.lock().unwrap().take().unwrap()),
        Some(_) => ordinary(call),
    });
    let running = start_with(upstream, DenyList(&[]), ServerSettings::default()).await;
    let mut parent = Parent::of(&running);
    parent.ask(INITIALIZE).await;
    parent.say(r#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#).await;
    standing.send(Ok(from_server(r#"{"jsonrpc":"2.0","method":"notifications/tools/list_changed"}"#))).await.unwrap();
    assert!(parent.hear().await.unwrap().contains("list_changed"));
    standing.send(Ok(from_server(r#"{"jsonrpc":"2.0","id":9,"method":"ping"}"#))).await.unwrap();
    assert!(parent.hear().await.unwrap().contains("ping"));
    parent.say(r#"{"jsonrpc":"2.0","id":9,"result":{}}"#).await;
    while !running.upstream.sent().iter().any(|sent| sent.contains(r#""id":9"#)) {
        tokio::task::yield_now().await;
    }
}
