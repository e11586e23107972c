//! The life of a request: accept, identify, read, judge, forward, inspect, record.
//!
//! `judge` and the opening of the record are in [`forward`], since nothing may stand between them and the sending; `inspect` and the
//! closing of the record are in [`Journey`], since the outgoing stream owns both.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::poll_immediate;
use http::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderValue};
use http::{HeaderMap, Request, Response, StatusCode};
use hyper::body::Incoming;
use portcullis_core::clock::Timestamp;
use portcullis_core::gate::Inspected;
use portcullis_core::refusal::Violation;
use portcullis_core::upstream::Media;
use portcullis_core::version::Era;

use crate::accept::{Arrival, Head, METHODS, Verb};
use crate::answer::{Answer, Refusal, Unread};
use crate::answering::{Answering, begin, deliver};
use crate::batch::Batch;
use crate::body::Body;
use crate::cors::{self, Page};
use crate::departure::Departure;
use crate::discovery;
use crate::endpoint::Endpoint;
use crate::exchange::{self, early, in_time, shutting_down};
use crate::fields::{ACCEL_BUFFERING, DPOP_NONCE, SESSION_ID};

use crate::gateway::Gateway;
use crate::identify::{Asking, Identified, Permit, WELL_KNOWN};
use crate::peer::{ClientCertificate, Peer};
use crate::proxies::Via;
use crate::read::{self, Post, Turn};
use crate::record::RefusedFacts;
use crate::surviving::{Surviving, Work};
use crate::websocket;

/// Serves one HTTP request.
pub(crate) async fn handle(gateway: Arc<Gateway>, request: Request<Incoming>, peer: Arc<Peer>) -> Response<Body> {
    let mut facts = RefusedFacts::of(peer.address.ip());
    let mut page = None;
    let mut response = match steps(&gateway, request, &peer, &mut facts, &mut page).await {
        Ok(response) => response,
        Err(unread) => {
            let (refusal, asked) = exchange::refused(&gateway, *unread, &facts);
            refused(refusal.answer(&asked))
        }
    };
    if let Some(page) = page {
        page.may_read(&mut response);
    }
    response
}

async fn steps(
    gateway: &Arc<Gateway>,
    request: Request<Incoming>,
    peer: &Arc<Peer>,
    facts: &mut RefusedFacts,
    page: &mut Option<Page>,
) -> Result<Response<Body>, Box<Unread>> {
    // accept: where it comes from, and whether that may ask at all, before anything else: a foreign origin learns nothing.
    let via = gateway.proxies.via(peer, request.uri(), request.headers()).map_err(early)?;
    facts.came(&via);
    if let Some(metadata) = metadata(gateway, &via, &request).map_err(early)? {
        return Ok(metadata);
    }
    *page = gateway.admit(&via, request.headers()).map_err(early)?;
    if page.is_some() && cors::is_preflight(request.method(), request.headers()) {
        // On every path, so that the page can read the 404 of a wrong one; without a proof, because browsers send none.
        return Ok(cors::preflight(request.headers(), METHODS));
    }
    if let Some(told) = discovery::answer(gateway, &via, request.method(), request.uri(), request.headers()) {
        return Ok(told);
    }
    if let Some(endpoint) = websocket::is_asked(gateway, &request) {
        return Box::pin(websocket::open(gateway, endpoint, request, peer, via, facts)).await;
    }
    let arrival = Arrival::new(gateway, request).map_err(early)?;
    if gateway.draining.is_said() {
        return Err(early(shutting_down()));
    }
    // identify
    let (verb, endpoint) = (arrival.verb, Arc::clone(&arrival.endpoint));
    let now = gateway.clock.now();
    let certificate = peer.certificate(now).map_err(early)?.map(Arc::as_ref);
    let asked = asking(&endpoint, verb, &arrival.head, &via, certificate, now);
    let directory = gateway.directory.load_full();
    let at_once = directory.at_once(&asked).map_err(early)?;
    let mut identified = match at_once {
        Some(identified) => identified,
        None => Box::pin(directory.prove(&asked, gateway.memory.as_ref())).await.map_err(early)?,
    };
    facts.caller = Some(Arc::clone(&identified.known.caller));
    facts.trace_id = read::trace_id(&arrival.head.headers);
    let limits = &gateway.settings.limits;
    let mut permit = identified.known.account.admit(limits.requests_per_caller, &gateway.held).map_err(early)?;
    // read
    let (head, body) = match verb {
        Verb::Message => {
            arrival.into_body(&mut permit, limits, gateway.settings.timeouts.body()).await.map_err(early)?
        }
        Verb::Stream | Verb::Close => (arrival.head, Bytes::new()),
    };
    facts.bytes = body.len();
    if directory.binds_body(&head.headers) {
        let asked = asking(&endpoint, verb, &head, &via, certificate, now);
        Box::pin(bind(gateway, &endpoint, &asked, &body, &mut identified)).await?;
    }
    let nonce = identified.nonce.take();
    let answered = answer(gateway, &endpoint, verb, Received { head, body, identified, permit }, facts).await;
    answered.map(|response| with_nonce(response, nonce))
}

