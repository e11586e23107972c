//! One thing that is wrong with a file the operator wrote: where, which key, what, and the way out.
//! `check`, `run` and `policy` all speak in findings, so that an editor can jump to any of them.

use std::fmt;

use serde::Serialize;

use crate::out::{BAD, GOOD, STRONG, Styled, WARN};

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Severity {
    /// Nothing starts with this.
    Error,
    /// Starts, but probably does not do what was meant.
    Warning,
}

/// One finding.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Finding {
    pub(crate) severity: Severity,
    /// File as the operator named it; `command line` for options.
    pub(crate) file: String,
    /// Counted from 1; absent where a finding is about the whole file.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) line: Option<u64>,
    /// In characters, counted from 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) column: Option<u64>,
    /// Dotted path of the key, `@id` of the policy, or the rule that was broken.
    pub(crate) key: String,
    pub(crate) text: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) help: Option<String>,
}

impl Finding {
    pub(crate) fn error(file: impl Into<String>, key: impl Into<String>, text: impl Into<String>) -> Self {
        Self {
            severity: Severity::Error,
            file: file.into(),
            line: None,
            column: None,
            key: key.into(),
            text: text.into(),
            help: None,
        }
    }

    /// Something that starts all the same.
    #[must_use]
    pub(crate) fn warning(self) -> Self {
        Self { severity: Severity::Warning, ..self }
    }

    /// The rule that was broken, in place of the key that the place was found by.
    #[must_use]
    pub(crate) fn named(self, rule: &str) -> Self {
        Self { key: rule.to_owned(), ..self }
    }

    #[must_use]
    pub(crate) fn at(mut self, position: Option<(u64, u64)>) -> Self {
        if let Some((line, column)) = position {
            self.line = Some(line);
            self.column = Some(column);
        }
        self
    }

    #[must_use]
    pub(crate) fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }

    pub(crate) fn is_error(&self) -> bool {
        self.severity == Severity::Error
    }
}

/// `file:line:column: error[key]: text`, then the way out on its own line.
impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", Styled(STRONG, &self.file))?;
        if let (Some(line), Some(column)) = (self.line, self.column) {
            write!(f, ":{line}:{column}")?;
        }
        let (style, word) = match self.severity {
            Severity::Error => (BAD, "error"),
            Severity::Warning => (WARN, "warning"),
        };
        write!(f, ": {}[{}]: {}", Styled(style, word), self.key, self.text)?;
        if let Some(help) = &self.help {
            write!(f, "\n  {}: {help}", Styled(GOOD, "help"))?;
        }
        Ok(())
    }
}
