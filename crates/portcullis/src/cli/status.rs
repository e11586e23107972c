//! Options of `portcullis status`.

use clap::Args;

const EXAMPLES: &str = "\
Examples:
  portcullis status
  portcullis status --json --admin http://127.0.0.1:9001
  portcullis status --reset notes              close its breakers and forget what opened them
  portcullis status --reset notes/http         of one transport only

The gateway must have an admin address: `portcullis run --admin 127.0.0.1:8701`, or `admin.listen` in its configuration.

Exit codes: 0 every server can be called, 1 one cannot or nothing was reset, 2 the gateway cannot be asked.";

/// Options of `portcullis status`.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct StatusArgs {
    /// Admin address of the gateway.
    #[arg(long, value_name = "URL", env = "PORTCULLIS_ADMIN", default_value = "http://127.0.0.1:8701")]
    pub(crate) admin: String,
    /// Print what the gateway says as JSON.
    #[arg(long)]
    pub(crate) json: bool,
    /// Close the breakers of a server, or of one of its transports.
    #[arg(long, value_name = "SERVER[/TRANSPORT]")]
    pub(crate) reset: Option<String>,
}
