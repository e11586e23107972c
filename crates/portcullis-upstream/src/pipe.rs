//! A server at the other end of a pipe: one for each legacy session, one for everybody in the modern era. What runs at its far end (a child,
//! a WebSocket, an HTTP+SSE stream) is a [`Source`]; who gets which message, what waits and when a pipe is opened again is the same for all.
//!
//! Head of line: all answers of a pipe come one after the other. When a reader falls 64 messages behind, the pipe is not read and the server
//! waits: that is the back-pressure. It also holds up others on the same pipe, so after `stall_timeout_ms` the slow reply is given up and the rest goes on.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use portcullis_core::call::{Call, SessionKey, Subject};
use portcullis_core::catalogue::Catalogue;
use portcullis_core::gate::Cleared;
use portcullis_core::refusal::{Fault, FaultKind};
use portcullis_core::upstream::{Arrivals, Media, Pending, Reply, Upstream};
use portcullis_core::version::Era;
use portcullis_core::wire::{Kind, Limits, Message};
use tokio::sync::Semaphore;
use tokio::time::Instant;

use crate::account::Account;
use crate::answers::accepted;
use crate::settings::{EraSetting, SettingsError};
use crate::standing::{Admission, Standing, opens, shutting_down};

mod backoff; // when a pipe that keeps breaking may be opened again
mod contact; // what we ask on our own account
pub(crate) mod intake; // texts -> messages
mod legacy; // one session, one pipe
mod modern; // everybody's pipe
pub(crate) mod notes; // what is said about a server in our log
mod outlet; // from one pipe to many replies
mod owners; // whose a spoiled message was
pub(crate) mod running; // the handle to one open pipe
mod start; // a pipe from its place to its router

use self::backoff::Backoff;
use self::legacy::Session;
use self::modern::Switchboard;
pub use self::notes::StderrSink;
use self::notes::{Notes, Watcher};
use self::outlet::Inlet;
use self::running::Running;
pub(crate) use self::running::{Carrier, Ending, Post, Router};

/// How long a stop waits for all pipes. 7 s: the three steps of the slowest child, and a second.
const ALL_GONE: Duration = Duration::from_secs(7);

/// Opens pipes to one server. For this crate only: nobody else can name what its methods take.
pub trait Source: Send + Sync + 'static {
    /// A pipe that is open, and that nobody reads yet.
    type Raw: Send;
    /// The setting that bounds how many are open at once.
    const MOST: &'static str;

    /// Opens one on somebody's account. A fault means that no message left.
    fn open(&self, account: Account<'_>) -> impl Future<Output = Result<Self::Raw, Fault>> + Send;

    /// Begins to carry messages, until the pipe breaks or is told to stop. What it returns takes what callers say; without one it comes
    /// by the carrier's queue, where our own refusals and cancellations come in any case.
    fn run<R: Router>(&self, raw: Self::Raw, carrier: Carrier<R>) -> Option<Arc<dyn Post>>;
}

/// What every server at the end of a pipe has in common.
pub(crate) struct PipeSettings {
    pub(crate) era: EraSetting,
    /// Pipes open at once.
    pub(crate) most: u16,
    pub(crate) first_byte_timeout_ms: u64,
    pub(crate) probe_timeout_ms: u64,
    pub(crate) stall_timeout_ms: u64,
}

/// A server behind pipes: of what kind, `S` says.
pub struct PipeUpstream<S> {
    /// For what outlives a call: tasks hold no strong reference.
    me: Weak<PipeUpstream<S>>,
    name: Arc<str>,
    pub(crate) source: S,
    limits: Limits,
    first_byte: Duration,
    stall: Duration,
    notes: Notes,
    places: Arc<Semaphore>,
    ending: Arc<Ending>,
    most: u32,
    backoff: Mutex<Backoff>,
    sessions: Mutex<HashMap<SessionKey, Arc<SessionPipe>>>,
    /// Locked while the shared pipe is opened, so that there is one.
    shared: tokio::sync::Mutex<Shared>,
    standing: Standing,
}

#[derive(Debug)]
struct SessionPipe {
    session: Arc<Session>,
    running: Running,
}

#[derive(Default)]
struct Shared {
    pipe: Option<Arc<SharedPipe>>,
    /// When it last could not be opened, and why.
    failed: Option<(Instant, Fault)>,
}

#[derive(Debug)]
struct SharedPipe {
    board: Arc<Switchboard>,
    running: Running,
}

impl<S> fmt::Debug for PipeUpstream<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PipeUpstream").field("name", &self.name).finish_non_exhaustive()
    }
}

