use super::{Join, Row, RowKind, StoredEntry, duration, table_header, table_row};

fn entry(seq: u64, kind: &str, call: &str) -> StoredEntry {
    StoredEntry {
        seq,
        kind: kind.into(),
        call: Some(call.into()),
        at: "2026-07-28T09:30:00.000Z".into(),
        ..StoredEntry::default()
    }
}

#[test]
fn an_intent_waits_for_its_outcome_and_becomes_one_row() {
    let mut join = Join::default();
    let intent =
        StoredEntry { method: Some("tools/call".into()), decision: Some("allow".into()), ..entry(2, "intent", "a1") };
    assert_eq!(join.push(intent), None);
    assert_eq!(join.open().len(), 1);
    let outcome = StoredEntry { status: Some("answered".into()), latency_us: Some(1500), ..entry(3, "outcome", "a1") };
    let row = join.push(outcome).unwrap();
    assert_eq!((row.seq, row.method.as_deref(), row.status.as_deref()), (3, Some("tools/call"), Some("answered")));
    assert!(join.open().is_empty() && join.order.is_empty());
}

#[test]
fn intents_that_never_end_do_not_grow_memory() {
    let mut join = Join::default();
    let rows = (0..20_000).filter_map(|seq| join.push(entry(seq, "intent", &seq.to_string()))).count();
    assert_eq!(rows, 20_000 - super::join::OPEN);
    // One call that never ends must not keep the ids of those that did.
    let mut join = Join::default();
    join.push(entry(0, "intent", "stuck"));
    for seq in 1..50_000 {
        join.push(entry(seq, "intent", &seq.to_string()));
        join.push(entry(seq, "outcome", &seq.to_string()));
    }
    assert!(join.order.len() <= 2 * super::join::OPEN, "{}", join.order.len());
}

#[test]
fn a_hostile_name_cannot_leave_its_cell() {
    let row = Row { name: Some("x\u{202e}\x1b[31m\nverified".into()), caller: Some("c".repeat(500)), ..Row::default() };
    let text = table_row(&row);
    assert!(text.chars().all(|char| !char.is_control()), "{text:?}");
    assert!(!text.contains('\u{202e}'));
    assert!(text.chars().count() < table_header().chars().count() + 60);
    let notice =
        Row { kind: RowKind::Notice, code: Some("child_stderr".into()), detail: Some("a\rb".into()), ..Row::default() };
    assert!(table_row(&notice).ends_with("-- child_stderr: a\\u{d}b"));
}

#[test]
fn durations_read_well() {
    assert_eq!(duration(999), "999 µs");
    assert_eq!(duration(1_240), "1.2 ms");
    assert_eq!(duration(83_400_000), "83.4 s");
}
