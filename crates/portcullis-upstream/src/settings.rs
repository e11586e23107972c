//! What an operator may set for one upstream. Raw types mirror the file; checking them happens where an upstream is made.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;

use portcullis_identity::client::{BadCredentials, CredentialSettings};
use schemars::JsonSchema;
use serde::Deserialize;

pub use portcullis_identity::Secret;

mod breaker; // when a server is left alone
mod bulkhead; // how much of us it may hold
mod fallback; // which of several ways a call takes
mod health; // when it counts as healthy
mod http_sse; // a server of 2024-11-05
mod warm; // what is answered without it
mod websocket; // a server on a socket

pub use self::breaker::{BreakerSettings, ToolBreakerSettings};
pub use self::bulkhead::BulkheadSettings;
pub(crate) use self::fallback::is_meant;
pub use self::fallback::{FallbackSettings, Repeat, ToolOrder};
pub use self::health::HealthSettings;
pub use self::http_sse::HttpSseSettings;
pub use self::warm::{LazySettings, WarmSettings};
pub use self::websocket::WebSocketSettings;

/// Which era of the protocol is spoken with a server.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum EraSetting {
    /// Ask the server (`server/discover`, then `initialize`). The default, because it is right for every server that
    /// follows the specification; an attacker cannot use it to downgrade, because errors of transport or authorization never
    /// count as an answer (G4).
    #[default]
    Auto,
    /// Protocol versions up to 2025-11-25, with `initialize`.
    Legacy,
    /// Protocol version 2026-07-28, without sessions.
    Modern,
}

/// A server reached over Streamable HTTP.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct HttpSettings {
    /// The server's MCP endpoint. Plain `http` only to loopback addresses, unless `allow_plain_http` is set.
    #[serde(default)]
    pub url: String,
    /// Endpoints of replicas of the server, in place of `url`: servers that any client may be sent to. Each call goes to the one with the least under
    /// way, a session stays where it was opened, and a call goes to another only if it provably never left. Default none; at most 16.
    #[serde(default)]
    pub urls: Vec<String>,
    /// Path of a Unix socket that the server listens on. `url` then says only what the request names, as with curl's `--unix-socket`: host and
    /// path, such as `http://localhost/mcp`. No TLS: nothing leaves this machine. Default none: the host of `url` is connected to.
    #[serde(default)]
    pub socket: Option<PathBuf>,
    /// Era to speak. Default `auto`.
    #[serde(default)]
    pub era: EraSetting,
    /// Headers sent with every request, such as `authorization`. Names that the protocol itself uses are refused.
    #[serde(default)]
    pub headers: BTreeMap<String, Secret>,
    /// Access tokens from an authorization server, sent as `authorization`. Default none: the server wants no token, or one that never changes and
    /// stands in `headers`.
    #[serde(default)]
    pub credentials: Option<CredentialSettings>,
    /// Name of the gateway behind `url`, as it calls itself in call chains: our entry in `x-upstream-agents` is made for it. Default: the name of
    /// this upstream, for servers that read chains without being a gateway.
    #[serde(default)]
    pub next_gateway: Option<String>,
    /// Allows `http://` to other hosts than this one. Default false: whoever is on the path reads and changes everything.
    #[serde(default)]
    pub allow_plain_http: bool,
    /// Milliseconds to reach the server, TLS included. Default 10 000: three TCP retransmissions.
    #[serde(default = "connect_timeout_ms")]
    pub connect_timeout_ms: u64,
    /// Milliseconds until the answer to a request begins. Default 300 000: a tool may compute, or wait for a person, for
    /// minutes before the first byte when the server answers with plain JSON.
    #[serde(default = "first_byte_timeout_ms")]
    pub first_byte_timeout_ms: u64,
    /// Milliseconds a stream may be silent. Default none: standing streams are silent for hours, and not every server sends
    /// keep-alive comments.
    #[serde(default)]
    pub idle_timeout_ms: Option<u64>,
    /// Milliseconds for what the gateway itself asks the server: its era and its tools. Default 30 000: start-up of the gateway waits for it.
    #[serde(default = "probe_timeout_ms")]
    pub probe_timeout_ms: u64,
}

