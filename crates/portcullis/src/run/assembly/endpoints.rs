//! From the paths of the configuration to what the listener serves at each: which upstreams, how they are told apart, by which plan.

use std::sync::Arc;
use std::time::Duration;

use portcullis_core::clock::Clock;
use portcullis_core::ledger::Ledger;
use portcullis_core::upstream::Upstream;
use portcullis_server::{EndpointParts, Gateway, Merging, Missing};
use portcullis_upstream::{Choice, Lazy, LazySettings, Selected, SettingsError, Warm, WarmSettings};

use crate::config::{Config, EndpointConfig, MissingWord, UpstreamConfig};
use crate::exit::Failure;
use crate::plan::Loaded;

/// The gateway over all paths. `upstreams`: in the order of the configuration.
///
/// # Errors
/// Settings that contradict themselves.
pub(super) fn gateway(
    config: &Config,
    loaded: &Loaded,
    upstreams: &[Arc<dyn Upstream>],
    ledger: Arc<dyn Ledger>,
    clock: Arc<dyn Clock>,
) -> Result<Arc<Gateway>, Failure> {
    let ready = config.servers.iter().zip(upstreams).map(|(server, upstream)| ready(config, server, upstream));
    let ready = ready.collect::<Result<Vec<_>, _>>().map_err(|error| Failure::usage(error.to_string()))?;
    let parts = config.endpoints.iter().map(|endpoint| parts(config, endpoint, loaded, upstreams, &ready)).collect();
    Gateway::with_endpoints(config.server.clone(), parts, ledger, clock)
        .map_err(|error| Failure::usage(error.to_string()))
}

fn parts(
    config: &Config,
    endpoint: &EndpointConfig,
    loaded: &Loaded,
    upstreams: &[Arc<dyn Upstream>],
    ready: &[Arc<dyn Upstream>],
) -> EndpointParts {
    let behind = if endpoint.names.is_some() { ready } else { upstreams };
    let servers = endpoint.servers.iter().zip(&endpoint.tools).filter_map(|(index, choice)| {
        let upstream = Arc::clone(behind.get(*index)?);
        Some(shown(config, upstream, choice))
    });
    let merging = endpoint.names.as_ref().map(|names| Merging {
        names: Arc::new(names.clone()),
        missing: match endpoint.missing.unwrap_or(config.gateway.missing) {
            MissingWord::Partial => Missing::Partial,
            MissingWord::Strict => Missing::Strict,
        },
        deadline: Duration::from_millis(config.gateway.deadline_ms),
    });
    let plan = loaded.at(&endpoint.path).plan.clone();
    EndpointParts { path: endpoint.path.clone(), servers: servers.collect(), merging, plan }
}

/// A server as merged endpoints have it: its lists from what is known, its sessions opened at first need. Otherwise each client of all would
/// wait for each server, and have a session with it.
fn ready(
    config: &Config,
    server: &UpstreamConfig,
    upstream: &Arc<dyn Upstream>,
) -> Result<Arc<dyn Upstream>, SettingsError> {
    let limits = config.server.limits.reader();
    let ttl_ms = server.catalogue_ttl_ms.unwrap_or(config.gateway.catalogue_ttl_ms);
    let usual = LazySettings::default();
    // Its own word for being late comes before ours, which would be the same for all.
    let hello_timeout_ms = usual.hello_timeout_ms.min((config.gateway.deadline_ms / 5 * 4).max(1));
    let lazy = Lazy::new(Arc::clone(upstream), &LazySettings { hello_timeout_ms, ..usual }, limits)?;
    // Outermost: a list that is known opens no session.
    Ok(Warm::new(lazy, &WarmSettings { ttl_ms, ..WarmSettings::default() }, limits))
}

fn shown(config: &Config, upstream: Arc<dyn Upstream>, choice: &Choice) -> Arc<dyn Upstream> {
    if choice.is_all() { upstream } else { Selected::new(upstream, choice.clone(), config.server.limits.reader()) }
}
