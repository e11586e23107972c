//! What the operator may set about listening, callers, sessions, limits and time. Every default stands beside its reason.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use schemars::JsonSchema;
use serde::Deserialize;

use portcullis_core::wire::Limits;

/// The listener and everything a connection meets before a policy does.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ServerSettings {
    /// Address and port to listen on. Default `127.0.0.1:8700`: reachable from this machine only (A4).
    pub listen: SocketAddr,
    /// Path of the MCP endpoint. Default `/mcp`: what clients and the SDKs use.
    pub path: String,
    /// `Host` values (without port) that reach this gateway. Default: only loopback names on a loopback listener, which stops DNS
    /// rebinding (A4); on any other listener every host, because only the operator knows the public names.
    pub allowed_hosts: Option<Vec<String>>,
    /// `Origin` values (exact, such as `https://app.example.com`) that are let in; requests without `Origin` are not concerned. The
    /// gateway sends no CORS headers: a page on another origin needs a proxy in front that does. Default: on a loopback listener only
    /// loopback origins with the listener's own port; on any other listener none (A2, A3).
    pub allowed_origins: Option<Vec<String>>,
    /// Who may call.
    pub identity: IdentitySettings,
    /// Legacy sessions.
    pub sessions: SessionSettings,
    /// Sizes and counts.
    pub limits: LimitSettings,
    /// Waiting times.
    pub timeouts: TimeoutSettings,
}

impl Default for ServerSettings {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 8700)),
            path: "/mcp".to_owned(),
            allowed_hosts: None,
            allowed_origins: None,
            identity: IdentitySettings::default(),
            sessions: SessionSettings::default(),
            limits: LimitSettings::default(),
            timeouts: TimeoutSettings::default(),
        }
    }
}

/// The form in which a visible tool is refused for its arguments.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Refusals {
    /// A tool result with `isError: true` that carries the policy's `@reason`: the model reads it and can correct itself.
    #[default]
    Result,
    /// A JSON-RPC error.
    Error,
}

/// Who may call.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct IdentitySettings {
    /// Whether callers without a key are let in as `anonymous`. Default: yes on a loopback listener without keys, no otherwise: whoever
    /// configures keys, or opens the port to the network, expects them to be asked for.
    pub anonymous: Option<bool>,
    /// API keys, sent as `Authorization: Bearer KEY` or `X-API-Key: KEY`. `portcullis keys new NAME` makes one.
    pub keys: Vec<ApiKey>,
}

/// One API key. Only its hash is stored, so that a leaked configuration lets nobody in.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ApiKey {
    /// Name of the caller in policies and in the log.
    pub name: String,
    /// SHA-256 of the key, 64 hexadecimal digits. Fit for keys of high entropy only, such as `portcullis keys new` makes.
    pub sha256: String,
    /// Groups the caller belongs to in policies. Default: none.
    #[serde(default)]
    pub groups: Vec<String>,
}

/// Legacy sessions.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct SessionSettings {
    /// Sessions of all callers together. Default 10000: about 20 MB at 2 KB each.
    pub total: usize,
    /// Sessions of one caller. Default 1000, a tenth of the total, so that no caller can push out the others.
    pub per_caller: usize,
    /// Seconds without a request or open stream after which a session ends, upstream too. Default 3600: longer than any coffee break,
    /// short enough that abandoned child processes do not pile up.
    pub idle_seconds: u64,
}

impl Default for SessionSettings {
    fn default() -> Self {
        Self { total: 10_000, per_caller: 1_000, idle_seconds: 3_600 }
    }
}

