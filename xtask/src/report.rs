//! Counts of single checks, and the table that ends a run.

use std::time::Duration;

use crate::say;

/// What one step found. A check is what somebody would name by itself: one test, one conformance check, one step of a client.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Tally {
    pub(crate) passed: u64,
    pub(crate) failed: u64,
    pub(crate) skipped: u64,
    /// What a person should read even when nothing failed.
    pub(crate) notes: Vec<String>,
}

impl Tally {
    /// A single check.
    pub(crate) fn check(&mut self, held: bool, otherwise: impl FnOnce() -> String) {
        if held {
            self.passed += 1;
        } else {
            self.fail(otherwise());
        }
    }

    pub(crate) fn fail(&mut self, why: String) {
        self.failed += 1;
        say(format_args!("FAILED {why}"));
        self.notes.push(format!("failed: {}", why.lines().next().unwrap_or_default()));
    }

    pub(crate) fn skip(&mut self, why: String) {
        self.skipped += 1;
        self.notes.push(format!("not run: {why}"));
    }

    pub(crate) fn note(&mut self, text: String) {
        self.notes.push(text);
    }

    pub(crate) fn add(&mut self, other: Self) {
        self.passed += other.passed;
        self.failed += other.failed;
        self.skipped += other.skipped;
        self.notes.extend(other.notes);
    }
}

/// One row of the table.
#[derive(Debug)]
pub(crate) struct Row {
    pub(crate) step: &'static str,
    pub(crate) took: Duration,
    pub(crate) tally: Tally,
}

/// Prints the table; the last line is for programs too. True when nothing failed.
pub(crate) fn close(rows: &[Row], took: Duration) -> bool {
    say(format_args!("\n{:<14}{:>9}{:>9}{:>9}{:>9}", "step", "time", "passed", "failed", "skipped"));
    let mut all = Tally::default();
    for Row { step, took, tally } in rows {
        let Tally { passed, failed, skipped, notes } = tally;
        say(format_args!("{step:<14}{:>9}{passed:>9}{failed:>9}{skipped:>9}", seconds(*took)));
        for note in notes {
            say(format_args!("    {note}"));
        }
        all.add(tally.clone());
    }
    say(format_args!("{:<14}{:>9}\n", "all", seconds(took)));
    let skipped = if all.skipped > 0 { format!(", {} skipped", all.skipped) } else { String::new() };
    say(format_args!("{} passed, {} failed{skipped}", all.passed, all.failed));
    all.failed == 0
}

pub(crate) fn seconds(time: Duration) -> String {
    format!("{:.1} s", time.as_secs_f64())
}

#[cfg(test)]
mod tests {
    use super::Tally;

    #[test]
    fn tallies_add_up_and_keep_their_notes() {
        let mut all = Tally { notes: vec!["first".to_owned()], ..Tally::default() };
        all.check(true, String::new);
        let mut other = Tally { failed: 1, ..Tally::default() };
        other.skip("no compiler".to_owned());
        all.add(other);
        assert_eq!((all.passed, all.failed, all.skipped), (1, 1, 1));
        assert_eq!(all.notes, ["first", "not run: no compiler"]);
    }
}
