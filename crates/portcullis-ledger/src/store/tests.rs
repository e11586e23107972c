use std::path::Path;
use std::sync::Arc;

use portcullis_core::clock::{FixedClock, Timestamp};

use super::{Plan, Store, on_disk};
use crate::format::Item;
use crate::layout::Layout;
use crate::settings::Content;
use crate::verify::{BadKind, Verdict, VerifyOptions, verify};

fn open(path: &Path) -> Store {
    let clock = Arc::new(FixedClock::default());
    let layout = Layout::at(path).unwrap();
    Store::open(Plan { layout, clock, gateway: "test", rotate_bytes: 4096, content: Content::None }, on_disk()).unwrap()
}

fn note(code: &'static str) -> Item {
    Item::Own { at: Timestamp(0), code, detail: "x".repeat(100) }
}

fn check(path: &Path) -> Verdict {
    verify(path, &VerifyOptions::default()).unwrap()
}

/// A log of `entries` notices whose last segment is returned.
fn begun(path: &Path, entries: usize) -> std::path::PathBuf {
    let mut store = open(path);
    for _ in 0..entries {
        store.append(&note("plan")).unwrap();
    }
    store.append(&note("closed")).unwrap();
    store.seal().unwrap();
    let layout = Layout::at(path).unwrap();
    layout.segment(*layout.numbers().unwrap().last().unwrap())
}

#[test]
fn a_torn_end_is_kept_aside_and_the_log_goes_on() {
    let folder = tempfile::tempdir().unwrap();
    let last = begun(folder.path(), 3);
    let mut bytes = std::fs::read(&last).unwrap();
    bytes.extend_from_slice(b"{\"seq\":6,\"prev\":\"abc");
    std::fs::write(&last, &bytes).unwrap();
    assert_eq!(check(folder.path()).first_bad.unwrap().kind, BadKind::Torn);
    drop(open(folder.path()));
    let verdict = check(folder.path());
    assert!(verdict.is_good(), "{verdict}");
    assert!(verdict.notes[0].contains("20 bytes were cut off and kept in `audit.torn-00000001-"), "{verdict}");
    let mut kept = std::fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap());
    let kept = kept.find(|entry| entry.file_name().to_string_lossy().contains("torn")).unwrap();
    assert_eq!(std::fs::read(kept.path()).unwrap(), b"{\"seq\":6,\"prev\":\"abc");
}

#[test]
fn a_clean_end_leaves_no_remark_and_an_unclean_one_does() {
    let folder = tempfile::tempdir().unwrap();
    begun(folder.path(), 3);
    let mut store = open(folder.path());
    assert!(check(folder.path()).notes.is_empty());
    store.append(&note("plan")).unwrap();
    store.sync().unwrap();
    drop(store);
    drop(open(folder.path()));
    assert!(check(folder.path()).notes[0].contains("had not stopped cleanly"));
}

#[test]
fn zeros_left_by_a_power_cut_count_as_torn() {
    let folder = tempfile::tempdir().unwrap();
    let last = begun(folder.path(), 3);
    let mut bytes = std::fs::read(&last).unwrap();
    bytes.extend([0; 5000]);
    bytes.extend(b"\n\0\0");
    std::fs::write(&last, &bytes).unwrap();
    drop(open(folder.path()));
    assert!(check(folder.path()).is_good());
}

#[test]
fn a_segment_without_one_whole_entry_is_begun_again() {
    for begin in ["", "{\"seq\":"] {
        let folder = tempfile::tempdir().unwrap();
        begun(folder.path(), 30);
        let layout = Layout::at(folder.path()).unwrap();
        let next = layout.numbers().unwrap().len() as u64 + 1;
        std::fs::write(layout.segment(next), begin).unwrap();
        let mut store = open(folder.path());
        for _ in 0..60 {
            store.append(&note("plan")).unwrap();
        }
        store.seal().unwrap();
        let verdict = check(folder.path());
        assert!(verdict.is_good(), "{verdict}");
        assert!(layout.segment(next).exists());
    }
}

#[test]
fn tampering_in_the_middle_is_left_in_place_and_noticed_at_start() {
    let folder = tempfile::tempdir().unwrap();
    let last = begun(folder.path(), 3);
    let text = std::fs::read_to_string(&last).unwrap().replacen("xxx", "xyx", 1);
    std::fs::write(&last, &text).unwrap();
    drop(open(folder.path()));
    let after = std::fs::read_to_string(&last).unwrap();
    assert!(after.starts_with(&text) && after.contains("chain_broken"));
    let bad = check(folder.path()).first_bad.unwrap();
    assert_eq!((bad.kind, bad.line), (BadKind::Changed, 2));
}

#[test]
fn entries_lost_behind_the_head_are_named_by_verify_and_noted_at_start() {
    let folder = tempfile::tempdir().unwrap();
    let last = begun(folder.path(), 3);
    let text = std::fs::read_to_string(&last).unwrap();
    let kept: String = text.lines().take(3).map(|line| format!("{line}\n")).collect();
    std::fs::write(&last, kept).unwrap();
    let bad = check(folder.path()).first_bad.unwrap();
    assert_eq!((bad.kind, bad.line, bad.seq), (BadKind::Truncated, 4, 4));
    drop(open(folder.path()));
    let verdict = check(folder.path());
    assert!(
        verdict.notes.iter().any(|note| note.contains("entries_lost") && note.contains("the log ended at entry 3")),
        "{verdict}"
    );
}

#[test]
fn a_head_that_cannot_be_read_is_noted_before_it_is_replaced() {
    let folder = tempfile::tempdir().unwrap();
    begun(folder.path(), 3);
    std::fs::write(folder.path().join("audit.head"), "{").unwrap();
    drop(open(folder.path()));
    let verdict = check(folder.path());
    assert!(verdict.notes.iter().any(|note| note.contains("head_unreadable")), "{verdict}");
}

#[test]
fn a_rollback_returns_to_the_last_durable_entry() {
    let folder = tempfile::tempdir().unwrap();
    let mut store = open(folder.path());
    for _ in 0..100 {
        store.append(&note("plan")).unwrap();
        store.write_out().unwrap();
    }
    store.rollback().unwrap();
    store.append(&note("closed")).unwrap();
    store.seal().unwrap();
    let verdict = check(folder.path());
    assert!(verdict.is_good(), "{verdict}");
}

#[test]
#[cfg(unix)]
fn the_log_is_readable_by_its_owner_alone() {
    use std::os::unix::fs::PermissionsExt as _;
    let folder = tempfile::tempdir().unwrap();
    let last = begun(&folder.path().join("a/b"), 1);
    for file in [&last, &last.with_file_name("audit.head")] {
        assert_eq!(std::fs::metadata(file).unwrap().permissions().mode() & 0o777, 0o600, "{}", file.display());
    }
}
