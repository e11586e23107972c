//! Lists that the strict reader has accepted before, so that the very same text need not be read again. What is compared is the text itself,
//! byte for byte, and the limits hold as if it were read: knowing a list can make reading cheaper and never laxer.

use std::collections::VecDeque;
use std::fmt;
use std::hash::{BuildHasher, RandomState};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;

use super::{Direction, JsonKind, Limits, Malformed, Message, Token, View};
use crate::catalogue::Listed;

/// Bytes of a list from which on it is worth knowing. 2 KiB: a shorter one is read in two microseconds.
const LEAST: usize = 2 << 10;
/// Bytes of a list that is kept. 256 KiB: four hundred tools of usual size; longer ones are read each time.
const MOST: usize = 256 << 10;
/// Bytes of all lists of one memory. 1 MiB: the four lists of a server, or sixteen pages of a hundred tools.
const MOST_BYTES: usize = 1 << 20;
/// Lists of one memory. 16: each costs one look at its first bytes for every list that is read.
const MOST_LISTS: usize = 16;
/// Lists of which it is remembered that they came once. 32: twice as many as are kept.
const MOST_ONCE: usize = 32;
/// Bytes at either end of a list that are hashed for that. 256: pages differ in their first item.
const HASHED: usize = 256;

/// A JSON array that was accepted: its text, and how much of the limits it takes. Cloning shares.
#[derive(Clone)]
pub struct Known(Arc<Array>);

struct Array {
    text: Bytes,
    /// Nested arrays and objects, itself included.
    depth: usize,
    /// Values in it, itself not included.
    values: usize,
    /// Members of its largest object.
    keys: usize,
}

impl Known {
    /// `None` for anything but an array.
    #[must_use]
    pub fn of(array: View<'_>) -> Option<Self> {
        if array.kind() != JsonKind::Array {
            return None;
        }
        let (mut depth, mut values, mut keys) = (0, 0_usize, 0);
        // Of each open container: how many keys it has had.
        let mut open: Vec<usize> = Vec::new();
        for token in array.tokens() {
            match token {
                Token::Open(_) => {
                    values += 1;
                    open.push(0);
                    depth = depth.max(open.len());
                }
                Token::Scalar(_) => values += 1,
                Token::Key(_) => {
                    if let Some(own) = open.last_mut() {
                        *own += 1;
                        keys = keys.max(*own);
                    }
                }
                Token::Close => drop(open.pop()),
            }
        }
        // In a buffer of its own: the message it came in may be much larger.
        let text = Bytes::copy_from_slice(array.raw());
        Some(Self(Arc::new(Array { text, depth, values: values.saturating_sub(1), keys })))
    }

    /// The array as written.
    #[must_use]
    pub fn text(&self) -> &Bytes {
        &self.0.text
    }

    /// Whether both are the same one. Equal texts may be known twice.
    #[must_use]
    pub fn is(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }

    /// Where the value at `at` ends and how many values are in it, if it is this very array and reading it would be within `limits`. `depth`:
    /// containers that are open there; `values`: how many have been read, the one at `at` included. An array that begins like this one to
    /// its closing bracket ends there too.
    pub(super) fn at(
        &self,
        bytes: &[u8],
        at: usize,
        depth: usize,
        values: usize,
        limits: &Limits,
    ) -> Option<(usize, usize)> {
        let Array { text, depth: own_depth, values: own_values, keys } = &*self.0;
        let fits = depth.saturating_add(*own_depth) <= limits.depth
            && values.saturating_add(*own_values) <= limits.members
            && *keys <= limits.keys;
        (fits && bytes.get(at..)?.starts_with(text)).then(|| (at + text.len(), *own_values))
    }
}

/// Shows the size, never the content: lists are what one server tells its clients.
impl fmt::Debug for Known {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Known({} bytes)", self.0.text.len())
    }
}

/// The lists that came more than once from one place. A list that differs each time is never kept, and costs what reading it costs.
pub struct Seen {
    inner: Mutex<Lists>,
    hasher: RandomState,
}

#[derive(Default)]
struct Lists {
    /// For readers, who hold no lock; the oldest first.
    known: Arc<[Known]>,
    /// Hashes of lists that came once.
    once: VecDeque<u64>,
}

impl Default for Seen {
    fn default() -> Self {
        Self { inner: Mutex::default(), hasher: RandomState::new() }
    }
}

impl fmt::Debug for Seen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Seen").field("known", &self.known()).finish_non_exhaustive()
    }
}

impl Seen {
    /// Exactly what [`Message::read`] would give, at less cost where a list in its result came before.
    ///
    /// # Errors
    /// Those of [`Message::read`].
    pub fn read(&self, bytes: Bytes, direction: Direction, limits: &Limits) -> Result<Message, Malformed> {
        // Most messages are smaller than any list that is worth knowing.
        if bytes.len() < LEAST {
            return Message::read(bytes, direction, limits);
        }
        let message = Message::read_knowing(bytes, direction, limits, &self.known())?;
        if let Some(list) = unknown_list(&message) {
            self.came(list);
        }
        Ok(message)
    }

    fn known(&self) -> Arc<[Known]> {
        Arc::clone(&self.lock().known)
    }

    fn came(&self, list: View<'_>) {
        let text = list.raw();
        let hash = self.hasher.hash_one((text.len(), text.first_chunk::<HASHED>(), text.last_chunk::<HASHED>()));
        let mut lists = self.lock();
        if let Some(place) = lists.once.iter().position(|known| *known == hash) {
            lists.once.remove(place);
            drop(lists);
            // Counted without the lock. Two that count at once keep it twice, until one of them is the oldest.
            if let Some(known) = Known::of(list) {
                self.lock().keep(known);
            }
            return;
        }
        if lists.once.len() >= MOST_ONCE {
            lists.once.pop_front();
        }
        lists.once.push_back(hash);
    }

    fn lock(&self) -> MutexGuard<'_, Lists> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Lists {
    /// The newest stay, as many as fit.
    fn keep(&mut self, new: Known) {
        let mut left = MOST_BYTES.saturating_sub(new.text().len());
        let newest = self.known.iter().rev().take(MOST_LISTS - 1).take_while(|known| {
            let room = left.checked_sub(known.text().len());
            left = room.unwrap_or_default();
            room.is_some()
        });
        let mut kept: Vec<Known> = newest.cloned().collect();
        kept.reverse();
        kept.push(new);
        self.known = kept.into();
    }
}

/// A list in the result of a message that was not known and may become so.
fn unknown_list(message: &Message) -> Option<View<'_>> {
    let list = Listed::ALL.into_iter().find_map(|list| {
        message.result_member(list.member()).filter(|_| message.known_result_member(list.member()).is_none())
    })?;
    (list.kind() == JsonKind::Array && (LEAST..=MOST).contains(&list.raw().len())).then_some(list)
}

#[cfg(test)]
mod tests;
