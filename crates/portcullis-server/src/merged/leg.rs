//! One server's part of a merged answer: sent, answered, or not.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use portcullis_core::gate::Inspected;
use portcullis_core::refusal::Fault;

use crate::answer::{Refusal, Unread};
use crate::forward::{Forwarded, forward};
use crate::gateway::Gateway;
use crate::journey::Journey;
use crate::read::Read;

type Sending = Pin<Box<dyn Future<Output = Result<Forwarded, Box<Unread>>> + Send>>;

/// A server's part.
pub(super) struct Leg {
    pub(super) at: usize,
    pub(super) server: Arc<str>,
    /// Its first message came.
    pub(super) has_begun: bool,
    state: State,
}

enum State {
    Sending(Sending),
    Open(Box<Journey>),
    Settled(Outcome),
}

/// How a server's part ended.
#[derive(Debug)]
pub(super) enum Outcome {
    /// With a result, or with an error of the server's.
    Answered(Inspected),
    /// Refused by us, or failed.
    Refused(Box<Unread>),
    /// A stream that is over.
    Over,
}

impl std::fmt::Debug for Leg {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Leg").field("server", &self.server).field("settled", &self.outcome().is_some()).finish()
    }
}

impl Leg {
    /// Sends nothing before it is polled.
    pub(super) fn new(gateway: &Arc<Gateway>, read: Read) -> Self {
        let (at, server) = (read.place.at, Arc::clone(read.place.server.name()));
        let gateway = Arc::clone(gateway);
        Self {
            at,
            server,
            has_begun: false,
            state: State::Sending(Box::pin(async move { forward(&gateway, read).await })),
        }
    }

    /// Whether its reply has begun; `false` when it will not.
    pub(super) fn poll_open(&mut self, cx: &mut Context<'_>) -> Poll<bool> {
        if let State::Sending(sending) = &mut self.state {
            self.state = match ready!(sending.as_mut().poll(cx)) {
                Ok(Forwarded { journey }) => State::Open(Box::new(journey)),
                Err(unread) => State::Settled(Outcome::Refused(unread)),
            };
        }
        Poll::Ready(self.outcome().is_none())
    }

    /// The next message that is not the end; `None` once the part has ended.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Option<Inspected>> {
        loop {
            match &mut self.state {
                State::Sending(_) => {
                    ready!(self.poll_open(cx));
                }
                State::Open(journey) => match ready!(journey.poll_next(cx)) {
                    Some(message) if message.is_response() => self.state = State::Settled(Outcome::Answered(message)),
                    Some(message) => return Poll::Ready(Some(message)),
                    None => self.state = State::Settled(Outcome::Over),
                },
                State::Settled(_) => return Poll::Ready(None),
            }
        }
    }

    pub(super) const fn outcome(&self) -> Option<&Outcome> {
        match &self.state {
            State::Settled(outcome) => Some(outcome),
            State::Sending(_) | State::Open(_) => None,
        }
    }

    pub(super) const fn journey(&self) -> Option<&Journey> {
        match &self.state {
            State::Open(journey) => Some(journey),
            State::Sending(_) | State::Settled(_) => None,
        }
    }

    /// Waits no longer. What is dropped closes its entry.
    pub(super) fn give_up(&mut self, fault: &Fault, asked: &crate::answer::Asked) {
        match &mut self.state {
            State::Settled(_) => return,
            State::Open(journey) => journey.gives_up(fault),
            State::Sending(_) => {}
        }
        self.state = State::Settled(Outcome::Refused(Unread::recorded(Refusal::Fault(fault.clone()), asked.clone())));
    }

    /// Ends a standing stream.
    pub(super) fn end(&mut self, end: impl FnOnce(&mut Journey)) {
        if let State::Open(journey) = &mut self.state {
            end(journey);
        }
        if self.outcome().is_none() {
            self.state = State::Settled(Outcome::Over);
        }
    }

    /// The client hung up.
    pub(super) fn client_left(self, gateway: &Arc<Gateway>, runs_on: bool) {
        match self.state {
            State::Open(journey) => journey.client_left(),
            State::Sending(sending) if runs_on => {
                let (at_most, overdue) = (gateway.settings.timeouts.orphan(), gateway.overdue.token().clone());
                gateway.tasks.spawn(async move {
                    let unseen = async {
                        if let Ok(Forwarded { mut journey }) = sending.await {
                            while journey.next().await.is_some() {}
                        }
                    };
                    tokio::select! {
                        biased;
                        () = overdue.cancelled() => {}
                        _ended = tokio::time::timeout(at_most, unseen) => {}
                    }
                });
            }
            State::Sending(_) | State::Settled(_) => {}
        }
    }

    /// Takes the message of a part that was answered.
    pub(super) fn into_outcome(self) -> Option<Outcome> {
        match self.state {
            State::Settled(outcome) => Some(outcome),
            State::Sending(_) | State::Open(_) => None,
        }
    }
}
