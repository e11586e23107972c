//! Lists as clients are shown them, for when a server sends the very same list again. Part of the [`super::Names`] whose words they are in,
//! so that no other endpoint and no other setting can be told of them; what a name could depend on besides is compared.

use std::sync::{Arc, Weak};

use crate::catalogue::{Catalogue, Listed};
use crate::wire::{Derived, Known};

/// Bytes of all lists that are remembered, as they came and as they are shown. 16 MiB: those of two hundred servers with fifty tools.
const MOST_BYTES: usize = 16 << 20;

/// The memory.
#[derive(Debug)]
pub(super) struct Shown(Derived<Key>);

/// What a shown list is made of.
#[derive(Debug)]
pub(super) struct Source<'a> {
    pub(super) server: usize,
    pub(super) list: Listed,
    /// The list as it came. One that is not [`Known`] has not come before.
    pub(super) came: &'a Known,
    /// What the names in it depend on; nothing where all names are written the same way, whatever servers offer.
    pub(super) known: &'a [Arc<Catalogue>],
}

#[derive(Debug)]
struct Key {
    server: usize,
    list: Listed,
    /// Weak, so that what servers no longer offer is let go; its address is not used again while it is held here.
    known: Vec<Weak<Catalogue>>,
}

impl Default for Shown {
    fn default() -> Self {
        Self(Derived::new(MOST_BYTES))
    }
}

impl Shown {
    pub(super) fn find(&self, source: &Source<'_>) -> Option<Known> {
        self.0.find(source.came, |key| key.is_of(source))
    }

    pub(super) fn keep(&self, source: &Source<'_>, shown: Known) {
        let known = source.known.iter().map(Arc::downgrade).collect();
        self.0.keep(source.came, Key { server: source.server, list: source.list, known }, shown);
    }
}

impl Key {
    fn is_of(&self, source: &Source<'_>) -> bool {
        let same = |(held, now): (&Weak<Catalogue>, &Arc<Catalogue>)| held.as_ptr() == Arc::as_ptr(now);
        self.server == source.server
            && self.list == source.list
            && self.known.len() == source.known.len()
            && self.known.iter().zip(source.known).all(same)
    }
}

#[cfg(test)]
mod tests;
