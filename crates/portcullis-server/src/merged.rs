//! One answer from several servers. Each got the message as a call of its own, judged, inspected and recorded like any other; here what came
//! back becomes one. A server that fails leaves the others working, unless the endpoint wants all or nothing.

mod failures;
mod leg;

use std::collections::VecDeque;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use http::StatusCode;
use portcullis_core::gate::Inspected;
use portcullis_core::merge::{MergeError, OwnHello};
use portcullis_core::own::quoted;
use portcullis_core::refusal::{Fault, FaultKind};
use portcullis_core::upstream::Media;
use portcullis_core::version::{Era, Version};
use portcullis_core::wire::{Kind, Limits, View};
use tokio::time::Sleep;
use tokio_util::sync::CancellationToken;

use self::failures::Failures;
use self::leg::{Leg, Outcome};
use crate::answer::{Asked, Refusal, Unread, status_of};
use crate::cursor::Cursor;
use crate::endpoint::{Endpoint, Missing};
use crate::forward::asked;
use crate::gateway::Gateway;
use crate::journey::stands_for;
use crate::read::{Many, Read};
use crate::session::{InFlight, Opening, Session};

/// Levels (RFC 5424) at which warnings are heard.
const WARNED: [&str; 4] = ["debug", "info", "notice", "warning"];

/// Pages of a merged list. 100: as many as we read ourselves.
const MOST_PAGES: usize = 100;

const META_LOG_LEVEL: &str = "io.modelcontextprotocol/logLevel";

const SERVER_INFO: &str = concat!(r#"{"name":"portcullis","version":""#, env!("CARGO_PKG_VERSION"), r#""}"#);

/// Replies that become one.
pub(crate) struct Merged {
    gateway: Arc<Gateway>,
    endpoint: Arc<Endpoint>,
    asked: Asked,
    version: Version,
    /// Whose the cursors are.
    owner: String,
    /// Pages of the list that came before.
    pages: usize,
    session: Option<Arc<Session>>,
    legs: Vec<Leg>,
    /// Whose turn it is, so that one that never stops cannot starve the others.
    turn: usize,
    /// Whose message came last.
    last: usize,
    ready: VecDeque<Inspected>,
    /// Acknowledgements of a subscription, until all servers have acknowledged: nothing may come before (C70).
    acknowledgements: Option<Vec<Inspected>>,
    /// The client wants to be told what is amiss.
    logs: bool,
    /// For answers, and for the beginning of subscriptions; streams stand as long as they like.
    deadline: Option<Pin<Box<Sleep>>>,
    stands_for: Option<Duration>,
    /// What we have to say ourselves, on the stream that the servers of a session speak on.
    news: Option<Pin<Box<dyn Future<Output = String> + Send>>>,
    stop: CancellationToken,
    opening: Option<Opening>,
    _in_flight: Option<InFlight>,
    refused: Option<Box<Unread>>,
    status: StatusCode,
    streams: bool,
    finished: bool,
}

impl std::fmt::Debug for Merged {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Merged").field("asked", &self.asked).field("legs", &self.legs).finish_non_exhaustive()
    }
}

impl Merged {
    /// Sends nothing before it is polled. `None` without a single leg.
    pub(crate) fn new(gateway: &Arc<Gateway>, many: Many) -> Option<Self> {
        let Many { reads, pages, opening, in_flight } = many;
        let first = reads.first()?;
        let endpoint = Arc::clone(&first.endpoint);
        let asked = asked(gateway, &first.call, &endpoint.plan.load());
        let (standing, subscribes) = (asked.is_standing(), asked.id.is_some() && asked.is_standing());
        let deadline = endpoint.merging.as_ref().map(|merging| merging.deadline).filter(|_| asked.id.is_some());
        let streams = asked.id.is_none();
        let news = first.session.clone().filter(|_| streams).map(|session| Box::pin(session.news()) as _);
        let stop = if standing { gateway.standing.load().as_ref().clone() } else { gateway.overdue.token().clone() };
        Some(Self {
            version: first.call.context.version,
            owner: first.permit.owner().to_owned(),
            pages,
            session: first.session.clone(),
            logs: wants_warnings(first),
            acknowledgements: subscribes.then(Vec::new),
            stands_for: first.until.filter(|_| standing).and_then(|until| stands_for(until, gateway.clock.now())),
            legs: reads.into_iter().map(|read| Leg::new(gateway, read)).collect(),
            gateway: Arc::clone(gateway),
            endpoint,
            turn: 0,
            last: 0,
            ready: VecDeque::new(),
            deadline: deadline.map(|at_most| Box::pin(tokio::time::sleep(at_most))),
            news,
            stop,
            opening,
            _in_flight: in_flight,
            refused: None,
            asked,
            status: StatusCode::OK,
            streams,
            finished: false,
        })
    }

