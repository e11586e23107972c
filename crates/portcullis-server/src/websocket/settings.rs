//! What the operator may set about WebSocket connections. Every default stands beside its reason.

use std::time::Duration;

use schemars::JsonSchema;
use serde::Deserialize;

/// The WebSocket listener (a custom transport, after the draft SEP-1288): at its own path, and by upgrade at the endpoint.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct WebSocketListener {
    /// Whether connections may be upgraded. Default false: no released revision of MCP has this transport.
    pub enabled: bool,
    /// A path of its own, for clients and proxies that want one. Default `/mcp/ws`; the endpoint's own `path` is upgraded, too.
    pub path: String,
    /// Bytes of one message, all its fragments together; more closes with 1009. Default 4 MiB, as `limits.message_bytes`, which counts in any
    /// case; 0: that alone.
    pub message_bytes: usize,
    /// Seconds of silence after which we ping. Default 30: half of the shortest idle limit that proxies have. 0: never.
    pub ping_seconds: u64,
    /// Seconds without any frame, answers to our pings included, after which the connection is closed. Default 90: three pings. 0: never.
    pub idle_seconds: u64,
    /// Seconds after which a connection is closed with 1001, so that its client comes back and is known anew. Default 86400, a day. 0: never.
    pub lifetime_seconds: u64,
    /// Frames a second, with as many at once; what comes faster is read later. Default 100: far more than a person's agents send. 0: no limit.
    pub messages_per_second: u32,
    /// Seconds for which a client may keep coming faster before it is closed with 1008. Default 30. 0: it is only slowed.
    pub overrun_seconds: u64,
    /// Seconds for which one message may wait to be taken by a client that does not read. Default 30. 0: for ever.
    pub stall_seconds: u64,
}

impl Default for WebSocketListener {
    fn default() -> Self {
        Self {
            enabled: false,
            path: "/mcp/ws".to_owned(),
            message_bytes: 4 << 20,
            ping_seconds: 30,
            idle_seconds: 90,
            lifetime_seconds: 86_400,
            messages_per_second: 100,
            overrun_seconds: 30,
            stall_seconds: 30,
        }
    }
}

/// A time of the settings, where zero means none.
pub(super) fn seconds(seconds: u64) -> Option<Duration> {
    // Beyond a year nobody waits, and clocks overflow.
    (seconds != 0).then(|| Duration::from_secs(seconds.min(365 * 86_400)))
}

impl WebSocketListener {
    /// What cannot work; begins with its key and a colon.
    pub(crate) fn contradiction(&self) -> Option<String> {
        let path = &self.path;
        if !path.starts_with('/') || path.contains(['?', '#']) || path.chars().any(char::is_whitespace) {
            return Some(format!("websocket.path: `{path}` is not a path"));
        }
        (self.ping_seconds != 0 && self.idle_seconds != 0 && self.idle_seconds <= self.ping_seconds)
            .then(|| "websocket.idle_seconds: connections would be closed before we ping; raise it".to_owned())
    }
}
