//! The seam for state that replicas may have to share. Embedded by default; the semantics are the same wherever it is kept.

use std::collections::{BTreeSet, HashMap};
use std::fmt;
use std::future::ready;
use std::sync::{Mutex, PoisonError};

use crate::clock::Timestamp;
use crate::upstream::Pending;

/// What came of taking something that can be taken once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Taken {
    /// It is ours.
    First,
    /// Somebody had it before: a replay.
    Again,
    /// Nobody can tell: the store is full, or cannot be reached. Whoever asked must refuse.
    Full,
}

/// What came of binding something that can be bound once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bound {
    /// To what was asked for: by this call, or before.
    Here,
    /// To something else.
    Elsewhere,
    /// To nothing; only for who asks without binding.
    Free,
    /// Nobody can tell: the store is full, or cannot be reached. Whoever asked must refuse.
    Full,
}

/// State that outlives a request and may have to be seen by every replica.
pub trait Memory: Send + Sync + fmt::Debug {
    /// Takes `key` of `space` until `until`; exactly one of any number of concurrent callers gets [`Taken::First`]. `key` is a digest, so
    /// that what a peer sends cannot choose its size.
    fn take(&self, space: &'static str, key: [u8; 32], until: Timestamp, now: Timestamp) -> Pending<'_, Taken>;

    /// Binds `key` of `space` to `to` until `until`; of concurrent callers with different `to` exactly one gets [`Bound::Here`]. Without `to`,
    /// only asks. A space holds taken keys or bound ones, never both.
    fn bind(
        &self,
        space: &'static str,
        key: [u8; 32],
        to: Option<[u8; 32]>,
        until: Timestamp,
        now: Timestamp,
    ) -> Pending<'_, Bound>;
}

/// In the process itself.
pub struct Embedded {
    most: usize,
    spaces: Mutex<HashMap<&'static str, Space>>,
}

#[derive(Default)]
struct Space {
    /// What each key is bound to; zeros for one that is merely taken.
    to: HashMap<[u8; 32], [u8; 32]>,
    /// The keys by time, so that what has run out is found without looking at the rest.
    order: BTreeSet<(Timestamp, [u8; 32])>,
}

impl Embedded {
    /// Holds at most `most` keys in each space; one costs about 150 bytes.
    #[must_use]
    pub fn new(most: usize) -> Self {
        Self { most, spaces: Mutex::default() }
    }
}

impl fmt::Debug for Embedded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Embedded").field("most", &self.most).finish_non_exhaustive()
    }
}

impl Memory for Embedded {
    fn take(&self, space: &'static str, key: [u8; 32], until: Timestamp, now: Timestamp) -> Pending<'_, Taken> {
        let mut spaces = self.spaces.lock().unwrap_or_else(PoisonError::into_inner);
        let taken = spaces.entry(space).or_default().take(key, until, now, self.most);
        drop(spaces);
        Box::pin(ready(taken))
    }

    fn bind(
        &self,
        space: &'static str,
        key: [u8; 32],
        to: Option<[u8; 32]>,
        until: Timestamp,
        now: Timestamp,
    ) -> Pending<'_, Bound> {
        let mut spaces = self.spaces.lock().unwrap_or_else(PoisonError::into_inner);
        let bound = spaces.entry(space).or_default().bind(key, to, until, now, self.most);
        drop(spaces);
        Box::pin(ready(bound))
    }
}

impl Space {
    fn take(&mut self, key: [u8; 32], until: Timestamp, now: Timestamp, most: usize) -> Taken {
        self.forget(now);
        if self.to.contains_key(&key) {
            return Taken::Again;
        }
        if self.keep(key, [0; 32], until, most) { Taken::First } else { Taken::Full }
    }

