//! The handle that the pipeline appends to: checks, counts and queues, and never waits for the disk.

use std::fmt;
use std::path::Path;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{RecvTimeoutError, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle, Thread};
use std::time::{Duration, Instant};

use portcullis_core::clock::Clock;
use portcullis_core::ledger::{Ledger, Record, Unwritable};

use crate::error::AuditError;
use crate::layout::Layout;
use crate::metrics::Metrics;
use crate::settings::{AuditSettings, Content};
use crate::store::{Opener, Plan, Store, on_disk};
use crate::writer::{Command, Shared, Writer};

mod weight;

#[cfg(test)]
mod tests;

/// How long a dropped log may take to finish: a disk that hangs must not keep the process from ending.
const LAST_WAIT: Duration = Duration::from_secs(5);

/// The audit log on disk.
pub struct AuditLog {
    queue: SyncSender<Command>,
    /// Waiting records at which the writer is woken from its rest: a quarter of the queue, so that a burst meets the rest of it empty.
    wake_at: i64,
    writer: Thread,
    thread: Mutex<Option<JoinHandle<()>>>,
    shared: Arc<Shared>,
    metrics: Arc<Metrics>,
    strict: bool,
    content: Content,
    queue_bytes: usize,
    layout: Layout,
}

impl fmt::Debug for AuditLog {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AuditLog").field("layout", &self.layout).field("strict", &self.strict).finish_non_exhaustive()
    }
}

impl AuditLog {
    /// Opens the log at `path` (see [`Layout::at`]) or begins it, repairs a torn end, and starts the writer. `gateway` is the version
    /// written into segment headers. Blocks on the disk; the time to read the newest segment is the most it takes.
    ///
    /// # Errors
    /// A setting outside its limits, a log that another process holds, or a disk that says no.
    pub fn open(
        path: &Path,
        settings: &AuditSettings,
        clock: Arc<dyn Clock>,
        gateway: &'static str,
        metrics: Arc<Metrics>,
    ) -> Result<Self, AuditError> {
        settings.validate()?;
        let layout = Layout::at(path)?;
        let plan = Plan { layout, clock, gateway, rotate_bytes: settings.rotate_bytes, content: settings.content };
        Self::open_with(plan, settings, metrics, on_disk())
    }

    fn open_with(
        plan: Plan,
        settings: &AuditSettings,
        metrics: Arc<Metrics>,
        opener: Opener,
    ) -> Result<Self, AuditError> {
        let layout = plan.layout.clone();
        let store = Store::open(plan, opener)?;
        metrics.log.healthy.set(1);
        let (queue, incoming) = sync_channel(settings.queue);
        let shared = Arc::new(Shared::default());
        let writer = Writer::new(store, incoming, Arc::clone(&shared), Arc::clone(&metrics), settings.sync_interval());
        let spawned = thread::Builder::new().name("audit".to_owned()).spawn(move || writer.run());
        let thread = spawned.map_err(AuditError::io("start the writer of", layout.folder()))?;
        Ok(Self {
            queue,
            wake_at: i64::try_from(settings.queue / 4).unwrap_or(i64::MAX),
            writer: thread.thread().clone(),
            thread: Mutex::new(Some(thread)),
            shared,
            metrics,
            strict: settings.strict,
            content: settings.content,
            queue_bytes: settings.queue_bytes,
            layout,
        })
    }

    /// The names of the log's files.
    #[must_use]
    pub const fn layout(&self) -> &Layout {
        &self.layout
    }

    /// Whether the log can be written at the moment, for a readiness probe.
    ///
    /// # Errors
    /// What the disk said last.
    pub fn health(&self) -> Result<(), Unwritable> {
        self.shared.failure().map_or(Ok(()), |reason| Err(Unwritable(reason)))
    }

    /// Waits until everything appended before is durable. Blocks the calling thread.
    ///
    /// # Errors
    /// The log could not be written within `patience`.
    pub fn flush(&self, patience: Duration) -> Result<(), Unwritable> {
        self.ask(Command::Flush, patience)
    }

