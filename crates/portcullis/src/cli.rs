//! The command line: what can be asked, said so that `--help` teaches it. No work is done here; [`run`] hands over to `commands`.

mod audit;
mod keys;
mod options;
mod policy;
mod sign;
mod status;

use clap::{Args, CommandFactory, Parser, Subcommand};

pub(crate) use self::audit::{AuditCommand, LogArgs, TailArgs, VerifyArgs};
pub(crate) use self::keys::{KeyStoreArgs, KeysCommand, KeysListArgs, KeysNewArgs, KeysRevokeArgs};
pub(crate) use self::options::{CheckArgs, DemoArgs, ExplainArgs, OfflineArgs, RunArgs, Saved, SourceArgs, WrapArgs};
pub(crate) use self::policy::{PolicyCommand, PolicyInitArgs, PolicySchemaArgs, PolicyTestArgs};
pub(crate) use self::sign::SignArgs;
pub(crate) use self::status::StatusArgs;
use crate::commands;
use crate::exit::{Exit, Failure};
use crate::out;

const EXAMPLES: &str = "\
Examples:
  portcullis demo                                              see it work; needs nothing else
  portcullis run -- npx -y @modelcontextprotocol/server-everything
                                                               guard a server that speaks stdio
  portcullis run --upstream http://127.0.0.1:3001/mcp          guard a server that speaks HTTP
  portcullis wrap -- my-server                                 the same for a client that starts its servers itself
  portcullis policy init -o policy.cedar -- my-server          start a policy from its tools
  portcullis run --policy policy.cedar -- my-server            and enforce it
  portcullis audit tail -f                                     watch decisions as they are made

Exit codes: 0 done, 1 the answer is no, 2 the command line or a file it names cannot be used.";

/// A security gateway for the Model Context Protocol.
///
/// Portcullis stands between MCP clients and an MCP server. It judges every message by a policy you can read and test, inspects every
/// answer, and writes down every decision in a log that anyone can verify.
#[derive(Debug, Parser)]
#[command(name = "portcullis", version, after_help = EXAMPLES, arg_required_else_help = true, max_term_width = 120)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Guard one MCP server, or several.
    Run(RunArgs),
    /// Show the gateway at work on a sample server; needs nothing but this program.
    Demo(DemoArgs),
    /// Guard one MCP server for the program that starts us: speak stdio to it.
    Wrap(WrapArgs),
    /// Validate configuration and policies without opening a socket.
    Check(CheckArgs),
    /// Show, step by step, what happens to a saved message.
    Explain(ExplainArgs),
    /// Show, start and test policies.
    #[command(subcommand)]
    Policy(PolicyCommand),
    /// Save what a server offers, for offline checks.
    #[command(subcommand)]
    Catalogue(CatalogueCommand),
    /// List what every server offers, and which names could be mistaken for each other.
    Tools(ToolsArgs),
    /// Show how the servers of a running gateway are, and reset their breakers.
    Status(StatusArgs),
    /// Read and verify the log of decisions.
    #[command(subcommand)]
    Audit(AuditCommand),
    /// Make, list and revoke the API keys of callers.
    #[command(subcommand)]
    Keys(KeysCommand),
    /// Sign a request, to try a gateway that asks for signatures.
    Sign(SignArgs),
    /// Describe the configuration file.
    #[command(subcommand)]
    Config(ConfigCommand),
}

/// `portcullis catalogue …`
#[derive(Debug, Subcommand)]
pub(crate) enum CatalogueCommand {
    /// Ask a server for its tools and save the list.
    #[command(
        after_help = "Examples:\n  portcullis catalogue save -o tools.json -- npx -y @modelcontextprotocol/server-everything\n  \
        portcullis catalogue save -o notes.json --config gateway.yaml --server notes\n\n\
        The file serves `check`, `explain`, `policy init`, `policy schema` and `policy test` in place of the server."
    )]
    Save(CatalogueSaveArgs),
}

/// Options of `portcullis catalogue save`.
#[derive(Debug, Args)]
pub(crate) struct CatalogueSaveArgs {
    #[command(flatten)]
    pub(crate) source: SourceArgs,
    /// File to write; standard output when left out.
    #[arg(short, long, value_name = "FILE")]
    pub(crate) output: Option<std::path::PathBuf>,
}

const TOOLS_EXAMPLES: &str = "\
Examples:
  portcullis tools --config gateway.yaml
  portcullis tools --config gateway.yaml --server notes --json
  portcullis tools -- npx -y @modelcontextprotocol/server-everything

