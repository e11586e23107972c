//! What is answered from knowledge instead of by the server, and for how long.

use std::time::Duration;

use schemars::JsonSchema;
use serde::Deserialize;

use super::SettingsError;

/// Lists (`tools/list`, `prompts/list`, `resources/list`, `resources/templates/list`) answered from the catalogue. Not for a server that offers
/// some callers more than others: everybody gets what the gateway itself was offered.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct WarmSettings {
    /// Milliseconds for which a list is answered without asking the server. Default 60 000: a change that nobody announced is seen within a
    /// minute, and a server in use is asked for its lists twice a minute at most. 0 asks always.
    pub ttl_ms: u64,
    /// Whether the `ttlMs` of a modern server shortens that, so that its lists are always asked for when it says 0. Default true: the
    /// specification asks it of everything that keeps lists (D12).
    pub heed_server: bool,
}

impl Default for WarmSettings {
    fn default() -> Self {
        Self { ttl_ms: 60_000, heed_server: true }
    }
}

/// Sessions that are opened at the server when a client first needs them.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct LazySettings {
    /// Milliseconds to open a session with the server. Default 60 000: `npx` may have to download it first.
    pub open_timeout_ms: u64,
    /// Milliseconds a client's `initialize` waits for a server that has not yet said what it is. Default 10 000: clients of several servers wait for
    /// the slowest of them, and one that comes later joins.
    pub hello_timeout_ms: u64,
}

impl Default for LazySettings {
    fn default() -> Self {
        Self { open_timeout_ms: 60_000, hello_timeout_ms: 10_000 }
    }
}

impl LazySettings {
    /// Both times, checked.
    pub(crate) fn times(&self) -> Result<(Duration, Duration), SettingsError> {
        let times = [("open_timeout_ms", self.open_timeout_ms), ("hello_timeout_ms", self.hello_timeout_ms)];
        super::none_zero(&times)?;
        Ok((Duration::from_millis(self.open_timeout_ms), Duration::from_millis(self.hello_timeout_ms)))
    }
}