/// Sizes and counts that bound what a peer can make the gateway hold.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct LimitSettings {
    /// Bytes of one message, request bodies included. Default 4 MiB: the size the official SDKs accept.
    pub message_bytes: usize,
    /// Nesting depth of a message. Default 64: real arguments stay under 20, parsers of peers break from 128 on.
    pub depth: usize,
    /// Members of one JSON object. Default 4096: far above any tool's arguments, so that a map of that size is someone's mistake or attack.
    pub keys: usize,
    /// Values in one message. Default 262144: 4 MiB of the smallest useful values; bounds the work per byte of a message.
    pub values: usize,
    /// Bytes of a request id. Default 256.
    pub id_bytes: usize,
    /// Bytes of a method, tool name or URI. Default 2048, the usual limit of a URL.
    pub name_bytes: usize,
    /// Messages in a batch (2025-03-26 only). Default 64: batches were for bursts of small calls, and each item is judged and recorded alone.
    pub batch: usize,
    /// Bytes of all request headers together. Default 32 KiB; more is answered 431 before anything is read (C33).
    pub header_bytes: usize,
    /// Open connections. Default 4096: under the usual limit of open files with room for upstreams.
    pub connections: usize,
    /// Requests and streams in progress for one caller, bodies still arriving included. Default 2048: two streams each for a thousand
    /// sessions.
    pub requests_per_caller: usize,
    /// Bytes of request bodies that the gateway holds for one caller: from their arrival to the end of the reply. Default 64 MiB: sixteen
    /// messages of the largest size at once, or all of `requests_per_caller` at 32 KiB each, which few arguments reach.
    pub bytes_per_caller: usize,
    /// The same for all callers together. Default 512 MiB: eight callers at their limit, in the memory of a small machine.
    pub bytes_in_flight: usize,
}

impl Default for LimitSettings {
    fn default() -> Self {
        let reader = Limits::default();
        Self {
            message_bytes: reader.bytes,
            depth: reader.depth,
            keys: reader.keys,
            values: reader.members,
            id_bytes: reader.id,
            name_bytes: reader.name,
            batch: reader.batch,
            header_bytes: 32 * 1024,
            connections: 4096,
            requests_per_caller: 2048,
            bytes_per_caller: 64 << 20,
            bytes_in_flight: 512 << 20,
        }
    }
}

impl LimitSettings {
    /// The reader's part of the limits.
    #[must_use]
    pub fn reader(&self) -> Limits {
        Limits {
            bytes: self.message_bytes,
            depth: self.depth,
            keys: self.keys,
            members: self.values,
            id: self.id_bytes,
            name: self.name_bytes,
            batch: self.batch,
        }
    }
}

/// Waiting times, in seconds.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct TimeoutSettings {
    /// For all headers of a request, and for the first byte of a connection. Default 30: a dripping client holds a connection no longer,
    /// This is also how long an idle connection is kept for its next request.
    pub header_seconds: u64,
    /// For the whole body of a request. Default 30.
    pub body_seconds: u64,
    /// Silence on a stream after which a comment keeps it open through intermediaries (C7). Default 15: half of the shortest idle
    /// limit commonly found.
    pub keep_alive_seconds: u64,
    /// How long a legacy call runs on after its client went away, since a closed stream is not a cancellation (A17). Default 300.
    pub orphan_seconds: u64,
    /// How long open calls may finish at shutdown. Default 10.
    pub drain_seconds: u64,
}

impl Default for TimeoutSettings {
    fn default() -> Self {
        Self { header_seconds: 30, body_seconds: 30, keep_alive_seconds: 15, orphan_seconds: 300, drain_seconds: 10 }
    }
}

impl TimeoutSettings {
    pub(crate) const fn header(&self) -> Duration {
        Duration::from_secs(self.header_seconds)
    }

    pub(crate) const fn body(&self) -> Duration {
        Duration::from_secs(self.body_seconds)
    }

    pub(crate) const fn keep_alive(&self) -> Duration {
        Duration::from_secs(self.keep_alive_seconds)
    }

    pub(crate) const fn orphan(&self) -> Duration {
        Duration::from_secs(self.orphan_seconds)
    }

    pub(crate) const fn drain(&self) -> Duration {
        Duration::from_secs(self.drain_seconds)
    }
}
