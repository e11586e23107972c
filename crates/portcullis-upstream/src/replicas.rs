//! Replicas of one server: which of them has the least to do. What is sent where, and when it may be sent elsewhere, is `fallback.rs`.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use crate::fallback::Way;

/// What is under way at each replica.
#[derive(Debug)]
pub(crate) struct Balance {
    loads: Box<[Load]>,
    /// Calls so far.
    calls: AtomicU64,
}

#[derive(Debug, Default)]
struct Load {
    under_way: Arc<AtomicUsize>,
    /// Number of its latest call. Of those with as much to do it is the turn of who waited longest, so that idle replicas share sessions too.
    latest: AtomicU64,
}

/// Something under way, until it is dropped.
#[derive(Debug)]
pub(crate) struct Busy(Arc<AtomicUsize>);

impl Drop for Busy {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}

impl Balance {
    pub(crate) fn among(count: usize) -> Self {
        Self { loads: (0..count).map(|_| Load::default()).collect(), calls: AtomicU64::new(0) }
    }

    pub(crate) fn busy(&self, at: usize) -> Option<Busy> {
        let load = self.loads.get(at)?;
        load.under_way.fetch_add(1, Ordering::AcqRel);
        load.latest.store(self.calls.fetch_add(1, Ordering::Relaxed) + 1, Ordering::Relaxed);
        Some(Busy(Arc::clone(&load.under_way)))
    }

    /// The healthy ones first, and of those the idlest.
    pub(crate) fn order(&self, replicas: &[Way]) -> Arc<[usize]> {
        let mut order: Vec<_> = replicas
            .iter()
            .zip(&self.loads)
            .enumerate()
            .map(|(at, (replica, load))| {
                let under_way = load.under_way.load(Ordering::Acquire);
                (replica.breaker().is_shut(), under_way, load.latest.load(Ordering::Relaxed), at)
            })
            .collect();
        order.sort_unstable();
        order.into_iter().map(|(.., at)| at).collect()
    }
}

#[cfg(test)]
mod tests;
