//! What the verifier found, and how it reads.

use std::fmt;

use crate::escape::escaped;
use crate::head::Head;

/// Result of one verification.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Verdict {
    /// Good entries, up to the first bad one.
    pub entries: u64,
    /// Segments that are good as a whole.
    pub segments: u64,
    /// The newest good entry; keep it elsewhere to prove later that nothing before it was touched.
    pub last: Option<Head>,
    pub first_bad: Option<Bad>,
    /// Records that the log itself says it could not write.
    pub lost: u64,
    /// Worth knowing, and no proof of tampering.
    pub notes: Vec<String>,
    /// A running gateway was in the middle of writing.
    pub live: bool,
}

/// The first place where the log is not what it should be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bad {
    pub kind: BadKind,
    /// File name of the segment.
    pub file: String,
    /// Counted from 1; 0 when the file itself is missing.
    pub line: u64,
    /// Number of the entry that belongs here.
    pub seq: u64,
    pub why: String,
}

/// What happened, as far as the log can tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum BadKind {
    /// The line is not what its own hash says, or not an entry at all.
    Changed,
    /// Entries are missing between two others, or at the beginning.
    Removed,
    /// An entry that does not belong there.
    Inserted,
    /// The entry stands elsewhere.
    Reordered,
    /// The link does not match the entry before.
    Unlinked,
    /// Ends in the middle of an entry: a crash.
    Torn,
    /// Durable entries are missing at the end.
    Truncated,
    /// Whole, but not the log that a head was taken from.
    Rewritten,
}

impl BadKind {
    /// Lower-case word used by both verifiers.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Changed => "changed",
            Self::Removed => "removed",
            Self::Inserted => "inserted",
            Self::Reordered => "reordered",
            Self::Unlinked => "unlinked",
            Self::Torn => "torn",
            Self::Truncated => "truncated",
            Self::Rewritten => "rewritten",
        }
    }
}

impl Verdict {
    /// Whether the whole log verified.
    #[must_use]
    pub const fn is_good(&self) -> bool {
        self.first_bad.is_none()
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.first_bad {
            None => {
                let plural = if self.segments == 1 { "" } else { "s" };
                write!(f, "verified: {} entries in {} segment{plural}", self.entries, self.segments)?;
            }
            Some(bad) => {
                writeln!(
                    f,
                    "NOT verified: {} at {} line {} (entry {})",
                    bad.kind.as_str(),
                    escaped(&bad.file),
                    bad.line,
                    bad.seq
                )?;
                write!(f, "  {}\n  good before it: {} entries", escaped(&bad.why), self.entries)?;
            }
        }
        if let Some(head) = &self.last {
            write!(f, "\n  head {head}")?;
        }
        if self.lost > 0 {
            write!(f, "\n  {} records were lost while the log could not be written", self.lost)?;
        }
        for note in &self.notes {
            write!(f, "\n  note: {}", escaped(note))?;
        }
        Ok(())
    }
}
