//! One connection that carries messages both ways without HTTP around them: a WebSocket, or our own standard input and output. Messages take
//! the steps that they take over HTTP, by the rules of stdio (J15); this file says when, and for how long. How they are framed is for others.

mod outlet; // what is to be written
mod stream; // what the server says by itself, and replies that broke off

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::StatusCode;
use portcullis_core::classify::META_VERSION;
use portcullis_core::gate::Inspected;
use portcullis_core::refusal::{Denial, DenialCode, Violation};
use portcullis_core::version::{Era, Version};
use portcullis_core::wire::{self, Direction, Kind, Malformed, Message};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

pub(crate) use self::outlet::Outlet;
use crate::answer::{Asked, Refusal, Unread, gateway_denial};
use crate::answering;
use crate::desk::{Airborne, Desk, Parcel};
use crate::endpoint::Endpoint;
use crate::envelope;
use crate::exchange::{self, Delivery, shutting_down};
use crate::forward;
use crate::gateway::Gateway;
use crate::identify::{Identified, Permit};
use crate::read;
use crate::record::RefusedFacts;
use crate::session::Session;
use crate::surviving::{Surviving, Work};

/// How long the next message waits for a notification or a response to be taken, so that the server hears things in the order they were
/// said. A server that takes longer does not hold up the connection.
const ORDERLY: Duration = Duration::from_secs(1);

/// One connection.
#[derive(Debug)]
pub(crate) struct Line {
    pub(crate) gateway: Arc<Gateway>,
    endpoint: Arc<Endpoint>,
    pub(crate) came: Came,
    /// The client can come back to its session: it is told the id.
    resumable: bool,
    /// What belongs to no session.
    pub(crate) own: Arc<Desk>,
    /// The legacy session of this connection, once there is one.
    pub(crate) seat: watch::Sender<Option<Arc<Seat>>>,
}

/// Where it comes from, for the record of what is refused.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Came {
    pub(crate) client: std::net::IpAddr,
    pub(crate) proxy: Option<std::net::IpAddr>,
}

/// A legacy session at its connection.
#[derive(Debug)]
pub(crate) struct Seat {
    pub(crate) session: Arc<Session>,
    pub(crate) desk: Arc<Desk>,
    /// Fires when another connection has the session (J9).
    pub(crate) taken: CancellationToken,
    /// The server may talk by itself.
    listens: std::sync::Once,
}

/// A request that was read far enough to be begun.
struct Request {
    message: Message,
    session: Option<Arc<Session>>,
    permit: Permit,
}

impl Line {
    pub(crate) fn new(gateway: &Arc<Gateway>, endpoint: &Arc<Endpoint>, came: Came, resumable: bool) -> Arc<Self> {
        let (gateway, endpoint, seat) = (Arc::clone(gateway), Arc::clone(endpoint), watch::Sender::new(None));
        Arc::new(Self { gateway, endpoint, came, resumable, own: Desk::new(), seat })
    }

    /// Takes one message of the client's. Returns when the next may be read.
    pub(crate) async fn receive(self: &Arc<Self>, identified: &Arc<Identified>, text: Bytes) {
        let bytes = text.len();
        if let Err(unread) = self.take(identified, text).await {
            self.refuse(*unread, identified, bytes, &self.own).await;
        }
    }

    /// Something that came and is no message, such as one that is too large.
    pub(crate) async fn unreadable(&self, identified: &Arc<Identified>, malformed: Malformed, bytes: usize) {
        self.refuse(*Unread::new(malformed, Asked::default()), identified, bytes, &self.own).await;
    }