    pub(crate) fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<Inspected>> {
        loop {
            if let Some(message) = self.ready.pop_front() {
                self.streams |= !message.is_response();
                return Poll::Ready(Some(message));
            }
            if self.finished {
                return Poll::Ready(None);
            }
            if self.deadline.as_mut().is_some_and(|deadline| deadline.as_mut().poll(cx).is_ready()) {
                self.deadline = None;
                self.give_up(&Fault::new(FaultKind::TimedOut, "no answer within the endpoint's deadline"));
            }
            if self.poll_acknowledgements(cx).is_pending() {
                return Poll::Pending;
            }
            if !self.ready.is_empty() {
                continue;
            }
            if let Some(message) = self.poll_legs(cx) {
                return Poll::Ready(Some(message));
            }
            if self.poll_news(cx) {
                continue;
            }
            if self.legs.iter().any(|leg| leg.outcome().is_none()) {
                return Poll::Pending;
            }
            self.conclude();
        }
    }

    fn poll_news(&mut self, cx: &mut Context<'_>) -> bool {
        let (Some(news), Some(session)) = (&mut self.news, &self.session) else { return false };
        let Poll::Ready(data) = news.as_mut().poll(cx) else { return false };
        self.news = Some(Box::pin(Arc::clone(session).news()));
        self.ready.push_back(Inspected::logged("warning", &data));
        true
    }

    /// Waits for every server's acknowledgement, if the client subscribes, and makes one of them.
    fn poll_acknowledgements(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let Some(acknowledgements) = &mut self.acknowledgements else { return Poll::Ready(()) };
        let mut waits = false;
        for leg in self.legs.iter_mut().filter(|leg| !leg.has_begun) {
            match leg.poll(cx) {
                Poll::Ready(message) => {
                    leg.has_begun = true;
                    acknowledgements.extend(message);
                }
                Poll::Pending => waits = true,
            }
        }
        if waits {
            return Poll::Pending;
        }
        self.deadline = None;
        let all = self.acknowledgements.take().unwrap_or_default();
        if let Some(id) = self.asked.id.as_ref().filter(|_| !all.is_empty()) {
            let parts: Vec<&Inspected> = all.iter().collect();
            self.ready.push_back(Inspected::acknowledged(id, &parts));
        }
        Poll::Ready(())
    }

    /// Waits until one server streams.
    ///
    /// # Errors
    /// None does; the first reason.
    pub(crate) async fn opened(&mut self) -> Result<(), Box<Unread>> {
        poll_fn(|cx| {
            let mut waits = false;
            for leg in &mut self.legs {
                match leg.poll_open(cx) {
                    Poll::Ready(true) => return Poll::Ready(()),
                    Poll::Ready(false) => {}
                    Poll::Pending => waits = true,
                }
            }
            if waits { Poll::Pending } else { Poll::Ready(()) }
        })
        .await;
        if self.legs.iter().any(|leg| leg.outcome().is_none()) {
            return Ok(());
        }
        let outcomes = std::mem::take(&mut self.legs).into_iter().filter_map(Leg::into_outcome);
        let refused =
            outcomes.filter_map(|outcome| if let Outcome::Refused(unread) = outcome { Some(unread) } else { None });
        refused.into_iter().next().map_or(Ok(()), Err)
    }

