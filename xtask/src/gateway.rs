//! A running gateway as a user starts it, and what must be true when it stops: it drains, leaves no process behind, and its log
//! verifies, by its own verifier and by the independent one.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::time::Duration;

use crate::Failure;
use crate::layout::Layout;
use crate::peer::Peer;
use crate::process::{self, Echo};
use crate::report::Tally;

/// Open calls may finish first, and the log is written.
const DRAIN: Duration = Duration::from_secs(40);
const VERIFY: Duration = Duration::from_secs(120);

/// What is guarded.
#[derive(Clone, Debug)]
pub(crate) enum Guarded {
    Url(String),
    Command(Vec<String>),
}

#[derive(Debug)]
pub(crate) struct Gateway {
    peer: Peer,
    name: String,
    audit: PathBuf,
}

impl Gateway {
    /// `portcullis run` in front of a server; `folder` takes its log and its audit log.
    pub(crate) fn start(
        layout: &Layout,
        folder: &std::path::Path,
        name: &str,
        guarded: &Guarded,
    ) -> Result<Self, Failure> {
        let mut arguments = vec!["--listen", "127.0.0.1:0", "--policy", "observe"];
        match guarded {
            Guarded::Url(url) => arguments.extend(["--upstream", url]),
            Guarded::Command(words) => {
                arguments.push("--");
                arguments.extend(words.iter().map(String::as_str));
            }
        }
        Self::run(layout, folder, name, &arguments)
    }

    /// `portcullis run` as a configuration file says; files that it names are in `folder`.
    pub(crate) fn configured(
        layout: &Layout,
        folder: &std::path::Path,
        name: &str,
        configuration: &str,
    ) -> Result<Self, Failure> {
        let file = folder.join(format!("{name}.yaml"));
        std::fs::write(&file, configuration)?;
        Self::run(layout, folder, name, &["--config", &file.display().to_string()])
    }

    fn run(layout: &Layout, folder: &std::path::Path, name: &str, arguments: &[&str]) -> Result<Self, Failure> {
        let audit = folder.join(format!("{name}-audit"));
        let mut command = layout.program(layout.built("portcullis"), &["run", "--audit-log"]);
        command.arg(&audit).args(arguments);
        let peer = Peer::start(&mut command, &folder.join(format!("{name}-gateway.log")), Peer::announced)?;
        Ok(Self { peer, name: name.to_owned(), audit })
    }

    pub(crate) fn url(&self) -> &str {
        &self.peer.url
    }

    pub(crate) fn log(&self) -> std::path::Display<'_> {
        self.peer.log.display()
    }

    /// Stops it as Ctrl-C does and checks what it leaves.
    pub(crate) fn stop(mut self, layout: &Layout, tally: &mut Tally) -> Result<(), Failure> {
        let name = self.name.clone();
        let children = descendants(self.peer.group.child.id());
        self.peer.group.ask_to_stop();
        let ended = self.peer.group.wait(DRAIN)?;
        tally.check(ended.is_some_and(|status| status.success()), || {
            let how = ended.map_or_else(|| format!("no end after {} s", DRAIN.as_secs()), |status| status.to_string());
            format!("{name}: the gateway stops cleanly: {how}; see {}", self.peer.log.display())
        });
        let left: Vec<u32> = children.into_iter().filter(|pid| lives(*pid)).collect();
        tally.check(left.is_empty(), || format!("{name}: the gateway left processes behind: {left:?}"));
        let text = std::fs::read_to_string(&self.peer.log).unwrap_or_default();
        tally.check(!text.contains("panicked at"), || {
            format!("{name}: the gateway panicked: see {}", self.peer.log.display())
        });
        let mut own = layout.program(layout.built("portcullis"), &["audit", "verify"]);
        let mut independent = layout.program("python3", &["tools/verify_audit.py"]);
        for (who, command) in [("portcullis audit verify", &mut own), ("tools/verify_audit.py", &mut independent)] {
            let ended = process::run(command.arg(&self.audit), VERIFY, Echo::Kept)?;
            tally.check(ended.ok(), || format!("{name}: `{who}`: {}", ended.tail(5)));
        }
        Ok(())
    }
}

/// All processes below this one, by what the kernel says of parents.
pub(crate) fn descendants(pid: u32) -> BTreeSet<u32> {
    let mut parents: Vec<(u32, u32)> = Vec::new();
    for entry in std::fs::read_dir("/proc").into_iter().flatten().flatten() {
        if let Some(child) = entry.file_name().to_str().and_then(|name| name.parse().ok()) {
            parents.extend(parent_and_state(child).map(|(parent, _)| (child, parent)));
        }
    }
    let mut found = BTreeSet::new();
    let mut ahead = vec![pid];
    while let Some(parent) = ahead.pop() {
        for (child, _) in parents.iter().filter(|(_, of)| *of == parent) {
            if found.insert(*child) {
                ahead.push(*child);
            }
        }
    }
    found
}

fn lives(pid: u32) -> bool {
    parent_and_state(pid).is_some_and(|(_, state)| state != 'Z')
}

fn parent_and_state(pid: u32) -> Option<(u32, char)> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The program's name stands in parentheses and may hold anything, so what follows the last one counts.
    let (_, rest) = stat.rsplit_once(')')?;
    let mut words = rest.split_whitespace();
    let state = words.next()?.chars().next()?;
    Some((words.next()?.parse().ok()?, state))
}

#[cfg(test)]
mod tests {
    use super::{descendants, lives};

    #[test]
    fn a_child_is_a_descendant_until_it_ends() {
        let mut child = std::process::Command::new("sleep").arg("60").spawn().unwrap();
        assert!(descendants(std::process::id()).contains(&child.id()));
        assert!(lives(child.id()));
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(!lives(child.id()));
    }
}
