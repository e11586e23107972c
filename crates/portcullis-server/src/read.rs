//! From bytes to [`Call`]s: the strict reader, the era (C22), the mirrored headers (C25–C31), the session (A23–A28), the trace.
//! Nothing is judged here; what cannot be read one way only is refused.

mod turn;

use std::borrow::Cow;
use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue};
use portcullis_core::call::{Call, Subject};
use portcullis_core::capabilities::{self, Declared};
use portcullis_core::catalogue::Snapshot;
use portcullis_core::classify::{self, Classified, Evidence, META_CAPABILITIES, META_VERSION};
use portcullis_core::clock::Timestamp;
use portcullis_core::mirror;
use portcullis_core::own::push_string;
use portcullis_core::refusal::{Denial, DenialCode, Violation};
use portcullis_core::trace::TraceContext;
use portcullis_core::version::{Era, Version};
use portcullis_core::wire::{self, Direction, Kind, Malformed, Message, View};
use smallvec::SmallVec;

use crate::answer::{Asked, Refusal, Unread, gateway_denial};
use crate::endpoint::{Endpoint, Server};
use crate::event::Event;
use crate::fields::{LAST_EVENT_ID, METHOD, NAME, PROTOCOL_VERSION, SESSION_ID, TRACEPARENT, TRACESTATE};
use crate::gateway::Gateway;
use crate::identify::{Identified, Permit};
use crate::random;
use crate::session::{Opening, Session};

use crate::place::Place;

use self::turn::Exchange;
pub(crate) use self::turn::{Many, Read, Turn};

/// What a POST body holds.
#[derive(Debug)]
pub(crate) enum Post {
    One(Turn),
    /// 2025-03-26 only (A7). Each item stands for itself: one that is refused does not take the others with it.
    Batch(Vec<Result<Turn, Box<Unread>>>),
}

/// The headers of one request, as the reader needs them.
struct Reader<'a> {
    gateway: &'a Arc<Gateway>,
    endpoint: &'a Arc<Endpoint>,
    identified: &'a Identified,
    headers: &'a HeaderMap,
    /// All values of `MCP-Protocol-Version`, trimmed; one that is not ASCII matches no version.
    versions: SmallVec<[&'a str; 1]>,
    permit: Arc<Permit>,
    now: Timestamp,
    /// Messages come without headers, by the rules of stdio (J15): what the body says is not said a second time.
    bare: bool,
}

/// Reads a POST.
pub(crate) async fn post(
    gateway: &Arc<Gateway>,
    endpoint: &Arc<Endpoint>,
    identified: &Identified,
    headers: &HeaderMap,
    body: Bytes,
    permit: Permit,
) -> Result<Post, Box<Unread>> {
    let reader = Reader::new(gateway, endpoint, identified, headers, permit);
    let session = reader.session();
    if wire::looks_like_batch(&body) {
        return reader.batch(body, session).await;
    }
    let salvage = body.clone();
    let message = Message::read(body, Direction::ToServer, &gateway.limits).map_err(|malformed| {
        let id = wire::salvage_id(&salvage, &gateway.limits);
        let asked = reader.asked(id, malformed.method());
        match &malformed {
            // Unknown first (C20): what the era lacks has no params to be right about.
            Malformed::NameMissing { method }
                if asked.modern && !classify::has_method(Era::Modern, method, Direction::ToServer) =>
            {
                Unread::new(Violation::MethodUnknown, asked)
            }
            _ => Unread::new(malformed, asked),
        }
    })?;
    let asked = message.clone();
    reader
        .message(message, session)
        .await
        .map(Post::One)
        .map_err(|refusal| Unread::new(refusal, reader.asked(asked.id().cloned(), asked.method())))
}

/// The id of the session that a request belongs to, if it names one of its caller's.
pub(crate) fn session_of<'a>(
    gateway: &Gateway,
    endpoint: &Endpoint,
    identified: &Identified,
    headers: &'a HeaderMap,
    now: Timestamp,
) -> Option<&'a str> {
    // Whatever else the request may turn out to be is for the reader to say.
    let sealed = headers.get(&SESSION_ID)?.to_str().ok()?;
    let found = gateway.sessions.find(&identified.known.account, &gateway.sealer, sealed, now, &endpoint.path);
    found.is_ok().then_some(sealed)
}

