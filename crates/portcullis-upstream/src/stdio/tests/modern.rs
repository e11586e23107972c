//! One child for everybody: ids, tokens and subscriptions of different callers never meet.

use futures_util::StreamExt;
use portcullis_core::refusal::FaultKind;
use portcullis_core::upstream::{Reply, Upstream};

use super::{Fixture, fixture, settings};
use crate::settings::{EraSetting, Secret, StdioSettings};
use crate::testing::{all, modern, modern_call, text};

fn modern_settings() -> StdioSettings {
    let mut settings = settings(EraSetting::Modern);
    settings.env.insert("MODE".into(), Secret::Value("modern".into()));
    settings
}

async fn say(fixture: &Fixture, tool: &str, id: &str) -> Reply {
    fixture.upstream.send(modern().say(&modern_call(id).replace("echo", tool))).await.unwrap()
}

#[tokio::test]
async fn callers_with_the_same_id_and_token_get_their_own_answers_c11() {
    let fixture = fixture(&modern_settings());
    let held = say(&fixture, "hold", "\"same\"").await;
    let progress = say(&fixture, "progress", "\"same\"").await;
    let progress = all(progress).await;
    assert_eq!(progress.len(), 4);
    assert!(progress[..3].iter().all(|item| text(item).contains(r#""progressToken": "tok""#)), "the caller's token");
    assert!(text(&progress[3]).contains(r#""id": "same""#));
    assert!(!text(&progress[3]).contains(r#""token": "tok""#), "the server saw a token of ours");
    all(say(&fixture, "release", "\"same\"").await).await;
    let held = text(&all(held).await[0]);
    assert!(held.contains(r#""id": "same""#) && held.contains("hold"));
}

#[tokio::test]
async fn a_dropped_reply_cancels_at_the_server_d11() {
    let fixture = fixture(&modern_settings());
    let reply = say(&fixture, "hang", "\"a\"").await;
    drop(reply);
    fixture.until_logged("srv: cancelled 1").await;
}

#[tokio::test]
async fn a_subscription_keeps_its_callers_id() {
    let fixture = fixture(&modern_settings());
    let listen = modern_call("77").replace("tools/call", "subscriptions/listen");
    let mut reply = fixture.upstream.send(modern().say(&listen)).await.unwrap();
    for method in ["notifications/subscriptions/acknowledged", "notifications/resources/updated"] {
        let note = text(&reply.arrivals.next().await.unwrap());
        assert!(note.contains(method) && note.contains(r#""io.modelcontextprotocol/subscriptionId": 77"#), "{note}");
    }
    drop(reply);
    fixture.until_logged("srv: cancelled 1").await;
}

#[tokio::test]
async fn a_log_message_that_may_be_several_callers_reaches_none() {
    let fixture = fixture(&modern_settings());
    let asking = |id: &str, tool: &str| {
        modern_call(id)
            .replace("echo", tool)
            .replace("\"progressToken\"", r#""io.modelcontextprotocol/logLevel":"info","progressToken""#)
    };
    let alone = fixture.upstream.send(modern().say(&asking("1", "log"))).await.unwrap();
    assert_eq!(all(alone).await.len(), 2, "certain with one");
    let _other = fixture.upstream.send(modern().say(&asking("2", "hang"))).await.unwrap();
    let among = fixture.upstream.send(modern().say(&asking("3", "log"))).await.unwrap();
    assert_eq!(all(among).await.len(), 1);
    let silent = say(&fixture, "log", "4").await;
    assert_eq!(all(silent).await.len(), 1, "never to one who did not ask (C73)");
}

#[tokio::test]
async fn a_crash_fails_every_open_call_and_the_next_call_starts_the_server_again_d26() {
    let fixture = fixture(&modern_settings());
    let open = say(&fixture, "hang", "1").await;
    let crash = say(&fixture, "crash", "2").await;
    for reply in [open, crash] {
        let items = all(reply).await;
        assert_eq!(items[0].as_ref().unwrap_err().kind, FaultKind::Died);
        assert!(!items[0].as_ref().unwrap_err().never_left);
    }
    let again = all(say(&fixture, "progress", "3").await).await;
    assert_eq!(again.len(), 4);
    assert!(fixture.upstream.refresh().await.unwrap().tool("env").is_some());
}

#[tokio::test]
async fn a_slow_reader_is_given_up_and_does_not_stop_the_others() {
    let mut settings = modern_settings();
    settings.stall_timeout_ms = 200;
    let fixture = fixture(&settings);
    let slow = say(&fixture, "flood", "1").await;
    let quick = all(say(&fixture, "progress", "2").await).await;
    assert_eq!(quick.len(), 4);
    let items = all(slow).await;
    assert_eq!(items.last().unwrap().as_ref().unwrap_err().kind, FaultKind::Overloaded);
    assert!(items.len() < 200, "no more was held than one reply may hold: {}", items.len());
}

#[tokio::test]
async fn a_quick_reader_gets_ten_thousand_notifications() {
    let fixture = fixture(&modern_settings());
    assert_eq!(all(say(&fixture, "flood", "1").await).await.len(), 10_001);
}
