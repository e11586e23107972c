//! Both verifiers, ours and the independent one in Python, against the same damaged logs. They must agree on every word.
#![expect(clippy::unwrap_used, clippy::panic, reason = "helpers of tests fail by panicking")]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use portcullis_core::attempt::{ANSWERED, Attempt};
use portcullis_core::clock::{FixedClock, Timestamp};
use portcullis_core::ledger::{Intent, Ledger as _, Outcome, Record, Status};
use portcullis_ledger::{AuditLog, AuditSettings, Head, Metrics, Verdict, VerifyOptions, show, verify};
use sha2::{Digest as _, Sha256};

const TOOL: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tools/verify_audit.py");

/// A log `x` of three segments or more in a folder of its own.
struct Case {
    folder: tempfile::TempDir,
}

/// One that failed with words that need an escape, and one that answered.
fn attempts() -> [Attempt; 2] {
    let why = "\"\\\u{202e}\n,\"hash\":\"".to_owned();
    let failed = Attempt {
        transport: "http/1".into(),
        outcome: "upstream_unreachable",
        left: false,
        took: Duration::from_micros(12),
        why,
    };
    let answered = Attempt { transport: "stdio".into(), outcome: ANSWERED, left: true, ..failed.clone() };
    [failed, Attempt { why: String::new(), ..answered }]
}

impl Case {
    fn new() -> Self {
        let case = Self { folder: tempfile::tempdir().unwrap() };
        let settings = AuditSettings { rotate_bytes: 4096, ..AuditSettings::default() };
        let clock = Arc::new(FixedClock::at(Timestamp(1_785_231_000_000)));
        let log = AuditLog::open(&case.path(), &settings, clock, "0.1.0", Arc::new(Metrics::new())).unwrap();
        for number in 0..12_u64 {
            let call = format!("{number:016x}");
            let name = Some("écho \"\\\u{202e}\n,\"hash\":\"".into());
            let intent = Intent { call: call.as_str().into(), name, decision: "allow", ..Intent::default() };
            log.append(Record::Intent(Box::new(intent))).unwrap();
            let attempts = (number % 2 == 0).then(|| attempts().into());
            let outcome = Outcome { call: call.into(), status: Status::Answered, attempts, ..Outcome::default() };
            log.append(Record::Outcome(Box::new(outcome))).unwrap();
        }
        log.close(Duration::from_secs(20)).unwrap();
        assert!(case.segment(3).exists());
        case
    }

    fn path(&self) -> PathBuf {
        self.folder.path().join("x.jsonl")
    }

    fn segment(&self, number: u64) -> PathBuf {
        self.folder.path().join(format!("x-{number:08}.jsonl"))
    }

    fn last(&self) -> PathBuf {
        let number = (2..).take_while(|number| self.segment(*number).exists()).last().unwrap();
        self.segment(number)
    }

    fn edit(&self, file: &Path, change: impl FnOnce(&mut Vec<String>)) {
        let _ = self;
        let mut lines: Vec<String> =
            String::from_utf8_lossy(&fs::read(file).unwrap()).lines().map(str::to_owned).collect();
        change(&mut lines);
        fs::write(file, lines.into_iter().map(|line| line + "\n").collect::<String>()).unwrap();
    }

    /// What both say; they have to say the same.
    fn verdict(&self, options: &VerifyOptions) -> String {
        let ours = line(&verify(&self.path(), options).unwrap());
        let mut python = Command::new("python3");
        python.arg(TOOL).arg(self.path());
        if let Some(head) = &options.expected_head {
            python.args(["--expect-head", &head.to_string()]);
        }
        if options.partial {
            python.arg("--partial");
        }
        let output = python.output().unwrap();
        let theirs = String::from_utf8(output.stdout).unwrap();
        assert_eq!(theirs.trim_end(), ours, "{}", String::from_utf8_lossy(&output.stderr));
        assert_eq!(output.status.code(), Some(i32::from(!ours.starts_with("ok"))));
        ours
    }

    fn is_bad(&self, wanted: &str) {
        let verdict = self.verdict(&VerifyOptions::default());
        assert!(verdict.starts_with(&format!("bad {wanted} ")), "{verdict}");
    }
}

/// Our verdict in the words of the other tool.
fn line(verdict: &Verdict) -> String {
    match (&verdict.first_bad, &verdict.last) {
        (Some(bad), _) => {
            let (kind, entries) = (bad.kind.as_str(), verdict.entries);
            format!("bad {kind} {}:{} seq={} entries={entries}", bad.file, bad.line, bad.seq)
        }
        (None, Some(head)) => format!("ok entries={} segments={} head={head}", verdict.entries, verdict.segments),
        (None, None) => panic!("an empty log verified"),
    }
}

