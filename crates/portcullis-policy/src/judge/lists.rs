//! What of a list a caller may see, for when the server sends the very same list again. The whole text is compared, so nothing is taken for
//! something else; what could differ the next time is not remembered.

use std::hash::{Hash, Hasher};
use std::sync::{Arc, Weak};

use portcullis_core::call::Context;
use portcullis_core::caller::Caller;
use portcullis_core::version::Version;
use portcullis_core::wire::{Derived, Known as KnownList, View};

use super::Look;
use crate::bounded::Bounded;
use crate::index::{Asked, Target, What};

/// Texts of lists, each kept once for all callers. 64: the pages of the servers of one gateway.
const MOST_TEXTS: usize = 64;
/// Bytes of a text that is kept. 128 KiB: a page of a hundred tools has half of that, and all together are at most 8 MiB.
const MOST_TEXT: usize = 128 << 10;
/// What callers may see of them. 1024: a few hundred callers.
const MOST_OUTCOMES: usize = 1024;
/// Items of a list that is remembered. 1024: with their number above, at most 1 MiB.
const MOST_ITEMS: usize = 1024;
/// Bytes of lists of which a part was left, whole and as left. 4 MiB: sixty lists of fifty tools.
const MOST_LEFT: usize = 4 << 20;
/// Bytes at either end of a text that are hashed; the others are compared only. 256: pages differ in their first item.
const HASHED: usize = 256;

/// The memory of one plan.
#[derive(Debug)]
pub(crate) struct Lists {
    texts: Bounded<Arc<Text>, Arc<Text>>,
    outcomes: Bounded<Known, Arc<[bool]>>,
    /// What is left of lists that came before, by which items are visible. The same for whoever sees the same of them.
    left: Derived<Arc<[bool]>>,
}

/// In a place of its own, so that a weak reference to it keeps its address and not its bytes.
#[derive(Debug)]
struct Text(Box<[u8]>);

/// Who was shown what.
struct Known {
    target: Target,
    version: Version,
    text: Weak<Text>,
}

/// A text as it is looked up.
struct Wanted<'a>(&'a [u8]);

impl Hash for Wanted<'_> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.len().hash(state);
        self.0.first_chunk::<HASHED>().hash(state);
        self.0.last_chunk::<HASHED>().hash(state);
    }
}

impl Lists {
    pub(super) fn new() -> Self {
        Self { texts: Bounded::new(MOST_TEXTS), outcomes: Bounded::new(MOST_OUTCOMES), left: Derived::new(MOST_LEFT) }
    }

    /// The list without what is not visible, if it was made before.
    pub(crate) fn left(&self, list: &KnownList, visible: &[bool]) -> Option<KnownList> {
        self.left.find(list, |before| **before == *visible)
    }

    /// That this is what is left of the list.
    pub(crate) fn leaves(&self, list: &KnownList, visible: Arc<[bool]>, left: Option<View<'_>>) {
        if let Some(left) = left.and_then(KnownList::of) {
            self.left.keep(list, visible, left);
        }
    }

    /// Which items of the list with this text are visible to `caller`: who asks, or an agent of the chain. `method` is the list's own.
    pub(crate) fn visible<I>(
        &self,
        context: &Context,
        caller: &Arc<Caller>,
        method: &'static str,
        text: &[u8],
        look: impl FnOnce() -> I,
    ) -> Arc<[bool]>
    where
        I: Iterator<Item = Look>,
    {
        let looked = || {
            let mut lasting = true;
            let visible: Arc<[bool]> =
                look().inspect(|look| lasting &= look.lasting).map(|look| look.visible).collect();
            (lasting && visible.len() <= MOST_ITEMS, visible)
        };
        if text.len() > MOST_TEXT {
            return looked().1;
        }
        let text = self.texts.get_or_insert(
            &Wanted(text),
            |known| *known.0 == *text,
            || {
                let text = Arc::new(Text(text.into()));
                (Arc::clone(&text), text)
            },
        );
        let asked = Asked { caller, server: &context.server, what: What::Method(method) };
        let (version, address) = (context.version, Arc::as_ptr(&text));
        let is =
            |known: &Known| known.version == version && known.text.as_ptr() == address && known.target.asked() == asked;
        self.outcomes.get_or_keep(&(asked, version.as_str(), address.addr()), is, || {
            let (lasting, visible) = looked();
            let known = || Known { target: Target::of(&asked), version, text: Arc::downgrade(&text) };
            (lasting.then(known), visible)
        })
    }
}
