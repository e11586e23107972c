//! `portcullis policy …`

use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::SourceArgs;

/// What can be done with policies.
#[derive(Debug, Subcommand)]
pub(crate) enum PolicyCommand {
    /// Print a built-in policy: ordinary Cedar, to read or to copy.
    #[command(
        after_help = "Presets:\n  observe    everything permitted and recorded; the protocol's rules are enforced\n  \
        read-only  only reads, and tools whose annotations say read-only\n  closed     nothing"
    )]
    Show {
        /// `observe`, `read-only` or `closed`.
        preset: String,
    },
    /// Write a policy to start from, with one action for each tool of the server at hand.
    #[command(
        after_help = "Examples:\n  portcullis policy init -o policy.cedar -- npx -y @modelcontextprotocol/server-everything\n  \
        portcullis policy init --preset closed --catalogue tools.json"
    )]
    Init(PolicyInitArgs),
    /// Print the Cedar schema generated from the server's tools.
    #[command(
        after_help = "Examples:\n  portcullis policy schema --upstream http://127.0.0.1:3001/mcp > server.cedarschema\n  \
        portcullis policy schema --catalogue tools.json\n\nCedar's editors and tools use the schema to complete and check policies."
    )]
    Schema(PolicySchemaArgs),
    /// Run table tests: who calls what with which arguments, and what the policy must say.
    #[command(after_help = "Example of a test file:\n  \
        policies: [policy.cedar]\n  \
        catalogue: tools.json\n  \
        tests:\n    \
        - name: large payments are refused\n      \
        caller: { name: ana, groups: [finance] }\n      \
        tool: send_payment\n      \
        arguments: { amount: 2000, recipient: ACME }\n      \
        expect: deny            # allow, deny, ask or hidden\n      \
        policy: small-payments  # the @id that decides\n\n\
        Exit codes: 0 all as expected, 1 some are not, 2 a file cannot be read.")]
    Test(PolicyTestArgs),
}

/// Options of `portcullis policy init`.
#[derive(Debug, Args)]
pub(crate) struct PolicyInitArgs {
    /// Preset to start from.
    #[arg(long, value_name = "PRESET", default_value = "read-only")]
    pub(crate) preset: String,
    /// File to write; standard output when left out. An existing file is never overwritten.
    #[arg(short, long, value_name = "FILE")]
    pub(crate) output: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) source: SourceArgs,
}

/// Options of `portcullis policy schema`.
#[derive(Debug, Args)]
pub(crate) struct PolicySchemaArgs {
    /// File to write; standard output when left out.
    #[arg(short, long, value_name = "FILE")]
    pub(crate) output: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) source: SourceArgs,
}

/// Options of `portcullis policy test`.
#[derive(Debug, Args)]
pub(crate) struct PolicyTestArgs {
    /// Test files (YAML).
    #[arg(value_name = "FILE", required = true)]
    pub(crate) files: Vec<PathBuf>,
    /// Policies to test in place of those the files name; may be repeated.
    #[arg(short, long, value_name = "FILE|FOLDER|PRESET")]
    pub(crate) policy: Vec<String>,
    /// Saved `tools/list` result in place of the one the files name.
    #[arg(long, value_name = "FILE")]
    pub(crate) catalogue: Option<PathBuf>,
}