    /// A message of whoever has one, each in turn.
    fn poll_legs(&mut self, cx: &mut Context<'_>) -> Option<Inspected> {
        let count = self.legs.len();
        for step in 0..count {
            let at = (self.turn + step) % count;
            if let Some(Poll::Ready(Some(message))) = self.legs.get_mut(at).map(|leg| leg.poll(cx)) {
                self.turn = (at + 1) % count;
                self.last = at;
                self.streams = true;
                return Some(message);
            }
        }
        None
    }

    fn give_up(&mut self, fault: &Fault) {
        for leg in &mut self.legs {
            leg.give_up(fault, &self.asked);
        }
    }

    /// Everybody has answered, or will not.
    fn conclude(&mut self) {
        self.finished = true;
        let legs = std::mem::take(&mut self.legs);
        let mut parts: Vec<(Arc<str>, Inspected)> = Vec::new();
        let mut failures = Failures::default();
        for leg in legs {
            let (at, server) = (leg.at, Arc::clone(&leg.server));
            match leg.into_outcome() {
                Some(Outcome::Answered(message)) if message.kind() == Some(Kind::Result) => {
                    parts.push((server, message))
                }
                Some(Outcome::Answered(error)) => failures.answered(server, error),
                Some(Outcome::Refused(unread)) => {
                    if let (Refusal::Denial(_), Some(session), true) =
                        (&unread.refusal, &self.session, self.opening.is_some())
                    {
                        session.goes_without(at);
                    }
                    failures.refused(server, unread);
                }
                Some(Outcome::Over) | None => {}
            }
        }
        if self.asked.id.is_none() {
            return;
        }
        let cursor = self.cursor(&parts, &mut failures);
        let all = self.endpoint.merging.as_ref().is_some_and(|merging| merging.missing == Missing::Strict);
        if parts.is_empty() || (all && !failures.missing.is_empty()) {
            return self.refuse(failures);
        }
        self.tell(&failures);
        self.join(&parts, cursor.as_deref(), &failures);
    }

