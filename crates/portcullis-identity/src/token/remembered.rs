//! What was found out about a token, so that it is verified once and not with every request. Never longer than the token, the issuer's keys
//! and the clock allow.

use portcullis_core::clock::Timestamp;
use quick_cache::sync::Cache;

/// By SHA-256 of the token: no token is kept.
#[derive(Debug)]
pub(crate) struct Remembered<V: Clone> {
    entries: Cache<[u8; 32], Entry<V>>,
}

/// One finding and where it ends.
#[derive(Clone, Debug)]
pub(crate) struct Entry<V> {
    pub(crate) value: V,
    /// It holds from this moment, so that a clock set back asks again …
    pub(crate) from: Timestamp,
    /// … and before this one.
    pub(crate) until: Timestamp,
    /// Which issuer's keys, in which version, it rests on; nothing for what no key verified.
    pub(crate) keys: Option<(usize, u64)>,
}

impl<V: Clone> Remembered<V> {
    pub(crate) fn new(most: usize) -> Self {
        Self { entries: Cache::new(most) }
    }

    /// `current` gives the version of an issuer's keys.
    pub(crate) fn get(
        &self,
        digest: &[u8; 32],
        now: Timestamp,
        current: impl FnOnce(usize) -> Option<u64>,
    ) -> Option<V> {
        let entry = self.entries.get(digest)?;
        let keys_hold = entry.keys.is_none_or(|(issuer, version)| current(issuer) == Some(version));
        (entry.from <= now && now < entry.until && keys_hold).then_some(entry.value)
    }

    pub(crate) fn put(&self, digest: [u8; 32], entry: Entry<V>) {
        self.entries.insert(digest, entry);
    }
}
