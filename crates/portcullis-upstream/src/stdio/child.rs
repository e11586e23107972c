//! One running child: its input fed, its output and its error output read, its end certain. Four tasks, and none outlives it.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use portcullis_core::refusal::{Fault, FaultKind};
use portcullis_core::wire::{Direction, Limits, Malformed, Message};
use rustix::process::{Pid, Signal, kill_process_group};
use tokio::io::AsyncWriteExt;
use tokio::process::{Child, ChildStdin, ChildStdout};
use tokio::sync::{OwnedSemaphorePermit, mpsc, watch};
use tokio::task::JoinHandle;

use super::lines::{Line, Lines};
use super::{Notes, stderr};

/// Messages waiting to be written. 8: the pipe holds more small ones than that, and eight of the largest are still bearable.
const UNWRITTEN: usize = 8;
/// How long a caller waits for room among them. 30 s: a child that takes nothing for that long hangs.
pub(super) const WRITE_PATIENCE: Duration = Duration::from_secs(30);
/// How long a child has to end by itself, and again after SIGTERM. 2 s: servers that save state do it well within, and Ctrl-C must not feel stuck.
const GRACE: Duration = Duration::from_secs(2);
/// How long output may still come after a child's end. 1 s: what is in the pipe is there already.
const LAST_WORDS: Duration = Duration::from_secs(1);
/// Output lines that are no messages before the child counts as broken. 100: banners and stray prints are common, a log on standard output is not MCP.
const MOST_NOISE: u32 = 100;

/// Takes what a child says to where it belongs.
pub(super) trait Router: Send + Sync + 'static {
    /// One good message. Returns when it is delivered or given up; until then no other is read.
    fn message(&self, message: Message) -> impl Future<Output = ()> + Send;
    /// A message was lost; `texts` are what is known of it. Fails the calls it may have answered and says whether there were any.
    fn lost(&self, fault: &Fault, texts: &[&[u8]]) -> bool;
    /// The child is gone; everything that waits for it fails with this.
    fn ended(&self, fault: &Fault);
}

/// The handle to a running child. Dropping it ends the child as [`Running::stop`] does.
#[derive(Debug)]
pub(super) struct Running {
    input: mpsc::Sender<Bytes>,
    stop: watch::Sender<bool>,
    life: Arc<Life>,
}

/// Children that were told to end and are not reaped yet: their places will be free soon.
#[derive(Debug, Default)]
pub(super) struct Ending(AtomicUsize);

impl Ending {
    pub(super) fn any(&self) -> bool {
        self.0.load(Ordering::Acquire) > 0
    }
}

/// How far one child is. Both ends of its life may come first.
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

/// What a child is run with.
pub(super) struct Keeper<R> {
    pub(super) router: Arc<R>,
    pub(super) notes: Notes,
    pub(super) limits: Limits,
    /// One of the places for children; given back when the child is reaped.
    pub(super) place: OwnedSemaphorePermit,
    pub(super) ending: Arc<Ending>,
    /// Told how the child ended and whether it was asked to.
    pub(super) on_end: Box<dyn FnOnce(bool) + Send>,
}

/// Kills what is left of a process group, whatever happens to the task that holds it.
struct Group(Option<Pid>);

impl Group {
    fn signal(&self, signal: Signal) {
        if let Some(pid) = self.0 {
            // Fails when nobody is left, which is what we want.
            let _ = kill_process_group(pid, signal);
        }
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        self.signal(Signal::KILL);
    }
}

impl Running {
    /// Makes the input before the child, so that a router may hold it.
    pub(super) fn input() -> (mpsc::Sender<Bytes>, mpsc::Receiver<Bytes>) {
        mpsc::channel(UNWRITTEN)
    }

    pub(super) fn start<R: Router>(
        mut child: Child,
        (sender, receiver): (mpsc::Sender<Bytes>, mpsc::Receiver<Bytes>),
        keeper: Keeper<R>,
    ) -> Self {
        let (stop, stopping) = watch::channel(false);
        let life = Arc::new(Life { stage: Mutex::new(Stage::Running), ending: Arc::clone(&keeper.ending) });
        if let Some(stdin) = child.stdin.take() {
            tokio::spawn(write(stdin, receiver, stopping.clone()));
        }
        if let Some(stderr) = child.stderr.take() {
            tokio::spawn(stderr::copy(stderr, keeper.notes.clone()));
        }
        let reader = child.stdout.take().map(|stdout| {
            let (router, notes, limits) = (Arc::clone(&keeper.router), keeper.notes.clone(), keeper.limits);
            tokio::spawn(read(stdout, router, notes, limits))
        });
        tokio::spawn(supervise(child, reader, stopping, keeper, Arc::clone(&life)));
        Self { input: sender, stop, life }
    }

    /// Gives a message to the writer. A fault means that the child never got any of it.
    pub(super) async fn say(&self, message: Bytes) -> Result<(), Fault> {
        match tokio::time::timeout(WRITE_PATIENCE, self.input.send(message)).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_)) => Err(Fault::before_sending(FaultKind::Died, "the server process is gone")),
            Err(_) => Err(Fault::before_sending(FaultKind::Overloaded, "the server process does not read its input")),
        }
    }

    pub(super) fn is_over(&self) -> bool {
        *self.life.stage() != Stage::Running
    }

    /// Asks the child to end: closes its input, then SIGTERM, then SIGKILL, to its whole group. Returns at once.
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

