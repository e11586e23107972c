//! One running child: its input fed, its output and its error output read, its end certain. Four tasks, and none outlives it.

use std::time::Duration;

use bytes::Bytes;
use portcullis_core::refusal::{Fault, FaultKind};
use rustix::process::{Pid, Signal, kill_process_group};
use tokio::io::AsyncWriteExt;
use tokio::process::{Child, ChildStdin, ChildStdout};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;

use super::lines::{Line, Lines};
use super::stderr;
use crate::pipe::intake::Intake;
use crate::pipe::running::Burial;
use crate::pipe::{Carrier, Router};

/// How long a child has to end by itself, and again after SIGTERM. 2 s: servers that save state do it well within, and Ctrl-C must not feel stuck.
const GRACE: Duration = Duration::from_secs(2);
/// How long output may still come after a child's end. 1 s: what is in the pipe is there already.
const LAST_WORDS: Duration = Duration::from_secs(1);
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

/// Four tasks around a child that was just started.
pub(super) fn run<R: Router>(mut child: Child, carrier: Carrier<R>) {
    let Carrier { router, notes, limits, messages, stopping, burial } = carrier;
    if let Some(stdin) = child.stdin.take() {
        tokio::spawn(write(stdin, messages, stopping.clone()));
    }
    if let Some(stderr) = child.stderr.take() {
        tokio::spawn(stderr::copy(stderr, notes.clone()));
    }
    let reader = child.stdout.take().map(|stdout| {
        let lines = Lines::new(stdout, limits.bytes);
        tokio::spawn(read(lines, limits.bytes, Intake::new(router, notes, limits)))
    });
    tokio::spawn(supervise(child, reader, stopping, burial));
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

async fn read<R: Router>(mut lines: Lines<ChildStdout>, limit: usize, mut intake: Intake<R>) -> Fault {
    loop {
        let taken = match lines.next().await {
            Err(error) => return Fault::new(FaultKind::Died, format!("the server process's output broke: {error}")),
            Ok(None) => return Fault::new(FaultKind::Died, "the server process closed its output"),
            Ok(Some(Line::Whole(line))) if line.iter().all(u8::is_ascii_whitespace) => continue,
            Ok(Some(Line::Whole(line))) => intake.take(line).await,
            Ok(Some(Line::TooLong { head, tail })) => {
                let detail = format!("the server process wrote a line longer than {limit} bytes");
                intake.spoiled(Fault::new(FaultKind::TooLarge, detail), &[&head, &tail])
            }
        };
        if let Err(fault) = taken {
            return fault;
        }
    }
}

async fn supervise<R: Router>(
    mut child: Child,
    reader: Option<JoinHandle<Fault>>,
    mut stopping: watch::Receiver<bool>,
    burial: Burial<R>,
) {
    let group = Group(child.id().and_then(|id| Pid::from_raw(i32::try_from(id).ok()?)));
    let mut reader = reader.unwrap_or_else(|| tokio::spawn(async { Fault::new(FaultKind::Died, "no output") }));
    let mut said = None;
    let asked = tokio::select! {
        _ = child.wait() => false,
        _ = stopping.wait_for(|stop| *stop) => true,
        fault = &mut reader => { said = fault.ok(); false }
    };
    burial.begin();
    if let Some(fault) = &said {
        burial.announce(fault);
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
    burial.finish(&fault, asked);
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