    async fn take(self: &Arc<Self>, identified: &Arc<Identified>, text: Bytes) -> Result<(), Box<Unread>> {
        let limits = &self.gateway.settings.limits;
        let permit = identified.known.account.admit(limits.requests_per_caller, &self.gateway.held);
        let held = permit.and_then(|mut permit| permit.hold(text.len(), limits).map(|()| permit));
        let permit = held.map_err(|denial| self.salvaged(&text, denial))?;
        let message = Message::read(text.clone(), Direction::ToServer, &self.gateway.limits);
        let message = message.map_err(|malformed| self.salvaged(&text, malformed))?;
        let asked = || Asked {
            id: message.id().cloned(),
            method: message.method().map(Into::into),
            modern: is_modern(&message),
            refusals: self.endpoint.plan.load().refusals,
            ..Asked::default()
        };
        let unwrapped = self.unwrapped(identified, &message);
        let (message, session) = unwrapped.map_err(|refusal| Unread::new(refusal, asked()))?;
        if message.kind() != Kind::Request {
            return self.told(identified, Request { message, session, permit }).await;
        }
        if self.gateway.draining.is_said() {
            return Err(Unread::new(shutting_down(), asked()));
        }
        let desk = self.desk(session.as_ref(), &message);
        let flight = message.id().and_then(|id| desk.begin(id, is_modern(&message)));
        let flight = flight.ok_or_else(|| Unread::new(Violation::IdInUse, asked()))?;
        let (line, identified, calls) = (Arc::clone(self), Arc::clone(identified), desk.calls.clone());
        let request = Request { message, session, permit };
        calls.spawn(async move { line.asked(identified, request, flight, desk).await });
        Ok(())
    }

    fn salvaged(&self, text: &[u8], refusal: impl Into<Refusal>) -> Box<Unread> {
        let id = wire::salvage_id(text, &self.gateway.limits);
        Unread::new(refusal, Asked { id, refusals: self.endpoint.plan.load().refusals, ..Asked::default() })
    }

    /// The message without what is not JSON-RPC's, and the session it belongs to.
    fn unwrapped(
        &self,
        identified: &Identified,
        message: &Message,
    ) -> Result<(Message, Option<Arc<Session>>), Refusal> {
        let seat = self.seat.borrow().as_ref().map(|seat| Arc::clone(&seat.session));
        let Some((bare, named)) = envelope::take_off(message, &self.gateway.limits)? else {
            return Ok((message.clone(), seat));
        };
        // Means nothing to a modern message, and is looked up for none (C22b).
        if is_modern(message) {
            return Ok((bare, seat));
        }
        let named = named.ok_or(Violation::SessionUnknown)?;
        let (account, now) = (&identified.known.account, self.gateway.clock.now());
        let found = self.gateway.sessions.find(account, &self.gateway.sealer, &named, now, &self.endpoint.path)?;
        match seat {
            Some(seat) if seat.key == found.key => Ok((bare, Some(seat))),
            None if message.method() == Some("initialize") => Ok((bare, Some(found))),
            // One session for one connection, and `initialize` to come back to it (J9).
            Some(_) | None => Err(Violation::SessionUnknown.into()),
        }
    }

    /// Where the answers to a message go: those of a session stay when the connection is lost.
    fn desk(&self, session: Option<&Arc<Session>>, message: &Message) -> Arc<Desk> {
        let seat = self.seat.borrow();
        let seated = seat.as_ref().filter(|_| session.is_some() && !is_modern(message));
        seated.map_or_else(|| Arc::clone(&self.own), |seat| Arc::clone(&seat.desk))
    }

    /// A notification, or an answer to what the server asked.
    async fn told(self: &Arc<Self>, identified: &Arc<Identified>, told: Request) -> Result<(), Box<Unread>> {
        let cancels = told.message.cancelled_id().filter(|_| told.message.method() == Some("notifications/cancelled"));
        let desks = [Some(Arc::clone(&self.own)), self.seat.borrow().as_ref().map(|seat| Arc::clone(&seat.desk))];
        let cancels = cancels.and_then(|id| {
            let found = desks.into_iter().flatten().find_map(|desk| Some((desk.is_modern(&id)?, desk)));
            found.map(|(modern, desk)| (modern, desk, id))
        });
        if let Some((true, desk, id)) = &cancels {
            // The reply is dropped, which tells its server in the server's own way (C8).
            desk.cancel(id);
            return Ok(());
        }
        let line = Arc::clone(self);
        let identified = Arc::clone(identified);
        // In a task of its own, so that it goes on when the next message does not wait for it any more.
        let work = self.own.calls.spawn(async move {
            let bytes = told.message.bytes().len();
            if let Err(unread) = line.tell(&identified, told).await {
                line.refuse(*unread, &identified, bytes, &line.own).await;
            }
            if let Some((_, desk, id)) = cancels {
                desk.cancel(&id);
            }
        });
        let _later = tokio::time::timeout(ORDERLY, work).await;
        Ok(())
    }