    /// What is missing, to the client's log.
    fn tell(&mut self, failures: &Failures) {
        for (server, _, why) in failures.missing.iter().filter(|_| self.logs) {
            let data = format!(r#"{{"server":{},"message":{}}}"#, quoted(server), quoted(why));
            self.ready.push_back(Inspected::logged("warning", &data));
        }
    }

    fn join(&mut self, parts: &[(Arc<str>, Inspected)], cursor: Option<&str>, failures: &Failures) {
        let (Some(id), Some(method)) = (self.asked.id.clone(), self.asked.method.clone()) else { return };
        let limits = self.room(parts.len());
        let hello = OwnHello {
            era: self.version.era(),
            server_info: SERVER_INFO,
            protocol_version: self.version.as_str(),
            supported_versions: &Version::names(Era::Modern).collect::<Vec<_>>(),
            instructions: None,
        };
        let parts: Vec<(&str, &Inspected)> = parts.iter().map(|(server, part)| (&**server, part)).collect();
        match Inspected::merged(&method, &id, &parts, &failures.named(), cursor, &hello, &limits) {
            Ok(whole) => {
                if let Some(opening) = self.opening.take() {
                    opening.opened(self.version);
                }
                self.ready.push_back(whole);
            }
            Err(error) => {
                let kind = match error {
                    MergeError::TooLarge { .. } => FaultKind::TooLarge,
                    MergeError::AllFailed | MergeError::Method | MergeError::NoResult { .. } => FaultKind::Garbage,
                };
                let fault = Fault::new(kind, error.to_string());
                self.say(Unread::recorded(Refusal::Fault(fault), self.asked.clone()));
            }
        }
    }

    /// A merged list may be as large as its parts may be together.
    fn room(&self, parts: usize) -> Limits {
        let limits = self.gateway.limits;
        Limits {
            bytes: limits.bytes.saturating_mul(parts),
            keys: limits.keys.saturating_mul(parts),
            members: limits.members.saturating_mul(parts),
            ..limits
        }
    }

    /// Where the servers' lists go on. One that has not ended after all these pages never will: what a client makes of the same cursor again, it
    /// cannot make of ours, which are never the same.
    fn cursor(&self, parts: &[(Arc<str>, Inspected)], failures: &mut Failures) -> Option<String> {
        let method = self.asked.method.as_deref().filter(|method| method.ends_with("/list"))?;
        let mut cursor = Cursor::after(self.pages + 1);
        for (server, part) in parts {
            let next = part.message().and_then(|part| part.result_member("nextCursor")?.as_str());
            let Some(next) = next else { continue };
            if cursor.pages() < MOST_PAGES {
                cursor.push(server, next.into_owned());
            } else {
                let fault = Fault::new(FaultKind::TooLarge, format!("`{method}` has more than {MOST_PAGES} pages"));
                failures.refused(Arc::clone(server), Unread::recorded(Refusal::Fault(fault), self.asked.clone()));
            }
        }
        cursor.seal(&self.gateway.sealer, &self.owner, method)
    }

    /// Nobody's answer can be used: the first reason is the answer.
    fn refuse(&mut self, failures: Failures) {
        match (failures.first, failures.error) {
            (Some(unread), _) => self.say(unread),
            (None, Some((error, code))) => {
                self.status = status_of(self.version.era(), code, None);
                self.ready.push_back(error);
            }
            (None, None) => {
                let fault = Fault::new(FaultKind::Died, "no server answered");
                self.say(Unread::recorded(Refusal::Fault(fault), self.asked.clone()));
            }
        }
    }

    /// With headers and status of its own, as long as nothing was sent.
    fn say(&mut self, unread: Box<Unread>) {
        if self.streams {
            self.ready.extend(unread.refusal.message(&self.asked));
        } else {
            self.refused = Some(unread);
        }
    }

    pub(crate) fn refusal(&mut self) -> Option<Box<Unread>> {
        self.refused.take()
    }

    pub(crate) const fn media(&self) -> Media {
        if self.streams { Media::EventStream } else { Media::Unframed }
    }

    pub(crate) const fn becomes_stream(&mut self) {
        self.streams = true;
    }

    pub(crate) const fn status(&self) -> StatusCode {
        self.status
    }

    pub(crate) fn stop_signal(&self) -> CancellationToken {
        self.stop.clone()
    }

    pub(crate) const fn stands_for(&self) -> Option<Duration> {
        self.stands_for
    }

    pub(crate) fn outlived(&mut self) {
        self.legs.iter_mut().for_each(|leg| leg.end(|journey| journey.outlived()));
        self.finished = true;
    }

    pub(crate) fn stop(&mut self) -> Option<Inspected> {
        if self.asked.is_standing() {
            self.legs.iter_mut().for_each(|leg| leg.end(|journey| drop(journey.stop())));
            self.finished = true;
            return None;
        }
        self.streams = true;
        self.give_up(&Fault::new(FaultKind::ShuttingDown, "drained"));
        self.conclude();
        self.ready.pop_front()
    }

    pub(crate) fn keep_alive(&self) -> Duration {
        self.gateway.settings.timeouts.keep_alive()
    }

    pub(crate) fn seal_event(&self, id: &str) -> Option<String> {
        self.legs.get(self.last)?.journey()?.seal_event(id)
    }

    pub(crate) fn client_left(self) {
        let runs_on = !self.asked.modern && !self.finished;
        for leg in self.legs {
            leg.client_left(&self.gateway, runs_on);
        }
    }
}

/// Whether the client asked to be told of warnings: in this request (C16), or for its session, which this request may do.
fn wants_warnings(read: &Read) -> bool {
    let warns = |level: View<'_>| level.as_str().is_some_and(|level| WARNED.contains(&&*level));
    let message = read.call.message();
    let Some(session) = &read.session else {
        return message.and_then(|message| message.meta(META_LOG_LEVEL)).is_some_and(warns);
    };
    if let Some(level) = message
        .filter(|message| message.method() == Some("logging/setLevel"))
        .and_then(|message| message.param("level"))
    {
        session.tell_warnings(warns(level));
    }
    session.tells_warnings()
}
