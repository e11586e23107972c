//! What an operator may set for a server that still speaks the transport of 2024-11-05.

use std::collections::BTreeMap;

use portcullis_identity::client::CredentialSettings;
use schemars::JsonSchema;
use serde::Deserialize;

use super::{Secret, connect_timeout_ms, first_byte_timeout_ms, probe_timeout_ms, stall_timeout_ms};

/// A server reached over HTTP+SSE, the transport of protocol version 2024-11-05, which was replaced by Streamable HTTP. Nothing falls back to
/// it: a server is spoken to in this way only if it is configured here.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct HttpSseSettings {
    /// Where the server's stream of events is, such as `https://host/sse`. The endpoint that it names must be of the same origin. Plain `http` only
    /// to loopback addresses, unless `allow_plain_http` is set.
    pub url: String,
    /// Headers sent with every request, such as `authorization`. Names that the protocol itself uses are refused.
    #[serde(default)]
    pub headers: BTreeMap<String, Secret>,
    /// Access tokens from an authorization server, sent as `authorization`. Default none.
    #[serde(default)]
    pub credentials: Option<CredentialSettings>,
    /// Name of the gateway behind `url`, as it calls itself in call chains. Default: the name of this upstream.
    #[serde(default)]
    pub next_gateway: Option<String>,
    /// Allows `http://` to other hosts than this one. Default false: whoever is on the path reads and changes everything.
    #[serde(default)]
    pub allow_plain_http: bool,
    /// Milliseconds to reach the server, TLS included. Default 10 000, as over Streamable HTTP.
    #[serde(default = "connect_timeout_ms")]
    pub connect_timeout_ms: u64,
    /// Milliseconds until the answer to a request begins. Default 300 000, as over Streamable HTTP.
    #[serde(default = "first_byte_timeout_ms")]
    pub first_byte_timeout_ms: u64,
    /// Milliseconds the stream may be silent. Default none: it is silent whenever nobody calls, and not every server sends keep-alive comments.
    #[serde(default)]
    pub idle_timeout_ms: Option<u64>,
    /// Milliseconds for what the gateway itself asks the server: its tools. Default 30 000, as over Streamable HTTP.
    #[serde(default = "probe_timeout_ms")]
    pub probe_timeout_ms: u64,
    /// Milliseconds a client may let one message of its stream wait before that stream is given up. Default 5 000: one stream carries all
    /// answers of a session.
    #[serde(default = "stall_timeout_ms")]
    pub stall_timeout_ms: u64,
    /// Streams open at once, one for each client session. Default 256: a quarter of the usual limit of open files.
    #[serde(default = "max_streams")]
    pub max_streams: u16,
}

impl HttpSseSettings {
    /// A URL with everything else at its default.
    #[must_use]
    pub fn of_url(url: String) -> Self {
        Self {
            url,
            headers: BTreeMap::new(),
            credentials: None,
            next_gateway: None,
            allow_plain_http: false,
            connect_timeout_ms: connect_timeout_ms(),
            first_byte_timeout_ms: first_byte_timeout_ms(),
            idle_timeout_ms: None,
            probe_timeout_ms: probe_timeout_ms(),
            stall_timeout_ms: stall_timeout_ms(),
            max_streams: max_streams(),
        }
    }
}

const fn max_streams() -> u16 {
    256
}