    /// Writes everything, a last entry that says so, and lets go of the log. Blocks; records appended later are lost and counted.
    ///
    /// # Errors
    /// Not everything could be written within `patience`.
    pub fn close(&self, patience: Duration) -> Result<(), Unwritable> {
        self.shared.closing.store(true, Ordering::SeqCst);
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner);
        if thread.as_ref().is_some_and(JoinHandle::is_finished) {
            return self.health();
        }
        drop(thread);
        self.writer.unpark();
        self.ask(Command::Close, patience)?;
        // The thread has answered and only has to let go of its files.
        if let Some(thread) = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take() {
            return thread.join().map_err(|_| Unwritable("the writer broke down".to_owned()));
        }
        Ok(())
    }

    fn ask(&self, command: fn(SyncSender<()>) -> Command, patience: Duration) -> Result<(), Unwritable> {
        let deadline = Instant::now() + patience;
        let (reply, answer) = sync_channel(1);
        let mut command = command(reply);
        loop {
            match self.queue.try_send(command) {
                Ok(()) => break self.writer.unpark(),
                Err(TrySendError::Disconnected(_)) => return Err(self.unwritable("it is closed")),
                Err(TrySendError::Full(back)) if Instant::now() < deadline => {
                    command = back;
                    thread::sleep(Duration::from_millis(1));
                }
                Err(TrySendError::Full(_)) => return Err(self.unwritable("the queue stayed full")),
            }
        }
        answer.recv_timeout(deadline.saturating_duration_since(Instant::now())).map_err(|error| match error {
            RecvTimeoutError::Timeout => self.unwritable("the disk did not answer in time"),
            RecvTimeoutError::Disconnected => self.unwritable("it was closed first"),
        })
    }

    fn unwritable(&self, otherwise: &str) -> Unwritable {
        Unwritable(self.shared.failure().unwrap_or_else(|| otherwise.to_owned()))
    }

    fn enqueue(&self, record: Record) -> Result<(), String> {
        // The outcome of a call that was let through waits for the disk, like everything where the log is not strict.
        if self.strict
            && !matches!(record, Record::Outcome(_))
            && let Some(reason) = self.shared.failure()
        {
            return Err(reason);
        }
        let bytes = weight::of(&record);
        let held = self.shared.held_bytes.fetch_add(bytes, Ordering::SeqCst).saturating_add(bytes);
        // In this order: the writer's last look is at the bytes, see `Writer::take_the_rest`.
        let refusal = if self.shared.closing.load(Ordering::SeqCst) {
            Some("it is closed")
        } else {
            (held > self.queue_bytes).then_some("the waiting records hold all the memory they may")
        };
        if let Some(refusal) = refusal {
            self.shared.held_bytes.fetch_sub(bytes, Ordering::SeqCst);
            return Err(refusal.to_owned());
        }
        // Counted before it is there: the writer may take it, and count it out, before this thread goes on.
        let waiting = self.metrics.log.queue.inc();
        let queued = self.queue.try_send(Command::Record(record, bytes));
        if waiting == self.wake_at {
            self.writer.unpark();
        }
        queued.map_err(|error| {
            self.metrics.log.queue.dec();
            self.shared.held_bytes.fetch_sub(bytes, Ordering::Relaxed);
            match error {
                TrySendError::Full(_) => "the queue is full".to_owned(),
                TrySendError::Disconnected(_) => "it is closed".to_owned(),
            }
        })
    }
}

impl Ledger for AuditLog {
    fn append(&self, record: Record) -> Result<(), Unwritable> {
        self.metrics.observe(&record);
        self.enqueue(record).or_else(|reason| {
            self.shared.lose(&self.metrics);
            if self.strict { Err(Unwritable(reason)) } else { Ok(()) }
        })
    }

    fn count(&self, family: &'static str, code: &'static str) {
        self.metrics.count(family, code);
    }

    fn keeps_content(&self) -> bool {
        self.content != Content::None
    }
}

impl Drop for AuditLog {
    fn drop(&mut self) {
        if self.thread.get_mut().unwrap_or_else(PoisonError::into_inner).is_some()
            && let Err(error) = self.close(LAST_WAIT)
        {
            tracing::error!(%error, "the audit log did not close cleanly");
        }
    }
}
