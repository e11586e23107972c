//! The handle to one open pipe, and how far its life is. What carries its messages is the source's business.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use portcullis_core::refusal::{Fault, FaultKind};
use portcullis_core::upstream::Pending;
use portcullis_core::wire::{Limits, Message};
use tokio::sync::{OwnedSemaphorePermit, mpsc, watch};
use tokio::time::Instant;

use super::notes::Notes;
use crate::account::Account;
use crate::departure::leaves;

/// Messages waiting to be written. 8: a pipe holds more small ones than that, and eight of the largest are still bearable.
const UNWRITTEN: usize = 8;
/// How long a caller waits for room among them. 30 s: a server that takes nothing for that long hangs.
pub(crate) const WRITE_PATIENCE: Duration = Duration::from_secs(30);

/// Takes what a server says to where it belongs.
pub trait Router: Send + Sync + 'static {
    /// One good message. Returns when it is delivered or given up; until then no other is read.
    fn message(&self, message: Message) -> impl Future<Output = ()> + Send;
    /// A message was lost; `texts` are what is known of it. Fails the calls it may have answered and says whether there were any.
    fn lost(&self, fault: &Fault, texts: &[&[u8]]) -> bool;
    /// The pipe is gone; everything that waits for it fails with this.
    fn ended(&self, fault: &Fault);
}

/// Takes messages at once instead of writing them one after the other.
pub trait Post: Send + Sync {
    /// Returns when the server has taken the message, or why it has not.
    fn post<'a>(&'a self, account: Account<'a>, message: Bytes) -> Pending<'a, Result<(), Fault>>;
}

/// What a pipe is begun with.
pub(super) struct Beginning<R> {
    pub(super) router: Arc<R>,
    pub(super) notes: Notes,
    pub(super) limits: Limits,
    /// Both ends of the queue of what is to be written; the router holds one, too.
    pub(super) input: mpsc::Sender<Bytes>,
    pub(super) messages: mpsc::Receiver<Bytes>,
    /// One of the places for pipes; given back when the pipe is gone.
    pub(super) place: OwnedSemaphorePermit,
    pub(super) ending: Arc<Ending>,
    /// Told when the pipe is gone.
    pub(super) on_end: OnEnd,
}

/// The queue of what is to be written, made before the pipe.
pub(super) fn queue() -> (mpsc::Sender<Bytes>, mpsc::Receiver<Bytes>) {
    mpsc::channel(UNWRITTEN)
}

/// The handle to an open pipe. Dropping it ends the pipe as [`Running::stop`] does.
pub(crate) struct Running {
    input: mpsc::Sender<Bytes>,
    pub(super) post: Option<Arc<dyn Post>>,
    stop: watch::Sender<bool>,
    life: Arc<Life>,
}

impl std::fmt::Debug for Running {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Running").field("stage", &*self.life.stage()).finish_non_exhaustive()
    }
}

/// The other half of a [`Running`], for whoever carries the messages.
pub struct Carrier<R> {
    pub(crate) router: Arc<R>,
    pub(crate) notes: Notes,
    pub(crate) limits: Limits,
    pub(crate) messages: mpsc::Receiver<Bytes>,
    /// True once the pipe is to end.
    pub(crate) stopping: watch::Receiver<bool>,
    pub(crate) burial: Burial<R>,
}

impl<R> std::fmt::Debug for Carrier<R> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Carrier(..)")
    }
}

/// Whether it was told to end, and when it ended.
type OnEnd = Box<dyn FnOnce(bool, Instant) + Send>;

/// What is to be done when a pipe has ended.
pub(crate) struct Burial<R> {
    router: Arc<R>,
    notes: Notes,
    place: OwnedSemaphorePermit,
    life: Arc<Life>,
    /// When nobody had learned of the end yet.
    begun: OnceLock<Instant>,
    on_end: OnEnd,
}