/// `line` with its own hash computed anew, as a forger would.
fn rehashed(line: &str) -> String {
    let covered = line.get(..line.len() - 75).unwrap();
    let digest: String = Sha256::digest(covered.as_bytes()).iter().map(|byte| format!("{byte:02x}")).collect();
    format!("{covered},\"hash\":\"{digest}\"}}")
}

#[test]
fn an_untouched_log_verifies() {
    let verdict = Case::new().verdict(&VerifyOptions::default());
    assert!(verdict.starts_with("ok entries="), "{verdict}");
}

#[test]
fn an_entry_with_a_member_that_this_version_does_not_write_verifies_and_is_shown_with_it() {
    let case = Case::new();
    fs::remove_file(case.folder.path().join("x.head")).unwrap();
    case.edit(&case.last(), |lines| {
        let other = r#","arguments_sha256":"e3b0c442\u202e","detail""#;
        let last = lines.pop().unwrap();
        lines.push(rehashed(&last.replacen(",\"detail\"", other, 1)));
    });
    let verdict = verify(&case.path(), &VerifyOptions::default()).unwrap();
    assert!(case.verdict(&VerifyOptions::default()).starts_with("ok"), "{:?}", verdict.first_bad);
    let shown = show(&case.path(), &verdict.last.unwrap().seq.to_string()).unwrap().unwrap();
    assert!(shown.contains("its hash matches"), "{shown}");
    assert!(shown.contains("  arguments_sha256  e3b0c442\\u{202e}\n"), "{shown}");
}

#[test]
fn a_changed_entry_is_named() {
    let case = Case::new();
    case.edit(&case.segment(2), |lines| {
        lines[3] = lines[3].replacen("allow", "deny!", 1).replacen("answered", "answerED", 1)
    });
    case.is_bad("changed x-00000002.jsonl:4");
}

#[test]
fn every_single_flipped_bit_is_noticed() {
    let case = Case::new();
    let original = fs::read(case.segment(2)).unwrap();
    for at in (0..original.len()).step_by(7) {
        let mut bytes = original.clone();
        bytes[at] ^= 1;
        fs::write(case.segment(2), &bytes).unwrap();
        let verdict = verify(&case.path(), &VerifyOptions::default()).unwrap();
        let bad = verdict.first_bad.unwrap();
        assert_eq!(bad.file, "x-00000002.jsonl");
        let line = original[..at].iter().filter(|byte| **byte == b'\n').count() as u64 + 1;
        assert_eq!(bad.line, line, "byte {at}: {}", bad.why);
    }
}

#[test]
fn a_changed_entry_with_its_hash_computed_anew_breaks_the_next_link() {
    let case = Case::new();
    case.edit(&case.segment(2), |lines| lines[3] = rehashed(&lines[3].replacen("\"kind\":\"", "\"kind\":\"x", 1)));
    case.is_bad("unlinked x-00000002.jsonl:5");
}

#[test]
fn a_wrong_link_is_named() {
    let case = Case::new();
    case.edit(&case.segment(2), |lines| {
        let prev = lines[3].split('"').nth(5).unwrap().to_owned();
        lines[3] = rehashed(&lines[3].replacen(&prev, &"ab".repeat(32), 1));
    });
    case.is_bad("unlinked x-00000002.jsonl:4");
}

#[test]
fn a_removed_entry_is_named() {
    let case = Case::new();
    case.edit(&case.segment(2), |lines| drop(lines.remove(3)));
    case.is_bad("removed x-00000002.jsonl:4");
}

#[test]
fn an_inserted_entry_is_named() {
    let case = Case::new();
    let before = fs::read_to_string(case.segment(2)).unwrap();
    case.edit(&case.segment(2), |lines| lines.insert(3, lines[1].clone()));
    case.is_bad("inserted x-00000002.jsonl:4");
    fs::write(case.segment(2), &before).unwrap();
    case.edit(&case.segment(2), |lines| lines.insert(3, "{}".to_owned()));
    case.is_bad("inserted x-00000002.jsonl:4");
    fs::write(case.segment(2), &before).unwrap();
    // A forged entry that takes the place of the next one is itself whole; the genuine one behind it gives it away.
    case.edit(&case.segment(2), |lines| {
        lines.insert(3, rehashed(&lines[3].replacen("\"call\":\"", "\"call\":\"f", 1)))
    });
    case.is_bad("inserted x-00000002.jsonl:5");
}

