//! Tasks that answers made: whose they are, and what a guard must know of them later. Bounded, and shared by the plans of one process.

use std::any::Any;
use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use portcullis_core::version::Era;
use portcullis_core::wire::{Message, View};

/// Tasks remembered for one caller; its oldest goes first. 1024: far more than one client polls at a time.
const PER_OWNER: usize = 1024;
/// Tasks remembered in total. 16,384: sixteen callers at their limit; 32 MiB if every id were as long as it may be.
const TOTAL: usize = 16_384;
/// Longest id that is remembered, in bytes. 2048: the reader's default limit for names, so that nobody can ask for a longer one.
const ID_BYTES: usize = 2048;

/// What became of a binding.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Bound {
    /// The task is this caller's now, or was already.
    New,
    /// It is this caller's now, and was another's.
    TakenOver,
    /// Not remembered: everything is full of other callers' tasks, or the id is too long.
    NotKept,
}

/// Tasks, their owners, and something of the guard's own about each.
pub(crate) struct Remembered<T> {
    inner: Mutex<Inner<T>>,
}

impl<T> Default for Remembered<T> {
    fn default() -> Self {
        Self { inner: Mutex::new(Inner { tasks: HashMap::new(), queues: HashMap::new() }) }
    }
}

/// Shows nothing: what is remembered is neither configuration nor fit for a log.
impl<T> fmt::Debug for Remembered<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Remembered(..)")
    }
}

/// The memory of one guard: its own, or, after a reload, that of the guard of the plan before.
#[derive(Debug)]
pub(crate) struct Memory<T>(OnceLock<Arc<Remembered<T>>>);

impl<T> Default for Memory<T> {
    fn default() -> Self {
        Self(OnceLock::new())
    }
}

impl<T: Send + 'static> Memory<T> {
    pub(crate) fn get(&self) -> &Arc<Remembered<T>> {
        self.0.get_or_init(Arc::default)
    }

    /// Takes over what [`Memory::get`] gave in the plan before. A guard that was in use already keeps what it has.
    pub(crate) fn inherit(&self, memory: &dyn Any) {
        if let Some(remembered) = memory.downcast_ref::<Arc<Remembered<T>>>() {
            let _in_use = self.0.set(Arc::clone(remembered));
        }
    }
}

/// The id of the task that this answer made instead of giving a result.
pub(crate) fn made(answer: &Message, era: Era) -> Option<View<'_>> {
    match era {
        Era::Legacy => answer.result_member("task")?.get("taskId"),
        Era::Modern => {
            let kind = answer.result_member("resultType")?;
            kind.as_str().filter(|kind| kind == "task")?;
            answer.result_member("taskId")
        }
    }
}

/// A server and an id of its making, as one key.
type Key = Arc<str>;

struct Inner<T> {
    tasks: HashMap<Key, (Arc<str>, T)>,
    /// Each owner's tasks, oldest first. Never an empty queue, so there are no more owners than tasks.
    queues: HashMap<Arc<str>, VecDeque<Key>>,
}

impl<T: Clone> Remembered<T> {
    /// Who made the task, and what is remembered of it, if that is known.
    pub(crate) fn of(&self, server: &str, id: &str) -> Option<(Arc<str>, T)> {
        self.lock().tasks.get(&*key(server, id)).cloned()
    }

