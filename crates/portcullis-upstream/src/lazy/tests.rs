//! A server hears of a session when the session needs it, once, in the client's words; and of a call twice only where that does no harm.

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::{FutureExt, StreamExt};
use portcullis_core::call::{Call, SessionKey, Subject};
use portcullis_core::catalogue::{Catalogue, Hello};
use portcullis_core::refusal::{Fault, FaultKind};
use portcullis_core::upstream::{Reply, Upstream};
use portcullis_core::wire::Limits;
use tokio::io::AsyncWriteExt;

mod listening;

use super::{ASKED_EVERY, Lazy, MOST_HOPEFUL, MOST_KEPT};
use crate::answers::{accepted, at_hand, one};
use crate::settings::{EraSetting, HttpSettings, LazySettings, StdioSettings};
use crate::testing::{Canned, Fake, all, id_of, json, legacy, modern, modern_call, said, text};
use crate::{Children, HttpUpstream, PipeUpstream, StderrSink};

const INITIALIZE: &str = r#"{"jsonrpc":"2.0","id":"i","method":"initialize","params":{"protocolVersion":"2025-11-25","capabilities":{},"clientInfo":{"name":"c","version":"1"}}}"#;
const INITIALIZED: &str = r#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#;
const GREETING: &str = r#"{"protocolVersion":"2025-06-18","capabilities":{"tools":{},"logging":{}},"serverInfo":{"name":"s","version":"1"},"instructions":"be \u0062rief"}"#;
const OPENING: [&str; 2] = ["initialize", "notifications/initialized"];

