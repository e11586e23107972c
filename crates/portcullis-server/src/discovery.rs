//! What anybody may know of how this gateway is reached: transports, addresses and protocol versions, never what is behind it. No message is read and
//! nobody is identified here; hosts and origins are checked like for everything else.

use bytes::Bytes;
use http::header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE, ETAG, HeaderValue, IF_NONE_MATCH, VARY};
use http::{HeaderMap, Method, Response, StatusCode, Uri};
use portcullis_core::own::{hex, push_string};
use portcullis_core::version::{Era, Version};
use url::Url;

use crate::body::Body;
use crate::endpoint::{Endpoint, Server};
use crate::gateway::Gateway;
use crate::preference::preferred;
use crate::proxies::Via;

/// Where it is.
const WELL_KNOWN: &str = "/.well-known/mcp-transport";
/// How long anybody may keep what the configuration says: 300 s, so that a change is known five minutes later.
const KEPT: HeaderValue = HeaderValue::from_static("public, max-age=300");
/// What says only how this client came here is of no use to another.
const KEPT_BY_ONE: HeaderValue = HeaderValue::from_static("private, max-age=300");
const METHODS: HeaderValue = HeaderValue::from_static("GET, HEAD");
const JSON: HeaderValue = HeaderValue::from_static("application/json");
const VARIES: HeaderValue = HeaderValue::from_static("mcp-transport-preference");
/// Bytes of the digest that names a version of the document.
const TAG: usize = 16;

/// One way in.
struct Offer {
    /// As `MCP-Transport-Preference` names it.
    transport: &'static str,
    url: String,
    path: String,
    versions: Vec<&'static str>,
}

/// The answer to a request for it; `None` for another path, and where the operator does not want it.
pub(crate) fn answer(
    gateway: &Gateway,
    via: &Via,
    method: &Method,
    uri: &Uri,
    headers: &HeaderMap,
) -> Option<Response<Body>> {
    if uri.path() != WELL_KNOWN || !gateway.settings.discovery {
        return None;
    }
    let mut response = Response::new(Body::Empty);
    if !matches!(*method, Method::GET | Method::HEAD) {
        *response.status_mut() = StatusCode::METHOD_NOT_ALLOWED;
        response.headers_mut().insert(ALLOW, METHODS);
        return Some(response);
    }
    let offers = offers(gateway, via);
    let (status, document) = match wished(headers, &offers) {
        None => (StatusCode::OK, list(&offers)),
        Some(Some(best)) => (StatusCode::OK, list(std::slice::from_ref(best))),
        Some(None) => (StatusCode::NOT_ACCEPTABLE, list(&offers)),
    };
    let tag = tag(&document);
    let known = status == StatusCode::OK && is_known(headers, &tag);
    *response.status_mut() = if known { StatusCode::NOT_MODIFIED } else { status };
    if !known {
        response.headers_mut().insert(CONTENT_TYPE, JSON);
        // The connection leaves out the body of an answer to HEAD, and says how long it would be.
        *response.body_mut() = Body::Own(Some(Bytes::from(document)));
    }
    let told = response.headers_mut();
    told.insert(CACHE_CONTROL, if gateway.settings.public_url.is_some() { KEPT } else { KEPT_BY_ONE });
    told.insert(VARY, VARIES);
    if let Ok(tag) = HeaderValue::try_from(tag) {
        told.insert(ETAG, tag);
    }
    Some(response)
}

/// The first wish that can be granted: `None` without a wish, `Some(None)` where none can.
fn wished<'a>(headers: &HeaderMap, offers: &'a [Offer]) -> Option<Option<&'a Offer>> {
    let wishes = preferred(headers);
    let granted = |wish: &str| {
        let transport = if wish == "streamable-http" { "http" } else { wish };
        offers.iter().find(|offer| offer.transport == transport)
    };
    (!wishes.is_empty()).then(|| wishes.iter().find_map(|wish| granted(wish)))
}