/// A server that runs as a child process and speaks on its standard input and output.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct StdioSettings {
    /// The program: a path, or a name looked up in `PATH`.
    pub command: String,
    /// Its arguments.
    #[serde(default)]
    pub args: Vec<String>,
    /// Environment variables for the child. It gets these, and of ours only `PATH`, `HOME`, `LANG`, `TMPDIR` and `USER`: what
    /// programs need to run at all, and nothing that holds secrets (E13).
    #[serde(default)]
    pub env: BTreeMap<String, Secret>,
    /// Working directory. Default: the gateway's own.
    #[serde(default)]
    pub cwd: Option<PathBuf>,
    /// Era to speak. Default `auto`.
    #[serde(default)]
    pub era: EraSetting,
    /// Children alive at once; a legacy server has one for each client session. Default 32: at 50–100 MB for a usual
    /// Node or Python server that is what a small machine holds.
    #[serde(default = "max_children")]
    pub max_children: u16,
    /// Milliseconds until the answer to a request begins. Default 300 000, as over HTTP.
    #[serde(default = "first_byte_timeout_ms")]
    pub first_byte_timeout_ms: u64,
    /// Milliseconds for what the gateway itself asks the server at start. Default 60 000: `npx` may have to download the server first.
    #[serde(default = "stdio_probe_timeout_ms")]
    pub probe_timeout_ms: u64,
    /// Milliseconds a client may let one message of its stream wait before that stream is given up. Default 5 000: one
    /// pipe carries all answers of a child, so a client that stops reading holds up the others for as long.
    #[serde(default = "stall_timeout_ms")]
    pub stall_timeout_ms: u64,
    /// Bytes of address space for each child. Default none: Node and Go reserve far more than they use.
    #[serde(default)]
    pub max_memory: Option<u64>,
    /// Files each child may have open. Default none: the system's own limit.
    #[serde(default)]
    pub max_open_files: Option<u64>,
}

impl StdioSettings {
    /// A command with everything else at its default: what `portcullis run -- COMMAND ARGS…` means.
    #[must_use]
    pub fn of_command(command: String, args: Vec<String>) -> Self {
        Self {
            command,
            args,
            env: BTreeMap::new(),
            cwd: None,
            era: EraSetting::Auto,
            max_children: max_children(),
            first_byte_timeout_ms: first_byte_timeout_ms(),
            probe_timeout_ms: stdio_probe_timeout_ms(),
            stall_timeout_ms: stall_timeout_ms(),
            max_memory: None,
            max_open_files: None,
        }
    }
}

impl HttpSettings {
    /// A URL with everything else at its default: what `portcullis run --upstream URL` means.
    #[must_use]
    pub fn of_url(url: String) -> Self {
        Self {
            url,
            urls: Vec::new(),
            socket: None,
            era: EraSetting::Auto,
            headers: BTreeMap::new(),
            credentials: None,
            next_gateway: None,
            allow_plain_http: false,
            connect_timeout_ms: connect_timeout_ms(),
            first_byte_timeout_ms: first_byte_timeout_ms(),
            idle_timeout_ms: None,
            probe_timeout_ms: probe_timeout_ms(),
        }
    }
}

/// Replicas of one server. 16: more are behind a load balancer of their own.
const MOST_REPLICAS: usize = 16;

impl HttpSettings {
    /// The same settings for each address alone; one for a server without replicas.
    ///
    /// # Errors
    /// Both `url` and `urls`, one address twice, or too many.
    pub fn replicas(&self) -> Result<Vec<Self>, SettingsError> {
        let wrong = |reason| Err(SettingsError::OutOfRange { key: "urls", reason });
        if self.urls.is_empty() {
            return Ok(vec![self.clone()]);
        }
        if !self.url.is_empty() {
            return wrong("stands beside `url`; keep one of them");
        }
        if self.socket.is_some() {
            return wrong("a Unix socket is one place; use `url` with it");
        }
        if self.urls.len() > MOST_REPLICAS {
            return wrong("names more than 16 replicas; put a load balancer in front of them");
        }
        if self.urls.iter().enumerate().any(|(at, url)| self.urls.iter().take(at).any(|other| other == url)) {
            return wrong("names one address twice");
        }
        let alone = |url: &String| Self { url: url.clone(), urls: Vec::new(), ..self.clone() };
        Ok(self.urls.iter().map(alone).collect())
    }
}

