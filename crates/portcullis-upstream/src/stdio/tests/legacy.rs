//! One child for each session: every message to its place.

use futures_util::StreamExt;
use portcullis_core::call::{SessionKey, Subject};
use portcullis_core::refusal::FaultKind;
use portcullis_core::upstream::{Media, Upstream};
use portcullis_core::version::Era;

use super::{call, fixture, kind, settings, until};
use crate::settings::EraSetting;
use crate::testing::{all, legacy, modern, modern_call, text};

#[tokio::test]
async fn a_session_is_its_own_process_and_ends_with_it() {
    let fixture = fixture(&settings(EraSetting::Legacy));
    assert_eq!(kind(fixture.call(1, 1, "env").await), FaultKind::SessionLost, "nothing before `initialize`");
    fixture.open(1).await;
    fixture.open(2).await;
    let pid = |text: String| text.split("\"pid\": ").nth(1).unwrap().split('}').next().unwrap().parse::<u32>().unwrap();
    let reply = fixture.call(1, 1, "env").await.unwrap();
    assert_eq!(reply.media, Media::Unframed);
    let first = pid(text(&all(reply).await[0]));
    let second = pid(text(&all(fixture.call(2, 1, "env").await.unwrap()).await[0]));
    assert_ne!(first, second);
    fixture.upstream.send(legacy(1).clear(Subject::Close)).await.unwrap();
    until(|| !super::is_alive(first)).await;
    assert_eq!(kind(fixture.call(1, 2, "env").await), FaultKind::SessionLost);
    fixture.upstream.forget(SessionKey(2)).await;
    until(|| !super::is_alive(second)).await;
    until(|| !super::is_zombie(first) && !super::is_zombie(second)).await;
}

#[tokio::test]
async fn progress_goes_by_token_and_answers_by_id_in_any_order() {
    let fixture = fixture(&settings(EraSetting::Legacy));
    fixture.open(1).await;
    let held = fixture.call(1, 1, "hold").await.unwrap();
    let progress = fixture.call(1, 2, "progress").await.unwrap();
    let released = fixture.call(1, 3, "release").await.unwrap();
    let progress = all(progress).await;
    assert_eq!(progress.len(), 4);
    assert!(progress[..3].iter().all(|item| text(item).contains(r#""progressToken": "t2""#)));
    assert!(text(&all(released).await[0]).contains("release"));
    assert!(text(&all(held).await[0]).contains("hold"));
}

#[tokio::test]
async fn a_servers_request_hangs_off_the_open_call_and_the_clients_answer_reaches_it() {
    let fixture = fixture(&settings(EraSetting::Legacy));
    fixture.open(1).await;
    let mut reply = fixture.call(1, 1, "ask").await.unwrap();
    assert!(text(&reply.arrivals.next().await.unwrap()).contains("roots/list"));
    let answer = r#"{"jsonrpc":"2.0","id":"s1","result":{"roots":[]}}"#;
    assert_eq!(fixture.upstream.send(legacy(1).say(answer)).await.unwrap().media, Media::Accepted);
    assert!(text(&reply.arrivals.next().await.unwrap()).contains("\"roots\": []"));
}

#[tokio::test]
async fn what_belongs_to_no_call_waits_for_the_standing_stream() {
    let fixture = fixture(&settings(EraSetting::Legacy));
    fixture.open(1).await;
    assert_eq!(all(fixture.call(1, 1, "changed").await.unwrap()).await.len(), 1, "not on the call's stream");
    let mut standing =
        fixture.upstream.send(legacy(1).clear(Subject::Stream { last_event_id: None, request: None })).await.unwrap();
    assert_eq!(standing.media, Media::EventStream);
    assert!(text(&standing.arrivals.next().await.unwrap()).contains("list_changed"));
    let resumed = Subject::Stream { last_event_id: Some("1".into()), request: None };
    assert_eq!(kind(fixture.upstream.send(legacy(1).clear(resumed)).await), FaultKind::NoStream);
}

#[tokio::test]
async fn a_log_message_goes_to_the_only_open_call() {
    let fixture = fixture(&settings(EraSetting::Legacy));
    fixture.open(1).await;
    let arrivals = all(fixture.call(1, 1, "log").await.unwrap()).await;
    assert!(arrivals.len() == 2 && text(&arrivals[0]).contains("notifications/message"));
}

#[tokio::test]
async fn pretty_printed_messages_are_put_on_one_line() {
    let fixture = fixture(&settings(EraSetting::Legacy));
    fixture.open(1).await;
    let pretty = call(5, "progress").replace(',', ",\r\n  ");
    assert_eq!(all(fixture.upstream.send(legacy(1).say(&pretty)).await.unwrap()).await.len(), 4);
}

#[tokio::test]
async fn a_version_we_do_not_speak_ends_the_session_b4() {
    let mut settings = settings(EraSetting::Legacy);
    settings.env.insert("MODE".into(), crate::Secret::Value("old".into()));
    let fixture = fixture(&settings);
    let reply = fixture.upstream.send(legacy(1).say(super::INITIALIZE)).await;
    assert_eq!(super::last_kind(reply).await, FaultKind::Garbage);
    assert_eq!(kind(fixture.call(1, 1, "env").await), FaultKind::SessionLost);
}

#[tokio::test]
async fn auto_finds_legacy_and_modern_servers_d15_g3() {
    for (mode, era) in [("legacy", Era::Legacy), ("modern", Era::Modern), ("fragile", Era::Legacy)] {
        let mut settings = settings(EraSetting::Auto);
        settings.env.insert("MODE".into(), crate::Secret::Value(mode.into()));
        let fixture = fixture(&settings);
        let catalogue = fixture.upstream.refresh().await.unwrap();
        assert!(catalogue.tool("env").is_some(), "{mode}");
        assert_eq!(fixture.upstream.era(), Some(era), "{mode}");
        let (call, served) = match era {
            Era::Legacy => (modern().say(&modern_call("1")), era),
            Era::Modern => (legacy(1).say(super::INITIALIZE), era),
        };
        assert_eq!(kind(fixture.upstream.send(call).await), FaultKind::EraMismatch { served });
        fixture.upstream.shut_down().await;
    }
}

#[tokio::test]
async fn silence_on_discover_is_a_legacy_server() {
    let mut settings = settings(EraSetting::Auto);
    settings.env.insert("MODE".into(), crate::Secret::Value("silent".into()));
    let fixture = fixture(&settings);
    fixture.open(1).await;
    assert_eq!(fixture.upstream.era(), Some(Era::Legacy));
}
