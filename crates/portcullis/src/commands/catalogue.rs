//! Where lists of tools come from: saved files, or servers that are asked once. `portcullis catalogue save` writes the file.

use std::fs::OpenOptions;
use std::io::Write;
use std::path::Path;
use std::sync::Arc;

use futures_util::future::join_all;
use portcullis_core::catalogue::Catalogue;
use portcullis_core::clock::Clock;
use portcullis_core::ledger::Ledger;
use portcullis_core::refusal::Fault;
use portcullis_core::version::Era;
use portcullis_ledger::MemoryLedger;
use portcullis_server::SystemClock;

use crate::cli::{CatalogueSaveArgs, SourceArgs};
use crate::commands::{config_failure, no_server, runtime, said, saved_known};
use crate::config::{Config, Overrides};
use crate::exit::{Exit, Failure};
use crate::plan::{self, Known};
use crate::{out, run};

/// What a server said when it was asked.
pub(crate) struct Answer {
    pub(crate) server: String,
    /// Unknown where the answer is a saved file.
    pub(crate) era: Option<Era>,
    pub(crate) answer: Result<Arc<Catalogue>, Fault>,
}

/// Saves what a server offers.
pub(crate) fn save(args: &CatalogueSaveArgs) -> Result<Exit, Failure> {
    let known = find(&args.source)?;
    let [(server, catalogue)] = known.as_slice() else {
        let names: Vec<_> = known.iter().map(|(name, _)| name.as_str()).collect();
        return Err(Failure::usage("a file holds the tools of one server")
            .help(format!("say whose with `--server NAME`: {}", names.join(", "))));
    };
    let tools: Vec<_> = catalogue.tools().map(|tool| String::from_utf8_lossy(&tool.definition).into_owned()).collect();
    // The definitions as the server wrote them, one to a line: a later save shows in `diff` what changed.
    let text = format!("{{\"tools\":[\n{}\n]}}\n", tools.join(",\n"));
    write(args.output.as_deref(), &text, true)?;
    if let Some(path) = &args.output {
        out::note(format_args!("{} tools of `{server}` saved to {}", tools.len(), path.display()));
    }
    Ok(Exit::Success)
}

/// What the servers offer, by the saved files or by their own answers; all of them must be known.
pub(crate) fn find(source: &SourceArgs) -> Result<Known, Failure> {
    let config = config(source)?;
    answers(source, &config)?
        .into_iter()
        .map(|Answer { server, answer, .. }| match answer {
            Ok(catalogue) => Ok((server, catalogue)),
            Err(fault) => {
                let what = config.server(&server).map(plan::describe_upstream).unwrap_or(server);
                Err(Failure::new(format!("{what}: {fault}")).help("is it an MCP server, and does it run?"))
            }
        })
        .collect()
}

/// The configuration that says which servers there are.
pub(crate) fn config(source: &SourceArgs) -> Result<Config, Failure> {
    let overrides = Overrides {
        name: source.server.name.clone(),
        upstream: source.server.upstream.clone(),
        command: source.server.command.clone(),
        ..Overrides::default()
    };
    Config::load(source.config.as_deref(), &overrides).map_err(config_failure)
}

/// What each server says, by the saved files or by itself; one only, if the options name one.
pub(crate) fn answers(source: &SourceArgs, config: &Config) -> Result<Vec<Answer>, Failure> {
    let only = source.only.as_deref();
    if let Some(name) = only.filter(|name| config.server(name).is_none()) {
        return Err(no_server(config, name));
    }
    let wanted = |name: &str| only.is_none_or(|only| only == name);
    if !source.catalogue.is_empty() {
        let known = saved_known(config, &source.catalogue)?;
        let known = known.into_iter().filter(|(name, catalogue)| wanted(name) && catalogue.is_read());
        return Ok(known.map(|(server, catalogue)| Answer { server, era: None, answer: Ok(catalogue) }).collect());
    }
    if config.servers.is_empty() {
        return Err(Failure::usage("no server to ask")
            .help("name one: `--upstream URL`, or `-- COMMAND ARGS…`, or `--catalogue FILE` for a saved list"));
    }
    ask(config, wanted)
}

fn ask(config: &Config, wanted: impl Fn(&str) -> bool) -> Result<Vec<Answer>, Failure> {
    run::logging::start(Some("error"));
    let runtime = runtime()?;
    let answers = runtime.block_on(async {
        // What the servers say on the side is not worth keeping here.
        let ledger: Arc<dyn Ledger> = Arc::new(MemoryLedger::new(16));
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        let board = plan::health_board(Arc::clone(&ledger), Arc::clone(&clock));
        let mut upstreams = Vec::new();
        for server in config.servers.iter().filter(|server| wanted(&server.name)) {
            let made = plan::make_upstream(config, server, &board, Arc::clone(&ledger), Arc::clone(&clock), None);
            upstreams.push(made.map_err(|findings| said(&findings, Exit::Usage))?.upstream);
        }
        let asking = upstreams.iter().map(|upstream| async {
            let answer = upstream.refresh().await;
            upstream.shut_down().await;
            Answer { server: upstream.name().to_string(), era: upstream.era(), answer }
        });
        Ok(join_all(asking).await)
    });
    runtime.shutdown_timeout(run::LAST_WAIT);
    answers
}

/// Writes to the file, or to standard output without one. An existing file is replaced only where that loses no work.
pub(crate) fn write(path: Option<&Path>, text: &str, replace: bool) -> Result<(), Failure> {
    let Some(path) = path else {
        out::raw(text)?;
        return Ok(());
    };
    let mut options = OpenOptions::new();
    options.write(true).create(replace).truncate(replace).create_new(!replace);
    let written = options.open(path).and_then(|mut file| file.write_all(text.as_bytes()));
    written.map_err(|error| {
        let failure = Failure::usage(format!("cannot write `{}`: {error}", path.display()));
        if error.kind() == std::io::ErrorKind::AlreadyExists {
            failure.help("choose another name, or remove the file first")
        } else {
            failure
        }
    })
}
