//! The thread between queue and disk. It batches, confirms in groups, and after a failure tries again until it succeeds.
//!
//! Records stay in memory until the disk has confirmed them, so a failure loses nothing that the queue had accepted.

use std::collections::VecDeque;
use std::io;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use portcullis_core::ledger::Record;

use crate::format::Item;
use crate::metrics::Metrics;
use crate::store::Store;

/// Records taken from the queue before they are handed to the operating system: one system call for many, and still prompt.
const BATCH: usize = 256;
/// Unconfirmed records at which the disk is asked early, so that a burst does not hold its memory for the whole interval.
const UNCONFIRMED: usize = 4096;
/// First pause after a failure and the longest: quick enough for a passing fault, slow enough not to fill the log of a full disk's host.
const FIRST_PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_secs(2);

/// Rest after the queue was emptied, cut short when it fills or somebody waits. Each turn of this thread costs a wake-up and a system call,
/// and each record of a turn some microseconds of hashing that calls on the same core wait for: after 5 ms of a busy log that is half a
/// millisecond at once, which was seen in p99. 0.5 ms makes it two thousand short turns a second at most, and is what a killed process may lose.
const BREATH: Duration = Duration::from_micros(500);

/// What goes through the queue.
pub(crate) enum Command {
    /// A record and the memory it was counted with.
    Record(Record, usize),
    /// Answer once everything before this is durable.
    Flush(SyncSender<()>),
    /// The same, then end the thread.
    Close(SyncSender<()>),
}

/// What the handle and the thread both see.
#[derive(Debug, Default)]
pub(crate) struct Shared {
    failed: AtomicBool,
    reason: Mutex<String>,
    /// Lost and not yet recorded as a gap.
    lost: AtomicU64,
    pub(crate) held_bytes: AtomicUsize,
    /// Nobody waits any more: a failing disk gets one last chance.
    pub(crate) closing: AtomicBool,
}

impl Shared {
    /// Why the log cannot be written at the moment.
    pub(crate) fn failure(&self) -> Option<String> {
        self.failed.load(Ordering::Acquire).then(|| self.reason.lock().unwrap_or_else(PoisonError::into_inner).clone())
    }

    fn set_failure(&self, reason: String) {
        *self.reason.lock().unwrap_or_else(PoisonError::into_inner) = reason;
        self.failed.store(true, Ordering::Release);
    }

    pub(crate) fn lose(&self, metrics: &Metrics) {
        self.lost.fetch_add(1, Ordering::Relaxed);
        metrics.log.lost.inc();
    }
}

/// State of the thread.
pub(crate) struct Writer {
    pub(crate) store: Store,
    pub(crate) queue: Receiver<Command>,
    pub(crate) shared: Arc<Shared>,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) interval: Duration,
    /// Accepted and not yet confirmed by the disk.
    pending: VecDeque<(Item, usize)>,
    /// How many of them the store has.
    appended: usize,
    /// The queue had less than a batch when it was last asked.
    drained: bool,
    /// When the oldest of them has to be confirmed.
    due: Option<Instant>,
    waiting: Vec<SyncSender<()>>,
    closer: Option<SyncSender<()>>,
}

impl Writer {
    pub(crate) fn new(
        store: Store,
        queue: Receiver<Command>,
        shared: Arc<Shared>,
        metrics: Arc<Metrics>,
        interval: Duration,
    ) -> Self {
        let (pending, waiting) = (VecDeque::new(), Vec::new());
        Self {
            store,
            queue,
            shared,
            metrics,
            interval,
            pending,
            appended: 0,
            drained: true,
            due: None,
            waiting,
            closer: None,
        }
    }

    /// Runs until the handle is closed or dropped.
    pub(crate) fn run(mut self) {
        loop {
            let more = self.wait();
            if let Err(error) = self.work(more)
                && !self.recover(&error)
            {
                self.give_up(&error);
                return;
            }
            if !more {
                return;
            }
            if self.drained {
                thread::park_timeout(BREATH);
            }
        }
    }

    /// Takes what the queue has, waiting for the first; false when the log is to be closed, and then the queue is empty.
    fn wait(&mut self) -> bool {
        let first = match self.due {
            None => self.queue.recv().map_err(|_| RecvTimeoutError::Disconnected),
            Some(due) => self.queue.recv_timeout(due.saturating_duration_since(Instant::now())),
        };
        let mut next = match first {
            Ok(command) => Some(command),
            Err(RecvTimeoutError::Timeout) => return true,
            Err(RecvTimeoutError::Disconnected) => return false,
        };
        let mut taken = 0;
        while let Some(command) = next {
            if !self.take(command) {
                self.take_the_rest();
                return false;
            }
            taken += 1;
            self.drained = taken < BATCH;
            next = if taken < BATCH { self.queue.try_recv().ok() } else { None };
        }
        true
    }

    /// False when it was the end.
    fn take(&mut self, command: Command) -> bool {
        match command {
            Command::Record(record, bytes) => {
                self.metrics.log.queue.dec();
                self.push(Item::Record(record), bytes);
            }
            Command::Flush(reply) => self.waiting.push(reply),
            Command::Close(reply) => {
                self.closer = Some(reply);
                return false;
            }
        }
        true
    }

