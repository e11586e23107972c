use std::sync::Mutex;

use portcullis_core::call::Subject;
use portcullis_core::version::Era;
use tokio::sync::oneshot;

use super::*;
use crate::health::{Changed, HealthBoard, Terms};
use crate::settings::{BreakerSettings, HealthSettings, ToolBreakerSettings};
use crate::testing::scripted::{Act, Scripted};
use crate::testing::{Facts, all, legacy, modern, modern_call, now};

type Heard = Arc<Mutex<Vec<(Option<String>, Phase, Why)>>>;

struct Stage {
    server: Arc<Scripted>,
    breaker: Arc<Breaker>,
    board: HealthBoard,
    heard: Heard,
}

fn board(heard: &Heard) -> HealthBoard {
    let heard = Arc::clone(heard);
    let observer = move |changed: &Changed<'_>| {
        let Transition { to, why, .. } = changed.transition;
        heard.lock().unwrap().push((changed.tool.map(|tool| tool.to_string()), to, why));
    };
    HealthBoard::with(Arc::new(observer), Dice::seeded(7))
}

fn terms(settings: &BreakerSettings) -> Terms {
    Terms {
        breaker: settings.rules().unwrap(),
        tools: settings.tool_rules().unwrap(),
        health: HealthSettings::default().thresholds().unwrap(),
    }
}

/// Opens after two failures in a row, for exactly a second; a probe has five.
fn quick() -> BreakerSettings {
    BreakerSettings {
        consecutive_failures: 2,
        open_ms: 1_000,
        jitter_percent: 0,
        probe_timeout_ms: 5_000,
        ..BreakerSettings::default()
    }
}

fn stage(settings: &BreakerSettings, acts: impl IntoIterator<Item = Act>) -> Stage {
    let (server, heard) = (Scripted::new(acts), Heard::default());
    let board = board(&heard);
    let track = board.track(&"srv".into(), "http", terms(settings));
    let breaker = Breaker::new(Arc::clone(&server) as Arc<dyn Upstream>, track);
    Stage { server, breaker, board, heard }
}

impl Stage {
    async fn call(&self) -> Result<(), FaultKind> {
        self.tool("echo").await
    }

    /// To the end of the reply.
    async fn tool(&self, name: &str) -> Result<(), FaultKind> {
        let cleared = modern().say(&modern_call("1").replace("echo", name));
        let reply = self.breaker.send(cleared).await.map_err(|fault| fault.kind)?;
        all(reply).await.into_iter().try_for_each(|item| item.map(drop)).map_err(|fault| fault.kind)
    }

    fn phase(&self) -> Phase {
        self.board.tracks()[0].breaker
    }

    fn heard(&self) -> Vec<(Phase, Why)> {
        self.heard.lock().unwrap().iter().map(|(_, to, why)| (*to, *why)).collect()
    }
}

fn say(facts: Facts, text: &str) -> Cleared {
    facts.say(text)
}

async fn after(millis: u64) {
    tokio::time::advance(Duration::from_millis(millis)).await;
}

#[tokio::test(start_paused = true)]
async fn an_open_breaker_refuses_at_once_and_says_when_to_come_back() {
    let stage = stage(&quick(), [Act::Fails(FaultKind::Unreachable), Act::Fails(FaultKind::Died)]);
    assert_eq!(stage.call().await, Err(FaultKind::Unreachable));
    assert_eq!(stage.call().await, Err(FaultKind::Died));
    after(400).await;
    let refused = stage.breaker.send(modern().say(&modern_call("1"))).await.unwrap_err();
    assert_eq!((refused.kind, refused.never_left), (FaultKind::CircuitOpen { retry_after_ms: 600 }, true));
    assert_eq!(stage.server.sent(), 2, "the server is left alone");

    after(600).await;
    assert_eq!(stage.call().await, Ok(()));
    let expected =
        [(Phase::Open, Why::Consecutive), (Phase::HalfOpen, Why::Waited), (Phase::Closed, Why::ProbeAnswered)];
    assert_eq!(stage.heard(), expected);
    let seen = &stage.board.tracks()[0];
    assert_eq!((seen.numbers.calls, seen.numbers.refused, seen.numbers.failed), (3, 1, 2));
    assert!(seen.last_failure.as_ref().unwrap().text.contains("as the test says"));
}

