//! Children that crash, babble, lie or write too much.

use portcullis_core::call::SessionKey;
use portcullis_core::refusal::FaultKind;
use portcullis_core::upstream::Upstream;
use portcullis_core::wire::Limits;

use super::{INITIALIZE, fixture, fixture_with, kind, last_kind, settings};
use crate::settings::{EraSetting, Secret};
use crate::testing::{all, legacy, text};

#[tokio::test]
async fn a_crash_in_mid_call_fails_the_call_and_loses_the_session() {
    let fixture = fixture(&settings(EraSetting::Legacy));
    fixture.open(1).await;
    let hanging = fixture.call(1, 1, "hang").await;
    assert_eq!(last_kind(fixture.call(1, 2, "crash").await).await, FaultKind::Died);
    assert_eq!(last_kind(hanging).await, FaultKind::Died);
    assert_eq!(kind(fixture.call(1, 3, "env").await), FaultKind::SessionLost);
    fixture.open(2).await;
}

#[tokio::test]
async fn a_server_that_dies_at_start_is_not_started_in_a_loop() {
    let mut settings = settings(EraSetting::Legacy);
    settings.env.insert("MODE".into(), Secret::Value("dies".into()));
    let fixture = fixture(&settings);
    let mut starts = 0;
    for key in 0..20 {
        // Dead before or after it took the message, whichever comes first.
        let kind = match fixture.upstream.send(legacy(key).say(INITIALIZE)).await {
            Ok(reply) => kind(all(reply).await.pop().unwrap()),
            Err(fault) => {
                assert!(fault.never_left);
                fault.kind
            }
        };
        match kind {
            FaultKind::Died => starts += 1,
            FaultKind::Unreachable => break,
            other => panic!("{other:?}"),
        }
    }
    assert!((2..10).contains(&starts), "{starts} starts");
}

#[tokio::test]
async fn an_unknown_program_is_unreachable_and_nothing_left() {
    let mut settings = settings(EraSetting::Auto);
    for command in ["no-such-program-anywhere", "/no/such/program", "./neither"] {
        settings.command = command.into();
        let fault = fixture(&settings).upstream.send(legacy(1).say(INITIALIZE)).await.unwrap_err();
        assert_eq!((fault.kind, fault.never_left), (FaultKind::Unreachable, true), "{command}");
    }
}

#[tokio::test]
async fn stray_output_is_reported_and_a_babbling_child_is_ended() {
    let fixture = fixture(&settings(EraSetting::Legacy));
    fixture.open(1).await;
    assert_eq!(all(fixture.call(1, 1, "noise").await.unwrap()).await.len(), 1);
    fixture.until_logged("not MCP, ignored: Server listening!").await;
    assert_eq!(last_kind(fixture.call(1, 2, "babble").await).await, FaultKind::Garbage);
    assert_eq!(kind(fixture.call(1, 3, "env").await), FaultKind::SessionLost);
}

#[tokio::test]
async fn an_answer_the_reader_refuses_fails_its_own_call_only() {
    let fixture = fixture(&settings(EraSetting::Legacy));
    fixture.open(1).await;
    let other = fixture.call(1, 1, "hold").await.unwrap();
    assert_eq!(last_kind(fixture.call(1, 2, "duplicate").await).await, FaultKind::Garbage);
    all(fixture.call(1, 3, "release").await.unwrap()).await;
    assert!(text(&all(other).await[0]).contains("hold"));
}

#[tokio::test]
async fn an_answer_over_the_limit_fails_its_own_call_only() {
    let fixture = fixture_with(&settings(EraSetting::Legacy), Limits { bytes: 100_000, ..Limits::default() });
    fixture.open(1).await;
    let other = fixture.call(1, 1, "hold").await.unwrap();
    assert_eq!(last_kind(fixture.call(1, 2, "big").await).await, FaultKind::TooLarge);
    all(fixture.call(1, 3, "release").await.unwrap()).await;
    assert!(text(&all(other).await[0]).contains("hold"));
}

#[tokio::test]
async fn second_answers_and_answers_to_nobody_are_reported_and_go_nowhere() {
    let fixture = fixture(&settings(EraSetting::Legacy));
    fixture.open(1).await;
    let twice = all(fixture.call(1, 1, "twice").await.unwrap()).await;
    assert!(twice.len() == 1 && text(&twice[0]).contains("\"n\": 1"));
    fixture.until_logged("dropped an answer to an id nobody asked with").await;
    assert_eq!(all(fixture.call(1, 2, "nobody").await.unwrap()).await.len(), 1);
}

#[tokio::test]
async fn a_silent_server_is_timed_out() {
    let mut settings = settings(EraSetting::Legacy);
    settings.first_byte_timeout_ms = 3000;
    let fixture = fixture(&settings);
    fixture.open(1).await;
    assert_eq!(last_kind(fixture.call(1, 1, "hang").await).await, FaultKind::TimedOut);
}

#[tokio::test]
async fn more_children_than_allowed_are_refused() {
    let mut settings = settings(EraSetting::Legacy);
    settings.max_children = 1;
    let fixture = fixture(&settings);
    fixture.open(1).await;
    let fault = fixture.upstream.send(legacy(2).say(INITIALIZE)).await.unwrap_err();
    assert_eq!((fault.kind, fault.never_left), (FaultKind::Overloaded, true));
    // One that is on its way out is waited for.
    fixture.upstream.forget(SessionKey(1)).await;
    fixture.open(2).await;
}
