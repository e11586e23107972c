//! What we ask a server on our own account: which era it speaks (G1–G5, D15), what it says of itself, and its lists. A pipe opened for
//! that ends with it.

use std::sync::Weak;

use futures_util::StreamExt;
use portcullis_core::call::SessionKey;
use portcullis_core::catalogue::{Catalogue, Hello};
use portcullis_core::refusal::{Fault, FaultKind};
use portcullis_core::upstream::Arrivals;
use portcullis_core::version::Era;
use portcullis_core::wire::{Id, Kind, Message};
use tokio::sync::mpsc;

use super::outlet::Inlet;
use super::running::{Router, Running};
use super::{PipeUpstream, Source};
use crate::account::Account;
use crate::probe::{self, Ask, Discovered, Probe, SILENCE, Served};

/// Answers waiting for us. 8: we ask one thing at a time.
const ROOM: usize = 8;
const DISCOVER: i64 = 1;
const INITIALIZE: i64 = 2;
const LIST: i64 = 3;

impl<S: Source> PipeUpstream<S> {
    pub(super) async fn contact(&self) -> Result<Catalogue, Fault> {
        match self.standing.served() {
            Some(served) if served.modern => {
                let hello = probe::introduction(&mut Shared(self), DISCOVER).await;
                probe::survey(&mut Shared(self), Era::Modern, hello, LIST).await
            }
            Some(_) => {
                let mut line = self.line().await?;
                let listed = line.greet_and_list(self).await;
                line.running.stop();
                listed
            }
            None => {
                let mut line = self.line().await?;
                let listed = self.detect(&mut line).await;
                line.running.stop();
                listed
            }
        }
    }

    /// A pipe of our own for a few questions.
    async fn line(&self) -> Result<Line, Fault> {
        let (answers, incoming) = mpsc::channel(ROOM);
        let (_, running) = self.start(Account::OWN, |_| Answers(answers)).await?;
        Ok(Line { running, incoming })
    }

    async fn detect(&self, line: &mut Line) -> Result<Catalogue, Fault> {
        line.tell(Probe::discover(DISCOVER)).await?;
        // Silent for longer, and it is asked to `initialize`. A late answer still counts.
        let answer = tokio::time::timeout(SILENCE, line.answer(&[Id::number(DISCOVER)])).await;
        let proven = match answer {
            Ok(Ok(answer)) => verdict(&answer)?,
            // Dying of an unknown method is a legacy server's answer too; a fresh one is asked to `initialize`.
            Ok(Err(_)) => {
                *line = self.line().await?;
                None
            }
            Err(_) => None,
        };
        if let Some((served, hello)) = proven {
            self.standing.proven(served);
            return probe::survey(line, Era::Modern, hello, LIST).await;
        }
        line.greet_and_list(self).await
    }
}

/// What an answer to `server/discover` proves, and says of the server; a foreign server is a fault.
fn verdict(answer: &Message) -> Result<Option<(Served, Option<Hello>)>, Fault> {
    match probe::discovered(answer) {
        Discovered::Serves(served) => Ok(Some((served, Hello::of(answer)))),
        Discovered::MaybeLegacy => Ok(None),
        Discovered::Foreign => {
            Err(Fault::new(FaultKind::Garbage, "the server speaks only protocol versions newer than ours"))
        }
    }
}

/// Hands responses to whoever asks; our own questions need nothing else.
struct Answers(mpsc::Sender<Message>);

impl Router for Answers {
    async fn message(&self, message: Message) {
        if matches!(message.kind(), Kind::Result | Kind::Error) {
            let _ = self.0.send(message).await;
        }
    }

    fn lost(&self, _: &Fault, _: &[&[u8]]) -> bool {
        false
    }

    fn ended(&self, _: &Fault) {}
}

struct Line {
    running: Running,
    incoming: mpsc::Receiver<Message>,
}

