//! How fast a client may send. Whoever is faster is read later, which slows it through TCP; whoever stays faster is closed. Nothing is dropped.

use std::time::Duration;

use tokio::time::Instant;

/// A client's pace.
#[derive(Debug)]
pub(super) struct Pace {
    /// Time that one frame stands for; `None`: no limit.
    each: Option<Duration>,
    burst: u32,
    /// For how long it may be slowed.
    patience: Option<Duration>,
    /// When all frames so far have had their time.
    due: Instant,
    slowed_since: Option<Instant>,
}

impl Pace {
    pub(super) fn new(per_second: u32, patience: Option<Duration>, now: Instant) -> Self {
        let each = (per_second != 0).then(|| Duration::from_secs(1) / per_second.max(1));
        Self { each, burst: per_second, patience, due: now, slowed_since: None }
    }

    /// Counts a frame that came at `now`: how long to wait before the next is read.
    ///
    /// # Errors
    /// It has been slowed for longer than is put up with.
    pub(super) fn frame(&mut self, now: Instant) -> Result<Duration, Overrun> {
        let Some(each) = self.each else { return Ok(Duration::ZERO) };
        if self.due <= now {
            // It has rested.
            self.slowed_since = None;
        }
        self.due = self.due.max(now) + each;
        let wait = (self.due - now).saturating_sub(each * self.burst);
        if !wait.is_zero() {
            let since = *self.slowed_since.get_or_insert(now);
            if self.patience.is_some_and(|patience| now - since > patience) {
                return Err(Overrun);
            }
        }
        Ok(wait)
    }
}

/// Too fast for too long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Overrun;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_passes_then_a_client_is_slowed_and_in_the_end_closed() {
        let mut now = Instant::now();
        let mut pace = Pace::new(10, Some(Duration::from_secs(2)), now);
        for _ in 0..10 {
            assert_eq!(pace.frame(now), Ok(Duration::ZERO));
        }
        let begun = now;
        let overrun = loop {
            match pace.frame(now) {
                Ok(wait) => {
                    assert_eq!(wait, Duration::from_millis(100), "one frame's time for each");
                    now += wait;
                }
                Err(overrun) => break overrun,
            }
        };
        assert_eq!(overrun, Overrun);
        assert!(now - begun > Duration::from_secs(2) && now - begun < Duration::from_secs(3));
    }

    #[test]
    fn a_client_that_rests_begins_anew_and_without_a_limit_nobody_waits() {
        let mut now = Instant::now();
        let mut pace = Pace::new(1, Some(Duration::from_secs(3)), now);
        for _ in 0..20 {
            assert_eq!(pace.frame(now), Ok(Duration::ZERO));
            assert_eq!(pace.frame(now), Ok(Duration::from_secs(1)));
            now += Duration::from_secs(2);
        }
        let mut free = Pace::new(0, None, now);
        assert!((0..10_000).all(|_| free.frame(now) == Ok(Duration::ZERO)));
    }
}
