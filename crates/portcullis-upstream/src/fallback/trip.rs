//! One call from way to way: what was tried, whether it may have arrived, and whether it may go on.

use std::pin::pin;
use std::sync::Arc;

use futures_util::StreamExt;
use portcullis_core::attempt::{ANSWERED, Attempt, Attempts};
use portcullis_core::gate::Cleared;
use portcullis_core::refusal::{Fault, FaultKind};
use portcullis_core::upstream::{Arrivals, Arrived, Media, Reply, Upstream};
use tokio::time::Instant;

use super::{Inner, Way, nowhere};
use crate::departure::Departure;
use crate::replicas::Busy;

pub(super) struct Trip<'a> {
    inner: &'a Inner,
    cleared: Cleared,
    order: Arc<[usize]>,
    /// It may be carried out twice.
    repeatable: bool,
    deadline: Instant,
    attempts: Vec<Attempt>,
    /// What the client is told if nothing comes after it.
    told: Option<Fault>,
}

impl<'a> Trip<'a> {
    pub(super) fn new(inner: &'a Inner, cleared: Cleared) -> Self {
        let (order, repeatable) = (inner.order(cleared.call()), inner.may_be_repeated(cleared.call()));
        let deadline = Instant::now() + inner.deadline;
        Self { inner, cleared, order, repeatable, deadline, attempts: Vec::new(), told: None }
    }

    /// This way or none.
    pub(super) fn only(&mut self, at: usize) {
        self.order = [at].into();
        self.repeatable = false;
    }

    /// Tries one way after the other until an answer begins. Says on which.
    pub(super) async fn go(mut self) -> Result<(usize, Reply), Fault> {
        let inner = self.inner;
        let order = Arc::clone(&self.order);
        for (place, at) in order.iter().copied().enumerate() {
            let Some(way) = inner.ways.get(at) else { continue };
            let begun = Instant::now();
            if self.told.is_some() && begun >= self.deadline {
                break;
            }
            let busy = inner.busy(at);
            let fault = match self.attempt(way, place + 1 == order.len()).await {
                Ok(reply) => return Ok((at, self.answered(way, begun, busy, reply))),
                Err(fault) => fault,
            };
            if !self.goes_on_after(way, begun, fault) {
                break;
            }
        }
        let told = self.told.unwrap_or_else(nowhere);
        Err(Fault { attempts: some(self.attempts), ..told })
    }

    /// Waits until the deadline of the chain, and beyond it for what is under way and could not go elsewhere: that is the transport's to end.
    async fn attempt(&self, way: &Way, last: bool) -> Result<Reply, Fault> {
        let departure = Departure::of_attempt();
        let mut sending = pin!(Arc::clone(&departure).watch(self.send(way)));
        match tokio::time::timeout_at(self.deadline, sending.as_mut()).await {
            Ok(outcome) => outcome,
            Err(_) if departure.may_have_left() && (last || !self.repeatable) => sending.await,
            Err(_) => Err(self.late()),
        }
    }

    /// What may be repeated waits for more than the beginning: once anything was passed on, it is too late for another way.
    async fn send(&self, way: &Way) -> Result<Reply, Fault> {
        let reply = way.breaker.send(self.cleared.again()).await?;
        if self.repeatable { begun(reply).await } else { Ok(reply) }
    }

    fn late(&self) -> Fault {
        Fault::new(FaultKind::TimedOut, format!("no answer began within {:?}", self.inner.deadline))
    }

    /// Takes down what failed. Whether another way may be tried.
    fn goes_on_after(&mut self, way: &Way, begun: Instant, fault: Fault) -> bool {
        let goes_on = (fault.never_left || self.repeatable) && passes_on(&fault.kind);
        let trace = &self.cleared.call().context.trace;
        tracing::debug!(
            server = %self.inner.name,
            transport = %way.word,
            trace = %trace.trace_id_hex(),
            span = %trace.span_hex(),
            took = ?begun.elapsed(),
            %fault,
            goes_on,
            "a way to the server failed"
        );
        let fault = note(&mut self.attempts, way, begun, fault);
        // Once it may have left, it may have left, whatever is tried after it.
        let never_left = fault.never_left && self.told.as_ref().is_none_or(|told| told.never_left);
        if self.told.as_ref().is_none_or(|told| more_telling(told, &fault)) {
            self.told = Some(fault);
        }
        if let Some(told) = &mut self.told {
            told.never_left = never_left;
        }
        goes_on
    }

