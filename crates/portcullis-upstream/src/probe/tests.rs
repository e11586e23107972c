//! What we ask is legal, what servers say about their era is read strictly, and a hostile tool list stays within bounds.

use std::collections::VecDeque;

use bytes::Bytes;
use portcullis_core::catalogue::{Caching, Catalogue, Hello, Listed};
use portcullis_core::refusal::{Fault, FaultKind};
use portcullis_core::version::Era;
use portcullis_core::wire::{Direction, Limits, Message};

use super::{Ask, Discovered, Probe, Served, discovered, greeted, survey};

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
    let outcome = survey(&mut server, Era::Modern, None, 1).await;
    (outcome.map(|catalogue| catalogue.tools().len()).map_err(|fault| fault.kind), server.asked)
}

#[test]
fn our_own_messages_pass_the_strict_reader_and_say_who_asks() {
    for probe in [
        Probe::discover(1),
        Probe::initialize(2),
        Probe::initialized(),
        Probe::list(Listed::Templates, 3, Era::Modern, Some("\"c\"")),
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
    assert!(
        greeted(&result(r#"{"protocolVersion":"2024-11-05","capabilities":{"tools":{}}}"#))
            .unwrap()
            .offers(Listed::Tools)
    );
    assert!(!greeted(&result(r#"{"protocolVersion":"2025-11-25","capabilities":{}}"#)).unwrap().offers(Listed::Tools));
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

/// What a server with these capabilities is asked in the legacy era, and what is known then.
async fn surveyed(capabilities: &str, answers: impl IntoIterator<Item = Message>) -> (Catalogue, Vec<String>) {
    let mut server = Scripted { answers: answers.into_iter().collect(), asked: Vec::new() };
    let hello = result(&format!(r#"{{"protocolVersion":"2025-11-25","capabilities":{capabilities}}}"#));
    let catalogue = survey(&mut server, Era::Legacy, Hello::of(&hello), 1).await.unwrap();
    (catalogue, server.asked)
}

#[tokio::test]
async fn only_what_a_legacy_server_declares_is_asked_for() {
    let answers = [
        result(r#"{"tools":[]}"#),
        result(r#"{"resources":[{"uri":"a"}],"nextCursor":"n"}"#),
        result(r#"{"resources":[{"uri":"b"}],"ttlMs":5}"#),
        result(r#"{"resourceTemplates":[{"uriTemplate":"c/{d}"}]}"#),
    ];
    let (catalogue, asked) = surveyed(r#"{"tools":{},"resources":{}}"#, answers).await;
    let methods = ["tools/list", "resources/list", "resources/list", "resources/templates/list"];
    assert!(asked.len() == 4 && asked.iter().zip(methods).all(|(asked, method)| asked.contains(method)), "{asked:?}");
    let keys = |list| catalogue.list(list).items().map(|item| item.key.as_str()).collect::<Vec<_>>();
    assert_eq!((keys(Listed::Resources), keys(Listed::Templates)), (vec!["a", "b"], vec!["c/{d}"]));
    assert_eq!(catalogue.list(Listed::Resources).caching, Caching::default(), "one page says nothing");
    assert!(!catalogue.list(Listed::Prompts).is_read() && catalogue.hello().is_some());
    let (catalogue, asked) = surveyed("{}", []).await;
    assert!(asked.is_empty() && catalogue.is_read() && catalogue.tools().len() == 0);
}

#[tokio::test]
async fn a_list_that_cannot_be_used_stays_unread_and_takes_nothing_else_along() {
    for (bad, read) in [
        (error(-32603, "1"), false),
        (error(-32601, "1"), true),
        (result("{}"), false),
        (result(r#"{"prompts":[{"title":"no name"}]}"#), false),
    ] {
        let resources = [result(r#"{"resources":[]}"#), result(r#"{"resourceTemplates":[]}"#)];
        let answers = [result(r#"{"tools":[{"name":"a"}]}"#), bad].into_iter().chain(resources);
        let (catalogue, _) = surveyed(r#"{"tools":{},"prompts":{},"resources":{}}"#, answers).await;
        assert!(catalogue.tool("a").is_some() && catalogue.list(Listed::Templates).is_read());
        assert_eq!(catalogue.list(Listed::Prompts).is_read(), read);
    }
    let looping = (0..3).map(|_| result(r#"{"prompts":[],"nextCursor":"x"}"#));
    let (catalogue, asked) = surveyed(r#"{"prompts":{}}"#, looping).await;
    assert_eq!((catalogue.list(Listed::Prompts).is_read(), asked.len()), (false, 2));
    let endless = (0..200).map(|page| result(&format!(r#"{{"prompts":[],"nextCursor":"{page}"}}"#)));
    let (catalogue, asked) = surveyed(r#"{"prompts":{}}"#, endless).await;
    assert_eq!((catalogue.list(Listed::Prompts).is_read(), asked.len()), (false, 100));
}

#[tokio::test(start_paused = true)]
async fn a_server_that_is_silent_about_prompts_keeps_its_tools() {
    struct Mute(Scripted);
    impl Ask for Mute {
        async fn ask(&mut self, question: Probe) -> Result<Message, Fault> {
            if question.method() == "prompts/list" {
                std::future::pending::<()>().await;
            }
            self.0.ask(question).await
        }
        async fn tell(&mut self, question: Probe) -> Result<(), Fault> {
            self.0.tell(question).await
        }
    }
    let hello = result(r#"{"protocolVersion":"2025-11-25","capabilities":{"tools":{},"prompts":{}}}"#);
    let mut server = Mute(Scripted { answers: [result(r#"{"tools":[{"name":"a"}]}"#)].into(), asked: Vec::new() });
    let catalogue = survey(&mut server, Era::Legacy, Hello::of(&hello), 1).await.unwrap();
    assert!(catalogue.tool("a").is_some() && !catalogue.list(Listed::Prompts).is_read());
}
