//! One external command at a time: its output as lines, a time limit, and an end of its whole process group. A command that hangs
//! is a failure of that command and never of the run.

use std::io::{BufRead as _, BufReader, PipeReader};
use std::os::unix::process::CommandExt as _;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, sync_channel};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process, kill_process_group};
use signal_hook::consts::{SIGINT, SIGTERM};

use crate::{Failure, say};

/// How often time limit and Ctrl-C are looked at while a command is silent.
const TICK: Duration = Duration::from_millis(50);
/// How long output may still come after the command itself has ended: what it started may hold the pipe open.
const TRAILING: Duration = Duration::from_secs(2);
/// Lines that wait to be read. A command that prints faster waits.
const BACKLOG: usize = 1024;

static INTERRUPTED: OnceLock<Arc<AtomicBool>> = OnceLock::new();

/// Ctrl-C must end what we started: commands run in process groups of their own, which the terminal does not reach.
pub(crate) fn heed_interrupts() -> Result<(), Failure> {
    let flag = INTERRUPTED.get_or_init(Arc::default);
    for signal in [SIGINT, SIGTERM] {
        signal_hook::flag::register(signal, Arc::clone(flag))?;
    }
    Ok(())
}

pub(crate) fn interrupted() -> bool {
    INTERRUPTED.get().is_some_and(|flag| flag.load(Ordering::Relaxed))
}

/// Whether a command's lines are shown while it runs, or only kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Echo {
    Live,
    Kept,
}

/// How a command ended.
#[derive(Debug)]
pub(crate) struct Ended {
    /// `None` for exit code 0; otherwise why this is a failure.
    pub(crate) failure: Option<String>,
    pub(crate) lines: Vec<String>,
}

impl Ended {
    pub(crate) fn ok(&self) -> bool {
        self.failure.is_none()
    }

    /// The end of the output, for a person who has to find out why.
    pub(crate) fn tail(&self, count: usize) -> String {
        self.lines.get(self.lines.len().saturating_sub(count)..).unwrap_or_default().join("\n")
    }
}

/// Runs a command to its end, or to the end of its time.
///
/// # Errors
/// When it cannot be started, or when the person asked to stop.
pub(crate) fn run(command: &mut Command, limit: Duration, echo: Echo) -> Result<Ended, Failure> {
    let (mut group, output) = start(command)?;
    let lines = read_lines(output);
    let deadline = Instant::now() + limit;
    let mut kept = Vec::new();
    let mut ended: Option<(std::process::ExitStatus, Instant)> = None;
    let failure = loop {
        let mut drained = false;
        match lines.recv_timeout(TICK) {
            Ok(line) => {
                if echo == Echo::Live {
                    say(format_args!("{line}"));
                }
                kept.push(line);
                continue;
            }
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => drained = true,
        }
        if interrupted() {
            return Err("interrupted".into());
        }
        if ended.is_none() {
            ended = group.child.try_wait()?.map(|status| (status, Instant::now()));
        }
        match ended {
            Some((status, at)) if drained || at.elapsed() > TRAILING => {
                break (!status.success()).then(|| status.to_string());
            }
            _ if Instant::now() > deadline => break Some(format!("no end after {} s: killed", limit.as_secs())),
            // Nothing more to read, so that waiting for lines would not wait.
            _ if drained => std::thread::sleep(TICK),
            _ => {}
        }
    };
    Ok(Ended { failure, lines: kept })
}

/// As [`run`], for a short command whose failure ends the step.
pub(crate) fn must(command: &mut Command, limit: Duration) -> Result<Vec<String>, Failure> {
    let ended = run(command, limit, Echo::Kept)?;
    match &ended.failure {
        None => Ok(ended.lines),
        Some(why) => Err(format!("`{}`: {why}\n{}", shown(command), ended.tail(30)).into()),
    }
}