impl<S: Source> PipeUpstream<S> {
    /// Checks the settings; opens nothing. `sink` gets what is to be said of the server in our log.
    ///
    /// # Errors
    /// A limit of zero, naming its key.
    pub(crate) fn over(
        name: Arc<str>,
        settings: &PipeSettings,
        source: S,
        limits: Limits,
        sink: StderrSink,
    ) -> Result<Arc<Self>, SettingsError> {
        for (key, value) in [
            (S::MOST, u64::from(settings.most)),
            ("first_byte_timeout_ms", settings.first_byte_timeout_ms),
            ("probe_timeout_ms", settings.probe_timeout_ms),
            ("stall_timeout_ms", settings.stall_timeout_ms),
        ] {
            if value == 0 {
                return Err(SettingsError::Zero { key });
            }
        }
        let notes = Notes::new(Arc::clone(&name), sink);
        Ok(Arc::new_cyclic(|me| Self {
            me: Weak::clone(me),
            name,
            source,
            limits,
            first_byte: Duration::from_millis(settings.first_byte_timeout_ms),
            stall: Duration::from_millis(settings.stall_timeout_ms),
            notes,
            places: Arc::new(Semaphore::new(usize::from(settings.most))),
            ending: Arc::default(),
            most: u32::from(settings.most),
            backoff: Mutex::default(),
            sessions: Mutex::default(),
            shared: tokio::sync::Mutex::default(),
            standing: Standing::new(settings.era, Duration::from_millis(settings.probe_timeout_ms)),
        }))
    }
}

impl<S: Source> Upstream for PipeUpstream<S> {
    fn name(&self) -> &Arc<str> {
        &self.name
    }

    /// For a server that speaks both eras: the newer. [`Upstream::send`] takes both.
    fn era(&self) -> Option<Era> {
        self.standing.era()
    }

    fn send(&self, cleared: Cleared) -> Pending<'_, Result<Reply, Fault>> {
        Box::pin(async move { self.deliver(cleared.call()).await })
    }

    fn catalogue(&self) -> Arc<Catalogue> {
        self.standing.catalogue()
    }

    fn observe(&self, listed: &Message) {
        self.standing.observe(listed);
    }

    fn refresh(&self) -> Pending<'_, Result<Arc<Catalogue>, Fault>> {
        Box::pin(self.standing.refresh(|| self.contact()))
    }

    fn forget(&self, session: SessionKey) -> Pending<'_, ()> {
        Box::pin(async move { self.end_session(session) })
    }

    fn shut_down(&self) -> Pending<'_, ()> {
        Box::pin(async move {
            self.standing.close();
            let sessions: Vec<_> = self.sessions().drain().map(|(_, pipe)| pipe).collect();
            let shared = self.shared.lock().await.pipe.take();
            let running = || sessions.iter().map(|pipe| &pipe.running).chain(shared.iter().map(|pipe| &pipe.running));
            running().for_each(Running::stop);
            drop((sessions, shared));
            // Every pipe holds a place until it is gone, those ended a moment ago too.
            let _ = tokio::time::timeout(ALL_GONE, self.places.acquire_many(self.most)).await;
        })
    }
}

impl<S: Source> PipeUpstream<S> {
    async fn deliver(&self, call: &Call) -> Result<Reply, Fault> {
        if self.standing.is_closing() {
            return Err(shutting_down());
        }
        self.standing.know_era(|| self.contact()).await?;
        let admission = self.standing.admit(call.era(), opens(call))?;
        match (&call.subject, call.era()) {
            (Subject::Message(message), Era::Legacy) if admission == Admission::Trial => {
                let outcome = self.say_legacy(call, message).await;
                self.standing.prove(outcome).await
            }
            (Subject::Message(message), Era::Legacy) => self.say_legacy(call, message).await,
            (Subject::Message(message), Era::Modern) => self.say_modern(call, message).await,
            (Subject::Stream { last_event_id: None, .. }, Era::Legacy) => {
                let inlet = self.session(call)?.session.stand()?;
                Ok(Reply::new(Media::EventStream, inlet.arrivals()))
            }
            // A pipe has no event ids, so there is nothing to resume.
            (Subject::Stream { .. }, _) => {
                Err(Fault::before_sending(FaultKind::NoStream, "this transport has nothing to resume"))
            }
            (Subject::Close, _) => {
                if let Some(session) = &call.context.session {
                    self.end_session(session.key);
                }
                Ok(accepted())
            }
        }
    }

    async fn say_legacy(&self, call: &Call, message: &Message) -> Result<Reply, Fault> {
        let opens = opens(call);
        let pipe = if opens { self.open_session(call).await? } else { self.session(call)? };
        let account = Account::Call(call);
        if message.kind() != Kind::Request {
            pipe.running.say(account, message.bytes().clone()).await?;
            return Ok(accepted());
        }
        let mut inlet = pipe.session.expect(message, self.first_byte)?;
        if let (Some(id), session) = (message.id().cloned(), Arc::downgrade(&pipe.session)) {
            inlet.on_abandon(move || {
                if let Some(session) = session.upgrade() {
                    session.forget(&id);
                }
            });
        }
        tokio::select! {
            said = pipe.running.say(account, message.bytes().clone()) => said?,
            // A server may hold up what a message was sent with until it has dealt with it.
            () = inlet.begins() => {}
        }
        let key = call.context.session.as_ref().map(|session| session.key).filter(|_| opens);
        Ok(match key {
            Some(key) => unframed(contact::greeting(Weak::clone(&self.me), key, inlet)),
            None => unframed(inlet.arrivals()),
        })
    }

