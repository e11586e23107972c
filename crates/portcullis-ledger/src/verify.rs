//! Proves the chain unbroken, or names the first bad entry and what happened to it. Streams: memory holds one line at a time.
//!
//! The algorithm is the one of `docs/audit-format.md`; `tools/verify_audit.py` must come to the same verdicts.

use std::fs::File;
use std::io;
use std::path::Path;

use crate::error::AuditError;
use crate::format::{Frame, Link};
use crate::head::Head;
use crate::layout::Layout;
use crate::lines::{Lines, Piece};
use crate::rows::StoredEntry;

mod verdict;

pub use verdict::{Bad, BadKind, Verdict};

/// Remarks kept; a log with more has been told often enough.
const NOTES: usize = 20;

/// What the verifier is told besides the log.
#[derive(Clone, Debug, Default)]
pub struct VerifyOptions {
    /// A head that was kept elsewhere: the log must contain exactly this entry.
    pub expected_head: Option<Head>,
    /// Older segments were moved away on purpose: begin at the first segment present, and trust its link.
    pub partial: bool,
}

/// Verifies the log at `path` (see [`Layout::at`]). Works beside a running gateway.
///
/// # Errors
/// There is no log, or it cannot be read. A log that does not verify is a verdict, not an error.
pub fn verify(path: &Path, options: &VerifyOptions) -> Result<Verdict, AuditError> {
    let layout = Layout::at(path)?;
    let failed = AuditError::io("read the audit log at", layout.folder());
    // The head is read first: a running gateway only ever adds to the log, so the log can be ahead of this head but not behind it.
    let side = Head::read(&layout.head());
    let numbers = match layout.numbers() {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
        other => other.map_err(AuditError::io("read the folder", layout.folder()))?,
    };
    if numbers.is_empty() && !matches!(side, Ok(Some(_))) && options.expected_head.is_none() {
        return Err(AuditError::NoLog { path: path.to_owned() });
    }
    let mut walk =
        Walk { layout: &layout, numbers, heads: Vec::new(), link: Link::default(), verdict: Verdict::default() };
    match side {
        Ok(Some(head)) => walk.heads.push(head),
        Ok(None) => walk.note("there is no head file: entries cut off the end would not be noticed".to_owned()),
        Err(error) => {
            walk.note(format!("the head file cannot be read ({error}): entries cut off the end would not be noticed"))
        }
    }
    walk.heads.extend(options.expected_head.clone());
    let bad = walk.run(options.partial).map_err(failed)?;
    walk.verdict.first_bad = bad;
    walk.verdict.last = (walk.link.seq > 0).then(|| Head { seq: walk.link.seq, hash: walk.link.hash.clone() });
    Ok(walk.verdict)
}

struct Walk<'a> {
    layout: &'a Layout,
    numbers: Vec<u64>,
    heads: Vec<Head>,
    /// The newest good entry.
    link: Link,
    verdict: Verdict,
}