/// Reads a message of a transport without headers. `session` is the legacy session of the connection.
pub(crate) async fn bare(
    gateway: &Arc<Gateway>,
    endpoint: &Arc<Endpoint>,
    identified: &Identified,
    message: Message,
    session: Option<Arc<Session>>,
    permit: Permit,
) -> Result<Turn, Box<Unread>> {
    let headers = HeaderMap::new();
    // The one place where the version is said (ST26).
    let said = message.meta(META_VERSION);
    let version = said.and_then(View::as_str).map(Cow::into_owned);
    let mut reader = Reader::new(gateway, endpoint, identified, &headers, permit);
    (reader.bare, reader.versions) = (true, version.as_deref().into_iter().collect());
    let (id, method) = (message.id().cloned(), message.method().map(str::to_owned));
    let turn = match said {
        Some(_) if version.is_none() => Err(Violation::MetaMissing { key: META_VERSION }.into()),
        _ => reader.message(message, session.map(Ok)).await,
    };
    turn.map_err(|refusal| Unread::new(refusal, reader.asked(id, method.as_deref())))
}

/// Reads what a transport without headers never says: that the server may talk to the session by itself, or that a stream which broke off
/// goes on after `event`, an id that was sealed for this session.
pub(crate) fn standing(
    gateway: &Arc<Gateway>,
    endpoint: &Arc<Endpoint>,
    identified: &Identified,
    session: Arc<Session>,
    event: Option<&str>,
    permit: Permit,
) -> Result<Turn, Box<Unread>> {
    let headers = HeaderMap::new();
    let reader = Reader::new(gateway, endpoint, identified, &headers, permit);
    let version = session.version().unwrap_or(Version::ASSUMED);
    let event = event.and_then(|sealed| Event::open(&gateway.sealer, &session.sealed, sealed));
    let turn = reader.without_body(session, version, event, false);
    turn.map_err(|refusal| Unread::new(refusal, reader.asked(None, None)))
}

/// Reads a GET or DELETE, which exist only in legacy sessions.
pub(crate) fn bodiless(
    gateway: &Arc<Gateway>,
    endpoint: &Arc<Endpoint>,
    identified: &Identified,
    headers: &HeaderMap,
    close: bool,
    permit: Permit,
) -> Result<Turn, Box<Unread>> {
    let reader = Reader::new(gateway, endpoint, identified, headers, permit);
    reader.bodiless(close).map_err(|refusal| Unread::new(refusal, reader.asked(None, None)))
}

impl<'a> Reader<'a> {
    fn new(
        gateway: &'a Arc<Gateway>,
        endpoint: &'a Arc<Endpoint>,
        identified: &'a Identified,
        headers: &'a HeaderMap,
        permit: Permit,
    ) -> Self {
        let versions = headers.get_all(&PROTOCOL_VERSION).iter();
        let versions = versions.map(|value| value.to_str().unwrap_or("\u{fffd}").trim_matches([' ', '\t'])).collect();
        let now = gateway.clock.now();
        Self { gateway, endpoint, identified, headers, versions, permit: Arc::new(permit), now, bare: false }
    }

    fn asked(&self, id: Option<wire::Id>, method: Option<&str>) -> Asked {
        let modern =
            self.versions.iter().any(|version| Version::parse(version).is_some_and(|v| v.era() == Era::Modern));
        let refusals = self.endpoint.plan.load().refusals;
        Asked { id, method: method.map(Into::into), modern, refusals, ..Asked::default() }
    }

    /// The session that `Mcp-Session-Id` names: `None` when the header is absent.
    fn session(&self) -> Option<Result<Arc<Session>, Violation>> {
        // A modern request's session id is never looked up (C22b).
        if !classify::heeds_session(&self.versions) {
            return None;
        }
        let mut values = self.headers.get_all(&SESSION_ID).iter();
        let value = values.next()?;
        if values.next().is_some() {
            return Some(Err(Violation::HeaderRepeated { header: "mcp-session-id" }));
        }
        let sealed = value.to_str().map_err(|_| Violation::SessionUnknown);
        let (account, sealer) = (&self.identified.known.account, &self.gateway.sealer);
        Some(
            sealed
                .and_then(|sealed| self.gateway.sessions.find(account, sealer, sealed, self.now, &self.endpoint.path)),
        )
    }

