//! The one place that prints. Colours are dropped when the reader is not a terminal (`NO_COLOR` and `CLICOLOR` are honoured);
//! text that came from a server or a client goes through [`escaped`] or [`clipped`] first, because a terminal obeys what it is shown.

use std::fmt;
use std::io::{self, Write};

use clap::builder::styling::{AnsiColor, Color, Style};

use crate::exit::Failure;

pub(crate) use portcullis_ledger::{clipped, escaped};

/// Allowed, proven, done.
pub(crate) const GOOD: Style = colour(AnsiColor::Green);
/// Refused, broken.
pub(crate) const BAD: Style = colour(AnsiColor::Red);
/// Worth a look.
pub(crate) const WARN: Style = colour(AnsiColor::Yellow);
/// Names and addresses.
pub(crate) const NAME: Style = colour(AnsiColor::Cyan);
/// As it is.
pub(crate) const PLAIN: Style = Style::new();
/// Asides.
pub(crate) const DIM: Style = Style::new().dimmed();
/// Headings.
pub(crate) const STRONG: Style = Style::new().bold();

const fn colour(colour: AnsiColor) -> Style {
    Style::new().fg_color(Some(Color::Ansi(colour)))
}

/// Text in a style; the codes vanish where colours are off.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Styled<T>(pub(crate) Style, pub(crate) T);

impl<T: fmt::Display> fmt::Display for Styled<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)?;
        self.1.fmt(f)?;
        write!(f, "{:#}", self.0)
    }
}

/// Writes one line of output.
///
/// # Errors
/// When standard output is gone; the command then ends quietly.
pub(crate) fn line(text: impl fmt::Display) -> io::Result<()> {
    let mut stdout = anstream::stdout().lock();
    writeln!(stdout, "{text}")?;
    stdout.flush()
}

/// Writes text as it is, without adding a line end: schemas, policies, generated files.
///
/// # Errors
/// When standard output is gone.
pub(crate) fn raw(text: &str) -> io::Result<()> {
    let mut stdout = anstream::stdout().lock();
    stdout.write_all(text.as_bytes())?;
    stdout.flush()
}

/// Writes one line to standard error: progress, warnings, and everything that is not the asked-for output.
pub(crate) fn note(text: impl fmt::Display) {
    // With standard error gone there is nowhere left to say so.
    let _gone = writeln!(anstream::stderr().lock(), "{text}");
}

/// Says why a command stopped.
pub(crate) fn failure(failure: &Failure) {
    if failure.text.is_empty() {
        return;
    }
    note(format_args!("{}: {}", Styled(BAD, "error"), failure.text));
    if let Some(help) = &failure.help {
        note(format_args!("  {}: {help}", Styled(GOOD, "help")));
    }
}
