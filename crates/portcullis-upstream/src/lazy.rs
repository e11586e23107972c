//! A server whose legacy sessions are opened at first need, for servers of which a client may never use one. A wrapper around any upstream.
//!
//! The client's `initialize` is answered from what is known of the server. The client's own messages, as they were cleared, open the real session
//! later; nothing is sent that the client did not send. Modern messages pass through.

use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak};
use std::time::Duration;

use portcullis_core::call::{Call, SessionKey, Subject};
use portcullis_core::catalogue::Hello;
use portcullis_core::gate::Cleared;
use portcullis_core::refusal::{Fault, FaultKind};
use portcullis_core::upstream::{self, Media, Pending, Renewals, Reply, Upstream};
use portcullis_core::version::{Era, Version};
use portcullis_core::wire::{Id, Kind, Limits, Message};
use tokio::time::Instant;

use crate::answers::{accepted, at_hand, one};
use crate::settings::{LazySettings, SettingsError};
use crate::standing::{opens, shutting_down};

mod listening; // what the server says by itself
mod session; // one client session, opened or not
mod words; // what a server is not asked for

use self::listening::Listening;
use self::session::{Opened, Session, Stage};

/// Client sessions with one server. 131,072: the listener's own cap is far lower; this one only keeps a mistake there from growing memory.
const MOST_SESSIONS: usize = 131_072;
/// Bytes of a message that is kept for later. 16 KiB: an honest `initialize` has one or two; with a larger one the session is opened at once.
const MOST_KEPT: usize = 16 << 10;
/// Sessions kept for a server that did not answer when they began. 1,024: their clients may have given up, and nobody says so.
const MOST_HOPEFUL: usize = 1024;
/// How long nobody asks a server what it is after it did not say. 5 s: one that is down must not hold up every client that begins.
const ASKED_EVERY: Duration = Duration::from_secs(5);

/// A server behind laziness.
#[derive(Debug)]
pub struct Lazy {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    upstream: Arc<dyn Upstream>,
    limits: Limits,
    /// Time to open a session with the server.
    patience: Duration,
    /// Time a client waits for a server that has not said yet what it is.
    courtesy: Duration,
    sessions: Mutex<HashMap<SessionKey, Arc<Session>>>,
    /// Those whose client was told that the server is not there, oldest first.
    hopeful: Mutex<VecDeque<SessionKey>>,
    /// When the server last did not say what it is, and why.
    unanswered: Mutex<Option<(Instant, Fault)>>,
    /// The server is being asked what it offers.
    reading: AtomicBool,
    renewals: OnceLock<Weak<dyn Renewals>>,
}

impl Lazy {
    /// Opens no session. `limits` bound what is answered from knowledge, as they bound what the server answers.
    ///
    /// # Errors
    /// A setting that cannot work, naming its key.
    pub fn new(
        upstream: Arc<dyn Upstream>,
        settings: &LazySettings,
        limits: Limits,
    ) -> Result<Arc<Self>, SettingsError> {
        let (patience, courtesy) = settings.times()?;
        let inner = Inner {
            upstream,
            limits,
            patience,
            courtesy,
            sessions: Mutex::default(),
            hopeful: Mutex::default(),
            unanswered: Mutex::default(),
            reading: AtomicBool::new(false),
            renewals: OnceLock::new(),
        };
        Ok(Arc::new(Self { inner: Arc::new(inner) }))
    }
}

impl upstream::Wrapper for Lazy {
    fn inner(&self) -> &dyn Upstream {
        self.inner.upstream.as_ref()
    }

    fn send(&self, cleared: Cleared) -> Pending<'_, Result<Reply, Fault>> {
        let key = cleared.call().context.session.as_ref().map(|session| session.key);
        match key.filter(|_| cleared.call().era() == Era::Legacy) {
            Some(key) => Box::pin(self.inner.deliver(key, cleared)),
            None => self.inner.upstream.send(cleared),
        }
    }

    fn forget(&self, key: SessionKey) -> Pending<'_, ()> {
        Box::pin(async move {
            let known = self.inner.sessions().remove(&key);
            match known.map(|session| session.end()) {
                // Opened by nobody, or by somebody who will end it.
                Some(Stage::Unopened | Stage::Gone) => {}
                Some(Stage::Open(_)) | None => self.inner.upstream.forget(key).await,
            }
        })
    }

    fn tell_renewals_to(&self, listener: Weak<dyn Renewals>) {
        let _told_already = self.inner.renewals.set(listener);
    }

    fn shut_down(&self) -> Pending<'_, ()> {
        let sessions = std::mem::take(&mut *self.inner.sessions());
        for session in sessions.into_values() {
            session.end();
        }
        self.inner.upstream.shut_down()
    }
}