    async fn batch(&self, body: Bytes, session: Option<Result<Arc<Session>, Violation>>) -> Result<Post, Box<Unread>> {
        let refused = |malformed: Malformed| Unread::new(malformed, self.asked(None, None));
        let negotiated = session.as_ref().and_then(|found| found.as_ref().ok()).and_then(|session| session.version());
        if !classify::allows_batch(&self.versions, negotiated) {
            return Err(refused(Malformed::BatchNotAllowed));
        }
        let messages = wire::read_batch(body, Direction::ToServer, &self.gateway.limits).map_err(refused)?;
        let mut reads = Vec::with_capacity(messages.len());
        for message in messages {
            let asked = message.clone();
            let read = self.message(message, session.clone()).await;
            let unread = |refusal| Unread::new(refusal, self.asked(asked.id().cloned(), asked.method()));
            reads.push(read.map_err(unread));
        }
        Ok(Post::Batch(reads))
    }

    async fn message(
        &self,
        message: Message,
        session: Option<Result<Arc<Session>, Violation>>,
    ) -> Result<Turn, Refusal> {
        let found = session.as_ref().and_then(|found| found.as_ref().ok());
        let evidence = Evidence {
            version_headers: &self.versions,
            message: &message,
            session: found.and_then(|session| session.version()),
            session_presented: session.is_some(),
        };
        let Classified { version, strip_reserved } = classify::classify(&evidence)?;
        match version.era() {
            Era::Modern => self.modern(message, version).await,
            Era::Legacy => {
                let session = session.transpose()?;
                // Spliced out, so that a dual-era server cannot take this for a modern message (C22).
                let message =
                    if strip_reserved { classify::without_reserved(&message, &self.gateway.limits)? } else { message };
                self.legacy(message, version, session).await
            }
        }
    }

    async fn modern(&self, message: Message, version: Version) -> Result<Turn, Refusal> {
        if !classify::method_exists(version, &message) {
            return Err(Violation::MethodUnknown.into());
        }
        if message.method() == Some("notifications/cancelled") {
            // Over HTTP a closed stream cancels (C4, C8); ids of a stateless caller name nothing here and must not reach a shared server.
            return Err(Violation::CancelUnmatched.into());
        }
        let declared = message.meta(META_CAPABILITIES).map(Declared::of).unwrap_or_default();
        let headers = HeaderView(self.headers);
        let param_headers = if self.bare {
            // Written for each server, by its own tools.
            Vec::new()
        } else if message.kind() == Kind::Request {
            // Without the tool: its own headers are checked once the call is cleared, so that a refusal cannot tell that a hidden
            // tool exists.
            mirror::check_request(&message, &headers, None)?
        } else {
            mirror::check_notification(&message, &headers)?;
            Vec::new()
        };
        // After the headers (C22): whose task it is, or whether there is one, is nothing to somebody who cannot use tasks.
        if message.kind() == Kind::Request && capabilities::needs_tasks(&message) && !declared.tasks {
            return Err(Violation::CapabilityMissing { required: capabilities::DECLARES_TASKS }.into());
        }
        let legs = self.placing(None).place(message)?;
        self.turn(legs, Exchange { version, session: None, param_headers, answers: None, opening: None }).await
    }

    async fn legacy(&self, message: Message, version: Version, session: Option<Arc<Session>>) -> Result<Turn, Refusal> {
        if message.method() == Some("initialize") {
            return self.initialize(message, version, session).await;
        }
        let session = session.ok_or(Violation::SessionMissing)?;
        let answers = match (message.kind(), message.id()) {
            (Kind::Result | Kind::Error, Some(id)) => Some(session.answered(id).ok_or(Violation::ResponseUnmatched)?),
            (Kind::Result | Kind::Error, None) => return Err(Violation::ResponseUnmatched.into()),
            (Kind::Request | Kind::Notification, _) => None,
        };
        let legs = self.placing(Some(&session)).place(message)?;
        self.turn(legs, Exchange { version, session: Some(session), param_headers: Vec::new(), answers, opening: None })
            .await
    }

