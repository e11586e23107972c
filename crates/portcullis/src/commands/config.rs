//! `portcullis config schema|reference|commands`: the program describes itself.

use crate::cli;
use crate::config::reference as described;
use crate::exit::{Exit, Failure};
use crate::out;

/// Prints the JSON Schema of the configuration file.
pub(crate) fn schema() -> Result<Exit, Failure> {
    out::line(format_args!("{:#}", described::schema()))?;
    Ok(Exit::Success)
}

/// Prints the reference page.
pub(crate) fn reference() -> Result<Exit, Failure> {
    out::raw(&described::markdown())?;
    Ok(Exit::Success)
}

/// Prints the help of every command.
pub(crate) fn commands() -> Result<Exit, Failure> {
    out::raw(&cli::markdown())?;
    Ok(Exit::Success)
}
