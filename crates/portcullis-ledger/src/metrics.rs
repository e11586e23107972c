//! Counters and histograms in OpenMetrics text. Labels come from our own tables only, so no client or server can add a time series.

use std::fmt;
use std::sync::{Mutex, PoisonError};

use portcullis_core::ledger::Record;
use prometheus_client::encoding::text::encode;
use prometheus_client::registry::Registry;

mod calls; // what was asked, decided and how it ended
mod log; // the audit log itself
mod refusals; // every way to say no, by code
mod servers; // how the servers are

pub use self::servers::{RoomNumbers, TransportNumbers};

#[cfg(test)]
mod tests;

/// Every metric of the gateway.
pub struct Metrics {
    registry: Registry,
    calls: calls::Calls,
    refusals: refusals::Refusals,
    pub(crate) log: log::Log,
    servers: Mutex<servers::Servers>,
}

impl fmt::Debug for Metrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Metrics").finish_non_exhaustive()
    }
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

impl Metrics {
    /// All families, at zero.
    #[must_use]
    pub fn new() -> Self {
        let mut registry = Registry::with_prefix("portcullis");
        let calls = calls::Calls::register(&mut registry);
        let refusals = refusals::Refusals::register(&mut registry);
        let log = log::Log::register(&mut registry);
        let servers = Mutex::new(servers::Servers::register(&mut registry));
        Self { registry, calls, refusals, log, servers }
    }

    /// OpenMetrics text, to be served as `application/openmetrics-text; version=1.0.0; charset=utf-8`.
    #[must_use]
    pub fn render(&self) -> String {
        let mut text = String::new();
        // Writing to a String cannot fail, and no family of ours has an encoder of its own.
        let _written = encode(&mut text, &self.registry);
        text
    }

    /// Counts what a record tells, whether or not it can be stored.
    pub fn observe(&self, record: &Record) {
        match record {
            Record::Intent(intent) => self.calls.intent(intent),
            Record::Outcome(outcome) => self.calls.outcome(outcome),
            Record::Refused(_) | Record::Notice(_) => {}
        }
    }

    /// The same with how the servers are, as of now; those that are not named are gone.
    #[must_use]
    pub fn render_with(&self, transports: &[TransportNumbers], rooms: &[RoomNumbers]) -> String {
        // Two that look at the same time would each empty what the other shows.
        let servers = self.servers.lock().unwrap_or_else(PoisonError::into_inner);
        servers.show(transports, rooms);
        self.render()
    }

    /// Counts one event under a stable code.
    pub fn count(&self, family: &'static str, code: &'static str) {
        self.refusals.count(family, code);
    }
}
