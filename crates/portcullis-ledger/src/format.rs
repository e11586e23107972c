//! A record becomes one line, a line becomes a frame. This file and `docs/audit-format.md` say the same thing; change both or neither.
//!
//! The hash covers the bytes of the line as they stand, so no verifier ever needs to serialise anything again.

use portcullis_core::clock::Timestamp;
use portcullis_core::ledger::Record;
use serde::Serialize;
use sha2::{Digest as _, Sha256};

use crate::settings::Content;

mod members;

#[cfg(test)]
mod tests;

/// Format number written into every segment header.
pub(crate) const FORMAT: u32 = 1;

/// Longest line in bytes, line feed excluded. The limits in [`members`] keep every entry below it.
pub(crate) const MAX_LINE: usize = 1 << 20;

/// `prev` of the first entry.
pub(crate) const GENESIS: &str = "0000000000000000000000000000000000000000000000000000000000000000";

const HASH_OPENS: &[u8] = b",\"hash\":\"";
const HASH_CLOSES: &[u8] = b"\"}";
const DIGITS: usize = 64;

/// What the writer is asked to put into one line.
#[derive(Debug)]
pub(crate) enum Item {
    Record(Record),
    /// So many records never reached the queue.
    Gap {
        at: Timestamp,
        lost: u64,
    },
    /// A fact about the log itself, written by the log itself.
    Own {
        at: Timestamp,
        code: &'static str,
        detail: String,
    },
}

/// The newest entry: what the next one has to follow.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Link {
    pub(crate) seq: u64,
    pub(crate) hash: String,
}

impl Default for Link {
    fn default() -> Self {
        Self { seq: 0, hash: GENESIS.to_owned() }
    }
}

/// First line of a segment.
#[derive(Debug, Serialize)]
pub(crate) struct Header<'a> {
    pub(crate) at: String,
    pub(crate) kind: &'static str,
    pub(crate) format: u32,
    pub(crate) segment: u64,
    pub(crate) gateway: &'a str,
}

impl<'a> Header<'a> {
    pub(crate) fn new(at: Timestamp, segment: u64, gateway: &'a str) -> Self {
        Self { at: at.to_string(), kind: "segment", format: FORMAT, segment, gateway }
    }
}

/// Writes `item` as the entry after `link` and moves `link` on.
pub(crate) fn push_item(out: &mut Vec<u8>, link: &mut Link, item: &Item, content: Content) {
    match item {
        Item::Record(record) => members::with_record(record, content, |members| push_entry(out, link, members)),
        Item::Gap { at, lost } => push_entry(out, link, &members::Gap { at: at.to_string(), kind: "gap", lost: *lost }),
        Item::Own { at, code, detail } => push_entry(out, link, &members::own_notice(*at, code, detail)),
    }
}

/// Writes one line: `{"seq":…,"prev":"…",` the members `,"hash":"…"}` and a line feed.
pub(crate) fn push_entry(out: &mut Vec<u8>, link: &mut Link, members: &dyn erased::Members) {
    let start = out.len();
    let seq = link.seq.saturating_add(1);
    out.extend_from_slice(format!("{{\"seq\":{seq},\"prev\":\"{}\",", link.hash).as_bytes());
    members.append(out);
    let hash = hex(&Sha256::digest(out.get(start..).unwrap_or_default()));
    out.extend_from_slice(HASH_OPENS);
    out.extend_from_slice(hash.as_bytes());
    out.extend_from_slice(HASH_CLOSES);
    out.push(b'\n');
    *link = Link { seq, hash };
}

/// Object-safe serialisation without a dependency for it.
pub(crate) mod erased {
    use serde::Serialize;

    pub(crate) trait Members {
        /// Appends the members without the braces around them.
        fn append(&self, out: &mut Vec<u8>);
    }

    impl<T: Serialize> Members for T {
        fn append(&self, out: &mut Vec<u8>) {
            let start = out.len();
            // Plain structs of strings and numbers always serialise; if one ever did not, the entry says so instead of breaking the chain.
            if serde_json::to_writer(&mut *out, self).is_err() || out.len() < start + 2 {
                out.truncate(start);
                out.extend_from_slice(b"{\"kind\":\"unwritable\"}");
            }
            out.pop();
            if start < out.len() {
                out.remove(start);
            }
        }
    }
}

/// The parts of a line that the chain is made of.
#[derive(Debug)]
pub(crate) struct Frame<'a> {
    pub(crate) seq: u64,
    pub(crate) prev: &'a str,
    pub(crate) hash: &'a str,
    /// Everything that the hash covers.
    covered: &'a [u8],
}

impl<'a> Frame<'a> {
    /// Takes a line (without its line feed) apart; `None` when it does not have the form of an entry.
    pub(crate) fn of(line: &'a [u8]) -> Option<Self> {
        let body = line.strip_suffix(HASH_CLOSES)?;
        let (rest, hash) = body.split_at_checked(body.len().checked_sub(DIGITS)?)?;
        let covered = rest.strip_suffix(HASH_OPENS)?;
        let after = covered.strip_prefix(b"{\"seq\":")?;
        let digits = after.iter().take(20).take_while(|byte| byte.is_ascii_digit()).count();
        let (seq, after) = after.split_at_checked(digits)?;
        let seq = str::from_utf8(seq).ok().filter(|text| !text.starts_with('0'))?.parse().ok()?;
        let (prev, after) = after.strip_prefix(b",\"prev\":\"")?.split_at_checked(DIGITS)?;
        after.strip_prefix(b"\",")?;
        let (prev, hash) = (str::from_utf8(prev).ok()?, str::from_utf8(hash).ok()?);
        (is_hash(prev) && is_hash(hash)).then_some(Self { seq, prev, hash, covered })
    }

    /// Whether the entry is what its own hash says, and JSON.
    pub(crate) fn is_intact(&self, line: &[u8]) -> bool {
        hex(&Sha256::digest(self.covered)) == self.hash && serde_json::from_slice::<serde::de::IgnoredAny>(line).is_ok()
    }

    /// Whether it is the entry after `link`.
    pub(crate) fn follows(&self, link: &Link) -> bool {
        Some(self.seq) == link.seq.checked_add(1) && self.prev == link.hash
    }

    /// Kind of the entry, read from its fixed place.
    pub(crate) fn kind(&self) -> Option<&'a str> {
        let covered = str::from_utf8(self.covered).ok()?;
        let (_, members) = covered.split_once("\",\"at\":\"")?;
        let (_, kind) = members.split_once("\",\"kind\":\"")?;
        kind.split('"').next()
    }

    pub(crate) fn link(&self) -> Link {
        Link { seq: self.seq, hash: self.hash.to_owned() }
    }
}

/// 64 lower-case hexadecimal digits.
pub(crate) fn is_hash(text: &str) -> bool {
    text.len() == DIGITS && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

fn hex(bytes: &[u8]) -> String {
    let digit = |nibble: u8| char::from_digit(u32::from(nibble), 16).unwrap_or('0');
    bytes.iter().flat_map(|byte| [digit(byte >> 4), digit(byte & 15)]).collect()
}
