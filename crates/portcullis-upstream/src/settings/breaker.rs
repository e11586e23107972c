//! When a server that keeps failing is left alone, and for how long.

use std::time::Duration;

use schemars::JsonSchema;
use serde::Deserialize;

use super::SettingsError;
use crate::breaker::Rules;

/// The circuit breaker of one transport of one server. It counts what the transport does (no connection, no answer in time, an answer that
/// breaks off or is no MCP, 429), never what the server says (a JSON-RPC error, a tool's error), nor what the caller chose (a reply over the size
/// limit), nor our standing with it (401, a lost session).
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct BreakerSettings {
    /// Whether failures are counted at all. Default true: without it every call to a dead server waits for its own timeout.
    pub enabled: bool,
    /// Milliseconds over which rates are taken. Default 30 000: long enough for `minimum_calls` on a quiet server, short enough that an old
    /// fault is forgotten before its cause is.
    pub window_ms: u64,
    /// Calls in the window before a rate means anything. Default 20: below, one failure more or less is ten percent.
    pub minimum_calls: u32,
    /// Percent of failed calls that open the breaker. Default 50: more calls fail than not. 0 is off.
    pub error_percent: u8,
    /// Milliseconds after which an answer is slow. Time that the server waits for its client is not counted. Default none: a tool may
    /// compute for minutes, and only its operator knows what is slow.
    pub slow_call_ms: Option<u64>,
    /// Percent of slow calls that open the breaker, with `slow_call_ms`. Default 80: a server that is only busy still answers some in time.
    pub slow_percent: u8,
    /// Failures in a row that open the breaker. Default 5: a dead server is noticed within five calls, however few there are; a restart that
    /// costs one or two calls is not. 0 is off.
    pub consecutive_failures: u32,
    /// Milliseconds the breaker stays open the first time; doubled each time it opens again soon. Default 2 000: most restarts take as long.
    pub open_ms: u64,
    /// Longest time it stays open; also the most that a `Retry-After` is obeyed for. Default 60 000: a server that is repaired gets its
    /// calls within a minute.
    pub max_open_ms: u64,
    /// Percent by which that time is shortened at random, so that many gateways do not come back in step. Default 20.
    pub jitter_percent: u8,
    /// Milliseconds a probe (the one call let through after that time) may take; after that it counts as failed, though its caller still gets
    /// the answer. Default 30 000, as long as our own questions to a server may take.
    pub probe_timeout_ms: u64,
    /// Whether a server that answers 429 or 503 with `Retry-After` is left alone for as long, at once. Default true: calling on would only
    /// prolong it.
    pub heed_retry_after: bool,
    /// A breaker for each tool too, for servers of which one tool keeps failing while the others work. Default none: whoever may call the tool
    /// decides with what, and so whether it fails for everybody.
    pub tools: Option<ToolBreakerSettings>,
}

/// Breakers of single tools. They count what the breaker of the server counts, for one tool; with the server's window and times.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ToolBreakerSettings {
    /// Failures of one tool in a row that open its breaker. Default 3: fewer than the server's, so that one bad tool is shut before the server is.
    pub consecutive_failures: u32,
    /// Tools that have failed of late and are watched at once. Default 256: more than most servers have tools. Beyond it, one that works again is
    /// forgotten for one that fails.
    pub most: usize,
}

impl Default for BreakerSettings {
    fn default() -> Self {
        Self {
            enabled: true,
            window_ms: 30_000,
            minimum_calls: 20,
            error_percent: 50,
            slow_call_ms: None,
            slow_percent: 80,
            consecutive_failures: 5,
            open_ms: 2_000,
            max_open_ms: 60_000,
            jitter_percent: 20,
            probe_timeout_ms: 30_000,
            heed_retry_after: true,
            tools: None,
        }
    }
}

impl Default for ToolBreakerSettings {
    fn default() -> Self {
        Self { consecutive_failures: 3, most: 256 }
    }
}

impl BreakerSettings {
    /// The rules of the server's breaker.
    ///
    /// # Errors
    /// A setting that cannot work, naming its key.
    pub fn rules(&self) -> Result<Rules, SettingsError> {
        let percents = [
            ("error_percent", self.error_percent),
            ("slow_percent", self.slow_percent),
            ("jitter_percent", self.jitter_percent),
        ];
        if let Some((key, _)) = percents.into_iter().find(|(_, percent)| *percent > 100) {
            return Err(SettingsError::OutOfRange { key, reason: "must be at most 100 percent" });
        }
        super::none_zero(&[
            ("window_ms", self.window_ms),
            ("minimum_calls", u64::from(self.minimum_calls)),
            ("open_ms", self.open_ms),
            ("probe_timeout_ms", self.probe_timeout_ms),
            ("slow_call_ms", self.slow_call_ms.unwrap_or(1)),
        ])?;
        if self.max_open_ms < self.open_ms {
            return Err(SettingsError::OutOfRange { key: "max_open_ms", reason: "must not be shorter than `open_ms`" });
        }
        let on = |value: u32| if self.enabled { value } else { 0 };
        Ok(Rules {
            window: Duration::from_millis(self.window_ms),
            minimum: self.minimum_calls,
            error_percent: on(self.error_percent.into()),
            slow: self.slow_call_ms.filter(|_| self.enabled && self.slow_percent > 0).map(Duration::from_millis),
            slow_percent: self.slow_percent.into(),
            consecutive: on(self.consecutive_failures),
            open: Duration::from_millis(self.open_ms),
            most_open: Duration::from_millis(self.max_open_ms),
            jitter_percent: self.jitter_percent.into(),
            probe: Duration::from_millis(self.probe_timeout_ms),
            heed_retry_after: self.enabled && self.heed_retry_after,
        })
    }

    /// The rules of each tool's breaker, and how many there may be.
    ///
    /// # Errors
    /// A setting that cannot work, naming its key.
    pub fn tool_rules(&self) -> Result<Option<(Rules, usize)>, SettingsError> {
        let Some(tools) = self.tools.as_ref().filter(|_| self.enabled) else { return Ok(None) };
        super::none_zero(&[
            ("tools.consecutive_failures", u64::from(tools.consecutive_failures)),
            ("tools.most", u64::try_from(tools.most).unwrap_or(u64::MAX)),
        ])?;
        // A server that asks to be left alone means all of it.
        let rules = Rules { consecutive: tools.consecutive_failures, heed_retry_after: false, ..self.rules()? };
        Ok(Some((rules, tools.most)))
    }
}
