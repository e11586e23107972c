use std::path::Path;
use std::sync::Arc;

use portcullis_core::clock::{FixedClock, Timestamp};
use portcullis_core::ledger::{Intent, Outcome, Record, Status};

use super::Tail;
use crate::error::AuditError;
use crate::format::Item;
use crate::layout::Layout;
use crate::settings::Content;
use crate::show::{find, show};
use crate::store::{Plan, Store, on_disk};

fn open(path: &Path) -> Store {
    let clock = Arc::new(FixedClock::at(Timestamp(1_785_231_000_000)));
    let layout = Layout::at(path).unwrap();
    Store::open(Plan { layout, clock, gateway: "test", rotate_bytes: 4096, content: Content::None }, on_disk()).unwrap()
}

fn call(store: &mut Store, number: u64) {
    let id = format!("{number:016x}");
    let intent = Intent {
        call: id.as_str().into(),
        method: "tools/call".into(),
        name: Some("echo\u{202e}".into()),
        decision: "allow",
        ..Intent::default()
    };
    let outcome = Outcome { call: id.into(), status: Status::Answered, ..Outcome::default() };
    store.append(&Item::Record(Record::Intent(Box::new(intent)))).unwrap();
    store.append(&Item::Record(Record::Outcome(Box::new(outcome)))).unwrap();
    store.sync().unwrap();
}

#[test]
fn a_tail_follows_over_segment_boundaries() {
    let folder = tempfile::tempdir().unwrap();
    assert!(matches!(Tail::from_start(folder.path()), Err(AuditError::NoLog { .. })));
    let mut store = open(folder.path());
    let mut tail = Tail::from_start(folder.path()).unwrap();
    let mut seen = 0;
    for number in 0..100 {
        call(&mut store, number);
        let rows = tail.poll().unwrap();
        assert_eq!(rows.len(), 1);
        assert_eq!(rows[0].call, Some(format!("{number:016x}")));
        seen += rows.len();
    }
    assert_eq!(seen, 100);
    assert!(Layout::at(folder.path()).unwrap().numbers().unwrap().len() > 5);
}

#[test]
fn a_tail_from_the_end_gives_the_newest_rows_first_and_goes_on() {
    let folder = tempfile::tempdir().unwrap();
    let mut store = open(folder.path());
    (0..100).for_each(|number| call(&mut store, number));
    let (mut tail, rows) = Tail::from_end(folder.path(), 2).unwrap();
    let calls: Vec<_> = rows.into_iter().filter_map(|row| row.call).collect();
    assert_eq!(calls, [format!("{:016x}", 98), format!("{:016x}", 99)]);
    call(&mut store, 100);
    assert_eq!(tail.poll().unwrap().len(), 1);
    assert!(tail.open_calls().is_empty());
}

#[test]
fn half_a_line_is_left_for_the_next_look() {
    let folder = tempfile::tempdir().unwrap();
    let mut store = open(folder.path());
    call(&mut store, 1);
    let path = Layout::at(folder.path()).unwrap().segment(1);
    let whole = std::fs::read(&path).unwrap();
    std::fs::write(&path, &whole[..whole.len() - 10]).unwrap();
    let mut tail = Tail::from_start(folder.path()).unwrap();
    assert!(tail.poll().unwrap().is_empty());
    assert_eq!(tail.open_calls()[0].status.as_deref(), Some("open"));
    std::fs::write(&path, &whole).unwrap();
    assert_eq!(tail.poll().unwrap().len(), 1);
}

#[test]
fn one_decision_is_shown_in_full_by_call_or_by_number() {
    let folder = tempfile::tempdir().unwrap();
    let mut store = open(folder.path());
    (0..30).for_each(|number| call(&mut store, number));
    let by_call = find(folder.path(), &format!("{:016x}", 7)).unwrap();
    assert_eq!(by_call.len(), 2);
    let by_number = find(folder.path(), &by_call[1].seq.to_string()).unwrap();
    assert_eq!(by_number, by_call);
    let text = show(folder.path(), &format!("{:016x}", 7)).unwrap().unwrap();
    assert!(text.contains("its hash matches") && text.contains("echo\\u{202e}") && text.contains("answered"), "{text}");
    assert_eq!(show(folder.path(), "99999").unwrap(), None);
    assert_eq!(show(folder.path(), "nonsense").unwrap(), None);
    assert!(show(folder.path(), "1").unwrap().unwrap().contains("segment"));
}
