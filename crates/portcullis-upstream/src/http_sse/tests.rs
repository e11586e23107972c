//! The HTTP+SSE upstream against servers whose every byte is scripted.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::StreamExt;
use portcullis_core::call::SessionKey;
use portcullis_core::clock::{FixedClock, Timestamp};
use portcullis_core::refusal::{Fault, FaultKind};
use portcullis_core::upstream::Upstream;
use portcullis_core::version::Era;
use portcullis_core::wire::Limits;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::EventStreams;
use crate::pipe::{PipeUpstream, StderrSink};
use crate::settings::{HttpSseSettings, SettingsError};
use crate::testing::{Canned, Heard, all, events, legacy, modern, modern_call, text};

const INITIALIZE: &str = r#"{"jsonrpc":"2.0","id":0,"method":"initialize","params":{"protocolVersion":"2025-11-25","capabilities":{},"clientInfo":{"name":"c","version":"1"}}}"#;
const ACCEPTED: &str = "HTTP/1.1 202 Accepted\r\ncontent-length: 8\r\n\r\nAccepted";

/// How the server answers a tool call that was posted.
#[derive(Clone, Copy, PartialEq)]
enum Way {
    /// First 202, then the answer on the stream.
    Usual,
    /// 202 only when the answer was written long ago.
    Late,
    /// The stream ends.
    Dies,
    /// This status, a time to come back, and no answer.
    Status(u16),
    /// 202, and nothing more.
    Silent,
    /// The stream is reset.
    Resets,
    /// An answer to nobody first, and a second one after the right one.
    Lies,
    /// These bytes on the stream, without end.
    Floods,
    /// An answer that says one thing twice.
    Contradicts,
    /// A request of its own first.
    Asks,
}

/// A server of 2024-11-05.
struct Server {
    canned: Canned,
    streams: Arc<Mutex<HashMap<String, Arc<tokio::sync::Mutex<TcpStream>>>>>,
}

impl Server {
    async fn start(way: Way) -> Self {
        let streams: Arc<Mutex<HashMap<String, Arc<tokio::sync::Mutex<TcpStream>>>>> = Arc::default();
        let open = Arc::clone(&streams);
        let canned = Canned::scripted(move |heard, socket| {
            let open = Arc::clone(&open);
            async move {
                if heard.method() == "GET" {
                    return greet(&open, socket).await;
                }
                post(&open, &heard, socket, way).await
            }
        })
        .await;
        Self { canned, streams }
    }

    fn upstream(&self) -> Arc<PipeUpstream<EventStreams>> {
        made(&self.canned.url).unwrap()
    }

    /// What was posted by this method, and where.
    fn posted(&self, method: &str) -> Vec<(String, Value)> {
        let posts = self.canned.heard().into_iter().filter(|heard| heard.method() == "POST");
        let read = posts.map(|heard| (target(&heard), serde_json::from_str::<Value>(&heard.body).unwrap()));
        read.filter(|(_, message)| message["method"] == method).collect()
    }

    async fn is_closed(&self, session: &str) -> bool {
        let stream = Arc::clone(&self.streams.lock().unwrap()[session]);
        let mut byte = [0];
        matches!(
            tokio::time::timeout(Duration::from_secs(10), stream.lock().await.read(&mut byte)).await,
            Ok(Ok(0) | Err(_))
        )
    }
}

fn target(heard: &Heard) -> String {
    heard.head.split(' ').nth(1).unwrap().to_owned()
}

type Streams = Mutex<HashMap<String, Arc<tokio::sync::Mutex<TcpStream>>>>;

async fn greet(open: &Streams, mut socket: TcpStream) -> Option<TcpStream> {
    let session = open.lock().unwrap().len().to_string();
    let hello = events(&format!(": hello\r\n\r\nevent: endpoint\r\ndata: /messages/?session_id={session}\r\n\r\n"));
    socket.write_all(hello.as_bytes()).await.ok()?;
    open.lock().unwrap().insert(session, Arc::new(tokio::sync::Mutex::new(socket)));
    None
}

