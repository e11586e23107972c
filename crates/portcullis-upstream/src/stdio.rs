//! An upstream over stdio: the server is our child. Legacy: one child for each client session. Modern: one for everybody.
//!
//! Head of line: all answers of a child come through one pipe, in the order it writes them. When a reader falls 64 messages
//! behind, the pipe is not read and the child waits: that is the back-pressure. It also holds up others on the same
//! child, so after `stall_timeout_ms` the slow reply is given up and the rest goes on.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use portcullis_core::call::{Call, SessionKey, Subject};
use portcullis_core::catalogue::Catalogue;
use portcullis_core::gate::Cleared;
use portcullis_core::refusal::{Fault, FaultKind};
use portcullis_core::upstream::{Media, Pending, Reply, Upstream};
use portcullis_core::version::Era;
use portcullis_core::wire::{Kind, Limits, Message};
use tokio::sync::Semaphore;

use crate::answers::accepted;
use crate::settings::{SettingsError, StdioSettings};
use crate::standing::{Admission, Standing, opens, shutting_down};

mod backoff; // when a dying child may be started again
mod child; // one running child
mod contact; // what we ask on our own account
pub mod guardian; // the child's last step before its own program
mod launch; // which program, with what
mod legacy; // one session, one child
mod lines; // bytes -> lines
mod modern; // everybody's child
mod notes; // what is said about a child in our log
mod outlet; // from one pipe to many replies
mod owners; // whose a spoiled line was
mod start; // a child from its place to its pipes
mod stderr; // a child's error output

pub use self::notes::StderrSink;

use self::backoff::Backoff;
use self::child::{Ending, Running};
use self::launch::Launcher;
use self::legacy::Session;
use self::modern::Switchboard;
use self::notes::{Notes, Watcher};
use self::outlet::Inlet;

/// How long a stop waits for all children. 7 s: the three steps of the slowest child, and a second.
const ALL_GONE: Duration = Duration::from_secs(7);

/// A server that runs as our child.
#[derive(Debug)]
pub struct StdioUpstream {
    inner: Arc<Inner>,
}

struct Inner {
    /// For what outlives a call: tasks hold no strong reference.
    me: Weak<Inner>,
    name: Arc<str>,
    launcher: Launcher,
    limits: Limits,
    first_byte: Duration,
    stall: Duration,
    notes: Notes,
    places: Arc<Semaphore>,
    ending: Arc<Ending>,
    max_children: u32,
    backoff: Mutex<Backoff>,
    sessions: Mutex<HashMap<SessionKey, Arc<LegacyChild>>>,
    /// Locked while the shared child is started, so that there is one.
    shared: tokio::sync::Mutex<Option<Arc<SharedChild>>>,
    standing: Standing,
}

#[derive(Debug)]
struct LegacyChild {
    session: Arc<Session>,
    running: Running,
}

#[derive(Debug)]
struct SharedChild {
    board: Arc<Switchboard>,
    running: Running,
}

impl std::fmt::Debug for Inner {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("StdioUpstream").field("name", &self.name).finish_non_exhaustive()
    }
}

impl StdioUpstream {
    /// Checks the settings; starts no process. `guardian` is the gateway's own program, which must call [`guardian::exec_child`]
    /// under [`guardian::GUARDIAN_WORD`]; with `None` children are started directly and outlive a gateway that is killed.
    /// `sink` gets every line of the children's error output.
    ///
    /// # Errors
    /// A setting that cannot work, naming its key.
    pub fn new(
        name: Arc<str>,
        settings: &StdioSettings,
        limits: Limits,
        guardian: Option<PathBuf>,
        sink: StderrSink,
    ) -> Result<Arc<Self>, SettingsError> {
        for (key, value) in [
            ("max_children", u64::from(settings.max_children)),
            ("first_byte_timeout_ms", settings.first_byte_timeout_ms),
            ("probe_timeout_ms", settings.probe_timeout_ms),
            ("stall_timeout_ms", settings.stall_timeout_ms),
        ] {
            if value == 0 {
                return Err(SettingsError::Zero { key });
            }
        }
        let launcher = Launcher::new(settings, guardian)?;
        let notes = Notes::new(Arc::clone(&name), sink);
        let inner = Arc::new_cyclic(|me| Inner {
            me: Weak::clone(me),
            name,
            launcher,
            limits,
            first_byte: Duration::from_millis(settings.first_byte_timeout_ms),
            stall: Duration::from_millis(settings.stall_timeout_ms),
            notes,
            places: Arc::new(Semaphore::new(usize::from(settings.max_children))),
            ending: Arc::default(),
            max_children: u32::from(settings.max_children),
            backoff: Mutex::default(),
            sessions: Mutex::default(),
            shared: tokio::sync::Mutex::default(),
            standing: Standing::new(settings.era, Duration::from_millis(settings.probe_timeout_ms)),
        });
        Ok(Arc::new(Self { inner }))
    }