/// Starts a command in a process group of its own, with stdout and stderr as one stream.
pub(crate) fn start(command: &mut Command) -> Result<(Group, PipeReader), Failure> {
    let (reader, writer) = std::io::pipe()?;
    command.stdin(Stdio::null()).stdout(writer.try_clone()?).stderr(writer).process_group(0);
    let child = command.spawn().map_err(|error| format!("`{}`: {error}", shown(command)))?;
    // The command holds the writing ends; without this our copy would keep the stream open for ever.
    command.stdout(Stdio::null()).stderr(Stdio::null());
    Ok((Group { child }, reader))
}

/// Lines as they arrive, from a thread of its own.
pub(crate) fn read_lines(output: PipeReader) -> Receiver<String> {
    let (sender, receiver) = sync_channel(BACKLOG);
    std::thread::spawn(move || {
        let mut output = BufReader::new(output);
        let mut line = Vec::new();
        while output.read_until(b'\n', &mut line).is_ok_and(|read| read > 0) {
            let text = String::from_utf8_lossy(&line).trim_end_matches(['\n', '\r']).to_owned();
            if sender.send(text).is_err() {
                break;
            }
            line.clear();
        }
    });
    receiver
}

fn shown(command: &Command) -> String {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    words.map(|word| word.to_string_lossy()).collect::<Vec<_>>().join(" ")
}

/// A command and all that it started; gone when this is dropped.
#[derive(Debug)]
pub(crate) struct Group {
    pub(crate) child: Child,
}

impl Group {
    pub(crate) fn pid(&self) -> Option<Pid> {
        i32::try_from(self.child.id()).ok().and_then(Pid::from_raw)
    }

    /// Asks the command itself, and nobody else of its group, to stop.
    pub(crate) fn ask_to_stop(&self) {
        if let Some(pid) = self.pid() {
            // An error means that it is gone already.
            let _gone = kill_process(pid, Signal::INT);
        }
    }

    /// Waits for the end; `None` when the time is over first.
    pub(crate) fn wait(&mut self, limit: Duration) -> Result<Option<std::process::ExitStatus>, Failure> {
        let deadline = Instant::now() + limit;
        loop {
            if let Some(status) = self.child.try_wait()? {
                return Ok(Some(status));
            }
            if Instant::now() > deadline {
                return Ok(None);
            }
            std::thread::sleep(TICK);
        }
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        if let Some(pid) = self.pid() {
            // An error means that the group is empty.
            let _empty = kill_process_group(pid, Signal::KILL);
        }
        let _reaped = self.child.wait();
    }
}

#[cfg(test)]
mod tests {
    use std::process::Command;
    use std::time::{Duration, Instant};

    use super::{Echo, run};

    fn shell(script: &str) -> Command {
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        command
    }

    #[test]
    fn output_of_both_streams_is_kept_and_a_failure_is_told() {
        let ended = run(&mut shell("echo one; echo two >&2; exit 3"), Duration::from_secs(60), Echo::Kept).unwrap();
        assert_eq!(ended.lines, ["one", "two"]);
        assert_eq!(ended.failure.as_deref(), Some("exit status: 3"));
    }

    #[test]
    fn a_command_that_hangs_is_killed_with_all_it_started() {
        let begun = Instant::now();
        let ended = run(&mut shell("sleep 600 & echo $!; wait"), Duration::from_millis(300), Echo::Kept).unwrap();
        assert!(ended.failure.unwrap().contains("no end"));
        assert!(begun.elapsed() < Duration::from_secs(60));
        let child = ended.lines.first().unwrap();
        // Gone, or a zombie until its new parent looks; a killed process may take a moment to be either.
        let gone = || std::fs::read_to_string(format!("/proc/{child}/stat")).map_or(true, |stat| stat.contains(") Z "));
        while !gone() {
            assert!(begun.elapsed() < Duration::from_secs(60), "{child} lives");
            std::thread::yield_now();
        }
    }

    #[test]
    fn a_command_that_leaves_something_running_ends_nevertheless() {
        let begun = Instant::now();
        let ended = run(&mut shell("sleep 600 & echo done"), Duration::from_secs(300), Echo::Kept).unwrap();
        assert!(ended.ok());
        assert!(begun.elapsed() < Duration::from_secs(60));
    }
}