async fn write(mut stdin: ChildStdin, mut messages: mpsc::Receiver<Bytes>, mut stopping: watch::Receiver<bool>) {
    let work = async {
        let mut line = Vec::new();
        while let Some(message) = messages.recv().await {
            line.clear();
            line.extend_from_slice(&message);
            // Outside of strings a line end is space like any other; inside them the reader allows none.
            line.iter_mut().filter(|byte| matches!(byte, b'\n' | b'\r')).for_each(|byte| *byte = b' ');
            line.push(b'\n');
            if stdin.write_all(&line).await.is_err() {
                return;
            }
        }
    };
    // A child that reads nothing must not keep its input from being closed.
    tokio::select! {
        () = work => {}
        _ = stopping.wait_for(|stop| *stop) => {}
    }
}

async fn read<R: Router>(stdout: ChildStdout, router: Arc<R>, notes: Notes, limits: Limits) -> Fault {
    let mut lines = Lines::new(stdout, limits.bytes);
    let mut noise = 0_u32;
    loop {
        let (fault, texts) = match lines.next().await {
            Err(error) => return Fault::new(FaultKind::Died, format!("the server process's output broke: {error}")),
            Ok(None) => return Fault::new(FaultKind::Died, "the server process closed its output"),
            Ok(Some(Line::Whole(line))) if line.iter().all(u8::is_ascii_whitespace) => continue,
            Ok(Some(Line::Whole(line))) => match Message::read(line.clone(), Direction::ToClient, &limits) {
                Ok(message) => {
                    router.message(message).await;
                    continue;
                }
                Err(error) => (refused(&error), vec![line]),
            },
            Ok(Some(Line::TooLong { head, tail })) => {
                let detail = format!("the server process wrote a line longer than {} bytes", limits.bytes);
                let fault = Fault::new(FaultKind::TooLarge, detail);
                (fault, vec![head, tail])
            }
        };
        let parts: Vec<&[u8]> = texts.iter().map(AsRef::as_ref).collect();
        if router.lost(&fault, &parts) {
            continue;
        }
        // An answer of unknown owner: whoever waits for it would wait for ever.
        if fault.kind == FaultKind::TooLarge {
            return fault;
        }
        noise = noise.saturating_add(1);
        notes.noise(parts.first().copied().unwrap_or_default());
        if noise > MOST_NOISE {
            return Fault::new(FaultKind::Garbage, "the server process writes something else than MCP to its output");
        }
    }
}

fn refused(error: &Malformed) -> Fault {
    Fault::new(FaultKind::Garbage, format!("{}: {error}", error.code()))
}

async fn supervise<R: Router>(
    mut child: Child,
    reader: Option<JoinHandle<Fault>>,
    mut stopping: watch::Receiver<bool>,
    keeper: Keeper<R>,
    life: Arc<Life>,
) {
    let Keeper { router, notes, place, on_end, .. } = keeper;
    let group = Group(child.id().and_then(|id| Pid::from_raw(i32::try_from(id).ok()?)));
    let mut reader = reader.unwrap_or_else(|| tokio::spawn(async { Fault::new(FaultKind::Died, "no output") }));
    let mut said = None;
    let asked = tokio::select! {
        _ = child.wait() => false,
        _ = stopping.wait_for(|stop| *stop) => true,
        fault = &mut reader => { said = fault.ok(); false }
    };
    // Before anybody learns of it: who learns of it may ask for a new child at once.
    life.begin_ending();
    if let Some(fault) = &said {
        // Nobody waits for the burial.
        router.ended(fault);
    }
    // A child that closed its output is of no use any more, and one that is gone already is reaped at once.
    let status = end_child(&mut child, &group, asked).await;
    group.signal(Signal::KILL);
    if said.is_none() {
        said = tokio::time::timeout(LAST_WORDS, &mut reader).await.ok().and_then(Result::ok);
        reader.abort();
    }
    let fault = match said {
        // What the reader found out says more than the exit status.
        Some(fault) if fault.kind != FaultKind::Died => fault,
        _ => Fault::new(FaultKind::Died, format!("the server process ended: {status}")),
    };
    if !asked {
        notes.line(&fault.detail);
    }
    router.ended(&fault);
    on_end(asked);
    drop(place);
    life.over();
}

/// Waits for the end, and brings it about in three steps. The writer closes the input when it is told to stop.
async fn end_child(child: &mut Child, group: &Group, asked: bool) -> String {
    let patience = if asked { GRACE } else { LAST_WORDS };
    for signal in [Signal::TERM, Signal::KILL] {
        match tokio::time::timeout(if signal == Signal::TERM { patience } else { GRACE }, child.wait()).await {
            Ok(Ok(status)) => return status.to_string(),
            Ok(Err(error)) => return error.to_string(),
            Err(_) => group.signal(signal),
        }
    }
    // Nothing survives SIGKILL but a process in the kernel's hands; kill_on_drop and the orphan reaper take that one.
    match tokio::time::timeout(GRACE, child.wait()).await {
        Ok(Ok(status)) => status.to_string(),
        Ok(Err(error)) => error.to_string(),
        Err(_) => "it does not die".to_owned(),
    }
}
