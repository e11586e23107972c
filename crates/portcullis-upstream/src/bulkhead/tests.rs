use std::task::Poll;

use tokio::sync::oneshot;

use super::*;
use crate::settings::BulkheadSettings;
use crate::testing::scripted::{Act, Scripted};
use crate::testing::{all, legacy, modern, modern_call, now};

fn walls() -> Walls {
    Walls { concurrency: 2, queue: 2, patience: Duration::from_secs(5), streams: 1 }
}

fn stage() -> (Arc<Scripted>, Arc<Bulkhead>, Arc<Room>) {
    let (server, room) = (Scripted::new([]), Room::new("srv".into(), walls()));
    (Arc::clone(&server), Bulkhead::new(server, Arc::clone(&room)), room)
}

fn call() -> Cleared {
    modern().say(&modern_call("1"))
}

fn busy(outcome: Result<Reply, Fault>) -> bool {
    outcome.is_err_and(|fault| fault.kind == FaultKind::Busy && fault.never_left)
}

/// Two calls whose replies have begun and do not end.
async fn fill(server: &Scripted, bulkhead: &Bulkhead) -> [(oneshot::Sender<()>, Reply); 2] {
    let mut begun = Vec::new();
    for _ in 0..2 {
        let (end, signal) = oneshot::channel();
        server.next(Act::Waits(signal));
        begun.push((end, bulkhead.send(call()).await.unwrap()));
    }
    begun.try_into().unwrap()
}

#[tokio::test(start_paused = true)]
async fn a_call_waits_its_turn_and_holds_its_place_until_its_reply_has_ended() {
    let (server, bulkhead, room) = stage();
    let [(end, first), second] = fill(&server, &bulkhead).await;
    let (mut third, mut fourth) = (bulkhead.send(call()), bulkhead.send(call()));
    assert!(now(&mut third).is_pending() && now(&mut fourth).is_pending());
    assert_eq!((room.view().calls, room.view().waiting, server.sent()), (2, 2, 2));
    assert!(busy(bulkhead.send(call()).await), "the queue is bounded, and says so at once");

    end.send(()).unwrap();
    assert!(all(first).await[0].is_ok());
    assert!(now(&mut fourth).is_pending(), "first come, first served");
    let Poll::Ready(Ok(third)) = now(&mut third) else { panic!("the third has its turn") };
    drop(third);
    assert!(now(&mut fourth).is_ready(), "a reply that is dropped makes room as well");
    drop((fourth, second));
    let seen = room.view();
    assert_eq!((seen.calls, seen.waiting, seen.refused), (0, 0, 1));
}

#[tokio::test(start_paused = true)]
async fn a_call_that_waited_too_long_or_was_given_up_leaves_the_queue() {
    let (server, bulkhead, room) = stage();
    let begun = fill(&server, &bulkhead).await;
    let mut given_up = bulkhead.send(call());
    assert!(now(&mut given_up).is_pending());
    drop(given_up);
    assert_eq!(room.view().waiting, 0);
    assert!(busy(bulkhead.send(call()).await), "its deadline, since the clock of this test only moves when all wait");
    assert_eq!((room.view().waiting, server.sent()), (0, 2));
    drop(begun);
    assert!(bulkhead.send(call()).await.is_ok());
}

/// The call holds its place until the client's answer has reached the server.
#[tokio::test(start_paused = true)]
async fn an_answer_of_the_client_passes_a_full_room() {
    let (server, bulkhead, _room) = stage();
    let _begun = fill(&server, &bulkhead).await;
    let answer = r#"{"jsonrpc":"2.0","id":9,"result":{}}"#;
    let cancel = r#"{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":1}}"#;
    assert!(bulkhead.send(legacy(1).say(answer)).await.is_ok());
    assert!(bulkhead.send(legacy(1).say(cancel)).await.is_ok());
    assert!(bulkhead.send(legacy(1).clear(Subject::Close)).await.is_ok());
    // A server that does not take them does not get them without end.
    let mut stuck = Vec::new();
    for _ in 0..2 {
        server.next(Act::Hangs);
        let mut send = bulkhead.send(legacy(1).say(cancel));
        assert!(now(&mut send).is_pending());
        stuck.push(send);
    }
    assert!(busy(bulkhead.send(legacy(1).say(cancel)).await));
}

#[tokio::test(start_paused = true)]
async fn standing_streams_take_no_places_of_calls_and_have_a_cap_of_their_own() {
    let (server, bulkhead, room) = stage();
    let stream = || legacy(1).clear(Subject::Stream { last_event_id: None, request: None });
    let listen = modern_call("1").replace("tools/call", "subscriptions/listen");
    let standing = bulkhead.send(modern().say(&listen)).await.unwrap();
    assert_eq!((room.view().streams, room.view().calls), (1, 0));
    assert!(busy(bulkhead.send(stream()).await));
    let _begun = fill(&server, &bulkhead).await;
    drop(standing);
    assert!(bulkhead.send(stream()).await.is_ok(), "calls take no places of streams either");
}

#[tokio::test(start_paused = true)]
async fn a_call_that_fails_gives_its_place_back() {
    let (server, bulkhead, room) = stage();
    for _ in 0..5 {
        server.next(Act::Fails(FaultKind::Unreachable));
        assert_eq!(bulkhead.send(call()).await.unwrap_err().kind, FaultKind::Unreachable);
    }
    assert_eq!(room.view().calls, 0);
}

#[test]
fn settings_that_let_nothing_through_name_their_key() {
    let usual = BulkheadSettings::default();
    for (key, settings) in [
        ("concurrency", BulkheadSettings { concurrency: 0, ..usual.clone() }),
        ("queue_ms", BulkheadSettings { queue_ms: 0, ..usual.clone() }),
        ("streams", BulkheadSettings { streams: 0, ..usual.clone() }),
    ] {
        assert!(settings.walls().unwrap_err().to_string().starts_with(&format!("`{key}`: ")));
    }
    assert_eq!(BulkheadSettings { queue: 0, queue_ms: 0, ..usual }.walls().unwrap().queue, 0);
}
