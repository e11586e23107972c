//! Compiled schemas by the text they came from. Each text is compiled once however many calls wait for it; reading takes a
//! shared lock for one look-up and compiles nothing under it.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, OnceLock, PoisonError, RwLock};

use bytes::Bytes;

use super::{Compiled, Unusable};

/// Schemas kept. 4096: several servers with hundreds of tools each, before and after a refresh of their lists.
const ENTRIES: usize = 4096;
/// Bytes of schema text kept. 16 MiB: compiled forms are some times larger than their text.
const TEXT_BYTES: usize = 16 << 20;

type Slot = Arc<OnceLock<Result<Arc<Compiled>, Unusable>>>;

#[derive(Debug, Default)]
pub(crate) struct Cache {
    kept: RwLock<Kept>,
}

#[derive(Debug, Default)]
struct Kept {
    /// By the address of the text. The entry holds the text, so the address cannot come to mean another one while it is here.
    slots: HashMap<(usize, usize), (Bytes, Slot)>,
    /// Oldest first.
    order: VecDeque<(usize, usize)>,
    text_bytes: usize,
}

impl Cache {
    /// The compiled form of `text`, compiling it now when it is new.
    pub(crate) fn compiled(&self, text: &Bytes) -> Result<Arc<Compiled>, Unusable> {
        let key = (text.as_ptr().addr(), text.len());
        let known = {
            let kept = self.kept.read().unwrap_or_else(PoisonError::into_inner);
            kept.slots.get(&key).map(|(_, slot)| Arc::clone(slot))
        };
        let slot = known.unwrap_or_else(|| self.kept.write().unwrap_or_else(PoisonError::into_inner).slot(key, text));
        slot.get_or_init(|| Compiled::new(text).map(Arc::new)).clone()
    }
}

impl Kept {
    fn slot(&mut self, key: (usize, usize), text: &Bytes) -> Slot {
        if let Some((_, slot)) = self.slots.get(&key) {
            return Arc::clone(slot);
        }
        // A refreshed list brings the same texts at new addresses: they share what is already compiled.
        let same = self.slots.values().find(|(known, _)| known == text).map(|(_, slot)| Arc::clone(slot));
        let slot = same.unwrap_or_default();
        self.slots.insert(key, (text.clone(), Arc::clone(&slot)));
        self.order.push_back(key);
        self.text_bytes += text.len();
        while self.order.len() > ENTRIES || (self.text_bytes > TEXT_BYTES && self.order.len() > 1) {
            let Some(oldest) = self.order.pop_front() else { break };
            if let Some((text, _)) = self.slots.remove(&oldest) {
                self.text_bytes = self.text_bytes.saturating_sub(text.len());
            }
        }
        slot
    }
}

#[cfg(test)]
mod tests;