    async fn say_modern(&self, call: &Call, message: &Message) -> Result<Reply, Fault> {
        let account = Account::Call(call);
        match message.kind() {
            Kind::Request => {
                let (pipe, inlet) = self.ask_shared(account, message).await?;
                // The reply keeps the pipe's handle, so that a restart does not end what is still being read.
                let arrivals = inlet.arrivals();
                Ok(unframed(Box::pin(futures_util::stream::unfold(
                    (arrivals, pipe),
                    |(mut arrivals, pipe)| async move {
                        let item = futures_util::StreamExt::next(&mut arrivals).await?;
                        Some((item, (arrivals, pipe)))
                    },
                ))))
            }
            // A caller's own id means nothing on the shared pipe; callers cancel by closing their stream (C4, C8).
            Kind::Notification if message.method() == Some("notifications/cancelled") => Ok(accepted()),
            Kind::Notification => {
                self.shared_pipe().await?.running.say(account, message.bytes().clone()).await?;
                Ok(accepted())
            }
            Kind::Result | Kind::Error => {
                Err(Fault::before_sending(FaultKind::Garbage, "modern clients send no responses"))
            }
        }
    }

    async fn ask_shared(&self, account: Account<'_>, message: &Message) -> Result<(Arc<SharedPipe>, Inlet), Fault> {
        let pipe = self.shared_pipe().await?;
        let (bytes, inlet) = pipe.board.expect(message, self.first_byte)?;
        pipe.running.say(account, bytes).await?;
        Ok((pipe, inlet))
    }

    /// The one pipe of all callers, opened if there is none: on nobody's account but ours.
    async fn shared_pipe(&self) -> Result<Arc<SharedPipe>, Fault> {
        let asked = Instant::now();
        let mut shared = self.shared.lock().await;
        if let Some(pipe) = shared.pipe.as_ref().filter(|pipe| !pipe.running.is_over()) {
            return Ok(Arc::clone(pipe));
        }
        // Who waited for an attempt that failed does not wait for another one.
        if let Some((_, fault)) = shared.failed.as_ref().filter(|(when, _)| *when > asked) {
            return Err(fault.clone());
        }
        if self.standing.is_closing() {
            return Err(shutting_down());
        }
        let started = self.start(Account::OWN, |input| {
            Switchboard::new(input, self.notes.clone(), self.watcher(), self.limits, self.stall)
        });
        match started.await {
            Ok((board, running)) => {
                let pipe = Arc::new(SharedPipe { board, running });
                shared.pipe = Some(Arc::clone(&pipe));
                Ok(pipe)
            }
            Err(fault) => {
                shared.failed = Some((Instant::now(), fault.clone()));
                Err(fault)
            }
        }
    }

    async fn open_session(&self, call: &Call) -> Result<Arc<SessionPipe>, Fault> {
        let Some(session) = &call.context.session else {
            return Err(Fault::before_sending(FaultKind::SessionLost, "an `initialize` outside of a session"));
        };
        let (desk, running) = self
            .start(Account::Call(call), |input| {
                Session::new(input, self.notes.clone(), self.watcher(), self.limits, self.stall)
            })
            .await?;
        let pipe = Arc::new(SessionPipe { session: desk, running });
        let earlier = self.sessions().insert(session.key, Arc::clone(&pipe));
        if let Some(earlier) = earlier {
            earlier.running.stop();
        }
        // A stop that began meanwhile may have ended all sessions before this one was among them.
        if self.standing.is_closing() {
            self.end_session(session.key);
            return Err(shutting_down());
        }
        Ok(pipe)
    }

    fn session(&self, call: &Call) -> Result<Arc<SessionPipe>, Fault> {
        let lost = |why: &str| Fault::before_sending(FaultKind::SessionLost, why);
        let key = call.context.session.as_ref().ok_or_else(|| lost("no session"))?.key;
        let mut sessions = self.sessions();
        let pipe = sessions.get(&key).cloned().ok_or_else(|| lost("nothing is open for this session"))?;
        if pipe.running.is_over() {
            sessions.remove(&key);
            return Err(lost("what was open for this session has ended"));
        }
        Ok(pipe)
    }

    fn end_session(&self, key: SessionKey) {
        let pipe = self.sessions().remove(&key);
        if let Some(pipe) = pipe {
            pipe.running.stop();
        }
    }

    fn sessions(&self) -> MutexGuard<'_, HashMap<SessionKey, Arc<SessionPipe>>> {
        self.sessions.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn backoff(&self) -> MutexGuard<'_, Backoff> {
        self.backoff.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn unframed(arrivals: Arrivals) -> Reply {
    Reply::new(Media::Unframed, arrivals)
}
