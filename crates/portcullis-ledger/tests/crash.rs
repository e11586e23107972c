//! A process that is killed while it writes leaves a log that verifies up to the last whole entry and goes on.
#![expect(clippy::unwrap_used, reason = "helpers of tests fail by panicking")]

use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use portcullis_core::clock::FixedClock;
use portcullis_core::ledger::{Ledger as _, Notice, Record};
use portcullis_ledger::{AuditLog, AuditSettings, Metrics, VerifyOptions, verify};

const CHILD: &str = "PORTCULLIS_CRASH_TEST_LOG";

fn open(path: &Path) -> AuditLog {
    let settings = AuditSettings { rotate_bytes: 100_000, sync_interval_ms: 1, ..AuditSettings::default() };
    AuditLog::open(path, &settings, Arc::new(FixedClock::default()), "0.1.0", Arc::new(Metrics::new())).unwrap()
}

fn note(number: u64) -> Record {
    Record::Notice(Box::new(Notice { code: "plan", detail: format!("note {number}"), ..Notice::default() }))
}

/// Not a test of its own: the process that gets killed.
#[test]
fn child() {
    let Some(path) = std::env::var_os(CHILD) else { return };
    let log = open(Path::new(&path));
    for number in 0..u64::MAX {
        log.append(note(number)).unwrap();
        if number % 1000 == 999 {
            log.flush(Duration::from_secs(20)).unwrap();
            println!("\ndurable {number}");
        }
    }
}

#[test]
fn a_killed_gateway_leaves_a_log_that_verifies_and_goes_on() {
    let folder = tempfile::tempdir().unwrap();
    for round in 1..=3_u64 {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "child", "--nocapture", "--test-threads=1"])
            .env(CHILD, folder.path())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut said = BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok);
        let durable =
            said.by_ref().filter(|line| line.starts_with("durable")).nth(usize::try_from(round).unwrap()).unwrap();
        child.kill().unwrap();
        child.wait().unwrap();
        let least: u64 = durable.trim_start_matches("durable ").parse().unwrap();

        // The next process takes over the lock, sets aside what is torn, and goes on.
        let log = open(folder.path());
        log.append(note(u64::MAX)).unwrap();
        log.close(Duration::from_secs(20)).unwrap();
        let verdict = verify(folder.path(), &VerifyOptions::default()).unwrap();
        assert!(verdict.is_good(), "{verdict}");
        assert!(verdict.entries > least, "{verdict}");
        let remarks = verdict.notes.iter().filter(|note| note.contains("recovered")).count();
        assert_eq!(remarks as u64, round, "{verdict}");
        assert!(!verdict.notes.iter().any(|note| note.contains("entries_lost")), "{verdict}");
    }
}
