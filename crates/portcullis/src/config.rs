//! The configuration: one YAML file, then the command line, then a checked [`Config`] that everything else is built from.
//! Raw types mirror the file (`file`), checking finds everything that is wrong at once (`check`), nothing here opens a socket.

mod check;
mod file;
pub(crate) mod key_file;
mod one_or_many;
mod paths;
pub(crate) mod reference;
mod suggest;
mod transport;
pub(crate) mod yaml;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use portcullis_core::naming::Names;
use portcullis_guards::GuardsSettings;
use portcullis_ledger::AuditSettings;
use portcullis_server::{IdentitySettings, Refusals, ServerSettings};
use portcullis_upstream::{BreakerSettings, BulkheadSettings, Choice, FallbackSettings, HealthSettings, Pattern};

use crate::finding::Finding;

pub(crate) use self::file::{File, GatewaySettings, MissingWord, PrefixWord};
pub(crate) use self::paths::{PolicyPath, default_audit_folder};
pub(crate) use self::suggest::nearest;
pub(crate) use self::transport::Transport;

/// Name of the server where nobody chose one. Fixed, so that a policy keeps matching when the command or address changes.
pub(crate) const DEFAULT_SERVER_NAME: &str = "server";

/// Where findings about options of the command line point.
const COMMAND_LINE: &str = "command line";

/// Everything an operator decided, checked. Immutable; a reload makes a new one.
#[derive(Clone, Debug)]
pub(crate) struct Config {
    pub(crate) server: ServerSettings,
    /// The one client is the program that started us.
    pub(crate) stdio: bool,
    pub(crate) refusals: Refusals,
    /// Name of the only server, if there is at most one. A Cedar identifier.
    pub(crate) server_name: String,
    /// In the order of the file; each has a name of its own.
    pub(crate) servers: Vec<UpstreamConfig>,
    pub(crate) gateway: GatewaySettings,
    /// Every path that is served, each once; none only where there is no server. The first is the one that clients are told of.
    pub(crate) endpoints: Vec<EndpointConfig>,
    /// In the order given. Empty: nobody chose a policy.
    pub(crate) policy: Vec<PolicyPath>,
    pub(crate) guards: GuardsSettings,
    pub(crate) audit: AuditSettings,
    pub(crate) admin: Option<SocketAddr>,
    /// The file, if there is one.
    pub(crate) origin: Option<Origin>,
}

/// A server that this gateway guards.
#[derive(Clone, Debug)]
pub(crate) struct UpstreamConfig {
    /// A Cedar identifier.
    pub(crate) name: String,
    /// Where it stands in the file: `upstream`, `upstreams.2`.
    pub(crate) key: String,
    pub(crate) tags: Vec<String>,
    /// At least one; the preferred one first.
    pub(crate) ways: Vec<Way>,
    pub(crate) catalogue_ttl_ms: Option<u64>,
    pub(crate) care: Care,
}

/// One of the ways to a server.
#[derive(Clone, Debug)]
pub(crate) struct Way {
    /// Where it stands in the file: `upstream.http`, `upstreams.2.transports.0.stdio`.
    pub(crate) key: String,
    pub(crate) transport: Transport,
}

/// What keeps a bad server from being everybody's problem, and which way to it is taken.
#[derive(Clone, Debug, Default)]
pub(crate) struct Care {
    pub(crate) breaker: BreakerSettings,
    pub(crate) health: HealthSettings,
    pub(crate) limits: BulkheadSettings,
    pub(crate) fallback: FallbackSettings,
}

/// A path and what it serves.
#[derive(Clone, Debug)]
pub(crate) struct EndpointConfig {
    pub(crate) path: String,
    /// Places in [`Config::servers`], ascending; at least one.
    pub(crate) servers: Vec<usize>,
    /// Which tools of each, in the same order.
    pub(crate) tools: Vec<Choice>,
    /// As they were written, by which those tools are chosen.
    pub(crate) patterns: Vec<ToolPattern>,
    /// How they are told apart. `None`: one server under its own names.
    pub(crate) names: Option<Names>,
    /// Policies of its own. Empty: the common ones.
    pub(crate) policy: Vec<PolicyPath>,
    /// In place of the common one.
    pub(crate) missing: Option<MissingWord>,
    /// Where it stands in the file. `None`: it is there by itself.
    pub(crate) key: Option<String>,
}