/// What everybody may know about who may call, from pages of every origin; under our own hosts only.
fn metadata(gateway: &Gateway, via: &Via, request: &Request<Incoming>) -> Result<Option<Response<Body>>, Violation> {
    if !request.uri().path().starts_with(WELL_KNOWN) {
        return Ok(None);
    }
    gateway.admit(via, &HeaderMap::new())?;
    let directory = gateway.directory.load();
    Ok(directory.metadata().and_then(|metadata| metadata.answer(request.method(), request.uri().path())))
}

/// The request as *identify* sees it.
fn asking<'a>(
    endpoint: &'a Endpoint,
    verb: Verb,
    head: &'a Head,
    via: &'a Via,
    certificate: Option<&'a ClientCertificate>,
    now: Timestamp,
) -> Asking<'a> {
    let Head { uri, headers } = head;
    Asking { method: verb.as_str(), uri, headers, via, certificate, servers: &endpoint.names, now }
}

/// What is said about the body, too.
async fn bind(
    gateway: &Gateway,
    endpoint: &Endpoint,
    asking: &Asking<'_>,
    body: &[u8],
    identified: &mut Identified,
) -> Result<(), Box<Unread>> {
    let session = read::session_of(gateway, endpoint, identified, asking.headers, asking.now);
    let directory = Arc::clone(&identified.directory);
    directory.bind(asking, body, session, gateway.memory.as_ref(), identified).await.map_err(early)
}

/// A request of a caller who is known.
struct Received {
    head: Head,
    body: Bytes,
    identified: Identified,
    permit: Permit,
}

/// Read, and everything after it.
async fn answer(
    gateway: &Arc<Gateway>,
    endpoint: &Arc<Endpoint>,
    verb: Verb,
    received: Received,
    facts: &RefusedFacts,
) -> Result<Response<Body>, Box<Unread>> {
    let Received { head, body, identified, permit } = received;
    let bodiless = |close, permit| read::bodiless(gateway, endpoint, &identified, &head.headers, close, permit);
    match verb {
        Verb::Message => {
            let post = read::post(gateway, endpoint, &identified, &head.headers, body, permit).await?;
            drop((head, identified));
            match post {
                Post::One(turn) => one(gateway, turn).await,
                Post::Batch(turns) => Box::pin(batch(gateway, turns, facts)).await,
            }
        }
        Verb::Stream => Box::pin(stream(gateway, bodiless(false, permit)?)).await,
        Verb::Close => Box::pin(close(gateway, bodiless(true, permit)?)).await,
    }
}

/// The next proof's nonce (RFC 9449 §8.2), so that a client in use is never refused for an old one.
fn with_nonce(mut response: Response<Body>, nonce: Option<String>) -> Response<Body> {
    if let Some(nonce) = nonce.and_then(|nonce| HeaderValue::try_from(nonce).ok()) {
        response.headers_mut().insert(&DPOP_NONCE, nonce);
    }
    response
}

/// Judge, forward, inspect, record, for one message. A legacy call goes on when its client leaves (A17).
async fn one(gateway: &Arc<Gateway>, turn: Turn) -> Result<Response<Body>, Box<Unread>> {
    let legacy = turn.read().is_some_and(|read| read.call.era() == Era::Legacy);
    // Boxed, so that neither a connection between its requests nor one whose stream stands open keeps the room that this takes.
    let work: Work<_> = {
        let gateway = Arc::clone(gateway);
        Box::pin(async move { respond(&gateway, turn).await })
    };
    if legacy { Surviving::new(work, Arc::clone(gateway)).await } else { work.await }
}

async fn respond(gateway: &Arc<Gateway>, turn: Turn) -> Result<Response<Body>, Box<Unread>> {
    if !turn.expects_response() {
        in_time(gateway, pin!(deliver(gateway, turn, StatusCode::ACCEPTED))).await?;
        return Ok(status_only(StatusCode::ACCEPTED));
    }
    let session = turn.opens();
    let mut answering = in_time(gateway, pin!(begin(gateway, turn))).await?;
    let mut response = match answering.media() {
        Media::EventStream => events(Departure::new(answering, None)),
        Media::Json | Media::Unframed | Media::Accepted => {
            let quiet = gateway.settings.timeouts.keep_alive();
            match first(gateway, &mut answering, quiet).await? {
                First::Response(message) => json(message, answering.status()),
                First::Other(message) => events(Departure::new(answering, Some(message))),
                First::Nothing => {
                    answering.becomes_stream();
                    events(Departure::new(answering, None))
                }
            }
        }
    };
    if let Some(session) = session.and_then(|sealed| HeaderValue::from_str(&sealed).ok())
        && response.status() == StatusCode::OK
    {
        response.headers_mut().insert(&SESSION_ID, session);
    }
    Ok(response)
}