impl Inner {
    async fn deliver(self: &Arc<Self>, key: SessionKey, cleared: Cleared) -> Result<Reply, Fault> {
        if opens(cleared.call()) {
            return self.begin(key, cleared).await;
        }
        let known = self.sessions().get(&key).cloned();
        // What was not begun here is open at the server, or nowhere.
        let Some(session) = known else { return self.upstream.send(cleared).await };
        match &cleared.call().subject {
            Subject::Close => self.close(key, &session, cleared).await,
            Subject::Stream { request: Some(_), .. } | Subject::Stream { last_event_id: Some(_), .. }
                if session.is_untouched() =>
            {
                let why = "nothing to resume in a session that the server was not told of";
                Err(Fault::before_sending(FaultKind::NoStream, why))
            }
            Subject::Stream { request: Some(_), .. } => self.converse(&session, cleared).await,
            Subject::Stream { .. } => self.listen(&session, cleared).await,
            Subject::Message(message) => match self.without_server(&session, &cleared, message) {
                Some(reply) => Ok(reply),
                None if message.method() == Some("notifications/initialized") && fits(message) => {
                    session.initialized(self.upstream.as_ref(), cleared).await
                }
                None => self.converse(&session, cleared).await,
            },
        }
    }

    /// A client's `initialize`.
    async fn begin(self: &Arc<Self>, key: SessionKey, cleared: Cleared) -> Result<Reply, Fault> {
        let call = cleared.call();
        let (Some(message), version) = (call.message(), call.context.version) else {
            return Err(Fault::before_sending(FaultKind::SessionLost, "an `initialize` without a message"));
        };
        if !fits(message) {
            return self.upstream.send(cleared).await;
        }
        let id = message.id().cloned();
        // Kept also when nobody answers: a client of several servers goes on without this one, which joins when it is there again.
        let session = self.keep(key, cleared)?;
        let outcome = self.greet(&session, id, version).await;
        if outcome.is_err() {
            self.hope_for(key);
        }
        outcome
    }

    async fn greet(self: &Arc<Self>, session: &Arc<Session>, id: Option<Id>, version: Version) -> Result<Reply, Fault> {
        let hello = self.hello().await?;
        match (hello.filter(|hello| hello.era == Era::Legacy), id) {
            (Some(hello), Some(id)) => {
                let answer = words::greeting(&hello, version);
                at_hand(&id, &answer, &self.limits).ok_or_else(|| {
                    Fault::before_sending(FaultKind::TooLarge, "what the server says of itself is over the size limit")
                })
            }
            // Not known to have sessions at all: its own answer is the proof.
            _ => match session.open(self).await? {
                Opened { answer: Some(answer), .. } => Ok(one(answer)),
                Opened { answer: None, .. } => Err(Fault::new(FaultKind::Died, "the session was opened by another")),
            },
        }
    }

    /// Keeps a session that could not be begun, in the place of the one that is kept for the longest.
    fn hope_for(&self, key: SessionKey) {
        let mut hopeful = self.hopeful.lock().unwrap_or_else(PoisonError::into_inner);
        hopeful.push_back(key);
        let oldest = if hopeful.len() > MOST_HOPEFUL { hopeful.pop_front() } else { None };
        drop(hopeful);
        let mut sessions = self.sessions();
        if let Some(oldest) = oldest
            && sessions.get(&oldest).is_some_and(|session| session.is_untouched())
            && let Some(session) = sessions.remove(&oldest)
        {
            session.end();
        }
    }

    fn keep(self: &Arc<Self>, key: SessionKey, initialize: Cleared) -> Result<Arc<Session>, Fault> {
        let mut sessions = self.sessions();
        if sessions.len() >= MOST_SESSIONS && !sessions.contains_key(&key) {
            return Err(Fault::before_sending(FaultKind::Overloaded, "too many sessions with this server"));
        }
        let session = Session::new(key, initialize);
        if let Some(earlier) = sessions.insert(key, Arc::clone(&session)) {
            earlier.end();
        }
        Ok(session)
    }

    /// What the server said of itself; it is asked if it was not yet. `None` when it answers, but not that.
    async fn hello(self: &Arc<Self>) -> Result<Option<Arc<Hello>>, Fault> {
        let known = self.upstream.catalogue();
        if known.is_read() {
            return Ok(known.hello().cloned());
        }
        let unanswered = self.unanswered().clone();
        if let Some((_, fault)) = unanswered.filter(|(at, _)| at.elapsed() < ASKED_EVERY) {
            return Err(fault);
        }
        let upstream = Arc::clone(&self.upstream);
        // In a task of its own: a server that starts slowly is known to the next client, although this one did not wait.
        let asking = tokio::spawn(async move { upstream.refresh().await });
        let answered = match tokio::time::timeout(self.courtesy, asking).await {
            Ok(Ok(answered)) => answered.map_err(|fault| Fault { never_left: true, ..fault }),
            Ok(Err(_)) => Err(shutting_down()),
            Err(_) => {
                let detail = format!("the server did not say within {:?} what it is", self.courtesy);
                Err(Fault::before_sending(FaultKind::Unreachable, detail))
            }
        };
        *self.unanswered() = answered.as_ref().err().map(|fault| (Instant::now(), fault.clone()));
        Ok(answered?.hello().cloned())
    }

