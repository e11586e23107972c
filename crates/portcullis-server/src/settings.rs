//! What the operator may set about listening, callers, sessions, limits and time. Every default stands beside its reason.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use schemars::JsonSchema;
use serde::Deserialize;

use portcullis_core::wire::Limits;
use portcullis_identity::agent::AgentSettings;
use portcullis_identity::chain::ChainSettings;
use portcullis_identity::dpop::DpopSettings;
use portcullis_identity::signature::SignatureSettings;
use portcullis_identity::token::OAuthSettings;

use crate::origin::OriginRule;
use crate::proxies::Proxies;
use crate::proxy_protocol::ProxyProtocol;
use crate::tls::{self, TlsSettings};
use crate::websocket::WebSocketListener;

use crate::identify::{CertificateCaller, Directory, Expiry};

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
    /// `Origin` values that are let in, exact (`https://app.example.com`) or all subdomains of any depth (`https://*.example.com`, which
    /// `https://example.com` is none of); scheme and port count. Requests without `Origin` are not concerned. Pages on these origins get the
    /// CORS headers they need. Default: on a loopback listener only loopback origins with the listener's own port; on any other listener none
    /// (A2, A3).
    pub allowed_origins: Option<Vec<String>>,
    /// Networks whose `Forwarded` and `X-Forwarded-*` headers are read. Default: none.
    pub trusted_proxies: Vec<String>,
    /// Whether connections begin with a PROXY header. Default `off`.
    pub proxy_protocol: ProxyProtocol,
    /// TLS at the listener. Default: none.
    pub tls: Option<TlsSettings>,
    /// URL of the MCP endpoint as clients write it. Default: whatever host trusted hops tell.
    pub public_url: Option<String>,
    /// Whether `/.well-known/mcp-transport` lists the paths, transports and protocol versions of this gateway, to whoever may reach it and without a
    /// proof. Default true: it says how to ask, and everything else still asks for a proof. Paths may hold names of servers; where those are nobody's
    /// business, switch it off.
    pub discovery: bool,
    /// What a client is told of a failure beside what failed. Default `plain`.
    pub errors: Errors,
    /// The WebSocket listener.
    pub websocket: WebSocketListener,
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
            trusted_proxies: Vec::new(),
            proxy_protocol: ProxyProtocol::Off,
            tls: None,
            public_url: None,
            discovery: true,
            errors: Errors::Plain,
            websocket: WebSocketListener::default(),
            identity: IdentitySettings::default(),
            sessions: SessionSettings::default(),
            limits: LimitSettings::default(),
            timeouts: TimeoutSettings::default(),
        }
    }
}

impl ServerSettings {
    /// Whether everything about callers can be used, keys in files and in the environment included. Asks nobody.
    ///
    /// # Errors
    /// The first thing that cannot; begins with its key and a colon.
    pub fn check_callers(&self) -> Result<(), String> {
        Directory::new(self, &self.identity, None).map(drop)
    }

    /// What cannot work about who may connect and how; each text begins with its key and a colon. Opens no file.
    #[must_use]
    pub fn contradictions(&self) -> Vec<String> {
        let rule = OriginRule::new(self.listen, self.allowed_hosts.as_deref(), self.allowed_origins.as_deref());
        let headless = self.proxy_protocol == ProxyProtocol::Required && self.trusted_proxies.is_empty();
        let found = [
            rule.err(),
            Proxies::new(&self.trusted_proxies).err(),
            headless.then(|| {
                "proxy_protocol: nobody's header would be believed; name the load balancers in `trusted_proxies`"
                    .to_owned()
            }),
            self.tls.as_ref().and_then(|tls| tls::contradictions(tls).err()),
            self.websocket.contradiction(),
        ];
        found.into_iter().flatten().collect()
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

/// How much errors tell of a server that failed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Errors {
    /// What failed, in one sentence and a code. The default: how a server is reached is nobody's business but the operator's, who has it in the log.
    #[default]
    Plain,
    /// For servers with several transports, each attempt too: which transport, what came of it, how long it took. For gateways whose callers
    /// are their operators.
    Attempts,
}

/// Who may call.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct IdentitySettings {
    /// Whether callers without a key are let in as `anonymous`. Default: yes on a loopback listener without `keys`, `key_file`,
    /// `certificates` and `oauth`, no otherwise: whoever configures callers, or opens the port to the network, expects them to be asked for.
    pub anonymous: Option<bool>,
    /// API keys, sent as `Authorization: Bearer KEY` or `X-API-Key: KEY`. `portcullis keys new NAME` makes one.
    pub keys: Vec<ApiKey>,
    /// File with more keys: a YAML list of entries like those of `keys`. `portcullis keys` makes, lists and revokes them there. It is
    /// read again on SIGHUP and within seconds of a change; while something is wrong with it, the keys read before stay good. It may be
    /// empty, but must exist, so that a misspelt path is found. Default: none.
    pub key_file: Option<PathBuf>,
    /// Keys of `key_file`, put here by whoever reads it.
    #[serde(skip)]
    pub managed: Vec<ApiKey>,
    /// Callers by client certificate; needs `tls.client_certificates`. The first entry that is about a certificate decides. A request that shows a
    /// key or a token is that caller's, whatever the connection shows. Default: none; certificates then only open the connection.
    pub certificates: Vec<CertificateCaller>,
    /// OAuth 2.1 access tokens. Default: none are taken.
    pub oauth: Option<OAuthSettings>,
    /// Proof of possession for tokens; only with `oauth`.
    pub dpop: Option<DpopSettings>,
    /// `X-Agent-Identity`: programs that act for callers. Default: the header means nothing.
    pub agents: Option<AgentSettings>,
    /// Signed requests.
    pub signatures: SignatureSettings,
    /// Call chains across agents and gateways.
    pub chains: ChainSettings,
    /// PEM file with certificates of authorities that sign for authorization servers, instead of those of the operating system. Default: those.
    pub ca_file: Option<PathBuf>,
}

