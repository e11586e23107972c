//! Whether a call may have left, told by the transport to whoever chooses among transports: from then on it may not go elsewhere, and waiting for it is
//! the transport's business. Whoever is not told takes a call for one that has not left, so a transport must say it before the first byte goes.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

tokio::task_local! {
    static LEAVING: Arc<Departure>;
}

/// One attempt of a call, seen from where it was chosen.
#[derive(Debug, Default)]
pub(crate) struct Departure {
    left: AtomicBool,
    /// The choice that this one is part of: a transport may be a choice among replicas.
    outer: Option<Arc<Self>>,
}

impl Departure {
    /// Not left yet.
    pub(crate) fn of_attempt() -> Arc<Self> {
        Arc::new(Self { left: AtomicBool::new(false), outer: LEAVING.try_with(Arc::clone).ok() })
    }

    pub(crate) fn may_have_left(&self) -> bool {
        self.left.load(Ordering::Acquire)
    }

    /// Runs the attempt.
    pub(crate) fn watch<F: Future>(self: Arc<Self>, attempt: F) -> impl Future<Output = F::Output> {
        LEAVING.scope(self, attempt)
    }
}

/// The first byte of the call goes now.
pub(crate) fn leaves() {
    let _nobody_chose = LEAVING.try_with(|departure| {
        let mut next = Some(departure);
        while let Some(departure) = next {
            departure.left.store(true, Ordering::Release);
            next = departure.outer.as_ref();
        }
    });
}

/// Runs what is asked on our own account in the course of a call: that it leaves says nothing of the call.
pub(crate) fn apart<F: Future>(question: F) -> impl Future<Output = F::Output> {
    LEAVING.scope(Arc::default(), question)
}

#[cfg(test)]
mod tests {
    use super::{Departure, apart, leaves};

    #[tokio::test]
    async fn who_chose_hears_of_it_and_who_chose_around_it_and_nobody_of_our_own_questions() {
        leaves();
        let (outer, other) = (Departure::of_attempt(), Departure::of_attempt());
        let within = outer.clone().watch(async {
            apart(async { leaves() }).await;
            let inner = Departure::of_attempt();
            assert!(!inner.may_have_left());
            inner.clone().watch(async { leaves() }).await;
            inner.may_have_left()
        });
        assert!(!outer.may_have_left(), "it has not begun");
        assert!(within.await && outer.may_have_left());
        assert!(!other.may_have_left());
    }
}