#[tokio::test(start_paused = true)]
async fn what_the_server_says_and_what_callers_bring_about_never_opens_it() {
    let neither = [
        FaultKind::TooLarge,
        FaultKind::SessionLost,
        FaultKind::NoStream,
        FaultKind::EraMismatch { served: Era::Legacy },
        FaultKind::Unauthorized,
        FaultKind::Overloaded,
        FaultKind::Busy,
        FaultKind::ShuttingDown,
    ];
    let one = BreakerSettings { consecutive_failures: 1, ..quick() };
    for kind in neither {
        let stage = stage(&one, [Act::Fails(kind.clone()), Act::Breaks(kind.clone())]);
        assert_eq!((stage.call().await, stage.call().await), (Err(kind.clone()), Err(kind.clone())));
        assert_eq!((stage.phase(), stage.board.tracks()[0].numbers.undecided), (Phase::Closed, 2), "{kind:?}");
    }
    let stage = stage(&one, (0..20).map(|_| Act::SaysNo));
    for _ in 0..20 {
        assert_eq!(stage.call().await, Ok(()));
    }
    assert_eq!((stage.phase(), stage.board.tracks()[0].numbers.answered), (Phase::Closed, 20));
}

#[tokio::test(start_paused = true)]
async fn every_way_a_transport_fails_opens_it_before_and_after_the_reply_began() {
    let failures = [
        FaultKind::Unreachable,
        FaultKind::TimedOut,
        FaultKind::Garbage,
        FaultKind::Died,
        FaultKind::Throttled { retry_after_ms: None },
    ];
    let one = BreakerSettings { consecutive_failures: 1, ..quick() };
    for kind in failures {
        for act in [Act::Fails(kind.clone()), Act::Breaks(kind.clone())] {
            let stage = stage(&one, [act]);
            assert_eq!(stage.call().await, Err(kind.clone()));
            assert_eq!(stage.phase(), Phase::Open, "{kind:?}");
        }
    }
    for (resumable, phase) in [(false, Phase::Open), (true, Phase::Closed)] {
        let stage = stage(&one, [Act::Stops { resumable }]);
        assert_eq!(stage.call().await, Ok(()));
        assert_eq!(stage.phase(), phase, "a reply that can go on elsewhere has not failed");
    }
}

#[tokio::test(start_paused = true)]
async fn a_server_that_names_a_time_is_left_alone_for_as_long_within_the_cap() {
    for (asked, expected) in [(30_000, 30_000), (3_600_000, 60_000), (10, 1_000)] {
        let stage = stage(&quick(), [Act::Fails(FaultKind::Throttled { retry_after_ms: Some(asked) })]);
        assert!(stage.call().await.is_err());
        assert_eq!(stage.call().await, Err(FaultKind::CircuitOpen { retry_after_ms: expected }), "{asked}");
    }
    let settings = BreakerSettings { heed_retry_after: false, ..quick() };
    let stage = stage(&settings, [Act::Fails(FaultKind::Throttled { retry_after_ms: Some(30_000) })]);
    assert!(stage.call().await.is_err());
    assert_eq!(stage.call().await, Ok(()));
}

