//! A correct peer: what goes out, what comes back, and who owns which session.

use futures_util::StreamExt;
use portcullis_core::call::{SessionKey, Subject};
use portcullis_core::refusal::FaultKind;
use portcullis_core::upstream::{Media, Upstream};
use portcullis_core::wire::Limits;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::{CALL, INITIALIZE, kind, made, settings, upstream, with_session};
use crate::settings::{EraSetting, Secret, SettingsError};
use crate::testing::{Canned, all, events, id_of, json, legacy, modern, modern_call, text};

const ANSWER: &str = r#"{"jsonrpc":"2.0","id":7,"result":{"content":[],"big":12345678901234567890123}}"#;

#[tokio::test]
async fn a_modern_call_carries_mirrored_headers_and_nothing_of_the_client_d1_f33() {
    let server = Canned::bytes(json(200, ANSWER)).await;
    let mut settings = settings(&server.url, EraSetting::Modern);
    settings.headers.insert("Authorization".into(), Secret::Value("Bearer ours".into()));
    let upstream = made(&settings, Limits::default()).unwrap();
    let mut facts = modern();
    facts.param_headers.push(("mcp-param-region".into(), "eu".into()));
    let body = modern_call("7");
    let reply = upstream.send(facts.say(&body)).await.unwrap();
    assert_eq!((reply.media, reply.status), (Media::Json, None));
    assert_eq!(text(&all(reply).await[0]), ANSWER, "byte for byte");
    let heard = &server.heard()[0];
    assert_eq!(heard.body, body, "byte for byte");
    for (name, value) in [
        ("accept", "application/json, text/event-stream"),
        ("content-type", "application/json"),
        ("mcp-protocol-version", "2026-07-28"),
        ("mcp-method", "tools/call"),
        ("mcp-name", "echo"),
        ("mcp-param-region", "eu"),
        ("authorization", "Bearer ours"),
        ("traceparent", "00-01010101010101010101010101010101-0202020202020202-01"),
        ("tracestate", "a=b"),
    ] {
        assert_eq!(heard.header(name), Some(value), "{name}");
    }
    assert_eq!(heard.header("mcp-session-id"), None);
}

#[tokio::test]
async fn a_legacy_session_echoes_the_servers_id_and_version_b5_b6() {
    let (server, upstream) =
        with_session("2025-06-18", |heard| json(200, &ANSWER.replace('7', &id_of(&heard.body)))).await;
    let initialize = &server.heard()[0];
    assert_eq!(initialize.header("mcp-protocol-version"), None);
    assert_eq!(initialize.header("mcp-session-id"), None);
    all(upstream.send(legacy(1).say(CALL)).await.unwrap()).await;
    let call = &server.heard()[1];
    assert_eq!(call.header("mcp-session-id"), Some("sid"));
    assert_eq!(call.header("mcp-protocol-version"), Some("2025-06-18"));
    assert_eq!(call.header("mcp-method"), None);
}

#[tokio::test]
async fn another_client_session_does_not_get_this_servers_session() {
    let (server, upstream) = with_session("2025-11-25", |_| json(200, ANSWER)).await;
    let fault = upstream.send(legacy(2).say(CALL)).await.unwrap_err();
    assert_eq!((fault.kind, fault.never_left), (FaultKind::SessionLost, true));
    assert_eq!(server.heard().len(), 1);
}

#[tokio::test]
async fn a_404_inside_a_session_is_a_lost_session_b7() {
    let (server, upstream) = with_session("2025-11-25", |_| json(404, "{}")).await;
    assert_eq!(kind(upstream.send(legacy(1).say(CALL)).await), FaultKind::SessionLost);
    assert_eq!(kind(upstream.send(legacy(1).say(CALL)).await), FaultKind::SessionLost);
    assert_eq!(server.heard().len(), 2, "a lost session is not asked again");
}

#[tokio::test]
async fn close_and_forget_end_the_servers_session_b8() {
    for status in [200, 404, 405] {
        let (server, upstream) = with_session("2025-11-25", move |_| json(status, "")).await;
        let reply = upstream.send(legacy(1).clear(Subject::Close)).await.unwrap();
        assert_eq!(reply.media, Media::Accepted);
        let goodbye = &server.heard()[1];
        assert_eq!((goodbye.method(), goodbye.header("mcp-session-id")), ("DELETE", Some("sid")));
        assert_eq!(kind(upstream.send(legacy(1).say(CALL)).await), FaultKind::SessionLost);
    }
    let (server, upstream) = with_session("2025-11-25", |_| json(200, "")).await;
    upstream.forget(SessionKey(1)).await;
    upstream.forget(SessionKey(1)).await;
    assert_eq!(server.heard().len(), 2);
    let (server, upstream) = with_session("2025-11-25", |_| json(200, "")).await;
    upstream.shut_down().await;
    upstream.shut_down().await;
    assert_eq!(server.heard()[1].method(), "DELETE");
    assert_eq!(kind(upstream.send(legacy(1).say(INITIALIZE)).await), FaultKind::ShuttingDown);
}