    async fn initialize(
        &self,
        message: Message,
        version: Version,
        session: Option<Arc<Session>>,
    ) -> Result<Turn, Refusal> {
        if let Some(session) = session {
            return self.initialize_again(&message, version, session);
        }
        let message = offer_legacy(message, version, self.gateway)?;
        let declared = message.param("capabilities").map(Declared::of).unwrap_or_default();
        let account = &self.identified.known.account;
        let session =
            self.gateway.sessions.open(account, &self.gateway.sealer, self.now, declared, self.endpoint.home())?;
        let opening = Opening::new(&self.gateway.sessions, &session);
        let legs = self.placing(None).place(message)?;
        let session = Some(session);
        let opening = Some(opening);
        self.turn(legs, Exchange { version, session, param_headers: Vec::new(), answers: None, opening }).await
    }

    /// From a client that comes back on another connection (J9), or that says it again on this one (J7): what the session was told once.
    fn initialize_again(&self, message: &Message, version: Version, session: Arc<Session>) -> Result<Turn, Refusal> {
        let again = session.greeting().filter(|_| self.bare).zip(message.id());
        let (greeting, id) = again.ok_or(Violation::AlreadyInitialized)?;
        let known = Some(greeting.edit().set_id(id).apply(&self.gateway.limits)?);
        let session = Some(session);
        let exchange = Exchange { version, session, param_headers: Vec::new(), answers: None, opening: None };
        let place = self.placing(exchange.session.as_deref()).everywhere().into_iter().next();
        let place = place.map(|place| Place { facing: None, ..place }).ok_or(Violation::SessionUnknown)?;
        let offers = place.server.upstream.catalogue().into();
        let context = self.context(&exchange, &place.server, offers, self.trace(Some(message))?);
        let call = Call { context: Arc::new(context), subject: Subject::Message(message.clone()) };
        Ok(Turn::One(Box::new(Read { known, ..self.read(place, call, &exchange) })))
    }

    fn bodiless(&self, close: bool) -> Result<Turn, Refusal> {
        if !classify::heeds_session(&self.versions) {
            return Err(Violation::MethodNotAllowed { allow: "POST" }.into());
        }
        let session = self.session().ok_or(Violation::SessionMissing)??;
        let version = classify::classify_sessionless_stream(&self.versions, session.version())?;
        let event = if close { None } else { self.last_event(&session)? };
        self.without_body(session, version, event, close)
    }

    fn without_body(
        &self,
        session: Arc<Session>,
        version: Version,
        event: Option<Event>,
        close: bool,
    ) -> Result<Turn, Refusal> {
        let session = Some(session);
        let exchange = Exchange { version, session, param_headers: Vec::new(), answers: None, opening: None };
        let mut reads = Vec::with_capacity(self.endpoint.servers.len());
        for place in self.placing(exchange.session.as_deref()).everywhere() {
            let here = event.as_ref().filter(|event| event.at == place.at);
            // A broken reply goes on where it broke off; beside a standing stream those of the other servers begin anew.
            if here.is_none() && event.as_ref().is_some_and(|event| event.request.is_some()) {
                continue;
            }
            let subject = match here {
                _ if close => Subject::Close,
                Some(Event { id, request, .. }) => {
                    Subject::Stream { last_event_id: Some(id.clone()), request: request.clone().map(Box::new) }
                }
                None => Subject::Stream { last_event_id: None, request: None },
            };
            let offers = place.server.upstream.catalogue().into();
            let context = self.context(&exchange, &place.server, offers, self.trace(None)?);
            reads.push(self.read(place, Call { context: Arc::new(context), subject }, &exchange));
        }
        match (&self.endpoint.merging, reads.pop()) {
            (_, None) => Err(Violation::EventUnknown.into()),
            (None, Some(read)) => Ok(Turn::One(Box::new(read))),
            (Some(_), Some(last)) => {
                reads.push(last);
                Ok(Turn::Many(Box::new(Many { reads, pages: 0, opening: None, in_flight: None })))
            }
        }
    }

