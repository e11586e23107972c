//! Options of the commands that work with a server or a plan: `run`, `demo`, `check`, `explain`, and where a catalogue comes from.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::str::FromStr;

use clap::Args;
use http::{HeaderName, HeaderValue};

use super::sign::header;

const RUN_EXAMPLES: &str = "\
Examples:
  portcullis run -- npx -y @modelcontextprotocol/server-everything
  portcullis run --upstream http://127.0.0.1:3001/mcp --policy read-only
  portcullis run --config portcullis.yaml --listen 127.0.0.1:9000

What the command line says wins over the configuration file. Without a policy, a listener on this machine only \
starts with `observe` (everything permitted and recorded) and says so; any other listener refuses to start.

Signals: Ctrl-C or SIGTERM lets open calls finish, then stops (a second one stops at once); SIGHUP reads \
policies, guards and callers again, and keeps the old ones if the new ones are wrong.

The gateway's own messages go to standard error; PORTCULLIS_LOG=debug shows more of them.";

/// What decides: a configuration, and policies in place of those it names.
#[derive(Debug, Args)]
pub(crate) struct PlanArgs {
    /// Configuration file (YAML).
    #[arg(short, long, value_name = "FILE", env = "PORTCULLIS_CONFIG")]
    pub(crate) config: Option<PathBuf>,
    /// Policy: a Cedar file, a folder of them, or a preset (`observe`, `read-only`, `closed`); may be repeated.
    #[arg(short, long, value_name = "FILE|FOLDER|PRESET")]
    pub(crate) policy: Vec<String>,
}

/// What decides, and a saved list in place of a server: for the commands that open no socket.
#[derive(Debug, Args)]
pub(crate) struct OfflineArgs {
    #[command(flatten)]
    pub(crate) plan: PlanArgs,
    /// Saved `tools/list` result (see `portcullis catalogue save`): what the server offers. Where there are several servers, `NAME=FILE`
    /// for each.
    #[arg(long, value_name = "[NAME=]FILE")]
    pub(crate) catalogue: Vec<Saved>,
    /// Name of the server in policies, where there is one [default: server].
    #[arg(long, value_name = "NAME")]
    pub(crate) name: Option<String>,
}

/// Options of `portcullis run`.
#[derive(Debug, Args)]
#[command(after_help = RUN_EXAMPLES)]
pub(crate) struct RunArgs {
    #[command(flatten)]
    pub(crate) plan: PlanArgs,
    /// Address to listen on [default: 127.0.0.1:8700]. Port 0 takes any free port and prints it.
    #[arg(short, long, value_name = "ADDR")]
    pub(crate) listen: Option<SocketAddr>,
    /// Where the audit log is: a folder, or a path ending in `.jsonl` [default: $XDG_STATE_HOME/portcullis/audit].
    #[arg(long, value_name = "PATH")]
    pub(crate) audit_log: Option<PathBuf>,
    /// Address for `/metrics`, `/healthz`, `/readyz` and `portcullis status`, this machine only; off unless given.
    #[arg(long, value_name = "ADDR")]
    pub(crate) admin: Option<SocketAddr>,
    #[command(flatten)]
    pub(crate) server: ServerArgs,
}

const WRAP_EXAMPLES: &str = "\
Example, in the configuration of a desktop client:
  \"mcpServers\": { \"files\": {
    \"command\": \"portcullis\",
    \"args\": [\"wrap\", \"--policy\", \"read-only\", \"--\", \"npx\", \"-y\", \"@modelcontextprotocol/server-filesystem\", \"/srv\"]
  } }

The client is known as `local:USER` and proven by `stdio`. What the configuration file says about the network (addresses, TLS, callers, \
metrics) is not read. When the client closes our input, open calls may finish, then the server is stopped. If the log is taken by another \
gateway, a folder beside it is used.";

/// Options of `portcullis wrap`.
#[derive(Debug, Args)]
#[command(after_help = WRAP_EXAMPLES)]
pub(crate) struct WrapArgs {
    #[command(flatten)]
    pub(crate) plan: PlanArgs,
    /// Where the audit log is: a folder, or a path ending in `.jsonl` [default: $XDG_STATE_HOME/portcullis/audit].
    #[arg(long, value_name = "PATH")]
    pub(crate) audit_log: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) server: ServerArgs,
}

/// A saved list of tools, and whose it is.
#[derive(Clone, Debug)]
pub(crate) struct Saved {
    pub(crate) server: Option<String>,
    pub(crate) file: PathBuf,
}

/// `FILE` or `NAME=FILE`. What stands before the first `=` is a name only if servers can be called that, so that most odd paths are paths.
impl FromStr for Saved {
    type Err = Infallible;

    fn from_str(text: &str) -> Result<Self, Infallible> {
        let named = text.split_once('=').filter(|(name, _)| portcullis_policy::is_server_name(name));
        Ok(match named {
            Some((name, file)) => Self { server: Some(name.to_owned()), file: PathBuf::from(file) },
            None => Self { server: None, file: PathBuf::from(text) },
        })
    }
}

