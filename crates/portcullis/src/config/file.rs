//! The configuration file as it is written: every key, what it means, its default and why. Nothing is checked here beyond the types;
//! a key that this build does not implement does not exist.

use std::net::SocketAddr;

use portcullis_core::naming::Prefix;
use portcullis_guards::GuardsSettings;
use portcullis_ledger::AuditSettings;
use portcullis_server::{
    Errors, IdentitySettings, LimitSettings, ProxyProtocol, Refusals, ServerSettings, SessionSettings, TimeoutSettings,
    TlsSettings, WebSocketListener,
};
use portcullis_upstream::{
    BreakerSettings, BulkheadSettings, FallbackSettings, HealthSettings, HttpSettings, HttpSseSettings, StdioSettings,
    WebSocketSettings,
};
use schemars::JsonSchema;
use serde::Deserialize;

use super::Transport;
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
    /// WebSocket connections, beside HTTP.
    pub(crate) websocket: WebSocketListener,
    /// Who may call.
    pub(crate) identity: IdentitySettings,
    /// The server to guard, where it is one.
    pub(crate) upstream: Option<UpstreamFile>,
    /// The servers to guard, where they are several: a list, each with the keys of `upstream` and a name. The order is that of merged lists.
    pub(crate) upstreams: Option<Vec<UpstreamFile>>,
    /// How several servers appear behind one path.
    pub(crate) gateway: GatewaySettings,
    /// Paths of your own, beside those that are there by themselves: `path` (all servers; merged, if they are several), and `path/NAME` (one
    /// server alone, under its own names).
    pub(crate) endpoints: Vec<EndpointFile>,
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

/// A server to guard: exactly one way to reach it, or several in `transports`.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct UpstreamFile {
    /// Name of the server in policies, in the log, in its path, and before its tools where several servers are merged; a Cedar identifier.
    /// Default `server` where there is one: fixed, so that a policy keeps matching when the command or the address changes. In
    /// `upstreams` each needs its own.
    pub(crate) name: Option<String>,
    /// Words that `endpoints` can choose this server by, written `tag:WORD` there. Default: none.
    pub(crate) tags: Vec<String>,
    /// A server reached over Streamable HTTP.
    pub(crate) http: Option<HttpSettings>,
    /// A server that runs as a child process and speaks on its standard input and output. A `command` with a `/` in it starts at the
    /// folder of this file, like every other path.
    pub(crate) stdio: Option<StdioSettings>,
    /// A server reached over WebSocket: a text frame for each message, subprotocol `mcp`.
    pub(crate) websocket: Option<WebSocketSettings>,
    /// A server that still speaks HTTP+SSE, the transport of protocol version 2024-11-05. Nothing falls back to it: it is spoken only where
    /// this key says so.
    pub(crate) http_sse: Option<HttpSseSettings>,
    /// Several ways to the same server in place of one, the preferred one first: a list of `http: { … }` and the like.
    pub(crate) transports: Option<Vec<Transport>>,
    /// In place of `gateway.catalogue_ttl_ms` for this server. 0 for one that offers some callers more than others: from what is known,
    /// everybody gets what the gateway itself was offered.
    pub(crate) catalogue_ttl_ms: Option<u64>,
    /// When it is left alone because it keeps failing.
    pub(crate) breaker: BreakerSettings,
    /// When it counts as healthy, and how often it is asked.
    pub(crate) health: HealthSettings,
    /// How much of the gateway it may hold.
    pub(crate) limits: BulkheadSettings,
    /// Which of its `transports` a call takes, and when it takes another.
    pub(crate) fallback: FallbackSettings,
}

/// How several servers appear behind one path.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct GatewaySettings {
    /// Between a server's name and its tool's: `notes__search`. Default `__`: it is rare in names of tools, and every client takes it.
    pub(crate) separator: String,
    /// Which merged tools and prompts carry their server's name. Default `always`: names then never change because another server appears,
    /// so that neither prompts nor habits lead to another server's tool.
    pub(crate) prefix: PrefixWord,
    /// What a merged list says while a server cannot be reached. Default `partial`: the others' work goes on.
    pub(crate) missing: MissingWord,
    /// Milliseconds that a merged answer waits for each server. Default 10 000: servers that are up list their tools within that, and no
    /// client has given up by then.
    pub(crate) deadline_ms: u64,
    /// Milliseconds for which a merged list is made of what is known of each server, without asking it; a `list_changed`, or a shorter `ttlMs` of
    /// a modern server, ends it sooner. Default 60 000: a change that nobody announced is seen within a minute. 0 asks always.
    pub(crate) catalogue_ttl_ms: u64,
    /// Order in which transports are tried (`http`, `stdio`), for servers whose `fallback` has none of its own. Default none: as each server lists
    /// its `transports`.
    pub(crate) transport_order: Vec<String>,
    /// Serves nothing but `endpoints`: neither `path` nor `path/NAME` by itself. Default false. With `true` every path is one that you wrote,
    /// and `path` may be one of them.
    pub(crate) only_endpoints: bool,
}

impl Default for GatewaySettings {
    fn default() -> Self {
        Self {
            separator: "__".to_owned(),
            prefix: PrefixWord::default(),
            missing: MissingWord::default(),
            deadline_ms: 10_000,
            catalogue_ttl_ms: 60_000,
            transport_order: Vec::new(),
            only_endpoints: false,
        }
    }
}

/// Which names carry their server's.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum PrefixWord {
    /// All of them.
    #[default]
    Always,
    /// Those that several servers offer. Shorter, but a name changes when another server begins to offer it.
    OnConflict,
    /// None. Where several servers offer a name, the first of them keeps it, and the others' is hidden and reported.
    Never,
}

impl PrefixWord {
    pub(crate) const fn meant(self) -> Prefix {
        match self {
            Self::Always => Prefix::Always,
            Self::OnConflict => Prefix::OnConflict,
            Self::Never => Prefix::Never,
        }
    }
}

/// What becomes of a merged list without one of its servers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum MissingWord {
    /// The list of the others, which says in `_meta` who is missing.
    #[default]
    Partial,
    /// An error: for clients that would take a shorter list for the whole.
    Strict,
}

/// A path that serves chosen servers and tools.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct EndpointFile {
    /// The path, such as `/mcp/office`. No other may have it.
    pub(crate) path: String,
    /// Which servers: names, and `tag:WORD` for all that have the tag. Default: all. One that is chosen by its name alone is served under its
    /// own names, everything else is merged.
    #[serde(default)]
    pub(crate) upstreams: OneOrMany,
    /// Which tools, by their servers' own names: `search_*`, or `notes/search_*` for one server's; `*` stands for any characters, `?` for
    /// one. Others are neither listed nor callable here. Default: all.
    #[serde(default)]
    pub(crate) tools: OneOrMany,
    /// Policies of this path, in place of the common `policy`. Default: the common ones.
    #[serde(default)]
    pub(crate) policy: OneOrMany,
    /// What a merged list of this path says while a server cannot be reached, in place of `gateway.missing`. Default: that.
    #[serde(default)]
    pub(crate) missing: Option<MissingWord>,
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
            websocket: self.websocket.clone(),
            identity: self.identity.clone(),
            sessions: self.sessions.clone(),
            limits: self.limits.clone(),
            timeouts: self.timeouts.clone(),
        }
    }
}