fn offers(gateway: &Gateway, via: &Via) -> Vec<Offer> {
    let mut offers = Vec::new();
    for endpoint in gateway.endpoints.iter() {
        let versions = versions(endpoint);
        let url = address(gateway, via, &endpoint.path);
        offers.push(Offer { transport: "http", url, path: endpoint.path.to_string(), versions: versions.clone() });
        let sockets = &gateway.settings.websocket;
        if sockets.enabled {
            // One path of its own; everything else is upgraded where it is.
            let path = if *endpoint.path == *gateway.settings.path { sockets.path.as_str() } else { &endpoint.path };
            let url = address(gateway, via, path).replacen("http", "ws", 1);
            offers.push(Offer { transport: "websocket", url, path: path.to_owned(), versions });
        }
    }
    offers
}

/// The address of a path: below the one that the configuration gives the endpoint, else as the client came here.
fn address(gateway: &Gateway, via: &Via, path: &str) -> String {
    let main = gateway.settings.path.as_str();
    let public = gateway.settings.public_url.as_deref().and_then(|url| Url::parse(url).ok());
    match public {
        Some(mut url) => {
            // A proxy in front may have moved all of it.
            let before = url.path().strip_suffix(main).unwrap_or_default().to_owned();
            if path != main || !before.is_empty() {
                url.set_path(&format!("{before}{path}"));
            }
            url.to_string()
        }
        None => path.parse::<Uri>().map(|uri| via.url(&uri)).unwrap_or_default(),
    }
}

/// What an endpoint speaks, oldest first. Where nobody has asked a server yet, everything that we speak.
fn versions(endpoint: &Endpoint) -> Vec<&'static str> {
    let spoken: Vec<Vec<&'static str>> = endpoint.servers.iter().map(|server| spoken(server)).collect();
    // Merged answers are ours, and so is the list of versions in them.
    let whole = endpoint.merging.is_some();
    let speaks = |era: Era, version: &str| {
        spoken
            .iter()
            .flatten()
            .any(|known| *known == version || (whole && Version::parse(known).is_some_and(|known| known.era() == era)))
    };
    let of = |era: Era| Version::names(era).filter(move |version| speaks(era, version));
    of(Era::Legacy).chain(of(Era::Modern)).collect()
}

fn spoken(server: &Server) -> Vec<&'static str> {
    let offered = || Version::names(Era::Legacy).chain(Version::names(Era::Modern));
    let catalogue = server.upstream.catalogue();
    match catalogue.hello() {
        None => offered().collect(),
        Some(hello) if hello.era == Era::Modern => {
            offered().filter(|version| hello.versions.iter().any(|listed| listed == version)).collect()
        }
        // The handshake agrees on the older of two.
        Some(hello) => {
            let newest = hello.newest_legacy().unwrap_or(Version::LATEST_LEGACY);
            Version::names(Era::Legacy)
                .filter(|name| Version::parse(name).is_some_and(|known| known <= newest))
                .collect()
        }
    }
}

fn list(offers: &[Offer]) -> String {
    let mut text = String::from(r#"{"transports":["#);
    for (index, offer) in offers.iter().enumerate() {
        text.push_str(if index == 0 { r#"{"transport":"# } else { r#",{"transport":"# });
        push_string(&mut text, offer.transport);
        text.push_str(r#","url":"#);
        push_string(&mut text, &offer.url);
        text.push_str(r#","path":"#);
        push_string(&mut text, &offer.path);
        text.push_str(r#","protocolVersions":["#);
        for (index, version) in offer.versions.iter().enumerate() {
            text.push_str(if index == 0 { "" } else { "," });
            push_string(&mut text, version);
        }
        text.push_str("]}");
    }
    text.push_str("]}");
    text
}

fn tag(document: &str) -> String {
    let digest = blake3::hash(document.as_bytes());
    format!("\"{}\"", hex(digest.as_bytes().get(..TAG).unwrap_or_default()))
}

/// Whether the client has this document already (RFC 9110 §13.1.2, weak comparison).
fn is_known(headers: &HeaderMap, tag: &str) -> bool {
    let listed = headers.get_all(IF_NONE_MATCH).iter().filter_map(|value| value.to_str().ok());
    listed
        .flat_map(|value| value.split(','))
        .map(str::trim)
        .any(|known| known == "*" || known.strip_prefix("W/").unwrap_or(known) == tag)
}