/// Which server to guard or to ask.
#[derive(Clone, Debug, Default, Args)]
pub(crate) struct ServerArgs {
    /// Address of an MCP server that speaks Streamable HTTP.
    #[arg(short, long, value_name = "URL", conflicts_with = "command")]
    pub(crate) upstream: Option<String>,
    /// Name of the server in policies and in the log, where there is one [default: server].
    #[arg(long, value_name = "NAME")]
    pub(crate) name: Option<String>,
    /// Command that starts an MCP server that speaks stdio.
    #[arg(last = true, value_name = "COMMAND")]
    pub(crate) command: Vec<String>,
}

/// Where a list of tools comes from: a running server, or a saved file.
#[derive(Clone, Debug, Default, Args)]
pub(crate) struct SourceArgs {
    /// Configuration file that says which server to ask.
    #[arg(short, long, value_name = "FILE", env = "PORTCULLIS_CONFIG")]
    pub(crate) config: Option<PathBuf>,
    /// Saved `tools/list` result (see `portcullis catalogue save`) in place of a running server; `NAME=FILE` for each of several.
    #[arg(long, value_name = "[NAME=]FILE", conflicts_with_all = ["upstream", "command"])]
    pub(crate) catalogue: Vec<Saved>,
    /// Only this one of the configuration's servers.
    #[arg(long = "server", value_name = "NAME", conflicts_with_all = ["upstream", "command", "name"])]
    pub(crate) only: Option<String>,
    #[command(flatten)]
    pub(crate) server: ServerArgs,
}

/// Options of `portcullis demo`.
#[derive(Clone, Copy, Debug, Args)]
#[command(
    after_help = "The sample server, the gateway and the client are real and talk over real sockets on this machine."
)]
pub(crate) struct DemoArgs {
    /// Stay up afterwards and print the address, to try it with your own client.
    #[arg(long)]
    pub(crate) stay: bool,
    /// Address of the gateway [default: 127.0.0.1:8700 with --stay, any free port otherwise].
    #[arg(short, long, value_name = "ADDR")]
    pub(crate) listen: Option<SocketAddr>,
}

const CHECK_EXAMPLES: &str = "\
Examples:
  portcullis check --config portcullis.yaml
  portcullis check --policy policy.cedar --catalogue tools.json
  portcullis check --config gateway.yaml --catalogue notes=notes.json --catalogue shop=shop.json

With a catalogue, policies are checked against the tools' own argument types: a field that a tool does not have, a \
comparison of wrong types, or a rule that can never match is found before it is deployed.

Exit codes: 0 nothing wrong (warnings allowed), 1 errors found, 2 a named file cannot be read.";

/// Options of `portcullis check`.
#[derive(Debug, Args)]
#[command(after_help = CHECK_EXAMPLES)]
pub(crate) struct CheckArgs {
    #[command(flatten)]
    pub(crate) offline: OfflineArgs,
    /// Print the findings as one JSON array.
    #[arg(long)]
    pub(crate) json: bool,
}

const EXPLAIN_EXAMPLES: &str = "\
Example:
  portcullis explain call.json --policy policy.cedar --catalogue tools.json --caller ana --group finance

The file holds one JSON-RPC message as a client would send it (`-` reads standard input). Nothing is sent anywhere.
Where several servers are merged, `notes__search` finds its server by itself; with `--server notes` it is `search`.

Exit codes: 0 the message would be forwarded, 1 it would be refused, 2 it cannot be read.";

/// Options of `portcullis explain`.
#[derive(Debug, Args)]
#[command(after_help = EXPLAIN_EXAMPLES)]
pub(crate) struct ExplainArgs {
    /// File with one JSON-RPC message; `-` for standard input.
    #[arg(value_name = "MESSAGE.json")]
    pub(crate) message: PathBuf,
    #[command(flatten)]
    pub(crate) offline: OfflineArgs,
    /// Header of the request, such as `authorization: Bearer TOKEN`; may be repeated. What it proves is shown, and the caller is whom it
    /// proves; keys of issuers are fetched for that.
    #[arg(short = 'H', long = "header", value_name = "NAME: VALUE", value_parser = header, conflicts_with_all = ["caller", "groups"])]
    pub(crate) headers: Vec<(HeaderName, HeaderValue)>,
    /// Name of the caller; without it, nobody in particular.
    #[arg(long, value_name = "NAME")]
    pub(crate) caller: Option<String>,
    /// Group of the caller; may be repeated.
    #[arg(long = "group", value_name = "GROUP")]
    pub(crate) groups: Vec<String>,
    /// Server the message is for, in its own words. Without it, the one whose tool, prompt, resource or task clients of several servers mean by the
    /// message's name.
    #[arg(long, value_name = "NAME")]
    pub(crate) server: Option<String>,
    /// Path the client would use, where several have policies of their own [default: the first that leads to the server].
    #[arg(long, value_name = "PATH")]
    pub(crate) endpoint: Option<String>,
    /// Protocol revision to assume where the message does not say [default: 2025-11-25].
    #[arg(long = "protocol", value_name = "REVISION")]
    pub(crate) version: Option<String>,
    /// Tool that the session has called before, oldest first; may be repeated. Sessions exist in revisions up to 2025-11-25.
    #[arg(long, value_name = "TOOL")]
    pub(crate) called: Vec<String>,
    /// The message travels from the server to the client (sampling, elicitation, notifications).
    #[arg(long)]
    pub(crate) to_client: bool,
}
