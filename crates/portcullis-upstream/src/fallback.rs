//! A server that can be reached in several ways: each call takes the first that works, within one deadline. A wrapper around upstreams.
//!
//! A call goes to the next way only if it provably never left, or may be carried out twice. A legacy session stays on the way it was opened on.

mod order; // which way first
mod pins; // which session is where
mod trip; // one call from way to way

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use portcullis_core::call::{Call, SessionKey, Subject};
use portcullis_core::catalogue::Catalogue;
use portcullis_core::gate::Cleared;
use portcullis_core::refusal::{Fault, FaultKind};
use portcullis_core::upstream::{Pending, Reply, Upstream};
use portcullis_core::version::Era;
use portcullis_core::wire::Message;

use self::order::Preferred;
use self::pins::Pins;
use self::trip::{Trip, more_telling};
use crate::answers::accepted;
use crate::breaker::Breaker;
use crate::lazy::is_harmless;
use crate::replicas::{Balance, Busy};
use crate::settings::{FallbackSettings, Repeat, SettingsError};
use crate::standing::opens;

/// One way to a server.
#[derive(Clone, Debug)]
pub struct Way {
    word: Arc<str>,
    breaker: Arc<Breaker>,
}

impl Way {
    /// `word` is how the operator knows it: it stands in orders, in the log and in answers, and must not be an address.
    #[must_use]
    pub const fn new(word: Arc<str>, breaker: Arc<Breaker>) -> Self {
        Self { word, breaker }
    }

    pub(crate) const fn breaker(&self) -> &Arc<Breaker> {
        &self.breaker
    }
}

/// A server behind several ways.
#[derive(Debug)]
pub struct Fallback {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    name: Arc<str>,
    ways: Vec<Way>,
    choice: Choice,
    repeat: Repeat,
    deadline: Duration,
    pins: Pins,
}

/// Who says which way comes first.
#[derive(Debug)]
enum Choice {
    /// The operator.
    Preferred(Preferred),
    /// What is under way on each.
    LeastBusy(Balance),
}

impl Fallback {
    /// `common` is the order for servers that have none of their own; what it names and this server lacks is no error.
    ///
    /// # Errors
    /// A setting that cannot work, naming its key.
    pub fn new(ways: Vec<Way>, settings: &FallbackSettings, common: &[String]) -> Result<Arc<Self>, SettingsError> {
        let preferred = Preferred::new(&ways, settings, common)?;
        Self::among(ways, Choice::Preferred(preferred), settings.repeat, settings.deadline()?)
    }

    /// Replicas of one server: each call goes to the one with the least under way, a legacy session stays where it was opened, and only what provably
    /// never left goes to another. Of `settings` only the deadline counts.
    ///
    /// # Errors
    /// No replica, or no time.
    pub fn replicas(replicas: Vec<Way>, settings: &FallbackSettings) -> Result<Arc<Self>, SettingsError> {
        let balance = Balance::among(replicas.len());
        Self::among(replicas, Choice::LeastBusy(balance), Repeat::Never, settings.deadline()?)
    }

    fn among(ways: Vec<Way>, choice: Choice, repeat: Repeat, deadline: Duration) -> Result<Arc<Self>, SettingsError> {
        let first = ways.first().ok_or(SettingsError::Zero { key: "transports" })?;
        let name = Arc::clone(first.breaker.name());
        let inner = Inner { name, ways, choice, repeat, deadline, pins: Pins::default() };
        Ok(Arc::new(Self { inner: Arc::new(inner) }))
    }
}

impl Upstream for Fallback {
    fn name(&self) -> &Arc<str> {
        &self.inner.name
    }

    /// Of the way that was asked last, which is one that works.
    fn era(&self) -> Option<Era> {
        let freshest = self.inner.freshest().and_then(|(way, _)| way.breaker.era());
        freshest.or_else(|| self.inner.ways.iter().find_map(|way| way.breaker.era()))
    }

    fn send(&self, cleared: Cleared) -> Pending<'_, Result<Reply, Fault>> {
        let call = cleared.call();
        let session = call.context.session.as_ref().filter(|_| call.era() == Era::Legacy).map(|session| session.key);
        match session {
            Some(key) if opens(call) => Box::pin(self.inner.open(key, cleared)),
            Some(key) => Box::pin(self.inner.stay(key, cleared)),
            None => Box::pin(async move { Trip::new(&self.inner, cleared).go().await.map(|(_, reply)| reply) }),
        }
    }

    fn catalogue(&self) -> Arc<Catalogue> {
        let first = || self.inner.ways.first().map(|way| way.breaker.catalogue());
        self.inner.freshest().map(|(_, catalogue)| catalogue).or_else(first).unwrap_or_default()
    }

    fn refresh(&self) -> Pending<'_, Result<Arc<Catalogue>, Fault>> {
        Box::pin(self.inner.first_of(|breaker| breaker.refresh()))
    }

    fn check(&self) -> Pending<'_, Result<(), Fault>> {
        Box::pin(self.inner.first_of(|breaker| breaker.check()))
    }

    /// By all ways: any of them may be asked next.
    fn observe(&self, listed: &Message) {
        self.inner.ways.iter().for_each(|way| way.breaker.observe(listed));
    }

    fn forget(&self, key: SessionKey) -> Pending<'_, ()> {
        Box::pin(async move {
            if let Some(way) = self.inner.pins.remove(key).and_then(|at| self.inner.ways.get(at)) {
                way.breaker.forget(key).await;
            }
        })
    }

    fn shut_down(&self) -> Pending<'_, ()> {
        Box::pin(async move {
            join_all(self.inner.ways.iter().map(|way| way.breaker.shut_down())).await;
        })
    }
}