#[tokio::test(start_paused = true)]
async fn a_probe_that_is_given_up_makes_room_for_another() {
    let stage = stage(&quick(), [Act::Fails(FaultKind::Died), Act::Fails(FaultKind::Died), Act::Hangs]);
    let _ = (stage.call().await, stage.call().await);
    after(1_000).await;
    let mut hanging = stage.breaker.send(modern().say(&modern_call("1")));
    assert!(now(&mut hanging).is_pending());
    assert_eq!(stage.call().await, Err(FaultKind::CircuitOpen { retry_after_ms: 5_000 }), "one probe at a time");
    drop(hanging);
    assert_eq!(stage.phase(), Phase::HalfOpen, "it says nothing about the server");
    assert_eq!(stage.call().await, Ok(()));
    assert_eq!(stage.phase(), Phase::Closed);

    // The same when the reply had begun.
    stage.server.next(Act::Fails(FaultKind::Died));
    stage.server.next(Act::Fails(FaultKind::Died));
    let _ = (stage.call().await, stage.call().await);
    after(2_000).await;
    let (_never, signal) = oneshot::channel();
    stage.server.next(Act::Waits(signal));
    drop(stage.breaker.send(modern().say(&modern_call("1"))).await.unwrap());
    assert_eq!(stage.call().await, Ok(()));
}

#[tokio::test(start_paused = true)]
async fn a_probe_that_is_late_has_failed_and_its_answer_counts_no_more() {
    let stage = stage(&quick(), [Act::Fails(FaultKind::Died), Act::Fails(FaultKind::Died)]);
    let _ = (stage.call().await, stage.call().await);
    after(1_000).await;
    let (answer, signal) = oneshot::channel();
    stage.server.next(Act::Waits(signal));
    let probe = stage.breaker.send(modern().say(&modern_call("1"))).await.unwrap();
    after(5_100).await;
    // Doubled, and counted from when it was overdue.
    assert_eq!(stage.call().await, Err(FaultKind::CircuitOpen { retry_after_ms: 1_900 }));
    answer.send(()).unwrap();
    assert!(all(probe).await[0].is_ok(), "its caller gets it all the same");
    assert_eq!(stage.phase(), Phase::Open);
    after(1_900).await;
    assert_eq!(stage.call().await, Ok(()));
    assert_eq!(stage.phase(), Phase::Closed);
}

#[tokio::test(start_paused = true)]
async fn what_belongs_to_an_exchange_that_began_passes_an_open_breaker() {
    let stage = stage(&quick(), [Act::Fails(FaultKind::Died), Act::Fails(FaultKind::Died)]);
    let _ = (stage.call().await, stage.call().await);
    let answer = r#"{"jsonrpc":"2.0","id":9,"result":{}}"#;
    let cancel = r#"{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":1}}"#;
    for text in [answer, cancel] {
        assert!(stage.breaker.send(say(legacy(1), text)).await.is_ok(), "{text}");
    }
    assert!(stage.breaker.send(legacy(1).clear(Subject::Close)).await.is_ok());
    let stream = Subject::Stream { last_event_id: None, request: None };
    assert!(stage.breaker.send(legacy(1).clear(stream)).await.is_err(), "a stream begins");
    assert!(stage.breaker.refresh().await.is_err(), "and so does a question of our own");
    assert_eq!(stage.board.tracks()[0].numbers.calls, 2, "none of it counts");
}

#[tokio::test(start_paused = true)]
async fn a_standing_stream_counts_when_it_begins_and_not_when_it_breaks() {
    let one = BreakerSettings { consecutive_failures: 1, ..quick() };
    let stage = stage(&one, [Act::Breaks(FaultKind::Died), Act::Fails(FaultKind::Died)]);
    let stream = || legacy(1).clear(Subject::Stream { last_event_id: None, request: None });
    let reply = stage.breaker.send(stream()).await.unwrap();
    assert!(all(reply).await[0].is_err());
    assert_eq!((stage.phase(), stage.board.tracks()[0].numbers.answered), (Phase::Closed, 1));
    assert!(stage.breaker.send(stream()).await.is_err());
    assert_eq!(stage.phase(), Phase::Open);
}

