//! One reply from its first arrival to its closed entry: every message inspected, counted, and recorded exactly once.

mod questions;

use std::borrow::Cow;
use std::collections::VecDeque;
use std::future::poll_fn;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use futures_util::{FutureExt, StreamExt};
use http::StatusCode;
use portcullis_core::call::{Interrupted, Subject};
use portcullis_core::clock::Timestamp;
use portcullis_core::gate::{Inspected, Inspection, Inspector};
use portcullis_core::guard::Finding;
use portcullis_core::ledger::{Entry, Status};
use portcullis_core::refusal::{Denial, Fault, FaultKind, Manner};
use portcullis_core::upstream::{Arrivals, Arrived, Media, Reply};
use portcullis_core::version::{Era, Version};
use portcullis_core::wire::{Kind, Message};
use tokio_util::sync::CancellationToken;

use crate::answer::{Asked, Refusal, status_of};
use crate::event::Event;
use crate::gateway::{Gateway, Plan};
use crate::identify::Permit;
use crate::place::Place;
use crate::session::{InFlight, Opening, Session, StreamGuard};

/// Beyond this nobody sets an alarm. A year: timers cannot be set for much longer.
const LONGEST: Duration = Duration::from_secs(365 * 86_400);

/// What a call holds until its reply has ended.
#[derive(Debug)]
#[expect(dead_code, reason = "places and ids are held, not read: dropping them gives them back")]
pub(crate) struct Baggage {
    pub(crate) place: Place,
    pub(crate) session: Option<Arc<Session>>,
    pub(crate) opening: Option<Opening>,
    pub(crate) in_flight: Option<InFlight>,
    pub(crate) permit: Arc<Permit>,
    /// When what proved the caller ends.
    pub(crate) until: Option<Timestamp>,
}

/// A reply under way.
pub(crate) struct Journey {
    gateway: Arc<Gateway>,
    plan: Arc<Plan>,
    arrivals: Arrivals,
    inspector: Inspector,
    entry: Entry,
    asked: Asked,
    baggage: Baggage,
    _stream: Option<StreamGuard>,
    /// The server gave event ids: the client can come back for the rest (A15, A20).
    resumable: bool,
    finished: bool,
    /// Of a standing stream: fires when those of this plan end.
    standing: Option<CancellationToken>,
    media: Media,
    /// The server's own HTTP status, a hint for ours.
    reply_status: Option<u16>,
    /// What the client's HTTP answer has for a status.
    status: StatusCode,
    /// The answer is a stream already, so its status is sent.
    streams: bool,
    /// Last words that wait for their delivery: the response, or ours.
    ready: VecDeque<Inspected>,
}

impl std::fmt::Debug for Journey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Journey").field("asked", &self.asked).field("finished", &self.finished).finish_non_exhaustive()
    }
}

impl Journey {
    pub(crate) fn new(
        gateway: Arc<Gateway>,
        plan: Arc<Plan>,
        reply: Reply,
        inspector: Inspector,
        entry: Entry,
        asked: Asked,
        baggage: Baggage,
    ) -> Self {
        let Reply { media, status, arrivals, attempts } = reply;
        let mut entry = entry;
        entry.attempted(attempts);
        // Of the plan that it is opened under; only what stands asks for it.
        let standing = asked.is_standing().then(|| gateway.standing.load().as_ref().clone());
        let stream = baggage.session.as_ref().map(|session| session.stream());
        Self {
            gateway,
            plan,
            arrivals,
            inspector,
            entry,
            asked,
            baggage,
            _stream: stream,
            resumable: false,
            finished: false,
            standing,
            media,
            reply_status: status,
            status: StatusCode::OK,
            streams: media == Media::EventStream,
            ready: VecDeque::new(),
        }
    }

    /// The next message for the client; `None` when the reply has ended and its entry is closed.
    pub(crate) fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<Inspected>> {
        loop {
            if let Some(inspected) = self.ready.pop_front() {
                return Poll::Ready(Some(self.delivered(inspected)));
            }
            if self.finished {
                return Poll::Ready(None);
            }
            match ready!(self.arrivals.as_mut().poll_next(cx)) {
                Some(Ok(arrived)) => {
                    if let Some(inspected) = self.arrived(arrived) {
                        return Poll::Ready(Some(self.delivered(inspected)));
                    }
                }
                // A report, not an end: the right answer may still follow.
                Some(Err(fault)) if fault.kind == FaultKind::AnswerUnmatched => self.note_fault(&fault),
                Some(Err(fault)) => self.failed(&fault),
                None => self.ended(),
            }
        }
    }

