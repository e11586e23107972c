//! `portcullis audit …`

use std::path::PathBuf;

use clap::{Args, Subcommand};

/// What can be done with the log.
#[derive(Debug, Subcommand)]
pub(crate) enum AuditCommand {
    /// Print the newest decisions as a table; with -f, keep printing as they are made.
    #[command(after_help = "Examples:\n  portcullis audit tail -f\n  portcullis audit tail -n 100 ./audit")]
    Tail(TailArgs),
    /// Prove that the log is whole: nothing changed, removed, inserted, reordered or cut off.
    #[command(
        after_help = "Examples:\n  portcullis audit verify\n  portcullis audit verify ./audit --expect-head 4711:3f9a…\n\n\
        A chain proves what it holds, not what was cut from its end: keep the head printed here somewhere else, \
        and give it as --expect-head next time.\n\nExit codes: 0 whole, 1 broken (the first bad entry is named), 2 cannot be read."
    )]
    Verify(VerifyArgs),
    /// Show one decision in full: the call, who decided and why, and what became of it.
    #[command(after_help = "Example:\n  portcullis audit show 9c1f0e6a4b2d7788")]
    Show {
        /// Id of the call as `tail` prints it, or the number of an entry.
        id: String,
        #[command(flatten)]
        log: LogArgs,
    },
}

/// Which log.
#[derive(Debug, Args)]
pub(crate) struct LogArgs {
    /// The log: a folder, or a path ending in `.jsonl` [default: what the configuration names, or $XDG_STATE_HOME/portcullis/audit].
    #[arg(value_name = "PATH")]
    pub(crate) path: Option<PathBuf>,
    /// Configuration file that names the log, when no path does.
    #[arg(short, long, value_name = "FILE", env = "PORTCULLIS_CONFIG")]
    pub(crate) config: Option<PathBuf>,
}

/// Options of `portcullis audit tail`.
#[derive(Debug, Args)]
pub(crate) struct TailArgs {
    #[command(flatten)]
    pub(crate) log: LogArgs,
    /// Keep printing entries as they are written.
    #[arg(short, long)]
    pub(crate) follow: bool,
    /// How many entries to start with.
    #[arg(short = 'n', long, value_name = "COUNT", default_value_t = 20)]
    pub(crate) lines: usize,
}

/// Options of `portcullis audit verify`.
#[derive(Debug, Args)]
pub(crate) struct VerifyArgs {
    #[command(flatten)]
    pub(crate) log: LogArgs,
    /// Entry that must be in the log, from an earlier `verify`.
    #[arg(long, value_name = "SEQ:HASH")]
    pub(crate) expect_head: Option<String>,
    /// Older segments were moved away on purpose: begin at the oldest one present.
    #[arg(long)]
    pub(crate) partial: bool,
}