    /// Nothing new is accepted once the log is being closed. What was accepted before that is written, even if it is still on its way into
    /// the queue: its bytes are counted before it is asked whether the log is closing.
    fn take_the_rest(&mut self) {
        loop {
            while let Ok(command) = self.queue.try_recv() {
                self.take(command);
            }
            let here: usize = self.pending.iter().map(|(_, bytes)| bytes).sum();
            if self.shared.held_bytes.load(Ordering::SeqCst) == here {
                return;
            }
            thread::yield_now();
        }
    }

    fn push(&mut self, item: Item, bytes: usize) {
        self.due.get_or_insert_with(|| Instant::now() + self.interval);
        self.pending.push_back((item, bytes));
    }

    /// Writes what came in since the last turn, and asks the disk to confirm when it is time.
    fn work(&mut self, more: bool) -> io::Result<()> {
        self.note_gap();
        if !more {
            let detail = "the gateway stopped; the log was closed cleanly".to_owned();
            self.push(Item::Own { at: self.store.clock().now(), code: "closed", detail }, 0);
        }
        self.append_pending()?;
        if self.pending.is_empty() && self.waiting.is_empty() {
            return Ok(());
        }
        self.store.write_out()?;
        let is_due = self.due.is_some_and(|due| due <= Instant::now());
        if !more {
            self.store.seal()?;
        } else if is_due || !self.waiting.is_empty() || self.pending.len() >= UNCONFIRMED {
            self.store.sync()?;
        } else {
            return Ok(());
        }
        self.confirmed();
        Ok(())
    }

    fn append_pending(&mut self) -> io::Result<()> {
        while let Some((item, _)) = self.pending.get(self.appended) {
            self.store.append(item)?;
            self.appended += 1;
        }
        Ok(())
    }

    fn note_gap(&mut self) {
        let lost = self.shared.lost.swap(0, Ordering::Relaxed);
        if lost > 0 {
            self.push(Item::Gap { at: self.store.clock().now(), lost }, 0);
        }
    }

    /// Lets go of what is on disk.
    fn settle(&mut self) {
        let durable = self.appended.saturating_sub(self.store.unconfirmed());
        let bytes = self.pending.drain(..durable).map(|(_, bytes)| bytes).sum();
        self.appended -= durable;
        self.shared.held_bytes.fetch_sub(bytes, Ordering::Relaxed);
    }

    fn confirmed(&mut self) {
        self.settle();
        self.due = None;
        self.metrics.log.entries.set(i64::try_from(self.store.seq()).unwrap_or(i64::MAX));
        for reply in self.waiting.drain(..).chain(self.closer.take()) {
            // Whoever asked may have stopped waiting.
            let _gone = reply.try_send(());
        }
    }

    /// Tries until the log can be written again; false when it is being closed and the last attempt failed too.
    fn recover(&mut self, first: &io::Error) -> bool {
        let began = Instant::now();
        let mut reason = first.to_string();
        tracing::error!(reason, "the audit log cannot be written; records wait in memory");
        self.shared.set_failure(reason.clone());
        self.metrics.log.failures.inc();
        self.metrics.log.healthy.set(0);
        let mut pause = FIRST_PAUSE;
        loop {
            let last = self.shared.closing.load(Ordering::Acquire);
            if !last {
                thread::park_timeout(pause);
                pause = LONGEST_PAUSE.min(pause * 2);
            }
            match self.retry(&reason, began.elapsed()) {
                Ok(()) => break,
                Err(_) if last => return false,
                Err(error) => reason = error.to_string(),
            }
            self.shared.set_failure(reason.clone());
        }
        self.shared.failed.store(false, Ordering::Release);
        self.metrics.log.healthy.set(1);
        tracing::info!("the audit log is written again");
        true
    }

    /// From the last durable entry on, everything that waits is written anew, behind a notice that says why it is late.
    fn retry(&mut self, reason: &str, after: Duration) -> io::Result<()> {
        // What a new segment confirmed before the failure must not be written twice.
        self.settle();
        self.store.rollback()?;
        self.appended = 0;
        self.note_gap();
        let detail =
            format!("the log is written again after {} ms; it could not be because: {reason}", after.as_millis());
        self.store.append(&Item::Own { at: self.store.clock().now(), code: "resumed", detail })?;
        self.append_pending()?;
        self.store.seal()?;
        self.confirmed();
        Ok(())
    }

    fn give_up(&mut self, error: &io::Error) {
        let mut lost = 0_u64;
        let waiting = self.pending.drain(..).filter(|(item, _)| matches!(item, Item::Record(_))).count();
        for _ in 0..waiting {
            lost += 1;
            self.shared.lose(&self.metrics);
        }
        while let Ok(command) = self.queue.try_recv() {
            if matches!(command, Command::Record(..)) {
                self.metrics.log.queue.dec();
                lost += 1;
                self.shared.lose(&self.metrics);
            }
        }
        tracing::error!(%error, lost, "the audit log was closed without writing its last records");
    }
}
