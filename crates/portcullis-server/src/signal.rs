//! A word that everybody hears once: draining, overdue, cut off. Asking whether it was said costs one load, since every request asks; who
//! waits is registered once for each connection, not for each request.

use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::Poll;

use tokio_util::sync::CancellationToken;

/// A token whose state is cheap to ask for.
#[derive(Debug, Default)]
pub(crate) struct Signal {
    said: AtomicBool,
    token: CancellationToken,
}

impl Signal {
    pub(crate) fn say(&self) {
        // Before the waiters wake, who ask.
        self.said.store(true, Ordering::Release);
        self.token.cancel();
    }

    pub(crate) fn is_said(&self) -> bool {
        self.said.load(Ordering::Acquire)
    }

    /// For what outlives the borrow, and for tokens that follow this one.
    pub(crate) const fn token(&self) -> &CancellationToken {
        &self.token
    }

    /// `work`, unless the word comes first. Registers nobody: the word wakes the task only where [`Signal::wakes`] is around it.
    /// Takes the work pinned: moved into a future of its own it would be copied, and some of it is large.
    pub(crate) async fn unless<T>(&self, mut work: Pin<&mut impl Future<Output = T>>) -> Option<T> {
        poll_fn(|cx| match work.as_mut().poll(cx) {
            Poll::Ready(done) => Poll::Ready(Some(done)),
            Poll::Pending if self.is_said() => Poll::Ready(None),
            Poll::Pending => Poll::Pending,
        })
        .await
    }

    /// `work` to its end, polled once more when the word comes.
    pub(crate) async fn wakes<T>(&self, mut work: Pin<&mut impl Future<Output = T>>) -> T {
        let mut word = pin!(self.token.cancelled());
        // The task of a future that was polled here stays the same, so its waker has to be left only once.
        let mut registered = None;
        poll_fn(|cx| {
            if !registered.as_ref().is_some_and(|waker| cx.waker().will_wake(waker)) {
                registered = Some(cx.waker().clone());
                let _later = word.as_mut().poll(cx);
            }
            work.as_mut().poll(cx)
        })
        .await
    }
}

#[cfg(test)]
mod tests {
    use std::future::pending;
    use std::pin::pin;
    use std::sync::Arc;

    use super::Signal;

    #[tokio::test]
    async fn work_inside_a_task_that_hears_the_word_ends_when_it_is_said() {
        let signal = Arc::new(Signal::default());
        let (hearing, ready) = (Arc::clone(&signal), Arc::new(tokio::sync::Notify::new()));
        let begun = Arc::clone(&ready);
        let task = tokio::spawn(async move {
            hearing
                .wakes(pin!(async {
                    begun.notify_one();
                    hearing.unless(pin!(pending::<()>())).await
                }))
                .await
        });
        ready.notified().await;
        assert!(!signal.is_said());
        signal.say();
        assert_eq!(task.await.unwrap(), None);
    }

    #[tokio::test]
    async fn work_that_is_done_counts_even_after_the_word() {
        let signal = Signal::default();
        signal.say();
        assert_eq!(signal.wakes(pin!(signal.unless(pin!(async { 7 })))).await, Some(7));
        assert!(signal.token().is_cancelled());
    }
}
