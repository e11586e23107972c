//! The waker of an HTTP/1.1 connection. hyper wakes the connection whenever a piece of a request's body is taken, so that it reads on; of a
//! body that is whole there is nothing more to read, and the whole task, the call to the server included, would run once more for nothing.

use std::cell::Cell;
use std::sync::Arc;
use std::task::{Wake, Waker};

thread_local! {
    /// Whether this thread is taking a piece of a body, and whether a bell was rung meanwhile.
    static TAKING: Cell<Option<bool>> = const { Cell::new(None) };
}

/// The waker of the task that it was last asked for, which does not wake from within [`taking`].
#[derive(Default)]
pub(crate) struct Bell(Option<(Waker, Waker)>);

impl Bell {
    pub(crate) fn waker(&mut self, task: &Waker) -> &Waker {
        // A connection stays in its task, so this happens once.
        if !self.0.as_ref().is_some_and(|(known, _)| known.will_wake(task)) {
            self.0 = None;
        }
        let (_, bell) = self.0.get_or_insert_with(|| (task.clone(), Waker::from(Arc::new(Rope(task.clone())))));
        bell
    }
}

/// What rings.
struct Rope(Waker);

impl Wake for Rope {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        // Other threads, and this one at any other time, have something to tell.
        match TAKING.get() {
            None => self.0.wake_by_ref(),
            Some(_) => TAKING.set(Some(true)),
        }
    }
}

/// Ends the taking even where it panics.
struct Taken;

impl Drop for Taken {
    fn drop(&mut self) {
        TAKING.set(None);
    }
}

/// What `take` gives, and whether a bell was rung by it on this thread: whoever takes has to wake its task, unless that is of no use.
pub(crate) fn taking<T>(take: impl FnOnce() -> T) -> (T, bool) {
    let taken = Taken;
    TAKING.set(Some(false));
    let given = take();
    let rung = TAKING.get() == Some(true);
    drop(taken);
    (given, rung)
}

#[cfg(test)]
mod tests {
    use std::panic::catch_unwind;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::task::{Wake, Waker};

    use super::{Bell, taking};

    #[derive(Default)]
    struct Counted(AtomicUsize);

    impl Wake for Counted {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn counted() -> (Arc<Counted>, Waker) {
        let counted = Arc::new(Counted::default());
        (Arc::clone(&counted), Bell::default().waker(&Waker::from(counted)).clone())
    }

    #[test]
    fn a_bell_wakes_its_task_unless_it_rings_from_within() {
        let (woken, bell) = counted();
        bell.wake_by_ref();
        assert_eq!(woken.0.load(Ordering::Relaxed), 1);
        assert_eq!(taking(|| bell.wake_by_ref()), ((), true));
        assert_eq!(taking(|| 7), (7, false));
        assert_eq!(woken.0.load(Ordering::Relaxed), 1);
        bell.wake();
        assert_eq!(woken.0.load(Ordering::Relaxed), 2);
    }

    #[test]
    fn what_another_thread_has_to_tell_is_heard() {
        let (woken, bell) = counted();
        let ((), rung) = taking(|| std::thread::spawn(move || bell.wake()).join().unwrap());
        assert_eq!((woken.0.load(Ordering::Relaxed), rung), (1, false));
    }

    #[test]
    fn a_panic_leaves_no_bell_silent() {
        let (woken, bell) = counted();
        assert!(catch_unwind(|| taking(|| panic!("on purpose"))).is_err());
        bell.wake();
        assert_eq!(woken.0.load(Ordering::Relaxed), 1);
    }
}
