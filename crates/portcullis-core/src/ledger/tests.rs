use std::sync::Mutex;

use super::*;
use crate::clock::FixedClock;

#[derive(Debug, Default)]
struct Kept(Mutex<Vec<Record>>);

impl Ledger for Kept {
    fn append(&self, record: Record) -> Result<(), Unwritable> {
        self.0.lock().unwrap().push(record);
        Ok(())
    }

    fn count(&self, _family: &'static str, _code: &'static str) {}
}

/// The outcome of an entry to which `facts` happen.
fn outcome(facts: impl FnOnce(&mut Entry)) -> Outcome {
    let ledger = Arc::new(Kept::default());
    let clock = Arc::new(FixedClock::at(Timestamp(0)));
    let mut entry = Entry::open(Arc::clone(&ledger) as Arc<dyn Ledger>, clock, Intent::default()).unwrap();
    facts(&mut entry);
    drop(entry);
    match ledger.0.lock().unwrap().pop() {
        Some(Record::Outcome(outcome)) => *outcome,
        other => panic!("{other:?}"),
    }
}

fn finding(detail: impl Into<String>) -> Finding {
    Finding { guard: "policy", code: "forbidden", detail: detail.into(), effect: Effect::Denied }
}

#[test]
fn a_finding_that_comes_again_is_counted_and_not_kept() {
    let outcome = outcome(|entry| {
        entry.found(finding("once"));
        (0..10_000).for_each(|_| entry.found(finding("often")));
    });
    let details: Vec<_> = outcome.findings.iter().map(|finding| finding.detail.as_str()).collect();
    assert_eq!(details, ["once", "often (and 9999 times more)"]);
}

#[test]
fn findings_without_end_are_bounded_and_the_rest_is_a_number() {
    let outcome = outcome(|entry| (0..10_000).for_each(|number| entry.found(finding(number.to_string()))));
    assert_eq!(outcome.findings.len(), MOST_FINDINGS + 1);
    let last = outcome.findings.last().unwrap();
    assert_eq!((last.code, last.detail.as_str()), ("more_findings", "9969 more that differ from these"));
}

#[test]
fn notifications_are_counted_by_method_and_invented_methods_together() {
    let outcome = outcome(|entry| {
        (0..3).for_each(|_| entry.notified("notifications/progress"));
        (0..100).for_each(|number| entry.notified(&format!("notifications/{number}")));
        entry.notified("notifications/progress");
        entry.notified(&"x".repeat(METHOD_BYTES + 1));
    });
    assert_eq!(outcome.notifications.len(), MOST_METHODS + 1);
    assert_eq!(outcome.notifications[0], ("notifications/progress".to_owned(), 4));
    assert_eq!(outcome.notifications[MOST_METHODS], ("other".to_owned(), 86));
}
