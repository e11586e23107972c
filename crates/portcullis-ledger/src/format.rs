//! A record becomes one line, a line becomes a frame. This file and `docs/audit-format.md` say the same thing; change both or neither.
//!
//! The hash covers the bytes of the line as they stand, so no verifier ever needs to serialise anything again.

use aws_lc_rs::digest::{SHA256, digest};
use portcullis_core::clock::Timestamp;
use portcullis_core::ledger::Record;
use portcullis_core::own::{push_hex, push_number};

use self::members::Members;
use crate::settings::Content;

mod members;

#[cfg(test)]
mod tests;

/// Format number written into every segment header.
const FORMAT: u64 = 1;

/// Longest line in bytes, line feed excluded. The limits in [`members`] keep every entry below it.
pub(crate) const MAX_LINE: usize = 1 << 20;

/// `prev` of the first entry.
pub(crate) const GENESIS: &str = "0000000000000000000000000000000000000000000000000000000000000000";

const HASH_OPENS: &str = ",\"hash\":\"";
const HASH_CLOSES: &str = "\"}";
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

/// Writes lines behind each other. Keeps what one line needs of those before it.
#[derive(Debug, Default)]
pub(crate) struct Pen {
    /// The newest entry written.
    pub(crate) link: Link,
    clock_face: ClockFace,
}

impl Pen {
    pub(crate) fn after(link: Link) -> Self {
        Self { link, clock_face: ClockFace::default() }
    }

    /// Writes `item` as the next entry.
    pub(crate) fn item(&mut self, out: &mut String, item: &Item, content: Content) {
        match item {
            Item::Record(record) => {
                let (at, kind) = match record {
                    Record::Intent(intent) => (intent.at, "intent"),
                    Record::Outcome(outcome) => (outcome.at, "outcome"),
                    Record::Refused(refused) => (refused.at, "refused"),
                    Record::Notice(notice) => (notice.at, "notice"),
                };
                self.line(out, at, kind, |members| members.record(record, content));
            }
            Item::Gap { at, lost } => self.line(out, *at, "gap", |members| members.number("lost", *lost)),
            Item::Own { at, code, detail } => self.line(out, *at, "notice", |members| {
                members.word("code", code);
                members.text("detail", detail, members::TEXT);
            }),
        }
    }

    /// Writes the first line of a segment.
    pub(crate) fn header(&mut self, out: &mut String, at: Timestamp, segment: u64, gateway: &'static str) {
        self.line(out, at, "segment", |members| {
            members.number("format", FORMAT);
            members.number("segment", segment);
            members.word("gateway", gateway);
        });
    }

    /// One line: `{"seq":…,"prev":"…",` the members `,"hash":"…"}` and a line feed.
    fn line(&mut self, out: &mut String, at: Timestamp, kind: &'static str, write: impl FnOnce(&mut Members<'_>)) {
        let start = out.len();
        self.link.seq = self.link.seq.saturating_add(1);
        out.push_str("{\"seq\":");
        push_number(out, self.link.seq);
        out.push_str(",\"prev\":\"");
        out.push_str(&self.link.hash);
        out.push_str("\",\"at\":\"");
        self.clock_face.push(out, at);
        out.push('"');
        let mut members = Members(out);
        members.word("kind", kind);
        write(&mut members);
        self.link.hash.clear();
        push_hash(&mut self.link.hash, out.get(start..).unwrap_or_default().as_bytes());
        out.push_str(HASH_OPENS);
        out.push_str(&self.link.hash);
        out.push_str(HASH_CLOSES);
        out.push('\n');
    }
}

/// The second written last: under load thousands of entries share it, and only their milliseconds differ.
#[derive(Debug, Default)]
struct ClockFace {
    second: u64,
    /// Up to the point before the milliseconds; empty before the first entry.
    text: String,
}

impl ClockFace {
    fn push(&mut self, out: &mut String, at: Timestamp) {
        let (second, millis) = (at.0 / 1000, at.0 % 1000);
        if self.second != second || self.text.is_empty() {
            self.second = second;
            self.text = at.to_string();
            self.text.truncate(self.text.len().saturating_sub("000Z".len()));
        }
        out.push_str(&self.text);
        let digit = |value: u64| char::from(b'0' + u8::try_from(value % 10).unwrap_or_default());
        out.extend([digit(millis / 100), digit(millis / 10), digit(millis), 'Z']);
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
        let body = line.strip_suffix(HASH_CLOSES.as_bytes())?;
        let (rest, hash) = body.split_at_checked(body.len().checked_sub(DIGITS)?)?;
        let covered = rest.strip_suffix(HASH_OPENS.as_bytes())?;
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
        let mut hash = String::with_capacity(DIGITS);
        push_hash(&mut hash, self.covered);
        hash == self.hash && serde_json::from_slice::<serde::de::IgnoredAny>(line).is_ok()
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

/// Appends the SHA-256 of `covered` in hexadecimal digits. Hashing is most of what an entry costs, so it is done by the library that has it
/// in assembly for processors without instructions for it too.
fn push_hash(out: &mut String, covered: &[u8]) {
    push_hex(out, digest(&SHA256, covered).as_ref());
}
