use std::sync::Arc;
use std::time::Duration;

use portcullis_core::attempt::{ANSWERED, Attempt};
use portcullis_core::clock::Timestamp;
use portcullis_core::guard::{Effect, Finding};
use portcullis_core::ledger::{Intent, Outcome, Record, Status};

use super::{ClockFace, Frame, GENESIS, Item, Link, MAX_LINE, Pen};
use crate::settings::Content;

fn line(item: &Item, content: Content) -> (String, Link) {
    let (mut out, mut pen) = (String::new(), Pen::default());
    pen.item(&mut out, item, content);
    (out, pen.link)
}

fn intent() -> Intent {
    Intent {
        call: "00000000000000a1".into(),
        at: Timestamp(1_785_231_000_000),
        caller: "anonymous".into(),
        proof: "none",
        peer: Some("2001:db8::7".parse().unwrap()),
        agent: Some("fleet:planner".into()),
        signed_by: Some("ci".into()),
        chain: vec!["agent:ana via edge".into()],
        server: "everything".into(),
        version: "2025-11-25",
        direction: "to_server",
        method: "tools/call".into(),
        name: Some("echo".into()),
        arguments: Some(r#"{"message":"hi","password":"x"}"#.into()),
        bytes: 120,
        decision: "allow",
        policies: vec!["observe".into()],
        plan: "p1".into(),
        trace_id: "4bf92f3577b34da6a3ce929d0e0e4736".into(),
        ..Intent::default()
    }
}

#[test]
fn an_entry_is_one_line_with_a_fixed_order_and_its_hash_last() {
    let (text, link) = line(&Item::Record(Record::Intent(Box::new(intent()))), Content::None);
    let expected = format!(
        concat!(
            r#"{{"seq":1,"prev":"{}","at":"2026-07-28T09:30:00.000Z","kind":"intent","call":"00000000000000a1","caller":"anonymous","#,
            r#""proof":"none","peer":"2001:db8::7","agent":"fleet:planner","signed_by":"ci","chain":["agent:ana via edge"],"server":"everything","version":"2025-11-25","direction":"to_server","method":"tools/call","name":"echo","#,
            r#""bytes":120,"decision":"allow","policies":["observe"],"plan":"p1","trace_id":"4bf92f3577b34da6a3ce929d0e0e4736","hash":"{}"}}"#,
            "\n"
        ),
        GENESIS, link.hash
    );
    assert_eq!(text, expected);
    let bytes = text.trim_end().as_bytes();
    let frame = Frame::of(bytes).unwrap();
    assert!(frame.is_intact(bytes) && frame.follows(&Link::default()));
}

#[test]
fn an_address_is_written_as_everybody_writes_it() {
    for address in ["0.0.0.0", "127.0.0.1", "192.0.2.10", "255.255.255.255", "::", "2001:db8::7"] {
        let intent = Intent { peer: Some(address.parse().unwrap()), ..intent() };
        let (text, _) = line(&Item::Record(Record::Intent(Box::new(intent))), Content::None);
        assert!(text.contains(&format!(r#","proof":"none","peer":"{address}","agent":"#)), "{text}");
    }
}

#[test]
fn the_time_of_an_entry_is_its_own_whatever_was_written_before() {
    let mut face = ClockFace::default();
    for at in [0, 7, 999, 1000, 1_785_231_000_125, 1_785_231_000_126, 1_785_231_001_000, 1_785_230_999_999, 0] {
        let mut text = String::new();
        face.push(&mut text, Timestamp(at));
        assert_eq!(text, Timestamp(at).to_string());
    }
}

#[test]
fn every_text_comes_back_as_it_was() {
    let hostile: String = ('\0'..'\u{a0}').chain(['\u{2028}', '…', '\u{10ffff}']).collect();
    for text in [hostile.as_str(), "", "plain", "\"", "\\", "\n"] {
        let finding = Finding { guard: "arguments", code: "x", detail: text.into(), effect: Effect::Shadowed };
        let outcome =
            Outcome { detail: Some(text.into()), findings: vec![finding.clone(), finding], ..Outcome::default() };
        let (line, _) = line(&Item::Record(Record::Outcome(Box::new(outcome))), Content::None);
        assert_eq!(line.matches('\n').count(), 1);
        let read: serde_json::Value = serde_json::from_str(&line).unwrap();
        assert_eq!(read["detail"], text);
        let found = if text.is_empty() { &serde_json::Value::Null } else { &read["detail"] };
        assert_eq!(read["findings"][1]["detail"], *found);
    }
}

#[test]
fn content_is_stored_only_as_far_as_configured_and_never_with_its_secrets() {
    let asked = Item::Record(Record::Intent(Box::new(intent())));
    assert!(!line(&asked, Content::None).0.contains("arguments"));
    let kept = line(&asked, Content::Arguments).0;
    assert!(kept.contains(r#""arguments":"{\"message\":\"hi\",\"password\":\"[redacted]\"}""#), "{kept}");
    let outcome = Outcome { result: Some("{}".into()), status: Status::Answered, ..Outcome::default() };
    let outcome = Item::Record(Record::Outcome(Box::new(outcome)));
    assert!(!line(&outcome, Content::Arguments).0.contains("result"));
    assert!(line(&outcome, Content::Full).0.contains(r#""result":"{}""#));
}

#[test]
fn the_worst_record_still_fits_the_longest_line() {
    let long = || "\u{1}".repeat(1 << 20);
    let finding = Finding { guard: "arguments", code: "x", detail: long(), effect: Effect::Shadowed };
    let worst = Intent {
        call: long().into(),
        caller: long().into(),
        peer: Some("2001:db8:2001:db8:2001:db8:255.255.255.255".parse().unwrap()),
        agent: Some(long()),
        signed_by: Some(long().into()),
        chain: vec![long(); 1000],
        session: Some(long().into()),
        server: long().into(),
        method: long().into(),
        name: Some(long().into()),
        id: Some(long().into()),
        arguments_blake3: Some(long().into()),
        arguments: Some(format!("\"{}\"", "\\u0001".repeat(1 << 18))),
        detail: Some(long()),
        policies: vec![Arc::from(long().as_str()); 1000],
        findings: vec![finding.clone(); 1000],
        plan: long().into(),
        trace_id: long().into(),
        parent_span: Some(long().into()),
        ..Intent::default()
    };
    let (text, _) = line(&Item::Record(Record::Intent(Box::new(worst))), Content::Full);
    assert!(text.len() <= MAX_LINE, "{}", text.len());
    let worst = Outcome {
        call: long().into(),
        code: Some(long()),
        detail: Some(long()),
        latency: Duration::MAX,
        findings: vec![finding; 1000],
        result: Some(format!("\"{}\"", "\\u0001".repeat(1 << 18))),
        notifications: vec![(long(), u64::MAX); 1000],
        attempts: Some(vec![attempt(&long()); 1000].into()),
        ..Outcome::default()
    };
    let (text, _) = line(&Item::Record(Record::Outcome(Box::new(worst))), Content::Full);
    assert!(text.len() <= MAX_LINE, "{}", text.len());
}

fn attempt(why: &str) -> Attempt {
    let took = Duration::from_millis(2);
    Attempt { transport: why.into(), outcome: "upstream_unreachable", left: false, took, why: why.to_owned() }
}

#[test]
fn attempts_stand_last_in_order_and_only_where_there_was_a_choice() {
    let with = |attempts| Item::Record(Record::Outcome(Box::new(Outcome { attempts, ..Outcome::default() })));
    let answered = Attempt { outcome: ANSWERED, left: true, why: String::new(), ..attempt("stdio") };
    let (text, _) = line(&with(Some(vec![attempt("http"), answered].into())), Content::None);
    let expected = concat!(
        r#","attempts":[{"transport":"http","outcome":"upstream_unreachable","left":"never","took_us":2000,"why":"http"},"#,
        r#"{"transport":"stdio","outcome":"answered","left":"perhaps","took_us":2000}],"hash":"#,
    );
    assert!(text.contains(expected), "{text}");
    for none in [None, Some(Vec::new().into())] {
        assert!(!line(&with(none), Content::None).0.contains("attempts"));
    }
    let secret = attempt("Bearer eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.c2lnbmF0dXJlLWJ5dGVz");
    let (text, _) = line(&with(Some(vec![Attempt { transport: "http".into(), ..secret }].into())), Content::None);
    assert!(text.contains(r#""why":"[redacted]""#), "{text}");
}

#[test]
fn notifications_are_counted_by_method_and_only_if_there_were_any() {
    let counts = [("notifications/progress", 3), ("notifications/message", 1)];
    let notifications = counts.map(|(method, count)| (method.to_owned(), count)).to_vec();
    let with = |notifications| Item::Record(Record::Outcome(Box::new(Outcome { notifications, ..Outcome::default() })));
    let (text, _) = line(&with(notifications), Content::None);
    assert!(
        text.contains(r#","notifications":{"notifications/progress":3,"notifications/message":1},"hash":"#),
        "{text}"
    );
    assert!(!line(&with(Vec::new()), Content::None).0.contains("notifications"));
}

#[test]
fn a_line_of_another_form_is_no_frame() {
    let (text, _) = line(&Item::Gap { at: Timestamp(0), lost: 3 }, Content::None);
    let good = text.trim_end();
    assert!(Frame::of(good.as_bytes()).is_some());
    for bad in [
        String::new(),
        "{}".to_owned(),
        good.replace("\"seq\":1", "\"seq\":01"),
        good.replace("\"seq\":1", "\"seq\":-1"),
        good.replace("\"seq\":1", "\"seq\":99999999999999999999"),
        good.replace("\"prev\":\"0", "\"prev\":\"A"),
        good.replace(",\"hash\"", ", \"hash\""),
        format!("{good} "),
        format!(" {good}"),
    ] {
        assert!(Frame::of(bad.as_bytes()).is_none(), "{bad}");
    }
}

#[test]
fn one_changed_byte_anywhere_breaks_the_frame_or_its_hash() {
    let (text, _) = line(&Item::Gap { at: Timestamp(0), lost: 3 }, Content::None);
    let good = text.trim_end().as_bytes();
    for at in 0..good.len() {
        let mut bad = good.to_vec();
        bad[at] ^= 1;
        assert!(Frame::of(&bad).is_none_or(|frame| !frame.is_intact(&bad)), "byte {at}");
    }
}
