//! `portcullis run`: from options to a running gateway.

use std::path::PathBuf;

use crate::cli::RunArgs;
use crate::commands::{config_failure, runtime};
use crate::config::{Config, Overrides};
use crate::exit::{Exit, Failure};
use crate::run::{self, Sources};

/// Runs until the operating system asks to stop.
pub(crate) fn run(args: RunArgs) -> Result<Exit, Failure> {
    run::logging::start(None);
    let overrides = Overrides {
        listen: args.listen,
        policy: args.plan.policy,
        audit_log: args.audit_log.map(absolute),
        admin: args.admin,
        name: args.server.name,
        upstream: args.server.upstream,
        command: args.server.command,
        stdio: false,
    };
    let sources = Sources { file: args.plan.config.map(absolute), overrides };
    let config = Config::load(sources.file.as_deref(), &sources.overrides).map_err(config_failure)?;
    let runtime = runtime()?;
    let ended = runtime.block_on(run::run(&config, &sources));
    runtime.shutdown_timeout(run::LAST_WAIT);
    ended
}

/// The path as it was meant when the gateway started, whatever happens to the working directory.
pub(super) fn absolute(path: PathBuf) -> PathBuf {
    std::path::absolute(&path).unwrap_or(path)
}
