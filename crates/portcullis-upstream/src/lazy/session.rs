//! One client session: what opens it at the server, and whether that was done. It is opened once at a time, by whoever needs it first.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use portcullis_core::call::SessionKey;
use portcullis_core::gate::Cleared;
use portcullis_core::refusal::{Fault, FaultKind};
use portcullis_core::upstream::{Reply, Upstream};
use portcullis_core::wire::{Kind, Message};
use tokio::sync::watch;

use super::Inner;
use crate::answers::{accepted, answer_of};
use crate::probe;
use crate::standing::shutting_down;

/// How far a session has come with the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stage {
    Unopened,
    /// With a number that is another each time.
    Open(u64),
    /// The client's session is over.
    Gone,
}

/// An open session.
#[derive(Debug)]
pub(super) struct Opened {
    pub(super) generation: u64,
    /// The server's answer to `initialize`, for who opened it.
    pub(super) answer: Option<Message>,
}

#[derive(Debug)]
pub(super) struct Session {
    key: SessionKey,
    kept: Mutex<Kept>,
    stage: watch::Sender<Stage>,
    /// Locked while the session is opened.
    line: tokio::sync::Mutex<Line>,
    /// How many attempts to open it have ended.
    ended: AtomicU64,
}

/// What the client said that a server has to hear first. Three messages at most; the level only until the server has heard it, as it is from then on
/// one of the things that are asked for again when a session was lost.
#[derive(Debug)]
struct Kept {
    initialize: Cleared,
    initialized: Option<Cleared>,
    level: Option<Cleared>,
}

#[derive(Debug, Default)]
struct Line {
    /// The open session was told that it is initialized.
    told: bool,
    /// How many times it was opened.
    opened: u64,
    /// Why the latest attempt failed.
    failed: Option<Fault>,
}

impl Session {
    pub(super) fn new(key: SessionKey, initialize: Cleared) -> Arc<Self> {
        Arc::new(Self {
            key,
            kept: Mutex::new(Kept { initialize, initialized: None, level: None }),
            stage: watch::Sender::new(Stage::Unopened),
            line: tokio::sync::Mutex::default(),
            ended: AtomicU64::new(0),
        })
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) const fn key(&self) -> SessionKey {
        self.key
    }

    pub(super) fn stage(&self) -> Stage {
        *self.stage.borrow()
    }

    /// Whether the server was told nothing of it, and is not being told.
    pub(super) fn is_untouched(&self) -> bool {
        self.stage() == Stage::Unopened && self.line.try_lock().is_ok()
    }

    /// The level of log messages that the client wants and the server is still to hear of.
    pub(super) fn prefer(&self, level: Option<Cleared>) {
        self.kept().level = level;
    }

    /// Ends it here. Says how far it had come; an opening under way is undone by who opens.
    pub(super) fn end(&self) -> Stage {
        self.stage.send_replace(Stage::Gone)
    }

    /// The server forgot it.
    pub(super) fn lost(&self, generation: u64) {
        self.stage.send_if_modified(|stage| {
            let lost = *stage == Stage::Open(generation);
            if lost {
                *stage = Stage::Unopened;
            }
            lost
        });
    }

    /// Until it is open or over.
    pub(super) async fn until_not_unopened(&self) {
        // The sender is ours: there is no end to wait for in vain.
        let _ = self.stage.subscribe().wait_for(|stage| *stage != Stage::Unopened).await;
    }

    /// Until it is lost, opened anew or over.
    pub(super) async fn until_not(&self, generation: u64) {
        let _ = self.stage.subscribe().wait_for(|stage| *stage != Stage::Open(generation)).await;
    }