    pub(crate) async fn next(&mut self) -> Option<Inspected> {
        poll_fn(|cx| self.poll_next(cx)).await
    }

    fn delivered(&mut self, inspected: Inspected) -> Inspected {
        self.streams |= !inspected.is_response();
        self.entry.delivered(inspected.bytes().len());
        inspected
    }

    /// What goes on to the client, unless it is the reply's last word.
    fn arrived(&mut self, arrived: Arrived) -> Option<Inspected> {
        self.resumable |= arrived.event_id.is_some();
        if let Some(Err(fault)) = arrived.message.as_ref().map(|message| self.admissible(message)) {
            // Not what the protocol allows here: dropped, counted, recorded; the reply goes on (D-MUST of B12, C6).
            self.note_fault(&fault);
            return None;
        }
        let message = arrived.message.clone();
        if message.as_ref().is_some_and(|message| self.refuse_undeclared(message)) {
            return None;
        }
        if let Some(message) = message.as_ref().filter(|_| self.may_list_tools()) {
            self.baggage.place.server.upstream.observe(message);
        }
        self.tally(message.as_ref());
        match self.inspector.inspect(arrived) {
            Inspection::Pass(inspected, findings) => {
                self.found(findings);
                match message {
                    Some(message) if is_response(&message) => self.answered(&message, inspected),
                    Some(message) if message.kind() == Kind::Request => {
                        if self.await_answer(&message) {
                            self.record_server_request(&message, None);
                            return Some(inspected);
                        }
                    }
                    message => {
                        if let Some(method) = message.as_ref().and_then(Message::method) {
                            self.entry.notified(method);
                        }
                        return Some(inspected);
                    }
                }
            }
            Inspection::Refuse(request, denial, findings) => {
                self.found(findings);
                if let Some(message) = message {
                    self.record_server_request(&message, Some(&denial));
                }
                self.refuse_server(*request, &denial);
            }
            Inspection::Drop(denial, findings) => {
                self.found(findings);
                self.gateway.ledger.count("denial", denial.code.as_str());
            }
            Inspection::Cut(denial, findings) => {
                self.found(findings);
                self.gateway.ledger.count("denial", denial.code.as_str());
                let code = denial.code.as_str().to_owned();
                self.say(&Refusal::Denial(plain(denial)));
                self.finish(Status::Cut, Some(code), None);
            }
        }
        None
    }

    /// What the server asks or tells is judged by what the session has called by now; a stream may stand for hours.
    fn tally(&mut self, message: Option<&Message>) {
        let judged = message.is_some_and(|message| message.method().is_some()) && self.plan.gate.heeds_tally();
        if let Some(session) = self.baggage.session.as_ref().filter(|_| judged) {
            self.inspector.tallied(session.so_far(self.inspector.call()));
        }
    }

    /// Whether the client may learn of tools here, and so call them.
    fn may_list_tools(&self) -> bool {
        let interrupted = self.interrupted().map(|request| request.method.as_str());
        interrupted.or(self.asked.method.as_deref()) == Some("tools/list")
    }

    /// The request whose broken reply this stream goes on with.
    fn interrupted(&self) -> Option<&Interrupted> {
        match &self.inspector.call().subject {
            Subject::Stream { request, .. } => request.as_deref(),
            _ => None,
        }
    }

    /// Which messages may come on this reply at all.
    fn admissible(&self, message: &Message) -> Result<(), Fault> {
        let awaited = self.interrupted().map(|request| &request.id).or(self.asked.id.as_ref());
        match (message.kind(), awaited) {
            (Kind::Request, _) if self.asked.modern => {
                Err(Fault::new(FaultKind::Garbage, "a server request in a modern reply (C6)"))
            }
            (Kind::Result | Kind::Error, None) => {
                Err(Fault::new(FaultKind::AnswerUnmatched, "a response on a stream that asked nothing (A12)"))
            }
            (Kind::Result | Kind::Error, Some(awaited)) if message.id() != Some(awaited) => {
                Err(Fault::new(FaultKind::AnswerUnmatched, "a response to an id nobody asked with (A18)"))
            }
            _ => Ok(()),
        }
    }

