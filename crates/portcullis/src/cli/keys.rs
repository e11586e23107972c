//! `portcullis keys …`

use std::path::PathBuf;

use clap::{Args, Subcommand};

/// What can be done with API keys.
#[derive(Debug, Subcommand)]
pub(crate) enum KeysCommand {
    /// Make a new random key for a caller.
    ///
    /// With a key file the caller is added to it, and standard output is the key and nothing else. Without one nothing is stored:
    /// the key and the entry for `identity.keys` of the configuration are printed.
    #[command(after_help = NEW)]
    New(KeysNewArgs),
    /// List callers: groups, servers, expiry and state.
    #[command(after_help = LIST)]
    List(KeysListArgs),
    /// Take back a caller's key.
    #[command(after_help = REVOKE)]
    Revoke(KeysRevokeArgs),
}

const NEW: &str = "\
Examples:
  portcullis keys new ana                        print a key, and its entry for the configuration
  portcullis keys new ana --file keys.yaml       add the caller to a key file; print the key
  portcullis keys new ci --config portcullis.yaml --expires 90d --group builders
  portcullis keys new bo --file keys.yaml --expires 2027-01-31 --server notes --server mail

The key is shown once; only its SHA-256 is stored, so a leaked file lets nobody in. The caller sends it as \
`Authorization: Bearer KEY` or `X-API-Key: KEY`; policies call the caller Mcp::Caller::\"NAME\". A running gateway takes up a changed \
key file within seconds. A new key file is readable by its owner only; give it to the gateway's user if that is another.

Exit codes: 0 made, 1 it could not be written, 2 the name or a file cannot be used.";

const LIST: &str = "\
Examples:
  portcullis keys list --config portcullis.yaml  keys of the configuration and of its key file
  portcullis keys list --file keys.yaml --json   for scripts

Keys themselves are not stored anywhere; the beginning of their SHA-256 tells them apart.";

const REVOKE: &str = "\
Examples:
  portcullis keys revoke ana --file keys.yaml
  portcullis keys revoke ana --config portcullis.yaml

The entry is removed from the file, with the remark right above it; everything else in the file stays as it is. A running gateway \
refuses the key within seconds, in open sessions too. To replace a key, revoke it and make a new one of the same name.

Exit codes: 0 revoked, 1 the file could not be written, 2 there is no such key in it, or it cannot be used.";

/// Where keys are kept.
#[derive(Debug, Args)]
pub(crate) struct KeyStoreArgs {
    /// Key file.
    #[arg(short, long, value_name = "FILE", conflicts_with = "config")]
    pub(crate) file: Option<PathBuf>,
    /// Configuration whose `identity.key_file` names the key file.
    #[arg(short, long, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
}

/// Options of `portcullis keys new`.
#[derive(Debug, Args)]
pub(crate) struct KeysNewArgs {
    /// Name of the caller, as policies and the log will call it.
    pub(crate) name: String,
    /// Group the caller belongs to; may be repeated.
    #[arg(short, long = "group", value_name = "GROUP")]
    pub(crate) groups: Vec<String>,
    /// When the key ends: in so many days (`90d`), on a date (at its end, UTC), or at a moment (RFC 3339) [default: never].
    #[arg(short, long, value_name = "90d|DATE|MOMENT")]
    pub(crate) expires: Option<String>,
    /// Server the key opens, by its name in policies; may be repeated [default: all].
    #[arg(short, long = "server", value_name = "NAME")]
    pub(crate) servers: Vec<String>,
    #[command(flatten)]
    pub(crate) store: KeyStoreArgs,
}

/// Options of `portcullis keys list`.
#[derive(Debug, Args)]
pub(crate) struct KeysListArgs {
    /// Print JSON.
    #[arg(long)]
    pub(crate) json: bool,
    #[command(flatten)]
    pub(crate) store: KeyStoreArgs,
}

/// Options of `portcullis keys revoke`.
#[derive(Debug, Args)]
pub(crate) struct KeysRevokeArgs {
    /// Name of the caller.
    pub(crate) name: String,
    #[command(flatten)]
    pub(crate) store: KeyStoreArgs,
}
