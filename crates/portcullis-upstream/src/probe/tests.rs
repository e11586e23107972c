//! What we ask is legal, what servers say about their era is read strictly, and a hostile tool list stays within bounds.

use std::collections::VecDeque;

use bytes::Bytes;
use portcullis_core::refusal::{Fault, FaultKind};
use portcullis_core::version::Era;
use portcullis_core::wire::{Direction, Limits, Message};

use super::{Ask, Discovered, Probe, Served, discovered, greeted, list_tools};

fn answer(text: &str) -> Message {
    Message::read(Bytes::copy_from_slice(text.as_bytes()), Direction::ToClient, &Limits::default()).unwrap()
}

fn result(result: &str) -> Message {
    answer(&format!(r#"{{"jsonrpc":"2.0","id":1,"result":{result}}}"#))
}

fn error(code: i32, data: &str) -> Message {
    answer(&format!(r#"{{"jsonrpc":"2.0","id":1,"error":{{"code":{code},"message":"x","data":{data}}}}}"#))
}

/// Answers from a list and remembers the questions.
struct Scripted {
    answers: VecDeque<Message>,
    asked: Vec<String>,
}

impl Ask for Scripted {
    async fn ask(&mut self, question: Probe) -> Result<Message, Fault> {
        self.asked.push(String::from_utf8(question.body().to_vec()).unwrap());
        Ok(self.answers.pop_front().unwrap_or_else(|| result(r#"{"tools":[]}"#)))
    }

    async fn tell(&mut self, _: Probe) -> Result<(), Fault> {
        Ok(())
    }
}

async fn listed(answers: impl IntoIterator<Item = Message>) -> (Result<usize, FaultKind>, Vec<String>) {
    let mut server = Scripted { answers: answers.into_iter().collect(), asked: Vec::new() };
    let outcome = list_tools(&mut server, Era::Modern, 1).await;
    (outcome.map(|catalogue| catalogue.tools().len()).map_err(|fault| fault.kind), server.asked)
}

#[test]
fn our_own_messages_pass_the_strict_reader_and_say_who_asks() {
    for probe in [
        Probe::discover(1),
        Probe::initialize(2),
        Probe::initialized(),
        Probe::tools_list(3, Era::Modern, Some("\"c\"")),
    ] {
        let message = probe.message(&Limits::default()).unwrap();
        assert_eq!(message.method(), Some(probe.method()));
    }
    let discover = Probe::discover(1).message(&Limits::default()).unwrap();
    assert_eq!(discover.meta("io.modelcontextprotocol/protocolVersion").unwrap().as_str().unwrap(), "2026-07-28");
    assert!(discover.meta("io.modelcontextprotocol/clientCapabilities").is_some());
}

#[test]
fn only_a_version_list_proves_an_era_g2() {
    let modern = Discovered::Serves(Served::MODERN);
    assert_eq!(discovered(&result(r#"{"supportedVersions":["2026-07-28","2027-01-01"]}"#)), modern);
    assert_eq!(
        discovered(&result(r#"{"supportedVersions":["2025-11-25","2026-07-28"]}"#)),
        Discovered::Serves(Served { legacy: true, modern: true })
    );
    assert_eq!(discovered(&error(-32022, r#"{"supported":["2026-07-28"]}"#)), modern);
    assert_eq!(discovered(&error(-32020, "null")), modern);
    assert_eq!(discovered(&result(r#"{"supportedVersions":["2027-01-01"]}"#)), Discovered::Foreign);
    for maybe in [
        result("{}"),
        result(r#"{"supportedVersions":[]}"#),
        result(r#"{"supportedVersions":"2026-07-28"}"#),
        result(r#"{"supportedVersions":["2025-06-18"]}"#),
        error(-32022, r#"{"supported":["2025-06-18"]}"#),
        error(-32601, "null"),
        // Codes of drafts before the release prove nothing (H2).
        error(-32004, r#"{"supported":["2026-07-28"]}"#),
    ] {
        assert_eq!(discovered(&maybe), Discovered::MaybeLegacy);
    }
}

#[test]
fn a_greeting_names_a_version_of_the_handshake_b4() {
    assert!(greeted(&result(r#"{"protocolVersion":"2024-11-05","capabilities":{"tools":{}}}"#)).unwrap().has_tools);
    assert!(!greeted(&result(r#"{"protocolVersion":"2025-11-25","capabilities":{}}"#)).unwrap().has_tools);
    for bad in [
        result(r#"{"protocolVersion":"2026-07-28"}"#),
        result(r#"{"protocolVersion":"1.0"}"#),
        result("{}"),
        error(-32601, "1"),
    ] {
        assert_eq!(greeted(&bad).unwrap_err().kind, FaultKind::Garbage);
    }
}

#[tokio::test]
async fn all_pages_are_read_and_an_empty_cursor_is_a_cursor_d13() {
    let pages = [
        result(r#"{"tools":[{"name":"a"}],"nextCursor":""}"#),
        result(r#"{"tools":[{"name":"b"}],"nextCursor":"\u0041"}"#),
        result(r#"{"tools":[{"name":"c"}]}"#),
    ];
    let (outcome, asked) = listed(pages).await;
    assert_eq!(outcome, Ok(3));
    assert!(
        asked[1].contains(r#""cursor":"""#) && asked[2].contains(r#""cursor":"\u0041""#),
        "cursors go back as written"
    );
}

#[tokio::test]
async fn a_hostile_list_is_refused_whole() {
    let looping = (0..3).map(|_| result(r#"{"tools":[],"nextCursor":"x"}"#));
    assert_eq!(listed(looping).await.0, Err(FaultKind::Garbage));
    let endless = (0..200).map(|page| result(&format!(r#"{{"tools":[],"nextCursor":"{page}"}}"#)));
    let (outcome, asked) = listed(endless).await;
    assert_eq!((outcome, asked.len()), (Err(FaultKind::TooLarge), 100));
    let many: Vec<String> = (0..6000).map(|tool| format!(r#"{{"name":"{tool}"}}"#)).collect();
    let page = format!(r#"{{"tools":[{}],"nextCursor":"n"}}"#, many.join(","));
    assert_eq!(
        listed([
            result(&page),
            result(&page.replace("\"n\"", "\"m\"").replace("\"name\":\"", "\"name\":\"z")),
            result(r#"{"tools":[]}"#)
        ])
        .await
        .0,
        Err(FaultKind::TooLarge)
    );
    for bad in
        [r#"{"tools":{}}"#, "{}", r#"{"tools":[{"title":"no name"}]}"#, r#"{"tools":[{"name":"a"},{"name":"a"}]}"#]
    {
        assert_eq!(listed([result(bad)]).await.0, Err(FaultKind::Garbage), "{bad}");
    }
    assert_eq!(listed([error(-32603, "1")]).await.0, Err(FaultKind::Garbage));
    assert_eq!(listed([error(-32601, "1")]).await.0, Ok(0), "no tools, no method");
}