    fn answered(self, way: &Way, begun: Instant, busy: Option<Busy>, reply: Reply) -> Reply {
        let Self { mut attempts, .. } = self;
        let earlier = attempts.clone();
        let within = reply.attempts.unwrap_or_default();
        if !within.is_empty() {
            attempts.extend(within);
        } else if !attempts.is_empty() {
            let (transport, took) = (Arc::clone(&way.word), begun.elapsed());
            attempts.push(Attempt { transport, outcome: ANSWERED, left: true, took, why: String::new() });
        }
        let arrivals = match reply.media {
            Media::Accepted => reply.arrivals,
            Media::Json | Media::EventStream | Media::Unframed => {
                watched(reply.arrivals, way.clone(), begun, earlier, busy)
            }
        };
        Reply { arrivals, attempts: some(attempts), ..reply }
    }
}

/// Waits for the first thing that can be passed on.
async fn begun(mut reply: Reply) -> Result<Reply, Fault> {
    let first = loop {
        match reply.arrivals.next().await {
            None => return Err(Fault::new(FaultKind::Died, "the reply ended without a response")),
            // A report; the right answer may still follow.
            Some(Err(fault)) if fault.kind != FaultKind::AnswerUnmatched => return Err(fault),
            Some(Ok(Arrived { message: None, event_id: None, retry: None })) => {}
            Some(first) => break first,
        }
    };
    let arrivals = futures_util::stream::iter([first]).chain(reply.arrivals);
    Ok(Reply { arrivals: arrivals.boxed(), ..reply })
}

/// The reply, with the history of its call where it breaks off.
fn watched(arrivals: Arrivals, way: Way, begun: Instant, earlier: Vec<Attempt>, busy: Option<Busy>) -> Arrivals {
    let told = move |fault: Fault| {
        let mut attempts = earlier.clone();
        let fault = note(&mut attempts, &way, begun, fault);
        Fault { attempts: some(attempts), ..fault }
    };
    arrivals
        .map(move |item| {
            // Given back when nobody reads this any more.
            let _counted = &busy;
            item.map_err(&told)
        })
        .boxed()
}

/// Adds a failure to a history, with what was tried within the way (its replicas, under their own names) in its place.
fn note(attempts: &mut Vec<Attempt>, way: &Way, begun: Instant, mut fault: Fault) -> Fault {
    let within = fault.attempts.take().unwrap_or_default();
    if within.is_empty() {
        attempts.push(Attempt {
            transport: Arc::clone(&way.word),
            outcome: fault.kind.code(),
            left: !fault.never_left,
            took: begun.elapsed(),
            why: fault.detail.clone(),
        });
    }
    attempts.extend(within);
    fault
}

fn some(attempts: Vec<Attempt>) -> Attempts {
    (!attempts.is_empty()).then(|| attempts.into())
}

/// Whether another way may do better.
const fn passes_on(kind: &FaultKind) -> bool {
    match kind {
        FaultKind::Unreachable
        | FaultKind::TimedOut
        | FaultKind::Garbage
        | FaultKind::Died
        | FaultKind::AnswerUnmatched
        | FaultKind::Unauthorized
        | FaultKind::Overloaded
        | FaultKind::Throttled { .. }
        | FaultKind::CircuitOpen { .. }
        | FaultKind::EraMismatch { .. } => true,
        // By any way the same answer is as large, the same session lost, and we as busy or as stopped.
        FaultKind::TooLarge
        | FaultKind::SessionLost
        | FaultKind::NotRepeated
        | FaultKind::NoStream
        | FaultKind::Busy
        | FaultKind::ShuttingDown => false,
    }
}

/// Whether the later of two failures says more: that a call may have left, else which era the server speaks, else what failed more
/// than what was not tried, else the nearer time to come back.
pub(super) fn more_telling(told: &Fault, later: &Fault) -> bool {
    match (&told.kind, &later.kind) {
        _ if !later.never_left => true,
        _ if !told.never_left => false,
        // Which era it speaks is what a client has to know to try again.
        (FaultKind::EraMismatch { .. }, _) => false,
        (_, FaultKind::EraMismatch { .. }) => true,
        (FaultKind::CircuitOpen { retry_after_ms: told }, FaultKind::CircuitOpen { retry_after_ms: later }) => {
            later < told
        }
        (FaultKind::CircuitOpen { .. }, _) => true,
        _ => false,
    }
}
