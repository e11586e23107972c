//! From the paths of the configuration to what the listener serves at each: which upstreams, how they are told apart, by which plan.

use std::sync::Arc;
use std::time::Duration;

use portcullis_core::clock::Clock;
use portcullis_core::ledger::Ledger;
use portcullis_core::upstream::Upstream;
use portcullis_server::{EndpointParts, Gateway, Merging, Missing};
use portcullis_upstream::{Choice, Selected};

use crate::config::{Config, EndpointConfig, MissingWord};
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
    let parts = config.endpoints.iter().map(|endpoint| parts(config, endpoint, loaded, upstreams)).collect();
    Gateway::with_endpoints(config.server.clone(), parts, ledger, clock)
        .map_err(|error| Failure::usage(error.to_string()))
}

fn parts(
    config: &Config,
    endpoint: &EndpointConfig,
    loaded: &Loaded,
    upstreams: &[Arc<dyn Upstream>],
) -> EndpointParts {
    let servers = endpoint.servers.iter().zip(&endpoint.tools).filter_map(|(index, choice)| {
        let upstream = Arc::clone(upstreams.get(*index)?);
        Some(shown(config, upstream, choice))
    });
    let merging = endpoint.names.as_ref().map(|names| Merging {
        names: Arc::new(names.clone()),
        missing: match config.gateway.missing {
            MissingWord::Partial => Missing::Partial,
            MissingWord::Strict => Missing::Strict,
        },
        deadline: Duration::from_millis(config.gateway.deadline_ms),
    });
    let plan = loaded.at(&endpoint.path).plan.clone();
    EndpointParts { path: endpoint.path.clone(), servers: servers.collect(), merging, plan }
}

fn shown(config: &Config, upstream: Arc<dyn Upstream>, choice: &Choice) -> Arc<dyn Upstream> {
    if choice.is_all() { upstream } else { Selected::new(upstream, choice.clone(), config.server.limits.reader()) }
}
