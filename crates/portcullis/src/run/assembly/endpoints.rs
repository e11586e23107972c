//! From the paths of the configuration to what the listener serves at each: which upstreams, how they are told apart, by which plan.

use std::sync::Arc;

use portcullis_core::clock::Clock;
use portcullis_core::ledger::Ledger;
use portcullis_core::upstream::Upstream;
use portcullis_server::Gateway;

use crate::config::Config;
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
    let [only] = upstreams else { return Err(Failure::usage("several servers cannot be served yet")) };
    Gateway::new(config.server.clone(), loaded.common.plan.clone(), Arc::clone(only), ledger, clock)
        .map_err(|error| Failure::usage(error.to_string()))
}

/// Puts the plans in force, each at its path.
pub(crate) fn reload(gateway: &Gateway, _: &Config, loaded: &Loaded) {
    gateway.reload(loaded.common.plan.clone());
}