impl IdentitySettings {
    /// Those of the configuration and those of the key file.
    pub fn all_keys(&self) -> impl Iterator<Item = &ApiKey> + Clone {
        self.keys.iter().chain(&self.managed)
    }

    /// Whether callers without proof are let in; `loopback`: the listener is.
    #[must_use]
    pub fn lets_anonymous_in(&self, loopback: bool) -> bool {
        self.anonymous.unwrap_or(loopback && !self.knows_callers())
    }

    /// Whether anybody can be known. The key file counts even when it is empty: revoking the last key must not open the door, and its keys
    /// come and go while the gateway runs.
    #[must_use]
    pub fn knows_callers(&self) -> bool {
        let keys = !self.keys.is_empty() || self.key_file.is_some();
        keys || !self.certificates.is_empty() || self.oauth.is_some()
    }

    /// What this gateway is called by authorization servers; `public_url` unless something else is written.
    #[must_use]
    pub fn resource(&self, public_url: Option<&str>) -> Option<String> {
        let written = self.oauth.as_ref().map(|oauth| oauth.resource.as_str()).filter(|written| !written.is_empty());
        written.or(public_url).map(str::to_owned)
    }

    /// Relative files are those beside the configuration.
    pub fn relative_to(&mut self, folder: &Path) {
        for file in [&mut self.key_file, &mut self.ca_file].into_iter().flatten() {
            *file = folder.join(&*file);
        }
        self.oauth.iter_mut().for_each(|oauth| oauth.relative_to(folder));
        self.dpop.iter_mut().for_each(|dpop| dpop.relative_to(folder));
        self.agents.iter_mut().for_each(|agents| agents.relative_to(folder));
        self.signatures.relative_to(folder);
        self.chains.relative_to(folder);
    }
}

/// One API key. Only its hash is stored, so that a leaked configuration lets nobody in.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ApiKey {
    /// Name of the caller in policies (`Mcp::Caller::"NAME"`) and in the log: 1 to 128 printable letters without `:`, which tells
    /// callers known in other ways apart, and not `anonymous`.
    pub name: String,
    /// SHA-256 of the key, 64 hexadecimal digits. Fit for keys of high entropy only, such as `portcullis keys new` makes.
    pub sha256: String,
    /// Groups the caller belongs to in policies. Default: none.
    #[serde(default)]
    pub groups: Vec<String>,
    /// When the key ends: a date, which means its end in UTC, or a moment such as `2027-01-31T18:00:00+01:00` (RFC 3339). Default:
    /// never, because only the operator knows who renews it.
    #[serde(default)]
    #[schemars(with = "Option<String>")]
    pub expires: Option<Expiry>,
    /// Names of the servers (`upstream.name`) that the key opens, for a list that several gateways share. Default: all.
    #[serde(default)]
    pub servers: Vec<String>,
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
    /// Nonces of signatures, and as many DPoP proofs, that are remembered until they could not be good any more; when there are so many, signed
    /// requests are refused. Default 1000000: eleven hundred new ones a second for as long as a signature is good by default (900 s), in
    /// 150 MB at most.
    pub used_proofs: usize,
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
            used_proofs: 1_000_000,
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
    /// For the PROXY header and the TLS handshake of a connection together. Default 10: a handshake takes three round trips, and a dripping
    /// one holds its place no longer.
    pub handshake_seconds: u64,
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
        Self {
            header_seconds: 30,
            handshake_seconds: 10,
            body_seconds: 30,
            keep_alive_seconds: 15,
            orphan_seconds: 300,
            drain_seconds: 10,
        }
    }
}

impl TimeoutSettings {
    pub(crate) const fn header(&self) -> Duration {
        Duration::from_secs(self.header_seconds)
    }

    pub(crate) const fn handshake(&self) -> Duration {
        Duration::from_secs(self.handshake_seconds)
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
