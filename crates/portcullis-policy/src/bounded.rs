//! A small concurrent memo that cannot grow without end: sharded, and a shard that is full is emptied. Only for values that can be made again.

use std::collections::HashMap;
use std::fmt;
use std::hash::{BuildHasher as _, Hash, RandomState};
use std::sync::{PoisonError, RwLock};

/// Enough that two busy cores rarely meet.
const SHARDS: usize = 16;

pub(crate) struct Bounded<K, V> {
    shards: [RwLock<HashMap<K, V>>; SHARDS],
    /// Per shard.
    most: usize,
    hasher: RandomState,
}

impl<K: Hash + Eq, V: Clone> Bounded<K, V> {
    pub(crate) fn new(most: usize) -> Self {
        Self {
            shards: std::array::from_fn(|_| RwLock::default()),
            most: (most / SHARDS).max(1),
            hasher: RandomState::new(),
        }
    }

    /// The remembered value, or a new one. Two threads may make it at once; the later one stays.
    pub(crate) fn get_or_insert(&self, key: K, make: impl FnOnce(&K) -> V) -> V {
        if let Some(value) = self.get(&key) {
            return value;
        }
        let value = make(&key);
        self.insert(key, value.clone());
        value
    }

    pub(crate) fn get(&self, key: &K) -> Option<V> {
        let map = self.shard(key)?.read().unwrap_or_else(PoisonError::into_inner);
        map.get(key).cloned()
    }

    pub(crate) fn insert(&self, key: K, value: V) {
        let Some(shard) = self.shard(&key) else { return };
        let mut map = shard.write().unwrap_or_else(PoisonError::into_inner);
        if map.len() >= self.most {
            map.clear();
        }
        map.insert(key, value);
    }

    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.shards.iter().map(|shard| shard.read().unwrap().len()).sum()
    }

    fn shard(&self, key: &K) -> Option<&RwLock<HashMap<K, V>>> {
        let hash = self.hasher.hash_one(key);
        self.shards.get(usize::try_from(hash >> 32).unwrap_or_default() % SHARDS)
    }
}

/// Shows how full it is, not what is in it.
impl<K, V> fmt::Debug for Bounded<K, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Bounded").field("most_per_shard", &self.most).finish_non_exhaustive()
    }
}
