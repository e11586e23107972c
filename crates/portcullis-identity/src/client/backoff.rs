//! When to ask again after failures, so that a failing authorization server is not overrun by the calls it fails.

use std::sync::Arc;
use std::time::Duration;

/// Wait after the first failure; doubled by each further one. 1 s: a restart of a server behind a balancer is over by then.
const FIRST: Duration = Duration::from_secs(1);
/// The longest wait. 60 s: what was repaired is noticed within a minute.
const LONGEST: Duration = Duration::from_secs(60);

/// Times are of one clock that never runs backwards.
#[derive(Debug, Default)]
pub(super) struct Backoff {
    failures: u32,
    until: Duration,
    reason: Arc<str>,
}

/// What an attempt knew when it began, so that many that fail together count as one failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Attempt(u32);

/// Nobody is asked before `until`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Blocked {
    pub(super) until: Duration,
    pub(super) reason: Arc<str>,
}

impl Backoff {
    /// Why not now.
    pub(super) fn blocked(&self, now: Duration) -> Option<Blocked> {
        (now < self.until).then(|| Blocked { until: self.until, reason: Arc::clone(&self.reason) })
    }

    /// Lets an attempt begin. After a failure one goes ahead when its time has come, and the others wait for what comes of it.
    pub(super) fn begin(&mut self, now: Duration) -> Result<Attempt, Blocked> {
        if let Some(blocked) = self.blocked(now) {
            return Err(blocked);
        }
        if self.failures > 0 {
            self.until = now + wait(self.failures);
        }
        Ok(Attempt(self.failures))
    }

    /// Whether nothing has failed since.
    pub(super) fn holds(&self, attempt: Attempt) -> bool {
        attempt.0 == self.failures
    }

    pub(super) fn failed(&mut self, attempt: Attempt, reason: &str, now: Duration) -> Blocked {
        if self.holds(attempt) {
            self.failures = self.failures.saturating_add(1);
            self.hold(now + wait(self.failures), reason.into());
        }
        Blocked { until: self.until, reason: Arc::clone(&self.reason) }
    }

    /// Waits as somebody else does, without a failure of one's own.
    pub(super) fn hold(&mut self, until: Duration, reason: Arc<str>) {
        (self.until, self.reason) = (until, reason);
    }

    pub(super) fn succeeded(&mut self) {
        *self = Self::default();
    }
}

/// `failures`: at least 1.
fn wait(failures: u32) -> Duration {
    2_u32.checked_pow(failures.saturating_sub(1)).map_or(LONGEST, |times| FIRST.saturating_mul(times).min(LONGEST))
}

#[cfg(test)]
mod tests {
    use super::{Attempt, Backoff};
    use std::time::Duration;

    const fn at(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn waits_double_up_to_a_minute() {
        let mut backoff = Backoff::default();
        let mut now = at(100);
        let mut waits = Vec::new();
        for _ in 0..9 {
            let attempt = backoff.begin(now).unwrap();
            let until = backoff.failed(attempt, "down", now).until;
            waits.push((until - now).as_secs());
            assert_eq!(&*backoff.begin(until - Duration::from_millis(1)).unwrap_err().reason, "down");
            now = until;
        }
        assert_eq!(waits, [1, 2, 4, 8, 16, 32, 60, 60, 60]);
    }

    #[test]
    fn many_that_fail_together_are_one_failure() {
        let mut backoff = Backoff::default();
        let attempts: Vec<Attempt> = (0..50).map(|_| backoff.begin(at(0)).unwrap()).collect();
        for attempt in attempts {
            assert_eq!(backoff.failed(attempt, "down", at(0)).until, at(1));
        }
    }

    #[test]
    fn after_a_failure_one_goes_ahead_and_success_lets_everybody_in() {
        let mut backoff = Backoff::default();
        let attempt = backoff.begin(at(0)).unwrap();
        backoff.failed(attempt, "down", at(0));
        backoff.begin(at(1)).unwrap();
        assert!(backoff.begin(at(1)).is_err(), "the trial is under way");
        backoff.succeeded();
        assert!(backoff.begin(at(1)).is_ok() && backoff.begin(at(1)).is_ok());
    }
}
