//! `portcullis wrap`: from options to a gateway on our own standard input and output.

use super::run::absolute;
use crate::cli::WrapArgs;
use crate::commands::{config_failure, runtime};
use crate::config::{Config, Overrides};
use crate::exit::{Exit, Failure};
use crate::run::{self, Sources};

/// Runs until the program that started us closes our input, or the operating system asks to stop.
pub(crate) fn wrap(args: WrapArgs) -> Result<Exit, Failure> {
    run::logging::start(None);
    let overrides = Overrides {
        policy: args.plan.policy,
        audit_log: args.audit_log.map(absolute),
        name: args.server.name,
        upstream: args.server.upstream,
        command: args.server.command,
        stdio: true,
        ..Overrides::default()
    };
    let sources = Sources { file: args.plan.config.map(absolute), overrides };
    let config = Config::load(sources.file.as_deref(), &sources.overrides).map_err(config_failure)?;
    let runtime = runtime()?;
    let ended = runtime.block_on(run::run(&config, &sources));
    // A thread may still wait for input that nobody will send.
    runtime.shutdown_background();
    ended
}
