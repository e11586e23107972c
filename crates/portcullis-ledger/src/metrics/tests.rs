use std::time::Duration;

use portcullis_core::ledger::{Intent, Outcome, Record, Status};

use super::{Metrics, RoomNumbers, TransportNumbers};

#[test]
fn only_known_methods_become_labels() {
    let metrics = Metrics::new();
    for method in ["tools/call", "tools/call", "evil/\u{202e}\"} 1\n", "another"] {
        let intent = Intent { method: method.into(), direction: "to_server", decision: "allow", ..Intent::default() };
        metrics.observe(&Record::Intent(Box::new(intent)));
    }
    let text = metrics.render();
    assert!(
        text.contains(r#"portcullis_calls_total{method="tools/call",direction="to_server",decision="allow"} 2"#),
        "{text}"
    );
    assert!(
        text.contains(r#"portcullis_calls_total{method="other",direction="to_server",decision="allow"} 2"#),
        "{text}"
    );
    assert!(!text.contains("evil"));
}

#[test]
fn what_is_shown_of_servers_is_as_of_now_and_goes_with_them() {
    let metrics = Metrics::new();
    let numbers = TransportNumbers {
        server: "notes".into(),
        transport: "http".into(),
        health: "degraded",
        breaker: "half_open",
        transitions: [1, 2, 3],
        calls: [10, 11, 12, 13],
        checks: [4, 5],
    };
    let room = RoomNumbers { server: "notes".into(), held: [6, 7, 8], refused: 9 };
    let _before = metrics.render_with(std::slice::from_ref(&numbers), std::slice::from_ref(&room));
    let text = metrics.render_with(&[TransportNumbers { transitions: [1, 2, 4], ..numbers }], &[room]);
    for line in [
        r#"portcullis_server_health{server="notes",transport="http",state="degraded"} 1"#,
        r#"portcullis_server_health{server="notes",transport="http",state="healthy"} 0"#,
        r#"portcullis_breaker_state{server="notes",transport="http",state="half_open"} 1"#,
        r#"portcullis_breaker_transitions_total{server="notes",transport="http",state="open"} 4"#,
        r#"portcullis_transport_calls_total{server="notes",transport="http",outcome="refused"} 13"#,
        r#"portcullis_server_checks_total{server="notes",transport="http",outcome="failed"} 5"#,
        r#"portcullis_bulkhead{server="notes",what="waiting"} 7"#,
        r#"portcullis_bulkhead_refused_total{server="notes"} 9"#,
    ] {
        assert!(text.contains(line), "{line}\n{text}");
    }
    assert!(!metrics.render_with(&[], &[]).contains("notes"));
}

#[test]
fn standing_streams_do_not_distort_the_durations() {
    let metrics = Metrics::new();
    for (status, seconds) in [(Status::Answered, 1), (Status::Ended, 86_400), (Status::Abandoned, 900)] {
        let outcome = Outcome { status, latency: Duration::from_secs(seconds), ..Outcome::default() };
        metrics.observe(&Record::Outcome(Box::new(outcome)));
    }
    let text = metrics.render();
    assert!(text.contains("portcullis_call_duration_seconds_sum 1.0"), "{text}");
    assert!(text.contains(r#"portcullis_outcomes_total{status="ended"} 1"#), "{text}");
}

#[test]
fn refusals_are_counted_by_family_and_code() {
    let metrics = Metrics::new();
    metrics.count("malformed", "duplicate_key");
    metrics.count("malformed", "duplicate_key");
    let text = metrics.render();
    assert!(text.contains(r#"portcullis_refusals_total{family="malformed",code="duplicate_key"} 2"#), "{text}");
    assert!(text.ends_with("# EOF\n"));
}
