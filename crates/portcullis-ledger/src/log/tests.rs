use std::io::{self, Write};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use portcullis_core::clock::{FixedClock, Timestamp};
use portcullis_core::ledger::{Ledger, Notice, Outcome, Record};

use super::AuditLog;
use crate::layout::Layout;
use crate::metrics::Metrics;
use crate::settings::AuditSettings;
use crate::store::{Opener, Plan, Sink, on_disk};
use crate::verify::{Verdict, VerifyOptions, verify};

const PATIENCE: Duration = Duration::from_secs(20);

/// A disk that can be filled, emptied and made to hang.
#[derive(Debug, Default)]
struct Disk {
    /// Bytes left; negative for as many as one likes.
    room: AtomicI64,
    /// Confirmations left before the disk fails; negative for as many as one likes.
    syncs_left: AtomicI64,
    hangs: AtomicBool,
    syncs: AtomicUsize,
}

#[derive(Debug)]
struct Flaky {
    inner: Box<dyn Sink>,
    disk: Arc<Disk>,
}

impl Write for Flaky {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        while self.disk.hangs.load(Ordering::Acquire) {
            std::thread::yield_now();
        }
        let room = self.disk.room.load(Ordering::Acquire);
        let Ok(room) = usize::try_from(room) else { return self.inner.write(bytes) };
        if room == 0 {
            return Err(io::Error::from(io::ErrorKind::StorageFull));
        }
        let written = self.inner.write(&bytes[..bytes.len().min(room)])?;
        self.disk.room.fetch_sub(i64::try_from(written).unwrap(), Ordering::AcqRel);
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

impl Sink for Flaky {
    fn sync(&mut self) -> io::Result<()> {
        self.disk.syncs.fetch_add(1, Ordering::AcqRel);
        match self.disk.syncs_left.load(Ordering::Acquire) {
            0 => return Err(io::Error::other("the disk is on fire")),
            left if left > 0 => self.disk.syncs_left.store(left - 1, Ordering::Release),
            _ => {}
        }
        self.inner.sync()
    }
}

fn disk() -> (Arc<Disk>, Opener) {
    let disk = Arc::new(Disk { room: AtomicI64::new(-1), syncs_left: AtomicI64::new(-1), ..Disk::default() });
    let (mut inner, ours) = (on_disk(), Arc::clone(&disk));
    let opener: Opener =
        Box::new(move |path: &Path, fresh| Ok(Box::new(Flaky { inner: inner(path, fresh)?, disk: Arc::clone(&ours) })));
    (disk, opener)
}

fn open(path: &Path, settings: &AuditSettings, opener: Opener) -> AuditLog {
    let plan = Plan {
        layout: Layout::at(path).unwrap(),
        clock: Arc::new(FixedClock::at(Timestamp(1_785_231_000_000))),
        gateway: "test",
        rotate_bytes: settings.rotate_bytes,
        content: settings.content,
    };
    AuditLog::open_with(plan, settings, Arc::new(Metrics::new()), opener).unwrap()
}

fn note(number: usize) -> Record {
    Record::Notice(Box::new(Notice { code: "plan", detail: format!("note {number}"), ..Notice::default() }))
}

/// Asks again until it holds; the deadline only ends a test that would fail anyway.
fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !holds() {
        assert!(Instant::now() < deadline, "{what}");
        std::thread::yield_now();
    }
}

fn good(path: &Path) -> Verdict {
    let verdict = verify(path, &VerifyOptions::default()).unwrap();
    assert!(verdict.is_good(), "{verdict}");
    verdict
}

fn text(path: &Path) -> String {
    let layout = Layout::at(path).unwrap();
    layout
        .numbers()
        .unwrap()
        .into_iter()
        .map(|number| std::fs::read_to_string(layout.segment(number)).unwrap())
        .collect()
}