    /// Opens it, unless it is open. Those who come while someone opens it get the same outcome.
    pub(super) async fn open(self: &Arc<Self>, lazy: &Arc<Inner>) -> Result<Opened, Fault> {
        if let Stage::Open(generation) = self.stage() {
            return Ok(Opened { generation, answer: None });
        }
        let (seen, session, lazy) = (self.ended.load(Ordering::Acquire), Arc::clone(self), Arc::clone(lazy));
        // In a task of its own: a session that was begun is opened or failed, also when nobody waits any more.
        let opening = tokio::spawn(async move { session.open_after(seen, &lazy).await });
        opening.await.unwrap_or_else(|_| Err(shutting_down()))
    }

    async fn open_after(&self, seen: u64, lazy: &Arc<Inner>) -> Result<Opened, Fault> {
        let mut line = self.line.lock().await;
        match self.stage() {
            Stage::Open(generation) => return Ok(Opened { generation, answer: None }),
            Stage::Gone => return Err(over()),
            Stage::Unopened => {}
        }
        if let Some(fault) = line.failed.as_ref().filter(|_| self.ended.load(Ordering::Acquire) > seen) {
            return Err(fault.clone());
        }
        let greeted = tokio::time::timeout(lazy.patience, self.greet(lazy.upstream.as_ref(), &mut line)).await;
        let greeted = greeted.unwrap_or_else(|_| {
            let detail = format!("the session with the server was not open within {:?}", lazy.patience);
            Err(Fault::new(FaultKind::TimedOut, detail))
        });
        self.ended.fetch_add(1, Ordering::AcqRel);
        line.failed = greeted.as_ref().err().cloned();
        let answer = greeted?;
        line.opened += 1;
        let generation = line.opened;
        let alive = self.stage.send_if_modified(|stage| {
            let alive = *stage != Stage::Gone;
            if alive {
                *stage = Stage::Open(generation);
            }
            alive
        });
        if !alive {
            lazy.upstream.forget(self.key).await;
            return Err(over());
        }
        if !lazy.upstream.catalogue().is_read() {
            lazy.read_anew();
        }
        if let Some(listener) = lazy.listener().filter(|_| generation > 1) {
            listener.renewed(self.key, lazy.upstream.name());
        }
        Ok(Opened { generation, answer: Some(answer) })
    }

    /// Says to the server what the client said, in the client's order. Messages of the server beside its answer are not for anybody yet.
    async fn greet(&self, upstream: &dyn Upstream, line: &mut Line) -> Result<Message, Fault> {
        line.told = false;
        let initialize = self.kept().initialize.again();
        let answer = answer_of(upstream.send(initialize).await?).await?;
        if answer.kind() == Kind::Error {
            let code = answer.error_code().unwrap_or_default();
            return Err(Fault::new(FaultKind::Garbage, format!("the server refused `initialize` with code {code}")));
        }
        probe::legacy_version(&answer)?;
        let initialized = self.kept().initialized.as_ref().map(Cleared::again);
        if let Some(initialized) = initialized {
            upstream.send(initialized).await?;
            line.told = true;
        }
        let level = self.kept().level.as_ref().map(Cleared::again);
        if let Some(level) = level {
            if let Err(fault) = answer_of(upstream.send(level).await?).await {
                tracing::info!(server = %upstream.name(), %fault, "the server did not take the level for log messages");
            }
            self.prefer(None);
        }
        Ok(answer)
    }

    /// The client's `notifications/initialized`: kept for every opening, and sent if one came before it.
    pub(super) async fn initialized(&self, upstream: &dyn Upstream, cleared: Cleared) -> Result<Reply, Fault> {
        let earlier = self.kept().initialized.replace(cleared.again());
        if self.is_untouched() {
            return Ok(accepted());
        }
        let mut line = self.line.lock().await;
        match self.stage() {
            // Whoever opened the session meanwhile has said it.
            Stage::Open(_) if line.told && earlier.is_none() => Ok(accepted()),
            Stage::Open(_) => {
                line.told = true;
                upstream.send(cleared).await
            }
            Stage::Unopened => Ok(accepted()),
            Stage::Gone => Err(over()),
        }
    }
}

fn over() -> Fault {
    Fault::before_sending(FaultKind::SessionLost, "the client's session is over")
}
