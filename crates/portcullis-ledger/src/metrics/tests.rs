use std::time::Duration;

use portcullis_core::ledger::{Intent, Outcome, Record, Status};

use super::Metrics;

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