    fn answered(&mut self, message: &Message, inspected: Inspected) {
        if let Some(opening) = self.baggage.opening.take() {
            let version =
                message.result_member("protocolVersion").and_then(|version| Version::parse(&version.as_str()?));
            match version.filter(|version| version.era() == Era::Legacy) {
                Some(version) => opening.opened(version),
                None if message.kind() == Kind::Result => {
                    self.failed(&Fault::new(
                        FaultKind::Garbage,
                        "`initialize` was answered with a version we do not speak (B4)",
                    ));
                    return;
                }
                None => drop(opening),
            }
        }
        if let Some(session) = self.baggage.session.as_ref().filter(|_| message.kind() == Kind::Result) {
            session.agreed(self.baggage.place.at, self.inspector.call(), self.baggage.until);
        }
        if self.gateway.ledger.keeps_content()
            && let (Some(outcome), Some(result)) = (self.entry.outcome(), message.result().or_else(|| message.error()))
        {
            outcome.result = Some(result.text().to_owned());
        }
        self.entry.delivered(inspected.bytes().len());
        self.ready.push_back(inspected);
        // A second answer that is there already is worth knowing about; nobody would read it later.
        if let Some(Some(Err(fault))) = self.arrivals.next().now_or_never() {
            self.note_fault(&fault);
        }
        if !self.streams && message.kind() == Kind::Error {
            let era = if self.asked.modern { Era::Modern } else { Era::Legacy };
            self.status = status_of(era, message.error_code(), self.reply_status);
        }
        // Counted above, since closing the entry ends the counting.
        self.finish(Status::Answered, message.error_code().map(|code| code.to_string()), None);
    }

    fn failed(&mut self, fault: &Fault) {
        self.gateway.ledger.count("fault", fault.kind.code());
        self.gateway.session_lost(self.inspector.call(), fault);
        if self.asked.id.is_some() {
            self.say(&Refusal::Fault(fault.clone()));
        }
        self.entry.attempted(fault.attempts.clone());
        self.finish(Status::Failed, Some(fault.kind.code().to_owned()), Some(fault.detail.clone()));
    }

    fn ended(&mut self) {
        let standing = self.asked.id.is_none();
        if standing || self.resumable {
            self.finish(Status::Ended, None, (!standing).then(|| "the client may resume".to_owned()));
        } else {
            self.failed(&Fault::new(FaultKind::Died, "the reply ended without a response"));
        }
    }

    /// Our own last word, counted before the entry is closed.
    fn say(&mut self, refusal: &Refusal) {
        if let Some(message) = refusal.message(&self.asked) {
            self.entry.delivered(message.bytes().len());
            self.ready.push_back(message);
        }
    }

    fn finish(&mut self, status: Status, code: Option<String>, detail: Option<String>) {
        if let Some(outcome) = self.entry.outcome() {
            outcome.http_status = Some(self.status.as_u16());
        }
        self.entry.close(status, code, detail);
        self.finished = true;
    }

    fn found(&mut self, findings: Vec<Finding>) {
        for finding in findings {
            self.gateway.ledger.count(finding.guard, finding.code);
            self.entry.found(finding);
        }
    }

    fn note_fault(&mut self, fault: &Fault) {
        let detail = fault.detail.clone();
        let effect = portcullis_core::guard::Effect::Cut;
        self.found(vec![Finding { guard: "gateway", code: fault.kind.code(), detail, effect }]);
    }

    /// A notification, response or session end was taken: nothing more to come.
    pub(crate) fn accepted(&mut self, status: StatusCode) {
        self.status = status;
        self.finish(Status::Accepted, None, None);
    }

    pub(crate) const fn media(&self) -> Media {
        self.media
    }

    /// From here on the answer is a stream.
    pub(crate) const fn becomes_stream(&mut self) {
        self.streams = true;
    }

    /// HTTP status of an answer that is one JSON document.
    pub(crate) const fn status(&self) -> StatusCode {
        self.status
    }