/// What chooses tools for an endpoint.
#[derive(Clone, Debug)]
pub(crate) struct ToolPattern {
    pub(crate) text: String,
    /// Where it stands in the file.
    pub(crate) key: String,
    pub(crate) pattern: Pattern,
    /// Places in [`Config::servers`] of those whose tools it is about; at least one.
    pub(crate) servers: Vec<usize>,
}

/// What the command line says; it wins over the file.
#[derive(Clone, Debug, Default)]
pub(crate) struct Overrides {
    pub(crate) listen: Option<SocketAddr>,
    pub(crate) policy: Vec<String>,
    pub(crate) audit_log: Option<PathBuf>,
    pub(crate) admin: Option<SocketAddr>,
    pub(crate) name: Option<String>,
    pub(crate) upstream: Option<String>,
    pub(crate) command: Vec<String>,
    /// Nobody comes by network: what the file says about that is for `run`.
    pub(crate) stdio: bool,
}

/// A file that was read, kept for finding places in it.
#[derive(Clone)]
pub(crate) struct Origin {
    /// As the operator named it.
    pub(crate) name: String,
    pub(crate) text: String,
    /// Relative paths in the file start here.
    pub(crate) folder: PathBuf,
}

/// Shows the name only: the text may hold secrets.
impl std::fmt::Debug for Origin {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Origin").field("name", &self.name).finish_non_exhaustive()
    }
}

/// What a file says of callers, before anything is checked; for commands that are about nothing else.
pub(crate) struct WrittenCallers {
    pub(crate) origin: Origin,
    pub(crate) identity: IdentitySettings,
}

/// Why there is no configuration.
#[derive(Debug)]
pub(crate) enum ConfigError {
    /// The file cannot be read at all.
    Unreadable { file: PathBuf, reason: String },
    /// What is wrong with it.
    Wrong(Vec<Finding>),
}

impl Config {
    /// Something that is wrong with a key, found after the file was read.
    pub(crate) fn finding(&self, key: &str, text: impl Into<String>) -> Finding {
        match &self.origin {
            Some(origin) => Finding::error(&origin.name, key, text).at(yaml::locate(&origin.text, key)),
            None => Finding::error(COMMAND_LINE, key, text),
        }
    }

    /// The servers of an endpoint.
    pub(crate) fn servers_of(&self, endpoint: &EndpointConfig) -> impl Iterator<Item = &UpstreamConfig> {
        endpoint.servers.iter().filter_map(|index| self.servers.get(*index))
    }

    /// The server of this name.
    pub(crate) fn server(&self, name: &str) -> Option<&UpstreamConfig> {
        self.servers.iter().find(|server| server.name == name)
    }

    /// The path that clients are told of.
    pub(crate) fn path(&self) -> &str {
        self.endpoints.first().map_or(&self.server.path, |endpoint| &endpoint.path)
    }

    /// From a file (or none: all defaults) and what the command line says.
    ///
    /// # Errors
    /// Everything that is wrong, each with its place.
    pub(crate) fn load(file: Option<&Path>, overrides: &Overrides) -> Result<Self, ConfigError> {
        let Some(path) = file else {
            return check::check(File::default(), None, overrides).map_err(ConfigError::Wrong);
        };
        let (raw, origin) = read(path)?;
        check::check(raw, Some(origin), overrides).map_err(ConfigError::Wrong)
    }

    /// The callers of a file that may be wrong elsewhere, and whose key file need not exist yet.
    ///
    /// # Errors
    /// The file cannot be read.
    pub(crate) fn callers(path: &Path) -> Result<WrittenCallers, ConfigError> {
        let (raw, origin) = read(path)?;
        let mut identity = raw.identity;
        identity.relative_to(&origin.folder);
        Ok(WrittenCallers { origin, identity })
    }
}

/// A file as it is written, and where that is.
fn read(path: &Path) -> Result<(File, Origin), ConfigError> {
    let text = std::fs::read_to_string(path)
        .map_err(|error| ConfigError::Unreadable { file: path.to_owned(), reason: error.to_string() })?;
    let folder = path.parent().map_or_else(PathBuf::new, Path::to_owned);
    let origin = Origin { name: path.display().to_string(), text, folder };
    let raw = yaml::read(&origin.name, &origin.text).map_err(|finding| ConfigError::Wrong(vec![*finding]))?;
    Ok((raw, origin))
}

#[cfg(test)]
mod tests;
