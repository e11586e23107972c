//! How the program ends: exit codes as a type, and the one error every command returns.
//! Nothing else may choose a number.

use std::fmt;
use std::io;
use std::process::ExitCode;

/// What the shell sees. Three values, so that scripts can tell "no" from "wrong usage".
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Exit {
    /// Done, and nothing to complain about.
    Success,
    /// Done, and the answer is no: findings, failed policy tests, a broken log, a server that cannot start.
    Failure,
    /// Not done: the command line or a file it names cannot be used.
    Usage,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        match exit {
            Exit::Success => Self::SUCCESS,
            Exit::Failure => Self::from(1),
            Exit::Usage => Self::from(2),
        }
    }
}

/// Why a command stopped, and the way out.
#[derive(Debug)]
pub(crate) struct Failure {
    pub(crate) exit: Exit,
    /// Lower case, no full stop. Empty when everything was said already.
    pub(crate) text: String,
    /// What to do about it.
    pub(crate) help: Option<String>,
}

impl Failure {
    /// Something went wrong while doing what was asked.
    pub(crate) fn new(text: impl Into<String>) -> Self {
        Self { exit: Exit::Failure, text: text.into(), help: None }
    }

    /// What was asked cannot be done as asked.
    pub(crate) fn usage(text: impl Into<String>) -> Self {
        Self { exit: Exit::Usage, text: text.into(), help: None }
    }

    /// Everything was printed already.
    pub(crate) const fn said(exit: Exit) -> Self {
        Self { exit, text: String::new(), help: None }
    }

    /// Adds the way out.
    #[must_use]
    pub(crate) fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }
}

/// Only printing uses `?` on I/O errors. A closed pipe (`portcullis audit tail | head`) is the reader's choice, not a failure.
impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        if error.kind() == io::ErrorKind::BrokenPipe {
            return Self::said(Exit::Success);
        }
        Self::new(format!("cannot write the output: {error}"))
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}
