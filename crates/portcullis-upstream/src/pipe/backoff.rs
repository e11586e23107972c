//! When a pipe that keeps breaking may be opened again: at once the first time, then ever later, up to a minute.

use std::time::Duration;

use tokio::time::Instant;

/// First delay after a second early end. 250 ms: unnoticed by a person, four starts a second at worst.
const FIRST: Duration = Duration::from_millis(250);
/// Longest delay. 60 s: a server that is fixed comes back within a minute without anybody's help.
const LONGEST: Duration = Duration::from_secs(60);
/// A pipe that lived this long has proven that its settings work. 10 s: failures at the start show earlier.
const PROVEN: Duration = Duration::from_secs(10);

#[derive(Debug, Default)]
pub(crate) struct Backoff {
    early_ends: u32,
    /// When the latest of them was.
    latest: Option<Instant>,
    not_before: Option<Instant>,
}

impl Backoff {
    /// A pipe that was opened at `started` ended without being asked to.
    pub(crate) fn ended(&mut self, started: Instant, now: Instant) {
        if now.duration_since(started) >= PROVEN {
            *self = Self::default();
            return;
        }
        // A server that falls takes the pipes of all sessions with it. That is one end; what is opened after it may be another.
        if self.latest.is_some_and(|latest| started <= latest) {
            return;
        }
        self.latest = Some(now);
        self.early_ends = self.early_ends.saturating_add(1);
        self.not_before = match self.early_ends {
            1 => None,
            more => Some(now + FIRST.saturating_mul(1 << (more - 2).min(16)).min(LONGEST)),
        };
    }

    /// How long to wait before the next start, and after how many early ends.
    pub(crate) fn wait(&self, now: Instant) -> Option<(Duration, u32)> {
        let left = self.not_before?.checked_duration_since(now)?;
        (!left.is_zero()).then_some((left, self.early_ends))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delays_double_up_to_a_minute_and_a_long_life_forgives() {
        let (mut now, mut backoff) = (Instant::now(), Backoff::default());
        let mut delays = Vec::new();
        for _ in 0..12 {
            let started = now + Duration::from_millis(1);
            now = started + Duration::from_secs(1);
            backoff.ended(started, now);
            delays.push(backoff.wait(now).map_or(0, |(delay, _)| delay.as_millis()));
        }
        assert_eq!(delays, [0, 250, 500, 1000, 2000, 4000, 8000, 16000, 32000, 60000, 60000, 60000]);
        assert!(backoff.wait(now + Duration::from_secs(61)).is_none());
        backoff.ended(now, now + Duration::from_secs(10));
        assert!(backoff.wait(now).is_none());
    }

    #[test]
    fn pipes_that_end_together_are_one_end() {
        let (opened, mut backoff) = (Instant::now(), Backoff::default());
        let fell = opened + Duration::from_secs(3);
        for session in 0..64 {
            backoff.ended(opened + Duration::from_millis(session), fell + Duration::from_millis(session));
        }
        assert!(backoff.wait(fell).is_none(), "a restart of the server is no reason to wait");
        let again = fell + Duration::from_secs(1);
        backoff.ended(again, again);
        assert!(backoff.wait(again).is_some(), "one that falls again is");
    }
}