    /// Remembers that `owner` made the task. The server's latest word counts: after its restart an id may come again.
    pub(crate) fn bind(&self, server: &str, id: &str, owner: &Arc<str>, about: T) -> Bound {
        if id.len() > ID_BYTES {
            return Bound::NotKept;
        }
        let key: Key = key(server, id).into();
        let mut inner = self.lock();
        let before = inner.tasks.get(&key).map(|(owner, _)| Arc::clone(owner));
        let bound = match before {
            Some(before) if before == *owner => {
                inner.tasks.insert(key, (before, about));
                return Bound::New;
            }
            Some(before) => {
                inner.forget(&before, &key);
                Bound::TakenOver
            }
            None => Bound::New,
        };
        let own = inner.queues.get(owner).map_or(0, VecDeque::len);
        if own >= PER_OWNER || inner.tasks.len() >= TOTAL {
            // Only ever one's own: a caller must not be able to make us forget whose another's tasks are.
            let Some(oldest) = inner.queues.get(owner).and_then(VecDeque::front).cloned() else {
                return Bound::NotKept;
            };
            inner.forget(owner, &oldest);
        }
        inner.tasks.insert(Arc::clone(&key), (Arc::clone(owner), about));
        inner.queues.entry(Arc::clone(owner)).or_default().push_back(key);
        bound
    }

    /// A panic elsewhere cannot leave the maps half changed in a way that matters: a key in one of them only is overwritten.
    fn lock(&self) -> MutexGuard<'_, Inner<T>> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<T> Inner<T> {
    fn forget(&mut self, owner: &Arc<str>, key: &Key) {
        self.tasks.remove(key);
        let Some(queue) = self.queues.get_mut(owner) else { return };
        // From the front: nearly always the oldest.
        if let Some(at) = queue.iter().position(|known| known == key) {
            queue.remove(at);
        }
        if queue.is_empty() {
            self.queues.remove(owner);
        }
    }
}

/// Names of servers come from the configuration and hold no line break.
fn key(server: &str, id: &str) -> String {
    format!("{server}\n{id}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn owner(name: &str) -> Arc<str> {
        Arc::from(name)
    }

    fn owned(by: &Arc<str>) -> Option<(Arc<str>, ())> {
        Some((Arc::clone(by), ()))
    }

    #[test]
    fn the_oldest_of_the_same_caller_goes_first() {
        let owners = Remembered::default();
        let (ada, bob) = (owner("ada"), owner("bob"));
        assert_eq!(owners.bind("s", "b", &bob, ()), Bound::New);
        for number in 0..=PER_OWNER {
            assert_eq!(owners.bind("s", &format!("a{number}"), &ada, ()), Bound::New);
        }
        assert_eq!(owners.of("s", "a0"), None);
        assert_eq!(owners.of("s", "a1"), owned(&ada));
        assert_eq!(owners.of("s", "b"), owned(&bob));
    }

    #[test]
    fn callers_at_their_limits_push_nobody_out() {
        let owners = Remembered::default();
        let bob = owner("bob");
        owners.bind("s", "first", &bob, ());
        for number in 1..TOTAL {
            owners.bind("s", &format!("t{number}"), &owner(&format!("caller {}", number / PER_OWNER)), ());
        }
        assert_eq!(owners.bind("s", "late", &owner("late"), ()), Bound::NotKept);
        assert_eq!(owners.of("s", "first"), owned(&bob));
        assert_eq!(owners.bind("s", "second", &bob, ()), Bound::New);
        assert_eq!((owners.of("s", "first"), owners.of("s", "second")), (None, owned(&bob)));
        assert_eq!(owners.lock().tasks.len(), TOTAL);
    }

    #[test]
    fn an_id_that_comes_again_is_its_latest_makers() {
        let owners = Remembered::default();
        let (ada, bob) = (owner("ada"), owner("bob"));
        assert_eq!(owners.bind("s", "1", &ada, ()), Bound::New);
        assert_eq!(owners.bind("s", "1", &ada, ()), Bound::New);
        assert_eq!(owners.bind("other", "1", &bob, ()), Bound::New);
        assert_eq!(owners.bind("s", "1", &bob, ()), Bound::TakenOver);
        assert_eq!(owners.of("s", "1"), owned(&bob));
        assert!(!owners.lock().queues.contains_key(&ada));
    }

    #[test]
    fn an_id_nobody_can_ask_for_is_not_kept() {
        let owners = Remembered::default();
        assert_eq!(owners.bind("s", &"x".repeat(ID_BYTES + 1), &owner("ada"), ()), Bound::NotKept);
    }
}
