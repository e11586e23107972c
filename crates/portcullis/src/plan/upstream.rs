//! One arm for each transport: the only place that knows which upstreams exist.

use std::sync::Arc;

use portcullis_core::clock::Clock;
use portcullis_core::ledger::Ledger;
use portcullis_core::upstream::Upstream;
use portcullis_core::wire::Limits;
use portcullis_upstream::{HttpUpstream, SettingsError};

use crate::config::{Transport, UpstreamConfig};
use crate::out;

/// Makes the upstream; opens no connection and starts no child.
///
/// # Errors
/// A setting that cannot work, naming its key.
pub(crate) fn make(
    config: &UpstreamConfig,
    limits: Limits,
    ledger: Arc<dyn Ledger>,
    clock: Arc<dyn Clock>,
) -> Result<Arc<dyn Upstream>, SettingsError> {
    let name = Arc::from(config.name.as_str());
    Ok(match &config.transport {
        Transport::Http(settings) => HttpUpstream::new(name, settings, limits)?,
        Transport::Stdio(_) => { let _ = (ledger, clock); return Err(SettingsError::BadCommand { reason: "soon".to_owned() }) }
    })
}

/// Whether the settings can work, as far as that can be told without contacting anyone.
///
/// # Errors
/// A setting that cannot work, naming its key.
pub(crate) fn check(config: &UpstreamConfig, limits: Limits) -> Result<(), SettingsError> {
    match &config.transport {
        Transport::Http(settings) => HttpUpstream::new(Arc::from(config.name.as_str()), settings, limits).map(|_| ()),
        Transport::Stdio(_) => Ok(()),
    }
}

/// What the server is, for a person. Shows no secret: headers and environment are left out.
pub(crate) fn describe(config: &UpstreamConfig) -> String {
    match &config.transport {
        Transport::Http(settings) => out::clipped(&settings.url, 100),
        Transport::Stdio(settings) => {
            let words: Vec<&str> = std::iter::once(&settings.command).chain(&settings.args).map(String::as_str).collect();
            out::clipped(&words.join(" "), 100)
        }
    }
}