async fn post(open: &Streams, heard: &Heard, mut socket: TcpStream, way: Way) -> Option<TcpStream> {
    let message: Value = serde_json::from_str(&heard.body).unwrap();
    let session = target(heard).rsplit_once('=').unwrap().1.to_owned();
    let stream = Arc::clone(&open.lock().unwrap()[&session]);
    let result = match message["method"].as_str() {
        Some("initialize") => {
            json!({ "protocolVersion": "2024-11-05", "capabilities": { "tools": {} }, "serverInfo": { "name": "t", "version": "1" } })
        }
        Some("tools/list") => json!({ "tools": [{ "name": "echo", "inputSchema": { "type": "object" } }] }),
        Some("tools/call") => json!({ "session": session, "way": message["params"]["name"] }),
        // A notification, or the client's answer to our question, which ends the call that asked.
        None => {
            say(&stream, &json!({ "jsonrpc": "2.0", "id": 7, "result": { "answer": message["result"] } })).await;
            return accept(socket).await;
        }
        Some(_) => return accept(socket).await,
    };
    let answer = json!({ "jsonrpc": "2.0", "id": message["id"], "result": result });
    let way = if message["method"] == "tools/call" { way } else { Way::Usual };
    match way {
        Way::Usual => {
            let kept = accept(socket).await;
            say(&stream, &answer).await;
            return kept;
        }
        Way::Late => {
            for step in 0..200 {
                let params = json!({ "progressToken": "t", "progress": step });
                say(&stream, &json!({ "jsonrpc": "2.0", "method": "notifications/progress", "params": params })).await;
            }
            say(&stream, &answer).await;
            tokio::time::sleep(Duration::from_secs(60)).await;
        }
        Way::Dies => {
            stream.lock().await.shutdown().await.ok()?;
            return accept(socket).await;
        }
        Way::Status(status) => {
            let answer = format!("HTTP/1.1 {status} X\r\nretry-after: 7\r\ncontent-length: 0\r\n\r\n");
            socket.write_all(answer.as_bytes()).await.ok()?;
        }
        Way::Silent => return accept(socket).await,
        Way::Resets => {
            stream.lock().await.set_zero_linger().ok()?;
            open.lock().unwrap().remove(&session);
            drop(stream);
            return accept(socket).await;
        }
        Way::Lies => {
            let other = |id: &str, number: u32| json!({ "jsonrpc": "2.0", "id": id, "result": { "n": number } });
            say(&stream, &other("nobody", 1)).await;
            say(&stream, &answer).await;
            say(&stream, &json!({ "jsonrpc": "2.0", "id": message["id"], "result": { "n": 3 } })).await;
            return accept(socket).await;
        }
        Way::Floods => {
            let kept = accept(socket).await;
            let mut stream = stream.lock().await;
            while stream.write_all(b"data: more and more and more and more\n").await.is_ok() {}
            return kept;
        }
        Way::Contradicts => {
            let kept = accept(socket).await;
            let twice = format!(r#"{{"jsonrpc":"2.0","id":{},"result":{{"a":1,"a":2}}}}"#, message["id"]);
            let _ = stream.lock().await.write_all(format!("data: {twice}\n\n").as_bytes()).await;
            return kept;
        }
        Way::Asks => {
            say(&stream, &json!({ "jsonrpc": "2.0", "id": "s1", "method": "roots/list" })).await;
            return accept(socket).await;
        }
    }
    Some(socket)
}

async fn accept(mut socket: TcpStream) -> Option<TcpStream> {
    socket.write_all(ACCEPTED.as_bytes()).await.ok()?;
    Some(socket)
}

async fn say(stream: &tokio::sync::Mutex<TcpStream>, message: &Value) {
    let _ = stream.lock().await.write_all(format!("event: message\r\ndata: {message}\r\n\r\n").as_bytes()).await;
}

fn made(url: &str) -> Result<Arc<PipeUpstream<EventStreams>>, SettingsError> {
    patient(url, 20_000)
}

fn patient(url: &str, first_byte_timeout_ms: u64) -> Result<Arc<PipeUpstream<EventStreams>>, SettingsError> {
    let settings =
        HttpSseSettings { first_byte_timeout_ms, connect_timeout_ms: 2_000, ..HttpSseSettings::of_url(url.to_owned()) };
    let clock = Arc::new(FixedClock::at(Timestamp(0)));
    let sink = StderrSink::new(|_, _| {});
    PipeUpstream::<EventStreams>::new("srv".into(), &settings, Limits::default(), clock, None, sink)
}

fn call(id: u32, tool: &str) -> String {
    format!(
        r#"{{"jsonrpc":"2.0","id":{id},"method":"tools/call","params":{{"name":"{tool}","_meta":{{"progressToken":"t"}}}}}}"#
    )
}

async fn open(upstream: &PipeUpstream<EventStreams>, key: u128) {
    let opened = all(upstream.send(legacy(key).say(INITIALIZE)).await.unwrap()).await;
    // The version it speaks is its own business.
    assert!(text(&opened[0]).contains(r#""protocolVersion":"2024-11-05""#));
}

/// The fault of a tool call against a server of this way.
async fn fault(way: Way) -> Fault {
    let server = Server::start(way).await;
    let upstream = patient(&server.canned.url, if way == Way::Silent { 2_000 } else { 20_000 }).unwrap();
    open(&upstream, 1).await;
    match upstream.send(legacy(1).say(&call(7, "echo"))).await {
        Ok(reply) => all(reply).await.pop().unwrap().unwrap_err(),
        Err(fault) => fault,
    }
}

/// A59. The initialize is passed as the client wrote it.
#[tokio::test]
async fn each_session_has_a_stream_and_posts_where_its_stream_says() {
    let server = Server::start(Way::Usual).await;
    let upstream = server.upstream();
    open(&upstream, 1).await;
    open(&upstream, 2).await;
    for (key, session) in [(1, "0"), (2, "1")] {
        let answers = all(upstream.send(legacy(key).say(&call(7, "echo"))).await.unwrap()).await;
        assert!(text(&answers[0]).contains(&format!(r#""session":"{session}""#)), "{}", text(&answers[0]));
    }
    let targets: Vec<String> = server.posted("tools/call").into_iter().map(|(target, _)| target).collect();
    assert_eq!(targets, ["/messages/?session_id=0", "/messages/?session_id=1"]);
    assert_eq!(server.posted("initialize")[0].1, serde_json::from_str::<Value>(INITIALIZE).unwrap());
    let posts = server.canned.heard().into_iter().filter(|heard| heard.method() == "POST");
    // What came with later revisions stays away.
    assert!(
        posts
            .into_iter()
            .all(|heard| heard.header("mcp-protocol-version").is_none() && heard.header("mcp-session-id").is_none())
    );
    upstream.forget(SessionKey(1)).await;
    assert!(server.is_closed("0").await);
    assert_eq!(upstream.send(legacy(1).say(&call(8, "echo"))).await.unwrap_err().kind, FaultKind::SessionLost);
    assert!(all(upstream.send(legacy(2).say(&call(8, "echo"))).await.unwrap()).await[0].is_ok());
}

#[tokio::test]
async fn its_tools_are_known_and_a_modern_caller_is_told_what_it_speaks() {
    let server = Server::start(Way::Usual).await;
    let upstream = server.upstream();
    assert!(upstream.refresh().await.unwrap().tool("echo").is_some());
    let fault = upstream.send(modern().say(&modern_call("7"))).await.unwrap_err();
    assert_eq!((fault.kind, fault.never_left), (FaultKind::EraMismatch { served: Era::Legacy }, true));
    // The stream that we asked on is ours, and gone.
    assert!(server.is_closed("0").await);
}

/// Some servers hold a post until they have dealt with it. Its answer must not wait for that, nor what comes before the answer.
#[tokio::test]
async fn an_answer_does_not_wait_for_its_post_to_be_taken() {
    let server = Server::start(Way::Late).await;
    let upstream = server.upstream();
    open(&upstream, 1).await;
    let answers = all(upstream.send(legacy(1).say(&call(7, "echo"))).await.unwrap()).await;
    assert_eq!(answers.len(), 201);
    assert!(answers.iter().all(Result::is_ok));
}

#[tokio::test]
async fn a_request_of_the_server_reaches_the_client_and_its_answer_the_server() {
    let server = Server::start(Way::Asks).await;
    let upstream = server.upstream();
    open(&upstream, 1).await;
    let mut reply = upstream.send(legacy(1).say(&call(7, "echo"))).await.unwrap();
    assert!(text(&reply.arrivals.next().await.unwrap()).contains("roots/list"));
    let answer = r#"{"jsonrpc":"2.0","id":"s1","result":{"roots":[]}}"#;
    all(upstream.send(legacy(1).say(answer)).await.unwrap()).await;
    assert!(text(&all(reply).await[0]).contains(r#"{"answer":{"roots":[]}}"#));
}

#[tokio::test]
async fn a_stream_that_ends_fails_what_waits_on_it_and_loses_the_session() {
    let server = Server::start(Way::Dies).await;
    let upstream = server.upstream();
    open(&upstream, 1).await;
    let died = match upstream.send(legacy(1).say(&call(7, "echo"))).await {
        Ok(reply) => all(reply).await.pop().unwrap().unwrap_err(),
        Err(fault) => fault,
    };
    assert_eq!((died.kind, died.never_left), (FaultKind::Died, false));
    assert_eq!(upstream.send(legacy(1).say(&call(8, "echo"))).await.unwrap_err().kind, FaultKind::SessionLost);
    assert_eq!(server.posted("tools/call").len(), 1, "nothing is said twice");
}

#[tokio::test]
async fn a_post_that_is_refused_fails_its_call_with_the_reason() {
    for (status, kind) in [
        (400, FaultKind::Garbage),
        (401, FaultKind::Unauthorized),
        (404, FaultKind::SessionLost),
        (307, FaultKind::Garbage),
        (429, FaultKind::Throttled { retry_after_ms: Some(7_000) }),
        (500, FaultKind::Garbage),
        (502, FaultKind::Unreachable),
        (503, FaultKind::Throttled { retry_after_ms: Some(7_000) }),
    ] {
        assert_eq!(fault(Way::Status(status)).await.kind, kind, "{status}");
    }
}

#[tokio::test]
async fn silence_resets_floods_and_contradictions_have_their_own_faults() {
    for (way, kind) in [
        (Way::Silent, FaultKind::TimedOut),
        (Way::Resets, FaultKind::Died),
        (Way::Floods, FaultKind::TooLarge),
        (Way::Contradicts, FaultKind::Garbage),
    ] {
        let fault = fault(way).await;
        assert_eq!((&fault.kind, fault.never_left), (&kind, false), "{}", fault.detail);
    }
}

#[tokio::test]
async fn second_answers_and_answers_to_nobody_go_nowhere() {
    let server = Server::start(Way::Lies).await;
    let upstream = server.upstream();
    open(&upstream, 1).await;
    for id in [7, 8] {
        let answers = all(upstream.send(legacy(1).say(&call(id, "echo"))).await.unwrap()).await;
        assert!(answers.len() == 1 && text(&answers[0]).contains(r#""way":"echo""#), "{answers:?}");
    }
}

/// A stream that could send our credentials elsewhere, or that is none: no message left, to nobody.
#[tokio::test]
async fn a_stream_that_does_not_begin_as_it_must_is_refused() {
    for (answer, kind) in [
        (events("event: endpoint\ndata: https://evil.example/messages\n\n"), FaultKind::Garbage),
        (events("event: endpoint\ndata: //evil.example/messages\n\n"), FaultKind::Garbage),
        (events("event: endpoint\ndata: /a b\n\n"), FaultKind::Garbage),
        (events("event: message\ndata: {}\n\n"), FaultKind::Garbage),
        (events(": nothing\n\n"), FaultKind::Died),
        ("HTTP/1.1 200 OK\r\ncontent-type: text/html\r\ncontent-length: 2\r\n\r\n<>".to_owned(), FaultKind::Garbage),
        ("HTTP/1.1 401 X\r\ncontent-length: 0\r\n\r\n".to_owned(), FaultKind::Unauthorized),
        ("HTTP/1.1 302 X\r\nlocation: /other\r\ncontent-length: 0\r\n\r\n".to_owned(), FaultKind::Garbage),
    ] {
        let server = Canned::bytes(answer.clone()).await;
        let fault = made(&server.url).unwrap().send(legacy(1).say(INITIALIZE)).await.unwrap_err();
        assert_eq!((fault.kind, fault.never_left), (kind, true), "{answer}");
        assert!(server.heard().iter().all(|heard| heard.method() == "GET"));
    }
}

#[tokio::test]
async fn a_stream_that_names_no_endpoint_is_given_up_in_time() {
    let server = Canned::scripted(|_, mut socket| async move {
        let _ = socket.write_all(events(": wait\n\n").as_bytes()).await;
        tokio::time::sleep(Duration::from_secs(60)).await;
        None
    })
    .await;
    let settings = HttpSseSettings { connect_timeout_ms: 300, ..HttpSseSettings::of_url(server.url.clone()) };
    let clock = Arc::new(FixedClock::at(Timestamp(0)));
    let sink = StderrSink::new(|_, _| {});
    let upstream = PipeUpstream::<EventStreams>::new("srv".into(), &settings, Limits::default(), clock, None, sink);
    let fault = upstream.unwrap().send(legacy(1).say(INITIALIZE)).await.unwrap_err();
    assert_eq!((fault.kind, fault.never_left), (FaultKind::TimedOut, true));
}

#[test]
fn plain_http_is_spoken_only_to_this_machine() {
    assert!(made("https://mcp.example/sse").is_ok());
    let refused = made("http://mcp.example/sse").unwrap_err();
    assert_eq!(refused, SettingsError::Plain { scheme: "http", host: "mcp.example".into() });
}
