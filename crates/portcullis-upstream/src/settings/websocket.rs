//! What an operator may set for a server reached over WebSocket.

use std::collections::BTreeMap;

use portcullis_identity::client::CredentialSettings;
use schemars::JsonSchema;
use serde::Deserialize;

use super::{EraSetting, Secret, connect_timeout_ms, first_byte_timeout_ms, probe_timeout_ms, stall_timeout_ms};

/// A server reached over WebSocket: one text frame for each message, subprotocol `mcp`. MCP has no such transport of its own; a draft
/// (SEP-1288) and the official SDKs agree on this much.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct WebSocketSettings {
    /// The server's endpoint. Plain `ws` only to loopback addresses, unless `allow_plain_ws` is set.
    pub url: String,
    /// Era to speak. Default `auto`. Legacy: a socket for each client session. Modern: one socket for everybody.
    #[serde(default)]
    pub era: EraSetting,
    /// Headers sent with each handshake, such as `authorization`. Names that the protocol itself uses are refused.
    #[serde(default)]
    pub headers: BTreeMap<String, Secret>,
    /// Access tokens from an authorization server, sent as `authorization` with each handshake. A grant that is made for each caller needs
    /// `era: legacy`, because in the modern era all callers share a socket. Default none.
    #[serde(default)]
    pub credentials: Option<CredentialSettings>,
    /// Allows `ws://` to other hosts than this one. Default false: whoever is on the path reads and changes everything.
    #[serde(default)]
    pub allow_plain_ws: bool,
    /// Milliseconds to reach the server: TLS and handshake included. Default 10 000, as over HTTP.
    #[serde(default = "connect_timeout_ms")]
    pub connect_timeout_ms: u64,
    /// Milliseconds until the answer to a request begins. Default 300 000, as over HTTP.
    #[serde(default = "first_byte_timeout_ms")]
    pub first_byte_timeout_ms: u64,
    /// Milliseconds for what the gateway itself asks the server: its era and its tools. Default 30 000, as over HTTP.
    #[serde(default = "probe_timeout_ms")]
    pub probe_timeout_ms: u64,
    /// Milliseconds a client may let one message of its stream wait before that stream is given up. Default 5 000: one socket carries all
    /// answers, so a client that stops reading holds up the others for as long.
    #[serde(default = "stall_timeout_ms")]
    pub stall_timeout_ms: u64,
    /// Sockets open at once; a legacy server has one for each client session. Default 256: a quarter of the usual limit of open files.
    #[serde(default = "max_sockets")]
    pub max_sockets: u16,
    /// Milliseconds between our pings; 0 sends none. Default 30 000: proxies and address translators close what is silent for a minute.
    #[serde(default = "ping_every_ms")]
    pub ping_every_ms: u64,
    /// Milliseconds after a ping in which the server must let hear something, a pong or anything else; the socket is closed otherwise.
    /// Default 10 000: three TCP retransmissions.
    #[serde(default = "pong_within_ms")]
    pub pong_within_ms: u64,
}

impl WebSocketSettings {
    /// A URL with everything else at its default.
    #[must_use]
    pub fn of_url(url: String) -> Self {
        Self {
            url,
            era: EraSetting::Auto,
            headers: BTreeMap::new(),
            credentials: None,
            allow_plain_ws: false,
            connect_timeout_ms: connect_timeout_ms(),
            first_byte_timeout_ms: first_byte_timeout_ms(),
            probe_timeout_ms: probe_timeout_ms(),
            stall_timeout_ms: stall_timeout_ms(),
            max_sockets: max_sockets(),
            ping_every_ms: ping_every_ms(),
            pong_within_ms: pong_within_ms(),
        }
    }
}

const fn max_sockets() -> u16 {
    256
}

const fn ping_every_ms() -> u64 {
    30_000
}

const fn pong_within_ms() -> u64 {
    10_000
}
