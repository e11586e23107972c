//! What a server says by itself in a session, for as long as the client listens. The client has one stream for all its servers and does not notice
//! when one of them breaks off; so the server is asked again here, as a client would ask it (A12), also after it lost the session.

use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use portcullis_core::gate::Cleared;
use portcullis_core::refusal::{Fault, FaultKind};
use portcullis_core::upstream::{Arrivals, Arrived};
use tokio::time::Instant;

use super::Inner;
use super::session::{Session, Stage};

/// Before a stream is asked for again, where the server does not say how long: what the SDKs wait.
const PAUSE: Duration = Duration::from_secs(1);
/// After failures it doubles up to this: a server that is back is heard within a minute.
const LONGEST_PAUSE: Duration = Duration::from_secs(60);
/// A stream that stood for so long was no failure.
const STOOD: Duration = Duration::from_secs(10);

pub(super) struct Listening {
    lazy: Arc<Inner>,
    session: Arc<Session>,
    /// What is asked with: from the event on that came last.
    cleared: Cleared,
    stream: Option<Stream>,
    /// What the server asks for, or the usual.
    retry: Duration,
    /// Failures since a stream stood.
    failures: u32,
}

/// One stream of the server.
struct Stream {
    arrivals: Arrivals,
    /// Of the session that it belongs to.
    generation: u64,
    since: Instant,
}

impl Listening {
    /// Asks when it is polled, and not before the session is open.
    pub(super) fn new(lazy: &Arc<Inner>, session: &Arc<Session>, cleared: Cleared) -> Self {
        let (lazy, session) = (Arc::clone(lazy), Arc::clone(session));
        Self { lazy, session, cleared, stream: None, retry: PAUSE, failures: 0 }
    }

    /// Goes on from a stream that the server has begun.
    pub(super) fn to(mut self, arrivals: Arrivals) -> Self {
        if let Stage::Open(generation) = self.session.stage() {
            self.stream = Some(Stream { arrivals, generation, since: Instant::now() });
        }
        self
    }

    pub(super) fn arrivals(self) -> Arrivals {
        futures_util::stream::unfold(self, Self::next).boxed()
    }

    /// The end comes with that of the session, or with a server that has nothing to say by itself.
    async fn next(mut self) -> Option<(Result<Arrived, Fault>, Self)> {
        loop {
            let Some(stream) = &mut self.stream else {
                self.stream = Some(self.ask().await?);
                continue;
            };
            let item = tokio::select! {
                biased;
                item = stream.arrivals.next() => item,
                () = self.session.until_not(stream.generation) => {
                    self.stream = None;
                    continue;
                }
            };
            let why = match item {
                Some(Ok(arrived)) => {
                    self.heard(&arrived);
                    return Some((Ok(arrived), self));
                }
                Some(Err(fault)) if fault.kind == FaultKind::AnswerUnmatched => return Some((Err(fault), self)),
                Some(Err(fault)) => fault.to_string(),
                None => "it ended".to_owned(),
            };
            if stream.since.elapsed() >= STOOD {
                self.failures = 0;
            }
            self.stream = None;
            self.rest(&why).await;
        }
    }

    fn heard(&mut self, arrived: &Arrived) {
        if let Some(id) = &arrived.event_id {
            self.cleared = self.cleared.from_event(Some(id.clone()));
        }
        self.retry = arrived.retry.unwrap_or(self.retry).min(LONGEST_PAUSE);
    }

    async fn rest(&mut self, why: &str) {
        tracing::debug!(server = %self.lazy.upstream.name(), why, "the server says nothing by itself for a while");
        let pause = self.retry.saturating_mul(1 << self.failures.min(16)).min(LONGEST_PAUSE);
        self.failures = self.failures.saturating_add(1);
        tokio::time::sleep(pause).await;
    }

    /// The next stream. `None` when there will be none.
    async fn ask(&mut self) -> Option<Stream> {
        loop {
            let generation = match self.session.stage() {
                Stage::Open(generation) => generation,
                Stage::Gone => return None,
                // The client asked for something that only an open session can bring.
                Stage::Unopened if self.lazy.is_awaited(&self.session) => match self.session.open(&self.lazy).await {
                    Ok(opened) => opened.generation,
                    Err(fault) => {
                        self.rest(&fault.to_string()).await;
                        continue;
                    }
                },
                Stage::Unopened => {
                    self.session.until_not_unopened().await;
                    continue;
                }
            };
            let fault = match self.lazy.upstream.send(self.cleared.again()).await {
                Ok(reply) => return Some(Stream { arrivals: reply.arrivals, generation, since: Instant::now() }),
                // The client is past the point where it could be told so by a status; a stream that ends tells it the same.
                Err(fault) if matches!(fault.kind, FaultKind::NoStream | FaultKind::ShuttingDown) => return None,
                Err(fault) => fault,
            };
            if fault.kind == FaultKind::SessionLost {
                self.session.lost(generation);
                self.cleared = self.cleared.from_event(None);
            }
            self.rest(&fault.to_string()).await;
        }
    }
}