/// How a reply without a media type of its own begins.
enum First {
    /// With its response: one JSON document says it all.
    Response(Inspected),
    /// With something else: a stream.
    Other(Inspected),
    /// Not yet, and the client should hear that we are alive.
    Nothing,
}

async fn first(gateway: &Gateway, answering: &mut Answering, quiet: Duration) -> Result<First, Box<Unread>> {
    let next = {
        let mut next = pin!(answering.next());
        // A JSON answer is there already; what has to be waited for gets a timer.
        match poll_immediate(next.as_mut()).await {
            Some(next) => Some(Ok(next)),
            None => gateway.overdue.unless(pin!(tokio::time::timeout(quiet, next))).await,
        }
    };
    Ok(match next {
        Some(Ok(Some(message))) if message.is_response() => First::Response(message),
        Some(Ok(Some(message))) => First::Other(message),
        Some(Ok(None)) => return answering.refusal().map_or(Ok(First::Nothing), Err),
        Some(Err(_)) => First::Nothing,
        None => answering.stop().map_or(First::Nothing, First::Response),
    })
}

/// Each item is judged and answered alone; one body carries the answers (A7).
async fn batch(
    gateway: &Arc<Gateway>,
    turns: Vec<Result<Turn, Box<Unread>>>,
    facts: &RefusedFacts,
) -> Result<Response<Body>, Box<Unread>> {
    let mut departures = Vec::new();
    for turn in turns {
        let departure = match turn {
            Ok(turn) if turn.expects_response() => in_time(gateway, pin!(begin(gateway, turn)))
                .await
                .map(|answering| Some(Departure::new(answering, None))),
            Ok(turn) => in_time(gateway, pin!(deliver(gateway, turn, StatusCode::ACCEPTED))).await.map(|()| None),
            Err(unread) => Err(unread),
        };
        match departure {
            Ok(departure) => departures.extend(departure),
            Err(unread) => {
                let (refusal, asked) = exchange::refused(gateway, *unread, facts);
                if let Some(message) = refusal.message(&asked).filter(|_| asked.id.is_some()) {
                    departures.push(Departure::refused(message));
                }
            }
        }
    }
    if departures.is_empty() {
        return Ok(status_only(StatusCode::ACCEPTED));
    }
    Ok(event_stream(Body::Batch(Box::new(Batch::new(departures)))))
}

async fn stream(gateway: &Arc<Gateway>, turn: Turn) -> Result<Response<Body>, Box<Unread>> {
    let answering = in_time(gateway, pin!(begin(gateway, turn))).await?;
    Ok(events(Departure::new(answering, None)))
}

async fn close(gateway: &Arc<Gateway>, turn: Turn) -> Result<Response<Body>, Box<Unread>> {
    let key = turn.read().and_then(|read| read.session.as_ref()).map(|session| session.key);
    // The client is done with the session whatever its servers say.
    if let Err(unread) = deliver(gateway, turn, StatusCode::NO_CONTENT).await
        && matches!(&unread.refusal, Refusal::Denial(_))
    {
        return Err(unread);
    }
    if let Some(key) = key {
        gateway.sessions.end(key);
    }
    Ok(status_only(StatusCode::NO_CONTENT))
}

fn refused(answer: Answer) -> Response<Body> {
    let mut response = match answer.message {
        Some(message) => json(message, answer.status),
        None => status_only(answer.status),
    };
    response.headers_mut().extend(answer.headers);
    response
}

fn status_only(status: StatusCode) -> Response<Body> {
    let mut response = Response::new(Body::Empty);
    *response.status_mut() = status;
    response
}

fn json(message: Inspected, status: StatusCode) -> Response<Body> {
    let mut response = Response::new(Body::Whole(Some(message)));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

fn events(departure: Departure) -> Response<Body> {
    event_stream(Body::Events(Box::new(departure)))
}

fn event_stream(body: Body) -> Response<Body> {
    let mut response = Response::new(body);
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache, no-transform"));
    // Intermediaries must not collect events (C7).
    headers.insert(&ACCEL_BUFFERING, HeaderValue::from_static("no"));
    response
}

#[cfg(test)]
mod tests;