const fn connect_timeout_ms() -> u64 {
    10_000
}

const fn first_byte_timeout_ms() -> u64 {
    300_000
}

const fn probe_timeout_ms() -> u64 {
    30_000
}

const fn stdio_probe_timeout_ms() -> u64 {
    60_000
}

const fn stall_timeout_ms() -> u64 {
    5_000
}

const fn max_children() -> u16 {
    32
}

/// Why an upstream cannot be made. Each names the key and the way out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SettingsError {
    /// `url` is not an absolute URL with a scheme of its transport, or carries what a URL here must not.
    BadUrl { reason: &'static str, scheme: &'static str },
    /// A scheme without TLS to a host that is not this one.
    Plain { scheme: &'static str, host: String },
    /// A path that cannot be that of a Unix socket.
    BadSocket { reason: String },
    /// A header name or value that HTTP does not allow.
    BadHeader { name: String },
    /// A header that the protocol or the connection needs for itself.
    ReservedHeader { name: String },
    /// A setting of `credentials` that cannot work.
    Credentials(BadCredentials),
    /// The call chain cannot be sent on.
    Chain { reason: String },
    /// A secret's file or environment variable cannot be read.
    SecretUnreadable { key: String, reason: String },
    /// `command` is empty, or an environment variable's name or value holds what the system forbids.
    BadCommand { reason: String },
    /// The system's root certificates cannot be read, or TLS cannot be set up.
    Tls { reason: String },
    /// A limit of zero.
    Zero { key: &'static str },
    /// A number that cannot be meant.
    OutOfRange { key: &'static str, reason: &'static str },
    /// A transport that the server does not have.
    NoSuchTransport { key: &'static str, word: String, known: Vec<String> },
}

/// Refuses zeros.
fn none_zero(settings: &[(&'static str, u64)]) -> Result<(), SettingsError> {
    match settings.iter().find(|(_, value)| *value == 0) {
        Some((key, _)) => Err(SettingsError::Zero { key }),
        None => Ok(()),
    }
}

impl fmt::Display for SettingsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::BadUrl { reason, scheme } => {
                write!(f, "`url`: {reason}; expected something like `{scheme}://host/mcp`")
            }
            Self::Plain { scheme, host } => write!(
                f,
                "`url`: plain `{scheme}` to `{host}` would show every message to the network; use `{scheme}s`, or set `allow_plain_{scheme}: true`"
            ),
            Self::BadSocket { reason } => write!(f, "`socket`: {reason}"),
            Self::BadHeader { name } => write!(f, "`headers.{name}`: not a legal header name or value"),
            Self::ReservedHeader { name } => {
                write!(f, "`headers.{name}`: the gateway sets this header itself; remove it")
            }
            Self::Credentials(error) => error.fmt(f),
            Self::Chain { reason } => write!(f, "`next_gateway`: {reason}"),
            Self::SecretUnreadable { key, reason } => write!(f, "`{key}`: {reason}"),
            Self::BadCommand { reason } => write!(f, "`command`: {reason}"),
            Self::Tls { reason } => write!(f, "TLS cannot be set up: {reason}"),
            Self::Zero { key } => write!(f, "`{key}`: must be at least 1"),
            Self::OutOfRange { key, reason } => write!(f, "`{key}`: {reason}"),
            Self::NoSuchTransport { key, word, known } => {
                write!(f, "`{key}`: this server has no transport `{word}`; it has `{}`", known.join("`, `"))
            }
        }
    }
}

impl std::error::Error for SettingsError {}

impl From<BadCredentials> for SettingsError {
    fn from(error: BadCredentials) -> Self {
        Self::Credentials(error)
    }
}

/// The value of a secret. `key` is its place in the configuration, for the error.
pub(crate) fn resolve(secret: &Secret, key: &str) -> Result<String, SettingsError> {
    secret.resolve().map_err(|reason| SettingsError::SecretUnreadable { key: key.to_owned(), reason })
}

#[cfg(test)]
mod tests;
