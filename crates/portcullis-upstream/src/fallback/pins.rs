//! Which legacy session was opened on which way.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use portcullis_core::call::SessionKey;

/// Sessions that are remembered. 131,072: the listener's own cap is far lower; this one only keeps a mistake there from growing memory.
const MOST: usize = 131_072;

#[derive(Debug, Default)]
pub(super) struct Pins(Mutex<HashMap<SessionKey, usize>>);

impl Pins {
    pub(super) fn find(&self, key: SessionKey) -> Option<usize> {
        self.lock().get(&key).copied()
    }

    /// A session that is forgotten for lack of room is lost, and its client begins another.
    pub(super) fn insert(&self, key: SessionKey, at: usize) {
        let mut pins = self.lock();
        if pins.len() >= MOST
            && !pins.contains_key(&key)
            && let Some(any) = pins.keys().next().copied()
        {
            pins.remove(&any);
        }
        pins.insert(key, at);
    }

    pub(super) fn remove(&self, key: SessionKey) -> Option<usize> {
        self.lock().remove(&key)
    }

    /// Whether it was there: a session that was opened anew meanwhile stays.
    pub(super) fn remove_from(&self, key: SessionKey, at: usize) -> bool {
        let mut pins = self.lock();
        let there = pins.get(&key) == Some(&at);
        if there {
            pins.remove(&key);
        }
        there
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<SessionKey, usize>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
