//! When a server counts as healthy, and how often it is asked.

use std::time::Duration;

use schemars::JsonSchema;
use serde::Deserialize;

use super::SettingsError;
use crate::health::Thresholds;

/// Health of one transport of one server, as calls show it and as the gateway asks for it. It is shown (`/readyz`, `portcullis status`,
/// metrics); what refuses calls is the breaker.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct HealthSettings {
    /// Milliseconds between two questions of our own; 0 asks never. Not asked while calls are answered anyway, nor while the breaker is open.
    /// Default 30 000 over a network: one small exchange, and a dead server is known before most people notice. Default 0 for a child process: a
    /// question can start one, and its end is noticed without asking.
    pub interval_ms: Option<u64>,
    /// Milliseconds between two questions while the server is not healthy. Default 5 000: so that it is back soon after it is back.
    pub recheck_ms: u64,
    /// Milliseconds an answer to our question may take. Default 10 000: longer than any connection needs that is of use.
    pub timeout_ms: u64,
    /// Failures in a row after which a server is unhealthy. Default 3: one is chance, two a restart.
    pub unhealthy_after: u32,
    /// Answers in a row after which an unhealthy server is merely degraded. Default 2: one may be luck.
    pub healthy_after: u32,
    /// Percent of failures within a minute that make a server degraded; below half of it, it is healthy again. Default 10: more than the odd
    /// timeout. With one call a minute that is one failure.
    pub degraded_percent: u8,
}

impl Default for HealthSettings {
    fn default() -> Self {
        Self {
            interval_ms: None,
            recheck_ms: 5_000,
            timeout_ms: 10_000,
            unhealthy_after: 3,
            healthy_after: 2,
            degraded_percent: 10,
        }
    }
}

/// Over a network.
const INTERVAL: u64 = 30_000;

impl HealthSettings {
    /// What the states mean.
    ///
    /// # Errors
    /// A setting that cannot work, naming its key.
    pub fn thresholds(&self) -> Result<Thresholds, SettingsError> {
        super::none_zero(&[
            ("recheck_ms", self.recheck_ms),
            ("timeout_ms", self.timeout_ms),
            ("unhealthy_after", self.unhealthy_after.into()),
            ("healthy_after", self.healthy_after.into()),
            ("degraded_percent", self.degraded_percent.into()),
        ])?;
        if self.degraded_percent > 100 {
            return Err(SettingsError::OutOfRange { key: "degraded_percent", reason: "must be at most 100 percent" });
        }
        Ok(Thresholds {
            unhealthy_after: self.unhealthy_after,
            healthy_after: self.healthy_after,
            degraded_percent: self.degraded_percent.into(),
        })
    }

    /// Time between two questions; `None` asks never. `child`: the server is a process of ours.
    #[must_use]
    pub fn interval(&self, child: bool) -> Option<Duration> {
        let millis = self.interval_ms.unwrap_or(if child { 0 } else { INTERVAL });
        (millis > 0).then(|| Duration::from_millis(millis))
    }
}
