//! Where a saved message goes: to the server that is named, else to the only one there is, else to the one whose name for it clients see.

use std::sync::Arc;

use portcullis_core::catalogue::Catalogue;
use portcullis_core::naming::{Names, Placed};
use portcullis_core::wire::Message;

use crate::cli::ExplainArgs;
use crate::commands::no_server;
use crate::config::{Config, EndpointConfig};
use crate::exit::Failure;
use crate::out::escaped;
use crate::plan::{Known, shown};

/// A server, by way of a path.
pub(super) struct Place<'a> {
    pub(super) server: Arc<str>,
    /// `None` where nothing is served, because no server was named.
    pub(super) path: Option<&'a str>,
    /// What the path shows of the server's tools.
    pub(super) catalogue: Arc<Catalogue>,
    /// The message in the server's own words, where it came in those that clients of merged servers use.
    pub(super) own: Option<Message>,
}

impl<'a> Place<'a> {
    /// With `--server` the message is taken for one in that server's own words.
    pub(super) fn find(
        args: &ExplainArgs,
        config: &'a Config,
        known: &Known,
        message: Option<&Message>,
    ) -> Result<Self, Failure> {
        let name = match (&args.server, config.servers.as_slice()) {
            (Some(name), []) if *name == config.server_name => name,
            (Some(name), _) => config.server(name).map(|server| &server.name).ok_or_else(|| no_server(config, name))?,
            (None, []) => &config.server_name,
            (None, [one]) => &one.name,
            (None, _) => return Self::by_its_words(args, config, known, message),
        };
        let leads = |endpoint: &&EndpointConfig| config.servers_of(endpoint).any(|server| server.name == *name);
        let Some(endpoint) = config.endpoints.iter().filter(leads).find(|endpoint| is_wanted(args, endpoint)) else {
            let Some(path) = &args.endpoint else { return Ok(Self::nowhere(name, known)) };
            let paths: Vec<_> = config.endpoints.iter().filter(leads).map(|endpoint| endpoint.path.as_str()).collect();
            return Err(Failure::usage(format!("`{}` does not lead to `{name}`", escaped(path)))
                .help(format!("these do: {}", paths.join(", "))));
        };
        let at = config.servers_of(endpoint).position(|server| server.name == *name).unwrap_or_default();
        Ok(Self::at(config, known, endpoint, at, None))
    }

    /// By the names that clients of several servers see, at the path that is wanted or at the first that has them.
    fn by_its_words(
        args: &ExplainArgs,
        config: &'a Config,
        known: &Known,
        message: Option<&Message>,
    ) -> Result<Self, Failure> {
        for endpoint in config.endpoints.iter().filter(|endpoint| is_wanted(args, endpoint)) {
            match (&endpoint.names, message) {
                (None, _) if args.endpoint.is_some() => return Ok(Self::at(config, known, endpoint, 0, None)),
                (Some(names), Some(message)) => {
                    if let Some((at, own)) = placed(config, endpoint, names, known, message) {
                        return Ok(Self::at(config, known, endpoint, at, Some(own)));
                    }
                }
                _ => {}
            }
        }
        let names: Vec<_> = config.servers.iter().map(|server| server.name.as_str()).collect();
        Err(Failure::usage("which server is the message for? It has no name that clients of several servers would use")
            .help(format!("say it with `--server NAME`, and the server's own names: {}", names.join(", "))))
    }

    fn nowhere(name: &str, known: &Known) -> Self {
        let catalogue = known.iter().find(|(known, _)| known == name).map(|(_, catalogue)| Arc::clone(catalogue));
        Self { server: Arc::from(name), path: None, catalogue: catalogue.unwrap_or_default(), own: None }
    }

    fn at(config: &Config, known: &Known, endpoint: &'a EndpointConfig, at: usize, own: Option<Message>) -> Self {
        let name = config.servers_of(endpoint).nth(at).map(|server| server.name.as_str()).unwrap_or_default();
        let catalogue = shown(endpoint, known).into_iter().nth(at).unwrap_or_default();
        Self { server: Arc::from(name), path: Some(&endpoint.path), catalogue, own }
    }
}

fn is_wanted(args: &ExplainArgs, endpoint: &EndpointConfig) -> bool {
    args.endpoint.as_ref().is_none_or(|path| *path == endpoint.path)
}

/// The one server that a message is for, and the message in its words. What goes to all of them is judged for each, and here for none.
fn placed(
    config: &Config,
    endpoint: &EndpointConfig,
    names: &Names,
    known: &Known,
    message: &Message,
) -> Option<(usize, Message)> {
    match names.place(message, &shown(endpoint, known), &config.server.limits.reader()) {
        Ok(Placed::One { server, message }) => Some((server, message)),
        _ => None,
    }
}