    async fn tell(self: &Arc<Self>, identified: &Arc<Identified>, told: Request) -> Result<(), Box<Unread>> {
        let Request { message, session, permit } = told;
        let begins = message.method() == Some("notifications/initialized");
        let turn = read::bare(&self.gateway, &self.endpoint, identified, message, session, permit).await?;
        let delivered = pin!(answering::deliver(&self.gateway, turn, StatusCode::ACCEPTED));
        exchange::in_time(&self.gateway, delivered).await?;
        let seat = self.seat.borrow().clone().filter(|_| begins);
        if let Some(seat) = seat {
            self.listen(identified, &seat);
        }
        Ok(())
    }

    /// From now on the server may talk to the session by itself.
    fn listen(self: &Arc<Self>, identified: &Arc<Identified>, seat: &Arc<Seat>) {
        seat.listens.call_once(|| {
            let (line, identified, seat) = (Arc::clone(self), Arc::clone(identified), Arc::clone(seat));
            self.gateway.tasks.spawn(async move { line.standing(&identified, &seat).await });
        });
    }

    /// A request, to its answer.
    async fn asked(self: Arc<Self>, identified: Arc<Identified>, request: Request, flight: Airborne, desk: Arc<Desk>) {
        let cancelled = flight.cancelled.clone();
        let bytes = request.message.bytes().len();
        let done = self.answered(&identified, request, flight, &desk);
        let ended = tokio::select! {
            biased;
            // What is dropped here goes on unseen if it is legacy (A17), and is cancelled if it is modern (C8).
            () = cancelled.cancelled() => return,
            ended = done => ended,
        };
        if let Err(unread) = ended {
            self.refuse(*unread, &identified, bytes, &desk).await;
        }
    }

    async fn answered(
        self: &Arc<Self>,
        identified: &Arc<Identified>,
        request: Request,
        flight: Airborne,
        desk: &Arc<Desk>,
    ) -> Result<(), Box<Unread>> {
        let Request { message, session, permit } = request;
        let initialize = message.method() == Some("initialize");
        let turn = read::bare(&self.gateway, &self.endpoint, identified, message, session, permit).await?;
        let read = turn.read();
        let asked =
            read.map(|read| forward::asked(&self.gateway, &read.call, &self.endpoint.plan.load())).unwrap_or_default();
        let legacy = !asked.modern;
        let session = read.and_then(|read| read.session.clone()).filter(|_| legacy);
        let work: Work<_> = {
            let gateway = Arc::clone(&self.gateway);
            Box::pin(async move {
                let begun = pin!(answering::begin(&gateway, turn));
                exchange::in_time(&gateway, begun).await.map(Delivery::new)
            })
        };
        let mut delivery = if legacy { Surviving::new(work, Arc::clone(&self.gateway)).await } else { work.await }?;
        let mut broken = stream::Broken::default();
        while let Some(message) = delivery.next().await {
            broken.saw(&message, &delivery);
            if message.is_response() {
                drop(flight);
                let opened = session.filter(|session| initialize && session.version().is_some());
                let told = opened.as_ref().filter(|_| self.resumable).map(|session| session.sealed.clone());
                if let Some(session) = opened {
                    self.greeted(&session, &message);
                    self.sit(identified, session);
                }
                desk.put(match initialize {
                    true => Parcel::greeting(&message, told.as_deref(), &self.gateway.limits),
                    false => Parcel::of(&message),
                })
                .await;
                return Ok(());
            }
            self.pass(desk, message).await;
        }
        if let Some(refusal) = delivery.refusal() {
            return Err(refusal);
        }
        match session {
            Some(session) if !initialize => self.resume(identified, &session, broken, desk, asked).await,
            // A standing reply that a reload ended, or whose caller is proven no longer: over HTTP its stream would close.
            _ => Err(Unread::recorded(Refusal::Denial(ended()), asked)),
        }
    }