Every server is asked, all at once; those that do not answer are said and do not keep the others from being listed.

Exit codes: 0 all answered, 1 some did not, 2 the command line or a file it names cannot be used.";

/// Options of `portcullis tools`.
#[derive(Debug, Args)]
#[command(after_help = TOOLS_EXAMPLES)]
pub(crate) struct ToolsArgs {
    #[command(flatten)]
    pub(crate) source: SourceArgs,
    /// Print one JSON document.
    #[arg(long)]
    pub(crate) json: bool,
}

/// `portcullis config …`
#[derive(Clone, Copy, Debug, Subcommand)]
pub(crate) enum ConfigCommand {
    /// Print the JSON Schema of the configuration file, for editors.
    #[command(after_help = "With the YAML language server, put this in the first line of the file:\n  \
        # yaml-language-server: $schema=./portcullis.schema.json")]
    Schema,
    /// Print the reference of every key, as Markdown.
    Reference,
    /// Print the help of every command, as Markdown.
    Commands,
}

/// The help of every command, as Markdown.
pub(crate) fn markdown() -> String {
    let mut page = String::from(
        "# Commands\n\n<!-- Generated from the help texts by `portcullis config commands`; edit `crates/portcullis/src/cli`, not this file. -->\n",
    );
    // A fixed width, so that the page does not depend on who writes it.
    let mut root = Cli::command().term_width(100).disable_help_subcommand(true);
    root.build();
    describe(&mut page, &mut root);
    page
}

fn describe(page: &mut String, command: &mut clap::Command) {
    let name = command.get_bin_name().unwrap_or("portcullis").to_owned();
    // The environment of whoever writes the page is nobody else's business.
    let mut shown = command.clone().mut_args(|arg| arg.hide_env_values(true));
    let help = shown.render_long_help().to_string();
    let lines: Vec<_> = help.lines().map(str::trim_end).collect();
    page.push_str(&format!("\n## `{name}`\n\n```text\n{}\n```\n", lines.join("\n").trim_end()));
    for inner in command.get_subcommands_mut() {
        describe(page, inner);
    }
}

/// Reads the command line and does what it says.
pub(crate) fn run() -> Exit {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            let exit = if error.use_stderr() { Exit::Usage } else { Exit::Success };
            // Help and complaints are printed by the parser itself; a closed pipe is the reader's choice.
            let _closed = error.print();
            return exit;
        }
    };
    dispatch(cli.command).unwrap_or_else(|failure| {
        out::failure(&failure);
        failure.exit
    })
}

fn dispatch(command: Command) -> Result<Exit, Failure> {
    match command {
        Command::Run(args) => commands::run::run(args),
        Command::Demo(args) => commands::demo::demo(args),
        Command::Wrap(args) => commands::wrap::wrap(args),
        Command::Check(args) => commands::check::check(&args),
        Command::Explain(args) => commands::explain::explain(&args),
        Command::Policy(PolicyCommand::Show { preset }) => commands::policy::show(&preset),
        Command::Policy(PolicyCommand::Init(args)) => commands::policy::init(&args),
        Command::Policy(PolicyCommand::Schema(args)) => commands::policy::schema(&args),
        Command::Policy(PolicyCommand::Test(args)) => commands::policy::test(&args),
        Command::Catalogue(CatalogueCommand::Save(args)) => commands::catalogue::save(&args),
        Command::Tools(args) => commands::tools::tools(&args),
        Command::Audit(AuditCommand::Tail(args)) => commands::audit::tail(&args),
        Command::Audit(AuditCommand::Verify(args)) => commands::audit::verify(&args),
        Command::Audit(AuditCommand::Show { id, log }) => commands::audit::show(&id, &log),
        Command::Keys(KeysCommand::New(args)) => commands::keys::new(&args),
        Command::Keys(KeysCommand::List(args)) => commands::keys::list(&args),
        Command::Keys(KeysCommand::Revoke(args)) => commands::keys::revoke(&args),
        Command::Sign(args) => commands::sign::sign(&args),
        Command::Status(args) => commands::status::status(&args),
        Command::Config(ConfigCommand::Schema) => commands::config::schema(),
        Command::Config(ConfigCommand::Reference) => commands::config::reference(),
        Command::Config(ConfigCommand::Commands) => commands::config::commands(),
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    #[test]
    fn the_command_line_is_well_formed() {
        super::Cli::command().debug_assert();
    }
}