    /// Whether the program is there to be started, for telling a typing error from a server that is down.
    ///
    /// # Errors
    /// [`SettingsError::BadCommand`] when it is not.
    pub fn find_program(&self) -> Result<(), SettingsError> {
        self.inner.launcher.find().map(drop).map_err(|fault| SettingsError::BadCommand { reason: fault.detail })
    }
}

impl Upstream for StdioUpstream {
    fn name(&self) -> &Arc<str> {
        &self.inner.name
    }

    /// For a server that speaks both eras: the newer. [`Upstream::send`] takes both.
    fn era(&self) -> Option<Era> {
        self.inner.standing.era()
    }

    fn send(&self, cleared: Cleared) -> Pending<'_, Result<Reply, Fault>> {
        Box::pin(async move { self.inner.deliver(cleared.call()).await })
    }

    fn catalogue(&self) -> Arc<Catalogue> {
        self.inner.standing.catalogue()
    }

    fn observe(&self, listed: &Message) {
        self.inner.standing.observe(listed);
    }

    fn refresh(&self) -> Pending<'_, Result<Arc<Catalogue>, Fault>> {
        Box::pin(self.inner.refresh())
    }

    fn forget(&self, session: SessionKey) -> Pending<'_, ()> {
        Box::pin(async move { self.inner.end_session(session) })
    }

    fn shut_down(&self) -> Pending<'_, ()> {
        Box::pin(async move {
            self.inner.standing.close();
            let sessions: Vec<_> = self.inner.sessions().drain().map(|(_, child)| child).collect();
            let shared = self.inner.shared.lock().await.take();
            let running =
                || sessions.iter().map(|child| &child.running).chain(shared.iter().map(|child| &child.running));
            running().for_each(Running::stop);
            drop((sessions, shared));
            // Every child holds a place until it is reaped, those ended a moment ago too.
            let _ = tokio::time::timeout(ALL_GONE, self.inner.places.acquire_many(self.inner.max_children)).await;
        })
    }
}

impl Inner {
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
            (Subject::Message(message), Era::Modern) => self.say_modern(message).await,
            (Subject::Stream { last_event_id: None, .. }, Era::Legacy) => {
                let inlet = self.session(call)?.session.stand()?;
                Ok(Reply { media: Media::EventStream, status: None, arrivals: inlet.arrivals() })
            }
            // A child gives no event ids, so there is nothing to resume.
            (Subject::Stream { .. }, _) => {
                Err(Fault::before_sending(FaultKind::NoStream, "nothing to resume over stdio"))
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
        let child = if opens { self.open_session(call).await? } else { self.session(call)? };
        if message.kind() != Kind::Request {
            child.running.say(message.bytes().clone()).await?;
            return Ok(accepted());
        }
        let mut inlet = child.session.expect(message, self.first_byte)?;
        if let (Some(id), session) = (message.id().cloned(), Arc::downgrade(&child.session)) {
            inlet.on_abandon(move || {
                if let Some(session) = session.upgrade() {
                    session.forget(&id);
                }
            });
        }
        child.running.say(message.bytes().clone()).await?;
        let key = call.context.session.as_ref().map(|session| session.key).filter(|_| opens);
        Ok(match key {
            Some(key) => unframed(contact::greeting(Weak::clone(&self.me), key, inlet)),
            None => unframed(inlet.arrivals()),
        })
    }