    /// The answer to what a server need not be bothered with while its session is not open.
    fn without_server(&self, session: &Session, cleared: &Cleared, message: &Message) -> Option<Reply> {
        let level = message.method() == Some("logging/setLevel") && words::is_level(message) && fits(message);
        // Before the look at the session: whoever opens it from now on says it.
        if level {
            session.prefer(Some(cleared.again()));
        }
        if !session.is_untouched() {
            if level {
                session.prefer(None);
            }
            return None;
        }
        match (message.kind(), message.method(), message.id()) {
            (Kind::Request, Some("ping"), Some(id)) => at_hand(id, "{}", &self.limits),
            (Kind::Request, Some("logging/setLevel"), Some(id)) if level && self.declares("logging") => {
                at_hand(id, "{}", &self.limits)
            }
            _ => words::is_about_a_session(message).then(accepted),
        }
    }

    fn declares(&self, capability: &str) -> bool {
        self.upstream.catalogue().hello().is_some_and(|hello| hello.declares(capability))
    }

    /// Opens the session if it is not, and sends. When the server lost it, it is opened anew, once.
    async fn converse(self: &Arc<Self>, session: &Arc<Session>, cleared: Cleared) -> Result<Reply, Fault> {
        let generation = session.open(self).await.map_err(unsent)?.generation;
        let again = cleared.again();
        let fault = match self.upstream.send(cleared).await {
            Err(fault) if fault.kind == FaultKind::SessionLost => fault,
            outcome => return outcome,
        };
        session.lost(generation);
        tracing::info!(server = %self.upstream.name(), %fault, "the server lost a session; it is opened anew");
        if again.call().message().is_some_and(words::is_about_a_session) {
            return Ok(accepted());
        }
        // A server that forgets its sessions was restarted, and may be another by now.
        self.read_anew();
        if !(fault.never_left || may_be_repeated(again.call())) {
            return Err(Fault::new(FaultKind::NotRepeated, fault.detail));
        }
        session.open(self).await.map_err(unsent)?;
        self.upstream.send(again).await
    }

    async fn close(&self, key: SessionKey, session: &Session, cleared: Cleared) -> Result<Reply, Fault> {
        self.sessions().remove(&key);
        match session.end() {
            Stage::Open(_) => self.upstream.send(cleared).await,
            // Whoever is opening it ends it.
            Stage::Unopened | Stage::Gone => Ok(accepted()),
        }
    }

    /// The standing stream. It does not open the session, because every client asks for this stream at once, and a server that was told nothing has
    /// nothing to say: until then it is silent.
    async fn listen(self: &Arc<Self>, session: &Arc<Session>, cleared: Cleared) -> Result<Reply, Fault> {
        let listening = Listening::new(self, session, cleared.again());
        if session.is_untouched() {
            return Ok(Reply::new(Media::EventStream, listening.arrivals()));
        }
        let reply = self.converse(session, cleared).await?;
        Ok(Reply { arrivals: listening.to(reply.arrivals).arrivals(), ..reply })
    }

    fn listener(&self) -> Option<Arc<dyn Renewals>> {
        self.renewals.get()?.upgrade()
    }

    /// Whether a client waits for something that the server said it would tell.
    fn is_awaited(&self, session: &Session) -> bool {
        self.listener().is_some_and(|listener| listener.awaits(session.key(), self.upstream.name()))
    }

    /// Has the server asked what it offers, unless that is under way.
    fn read_anew(self: &Arc<Self>) {
        if self.reading.swap(true, Ordering::AcqRel) {
            return;
        }
        let inner = Arc::clone(self);
        tokio::spawn(async move {
            let outcome = inner.upstream.refresh().await;
            inner.reading.store(false, Ordering::Release);
            if let Err(fault) = outcome {
                tracing::warn!(server = %inner.upstream.name(), %fault, "what the server offers could not be read anew");
            }
        });
    }

    fn sessions(&self) -> MutexGuard<'_, HashMap<SessionKey, Arc<Session>>> {
        self.sessions.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn unanswered(&self) -> MutexGuard<'_, Option<(Instant, Fault)>> {
        self.unanswered.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether it is small enough to be kept.
fn fits(message: &Message) -> bool {
    message.bytes().len() <= MOST_KEPT
}

/// What kept a session from being opened, to who wanted to say something in it.
fn unsent(fault: Fault) -> Fault {
    Fault { never_left: true, ..fault }
}

/// Whether a server that may have carried this out may be asked for it once more. Of a tool it says so itself: whoever lies there doubles its own work.
fn may_be_repeated(call: &Call) -> bool {
    call.method() != "tools/call" || is_harmless(call)
}

/// Whether the server says that the tool that is called changes nothing, or nothing more the second time.
pub(crate) fn is_harmless(call: &Call) -> bool {
    let annotations = call.tool().map(|tool| tool.annotations).unwrap_or_default();
    annotations.read_only == Some(true) || annotations.idempotent == Some(true)
}

#[cfg(test)]
mod tests;
