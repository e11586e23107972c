//! One file for each command: from its options to an exit code. What several commands need of each other is here.

pub(crate) mod audit;
pub(crate) mod catalogue;
pub(crate) mod check;
pub(crate) mod config;
pub(crate) mod demo;
pub(crate) mod explain;
pub(crate) mod keys;
pub(crate) mod policy;
pub(crate) mod run;
pub(crate) mod sign;
pub(crate) mod status;
pub(crate) mod tools;
pub(crate) mod wrap;

use std::collections::BTreeMap;
use std::io::Read as _;
use std::path::Path;
use std::sync::Arc;

use portcullis_core::catalogue::Catalogue;
use portcullis_core::wire::Limits;
use tokio::runtime::{Builder, Runtime};

use crate::cli::{OfflineArgs, Saved};
use crate::config::{Config, ConfigError, Overrides, nearest};
use crate::exit::{Exit, Failure};
use crate::finding::Finding;
use crate::out;
use crate::plan::{self, Known};

/// The configuration of a command that opens no socket.
pub(crate) fn offline_config(args: &OfflineArgs) -> Result<Config, ConfigError> {
    let overrides = Overrides { policy: args.plan.policy.clone(), name: args.name.clone(), ..Overrides::default() };
    Config::load(args.plan.config.as_deref(), &overrides)
}

/// A configuration that cannot be used, said on standard error.
pub(crate) fn config_failure(error: ConfigError) -> Failure {
    match error {
        ConfigError::Unreadable { file, reason } => {
            Failure::usage(format!("cannot read `{}`: {reason}", file.display())).help("`--config` names one YAML file")
        }
        ConfigError::Wrong(findings) => said(&findings, Exit::Usage),
    }
}

/// Findings that stop a command, said on standard error.
pub(crate) fn said(findings: &[Finding], exit: Exit) -> Failure {
    findings.iter().for_each(out::note);
    Failure::said(exit)
}

/// A catalogue from a saved `tools/list`.
pub(crate) fn saved_catalogue(path: &Path) -> Result<Arc<Catalogue>, Failure> {
    let bytes = std::fs::read(path).map_err(|error| {
        Failure::usage(format!("cannot read `{}`: {error}", path.display()))
            .help("`portcullis catalogue save` writes one")
    })?;
    // A file of the operator's own may be larger than a message on the wire.
    let limits = Limits { bytes: 64 << 20, members: 1 << 22, ..Limits::default() };
    Catalogue::from_saved(&bytes, &limits).map(Arc::new).map_err(|error| {
        Failure::usage(format!("`{}`: {error}", path.display()))
            .help("save the server's tools with `portcullis catalogue save`")
    })
}

/// The saved lists as what is known of the servers of a configuration. Where it has one server or none, a list needs no name.
pub(crate) fn saved_known(config: &Config, saved: &[Saved]) -> Result<Known, Failure> {
    let mut lists: BTreeMap<String, Arc<Catalogue>> = BTreeMap::new();
    for Saved { server, file } in saved {
        let name = match (server, config.servers.as_slice()) {
            (Some(name), _) => name.clone(),
            (None, []) => config.server_name.clone(),
            (None, [one]) => one.name.clone(),
            (None, several) => {
                let names: Vec<_> = several.iter().map(|server| server.name.as_str()).collect();
                return Err(Failure::usage(format!("`{}` is the list of which server?", file.display()))
                    .help(format!("write `NAME={}`; the servers are {}", file.display(), names.join(", "))));
            }
        };
        if !config.servers.is_empty() && config.server(&name).is_none() {
            return Err(no_server(config, &name));
        }
        if lists.insert(name.clone(), saved_catalogue(file)?).is_some() {
            return Err(
                Failure::usage(format!("`--catalogue` names two lists of `{name}`")).help("give one for each server")
            );
        }
    }
    if config.servers.is_empty() {
        return Ok(lists.into_iter().collect());
    }
    Ok(plan::known(config, |name| lists.get(name).cloned()))
}

/// A server that was named and is not there.
pub(crate) fn no_server(config: &Config, name: &str) -> Failure {
    let names: Vec<_> = config.servers.iter().map(|server| server.name.as_str()).collect();
    let help = match nearest(name, names.iter().copied()) {
        Some(near) => format!("did you mean `{near}`?"),
        None => format!("the servers are {}", names.join(", ")),
    };
    Failure::usage(format!("no server is called `{}`", out::escaped(name))).help(help)
}

/// The bytes of a file that is the input of a command; `-` is standard input.
pub(crate) fn given(path: &Path) -> Result<Vec<u8>, Failure> {
    let read = if path == Path::new("-") {
        let mut bytes = Vec::new();
        std::io::stdin().lock().read_to_end(&mut bytes).map(|_| bytes)
    } else {
        std::fs::read(path)
    };
    read.map_err(|error| Failure::usage(format!("cannot read `{}`: {error}", path.display())))
}

/// The runtime for everything that waits.
pub(crate) fn runtime() -> Result<Runtime, Failure> {
    Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::new(format!("the operating system gives no threads: {error}")))
}
