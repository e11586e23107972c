//! The last step before a child server's own program: ties the child's life to ours and sets its limits.
//! The gateway starts itself under a hidden word, calls this, and becomes the server by `exec`. Nothing else may run in between.

use std::ffi::OsString;
use std::io;
use std::os::unix::process::CommandExt;
use std::process::Command;

use rustix::process::{Resource, Rlimit, getppid, setrlimit};

/// The hidden subcommand of the gateway's binary that must call [`exec_child`] with everything that follows it.
pub const GUARDIAN_WORD: &str = "__child";
/// Stands for a limit that is not set.
const NO_LIMIT: &str = "-";

/// What the guardian is told; the counterpart of [`exec_child`].
pub(super) fn arguments(memory: Option<u64>, files: Option<u64>, program: OsString) -> [OsString; 5] {
    let limit = |limit: Option<u64>| limit.map_or_else(|| NO_LIMIT.into(), |limit| limit.to_string().into());
    let parent = std::process::id().to_string().into();
    [GUARDIAN_WORD.into(), parent, limit(memory), limit(files), program]
}

/// Becomes the program that `arguments` name, after asking the system to kill it when its parent dies. Never returns on success.
///
/// Linux kills the child when the *thread* that started it ends; the gateway starts children on runtime threads, which live as
/// long as it does. On other systems a child learns of our end only by the end of its input.
#[must_use]
pub fn exec_child(arguments: impl IntoIterator<Item = OsString>) -> io::Error {
    match prepare(arguments) {
        Ok(mut command) => command.exec(),
        Err(error) => error,
    }
}

fn prepare(arguments: impl IntoIterator<Item = OsString>) -> io::Result<Command> {
    let mut arguments = arguments.into_iter();
    let mut next = |what: &str| {
        arguments.next().ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, format!("missing argument: {what}")))
    };
    let parent = number(&next("parent")?)?;
    let memory = number(&next("memory limit")?)?;
    let files = number(&next("file limit")?)?;
    let program = next("program")?;
    #[cfg(target_os = "linux")]
    rustix::process::set_parent_process_death_signal(Some(rustix::process::Signal::KILL))?;
    // The parent may have died before the line above took effect; then nobody will kill us.
    let alive = getppid().map(|pid| pid.as_raw_nonzero().get().unsigned_abs().into());
    if parent.is_some() && alive != parent {
        return Err(io::Error::other("the gateway that started this process is gone"));
    }
    for (resource, limit) in [(Resource::As, memory), (Resource::Nofile, files)] {
        if let Some(limit) = limit {
            setrlimit(resource, Rlimit { current: Some(limit), maximum: Some(limit) })?;
        }
    }
    let mut command = Command::new(program);
    command.args(arguments);
    Ok(command)
}

fn number(text: &OsString) -> io::Result<Option<u64>> {
    let bad = || io::Error::new(io::ErrorKind::InvalidInput, "not a number");
    match text.to_str().ok_or_else(bad)? {
        NO_LIMIT => Ok(None),
        digits => digits.parse().map(Some).map_err(|_| bad()),
    }
}
