use std::time::Duration;

use portcullis_core::refusal::FaultKind;
use portcullis_core::upstream::Upstream;

use super::condition::Condition;
use super::*;
use crate::breaker::{Breaker, Phase};
use crate::settings::{BreakerSettings, BulkheadSettings, HealthSettings};
use crate::testing::scripted::{Act, Scripted};
use crate::testing::{modern, modern_call};

fn seconds(count: u64) -> Duration {
    Duration::from_secs(count)
}

fn terms() -> Terms {
    let settings =
        BreakerSettings { consecutive_failures: 2, open_ms: 1_000, jitter_percent: 0, ..BreakerSettings::default() };
    Terms { breaker: settings.rules().unwrap(), tools: None, health: HealthSettings::default().thresholds().unwrap() }
}

fn board() -> HealthBoard {
    HealthBoard::with(Arc::new(|_: &Changed<'_>| {}), Dice::seeded(3))
}

#[test]
fn health_is_lost_by_failures_in_a_row_and_regained_step_by_step() {
    let mut condition = Condition::new(HealthSettings::default().thresholds().unwrap(), Duration::ZERO);
    assert_eq!(condition.health(seconds(1)), Health::Unknown);
    for _ in 0..20 {
        condition.answered(seconds(2));
    }
    let mut seen = Vec::new();
    for (second, good) in [(3, false), (4, false), (5, false), (6, false), (7, true), (8, true), (9, true)] {
        if good {
            condition.answered(seconds(second));
        } else {
            condition.failed(seconds(second));
        }
        seen.push(condition.health(seconds(second)).as_str());
    }
    let expected = ["healthy", "healthy", "unhealthy", "unhealthy", "unhealthy", "degraded", "degraded"];
    assert_eq!(seen, expected, "two of 22 are odd timeouts; one answer may be luck");
    assert_eq!(condition.since(), seconds(8));
    // A minute later only the failures' time has passed; what was good meanwhile is.
    condition.answered(seconds(70));
    assert_eq!(condition.health(seconds(70)), Health::Healthy);
}

#[test]
fn a_degraded_server_is_healthy_again_only_well_below_what_made_it_so() {
    let thresholds = Thresholds { unhealthy_after: 100, healthy_after: 1, degraded_percent: 10 };
    let mut condition = Condition::new(thresholds, Duration::ZERO);
    let now = seconds(1);
    condition.failed(now);
    let mut answers = 0;
    while condition.health(now) == Health::Degraded {
        condition.answered(now);
        answers += 1;
    }
    assert_eq!(answers, 20, "one of 21 is below five percent");
    let mut failures = 0;
    while condition.health(now) == Health::Healthy {
        condition.failed(now);
        failures += 1;
    }
    assert_eq!(failures, 2, "three of 23 are above ten");
}

#[test]
fn a_reload_hands_the_track_on_unless_it_would_mean_something_else() {
    let board = board();
    let name: Arc<str> = "srv".into();
    let before = board.track(&name, "http", terms());
    assert!(Arc::ptr_eq(&before, &board.track(&name, "http", terms())));
    assert!(!Arc::ptr_eq(&before, &board.track(&name, "stdio", terms())));
    let mut other = terms();
    other.breaker.consecutive = 9;
    assert!(!Arc::ptr_eq(&before, &board.track(&name, "http", other)));
    assert_eq!(board.tracks().len(), 2, "the new one took the place of the old");

    let walls = BulkheadSettings::default().walls().unwrap();
    let room = board.room(&name, &walls);
    assert!(Arc::ptr_eq(&room, &board.room(&name, &walls)));
    assert!(!Arc::ptr_eq(&room, &board.room(&name, &Walls { queue: 1, ..walls.clone() })));
    assert_eq!(board.rooms().len(), 1);
}

struct Stage {
    server: Arc<Scripted>,
    breaker: Arc<Breaker>,
    board: HealthBoard,
}

fn stage(acts: impl IntoIterator<Item = Act>) -> Stage {
    let (server, board) = (Scripted::new(acts), board());
    let track = board.track(&"srv".into(), "http", terms());
    Stage { breaker: Breaker::new(Arc::clone(&server) as Arc<dyn Upstream>, track), server, board }
}

#[tokio::test(start_paused = true)]
async fn an_operator_resets_a_breaker_by_name() {
    let stage = stage([Act::Fails(FaultKind::Died), Act::Fails(FaultKind::Died)]);
    for _ in 0..2 {
        assert!(stage.breaker.refresh().await.is_err());
    }
    let seen = &stage.board.tracks()[0];
    assert_eq!((seen.breaker, seen.health), (Phase::Open, Health::Unhealthy), "what refuses calls is not healthy");
    for (server, transport, meant) in [("other", None, 0), ("srv", Some("stdio"), 0), ("srv", Some("http"), 1)] {
        assert_eq!(stage.board.reset(server, transport), meant);
    }
    let seen = &stage.board.tracks()[0];
    assert_eq!((seen.breaker, seen.health, seen.numbers.closed), (Phase::Closed, Health::Unknown, 1));
    assert!(stage.breaker.refresh().await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn a_server_that_turns_us_away_is_unhealthy_and_its_breaker_stays_closed() {
    let stage = stage((0..5).map(|_| Act::Fails(FaultKind::Unauthorized)));
    for _ in 0..5 {
        stage.breaker.examine(seconds(10)).await;
    }
    let seen = &stage.board.tracks()[0];
    assert_eq!((seen.health, seen.breaker, seen.numbers.checks_failed), (Health::Unhealthy, Phase::Closed, 5));
}

#[tokio::test(start_paused = true)]
async fn a_check_has_a_deadline_and_is_the_probe_of_a_breaker_whose_time_is_over() {
    let stage = stage([Act::Hangs, Act::Hangs]);
    for _ in 0..2 {
        stage.breaker.examine(seconds(10)).await;
    }
    assert_eq!(stage.board.tracks()[0].breaker, Phase::Open);
    stage.breaker.examine(seconds(10)).await;
    assert_eq!(stage.server.sent(), 2, "a server that is left alone is left alone by us too");
    tokio::time::advance(seconds(1)).await;
    stage.breaker.examine(seconds(10)).await;
    assert_eq!((stage.server.sent(), stage.board.tracks()[0].breaker), (3, Phase::Closed));
}

/// Runs the checks for as long as `time`.
async fn watched(servers: Vec<(Arc<Breaker>, HealthSettings, bool)>, time: Duration) {
    let _ended = tokio::time::timeout(time, watch(servers)).await;
}

#[tokio::test(start_paused = true)]
async fn all_servers_are_asked_at_once_and_one_that_hangs_holds_up_none() {
    let hanging = stage((0..100).map(|_| Act::Hangs));
    let (well, quiet) = (stage([]), stage([]));
    let child = HealthSettings::default();
    let servers = [(&hanging, false), (&well, false), (&quiet, true)];
    let servers = servers.map(|(stage, child_of_ours)| (Arc::clone(&stage.breaker), child.clone(), child_of_ours));
    watched(servers.into(), seconds(61)).await;
    assert!((2..=3).contains(&well.server.sent()), "every 24 to 30 seconds: {}", well.server.sent());
    assert!(hanging.server.sent() >= 2, "{}", hanging.server.sent());
    assert_ne!(hanging.board.tracks()[0].breaker, Phase::Closed);
    assert_eq!((quiet.server.sent(), quiet.board.tracks()[0].health), (0, Health::Unknown), "a child is not asked");
}

#[tokio::test(start_paused = true)]
async fn a_server_whose_calls_are_answered_is_not_asked() {
    let stage = stage([]);
    let calls = async {
        loop {
            let reply = stage.breaker.send(modern().say(&modern_call("1"))).await.unwrap();
            crate::testing::all(reply).await;
            tokio::time::sleep(seconds(5)).await;
        }
    };
    let servers = vec![(Arc::clone(&stage.breaker), HealthSettings::default(), false)];
    tokio::select! {
        () = watched(servers, seconds(299)) => {}
        () = calls => {}
    }
    let seen = &stage.board.tracks()[0];
    assert_eq!((seen.numbers.checks_answered, seen.numbers.answered), (0, 60));
}

#[tokio::test(start_paused = true)]
async fn a_server_that_comes_back_is_found_by_checks_alone() {
    let stage = stage((0..8).map(|_| Act::Fails(FaultKind::Unreachable)));
    let servers = vec![(Arc::clone(&stage.breaker), HealthSettings::default(), false)];
    watched(servers, seconds(600)).await;
    let seen = &stage.board.tracks()[0];
    assert_eq!((seen.breaker, seen.health, seen.numbers.checks_failed), (Phase::Closed, Health::Healthy, 8));
}
