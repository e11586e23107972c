//! What goes to the server beside the body. Built anew for each request: nothing of the client's own headers is copied (F33).

use std::collections::BTreeMap;

use http::Uri;
use http::header::{ACCEPT, CONTENT_TYPE, HOST, HeaderMap, HeaderName, HeaderValue, USER_AGENT};
use http::uri::Scheme;
use portcullis_core::refusal::{Fault, FaultKind};
use portcullis_core::trace::TraceContext;
use portcullis_core::version::Version;

use super::UpstreamSession;
use crate::settings::{HttpSettings, Secret, SettingsError, resolve};

/// Names the connection or the protocol needs for itself.
const RESERVED: [&str; 16] = [
    "accept",
    "accept-encoding",
    "connection",
    "content-encoding",
    "content-length",
    "content-type",
    "expect",
    "host",
    "last-event-id",
    "te",
    "traceparent",
    "tracestate",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "x-upstream-agents",
];

static VERSION: HeaderName = HeaderName::from_static("mcp-protocol-version");
static METHOD: HeaderName = HeaderName::from_static("mcp-method");
static NAME: HeaderName = HeaderName::from_static("mcp-name");
static SESSION: HeaderName = HeaderName::from_static("mcp-session-id");
static PARENT: HeaderName = HeaderName::from_static("traceparent");
static STATE: HeaderName = HeaderName::from_static("tracestate");

/// Fields that an ordinary request adds to the fixed ones, so that its map need not grow.
const ADDED: usize = 6;

/// The same with every request: what the operator configured, and what B1 asks for.
pub(crate) struct Fixed {
    bare: HeaderMap,
    post: HeaderMap,
    get: HeaderMap,
}

impl Fixed {
    pub(super) fn new(configured: &BTreeMap<String, Secret>, endpoint: &Uri) -> Result<Self, SettingsError> {
        let mut common = HeaderMap::new();
        common.insert(HOST, host(endpoint)?);
        common.insert(USER_AGENT, HeaderValue::from_static(concat!("portcullis/", env!("CARGO_PKG_VERSION"))));
        for (name, secret) in configured {
            let bad = || SettingsError::BadHeader { name: name.clone() };
            let lower = name.to_ascii_lowercase();
            if RESERVED.contains(&lower.as_str()) || lower.starts_with("mcp-") || lower.starts_with("sec-websocket-") {
                return Err(SettingsError::ReservedHeader { name: name.clone() });
            }
            let value = resolve(secret, &format!("headers.{name}"))?;
            let mut value = HeaderValue::from_str(&value).map_err(|_| bad())?;
            value.set_sensitive(true);
            common.insert(HeaderName::from_bytes(lower.as_bytes()).map_err(|_| bad())?, value);
        }
        let mut get = common.clone();
        get.insert(ACCEPT, HeaderValue::from_static("text/event-stream"));
        let mut post = common.clone();
        post.insert(ACCEPT, HeaderValue::from_static("application/json, text/event-stream"));
        post.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        Ok(Self { bare: common, post, get })
    }

    pub(crate) fn post(&self) -> HeaderMap {
        let mut headers = HeaderMap::with_capacity(self.post.len() + ADDED);
        headers.extend(self.post.iter().map(|(name, value)| (name.clone(), value.clone())));
        headers
    }

    pub(crate) fn get(&self) -> HeaderMap {
        self.get.clone()
    }

    /// Without a word about what an answer may be.
    pub(crate) fn bare(&self) -> HeaderMap {
        self.bare.clone()
    }
}

pub(super) fn version(headers: &mut HeaderMap, version: Version) {
    headers.insert(VERSION.clone(), HeaderValue::from_static(version.as_str()));
}

pub(super) fn session(headers: &mut HeaderMap, session: Option<&UpstreamSession>) {
    if let Some(id) = session.and_then(|session| session.id.as_ref()) {
        headers.insert(SESSION.clone(), id.clone());
    }
}

/// W3C trace context; the body carries the same, spliced in before the call was judged.
pub(crate) fn trace(headers: &mut HeaderMap, trace: &TraceContext) {
    if let Ok(parent) = HeaderValue::try_from(trace.traceparent()) {
        headers.insert(PARENT.clone(), parent);
    }
    if let Some(state) = &trace.state
        && let Ok(state) = HeaderValue::from_str(state)
    {
        headers.insert(STATE.clone(), state);
    }
}