#[test]
fn reordered_entries_are_named_also_across_segments() {
    let case = Case::new();
    let before = fs::read_to_string(case.segment(2)).unwrap();
    case.edit(&case.segment(2), |lines| lines.swap(3, 4));
    case.is_bad("reordered x-00000002.jsonl:4");
    fs::write(case.segment(2), &before).unwrap();
    fs::rename(case.segment(2), case.path()).unwrap();
    fs::rename(case.segment(3), case.segment(2)).unwrap();
    fs::rename(case.path(), case.segment(3)).unwrap();
    case.is_bad("reordered x-00000002.jsonl:1");
}

#[test]
fn entries_cut_off_at_a_boundary_are_seen_by_the_head() {
    let case = Case::new();
    case.edit(&case.last(), |lines| drop(lines.pop()));
    case.is_bad("truncated");
    // Without a head the rest is a whole log: this is why the head belongs elsewhere too.
    let head = fs::read_to_string(case.folder.path().join("x.head")).unwrap();
    fs::remove_file(case.folder.path().join("x.head")).unwrap();
    assert!(case.verdict(&VerifyOptions::default()).starts_with("ok"));
    let head: Head = {
        let digits = |from: &str, to: char| head.split_once(from).unwrap().1.split(to).next().unwrap().to_owned();
        format!("{}:{}", digits("\"seq\":", ','), digits("\"hash\":\"", '"')).parse().unwrap()
    };
    let verdict = case.verdict(&VerifyOptions { expected_head: Some(head), ..VerifyOptions::default() });
    assert!(verdict.starts_with("bad truncated"), "{verdict}");
}

#[test]
fn a_cut_in_the_middle_of_a_line_is_truncated_or_torn_by_what_the_head_says() {
    let case = Case::new();
    let mut bytes = fs::read(case.last()).unwrap();
    bytes.extend_from_slice(b"{\"seq\":");
    fs::write(case.last(), &bytes).unwrap();
    case.is_bad("torn");
    bytes.truncate(bytes.len() - 30);
    fs::write(case.last(), &bytes).unwrap();
    case.is_bad("truncated");
    fs::write(case.segment(1), &fs::read(case.segment(1)).unwrap()[..700]).unwrap();
    case.is_bad("changed x-00000001.jsonl:3");
}

#[test]
fn removed_segments_are_named_wherever_they_were() {
    let case = Case::new();
    let kept = fs::read(case.segment(2)).unwrap();
    fs::remove_file(case.segment(2)).unwrap();
    case.is_bad("removed x-00000002.jsonl:0");
    fs::write(case.segment(2), "").unwrap();
    case.is_bad("removed x-00000003.jsonl:1");
    fs::write(case.segment(2), kept).unwrap();
    fs::remove_file(case.segment(1)).unwrap();
    case.is_bad("removed x-00000001.jsonl:0");
    let rest = case.verdict(&VerifyOptions { partial: true, ..VerifyOptions::default() });
    assert!(rest.starts_with("ok"), "{rest}");
    fs::remove_file(case.last()).unwrap();
    let rest = case.verdict(&VerifyOptions { partial: true, ..VerifyOptions::default() });
    assert!(rest.starts_with("bad truncated"), "{rest}");
}

#[test]
fn a_log_written_anew_does_not_match_a_head_that_was_kept() {
    let case = Case::new();
    let other = Case::new();
    let real = verify(&case.path(), &VerifyOptions::default()).unwrap().last.unwrap();
    let kept = Head { seq: 5, ..real };
    let verdict = other.verdict(&VerifyOptions { expected_head: Some(kept), ..VerifyOptions::default() });
    assert!(verdict.starts_with("bad rewritten x-00000001.jsonl:5 "), "{verdict}");
}

#[test]
fn lines_moved_into_another_segment_are_noticed() {
    let case = Case::new();
    let second = fs::read_to_string(case.segment(2)).unwrap();
    let first = fs::read_to_string(case.segment(1)).unwrap();
    let (moved, rest) = second.split_once('\n').unwrap();
    fs::write(case.segment(1), format!("{first}{moved}\n")).unwrap();
    fs::write(case.segment(2), rest).unwrap();
    case.is_bad("changed x-00000002.jsonl:1");
}

/// xorshift: the same damage in every run.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % sides as u64).unwrap()
    }
}

