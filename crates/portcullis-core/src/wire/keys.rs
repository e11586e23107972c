//! The keys of the objects that are open during a scan, and whether one of them comes twice.
//! Keys are compared as they read, not as they are spelled: `"a"` and `"\u0061"` are one key.

use std::cmp::Ordering;

use smallvec::SmallVec;

use super::{
    scan::{Span, Work},
    text,
};

/// Up to this many keys are compared pair by pair; above, they are sorted, which needs no hash and so has no bad input.
const PAIRWISE: usize = 16;

/// Marks a key whose text stands in the message itself.
const IN_MESSAGE: u32 = u32::MAX;

#[derive(Clone, Copy)]
struct Key {
    /// Length, then four of the bytes: tells most different keys apart without looking at their text.
    head: u64,
    /// Where the key stands in the message.
    at: u32,
    /// Where its unescaped text stands in the arena, if it had escapes.
    kept: u32,
}

pub(super) struct Keys<'a> {
    bytes: &'a [u8],
    /// Unescaped text of the keys with escapes.
    arena: Vec<u8>,
    stack: SmallVec<[Key; 16]>,
}

impl<'a> Keys<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, arena: Vec::new(), stack: SmallVec::new() }
    }

    /// What [`Keys::rewind`] needs to forget all that comes after now.
    #[inline(always)]
    pub(super) fn mark(&self) -> (u32, u32) {
        (small(self.stack.len()), small(self.arena.len()))
    }

    #[inline(always)]
    pub(super) fn rewind(&mut self, keys: u32, arena: u32) {
        self.stack.truncate(keys as usize);
        self.arena.truncate(arena as usize);
    }

    /// Adds a key that is spelled so at that place, and gives how many there are now.
    #[inline(always)]
    pub(super) fn push(&mut self, span: Span, spelled: &[u8], escaped: bool) -> u32 {
        let key = if escaped {
            let from = self.arena.len();
            text::unescape(spelled, &mut self.arena);
            let head = head(self.arena.get(from..).unwrap_or_default());
            Key { head, at: span.start, kept: small(from) }
        } else {
            Key { head: head(spelled), at: span.start, kept: IN_MESSAGE }
        };
        self.stack.push(key);
        small(self.stack.len())
    }

    /// The newest key, unescaped.
    pub(super) fn last(&self) -> &[u8] {
        self.stack.last().map(|key| key.text(self.bytes, &self.arena)).unwrap_or_default()
    }

    /// Where a key stands that equals an earlier one among the keys since `from`.
    #[inline]
    pub(super) fn duplicate<W: Work>(&mut self, from: u32, work: &mut W) -> Option<usize> {
        let (bytes, arena) = (self.bytes, self.arena.as_slice());
        let keys = self.stack.get_mut(from as usize..).unwrap_or_default();
        if keys.len() <= PAIRWISE {
            let mut rest = &*keys;
            while let Some((last, before)) = rest.split_last() {
                work.spend(before.len());
                let twice = |key: &Key| key.head == last.head && order(bytes, arena, key, last, work).is_eq();
                if before.iter().any(twice) {
                    return Some(last.at as usize);
                }
                rest = before;
            }
            return None;
        }
        keys.sort_unstable_by(|a, b| order(bytes, arena, a, b, work));
        let twice = |[a, b]: &[Key; 2]| order(bytes, arena, a, b, work).is_eq().then_some(a.at.max(b.at) as usize);
        keys.array_windows().find_map(twice)
    }
}

impl Key {
    fn text<'k>(&self, bytes: &'k [u8], arena: &'k [u8]) -> &'k [u8] {
        let (all, start) = if self.kept == IN_MESSAGE { (bytes, self.at) } else { (arena, self.kept) };
        let len = (self.head >> 32) as usize;
        all.get(start as usize..start as usize + len).unwrap_or_default()
    }
}

/// Length above, the first two and the last two bytes below; those of three bytes share one.
#[inline(always)]
fn head(key: &[u8]) -> u64 {
    let ends = match (key.first_chunk(), key.last_chunk()) {
        (Some(first), Some(last)) => {
            (u32::from(u16::from_le_bytes(*last)) << 16) | u32::from(u16::from_le_bytes(*first))
        }
        _ => key.first().copied().map_or(0, u32::from),
    };
    ((key.len() as u64) << 32) | u64::from(ends)
}

fn order<W: Work>(bytes: &[u8], arena: &[u8], a: &Key, b: &Key, work: &mut W) -> Ordering {
    work.spend(1);
    a.head.cmp(&b.head).then_with(|| {
        let (a, b) = (a.text(bytes, arena), b.text(bytes, arena));
        work.spend(a.len());
        a.cmp(b)
    })
}

/// Counts and arena offsets fit: unescaping never makes text longer, and no text is longer than 1 GiB.
#[expect(clippy::cast_possible_truncation, reason = "bounded by the scanned text, which is at most 1 GiB")]
const fn small(at: usize) -> u32 {
    at as u32
}
