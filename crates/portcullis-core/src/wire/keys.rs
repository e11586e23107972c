//! The keys of the objects that are open during a scan, and whether one of them comes twice.
//! Keys are compared as they read, not as they are spelled: `"a"` and `"\u0061"` are one key.

use std::cmp::Ordering;

use smallvec::SmallVec;

use super::{
    scan::{Span, Work},
    text,
};

/// Up to this many keys are compared pair by pair; above, they are sorted. Sorting by length, then bytes, needs no hash
/// and so has no bad input.
const PAIRWISE: usize = 16;

#[derive(Clone, Copy)]
struct Key {
    /// In the message, or in the arena when the key has escapes.
    span: Span,
    escaped: bool,
    /// Where the key stands in the message.
    at: u32,
}

pub(super) struct Keys<'a> {
    bytes: &'a [u8],
    /// Unescaped text of the keys with escapes.
    arena: Vec<u8>,
    stack: SmallVec<[Key; 24]>,
}

impl<'a> Keys<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self {
            bytes,
            arena: Vec::new(),
            stack: SmallVec::new(),
        }
    }

    pub(super) fn len(&self) -> usize {
        self.stack.len()
    }

    /// What [`Keys::rewind`] needs to forget all that comes after now.
    pub(super) fn mark(&self) -> (usize, usize) {
        (self.stack.len(), self.arena.len())
    }

    pub(super) fn rewind(&mut self, keys: usize, arena: usize) {
        self.stack.truncate(keys);
        self.arena.truncate(arena);
    }

    pub(super) fn push(&mut self, span: Span, escaped: bool) {
        let at = span.start;
        if !escaped {
            self.stack.push(Key { span, escaped, at });
            return;
        }
        let start = self.arena.len();
        text::unescape(span.of(self.bytes), &mut self.arena);
        let kept = Span {
            start: small(start),
            end: small(self.arena.len()),
        };
        self.stack.push(Key {
            span: kept,
            escaped,
            at,
        });
    }

    /// The newest key, unescaped.
    pub(super) fn last(&self) -> &[u8] {
        self.stack
            .last()
            .map(|key| read(self.bytes, &self.arena, *key))
            .unwrap_or_default()
    }

    /// Where a key stands that equals an earlier one among the keys since `from`.
    pub(super) fn duplicate<W: Work>(&mut self, from: usize, work: &mut W) -> Option<usize> {
        let (bytes, arena) = (self.bytes, self.arena.as_slice());
        let keys = self.stack.get_mut(from..).unwrap_or_default();
        if keys.len() <= PAIRWISE {
            let mut rest = &*keys;
            while let Some((last, before)) = rest.split_last() {
                if before
                    .iter()
                    .any(|key| order(bytes, arena, *key, *last, work).is_eq())
                {
                    return Some(last.at as usize);
                }
                rest = before;
            }
            return None;
        }
        keys.sort_unstable_by(|a, b| order(bytes, arena, *a, *b, work));
        keys.array_windows().find_map(|[a, b]| {
            order(bytes, arena, *a, *b, work)
                .is_eq()
                .then_some(a.at.max(b.at) as usize)
        })
    }
}

fn read<'k>(bytes: &'k [u8], arena: &'k [u8], key: Key) -> &'k [u8] {
    key.span.of(if key.escaped { arena } else { bytes })
}

fn order<W: Work>(bytes: &[u8], arena: &[u8], a: Key, b: Key, work: &mut W) -> Ordering {
    work.spend(1);
    let (a_len, b_len) = (a.span.end - a.span.start, b.span.end - b.span.start);
    if a_len != b_len {
        return a_len.cmp(&b_len);
    }
    work.spend(a_len as usize);
    read(bytes, arena, a).cmp(read(bytes, arena, b))
}

/// Arena offsets fit: unescaping never makes text longer, and no text is longer than 1 GiB.
#[expect(
    clippy::cast_possible_truncation,
    reason = "bounded by the scanned text, which is at most 1 GiB"
)]
const fn small(at: usize) -> u32 {
    at as u32
}
