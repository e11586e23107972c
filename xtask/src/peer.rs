//! A server in the background: its address once it is ready, its output in a file, its whole process group gone when dropped.

use std::fs::File;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use crate::Failure;
use crate::process::{self, Group};

/// Until a server says where it listens. Python takes ten seconds on a busy machine.
const READY: Duration = Duration::from_secs(90);
const TICK: Duration = Duration::from_millis(50);

#[derive(Debug)]
pub(crate) struct Peer {
    pub(crate) group: Group,
    pub(crate) url: String,
    pub(crate) log: PathBuf,
}

impl Peer {
    /// Starts a server and waits until `ready` finds its address in a line of its output.
    pub(crate) fn start(
        command: &mut Command,
        log: &Path,
        ready: impl Fn(&str) -> Option<String>,
    ) -> Result<Self, Failure> {
        let (mut group, output) = process::start(command)?;
        let mut file = File::create(log).map_err(|error| format!("{}: {error}", log.display()))?;
        let (sender, lines) = channel();
        let all = process::read_lines(output);
        std::thread::spawn(move || {
            for line in all {
                // The log is for people; a full disk shows elsewhere.
                let _full = writeln!(file, "{line}");
                // Nobody listens once the server is ready.
                let _ready = sender.send(line);
            }
        });
        let deadline = Instant::now() + READY;
        loop {
            let over = match lines.recv_timeout(TICK) {
                Ok(line) => {
                    if let Some(url) = ready(&line) {
                        return Ok(Self { group, url, log: log.to_owned() });
                    }
                    continue;
                }
                Err(RecvTimeoutError::Timeout) => group.child.try_wait()?.is_some(),
                Err(RecvTimeoutError::Disconnected) => true,
            };
            if over || Instant::now() > deadline || process::interrupted() {
                let text = std::fs::read_to_string(log).unwrap_or_default();
                return Err(format!("{} is not ready: {}", log.display(), text.trim_end()).into());
            }
        }
    }

    /// The address in a line such as `listening on http://127.0.0.1:4711/mcp`.
    pub(crate) fn announced(line: &str) -> Option<String> {
        ["http", "ws"].iter().find_map(|scheme| {
            let (before, after) = line.split_once(&format!("{scheme}://"))?;
            before.ends_with("on ").then(|| format!("{scheme}://{}", after.trim()))
        })
    }
}

/// A port nobody listens on just now, for servers that cannot take port 0 and say which they got.
pub(crate) fn free_port() -> Result<u16, Failure> {
    Ok(std::net::TcpListener::bind(("127.0.0.1", 0))?.local_addr()?.port())
}

#[cfg(test)]
mod tests {
    use super::Peer;

    #[test]
    fn an_announced_address_is_found_and_other_addresses_are_not() {
        assert_eq!(Peer::announced("listening on http://127.0.0.1:1/mcp").as_deref(), Some("http://127.0.0.1:1/mcp"));
        assert_eq!(Peer::announced("Portcullis listens on http://[::1]:1/mcp").as_deref(), Some("http://[::1]:1/mcp"));
        assert_eq!(Peer::announced("listening on ws://127.0.0.1:1/mcp").as_deref(), Some("ws://127.0.0.1:1/mcp"));
        assert_eq!(Peer::announced("  guards   server: http://127.0.0.1:1/mcp"), None);
    }
}