/// A field that mirrors the body (D1, D3, E2).
pub(super) fn mirrored(headers: &mut HeaderMap, name: &str, value: &str) -> Result<(), Fault> {
    let unfit = |_| Fault::before_sending(FaultKind::Garbage, "a mirrored value cannot stand in a header".to_owned());
    let name = match [&METHOD, &NAME].into_iter().find(|known| known.as_str() == name) {
        Some(known) => known.clone(),
        None => HeaderName::from_bytes(name.as_bytes()).map_err(|_| unfit(()))?,
    };
    let mut value = HeaderValue::from_str(value).map_err(|_| unfit(()))?;
    // C35: arguments in headers are arguments.
    value.set_sensitive(true);
    headers.insert(name, value);
    Ok(())
}

/// The server's endpoint, if its URL is one we may use. A socket is on this machine, whatever host the URL names.
pub(super) fn endpoint(settings: &HttpSettings) -> Result<Uri, SettingsError> {
    let uri = match settings.socket {
        Some(_) => address(&settings.url, ["http", "http"], true),
        None => address(&settings.url, ["https", "http"], settings.allow_plain_http),
    }?;
    for (key, millis) in [
        ("connect_timeout_ms", settings.connect_timeout_ms),
        ("first_byte_timeout_ms", settings.first_byte_timeout_ms),
        ("idle_timeout_ms", settings.idle_timeout_ms.unwrap_or(1)),
        ("probe_timeout_ms", settings.probe_timeout_ms),
    ] {
        if millis == 0 {
            return Err(SettingsError::Zero { key });
        }
    }
    Ok(uri)
}

/// A URL with one of two schemes, `secure` and `plain`; the plain one only to this host, unless `allow_plain`.
pub(crate) fn address(url: &str, [secure, plain]: [&'static str; 2], allow_plain: bool) -> Result<Uri, SettingsError> {
    let bad = |reason| SettingsError::BadUrl { reason, scheme: secure };
    if url.contains('#') {
        return Err(bad("has a fragment"));
    }
    let uri: Uri = url.parse().map_err(|_| bad("is not a URL"))?;
    let authority = uri.authority().ok_or_else(|| bad("has no host"))?;
    if authority.as_str().contains('@') {
        return Err(bad("carries credentials; use `headers.authorization` or `credentials`"));
    }
    let host = authority.host();
    if host.is_empty() {
        return Err(bad("has no host"));
    }
    match uri.scheme_str() {
        Some(scheme) if scheme == plain && (allow_plain || is_loopback(host)) => Ok(uri),
        Some(scheme) if scheme == plain => Err(SettingsError::Plain { scheme: plain, host: host.to_owned() }),
        Some(scheme) if scheme == secure => Ok(uri),
        _ => Err(bad("has another scheme")),
    }
}

/// Path and query alone: the origin form (RFC 9112 §3.2.1).
pub(super) fn target(endpoint: &Uri) -> Result<Uri, SettingsError> {
    let path = endpoint.path_and_query().map_or("/", http::uri::PathAndQuery::as_str);
    path.parse()
        .map_err(|_| SettingsError::BadUrl { reason: "has a path that cannot stand in a request", scheme: "https" })
}

/// The authority, without the port that the scheme implies (RFC 9110 §4.2.3).
fn host(endpoint: &Uri) -> Result<HeaderValue, SettingsError> {
    let implied = if endpoint.scheme() == Some(&Scheme::HTTPS) { 443 } else { 80 };
    let host = endpoint.host().unwrap_or_default();
    let named = match endpoint.port_u16().filter(|port| *port != implied) {
        Some(port) => format!("{host}:{port}"),
        None => host.to_owned(),
    };
    HeaderValue::from_str(&named)
        .map_err(|_| SettingsError::BadUrl { reason: "has a host that cannot stand in a header", scheme: "https" })
}

/// This host, by name or by address. Names other than `localhost` count as foreign: what they resolve to can change.
fn is_loopback(host: &str) -> bool {
    let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    bare.eq_ignore_ascii_case("localhost")
        || bare.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback())
}