#[tokio::test]
async fn notifications_and_responses_are_accepted_with_any_empty_success() {
    for status in [200, 202, 204] {
        let (_server, upstream) = with_session("2025-11-25", move |_| format!("HTTP/1.1 {status} X\r\n\r\n")).await;
        for told in
            [r#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#, r#"{"jsonrpc":"2.0","id":9,"result":{}}"#]
        {
            assert_eq!(upstream.send(legacy(1).say(told)).await.unwrap().media, Media::Accepted, "{status}");
        }
    }
}

#[tokio::test]
async fn events_are_given_as_they_arrive_and_the_stream_ends_after_the_response_a16() {
    let (release, hold) = tokio::sync::oneshot::channel::<()>();
    let hold = std::sync::Arc::new(tokio::sync::Mutex::new(Some(hold)));
    let server = Canned::scripted(move |_, mut socket| {
        let hold = std::sync::Arc::clone(&hold);
        async move {
            let first =
                r#"{"jsonrpc":"2.0","method":"notifications/progress","params":{"progressToken":"tok","progress":1}}"#;
            socket.write_all(events(&format!("data: {first}\n\n")).as_bytes()).await.ok()?;
            let hold = hold.lock().await.take()?;
            hold.await.ok()?;
            socket.write_all(format!("data: {ANSWER}\n\ndata: never read\n\n").as_bytes()).await.ok()?;
            // The server never closes; we do.
            let mut rest = Vec::new();
            socket.read_to_end(&mut rest).await.ok()?;
            None
        }
    })
    .await;
    let mut reply = upstream(&server.url, EraSetting::Modern).send(modern().say(&modern_call("7"))).await.unwrap();
    assert_eq!(reply.media, Media::EventStream);
    assert!(text(&reply.arrivals.next().await.unwrap()).contains("notifications/progress"));
    release.send(()).unwrap();
    assert_eq!(text(&reply.arrivals.next().await.unwrap()), ANSWER);
    assert!(reply.arrivals.next().await.is_none());
}

#[tokio::test]
async fn a_dropped_reply_closes_the_stream_c8() {
    let (closed, seen) = tokio::sync::oneshot::channel::<usize>();
    let closed = std::sync::Arc::new(std::sync::Mutex::new(Some(closed)));
    let server = Canned::scripted(move |_, mut socket| {
        let closed = std::sync::Arc::clone(&closed);
        async move {
            socket.write_all(events(": hello\n\n").as_bytes()).await.ok()?;
            let count = socket.read(&mut [0; 16]).await.unwrap_or(0);
            closed.lock().unwrap().take()?.send(count).ok()?;
            None
        }
    })
    .await;
    let reply = upstream(&server.url, EraSetting::Modern).send(modern().say(&modern_call("7"))).await.unwrap();
    drop(reply);
    assert_eq!(seen.await, Ok(0), "the server reads the end of the connection");
}

#[tokio::test]
async fn a_dropped_call_closes_its_connection_before_the_answer_begins_c8() {
    let (heard, hearing) = tokio::sync::oneshot::channel::<()>();
    let (closed, seen) = tokio::sync::oneshot::channel::<usize>();
    let once = std::sync::Arc::new(std::sync::Mutex::new(Some((heard, closed))));
    let server = Canned::scripted(move |_, mut socket| {
        let once = std::sync::Arc::clone(&once);
        async move {
            let (heard, closed) = once.lock().unwrap().take()?;
            heard.send(()).ok()?;
            closed.send(socket.read(&mut [0; 16]).await.unwrap_or(0)).ok()?;
            None
        }
    })
    .await;
    let upstream = upstream(&server.url, EraSetting::Modern);
    tokio::select! {
        _ = upstream.send(modern().say(&modern_call("7"))) => panic!("nobody answered"),
        arrived = hearing => arrived.unwrap(),
    }
    assert_eq!(seen.await, Ok(0));
}

#[tokio::test]
async fn a_stream_that_ends_after_its_response_gives_its_connection_back() {
    let body = format!("data: {ANSWER}\n\n");
    let ports = std::sync::Arc::new(std::sync::Mutex::new(Vec::new()));
    let seen = std::sync::Arc::clone(&ports);
    let server = Canned::scripted(move |_, mut socket| {
        let body = body.clone();
        seen.lock().unwrap().push(socket.peer_addr().unwrap().port());
        async move {
            let head = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n";
            let chunk = format!("{head}{:x}\r\n{body}\r\n", body.len());
            socket.write_all(chunk.as_bytes()).await.ok()?;
            // The end comes a little after the response, as it does from real servers.
            tokio::task::yield_now().await;
            socket.write_all(b"0\r\n\r\n").await.ok()?;
            Some(socket)
        }
    })
    .await;
    let upstream = upstream(&server.url, EraSetting::Modern);
    // How soon the end is read is up to the scheduler; that it is read and the connection used again is up to us.
    for _ in 0..100 {
        all(upstream.send(modern().say(&modern_call("7"))).await.unwrap()).await;
        let ports = ports.lock().unwrap().clone();
        if ports.iter().filter(|port| Some(port) == ports.last().as_ref()).count() > 1 {
            return;
        }
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    panic!("every call had a connection of its own");
}

#[tokio::test]
async fn event_ids_and_retry_reach_the_listener_and_a_polling_stream_ends_without_a_fault_a15_b9() {
    let (_server, upstream) = with_session("2025-11-25", |_| events("id: e1\nretry: 250\ndata:\n\n")).await;
    let arrivals = all(upstream.send(legacy(1).say(CALL)).await.unwrap()).await;
    assert_eq!(arrivals.len(), 1);
    let primed = arrivals[0].as_ref().unwrap();
    assert_eq!(primed.event_id.as_deref(), Some("e1"));
    assert_eq!(primed.retry, Some(std::time::Duration::from_millis(250)));
    assert!(primed.message.is_none());
}

#[tokio::test]
async fn the_standalone_stream_and_its_resumption_are_a_get_a11_a12() {
    let note = r#"{"jsonrpc":"2.0","method":"notifications/tools/list_changed"}"#;
    let body = format!("id: 5\ndata: {note}\n\ndata: {ANSWER}\n\n");
    let (server, upstream) = with_session("2025-11-25", move |_| events(&body)).await;
    let standing =
        all(upstream.send(legacy(1).clear(Subject::Stream { last_event_id: None, request: None })).await.unwrap())
            .await;
    assert_eq!(text(&standing[0]), note);
    assert_eq!(standing[0].as_ref().unwrap().event_id.as_deref(), Some("5"));
    assert_eq!(standing[1].as_ref().unwrap_err().kind, FaultKind::AnswerUnmatched);
    let resumed = Subject::Stream { last_event_id: Some("e4".into()), request: None };
    let resumed = all(upstream.send(legacy(1).clear(resumed)).await.unwrap()).await;
    assert_eq!(text(&resumed[1]), ANSWER);
    let (first, second) = (&server.heard()[1], &server.heard()[2]);
    assert_eq!(
        (first.method(), first.header("accept"), first.header("last-event-id")),
        ("GET", Some("text/event-stream"), None)
    );
    assert_eq!((second.header("last-event-id"), second.header("mcp-session-id")), (Some("e4"), Some("sid")));
    let (_server, upstream) = with_session("2025-11-25", |_| json(405, "")).await;
    assert_eq!(
        kind(upstream.send(legacy(1).clear(Subject::Stream { last_event_id: None, request: None })).await),
        FaultKind::NoStream
    );
}

#[tokio::test]
async fn a_batch_answer_is_taken_from_the_one_version_that_has_batches_a7() {
    let batch = format!(
        r#"[{{"jsonrpc":"2.0","method":"notifications/message","params":{{"level":"info","data":1}}}},{ANSWER}]"#
    );
    let body = batch.clone();
    let (_server, upstream) = with_session("2025-03-26", move |_| json(200, &body)).await;
    assert_eq!(all(upstream.send(legacy(1).say(CALL)).await.unwrap()).await.len(), 2);
    let (_server, upstream) = with_session("2025-06-18", move |_| json(200, &batch)).await;
    assert_eq!(kind(upstream.send(legacy(1).say(CALL)).await), FaultKind::Garbage);
}

#[tokio::test]
async fn an_error_with_a_status_keeps_its_status_and_gets_the_requests_id_h1() {
    let error = r#"{"jsonrpc":"2.0","id":null,"error":{"code":-32000,"message":"no","data":{"n":1.0}}}"#;
    let (_server, upstream) = with_session("2025-11-25", move |_| json(400, error)).await;
    let reply = upstream.send(legacy(1).say(CALL)).await.unwrap();
    assert_eq!(reply.status, Some(400));
    assert_eq!(text(&all(reply).await[0]), error.replace("null", "7"));
}

#[test]
fn urls_and_headers_that_cannot_work_are_refused() {
    let refused = |url: &str| made(&settings(url, EraSetting::Auto), Limits::default()).err();
    assert_eq!(
        refused("http://mcp.example/mcp"),
        Some(SettingsError::Plain { scheme: "http", host: "mcp.example".into() })
    );
    assert_eq!(
        refused("http://127.0.0.1.example/"),
        Some(SettingsError::Plain { scheme: "http", host: "127.0.0.1.example".into() })
    );
    for url in ["ftp://x/", "/mcp", "mcp", "http://u:p@localhost/", "http://localhost/#f"] {
        assert!(matches!(refused(url), Some(SettingsError::BadUrl { .. })), "{url}");
    }
    for url in ["http://localhost:1/", "http://[::1]:1/", "http://127.8.9.1/", "https://mcp.example/mcp"] {
        assert_eq!(refused(url), None, "{url}");
    }
    let mut plain = settings("http://mcp.example/mcp", EraSetting::Auto);
    plain.allow_plain_http = true;
    for name in ["Mcp-Session-Id", "Host", "content-length", "a b"] {
        let mut settings = plain.clone();
        settings.headers.insert(name.into(), Secret::Value("x".into()));
        assert!(made(&settings, Limits::default()).is_err(), "{name}");
    }
    assert!(made(&plain, Limits::default()).is_ok());
}
