//! A circuit breaker around one transport of one server: calls to a server that keeps failing are refused at once instead of waiting for its timeout.
//!
//! Only what begins an exchange is stopped. Answers and notifications of the client belong to exchanges that began before, and the end of a session
//! costs nothing.

mod circuit; // closed, open, half-open
mod dice; // jitter from a seed
mod tools; // breakers of single tools
mod verdict; // what an outcome says about the server
mod window; // counts of the last while

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use futures_util::Stream;
use portcullis_core::call::{Call, Subject};
use portcullis_core::catalogue::Catalogue;
use portcullis_core::gate::Cleared;
use portcullis_core::refusal::{Fault, FaultKind};
use portcullis_core::upstream::{self, Arrivals, Arrived, Media, Pending, Reply, Upstream};
use portcullis_core::wire::{Kind, Message};
use tokio::time::Instant;

pub(crate) use self::circuit::{Circuit, Outcome, Permit};
pub use self::circuit::{Phase, Rules, Transition, Why};
pub(crate) use self::dice::Dice;
pub(crate) use self::tools::Tools;
pub(crate) use self::window::{Window, reaches};
use crate::bulkhead::stands;
use crate::health::{Health, Leave, Track};

/// One transport of one server, guarded.
#[derive(Debug)]
pub struct Breaker {
    inner: Arc<dyn Upstream>,
    track: Arc<Track>,
}

impl Breaker {
    /// Guards `inner` by what `track` knows, and tells it how each exchange ends.
    #[must_use]
    pub fn new(inner: Arc<dyn Upstream>, track: Arc<Track>) -> Arc<Self> {
        Arc::new(Self { inner, track })
    }

    pub(crate) const fn track(&self) -> &Arc<Track> {
        &self.track
    }

    /// Asks the server on our own account. While the breaker is open it is not asked; when its time is over, this is the probe.
    pub(crate) async fn examine(&self, patience: Duration) {
        let Ok(ticket) = self.begin(None) else { return };
        let late = || Err(Fault::new(FaultKind::TimedOut, format!("a check was not answered within {patience:?}")));
        let answer = tokio::time::timeout(patience, self.inner.check()).await.unwrap_or_else(|_| late());
        self.track.checked(answer.is_ok());
        match answer {
            Ok(()) => ticket.answered(Duration::ZERO),
            Err(fault) => ticket.settle(verdict::of_fault(&fault), verdict::of_check(&fault), Some(&fault)),
        }
    }

    /// Whether calls would be refused, or fail.
    pub(crate) fn is_shut(&self) -> bool {
        self.track.pulse().0 == Health::Unhealthy
    }

    fn begin(&self, tool: Option<Arc<str>>) -> Result<Ticket, Fault> {
        let leave = self.track.admit(tool)?;
        Ok(Ticket { track: Arc::clone(&self.track), leave: Some(leave), begun: Instant::now() })
    }

    fn tool_of(&self, call: &Call) -> Option<Arc<str>> {
        let named = self.track.minds_tools() && call.method() == "tools/call";
        call.name().filter(|_| named).map(Arc::from)
    }
}

/// Whether it begins an exchange whose end tells something.
fn begins(call: &Call) -> bool {
    call.expects_response() || matches!(call.subject, Subject::Stream { .. })
}

impl upstream::Wrapper for Breaker {
    fn inner(&self) -> &dyn Upstream {
        self.inner.as_ref()
    }

    fn send(&self, cleared: Cleared) -> Pending<'_, Result<Reply, Fault>> {
        if !begins(cleared.call()) {
            return self.inner.send(cleared);
        }
        Box::pin(async move {
            let ticket = self.begin(self.tool_of(cleared.call()))?;
            // Standing streams end for many reasons, a restart ends all of them at once: that they begin is what counts.
            let stands = stands(cleared.call());
            match self.inner.send(cleared).await {
                Err(fault) => {
                    ticket.failed(&fault);
                    Err(fault)
                }
                Ok(reply) if stands || reply.media == Media::Accepted => {
                    let took = ticket.begun.elapsed();
                    ticket.answered(took);
                    Ok(reply)
                }
                Ok(reply) => {
                    let counted =
                        Counted { arrivals: reply.arrivals, ticket: Some(ticket), asked: false, resumable: false };
                    Ok(Reply { arrivals: Box::pin(counted), ..reply })
                }
            }
        })
    }

    fn refresh(&self) -> Pending<'_, Result<Arc<Catalogue>, Fault>> {
        Box::pin(async move {
            let ticket = self.begin(None)?;
            let answer = self.inner.refresh().await;
            match &answer {
                // Many pages are not slow.
                Ok(_) => ticket.answered(Duration::ZERO),
                Err(fault) => ticket.settle(verdict::of_fault(fault), verdict::of_check(fault), Some(fault)),
            }
            answer
        })
    }
}

/// An exchange under way. Dropped without an outcome it counts neither way, and a probe makes room for another.
struct Ticket {
    track: Arc<Track>,
    leave: Option<Leave>,
    begun: Instant,
}

impl Ticket {
    fn answered(self, took: Duration) {
        let outcome = Outcome::Answered { took };
        self.settle(outcome, outcome, None);
    }

    fn failed(self, fault: &Fault) {
        let outcome = verdict::of_fault(fault);
        self.settle(outcome, outcome, Some(fault));
    }

    fn settle(mut self, outcome: Outcome, health: Outcome, fault: Option<&Fault>) {
        if let Some(leave) = self.leave.take() {
            self.track.settle(leave, outcome, health, fault);
        }
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        if let Some(leave) = self.leave.take() {
            self.track.settle(leave, Outcome::Neither, Outcome::Neither, None);
        }
    }
}

/// A reply whose end is told.
struct Counted {
    arrivals: Arrivals,
    ticket: Option<Ticket>,
    /// The server asked its client something: the time that takes is not the server's.
    asked: bool,
    /// The server gave event ids: where this reply breaks off, another may go on.
    resumable: bool,
}

impl Stream for Counted {
    type Item = Result<Arrived, Fault>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = self.get_mut();
        let item = ready!(this.arrivals.as_mut().poll_next(cx));
        this.note(item.as_ref());
        Poll::Ready(item)
    }
}

impl Counted {
    fn note(&mut self, item: Option<&Result<Arrived, Fault>>) {
        match item {
            Some(Ok(arrived)) => {
                self.resumable |= arrived.event_id.is_some();
                match arrived.message.as_ref().map(Message::kind) {
                    Some(Kind::Result | Kind::Error) => {
                        if let Some(ticket) = self.ticket.take() {
                            let took = if self.asked { Duration::ZERO } else { ticket.begun.elapsed() };
                            ticket.answered(took);
                        }
                    }
                    Some(Kind::Request) => self.asked = true,
                    Some(Kind::Notification) | None => {}
                }
            }
            // A report; the right answer may still follow.
            Some(Err(fault)) if fault.kind == FaultKind::AnswerUnmatched => {}
            Some(Err(fault)) => {
                if let Some(ticket) = self.ticket.take() {
                    ticket.failed(fault);
                }
            }
            None => {
                if let Some(ticket) = self.ticket.take().filter(|_| !self.resumable) {
                    ticket.failed(&Fault::new(FaultKind::Died, "the reply ended without a response"));
                }
            }
        }
    }
}

#[cfg(test)]
mod simulation;
#[cfg(test)]
mod tests;