impl Walk<'_> {
    fn run(&mut self, partial: bool) -> io::Result<Option<Bad>> {
        let first = if partial { self.numbers.first().copied().unwrap_or(1) } else { 1 };
        let mut line_number = 0;
        for ((index, number), expected) in self.numbers.clone().into_iter().enumerate().zip(first..) {
            if number != expected {
                return Ok(Some(self.bad(BadKind::Removed, expected, 0, format!("segment {expected} is missing"))));
            }
            let bad = self.segment(index, number, partial && index == 0, &mut line_number)?;
            if bad.is_some() {
                return Ok(bad);
            }
            self.verdict.segments += 1;
        }
        let last = self.numbers.last().copied().unwrap_or(1);
        Ok(self.head_ahead().map(|why| self.bad(BadKind::Truncated, last, line_number + 1, why)))
    }

    fn segment(&mut self, index: usize, number: u64, trust: bool, line_number: &mut u64) -> io::Result<Option<Bad>> {
        let mut lines = Lines::open(&self.layout.segment(number))?;
        let mut line = Vec::new();
        *line_number = 0;
        loop {
            let piece = lines.next(&mut line)?;
            if piece == Piece::End {
                return Ok(None);
            }
            *line_number += 1;
            if piece == Piece::Torn && index + 1 == self.numbers.len() {
                let bad = self.torn(number, *line_number, line.len());
                *line_number -= 1;
                return Ok(bad);
            }
            let frame = if piece == Piece::Whole { Frame::of(&line) } else { None };
            let Some(frame) = frame.filter(|frame| frame.is_intact(&line)) else {
                return self.damaged(index, number, *line_number, lines.offset).map(Some);
            };
            if trust && *line_number == 1 {
                self.link = Link { seq: frame.seq.saturating_sub(1), hash: frame.prev.to_owned() };
                self.note(format!("begins at entry {}; what came before was not verified", frame.seq));
            }
            if !frame.follows(&self.link) {
                return self.misplaced(&frame, index, number, *line_number, lines.offset).map(Some);
            }
            if let Some(bad) = self.good(&frame, &line, number, *line_number) {
                return Ok(Some(bad));
            }
        }
    }

    /// Counts an entry that is intact and in its place; what can still be wrong is the file it is in, or a head.
    fn good(&mut self, frame: &Frame<'_>, line: &[u8], number: u64, line_number: u64) -> Option<Bad> {
        let kind = frame.kind().unwrap_or_default();
        let special = line_number == 1 || matches!(kind, "gap" | "notice");
        let entry = if special { serde_json::from_slice::<StoredEntry>(line).ok() } else { None };
        if line_number == 1 && (kind != "segment" || entry.as_ref().and_then(|entry| entry.segment) != Some(number)) {
            let why = format!("the first line is not the header of segment {number}: lines or files were moved");
            return Some(self.bad(BadKind::Changed, number, line_number, why));
        }
        for head in &self.heads {
            if head.seq == frame.seq && head.hash != frame.hash {
                let why = format!(
                    "a head says that this entry has the hash {}: the log was written anew after it",
                    head.hash
                );
                return Some(self.bad(BadKind::Rewritten, number, line_number, why));
            }
        }
        self.link = frame.link();
        self.verdict.entries += 1;
        if let Some(entry) = entry {
            self.remark(&entry);
        }
        None
    }

    fn remark(&mut self, entry: &StoredEntry) {
        let seq = entry.seq;
        if let Some(lost) = entry.lost {
            self.verdict.lost = self.verdict.lost.saturating_add(lost);
            self.note(format!("entry {seq}: {lost} records could not be written"));
        }
        if let (
            "notice",
            Some(code @ ("recovered" | "entries_lost" | "head_unreadable" | "chain_broken" | "resumed")),
        ) = (entry.kind.as_str(), entry.code.as_deref())
        {
            self.note(format!("entry {seq} ({code}): {}", entry.detail.as_deref().unwrap_or_default()));
        }
    }

    fn note(&mut self, note: String) {
        if self.verdict.notes.len() < NOTES {
            self.verdict.notes.push(note);
        }
    }

    fn torn(&mut self, number: u64, line_number: u64, bytes: usize) -> Option<Bad> {
        if let Some(why) = self.head_ahead() {
            return Some(self.bad(
                BadKind::Truncated,
                number,
                line_number,
                format!("{why}; it breaks off in the middle of an entry"),
            ));
        }
        if is_being_written(self.layout) {
            self.verdict.live = true;
            return None;
        }
        let why = format!(
            "the log ends with {bytes} bytes of an unfinished entry: a crash while writing; the next start sets them aside"
        );
        Some(self.bad(BadKind::Torn, number, line_number, why))
    }

    fn damaged(&self, index: usize, number: u64, line_number: u64, offset: u64) -> io::Result<Bad> {
        let (kind, why) = if self.is_ahead(index, offset)? {
            (BadKind::Inserted, "this line is not part of the log; the entry that belongs here follows later")
        } else {
            (BadKind::Changed, "the line is not what its own hash says")
        };
        Ok(self.bad(kind, number, line_number, why.to_owned()))
    }

    fn misplaced(
        &self,
        frame: &Frame<'_>,
        index: usize,
        number: u64,
        line_number: u64,
        offset: u64,
    ) -> io::Result<Bad> {
        let expected = self.link.seq.saturating_add(1);
        let ahead = self.is_ahead(index, offset)?;
        let (kind, why) = if frame.seq < expected {
            (
                BadKind::Inserted,
                format!("number {} was used before; one of the entries with it was inserted", frame.seq),
            )
        } else if frame.seq > expected && ahead {
            (BadKind::Reordered, format!("entry {} stands here; entry {expected} follows later", frame.seq))
        } else if frame.seq > expected {
            (BadKind::Removed, format!("entries {expected} to {} are missing", frame.seq.saturating_sub(1)))
        } else if ahead {
            (BadKind::Inserted, format!("this is not the entry {expected} that belongs here; that one follows later"))
        } else {
            let why = "its link does not match the entry before it: that one was replaced and its hash computed anew, or this one was";
            (BadKind::Unlinked, why.to_owned())
        };
        Ok(self.bad(kind, number, line_number, why))
    }

    /// Whether the entry that belongs here stands further on.
    fn is_ahead(&self, index: usize, offset: u64) -> io::Result<bool> {
        let mut line = Vec::new();
        for (position, number) in self.numbers.iter().enumerate().skip(index) {
            let mut lines = Lines::open(&self.layout.segment(*number))?;
            if position == index {
                lines.skip_to(offset)?;
            }
            loop {
                match lines.next(&mut line)? {
                    Piece::End => break,
                    Piece::Torn | Piece::TooLong => {}
                    Piece::Whole => {
                        // The cheap comparison first: hashing the rest of a large log for one answer would be slow.
                        if Frame::of(&line).is_some_and(|frame| frame.follows(&self.link) && frame.is_intact(&line)) {
                            return Ok(true);
                        }
                    }
                }
            }
        }
        Ok(false)
    }

    fn head_ahead(&self) -> Option<String> {
        let head = self.heads.iter().filter(|head| head.seq > self.link.seq).max_by_key(|head| head.seq)?;
        Some(format!("the log ends at entry {}, but a head says that entry {} was on disk", self.link.seq, head.seq))
    }

    fn bad(&self, kind: BadKind, number: u64, line: u64, why: String) -> Bad {
        Bad { kind, file: self.layout.segment_name(number), line, seq: self.link.seq.saturating_add(1), why }
    }
}

/// A running gateway holds the lock; an unfinished last line is then just being written.
fn is_being_written(layout: &Layout) -> bool {
    File::open(layout.lock()).is_ok_and(|lock| matches!(lock.try_lock_shared(), Err(std::fs::TryLockError::WouldBlock)))
}