    /// What a client that comes back will be told again (J9).
    fn greeted(&self, session: &Session, greeting: &Inspected) {
        // Once more through the reader: it was inspected as it left, and is judged and inspected when it is told again.
        if let Ok(greeting) = Message::read(greeting.bytes().clone(), Direction::ToClient, &self.gateway.limits) {
            session.greeted(greeting);
        }
    }

    /// Everything but a response.
    async fn pass(&self, desk: &Desk, message: Inspected) {
        // Events that only prime a stream are framing, and not ours.
        if !message.bytes().is_empty() {
            desk.put(Parcel::of(&message)).await;
        }
    }

    /// The session has its connection; if it had another, that one is closed (J9).
    fn sit(self: &Arc<Self>, identified: &Arc<Identified>, session: Arc<Session>) {
        let seated = self.seat.borrow().as_ref().is_some_and(|seat| seat.session.key == session.key);
        if seated {
            return;
        }
        let desk = Arc::clone(session.desk());
        let taken = desk.take();
        let comes_back = session.was_seated();
        let seat = Arc::new(Seat { session, desk, taken, listens: std::sync::Once::new() });
        self.seat.send_replace(Some(Arc::clone(&seat)));
        if comes_back {
            self.listen(identified, &seat);
        }
    }

    /// The client is gone. Its modern requests are cancelled; a legacy session waits for it, where it knows how to come back, and else runs
    /// to its end unseen (A17, J8).
    pub(crate) fn hang_up(&self) {
        self.own.cancel_all();
        let Some(seat) = self.seat.send_replace(None) else { return };
        if seat.taken.is_cancelled() {
            return;
        }
        seat.taken.cancel();
        if !self.resumable {
            seat.desk.cancel_all();
            seat.session.leave();
            return;
        }
        let (gateway, desk) = (Arc::clone(&self.gateway), Arc::clone(&seat.desk));
        // What nobody came back for in the time that orphans have.
        self.gateway.tasks.spawn(async move {
            let waited = tokio::time::sleep(gateway.settings.timeouts.orphan());
            tokio::select! {
                () = gateway.draining.token().cancelled() => {}
                () = waited => {}
            }
            if desk.is_abandoned() {
                desk.cancel_all();
            }
        });
    }

    /// Answers for everything that was asked are on their desks.
    pub(crate) async fn answered_all(&self) {
        let seat = self.seat.borrow().clone();
        for desk in [Some(&self.own), seat.as_ref().map(|seat| &seat.desk)].into_iter().flatten() {
            desk.calls.close();
            desk.calls.wait().await;
        }
    }

    async fn refuse(&self, unread: Unread, identified: &Identified, bytes: usize, desk: &Desk) {
        let caller = Some(Arc::clone(&identified.known.caller));
        let facts = RefusedFacts { proxy: self.came.proxy, caller, bytes, ..RefusedFacts::of(self.came.client) };
        let unreadable = matches!(unread.refusal, Refusal::Malformed(_));
        let (refusal, asked) = exchange::refused(&self.gateway, unread, &facts);
        // Nobody waits for an answer to a notification, and here there is no status either.
        let answered = asked.id.is_some() || unreadable;
        if let Some(message) = refusal.message(&asked).filter(|_| answered) {
            desk.put(Parcel::of(&message)).await;
        }
    }
}

fn ended() -> Denial {
    gateway_denial(
        DenialCode::ShuttingDown,
        "the gateway ended this; ask again",
        "a standing reply ended without an answer",
    )
}

/// A message of a version without sessions, by its own word (ST26).
fn is_modern(message: &Message) -> bool {
    let version = message.meta(META_VERSION).and_then(|version| version.as_str());
    // One that is unknown may be newer; it is refused in any case.
    version.is_some_and(|version| Version::parse(&version).is_none_or(|version| version.era() == Era::Modern))
}

#[cfg(test)]
mod tests;
