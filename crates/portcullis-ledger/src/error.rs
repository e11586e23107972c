//! What can be wrong with a log as a whole. Failures while writing are states of the log, not errors of this type.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

/// A log that cannot be opened or read.
#[derive(Debug)]
pub enum AuditError {
    /// Another process writes to the same log.
    Locked { lock: PathBuf },
    /// Nothing that looks like a log is there.
    NoLog { path: PathBuf },
    /// The path is neither a folder nor ends in `.jsonl`.
    NotALogPath { path: PathBuf },
    /// A setting is outside its limits.
    Setting { key: &'static str, why: &'static str },
    /// `SEQ:HASH` could not be read.
    Head { text: String },
    /// The operating system said no.
    Io { what: &'static str, path: PathBuf, source: io::Error },
}

impl AuditError {
    pub(crate) fn io(what: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::Io { what, path, source }
    }
}

impl fmt::Display for AuditError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Locked { lock } => write!(
                f,
                "another process is writing this audit log (it holds `{}`); give each gateway its own `--audit-log`",
                lock.display()
            ),
            Self::NoLog { path } => write!(f, "no audit log at `{}`", path.display()),
            Self::NotALogPath { path } => {
                write!(f, "`{}` is a file; an audit log is a folder or a path that ends in `.jsonl`", path.display())
            }
            Self::Setting { key, why } => write!(f, "audit setting `{key}`: {why}"),
            Self::Head { text } => {
                write!(
                    f,
                    "`{}` is not a head; write SEQ:HASH, the hash as 64 lower-case hexadecimal digits",
                    text.escape_default()
                )
            }
            Self::Io { what, path, source } => write!(f, "cannot {what} `{}`: {source}", path.display()),
        }
    }
}

impl std::error::Error for AuditError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Io { source, .. } => Some(source),
            Self::Locked { .. }
            | Self::NoLog { .. }
            | Self::NotALogPath { .. }
            | Self::Setting { .. }
            | Self::Head { .. } => None,
        }
    }
}