#[tokio::test(start_paused = true)]
async fn slow_answers_open_it_and_the_time_of_a_person_is_not_the_servers() {
    let settings = BreakerSettings { slow_call_ms: Some(100), minimum_calls: 2, ..quick() };
    for (asks, phase) in [(false, Phase::Open), (true, Phase::Closed)] {
        let stage = stage(&settings, []);
        for _ in 0..2 {
            let (answer, signal) = oneshot::channel();
            stage.server.next(if asks { Act::Asks(signal) } else { Act::Waits(signal) });
            let reply = stage.breaker.send(modern().say(&modern_call("1"))).await.unwrap();
            after(150).await;
            answer.send(()).unwrap();
            assert!(all(reply).await.iter().all(Result::is_ok));
        }
        assert_eq!(stage.phase(), phase);
    }
}

#[tokio::test(start_paused = true)]
async fn a_tool_that_keeps_failing_is_shut_and_the_others_are_not() {
    let settings = BreakerSettings {
        consecutive_failures: 5,
        tools: Some(ToolBreakerSettings { consecutive_failures: 2, most: 2 }),
        ..quick()
    };
    let stage = stage(&settings, []);
    assert_eq!((stage.tool("good").await, stage.breaker.track().watched_tools()), (Ok(()), 0), "made on failure only");
    for _ in 0..2 {
        stage.server.next(Act::Fails(FaultKind::TimedOut));
        assert_eq!(stage.tool("bad").await, Err(FaultKind::TimedOut));
    }
    assert!(matches!(stage.tool("bad").await, Err(FaultKind::CircuitOpen { .. })));
    assert_eq!(stage.tool("good").await, Ok(()));
    let seen = &stage.board.tracks()[0];
    assert_eq!((seen.breaker, &*seen.tools[0].name, seen.tools[0].breaker), (Phase::Closed, "bad", Phase::Open));
    assert_eq!(*stage.heard.lock().unwrap(), [(Some("bad".to_owned()), Phase::Open, Why::Consecutive)]);

    // Names come from callers: those that fail take the place of those that do not, never of those that are shut.
    for name in ["a", "b", "c", "d"] {
        stage.server.next(Act::Fails(FaultKind::TimedOut));
        let _ = stage.tool(name).await;
        assert_eq!(stage.tool("echo").await, Ok(()));
    }
    assert_eq!(stage.breaker.track().watched_tools(), 2);
    assert!(matches!(stage.tool("bad").await, Err(FaultKind::CircuitOpen { .. })), "still shut");
    after(1_000).await;
    assert_eq!((stage.tool("bad").await, stage.tool("bad").await), (Ok(()), Ok(())), "and tried again in time");
}

#[tokio::test(start_paused = true)]
async fn a_breaker_that_is_off_counts_for_health_and_refuses_nothing() {
    let settings = BreakerSettings { enabled: false, ..quick() };
    let stage = stage(&settings, (0..50).map(|_| Act::Fails(FaultKind::Throttled { retry_after_ms: Some(9_000) })));
    for _ in 0..50 {
        assert!(matches!(stage.call().await, Err(FaultKind::Throttled { .. })));
    }
    let seen = &stage.board.tracks()[0];
    assert_eq!((seen.breaker, seen.health.as_str(), seen.numbers.failed), (Phase::Closed, "unhealthy", 50));
}

#[test]
fn settings_that_cannot_work_name_their_key() {
    let usual = BreakerSettings::default();
    let wrong = [
        ("window_ms", BreakerSettings { window_ms: 0, ..usual.clone() }),
        ("error_percent", BreakerSettings { error_percent: 101, ..usual.clone() }),
        ("max_open_ms", BreakerSettings { max_open_ms: 1, ..usual.clone() }),
        ("slow_call_ms", BreakerSettings { slow_call_ms: Some(0), ..usual.clone() }),
    ];
    for (key, settings) in wrong {
        assert!(settings.rules().unwrap_err().to_string().starts_with(&format!("`{key}`: ")));
    }
    let tools = Some(ToolBreakerSettings { most: 0, ..ToolBreakerSettings::default() });
    let refused = BreakerSettings { tools, ..usual }.tool_rules().unwrap_err();
    assert!(refused.to_string().starts_with("`tools.most`: "));
}