/// Each note exactly once and in order.
fn assert_notes(path: &Path, wanted: impl Iterator<Item = usize>) {
    let text = text(path);
    let found: Vec<usize> = text
        .lines()
        .filter_map(|line| line.split_once(r#""detail":"note "#)?.1.split_once('"')?.0.parse().ok())
        .collect();
    assert_eq!(found, wanted.collect::<Vec<_>>());
}

#[test]
fn a_disk_that_fills_in_the_middle_of_an_entry_loses_nothing_that_was_accepted() {
    let folder = tempfile::tempdir().unwrap();
    let (disk, opener) = disk();
    let log = open(folder.path(), &AuditSettings { strict: true, ..AuditSettings::default() }, opener);
    for number in 0..10 {
        log.append(note(number)).unwrap();
    }
    log.flush(PATIENCE).unwrap();
    disk.room.store(100, Ordering::Release);
    log.append(note(10)).unwrap();
    until("the failure shows", || log.health().is_err());
    let refused = log.append(note(99)).unwrap_err();
    assert!(refused.to_string().contains("audit log cannot be written"), "{refused}");
    disk.room.store(-1, Ordering::Release);
    until("it recovers by itself", || log.health().is_ok());
    log.append(note(11)).unwrap();
    log.close(PATIENCE).unwrap();
    assert_notes(folder.path(), 0..12);
    let verdict = good(folder.path());
    assert_eq!(verdict.lost, 1);
    assert!(verdict.notes.iter().any(|note| note.contains("resumed")), "{verdict}");
    assert!(text(folder.path()).trim_end().ends_with("\"}") && text(folder.path()).contains("\"code\":\"closed\""));
}

#[test]
fn in_strict_mode_the_outcome_of_a_call_that_was_let_through_waits_for_the_disk() {
    let folder = tempfile::tempdir().unwrap();
    let (disk, opener) = disk();
    let log = open(folder.path(), &AuditSettings { strict: true, ..AuditSettings::default() }, opener);
    disk.room.store(100, Ordering::Release);
    log.append(note(0)).unwrap();
    until("the failure shows", || log.health().is_err());
    log.append(note(99)).unwrap_err();
    log.append(Record::Outcome(Box::new(Outcome { call: "let-through".into(), ..Outcome::default() }))).unwrap();
    disk.room.store(-1, Ordering::Release);
    log.close(PATIENCE).unwrap();
    assert!(text(folder.path()).contains(r#""kind":"outcome","call":"let-through""#));
    assert_eq!(good(folder.path()).lost, 1);
}

#[test]
fn a_sync_that_fails_makes_the_unconfirmed_entries_be_written_again() {
    let folder = tempfile::tempdir().unwrap();
    let (disk, opener) = disk();
    let log = open(folder.path(), &AuditSettings { rotate_bytes: 4096, ..AuditSettings::default() }, opener);
    for number in 0..40 {
        if number == 20 {
            disk.syncs_left.store(0, Ordering::Release);
        }
        log.append(note(number)).unwrap();
    }
    until("the failure shows", || log.health().is_err());
    assert!(log.health().unwrap_err().to_string().contains("on fire"));
    disk.syncs_left.store(-1, Ordering::Release);
    log.close(PATIENCE).unwrap();
    assert_notes(folder.path(), 0..40);
    assert!(good(folder.path()).segments > 2);
}

#[test]
fn what_a_new_segment_confirmed_before_a_failure_is_not_written_twice() {
    let folder = tempfile::tempdir().unwrap();
    let (disk, opener) = disk();
    let settings = AuditSettings { rotate_bytes: 4096, sync_interval_ms: 10_000, ..AuditSettings::default() };
    let log = open(folder.path(), &settings, opener);
    // The first new segment is begun, the second cannot be.
    disk.syncs_left.store(1, Ordering::Release);
    for number in 0..60 {
        log.append(note(number)).unwrap();
    }
    until("the failure shows", || log.health().is_err());
    disk.syncs_left.store(1, Ordering::Release);
    until("a new attempt failed too", || disk.syncs_left.load(Ordering::Acquire) == 0);
    disk.syncs_left.store(-1, Ordering::Release);
    log.close(PATIENCE).unwrap();
    assert_notes(folder.path(), 0..60);
    assert!(good(folder.path()).segments > 3);
}

#[test]
fn a_full_queue_loses_records_counts_them_and_records_the_gap() {
    let folder = tempfile::tempdir().unwrap();
    let (disk, opener) = disk();
    let log = open(folder.path(), &AuditSettings { queue: 16, ..AuditSettings::default() }, opener);
    disk.hangs.store(true, Ordering::Release);
    for number in 0..1000 {
        log.append(note(number)).unwrap();
    }
    disk.hangs.store(false, Ordering::Release);
    log.flush(PATIENCE).unwrap();
    log.append(note(5000)).unwrap();
    log.close(PATIENCE).unwrap();
    let verdict = good(folder.path());
    let kept = text(folder.path()).matches("\"detail\":\"note ").count() as u64;
    assert!(verdict.lost > 0);
    assert_eq!(kept + verdict.lost, 1001);
    let metrics = log.metrics.render();
    assert!(metrics.contains(&format!("portcullis_audit_lost_total {}\n", verdict.lost)), "{metrics}");
    assert!(metrics.contains("portcullis_audit_queue 0\n"), "{metrics}");
}

#[test]
fn a_full_queue_refuses_in_strict_mode() {
    let folder = tempfile::tempdir().unwrap();
    let (disk, opener) = disk();
    let log = open(folder.path(), &AuditSettings { queue: 16, strict: true, ..AuditSettings::default() }, opener);
    disk.hangs.store(true, Ordering::Release);
    let refused = (0..1000).filter(|number| log.append(note(*number)).is_err()).count();
    assert!(refused > 0);
    disk.hangs.store(false, Ordering::Release);
    log.flush(PATIENCE).unwrap();
    log.append(note(1)).unwrap();
    log.close(PATIENCE).unwrap();
    assert_eq!(good(folder.path()).lost, refused as u64);
}

#[test]
fn large_records_are_bounded_by_memory_and_not_only_by_number() {
    let folder = tempfile::tempdir().unwrap();
    let (disk, opener) = disk();
    let log =
        open(folder.path(), &AuditSettings { queue_bytes: 65_536, strict: true, ..AuditSettings::default() }, opener);
    disk.hangs.store(true, Ordering::Release);
    let large = || Record::Notice(Box::new(Notice { code: "plan", detail: "x".repeat(20_000), ..Notice::default() }));
    let accepted = (0..10).filter(|_| log.append(large()).is_ok()).count();
    assert_eq!(accepted, 3);
    disk.hangs.store(false, Ordering::Release);
    log.close(PATIENCE).unwrap();
    assert_eq!(log.shared.held_bytes.load(Ordering::Relaxed), 0);
}

#[test]
fn many_entries_share_one_confirmation() {
    let folder = tempfile::tempdir().unwrap();
    let (disk, opener) = disk();
    let log = open(folder.path(), &AuditSettings { sync_interval_ms: 10_000, ..AuditSettings::default() }, opener);
    let before = disk.syncs.load(Ordering::Acquire);
    for number in 0..2000 {
        log.append(note(number)).unwrap();
    }
    log.flush(PATIENCE).unwrap();
    assert_eq!(disk.syncs.load(Ordering::Acquire) - before, 1);
    assert_notes(folder.path(), 0..2000);
}

#[test]
fn entries_become_durable_without_anybody_asking() {
    let folder = tempfile::tempdir().unwrap();
    let (disk, opener) = disk();
    let log = open(folder.path(), &AuditSettings::default(), opener);
    let before = disk.syncs.load(Ordering::Acquire);
    log.append(note(1)).unwrap();
    until("the interval passes", || disk.syncs.load(Ordering::Acquire) > before);
    until("the entry is there", || text(folder.path()).contains("note 1"));
}

#[test]
fn a_removed_folder_is_noticed_and_the_loss_stays_evident() {
    let outer = tempfile::tempdir().unwrap();
    let folder = outer.path().join("logs");
    let log = open(&folder, &AuditSettings { strict: true, ..AuditSettings::default() }, on_disk());
    log.append(note(1)).unwrap();
    log.flush(PATIENCE).unwrap();
    std::fs::remove_dir_all(&folder).unwrap();
    log.append(note(2)).unwrap();
    until("a new segment appears", || Layout::at(&folder).unwrap().segment(2).exists());
    log.close(PATIENCE).unwrap();
    assert!(text(&folder).contains("note 2"));
    let verdict = verify(&folder, &VerifyOptions::default()).unwrap();
    assert_eq!(verdict.first_bad.unwrap().kind.as_str(), "removed");
    let rest = verify(&folder, &VerifyOptions { partial: true, ..VerifyOptions::default() }).unwrap();
    assert!(rest.is_good(), "{rest}");
}

#[test]
fn a_removed_segment_on_a_full_disk_leaves_no_litter_behind() {
    let folder = tempfile::tempdir().unwrap();
    let (disk, opener) = disk();
    let log = open(folder.path(), &AuditSettings::default(), opener);
    std::fs::remove_file(log.layout().segment(1)).unwrap();
    disk.room.store(0, Ordering::Release);
    log.append(note(1)).unwrap();
    let metrics = Arc::clone(&log.metrics);
    until("the failure shows", || metrics.log.healthy.get() == 0);
    // The second attempt finds what the first one began.
    until("it tried", || log.layout().segment(2).exists());
    disk.room.store(40, Ordering::Release);
    until("it tried again", || disk.room.load(Ordering::Acquire) == 0);
    disk.room.store(-1, Ordering::Release);
    log.close(PATIENCE).unwrap();
    assert_eq!(log.layout().numbers().unwrap(), [2]);
    let rest = verify(folder.path(), &VerifyOptions { partial: true, ..VerifyOptions::default() }).unwrap();
    assert!(rest.is_good(), "{rest}");
}

#[test]
fn a_path_under_a_regular_file_is_refused_at_start() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("file");
    std::fs::write(&file, "").unwrap();
    let clock = Arc::new(FixedClock::default());
    let settings = AuditSettings::default();
    let error = AuditLog::open(&file.join("logs"), &settings, clock, "test", Arc::new(Metrics::new())).unwrap_err();
    assert!(error.to_string().starts_with("cannot create the folder"), "{error}");
}

#[test]
fn a_failing_disk_does_not_keep_the_gateway_from_stopping() {
    let folder = tempfile::tempdir().unwrap();
    let (disk, opener) = disk();
    let log = open(folder.path(), &AuditSettings::default(), opener);
    disk.room.store(0, Ordering::Release);
    log.append(note(1)).unwrap();
    until("the failure shows", || log.health().is_err());
    assert!(log.close(PATIENCE).is_err());
    drop(log);
    good(folder.path());
}

#[test]
fn two_gateways_cannot_write_one_log() {
    let folder = tempfile::tempdir().unwrap();
    let log = open(folder.path(), &AuditSettings::default(), on_disk());
    let again = || {
        let clock = Arc::new(FixedClock::default());
        AuditLog::open(folder.path(), &AuditSettings::default(), clock, "test", Arc::new(Metrics::new()))
    };
    let error = again().unwrap_err().to_string();
    assert!(error.contains("another process") && error.contains("audit.lock"), "{error}");
    log.close(PATIENCE).unwrap();
    again().unwrap();
}

#[test]
fn what_is_accepted_while_the_log_closes_is_written() {
    let folder = tempfile::tempdir().unwrap();
    let log = Arc::new(open(folder.path(), &AuditSettings { strict: true, ..AuditSettings::default() }, on_disk()));
    let writers: Vec<_> = (0..2)
        .map(|_| {
            let log = Arc::clone(&log);
            std::thread::spawn(move || (0..).take_while(|number| log.append(note(*number)).is_ok()).count())
        })
        .collect();
    until("both write", || log.flush(PATIENCE).is_ok() && text(folder.path()).matches("note 1\"").count() == 2);
    log.close(PATIENCE).unwrap();
    let accepted: usize = writers.into_iter().map(|writer| writer.join().unwrap()).sum();
    good(folder.path());
    assert_eq!(text(folder.path()).matches("\"detail\":\"note ").count(), accepted);
}

#[test]
fn after_close_records_are_lost_and_counted() {
    let folder = tempfile::tempdir().unwrap();
    let log = open(folder.path(), &AuditSettings { strict: true, ..AuditSettings::default() }, on_disk());
    log.close(PATIENCE).unwrap();
    assert!(log.append(note(1)).is_err());
    assert!(log.metrics.render().contains("portcullis_audit_lost_total 1\n"));
}
