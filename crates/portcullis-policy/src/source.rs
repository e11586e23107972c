//! Policy texts as they came from the operator, and what the checker found in them.

use std::fmt;

/// One policy file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Source {
    /// Path as the operator wrote it, or `preset:NAME`. Stands in findings and in derived ids.
    pub file: String,
    /// Cedar text.
    pub text: String,
}

/// How bad a finding is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Severity {
    /// The policies cannot be used.
    Error,
    /// They can be used, but probably do not say what was meant.
    Warning,
}

impl Severity {
    /// Lower-case word for people and reports.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Warning => "warning",
        }
    }
}

/// Something the checker noticed, with the place and the way out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    pub severity: Severity,
    /// As in [`Source::file`].
    pub file: String,
    /// From 1; 0 when the finding is about the file as a whole.
    pub line: usize,
    /// In characters, from 1; 0 when the finding is about the file as a whole.
    pub column: usize,
    /// `@id` of the policy, when the finding is about one.
    pub key: Option<String>,
    pub message: String,
    /// What to do about it.
    pub help: Option<String>,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}:{}:{}: ", self.severity.as_str(), self.file, self.line, self.column)?;
        if let Some(key) = &self.key {
            write!(f, "policy `{key}`: ")?;
        }
        f.write_str(&self.message)?;
        match &self.help {
            Some(help) => write!(f, "\n  help: {help}"),
            None => Ok(()),
        }
    }
}

impl Source {
    pub(crate) fn new(file: impl Into<String>, text: impl Into<String>) -> Self {
        Self { file: file.into(), text: text.into() }
    }

    /// Line and column, both from 1, of a byte offset.
    pub(crate) fn position(&self, offset: usize) -> (usize, usize) {
        let before = self.text.get(..offset.min(self.text.len())).unwrap_or_default();
        let line = before.matches('\n').count() + 1;
        let start = before.rfind('\n').map_or(0, |at| at + 1);
        (line, before.get(start..).unwrap_or_default().chars().count() + 1)
    }

    /// A finding at a byte offset of this file, or about the file as a whole.
    pub(crate) fn finding(
        &self,
        severity: Severity,
        offset: Option<usize>,
        key: Option<&str>,
        message: impl Into<String>,
    ) -> Finding {
        let (line, column) = offset.map_or((0, 0), |offset| self.position(offset));
        Finding {
            severity,
            file: self.file.clone(),
            line,
            column,
            key: key.map(str::to_owned),
            message: message.into(),
            help: None,
        }
    }
}

impl Finding {
    pub(crate) fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }
}
