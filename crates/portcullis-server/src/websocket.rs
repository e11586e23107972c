//! WebSocket connections (after the draft SEP-1288; J4–J15): a handshake that is proven like any request, then frames of one message each,
//! which take the steps that all messages take (`line.rs`). Not over HTTP/2.

mod frames; // what is read and written, and when it ends
mod handshake; // RFC 6455 §4.2, subprotocols
mod pace; // how fast a client may send
mod settings; // what the operator may set
#[cfg(test)]
mod tests;
mod watch; // what ends a connection though nothing comes on it

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use http::header::{CONNECTION, HeaderValue, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_PROTOCOL, UPGRADE};
use http::{HeaderMap, Method, Request, Response, StatusCode, Uri, Version};
use hyper::body::Incoming;
use hyper::upgrade::OnUpgrade;
use portcullis_core::clock::Timestamp;
use portcullis_core::refusal::{Denial, DenialCode};
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;

use self::frames::Ending;
pub use self::settings::WebSocketListener;
use crate::answer::{Unread, gateway_denial};
use crate::body::Body;
use crate::endpoint::Endpoint;
use crate::exchange::{early, shutting_down};
use crate::gateway::Gateway;
use crate::identify::{Asking, Identified, Permit};
use crate::line::{Came, Line};
use crate::peer::{ClientCertificate, Peer};
use crate::proxies::Via;
use crate::record::RefusedFacts;

pub(crate) use self::frames::serve;

/// A handshake that was answered with 101.
#[derive(Debug)]
pub(crate) struct Accepted {
    upgrade: OnUpgrade,
    asker: Asker,
    line: Arc<Line>,
    /// An open connection is something in progress, like a stream.
    _permit: Permit,
}

/// Who asked, to be asked again when what proves callers changes.
#[derive(Debug)]
struct Asker {
    identified: Mutex<Arc<Identified>>,
    shown: Shown,
}

/// What the handshake showed.
#[derive(Debug)]
struct Shown {
    gateway: Arc<Gateway>,
    endpoint: Arc<Endpoint>,
    peer: Arc<Peer>,
    via: Via,
    uri: Uri,
    headers: HeaderMap,
}

/// The endpoint that a request wants a WebSocket to, where that can be had.
pub(crate) fn is_asked(gateway: &Gateway, request: &Request<Incoming>) -> Option<Arc<Endpoint>> {
    let settings = &gateway.settings.websocket;
    let upgrades = settings.enabled
        && request.method() == Method::GET
        && request.version() == Version::HTTP_11
        && handshake::is_asked(request.headers());
    let path = Some(request.uri().path()).filter(|_| upgrades)?;
    let path = if path == settings.path { gateway.settings.path.as_str() } else { path };
    gateway.endpoints.at(path).cloned()
}

/// Answers a handshake whose `Host` and `Origin` are ours. The connection takes it from there when the answer is written.
pub(crate) async fn open(
    gateway: &Arc<Gateway>,
    endpoint: Arc<Endpoint>,
    mut request: Request<Incoming>,
    peer: &Arc<Peer>,
    via: Via,
    facts: &mut RefusedFacts,
) -> Result<Response<Body>, Box<Unread>> {
    if gateway.draining.is_said() {
        return Err(early(shutting_down()));
    }
    let agreed = handshake::agree(request.headers()).map_err(early)?;
    let upgrade = hyper::upgrade::on(&mut request);
    let uri = request.uri().clone();
    let headers = handshake::with_token(std::mem::take(request.headers_mut()));
    let came = Came { client: facts.client, proxy: facts.proxy };
    let line = Line::new(gateway, &endpoint, came, agreed.knows_sessions());
    let shown = Shown { gateway: Arc::clone(gateway), endpoint, peer: Arc::clone(peer), via, uri, headers };
    let identified = shown.prove().await.map_err(early)?;
    facts.caller = Some(Arc::clone(&identified.known.caller));
    let limit = gateway.settings.limits.requests_per_caller;
    let permit = identified.known.account.admit(limit, &gateway.held).map_err(early)?;
    let asker = Asker { identified: Mutex::new(identified), shown };
    let accepted = Accepted { upgrade, asker, line, _permit: permit };
    *peer.upgraded.lock().unwrap_or_else(PoisonError::into_inner) = Some(accepted);

    let mut response = Response::new(Body::Empty);
    *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    let answer = response.headers_mut();
    answer.insert(CONNECTION, HeaderValue::from_static("Upgrade"));
    answer.insert(UPGRADE, HeaderValue::from_static("websocket"));
    if let Ok(accept) = HeaderValue::try_from(derive_accept_key(agreed.key.as_bytes())) {
        answer.insert(SEC_WEBSOCKET_ACCEPT, accept);
    }
    if let Some(subprotocol) = agreed.subprotocol.and_then(|name| HeaderValue::try_from(name).ok()) {
        answer.insert(SEC_WEBSOCKET_PROTOCOL, subprotocol);
    }
    Ok(response)
}

impl Shown {
    /// What the handshake proves. A proof of possession (DPoP) is spent by this: it holds for the connection, and cannot be shown again.
    async fn prove(&self) -> Result<Arc<Identified>, Denial> {
        let directory = self.gateway.directory.load_full();
        directory.proves_connections(&self.headers)?;
        let now = self.gateway.clock.now();
        let Self { peer, via, uri, headers, .. } = self;
        let certificate: Option<&ClientCertificate> = peer.certificate(now)?.map(Arc::as_ref);
        let servers = &self.endpoint.names;
        let asking = Asking { method: "GET", uri, headers, via, certificate, servers, now };
        let identified = match directory.at_once(&asking)? {
            Some(identified) => identified,
            None => Box::pin(directory.prove(&asking, self.gateway.memory.as_ref())).await?,
        };
        Ok(Arc::new(identified))
    }
}

impl Asker {
    /// The caller of one more message: proven by what the handshake showed, as long as that proves anything.
    pub(super) async fn proven(&self) -> Result<Arc<Identified>, Denial> {
        let known = Arc::clone(&self.identified());
        let Shown { gateway, peer, .. } = &self.shown;
        let now = gateway.clock.now();
        let same = Arc::ptr_eq(&known.directory, &gateway.directory.load());
        if same && known.until.is_none_or(|until| now < until) && peer.certificate(now).is_ok() {
            return Ok(known);
        }
        let renewed = self.shown.prove().await?;
        if renewed.known.caller.has_owner_of(&known.known.caller) {
            *self.identified() = Arc::clone(&renewed);
            return Ok(renewed);
        }
        // A connection has one caller from its begin to its end.
        let detail = "what the handshake showed is another caller's now";
        Err(gateway_denial(DenialCode::Unauthenticated, "connect again", detail))
    }

    fn identified(&self) -> MutexGuard<'_, Arc<Identified>> {
        self.identified.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn until(&self) -> Option<Timestamp> {
        self.identified().until
    }

    /// The end of a connection whose caller is proven no longer (J13).
    fn unproven(&self, denial: &Denial) -> Ending {
        self.shown.gateway.ledger.count("denial", denial.code.as_str());
        Ending::Over(CloseCode::Policy, "what proved the caller has ended; connect again")
    }
}
