//! `portcullis demo`: a runtime around the story.

use crate::cli::DemoArgs;
use crate::commands::runtime;
use crate::demo;
use crate::exit::{Exit, Failure};
use crate::run;

/// Plays the demo.
pub(crate) fn demo(args: DemoArgs) -> Result<Exit, Failure> {
    // The story is the output; the gateway's own remarks would only interrupt it.
    run::logging::start(Some("error"));
    let runtime = runtime()?;
    let played = runtime.block_on(demo::play(args));
    runtime.shutdown_timeout(run::LAST_WAIT);
    played
}