    fn bind(&mut self, key: [u8; 32], to: Option<[u8; 32]>, until: Timestamp, now: Timestamp, most: usize) -> Bound {
        self.forget(now);
        match (self.to.get(&key).copied(), to) {
            (Some(before), Some(to)) if before == to => Bound::Here,
            (Some(_), _) => Bound::Elsewhere,
            (None, None) => Bound::Free,
            (None, Some(to)) if self.keep(key, to, until, most) => Bound::Here,
            (None, Some(_)) => Bound::Full,
        }
    }

    fn forget(&mut self, now: Timestamp) {
        while let Some(&(due, first)) = self.order.first()
            && due < now
        {
            self.order.pop_first();
            self.to.remove(&first);
        }
    }

    /// False: no room.
    fn keep(&mut self, key: [u8; 32], to: [u8; 32], until: Timestamp, most: usize) -> bool {
        if self.to.len() >= most {
            return false;
        }
        self.to.insert(key, to);
        self.order.insert((until, key));
        true
    }
}

#[cfg(test)]
mod tests {
    use super::{Bound, Embedded, Memory, Taken};
    use crate::clock::Timestamp;
    use futures_util::FutureExt;

    fn take(memory: &Embedded, key: u8, until: u64, now: u64) -> Taken {
        memory.take("nonces", [key; 32], Timestamp(until), Timestamp(now)).now_or_never().unwrap()
    }

    #[test]
    fn what_was_taken_cannot_be_taken_again_until_its_time_has_passed() {
        let memory = Embedded::new(10);
        assert_eq!(take(&memory, 1, 100, 0), Taken::First);
        assert_eq!(take(&memory, 1, 100, 100), Taken::Again, "its last millisecond counts");
        assert_eq!(take(&memory, 1, 300, 101), Taken::First);
    }

    #[test]
    fn a_full_store_says_so_and_forgets_nothing_that_still_counts() {
        let memory = Embedded::new(2);
        assert_eq!(take(&memory, 1, 100, 0), Taken::First);
        assert_eq!(take(&memory, 2, 200, 0), Taken::First);
        assert_eq!(take(&memory, 3, 200, 0), Taken::Full);
        assert_eq!(take(&memory, 1, 200, 50), Taken::Again);
        assert_eq!(take(&memory, 3, 200, 150), Taken::First, "the first one ran out");
    }

    #[test]
    fn of_many_at_once_exactly_one_is_first() {
        let memory = Embedded::new(1000);
        let firsts = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..50).map(|_| scope.spawn(|| take(&memory, 7, 100, 0) == Taken::First)).collect();
            threads.into_iter().map(|thread| usize::from(thread.join().unwrap())).sum::<usize>()
        });
        assert_eq!(firsts, 1);
    }

    #[test]
    fn spaces_do_not_know_each_other() {
        let memory = Embedded::new(1);
        assert_eq!(take(&memory, 1, 100, 0), Taken::First);
        let other = memory.take("jti", [1; 32], Timestamp(100), Timestamp(0)).now_or_never().unwrap();
        assert_eq!(other, Taken::First);
    }

    fn bind(memory: &Embedded, key: u8, to: Option<u8>, now: u64) -> Bound {
        let to = to.map(|to| [to; 32]);
        memory.bind("sessions", [key; 32], to, Timestamp(100), Timestamp(now)).now_or_never().unwrap()
    }

    #[test]
    fn a_key_stays_bound_to_what_it_was_bound_to_first() {
        let memory = Embedded::new(1);
        assert_eq!(bind(&memory, 1, None, 0), Bound::Free);
        assert_eq!(bind(&memory, 1, Some(7), 0), Bound::Here);
        assert_eq!(bind(&memory, 1, Some(7), 1), Bound::Here);
        assert_eq!(bind(&memory, 1, Some(8), 2), Bound::Elsewhere);
        assert_eq!(bind(&memory, 1, None, 3), Bound::Elsewhere);
        assert_eq!(bind(&memory, 2, Some(7), 100), Bound::Full);
        assert_eq!(bind(&memory, 2, None, 100), Bound::Free, "asking takes no room");
        assert_eq!(bind(&memory, 1, Some(8), 101), Bound::Here, "the binding ran out");
    }
}
