//! Counts of the last while, in ten buckets: memory does not grow with traffic, and what is old falls out a tenth at a time.

use std::time::Duration;

const BUCKETS: u64 = 10;

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    pub(crate) calls: u32,
    pub(crate) failures: u32,
    pub(crate) slow: u32,
}

#[derive(Clone, Debug)]
pub(crate) struct Window {
    bucket: Duration,
    /// Each with the number of the tenth it counts, in the place that the number gives it.
    buckets: [(u64, Counts); BUCKETS as usize],
}

impl Window {
    pub(crate) fn of(length: Duration) -> Self {
        let bucket = (length / 10).max(Duration::from_millis(1));
        Self { bucket, buckets: [(0, Counts::default()); BUCKETS as usize] }
    }

    pub(crate) fn count(&mut self, now: Duration, failed: bool, slow: bool) {
        let number = self.number(now);
        let place = usize::try_from(number % BUCKETS).unwrap_or_default();
        let Some((counted, counts)) = self.buckets.get_mut(place) else { return };
        if *counted != number {
            (*counted, *counts) = (number, Counts::default());
        }
        counts.calls = counts.calls.saturating_add(1);
        counts.failures = counts.failures.saturating_add(failed.into());
        counts.slow = counts.slow.saturating_add(slow.into());
    }

    pub(crate) fn sum(&self, now: Duration) -> Counts {
        let oldest = (self.number(now) + 1).saturating_sub(BUCKETS);
        let recent = self.buckets.iter().filter(|(counted, _)| *counted >= oldest);
        recent.fold(Counts::default(), |sum, (_, counts)| Counts {
            calls: sum.calls.saturating_add(counts.calls),
            failures: sum.failures.saturating_add(counts.failures),
            slow: sum.slow.saturating_add(counts.slow),
        })
    }

    pub(crate) fn clear(&mut self) {
        self.buckets = [(0, Counts::default()); BUCKETS as usize];
    }

    fn number(&self, now: Duration) -> u64 {
        u64::try_from(now.as_millis() / self.bucket.as_millis().max(1)).unwrap_or(u64::MAX - 1)
    }
}

/// Whether `part` is at least `percent` of `whole`.
pub(crate) fn reaches(part: u32, percent: u32, whole: u32) -> bool {
    u64::from(part) * 100 >= u64::from(whole) * u64::from(percent)
}