/// Pipes that were told to end and are not gone yet: their places will be free soon.
#[derive(Debug, Default)]
pub(crate) struct Ending(AtomicUsize);

impl Ending {
    pub(super) fn any(&self) -> bool {
        self.0.load(Ordering::Acquire) > 0
    }
}

/// How far one pipe is. Both ends of its life may come first.
#[derive(Debug)]
struct Life {
    stage: Mutex<Stage>,
    ending: Arc<Ending>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Running,
    Ending,
    Over,
}

impl Life {
    fn stage(&self) -> MutexGuard<'_, Stage> {
        self.stage.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn begin_ending(&self) {
        let mut stage = self.stage();
        if *stage == Stage::Running {
            *stage = Stage::Ending;
            self.ending.0.fetch_add(1, Ordering::AcqRel);
        }
    }

    fn over(&self) {
        let mut stage = self.stage();
        if std::mem::replace(&mut *stage, Stage::Over) == Stage::Ending {
            self.ending.0.fetch_sub(1, Ordering::AcqRel);
        }
    }
}

impl Running {
    /// A handle, and what is needed to carry out what it asks for.
    pub(super) fn new<R: Router>(beginning: Beginning<R>) -> (Self, Carrier<R>) {
        let Beginning { router, notes, limits, input, messages, place, ending, on_end } = beginning;
        let (stop, stopping) = watch::channel(false);
        let life = Arc::new(Life { stage: Mutex::new(Stage::Running), ending });
        let burial = Burial {
            router: Arc::clone(&router),
            notes: notes.clone(),
            place,
            life: Arc::clone(&life),
            begun: OnceLock::new(),
            on_end,
        };
        (Self { input, post: None, stop, life }, Carrier { router, notes, limits, messages, stopping, burial })
    }

    /// Gives a message to the server. A fault of the queue means that the server never got any of it.
    pub(super) async fn say(&self, account: Account<'_>, message: Bytes) -> Result<(), Fault> {
        if let Some(post) = &self.post {
            leaves();
            let (post, account) = (Arc::clone(post), account.keep());
            // Goes on when nobody waits for it: half a message is no message, and its answer may be here already.
            let posted = tokio::spawn(async move { post.post(account.lend(), message).await });
            return posted.await.unwrap_or_else(|error| Err(Fault::new(FaultKind::Died, error.to_string())));
        }
        match tokio::time::timeout(WRITE_PATIENCE, self.input.reserve()).await {
            Ok(Ok(place)) => {
                leaves();
                place.send(message);
                Ok(())
            }
            Ok(Err(_)) => Err(Fault::before_sending(FaultKind::Died, "the server is gone")),
            Err(_) => Err(Fault::before_sending(FaultKind::Overloaded, "the server does not read its input")),
        }
    }

    pub(super) fn is_over(&self) -> bool {
        *self.life.stage() != Stage::Running
    }

    /// Asks the pipe to end. Returns at once.
    pub(super) fn stop(&self) {
        self.life.begin_ending();
        self.stop.send_replace(true);
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.stop();
    }
}

impl<R: Router> Burial<R> {
    /// The pipe is of no use any more. To be called before anybody learns of it: who learns of it may ask for a new one at once.
    pub(crate) fn begin(&self) {
        self.begun.get_or_init(Instant::now);
        self.life.begin_ending();
    }

    /// What waits fails now; nobody waits for the burial.
    pub(crate) fn announce(&self, fault: &Fault) {
        self.router.ended(fault);
    }

    /// Nothing is left of the pipe. `asked`: it was told to end.
    pub(crate) fn finish(self, fault: &Fault, asked: bool) {
        if !asked {
            self.notes.line(&fault.detail);
        }
        // First, as with `begin`: who learns of it may ask for a new one at once, and that one must not seem to be older than this end.
        let ended = *self.begun.get_or_init(Instant::now);
        (self.on_end)(asked, ended);
        self.router.ended(fault);
        drop(self.place);
        self.life.over();
    }
}
