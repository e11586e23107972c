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
    not_before: Option<Instant>,
}

impl Backoff {
    /// A pipe ended without being asked to.
    pub(crate) fn ended(&mut self, now: Instant, lived: Duration) {
        if lived >= PROVEN {
            *self = Self::default();
            return;
        }
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
        let (now, mut backoff) = (Instant::now(), Backoff::default());
        let mut delays = Vec::new();
        for _ in 0..12 {
            backoff.ended(now, Duration::from_secs(1));
            delays.push(backoff.wait(now).map_or(0, |(delay, _)| delay.as_millis()));
        }
        assert_eq!(delays, [0, 250, 500, 1000, 2000, 4000, 8000, 16000, 32000, 60000, 60000, 60000]);
        assert!(backoff.wait(now + Duration::from_secs(61)).is_none());
        backoff.ended(now, Duration::from_secs(10));
        assert!(backoff.wait(now).is_none());
    }
}