    /// When the gateway wants this reply to end: at once for standing streams, at a reload too, so that no stream outlives the plan it
    /// was opened under; after the drain for calls.
    pub(crate) fn stop_signal(&self) -> CancellationToken {
        self.standing.as_ref().unwrap_or_else(|| self.gateway.overdue.token()).clone()
    }

    /// How long a standing stream may stand: what proved its caller ends, and nobody would ask again. Anything else is soon over and was
    /// asked for in time.
    pub(crate) fn stands_for(&self) -> Option<Duration> {
        let until = self.baggage.until.filter(|_| self.asked.is_standing())?;
        stands_for(until, self.gateway.clock.now())
    }

    /// What proved the caller of a standing stream has ended.
    pub(crate) fn outlived(&mut self) {
        self.finish(Status::Ended, None, Some("what proved the caller has ended".to_owned()));
    }

    /// Nobody waits for this any more; the server hears of it.
    pub(crate) fn gives_up(&mut self, fault: &Fault) {
        if !self.finished {
            self.gateway.cancel(&self.baggage.place.server, &self.inspector, "the gateway waited long enough");
            self.failed(fault);
        }
    }

    /// Ends the reply now; an open call gets an error with its id.
    pub(crate) fn stop(&mut self) -> Option<Inspected> {
        if self.asked.is_standing() {
            self.finish(Status::Ended, None, Some("the gateway stopped or reloaded".to_owned()));
            return None;
        }
        self.failed(&Fault::new(FaultKind::ShuttingDown, "drained"));
        self.ready.pop_front()
    }

    pub(crate) fn keep_alive(&self) -> Duration {
        self.gateway.settings.timeouts.keep_alive()
    }

    /// The event id as this client, in this session, may hold it.
    pub(crate) fn seal_event(&self, id: &str) -> Option<String> {
        let session = self.baggage.session.as_ref()?;
        let call = self.inspector.call();
        let request = match (&call.subject, &self.asked.id) {
            (Subject::Stream { request, .. }, _) => request.as_deref().map(Cow::Borrowed),
            (_, Some(id)) => {
                let (id, method) = (id.clone(), call.method().to_owned());
                Some(Cow::Owned(Interrupted { id, method, name: call.name().map(str::to_owned) }))
            }
            _ => None,
        };
        Event::seal(&self.gateway.sealer, &session.sealed, self.baggage.place.at, id, request.as_deref())
    }

    /// The client hung up. Modern: that cancels, so everything is dropped (C8). Legacy: it does not (A17); a resumable reply is
    /// left for the client to come back to, any other runs to its end unseen.
    pub(crate) fn client_left(mut self: Box<Self>) {
        if self.asked.is_standing() && !self.finished {
            // Standing streams end only this way or by ours: nothing was left unanswered.
            self.finish(Status::Ended, None, Some("the client closed it".to_owned()));
            return;
        }
        let runs_on = !self.finished && !self.asked.modern && !self.resumable;
        let Ok(runtime) = tokio::runtime::Handle::try_current() else { return };
        if !runs_on {
            return;
        }
        let (tasks, at_most) = (self.gateway.tasks.clone(), self.gateway.settings.timeouts.orphan());
        let overdue = self.gateway.overdue.token().clone();
        tasks.spawn_on(
            async move {
                let unseen = async { while self.next().await.is_some() {} };
                let gives_up = tokio::select! {
                    biased;
                    () = overdue.cancelled() => true,
                    ended = tokio::time::timeout(at_most, unseen) => ended.is_err(),
                };
                if gives_up {
                    // Dropping the journey closes its entry as abandoned.
                    self.gateway.cancel(&self.baggage.place.server, &self.inspector, "its client went away long ago");
                }
            },
            &runtime,
        );
    }
}

/// How long something may stand; `None` when nobody would live to see the end.
pub(crate) fn stands_for(until: Timestamp, now: Timestamp) -> Option<Duration> {
    Some(until.since(now)).filter(|left| *left < LONGEST)
}

fn is_response(message: &Message) -> bool {
    matches!(message.kind(), Kind::Result | Kind::Error)
}

/// A blocked answer is an error, not a tool result: the tool did run.
fn plain(denial: Denial) -> Denial {
    Denial { manner: Manner::Plain, ..denial }
}
