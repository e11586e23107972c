//! The configuration file as it is written: every key, what it means, its default and why. Nothing is checked here beyond the types;
//! a key that this build does not implement does not exist.

use std::net::SocketAddr;

use portcullis_guards::GuardsSettings;
use portcullis_ledger::AuditSettings;
use portcullis_server::{
    Errors, IdentitySettings, LimitSettings, ProxyProtocol, Refusals, ServerSettings, SessionSettings, TimeoutSettings,
    TlsSettings,
};
use portcullis_upstream::{
    BreakerSettings, BulkheadSettings, HealthSettings, HttpSettings, HttpSseSettings, StdioSettings, WebSocketSettings,
};
use schemars::JsonSchema;
use serde::Deserialize;

use super::one_or_many::OneOrMany;

/// Configuration of `portcullis run`. Relative paths start at the folder of this file.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[schemars(title = "Portcullis configuration")]
pub(crate) struct File {
    /// Address and port to listen on. Default `127.0.0.1:8700`: reachable from this machine only, so that opening the gateway to a
    /// network is a decision and not an accident.
    pub(crate) listen: Option<SocketAddr>,
    /// Path of the MCP endpoint. Default `/mcp`: what clients and the SDKs use.
    pub(crate) path: Option<String>,
    /// `Host` values (without port) under which this gateway is reached. Default: only loopback names on a loopback listener, which
    /// stops DNS rebinding; on any other listener every host, because only the operator knows the public names.
    pub(crate) allowed_hosts: Option<Vec<String>>,
    /// `Origin` values that browsers may call from: exact (`https://app.example.com`), or all subdomains of any depth
    /// (`https://*.example.com`; `https://example.com` itself is none of them). Scheme and port count. Pages on these origins get the CORS
    /// headers that they need, never with credentials. Default: on a loopback listener only loopback origins with the listener's own port, on
    /// any other listener none: a web page is not a client unless somebody says so.
    pub(crate) allowed_origins: Option<Vec<String>>,
    /// TLS at the listener. Default: none, because most gateways listen on loopback or behind something that ends TLS already.
    pub(crate) tls: Option<TlsSettings>,
    /// Networks in CIDR form (or single addresses) that only your proxies are in. Their `Forwarded` and `X-Forwarded-For`, `-Proto` and
    /// `-Host` headers are read, from the right and hop by hop, and the PROXY header if `proxy_protocol` asks for one; everybody else's are
    /// ignored. Each proxy must set or remove all headers of the family it writes. Default: none.
    pub(crate) trusted_proxies: Vec<String>,
    /// Whether each connection begins with a PROXY header of version 1 or 2, as load balancers that do not speak HTTP write it: `off` or
    /// `required`. Required, a connection without one, or not from `trusted_proxies`, is refused. Default `off`.
    pub(crate) proxy_protocol: ProxyProtocol,
    /// URL of the MCP endpoint as clients write it, such as `https://mcp.example.com/mcp`, whatever proxies stand in front. Access tokens name it
    /// as their audience unless `identity.oauth.resource` says otherwise; DPoP proofs and signatures are made for it. Default: none; then
    /// tokens cannot be taken, and signatures only where `allowed_hosts` or a loopback listener leave no doubt about the host.
    pub(crate) public_url: Option<String>,
    /// Whether `/.well-known/mcp-transport` lists the paths, transports and protocol versions of this gateway, to whoever may reach it and without a
    /// proof. Default true: it says how to ask, and everything else still asks for a proof. Paths may hold names of servers; where those are nobody's
    /// business, switch it off.
    pub(crate) discovery: Option<bool>,
    /// What a client is told of a failure beside what failed. Default `plain`.
    pub(crate) errors: Errors,
    /// Who may call.
    pub(crate) identity: IdentitySettings,
    /// The server to guard.
    pub(crate) upstream: Option<UpstreamFile>,
    /// Policies in force: Cedar files, folders of `*.cedar` files, or the presets `observe`, `read-only` and `closed`; one or a list.
    /// (A file that is named like a preset is written `./observe`.) Default: none. A loopback listener then starts with `observe` and
    /// says so, so that a first try works; any other listener refuses to start, because an open port without a policy is a mistake.
    pub(crate) policy: OneOrMany,
    /// Guards beside the policy: each `enforce`, `shadow` (decide and record, never block) or `off`.
    pub(crate) guards: GuardsSettings,
    /// Shape of a refusal that a model could act on: a visible tool refused for its arguments. Default `result`, because models read
    /// results and can correct themselves, while most clients show a protocol error to nobody.
    pub(crate) refusals: Refusals,
    /// The log of decisions.
    pub(crate) audit: AuditSettings,
    /// Legacy sessions.
    pub(crate) sessions: SessionSettings,
    /// Sizes and counts that bound what a peer can make the gateway hold.
    pub(crate) limits: LimitSettings,
    /// Waiting times, in seconds.
    pub(crate) timeouts: TimeoutSettings,
    /// Metrics and health.
    pub(crate) admin: AdminFile,
}

/// The server to guard: exactly one of `http`, `stdio`, `websocket` and `http_sse`.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct UpstreamFile {
    /// Name of the server in policies and in the log; a Cedar identifier. Default `server`: fixed, so that a policy keeps matching
    /// when the command or the address changes.
    #[serde(default)]
    pub(crate) name: Option<String>,
    /// A server reached over Streamable HTTP.
    #[serde(default)]
    pub(crate) http: Option<HttpSettings>,
    /// A server that runs as a child process and speaks on its standard input and output. A `command` with a `/` in it starts at the
    /// folder of this file, like every other path.
    #[serde(default)]
    pub(crate) stdio: Option<StdioSettings>,
    /// A server reached over WebSocket: a text frame for each message, subprotocol `mcp`.
    #[serde(default)]
    pub(crate) websocket: Option<WebSocketSettings>,
    /// A server that still speaks HTTP+SSE, the transport of protocol version 2024-11-05. Nothing falls back to it: it is spoken only where
    /// this key says so.
    #[serde(default)]
    pub(crate) http_sse: Option<HttpSseSettings>,
    /// When it is left alone because it keeps failing.
    #[serde(default)]
    pub(crate) breaker: BreakerSettings,
    /// When it counts as healthy, and how often it is asked.
    #[serde(default)]
    pub(crate) health: HealthSettings,
    /// How much of the gateway it may hold.
    #[serde(default)]
    pub(crate) limits: BulkheadSettings,
}

/// Metrics and health, for the machine's own eyes.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct AdminFile {
    /// Address for `/metrics` (Prometheus), `/healthz`, `/readyz`, and for `portcullis status`. Default: off. Loopback addresses only, because it
    /// asks nobody who they are.
    pub(crate) listen: Option<SocketAddr>,
}

impl File {
    /// The part that the listener takes, with its own defaults where nothing is written.
    pub(super) fn server(&self) -> ServerSettings {
        let usual = ServerSettings::default();
        ServerSettings {
            listen: self.listen.unwrap_or(usual.listen),
            path: self.path.clone().unwrap_or(usual.path),
            allowed_hosts: self.allowed_hosts.clone(),
            allowed_origins: self.allowed_origins.clone(),
            trusted_proxies: self.trusted_proxies.clone(),
            proxy_protocol: self.proxy_protocol,
            tls: self.tls.clone(),
            public_url: self.public_url.clone(),
            discovery: self.discovery.unwrap_or(usual.discovery),
            errors: self.errors,
            identity: self.identity.clone(),
            sessions: self.sessions.clone(),
            limits: self.limits.clone(),
            timeouts: self.timeouts.clone(),
        }
    }
}