    async fn say_modern(&self, message: &Message) -> Result<Reply, Fault> {
        match message.kind() {
            Kind::Request => {
                let (child, inlet) = self.ask_shared(message).await?;
                // The reply keeps the child's handle, so that a restart does not end what is still being read.
                let arrivals = inlet.arrivals();
                Ok(unframed(Box::pin(futures_util::stream::unfold(
                    (arrivals, child),
                    |(mut arrivals, child)| async move {
                        let item = futures_util::StreamExt::next(&mut arrivals).await?;
                        Some((item, (arrivals, child)))
                    },
                ))))
            }
            // A caller's own id means nothing to the shared child; callers cancel by closing their stream (C4, C8).
            Kind::Notification if message.method() == Some("notifications/cancelled") => Ok(accepted()),
            Kind::Notification => {
                self.shared_child().await?.running.say(message.bytes().clone()).await?;
                Ok(accepted())
            }
            Kind::Result | Kind::Error => {
                Err(Fault::before_sending(FaultKind::Garbage, "modern clients send no responses"))
            }
        }
    }

    async fn ask_shared(&self, message: &Message) -> Result<(Arc<SharedChild>, Inlet), Fault> {
        let child = self.shared_child().await?;
        let (bytes, inlet) = child.board.expect(message, self.first_byte)?;
        child.running.say(bytes).await?;
        Ok((child, inlet))
    }

    /// The one child of all callers, started if there is none.
    async fn shared_child(&self) -> Result<Arc<SharedChild>, Fault> {
        let mut shared = self.shared.lock().await;
        if let Some(child) = shared.as_ref().filter(|child| !child.running.is_over()) {
            return Ok(Arc::clone(child));
        }
        if self.standing.is_closing() {
            return Err(shutting_down());
        }
        let (board, running) = self
            .start(|input| Switchboard::new(input, self.notes.clone(), self.watcher(), self.limits, self.stall))
            .await?;
        let child = Arc::new(SharedChild { board, running });
        *shared = Some(Arc::clone(&child));
        Ok(child)
    }

    async fn open_session(&self, call: &Call) -> Result<Arc<LegacyChild>, Fault> {
        let Some(session) = &call.context.session else {
            return Err(Fault::before_sending(FaultKind::SessionLost, "an `initialize` outside of a session"));
        };
        let (desk, running) = self
            .start(|input| Session::new(input, self.notes.clone(), self.watcher(), self.limits, self.stall))
            .await?;
        let child = Arc::new(LegacyChild { session: desk, running });
        let earlier = self.sessions().insert(session.key, Arc::clone(&child));
        if let Some(earlier) = earlier {
            earlier.running.stop();
        }
        // A stop that began meanwhile may have ended all sessions before this one was among them.
        if self.standing.is_closing() {
            self.end_session(session.key);
            return Err(shutting_down());
        }
        Ok(child)
    }

    fn session(&self, call: &Call) -> Result<Arc<LegacyChild>, Fault> {
        let lost = |why: &str| Fault::before_sending(FaultKind::SessionLost, why);
        let key = call.context.session.as_ref().ok_or_else(|| lost("no session"))?.key;
        let mut sessions = self.sessions();
        let child = sessions.get(&key).cloned().ok_or_else(|| lost("no server process for this session"))?;
        if child.running.is_over() {
            sessions.remove(&key);
            return Err(lost("the server process of this session is gone"));
        }
        Ok(child)
    }

    fn end_session(&self, key: SessionKey) {
        let child = self.sessions().remove(&key);
        if let Some(child) = child {
            child.running.stop();
        }
    }

    fn sessions(&self) -> MutexGuard<'_, HashMap<SessionKey, Arc<LegacyChild>>> {
        self.sessions.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn backoff(&self) -> MutexGuard<'_, Backoff> {
        self.backoff.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn unframed(arrivals: portcullis_core::upstream::Arrivals) -> Reply {
    Reply { media: Media::Unframed, status: None, arrivals }
}

#[cfg(test)]
mod tests;
