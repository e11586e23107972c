//! How much of the gateway one server may hold.

use std::time::Duration;

use schemars::JsonSchema;
use serde::Deserialize;

use super::SettingsError;
use crate::bulkhead::Walls;

/// What one server may hold at once, so that a slow one does not take connections and memory from the others.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct BulkheadSettings {
    /// Requests under way to this server. Default 512: an eighth of the connections a listener takes, and more than servers answer at once.
    pub concurrency: u32,
    /// Requests that wait for one of those to end, first come, first served. Default 1 024: two rounds of them; 0 refuses at once.
    pub queue: u32,
    /// Milliseconds a request may wait there. Default 10 000: who has waited longer will rather try again.
    pub queue_ms: u64,
    /// Streams that stand open without a request (`GET`, `subscriptions/listen`). They have a count of their own, since they last for hours.
    /// Default 4 096: as many as a listener takes connections.
    pub streams: u32,
}

impl Default for BulkheadSettings {
    fn default() -> Self {
        Self { concurrency: 512, queue: 1_024, queue_ms: 10_000, streams: 4_096 }
    }
}

impl BulkheadSettings {
    /// The limits, checked.
    ///
    /// # Errors
    /// A setting that cannot work, naming its key.
    pub fn walls(&self) -> Result<Walls, SettingsError> {
        super::none_zero(&[("concurrency", self.concurrency.into()), ("streams", self.streams.into())])?;
        if self.queue > 0 {
            super::none_zero(&[("queue_ms", self.queue_ms)])?;
        }
        Ok(Walls {
            concurrency: self.concurrency,
            queue: self.queue,
            patience: Duration::from_millis(self.queue_ms),
            streams: self.streams,
        })
    }
}