impl Inner {
    /// The way whose server was asked last what it offers.
    fn freshest(&self) -> Option<(&Way, Arc<Catalogue>)> {
        let known = self.ways.iter().map(|way| (way, way.breaker.catalogue()));
        known.filter(|(_, catalogue)| catalogue.is_read()).max_by_key(|(_, catalogue)| catalogue.asked())
    }

    /// The first good answer to a question of our own.
    async fn first_of<'a, T>(&'a self, ask: impl Fn(&'a Breaker) -> Pending<'a, Result<T, Fault>>) -> Result<T, Fault> {
        let mut told: Option<Fault> = None;
        for way in self.usual().iter().filter_map(|at| self.ways.get(*at)) {
            match ask(&way.breaker).await {
                Ok(answer) => return Ok(answer),
                Err(fault) => {
                    if told.as_ref().is_none_or(|told| more_telling(told, &fault)) {
                        told = Some(fault);
                    }
                }
            }
        }
        Err(told.unwrap_or_else(nowhere))
    }

    /// A legacy session stays on the way that it is opened on.
    async fn open(self: &Arc<Self>, key: SessionKey, cleared: Cleared) -> Result<Reply, Fault> {
        let (at, reply) = Trip::new(self, cleared).go().await?;
        self.pins.insert(key, at);
        Ok(reply)
    }

    /// Something in a legacy session. Nothing of it means anything to a server that was not told of the session.
    async fn stay(self: &Arc<Self>, key: SessionKey, cleared: Cleared) -> Result<Reply, Fault> {
        let closes = matches!(cleared.call().subject, Subject::Close);
        let pinned = if closes { self.pins.remove(key) } else { self.pins.find(key) };
        let Some((at, way)) = pinned.and_then(|at| Some((at, self.ways.get(at)?))) else {
            let lost =
                || Fault::before_sending(FaultKind::SessionLost, "the session was opened on no way to the server");
            return if closes { Ok(accepted()) } else { Err(lost()) };
        };
        let mut trip = Trip::new(self, cleared);
        trip.only(at);
        let fault = match trip.go().await {
            Err(fault) if self.is_cut_off(at, &fault) => fault,
            outcome => return outcome.map(|(_, reply)| reply),
        };
        // Whoever asks for the session next begins it anew, on a way that works; the old one is of no use to anybody.
        if self.pins.remove_from(key, at) {
            let breaker = Arc::clone(&way.breaker);
            tokio::spawn(async move { breaker.forget(key).await });
        }
        Err(Fault { kind: FaultKind::SessionLost, ..fault })
    }

    /// Whether a session's way cannot be had while another is open: nothing answers there, or its breaker is open. That of a single tool shuts no way,
    /// and a server that fails may still know the session.
    fn is_cut_off(&self, at: usize, fault: &Fault) -> bool {
        let shut = |way: &Way| way.breaker.is_shut();
        let gone = match fault.kind {
            FaultKind::Unreachable => true,
            FaultKind::CircuitOpen { .. } => self.ways.get(at).is_some_and(shut),
            _ => false,
        };
        gone && fault.never_left && self.ways.iter().enumerate().any(|(other, way)| other != at && !shut(way))
    }

    fn order(&self, call: &Call) -> Arc<[usize]> {
        match &self.choice {
            Choice::Preferred(preferred) => preferred.order(call, &self.ways),
            Choice::LeastBusy(balance) => balance.order(&self.ways),
        }
    }

    /// For what is asked on our own account.
    fn usual(&self) -> Arc<[usize]> {
        match &self.choice {
            Choice::Preferred(preferred) => preferred.usual(),
            Choice::LeastBusy(balance) => balance.order(&self.ways),
        }
    }

    /// Counts something under way, for as long as the result lives.
    fn busy(&self, at: usize) -> Option<Busy> {
        match &self.choice {
            Choice::Preferred(_) => None,
            Choice::LeastBusy(balance) => balance.busy(at),
        }
    }

    /// Whether a server that may have carried this out may be asked for it by another way.
    fn may_be_repeated(&self, call: &Call) -> bool {
        if !call.expects_response() {
            return false;
        }
        match call.method() {
            "initialize"
            | "server/discover"
            | "ping"
            | "tools/list"
            | "prompts/list"
            | "resources/list"
            | "resources/templates/list" => matches!(self.choice, Choice::Preferred(_)),
            "tools/call" => self.repeat == Repeat::Idempotent && is_harmless(call),
            "resources/read" | "prompts/get" | "completion/complete" => self.repeat == Repeat::Idempotent,
            _ => false,
        }
    }
}

fn nowhere() -> Fault {
    Fault::before_sending(FaultKind::Unreachable, "there is no way to the server")
}

#[cfg(test)]
pub(crate) mod tests;