fn damage(case: &Case, dice: &mut Dice) {
    let file = case.segment(1 + dice.roll(3) as u64);
    if !file.exists() {
        return;
    }
    let mut bytes = fs::read(&file).unwrap();
    let (at, other, length) = (dice.roll(bytes.len().max(1)), dice.roll(bytes.len().max(1)), dice.roll(40));
    match dice.roll(8) {
        0 => fs::remove_file(&file).unwrap(),
        1 => fs::write(&file, bytes.get(..at).unwrap()).unwrap(),
        2 => {
            bytes.splice(at..at, std::iter::repeat_n(b'\n', 1 + length));
            fs::write(&file, bytes).unwrap();
        }
        3 => {
            bytes.drain(at.min(other)..at.max(other));
            fs::write(&file, bytes).unwrap();
        }
        4 => case.edit(&file, |lines| {
            let by = length % lines.len().max(1);
            lines.rotate_left(by);
        }),
        5 => case.edit(&file, |lines| lines.truncate(length)),
        6 => case.edit(&file, |lines| {
            let place = at % (lines.len() + 1);
            let copy = lines.get(other % lines.len().max(1)).cloned().unwrap_or_default();
            lines.insert(place, copy);
        }),
        _ => case.edit(&file, |lines| {
            if let Some(line) = lines.get_mut(length).filter(|line| line.len() > 75) {
                *line = rehashed(&line.replacen('a', "b", 1));
            }
        }),
    }
}

#[test]
fn both_verifiers_agree_on_damage_that_nobody_thought_of() {
    let mut dice = Dice(0x9e37_79b9_7f4a_7c15);
    let original = Case::new();
    let mut seen = std::collections::BTreeSet::new();
    for _ in 0..40 {
        let case = Case { folder: tempfile::tempdir().unwrap() };
        for entry in fs::read_dir(original.folder.path()).unwrap().map(Result::unwrap) {
            fs::copy(entry.path(), case.folder.path().join(entry.file_name())).unwrap();
        }
        for _ in 0..=dice.roll(2) {
            damage(&case, &mut dice);
        }
        let options = VerifyOptions { partial: dice.roll(4) == 0, ..VerifyOptions::default() };
        let verdict = case.verdict(&options);
        seen.insert(verdict.split(' ').nth(1).unwrap_or_default().to_owned());
    }
    assert!(seen.len() >= 5, "{seen:?}");
}

#[test]
fn the_example_in_the_documentation_is_what_the_writer_writes() {
    let folder = tempfile::tempdir().unwrap();
    let clock = Arc::new(FixedClock::at(Timestamp(1_785_231_000_000)));
    let settings = AuditSettings::default();
    let log = AuditLog::open(folder.path(), &settings, clock, "0.1.0", Arc::new(Metrics::new())).unwrap();
    let intent = Intent {
        call: "00f067aa0ba902b7".into(),
        at: Timestamp(1_785_231_000_125),
        caller: "anonymous".into(),
        proof: "none",
        session: Some("5d41402abc4b2a76".into()),
        server: "notes".into(),
        version: "2025-11-25",
        direction: "to_server",
        method: "tools/call".into(),
        name: Some("send_payment".into()),
        id: Some("7".into()),
        arguments_blake3: Some("af1349b9f5f9a1a6a0404dea36dcc9499bcb25c9adc112b7cc9a93cae41f3262".into()),
        bytes: 164,
        decision: "deny",
        code: Some("forbidden"),
        policies: vec!["payments-under-100".into()],
        plan: "6e340b9cffb37a98".into(),
        trace_id: "4bf92f3577b34da6a3ce929d0e0e4736".into(),
        ..Intent::default()
    };
    let outcome = Outcome {
        call: intent.call.clone(),
        at: Timestamp(1_785_231_000_126),
        status: Status::Denied,
        code: Some("forbidden".into()),
        messages: 1,
        bytes: 151,
        latency: Duration::from_millis(1),
        http_status: Some(200),
        ..Outcome::default()
    };
    log.append(Record::Intent(Box::new(intent))).unwrap();
    log.append(Record::Outcome(Box::new(outcome))).unwrap();
    log.close(Duration::from_secs(20)).unwrap();
    let written = fs::read_to_string(folder.path().join("audit-00000001.jsonl")).unwrap();
    let page = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/audit-format.md")).unwrap();
    assert!(page.contains(&format!("```json\n{written}```")), "docs/audit-format.md should show:\n{written}");
}