    /// Opens `Last-Event-ID`, which only this caller in this session can hold (A19).
    fn last_event(&self, session: &Session) -> Result<Option<Event>, Violation> {
        let mut values = self.headers.get_all(&LAST_EVENT_ID).iter();
        let Some(value) = values.next() else { return Ok(None) };
        if values.next().is_some() {
            return Err(Violation::HeaderRepeated { header: "last-event-id" });
        }
        let sealed = value.to_str().map_err(|_| Violation::EventUnknown)?;
        let opened = Event::open(&self.gateway.sealer, &session.sealed, sealed);
        opened.map(Some).ok_or(Violation::EventUnknown)
    }

    /// What the server offers. A tool that is not known may be new: before the first list is read the call waits for it; later the question
    /// is asked in the background and not often, so that neither time nor load tells an unknown name from a hidden one.
    async fn offers(&self, server: &Arc<Server>, message: &Message) -> Snapshot {
        let offers = Snapshot::from(server.upstream.catalogue());
        let name = message.name().filter(|_| message.method() == Some("tools/call"));
        if name.is_none_or(|name| offers.tool(name).is_some()) || !server.may_refresh(self.now) {
            return offers;
        }
        // Failing to refresh is no failure of this call: it is judged as a call of an unknown tool.
        if offers.is_read() {
            let server = Arc::clone(server);
            self.gateway.tasks.spawn(async move { drop(server.upstream.refresh().await) });
            return offers;
        }
        let _refreshed = server.upstream.refresh().await;
        server.upstream.catalogue().into()
    }

    fn trace(&self, message: Option<&Message>) -> Result<TraceContext, Refusal> {
        let values = |name: &HeaderName| {
            self.headers.get_all(name).iter().filter_map(|value| value.to_str().ok()).collect::<Vec<_>>()
        };
        let fresh_trace = random::id::<16>().ok_or_else(|| Refusal::Denial(no_entropy()))?;
        let fresh_span = random::id::<8>().ok_or_else(|| Refusal::Denial(no_entropy()))?;
        Ok(TraceContext::from_request(&values(&TRACEPARENT), &values(&TRACESTATE), message, fresh_trace, fresh_span))
    }
}

/// The trace a client names in its headers, for entries of requests that never became calls.
pub(crate) fn trace_id(headers: &HeaderMap) -> Option<String> {
    headers.get(&TRACEPARENT)?;
    let values =
        |name: &HeaderName| headers.get_all(name).iter().filter_map(|value| value.to_str().ok()).collect::<Vec<_>>();
    let trace = TraceContext::from_request(&values(&TRACEPARENT), &values(&TRACESTATE), None, [1; 16], [1; 8]);
    trace.given.then(|| trace.trace_id_hex().into())
}

/// A client that asks `initialize` for a version without a handshake is negotiated down (A31).
fn offer_legacy(message: Message, version: Version, gateway: &Gateway) -> Result<Message, Malformed> {
    let offered = message.param("protocolVersion");
    let text = offered.and_then(View::as_str).unwrap_or(Cow::Borrowed(""));
    let modern = Version::parse(&text).is_some_and(|known| known.era() == Era::Modern);
    match offered {
        Some(view) if modern => {
            let mut name = String::new();
            push_string(&mut name, version.as_str());
            message.edit().replace(view, &name).apply(&gateway.limits)
        }
        _ => Ok(message),
    }
}

fn no_entropy() -> Denial {
    let public = "the gateway cannot serve this now";
    gateway_denial(DenialCode::Unrecorded, public, "the operating system has no entropy")
}

/// Header fields as the core sees them.
struct HeaderView<'a>(&'a HeaderMap);

impl mirror::Headers for HeaderView<'_> {
    fn values(&self, lower_case_name: &str) -> [Option<&[u8]>; 2] {
        let parsed = [&METHOD, &NAME].into_iter().find(|known| known.as_str() == lower_case_name);
        let all = parsed.map_or_else(|| self.0.get_all(lower_case_name), |known| self.0.get_all(known));
        let mut values = all.iter().map(HeaderValue::as_bytes);
        [values.next(), values.next()]
    }

    fn with_prefix(&self, lower_case_prefix: &str) -> Vec<(String, &[u8])> {
        let named = self.0.iter().filter(|(name, _)| name.as_str().starts_with(lower_case_prefix));
        named.map(|(name, value)| (name.as_str().to_owned(), value.as_bytes())).collect()
    }
}