fn request(method: &str) -> String {
    format!(r#"{{"jsonrpc":"2.0","id":7,"method":"{method}","params":{{}}}}"#)
}

fn call(tool: &str) -> String {
    format!(r#"{{"jsonrpc":"2.0","id":7,"method":"tools/call","params":{{"name":"{tool}"}}}}"#)
}

/// What the fake server says of itself.
fn offers(hello: &str) -> Catalogue {
    let tools = r#"[{"name":"plain"},{"name":"reads","annotations":{"readOnlyHint":true}},{"name":"sets","annotations":{"idempotentHint":true}},{"name":"lies","annotations":{"readOnlyHint":"yes"}}]"#;
    let hello = said(&format!(r#"{{"jsonrpc":"2.0","id":1,"result":{hello}}}"#));
    Catalogue::from_saved(tools.as_bytes(), &Limits::default()).unwrap().with_hello(Hello::of(&hello).unwrap())
}

fn down() -> Fault {
    Fault::before_sending(FaultKind::Unreachable, "x")
}

/// Answers as a server does that has no troubles.
fn well(call: &Call) -> Result<Reply, Fault> {
    let Some(id) = call.message().filter(|_| call.expects_response()).and_then(|message| message.id()) else {
        return Ok(accepted());
    };
    let result = if call.method() == "initialize" { GREETING } else { r#"{"of":"server"}"# };
    Ok(at_hand(id, result, &Limits::default()).unwrap())
}

fn lazy(fake: &Arc<Fake>) -> Arc<Lazy> {
    Lazy::new(Arc::clone(fake) as Arc<dyn Upstream>, &LazySettings::default(), Limits::default()).unwrap()
}

/// A server that is known, and a session that a client has begun.
async fn begun(says: impl Fn(&Call) -> Result<Reply, Fault> + Send + Sync + 'static) -> (Arc<Fake>, Arc<Lazy>) {
    let fake = Fake::new(Ok(offers(GREETING)), says);
    let lazy = lazy(&fake);
    say(&lazy, INITIALIZE).await.unwrap();
    say(&lazy, INITIALIZED).await.unwrap();
    assert_eq!(fake.news(), ["refresh"]);
    (fake, lazy)
}

async fn say(lazy: &Lazy, message: &str) -> Result<String, Fault> {
    let mut facts = legacy(1);
    facts.catalogue = Arc::new(offers(GREETING));
    let items = all(lazy.send(facts.say(message)).await?).await;
    Ok(items.first().map(text).unwrap_or_default())
}

fn kind<T>(outcome: Result<T, Fault>) -> FaultKind {
    outcome.map(drop).unwrap_err().kind
}

#[tokio::test]
async fn initialize_is_answered_with_what_the_server_said_and_the_server_hears_nothing() {
    let fake = Fake::new(Ok(offers(GREETING)), well);
    let lazy = lazy(&fake);
    let answered =
        |version: &str| format!(r#"{{"jsonrpc":"2.0","id":"i","result":{}}}"#, GREETING.replace("2025-06-18", version));
    assert_eq!(say(&lazy, INITIALIZE).await.unwrap(), answered("2025-06-18"), "as new as the server is");
    let mut older = legacy(2);
    older.version = portcullis_core::version::Version::V2025_03_26;
    let reply = lazy.send(older.say(&INITIALIZE.replace("2025-11-25", "2025-03-26"))).await.unwrap();
    assert_eq!(text(&all(reply).await[0]), answered("2025-03-26"));
    assert_eq!(fake.heard(), ["refresh"], "asked once what it is, by us");
}

#[tokio::test]
async fn the_first_message_that_needs_the_server_opens_the_session_once_for_all_that_wait() {
    let (fake, lazy) = begun(well).await;
    let (tool, list) = (call("plain"), request("tools/list"));
    let (a, b, c) = tokio::join!(say(&lazy, &tool), say(&lazy, &list), say(&lazy, &tool));
    for answer in [a, b, c] {
        assert_eq!(answer.unwrap(), r#"{"jsonrpc":"2.0","id":7,"result":{"of":"server"}}"#);
    }
    let heard = fake.news();
    assert_eq!((heard.len(), &heard[..2]), (5, &OPENING.map(str::to_owned)[..]));
    say(&lazy, &tool).await.unwrap();
    assert_eq!(fake.news(), ["tools/call"]);
}

#[tokio::test]
async fn a_server_without_a_session_is_not_bothered_and_hears_the_newest_level_first() {
    let levels = Arc::new(Mutex::new(Vec::new()));
    let heard_levels = Arc::clone(&levels);
    let (fake, lazy) = begun(move |call| {
        let level = call.message().and_then(|message| message.param("level"));
        heard_levels.lock().unwrap().extend(level.map(|level| level.text().to_owned()));
        well(call)
    })
    .await;
    let level = |level: &str| {
        format!(r#"{{"jsonrpc":"2.0","id":3,"method":"logging/setLevel","params":{{"level":"{level}"}}}}"#)
    };
    let empty = |id: &str| format!(r#"{{"jsonrpc":"2.0","id":{id},"result":{{}}}}"#);
    assert_eq!(say(&lazy, &request("ping")).await.unwrap(), empty("7"));
    assert_eq!(say(&lazy, &level("debug")).await.unwrap(), empty("3"));
    assert_eq!(say(&lazy, &level("error")).await.unwrap(), empty("3"));
    for told in [
        r#"{"jsonrpc":"2.0","method":"notifications/roots/list_changed"}"#,
        r#"{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":1}}"#,
        r#"{"jsonrpc":"2.0","id":1,"result":{}}"#,
    ] {
        assert_eq!(say(&lazy, told).await.unwrap(), "");
    }
    assert!(fake.news().is_empty());
    say(&lazy, &call("plain")).await.unwrap();
    assert_eq!(fake.news(), ["initialize", "notifications/initialized", "logging/setLevel", "tools/call"]);
    assert_eq!(*levels.lock().unwrap(), [r#""error""#]);
    assert!(say(&lazy, &request("ping")).await.unwrap().contains("server"), "an open session is the server's");
}

#[tokio::test]
async fn what_the_server_alone_can_answer_opens_the_session() {
    for message in [
        r#"{"jsonrpc":"2.0","id":3,"method":"logging/setLevel","params":{"level":"loud"}}"#,
        r#"{"jsonrpc":"2.0","method":"notifications/of/an/extension"}"#,
        r#"{"jsonrpc":"2.0","id":3,"method":"resources/list"}"#,
    ] {
        let (fake, lazy) = begun(well).await;
        say(&lazy, message).await.unwrap();
        assert_eq!(fake.news().len(), 3, "{message}");
    }
}

#[tokio::test]
async fn the_end_of_a_session_reaches_the_server_only_if_it_heard_of_the_beginning() {
    let (fake, lazy) = begun(well).await;
    all(lazy.send(legacy(1).clear(Subject::Close)).await.unwrap()).await;
    assert!(fake.news().is_empty());
    assert_eq!(
        (say(&lazy, &call("plain")).await.is_ok(), fake.news()),
        (true, vec!["tools/call".to_owned()]),
        "not ours any more"
    );
    for closes in [true, false] {
        let (fake, lazy) = begun(well).await;
        say(&lazy, &call("plain")).await.unwrap();
        fake.news();
        if closes {
            all(lazy.send(legacy(1).clear(Subject::Close)).await.unwrap()).await;
        } else {
            lazy.forget(SessionKey(1)).await;
        }
        assert_eq!(fake.news(), [if closes { "session/close" } else { "forget" }]);
    }
    let (fake, lazy) = begun(well).await;
    lazy.forget(SessionKey(1)).await;
    assert!(fake.news().is_empty());
    lazy.shut_down().await;
    assert_eq!(fake.news(), ["shut_down"]);
}

#[tokio::test]
async fn a_session_that_ends_while_it_is_opened_is_ended_at_the_server_too() {
    let (fake, lazy) = begun(well).await;
    let tool = call("plain");
    let mut calling = Box::pin(say(&lazy, &tool));
    // As far as the server having heard the first of two messages.
    while fake.heard().is_empty() {
        assert!((&mut calling).now_or_never().is_none());
        tokio::task::yield_now().await;
    }
    lazy.forget(SessionKey(1)).await;
    assert_eq!(kind(calling.await), FaultKind::SessionLost);
    assert_eq!(fake.news(), ["initialize", "notifications/initialized", "forget"]);
}

#[tokio::test]
async fn a_session_that_nobody_waits_for_any_more_is_opened_to_the_end() {
    let (fake, lazy) = begun(well).await;
    let tool = call("plain");
    let mut calling = Box::pin(say(&lazy, &tool));
    while fake.heard().is_empty() {
        assert!((&mut calling).now_or_never().is_none());
        tokio::task::yield_now().await;
    }
    drop(calling);
    say(&lazy, &tool).await.unwrap();
    assert_eq!(fake.news(), ["initialize", "notifications/initialized", "tools/call"], "not begun twice");
}

#[tokio::test]
async fn the_standing_stream_is_silent_until_the_session_opens() {
    let stream = |last: Option<&str>| {
        let last_event_id = last.map(str::to_owned);
        legacy(1).clear(Subject::Stream { last_event_id, request: None })
    };
    let (fake, lazy) = begun(|call| match &call.subject {
        Subject::Stream { .. } => {
            Ok(one(said(r#"{"jsonrpc":"2.0","method":"notifications/message","params":{"level":"info","data":1}}"#)))
        }
        _ => well(call),
    })
    .await;
    assert_eq!(kind(lazy.send(stream(Some("e"))).await), FaultKind::NoStream);
    let mut reply = lazy.send(stream(None)).await.unwrap();
    let mut next = Box::pin(reply.arrivals.next());
    assert!((&mut next).now_or_never().is_none() && fake.news().is_empty());
    say(&lazy, &call("plain")).await.unwrap();
    assert!(text(&next.await.unwrap()).contains("notifications/message"));
    assert!(fake.news().contains(&"stream/open".to_owned()));
    let (fake, lazy) = begun(well).await;
    let reply = lazy.send(stream(None)).await.unwrap();
    lazy.forget(SessionKey(1)).await;
    assert!(all(reply).await.is_empty(), "it ends with the session");
    assert!(fake.news().is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_server_that_is_down_is_said_to_be_and_its_sessions_join_when_it_is_back() {
    let up = Arc::new(AtomicBool::new(false));
    let there = Arc::clone(&up);
    let says = move |call: &Call| if there.load(Ordering::Relaxed) { well(call) } else { Err(down()) };
    let fake = Fake::new(Err(down()), says);
    let lazy = lazy(&fake);
    assert_eq!(kind(say(&lazy, INITIALIZE).await), FaultKind::Unreachable);
    assert_eq!(kind(say(&lazy, INITIALIZE).await), FaultKind::Unreachable);
    assert_eq!(fake.news(), ["refresh"], "not asked by every client");
    assert_eq!(say(&lazy, INITIALIZED).await.unwrap(), "");
    let fault = say(&lazy, &call("plain")).await.unwrap_err();
    assert_eq!(
        (fault.kind, fault.never_left, fake.news()),
        (FaultKind::Unreachable, true, vec!["initialize".to_owned()])
    );
    up.store(true, Ordering::Relaxed);
    fake.offer(Ok(offers(GREETING)));
    say(&lazy, &call("plain")).await.unwrap();
    assert_eq!(fake.news()[..3], ["initialize", "notifications/initialized", "refresh"], "and it is known from now on");
    tokio::time::advance(ASKED_EVERY).await;
    assert!(say(&lazy, INITIALIZE).await.is_ok());
    assert!(fake.news().iter().all(|heard| heard != "refresh"));
}

#[tokio::test]
async fn sessions_that_hope_for_a_server_are_bounded() {
    let fake = Fake::new(Err(down()), |_| Err(down()));
    let lazy = lazy(&fake);
    for key in 0..=MOST_HOPEFUL {
        assert!(lazy.send(legacy(key as u128).say(INITIALIZE)).await.is_err());
    }
    assert_eq!(lazy.inner.sessions().len(), MOST_HOPEFUL);
    assert!(!lazy.inner.sessions().contains_key(&SessionKey(0)), "the oldest made room");
}

/// A server that forgets its session before the first message of that method, `times` times.
fn forgetful(method: &'static str, times: u32, never_left: bool) -> impl Fn(&Call) -> Result<Reply, Fault> {
    let left = AtomicU32::new(times);
    move |call| {
        if call.method() == method
            && left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1)).is_ok()
        {
            return Err(Fault { never_left, ..Fault::new(FaultKind::SessionLost, "x") });
        }
        well(call)
    }
}

#[tokio::test]
async fn after_a_lost_session_only_what_is_safe_is_repeated_and_once() {
    for (message, method, never_left, sent) in [
        (request("resources/read").replace("{}", r#"{"uri":"a"}"#), "resources/read", false, 2),
        (call("reads"), "tools/call", false, 2),
        (call("sets"), "tools/call", false, 2),
        (call("plain"), "tools/call", true, 2),
        (call("plain"), "tools/call", false, 1),
        (call("lies"), "tools/call", false, 1),
        (call("unknown"), "tools/call", false, 1),
    ] {
        let (fake, lazy) = begun(forgetful(method, 1, never_left)).await;
        let outcome = say(&lazy, &message).await;
        assert_eq!(fake.heard().iter().filter(|heard| *heard == method).count(), sent, "{message} {never_left}");
        if sent == 1 {
            assert_eq!(outcome.unwrap_err(), Fault::new(FaultKind::NotRepeated, "x"));
        } else {
            assert!(outcome.unwrap().contains("server"));
        }
        say(&lazy, &call("plain")).await.unwrap();
        assert_eq!(fake.heard().iter().filter(|heard| *heard == "initialize").count(), 2, "the session is open again");
        assert!(fake.heard().contains(&"refresh".to_owned()), "and what the server offers is read anew");
    }
    let (fake, lazy) = begun(forgetful("tools/list", 2, true)).await;
    assert_eq!(kind(say(&lazy, &request("tools/list")).await), FaultKind::SessionLost);
    assert_eq!(fake.heard().iter().filter(|heard| *heard == "tools/list").count(), 2);
}

#[tokio::test]
async fn many_calls_that_find_the_session_lost_open_it_once() {
    let (fake, lazy) = begun(forgetful("tools/list", 3, false)).await;
    let list = request("tools/list");
    let (a, b, c) = tokio::join!(say(&lazy, &list), say(&lazy, &list), say(&lazy, &list));
    assert!(a.is_ok() && b.is_ok() && c.is_ok());
    assert_eq!(fake.heard().iter().filter(|heard| *heard == "initialize").count(), 2);
    let (fake, lazy) = begun(forgetful("notifications/cancelled", 1, false)).await;
    say(&lazy, &list).await.unwrap();
    fake.news();
    say(&lazy, r#"{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":1}}"#).await.unwrap();
    assert_eq!(fake.news(), ["notifications/cancelled"], "the next session has nothing to cancel");
}

#[tokio::test]
async fn those_who_wait_for_an_opening_that_fails_share_its_failure() {
    let (fake, lazy) = begun(|_| Err(down())).await;
    let list = request("tools/list");
    let (a, b) = tokio::join!(say(&lazy, &list), say(&lazy, &list));
    assert!(a.is_err() && b.is_err());
    assert_eq!(fake.news(), ["initialize"]);
    say(&lazy, &list).await.unwrap_err();
    assert_eq!(fake.news(), ["initialize"], "who comes later tries again");
}

#[tokio::test]
async fn a_server_that_is_not_known_to_have_sessions_answers_initialize_itself() {
    let modern_hello = r#"{"supportedVersions":["2026-07-28","2025-11-25"],"capabilities":{"tools":{}}}"#;
    let fake = Fake::new(Ok(offers(modern_hello)), well);
    let lazy = lazy(&fake);
    assert!(say(&lazy, INITIALIZE).await.unwrap().contains("be \\u0062rief"));
    say(&lazy, INITIALIZED).await.unwrap();
    say(&lazy, &call("plain")).await.unwrap();
    assert_eq!(fake.news(), ["refresh", "initialize", "notifications/initialized", "tools/call"]);
    all(lazy.send(modern().say(&modern_call("7"))).await.unwrap()).await;
    assert_eq!(fake.news(), ["tools/call"]);
    let large = INITIALIZE.replace(r#""name":"c""#, &format!(r#""name":"{}""#, "c".repeat(MOST_KEPT)));
    say(&lazy, &large).await.unwrap();
    assert_eq!(fake.news(), ["initialize"], "nothing of that size is kept");
}

/// Over a real socket: a server that counts its sessions and forgets them when told to.
#[tokio::test]
async fn over_http_a_restarted_server_is_greeted_anew_and_answers() {
    let current = Arc::new(AtomicU32::new(1));
    let shared = Arc::clone(&current);
    let server = Canned::scripted(move |heard, mut socket| {
        let session = format!("s{}", shared.load(Ordering::Relaxed));
        async move {
            let result = |result: &str| {
                json(200, &format!(r#"{{"jsonrpc":"2.0","id":{},"result":{result}}}"#, id_of(&heard.body)))
            };
            let known = heard.header("mcp-session-id");
            let answer = match &heard.body {
                body if body.contains("server/discover") => json(404, "no"),
                body if body.contains("\"initialize\"") => {
                    result(GREETING).replacen("content-type", &format!("mcp-session-id: {session}\r\ncontent-type"), 1)
                }
                _ if known != Some(&session) => json(404, "no"),
                body if body.contains("tools/list") => result(r#"{"tools":[{"name":"plain"}]}"#),
                body if body.contains("tools/call") => result(r#"{"content":[]}"#),
                _ => "HTTP/1.1 202 X\r\ncontent-length: 0\r\n\r\n".to_owned(),
            };
            socket.write_all(answer.as_bytes()).await.ok()?;
            Some(socket)
        }
    })
    .await;
    let mut settings = HttpSettings::of_url(server.url.clone());
    settings.era = EraSetting::Auto;
    let clock = Arc::new(portcullis_core::clock::FixedClock::default());
    let http = HttpUpstream::new("srv".into(), &settings, Limits::default(), clock, None).unwrap();
    http.refresh().await.unwrap();
    let lazy = Lazy::new(http, &LazySettings::default(), Limits::default()).unwrap();
    let before = server.heard().len();
    say(&lazy, INITIALIZE).await.unwrap();
    say(&lazy, INITIALIZED).await.unwrap();
    assert_eq!(server.heard().len(), before, "nothing was sent");
    assert!(say(&lazy, &request("tools/list")).await.unwrap().contains("plain"));
    assert_eq!(server.heard().len(), before + 3);
    current.store(2, Ordering::Relaxed);
    let fault = say(&lazy, &call("plain")).await.unwrap_err();
    assert_eq!((fault.kind, fault.never_left), (FaultKind::NotRepeated, false));
    assert!(say(&lazy, &call("plain")).await.unwrap().contains("content"));
    current.store(3, Ordering::Relaxed);
    let (list, read) = (request("tools/list"), call("reads"));
    let (a, b, c) = tokio::join!(say(&lazy, &list), say(&lazy, &read), say(&lazy, &list));
    assert!(a.is_ok() && b.is_ok() && c.is_ok(), "late refusals of the old session do not end the new one");
    lazy.shut_down().await;
}

#[tokio::test]
async fn over_stdio_a_session_has_no_process_before_its_first_call_and_a_new_one_after_a_crash() {
    let python =
        std::process::Command::new("python3").args(["-c", "import sys; print(sys.executable)"]).output().unwrap();
    let python = String::from_utf8(python.stdout).unwrap().trim().to_owned();
    let server = include_str!("../stdio/tests/server.py");
    let mut settings = StdioSettings::of_command(python, vec!["-u".into(), "-c".into(), server.into()]);
    (settings.era, settings.max_children) = (EraSetting::Legacy, 1);
    let stdio =
        PipeUpstream::<Children>::new("srv".into(), &settings, Limits::default(), None, StderrSink::new(|_, _| ()))
            .unwrap();
    let lazy = Lazy::new(stdio, &LazySettings::default(), Limits::default()).unwrap();
    // One place for children: were a process started for either, there would be none for the other.
    for key in [1, 2] {
        let reply = lazy.send(legacy(key).say(INITIALIZE)).await.unwrap();
        assert!(text(&all(reply).await[0]).contains(r#""protocolVersion":"2025-11-25""#));
        all(lazy.send(legacy(key).say(INITIALIZED)).await.unwrap()).await;
    }
    let first = say(&lazy, &call("env")).await.unwrap();
    let crashed = all(lazy.send(legacy(1).say(&call("crash"))).await.unwrap()).await;
    assert_eq!(crashed.last().unwrap().as_ref().unwrap_err().kind, FaultKind::Died, "may have been carried out");
    let pid = |answer: &str| answer.split(r#""pid":"#).nth(1).unwrap().to_owned();
    let mut second = say(&lazy, &call("env")).await;
    // The place of the dead child is free when it is reaped.
    for _ in 0..500 {
        if second.is_ok() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
        second = say(&lazy, &call("env")).await;
    }
    assert_ne!(pid(&first.replace(": ", ":")), pid(&second.unwrap().replace(": ", ":")));
    lazy.shut_down().await;
}
