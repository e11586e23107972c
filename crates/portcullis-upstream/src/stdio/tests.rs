//! The stdio upstream against real child processes: a small scripted server in Python, one behaviour for each tool name.

mod hostile;
mod legacy;
mod modern;
mod processes;

use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use portcullis_core::refusal::{Fault, FaultKind};
use portcullis_core::upstream::{Reply, Upstream};
use portcullis_core::wire::Limits;

use super::Children;
use crate::pipe::{PipeUpstream, StderrSink};
use crate::settings::{EraSetting, StdioSettings};
use crate::testing::{all, legacy as facts};

const SERVER: &str = include_str!("tests/server.py");

pub(super) struct Fixture {
    pub(super) upstream: Arc<PipeUpstream<Children>>,
    pub(super) log: Arc<Mutex<Vec<String>>>,
}

/// The interpreter itself: what `python3` names may be a script that sets up an environment of its own.
pub(crate) fn python() -> String {
    static PATH: OnceLock<String> = OnceLock::new();
    let asked =
        || std::process::Command::new("python3").args(["-c", "import sys; print(sys.executable)"]).output().unwrap();
    PATH.get_or_init(|| String::from_utf8(asked().stdout).unwrap().trim().to_owned()).clone()
}

pub(super) fn settings(era: EraSetting) -> StdioSettings {
    let mut settings = StdioSettings::of_command(python(), vec!["-u".into(), "-c".into(), SERVER.into()]);
    (settings.era, settings.first_byte_timeout_ms) = (era, 20_000);
    settings
}

pub(super) fn fixture(settings: &StdioSettings) -> Fixture {
    fixture_with(settings, Limits::default())
}

pub(super) fn fixture_with(settings: &StdioSettings, limits: Limits) -> Fixture {
    let log = Arc::new(Mutex::new(Vec::new()));
    let lines = Arc::clone(&log);
    let sink = StderrSink::new(move |server, line| lines.lock().unwrap().push(format!("{server}: {line}")));
    Fixture { upstream: PipeUpstream::<Children>::new("srv".into(), settings, limits, None, sink).unwrap(), log }
}

impl Fixture {
    /// Opens the legacy session `key`.
    pub(super) async fn open(&self, key: u128) {
        let reply = self.upstream.send(facts(key).say(INITIALIZE)).await.unwrap();
        assert!(all(reply).await[0].is_ok());
    }

    pub(super) async fn call(&self, key: u128, id: u32, tool: &str) -> Result<Reply, Fault> {
        self.upstream.send(facts(key).say(&call(id, tool))).await
    }

    pub(super) async fn until_logged(&self, part: &str) {
        until(|| self.log.lock().unwrap().iter().any(|line| line.contains(part))).await;
    }
}

pub(super) const INITIALIZE: &str = r#"{"jsonrpc":"2.0","id":0,"method":"initialize","params":{"protocolVersion":"2025-11-25","capabilities":{},"clientInfo":{"name":"c","version":"1"}}}"#;

pub(super) fn call(id: u32, tool: &str) -> String {
    format!(
        r#"{{"jsonrpc":"2.0","id":{id},"method":"tools/call","params":{{"name":"{tool}","_meta":{{"progressToken":"t{id}"}}}}}}"#
    )
}

pub(super) fn kind<T>(outcome: Result<T, Fault>) -> FaultKind {
    outcome.map(|_| ()).unwrap_err().kind
}

pub(super) async fn last_kind(reply: Result<Reply, Fault>) -> FaultKind {
    kind(all(reply.unwrap()).await.pop().unwrap())
}

/// Waits for something another process does; fails after ten seconds.
pub(super) async fn until(done: impl Fn() -> bool) {
    for _ in 0..500 {
        if done() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("did not happen within ten seconds");
}

pub(super) fn is_alive(pid: u32) -> bool {
    // A zombie still has its folder, with state Z.
    std::fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|stat| !stat.contains(") Z "))
}

pub(super) fn is_zombie(pid: u32) -> bool {
    std::fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|stat| stat.contains(") Z "))
}