impl Line {
    /// The first answer to one of these questions.
    async fn answer(&mut self, ids: &[Id]) -> Result<Message, Fault> {
        loop {
            let message = self.incoming.recv().await;
            let message = message
                .ok_or_else(|| Fault::new(FaultKind::Died, "the server ended before it answered our questions"))?;
            // An error without an id is about the latest question, which is all that was asked here.
            if message.id().is_none_or(|id| ids.contains(id)) {
                return Ok(message);
            }
        }
    }

    async fn greet_and_list<S: Source>(&mut self, pipes: &PipeUpstream<S>) -> Result<Catalogue, Fault> {
        self.tell(Probe::initialize(INITIALIZE)).await?;
        let mut answer = self.answer(&[Id::number(INITIALIZE), Id::number(DISCOVER)]).await?;
        if answer.id().is_some_and(|id| *id == Id::number(DISCOVER)) {
            // A slow starter answers our first question now.
            if let Some((served, hello)) = verdict(&answer)? {
                pipes.standing.proven(served);
                return probe::survey(self, Era::Modern, hello, LIST).await;
            }
            answer = self.answer(&[Id::number(INITIALIZE)]).await?;
        }
        let hello = probe::greeted(&answer)?;
        pipes.standing.proven(Served::LEGACY);
        self.tell(Probe::initialized()).await?;
        probe::survey(self, Era::Legacy, Some(hello), LIST).await
    }
}

impl Ask for Line {
    async fn ask(&mut self, question: Probe) -> Result<Message, Fault> {
        let id = question.id().cloned();
        self.tell(question).await?;
        self.answer(id.as_slice()).await
    }

    async fn tell(&mut self, question: Probe) -> Result<(), Fault> {
        self.running.say(Account::Gateway(question.method()), question.body().clone()).await
    }
}

/// Our questions among everybody's calls.
struct Shared<'a, S>(&'a PipeUpstream<S>);

impl<S: Source> Ask for Shared<'_, S> {
    async fn ask(&mut self, question: Probe) -> Result<Message, Fault> {
        let message = question.message(&self.0.limits);
        let message = message.map_err(|error| Fault::before_sending(FaultKind::Garbage, error.to_string()))?;
        let (_pipe, mut inlet) = self.0.ask_shared(Account::Gateway(question.method()), &message).await?;
        while let Some(item) = inlet.next().await {
            let message = item?;
            if matches!(message.kind(), Kind::Result | Kind::Error) {
                return Ok(message);
            }
        }
        Err(Fault::new(FaultKind::Died, "the reply ended before the response"))
    }

    async fn tell(&mut self, _: Probe) -> Result<(), Fault> {
        Ok(())
    }
}

/// The reply to a client's `initialize`. Unless it opens the session in a version we speak (B4), the session's pipe ends
/// with it; so it does when nobody waits for the answer.
pub(super) fn greeting<S: Source>(pipes: Weak<PipeUpstream<S>>, key: SessionKey, inlet: Inlet) -> Arrivals {
    let closing = EndUnlessOpened { pipes, key, opened: false };
    Box::pin(futures_util::stream::unfold((inlet.arrivals(), closing), |(mut arrivals, mut closing)| async move {
        let item = arrivals.next().await?;
        let response = item
            .as_ref()
            .ok()
            .and_then(|arrived| arrived.message.as_ref())
            .filter(|message| message.kind() == Kind::Result);
        let checked = match response.map(probe::legacy_version) {
            Some(Err(fault)) => Err(fault),
            Some(Ok(_)) => {
                closing.opened = true;
                item
            }
            None => item,
        };
        Some((checked, (arrivals, closing)))
    }))
}

struct EndUnlessOpened<S: Source> {
    pipes: Weak<PipeUpstream<S>>,
    key: SessionKey,
    opened: bool,
}

impl<S: Source> Drop for EndUnlessOpened<S> {
    fn drop(&mut self) {
        if let Some(pipes) = self.pipes.upgrade().filter(|_| !self.opened) {
            pipes.end_session(self.key);
        }
    }
}
