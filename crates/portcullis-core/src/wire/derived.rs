//! Lists that were made of known lists by an edit, for when the same edit is wanted of the same list again. Whoever keeps one says what the
//! edit depended on; the list itself is always part of that.

use std::collections::VecDeque;
use std::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::Known;

/// Number of lists in one memory. 512: small lists are not worth knowing, so that most memories are full of bytes first.
const MOST: usize = 512;

/// The memory. `K`: what else the edit depended on.
pub struct Derived<K> {
    entries: Mutex<VecDeque<Entry<K>>>,
    most_bytes: usize,
}

struct Entry<K> {
    came: Known,
    key: K,
    made: Known,
}

impl<K> Entry<K> {
    fn bytes(&self) -> usize {
        self.came.text().len() + self.made.text().len()
    }
}

impl<K> Derived<K> {
    /// `most_bytes`: of all lists, as they came and as they were made.
    #[must_use]
    pub const fn new(most_bytes: usize) -> Self {
        Self { entries: Mutex::new(VecDeque::new()), most_bytes }
    }

    /// What was made of this very list with a key that `is` the one now.
    pub fn find(&self, came: &Known, is: impl Fn(&K) -> bool) -> Option<Known> {
        let entries = self.lock();
        entries.iter().find(|entry| entry.came.is(came) && is(&entry.key)).map(|entry| entry.made.clone())
    }

    /// The oldest are forgotten where there is no room.
    pub fn keep(&self, came: &Known, key: K, made: Known) {
        let entry = Entry { came: came.clone(), key, made };
        let mut entries = self.lock();
        entries.push_back(entry);
        let mut bytes: usize = entries.iter().map(Entry::bytes).sum();
        while bytes > self.most_bytes || entries.len() > MOST {
            let Some(oldest) = entries.pop_front() else { break };
            bytes = bytes.saturating_sub(oldest.bytes());
        }
    }

    fn lock(&self) -> MutexGuard<'_, VecDeque<Entry<K>>> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }

    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.lock().len()
    }
}

/// Shows how full it is, not what is in it.
impl<K> fmt::Debug for Derived<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Derived").field("lists", &self.lock().len()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::{Derived, MOST};
    use crate::wire::{Known, Limits, view_json};

    fn known(list: &str) -> Known {
        Known::of(view_json(list.as_bytes(), &Limits::default()).unwrap()).unwrap()
    }

    #[test]
    fn a_list_is_found_by_itself_and_its_key() {
        let (memory, one, made) = (Derived::new(1000), known("[1]"), known("[2]"));
        memory.keep(&one, 'a', made.clone());
        assert!(memory.find(&one, |key| *key == 'a').unwrap().is(&made));
        assert!(memory.find(&one, |key| *key == 'b').is_none());
        assert!(memory.find(&known("[3]"), |_| true).is_none());
    }

    #[test]
    fn the_newest_stay_within_number_and_bytes() {
        for (most_bytes, expected) in [(usize::MAX, MOST), (1000, 250), (3, 0)] {
            let memory = Derived::new(most_bytes);
            let lists: Vec<Known> = (0..MOST + 10).map(|_| known("[]")).collect();
            for list in &lists {
                // Both are the same two bytes.
                memory.keep(list, (), list.clone());
            }
            assert_eq!(memory.len(), expected);
            assert_eq!(memory.find(lists.last().unwrap(), |()| true).is_some(), expected > 0);
            assert!(memory.find(lists.first().unwrap(), |()| true).is_none());
        }
    }
}
