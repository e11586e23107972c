//! A small concurrent memo that cannot grow without end: sharded, and a shard that is full is emptied. Only for values that can be made again.

use std::collections::HashMap;
use std::fmt;
use std::hash::{BuildHasher as _, BuildHasherDefault, Hash, Hasher, RandomState};
use std::sync::{PoisonError, RwLock};

/// Enough that two busy cores rarely meet.
const SHARDS: usize = 16;

/// Found by the hash of a borrowed form of the key, so that a hit copies nothing; the whole key is compared before a value is given out.
pub(crate) struct Bounded<K, V> {
    /// One entry per hash: of two keys with the same hash the later one stays.
    shards: [RwLock<Shard<K, V>>; SHARDS],
    /// Per shard.
    most: usize,
    hasher: RandomState,
}

type Shard<K, V> = HashMap<u64, (K, V), BuildHasherDefault<Hashed>>;

/// For keys that are hashes already, made with a secret of this process: hashing them again would cost as much and add nothing.
#[derive(Debug, Default)]
struct Hashed(u64);

impl Hasher for Hashed {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write_u64(&mut self, hash: u64) {
        self.0 = hash;
    }

    fn write(&mut self, bytes: &[u8]) {
        // Only ever asked for a `u64`; anything else is folded in all the same.
        self.0 = bytes.iter().fold(self.0, |hash, byte| hash.rotate_left(8) ^ u64::from(*byte));
    }
}

impl<K, V: Clone> Bounded<K, V> {
    pub(crate) fn new(most: usize) -> Self {
        Self {
            shards: std::array::from_fn(|_| RwLock::default()),
            most: (most / SHARDS).max(1),
            hasher: RandomState::new(),
        }
    }

    /// The remembered value of the key that looks like `wanted`, or a new one. Two threads may make it at once; the later one stays.
    pub(crate) fn get_or_insert(
        &self,
        wanted: &impl Hash,
        is: impl FnOnce(&K) -> bool,
        make: impl FnOnce() -> (K, V),
    ) -> V {
        self.get_or_keep(wanted, is, || {
            let (key, value) = make();
            (Some(key), value)
        })
    }

    /// The same for values of which some are given out without being remembered: those that are made without a key.
    pub(crate) fn get_or_keep(
        &self,
        wanted: &impl Hash,
        is: impl FnOnce(&K) -> bool,
        make: impl FnOnce() -> (Option<K>, V),
    ) -> V {
        let hash = self.hasher.hash_one(wanted);
        let Some(shard) = self.shards.get(usize::try_from(hash >> 32).unwrap_or_default() % SHARDS) else {
            return make().1;
        };
        if let Some((key, value)) = shard.read().unwrap_or_else(PoisonError::into_inner).get(&hash)
            && is(key)
        {
            return value.clone();
        }
        let (key, value) = make();
        let Some(key) = key else { return value };
        let mut map = shard.write().unwrap_or_else(PoisonError::into_inner);
        if map.len() >= self.most {
            map.clear();
        }
        map.insert(hash, (key, value.clone()));
        value
    }

    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.shards.iter().map(|shard| shard.read().unwrap().len()).sum()
    }
}

/// Shows how full it is, not what is in it.
impl<K, V> fmt::Debug for Bounded<K, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Bounded").field("most_per_shard", &self.most).finish_non_exhaustive()
    }
}
