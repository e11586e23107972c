//! Where a list of tools comes from: a saved file, or a server that is asked once. `portcullis catalogue save` writes the file.

use std::fs::OpenOptions;
use std::io::Write;
use std::path::Path;
use std::sync::Arc;

use portcullis_core::catalogue::Catalogue;
use portcullis_core::ledger::Ledger;
use portcullis_ledger::MemoryLedger;
use portcullis_server::SystemClock;

use crate::cli::{CatalogueSaveArgs, SourceArgs};
use crate::commands::{config_failure, runtime, said, saved_catalogue};
use crate::config::{Config, Overrides};
use crate::exit::{Exit, Failure};
use crate::{out, plan, run};

/// Tools, and the name of the server that has them.
pub(crate) struct Known {
    pub(crate) server: String,
    pub(crate) catalogue: Arc<Catalogue>,
}

/// Saves what a server offers.
pub(crate) fn save(args: &CatalogueSaveArgs) -> Result<Exit, Failure> {
    let known = find(&args.source)?;
    let tools: Vec<_> =
        known.catalogue.tools().map(|tool| String::from_utf8_lossy(&tool.definition).into_owned()).collect();
    // The definitions as the server wrote them, one to a line: a later save shows in `diff` what changed.
    let text = format!("{{\"tools\":[\n{}\n]}}\n", tools.join(",\n"));
    write(args.output.as_deref(), &text, true)?;
    if let Some(path) = &args.output {
        out::note(format_args!("{} tools of `{}` saved to {}", tools.len(), known.server, path.display()));
    }
    Ok(Exit::Success)
}

/// Reads the saved file, or asks the server.
pub(crate) fn find(source: &SourceArgs) -> Result<Known, Failure> {
    let overrides = Overrides {
        name: source.server.name.clone(),
        upstream: source.server.upstream.clone(),
        command: source.server.command.clone(),
        ..Overrides::default()
    };
    let config = Config::load(source.config.as_deref(), &overrides).map_err(config_failure)?;
    let catalogue = match &source.catalogue {
        Some(path) => saved_catalogue(path)?,
        None => ask(&config)?,
    };
    Ok(Known { server: config.server_name, catalogue })
}

fn ask(config: &Config) -> Result<Arc<Catalogue>, Failure> {
    let upstream = config.upstream.as_ref().ok_or_else(|| {
        Failure::usage("no server to ask")
            .help("name one: `--upstream URL`, or `-- COMMAND ARGS…`, or `--catalogue FILE` for a saved list")
    })?;
    run::logging::start(Some("error"));
    let runtime = runtime()?;
    let answer = runtime.block_on(async {
        // What the server says on the side is not worth keeping here.
        let ledger: Arc<dyn Ledger> = Arc::new(MemoryLedger::new(16));
        let made = plan::make_upstream(upstream, config.server.limits.reader(), ledger, Arc::new(SystemClock), None);
        let server = made.map_err(|error| said(&[plan::upstream_complaint(config, upstream, &error)], Exit::Usage))?;
        let answer = server.refresh().await;
        server.shut_down().await;
        answer.map_err(|fault| {
            Failure::new(format!("{}: {fault}", plan::describe_upstream(upstream)))
                .help("is it an MCP server, and does it run?")
        })
    });
    runtime.shutdown_timeout(run::LAST_WAIT);
    answer
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
