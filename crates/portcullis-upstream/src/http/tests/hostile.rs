//! Servers that are down, hang, lie, flood or die: each has its own fault, and nothing hangs.

use std::time::Duration;

use portcullis_core::refusal::FaultKind;
use portcullis_core::upstream::Upstream;
use portcullis_core::wire::Limits;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpListener;

use super::{kind, made, modern_against, settings, upstream};
use crate::settings::EraSetting;
use crate::testing::{Canned, all, events, json, modern, modern_call, text};

const ANSWER: &str = r#"{"jsonrpc":"2.0","id":7,"result":{}}"#;

async fn arrivals_against(answer: String) -> Vec<Result<String, FaultKind>> {
    let items = all(modern_against(answer).await.unwrap()).await;
    items.iter().map(|item| item.as_ref().map(|_| text(item)).map_err(|fault| fault.kind.clone())).collect()
}

#[tokio::test]
async fn a_server_that_is_down_is_unreachable_and_the_call_never_left() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/mcp", listener.local_addr().unwrap());
    drop(listener);
    let fault = upstream(&url, EraSetting::Modern).send(modern().say(&modern_call("7"))).await.unwrap_err();
    assert_eq!((fault.kind, fault.never_left), (FaultKind::Unreachable, true));
}

#[tokio::test]
async fn a_server_that_hangs_is_timed_out() {
    let server = Canned::scripted(|_, socket| async move {
        std::future::pending::<()>().await;
        Some(socket)
    })
    .await;
    let mut settings = settings(&server.url, EraSetting::Modern);
    settings.first_byte_timeout_ms = 50;
    let upstream = made(&settings, Limits::default()).unwrap();
    let fault = upstream.send(modern().say(&modern_call("7"))).await.unwrap_err();
    assert_eq!((fault.kind, fault.never_left), (FaultKind::TimedOut, false));
}

#[tokio::test]
async fn a_body_or_stream_that_goes_silent_is_timed_out() {
    let server = Canned::scripted(|heard, mut socket| async move {
        let json = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 99\r\n\r\n{".to_owned();
        let answer = if heard.body.contains(r#""id":8"#) { events(": quiet\n\n") } else { json };
        socket.write_all(answer.as_bytes()).await.ok()?;
        std::future::pending::<()>().await;
        Some(socket)
    })
    .await;
    let mut settings = settings(&server.url, EraSetting::Modern);
    (settings.first_byte_timeout_ms, settings.idle_timeout_ms) = (100, Some(50));
    let upstream = made(&settings, Limits::default()).unwrap();
    assert_eq!(kind(upstream.send(modern().say(&modern_call("7"))).await), FaultKind::TimedOut);
    let stream = all(upstream.send(modern().say(&modern_call("8"))).await.unwrap()).await;
    assert_eq!(stream[0].as_ref().unwrap_err().kind, FaultKind::TimedOut);
}

#[tokio::test]
async fn statuses_have_their_own_faults_and_none_goes_through() {
    let html =
        |status: u16| format!("HTTP/1.1 {status} X\r\ncontent-type: text/html\r\ncontent-length: 6\r\n\r\n<html>");
    for (status, expected) in [
        (401, FaultKind::Unauthorized),
        (403, FaultKind::Unauthorized),
        (404, FaultKind::Garbage),
        (429, FaultKind::Throttled { retry_after_ms: None }),
        (500, FaultKind::Garbage),
        (502, FaultKind::Unreachable),
        (503, FaultKind::Unreachable),
        (200, FaultKind::Garbage),
    ] {
        assert_eq!(kind(modern_against(html(status)).await), expected, "{status}");
    }
    assert_eq!(kind(modern_against("HTTP/1.1 202 X\r\n\r\n".into()).await), FaultKind::Garbage);
}

#[tokio::test]
async fn a_server_says_when_to_come_back_in_seconds_only() {
    let answer =
        |status: u16, after: &str| format!("HTTP/1.1 {status} X\r\nretry-after: {after}\r\ncontent-length: 0\r\n\r\n");
    let throttled = |retry_after_ms| FaultKind::Throttled { retry_after_ms };
    for (status, after, expected) in [
        (429, "7", throttled(Some(7_000))),
        (429, "Wed, 21 Oct 2026 07:28:00 GMT", throttled(None)),
        (429, "-1", throttled(None)),
        (429, "18446744073709551615", throttled(Some(u64::MAX))),
        (503, "7", throttled(Some(7_000))),
        (503, "soon", FaultKind::Unreachable),
    ] {
        assert_eq!(kind(modern_against(answer(status, after)).await), expected, "{status} {after}");
    }
}

#[tokio::test]
async fn a_redirect_is_never_followed() {
    let target = Canned::bytes(json(200, ANSWER)).await;
    let redirect = format!("HTTP/1.1 307 X\r\nlocation: {}\r\ncontent-length: 0\r\n\r\n", target.url);
    assert_eq!(kind(modern_against(redirect).await), FaultKind::Garbage);
    assert!(target.heard().is_empty());
}

#[tokio::test]
async fn a_json_answer_that_is_not_the_answer_is_refused() {
    for (body, expected) in [
        (r#"{"jsonrpc":"2.0","id":8,"result":{}}"#, FaultKind::AnswerUnmatched),
        (r#"{"jsonrpc":"2.0","id":"7","result":{}}"#, FaultKind::AnswerUnmatched),
        (r#"{"jsonrpc":"2.0","id":7,"result":{},"result":{}}"#, FaultKind::Garbage),
        (r#"{"jsonrpc":"2.0","id":7,"result":{}"#, FaultKind::Garbage),
        (r#"{"jsonrpc":"2.0","method":"notifications/message"}"#, FaultKind::Garbage),
        (r#"[{"jsonrpc":"2.0","id":7,"result":{}}]"#, FaultKind::Garbage),
        ("", FaultKind::Garbage),
    ] {
        assert_eq!(kind(modern_against(json(200, body)).await), expected, "{body}");
    }
    let compressed = json(200, ANSWER).replacen("content-type", "content-encoding: gzip\r\ncontent-type", 1);
    assert_eq!(kind(modern_against(compressed).await), FaultKind::Garbage);
    assert_eq!(kind(modern_against("\0\0garbage\r\n\r\n".into()).await), FaultKind::Garbage);
}

#[tokio::test]
async fn an_answer_over_the_limit_is_too_large_as_json_and_as_event() {
    let big = format!(r#"{{"jsonrpc":"2.0","id":7,"result":{{"x":"{}"}}}}"#, "x".repeat(4096));
    for answer in [json(200, &big), events(&format!("data: {big}\n\n"))] {
        let server = Canned::bytes(answer).await;
        let limits = Limits { bytes: 2048, ..Limits::default() };
        let upstream = made(&settings(&server.url, EraSetting::Modern), limits).unwrap();
        let outcome = match upstream.send(modern().say(&modern_call("7"))).await {
            Err(fault) => fault,
            Ok(reply) => all(reply).await.remove(0).unwrap_err(),
        };
        assert_eq!(outcome.kind, FaultKind::TooLarge);
    }
}

#[tokio::test]
async fn an_endless_event_is_cut_off_at_the_limit() {
    let server = Canned::scripted(|_, mut socket| async move {
        socket.write_all(events("").as_bytes()).await.ok()?;
        while socket.write_all(b"data: more and more and more and more\n").await.is_ok() {}
        None
    })
    .await;
    let limits = Limits { bytes: 100_000, ..Limits::default() };
    let upstream = made(&settings(&server.url, EraSetting::Modern), limits).unwrap();
    let items = all(upstream.send(modern().say(&modern_call("7"))).await.unwrap()).await;
    assert_eq!(items[0].as_ref().unwrap_err().kind, FaultKind::TooLarge);
}

#[tokio::test]
async fn a_stream_that_ends_early_has_died_with_or_without_half_an_event() {
    for body in [
        "",
        ": nothing\n\n",
        "data: {\"jsonrpc\":\"2.0\",\"id\":7,",
        "data: {\"jsonrpc\":\"2.0\",\"id\":7,\"result\":{}}\n",
    ] {
        assert_eq!(arrivals_against(events(body)).await, [Err(FaultKind::Died)], "{body:?}");
    }
    // A modern stream cannot be resumed, so an event id excuses nothing (D10).
    let primed = all(modern_against(events("id: 1\ndata:\n\n")).await.unwrap()).await;
    assert_eq!(primed[1].as_ref().unwrap_err().kind, FaultKind::Died);
    let chunked = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n5\r\ndata:";
    assert_eq!(arrivals_against(chunked.into()).await, [Err(FaultKind::Died)]);
    assert_eq!(kind(modern_against("HTTP/1.1 200 OK\r\n".into()).await), FaultKind::Died);
}

#[tokio::test]
async fn a_connection_that_is_reset_has_died_before_and_within_the_answer() {
    for begun in ["", "HTTP/1.1 200 OK\r\n", json(200, ANSWER).trim_end_matches('}'), &events("data: {")] {
        let begun = begun.to_owned();
        let server = Canned::scripted(move |_, mut socket| {
            let begun = begun.clone();
            async move {
                socket.write_all(begun.as_bytes()).await.ok()?;
                socket.set_zero_linger().ok()?;
                None
            }
        })
        .await;
        let fault = match upstream(&server.url, EraSetting::Modern).send(modern().say(&modern_call("7"))).await {
            Err(fault) => fault,
            Ok(reply) => all(reply).await.remove(0).unwrap_err(),
        };
        assert_eq!((fault.kind, fault.never_left), (FaultKind::Died, false), "{}", fault.detail);
        assert_eq!(server.heard().len(), 1, "nothing is said twice");
    }
}

#[tokio::test]
async fn an_answer_to_nobodys_id_is_reported_and_the_right_one_still_comes() {
    let nobody = r#"{"jsonrpc":"2.0","id":99,"result":{}}"#;
    let stream = events(&format!("data: {nobody}\n\ndata: {ANSWER}\n\n"));
    assert_eq!(arrivals_against(stream).await, [Err(FaultKind::AnswerUnmatched), Ok(ANSWER.to_owned())]);
    let flood = events(&format!("data: {nobody}\n\n").repeat(40));
    assert_eq!(arrivals_against(flood).await.last(), Some(&Err(FaultKind::Garbage)));
}

#[tokio::test]
async fn of_two_answers_the_first_counts_and_the_second_is_reported() {
    let twice = events(&format!("data: {ANSWER}\n\n").repeat(2));
    assert_eq!(arrivals_against(twice).await, [Ok(ANSWER.to_owned()), Err(FaultKind::AnswerUnmatched)]);
}

#[tokio::test]
async fn a_garbage_event_ends_the_stream_with_a_fault() {
    assert_eq!(arrivals_against(events("data: {not json\n\n")).await, [Err(FaultKind::Garbage)]);
}

#[tokio::test]
async fn a_request_on_a_modern_stream_is_dropped_c6() {
    let asks = r#"{"jsonrpc":"2.0","id":1,"method":"sampling/createMessage","params":{}}"#;
    let stream = events(&format!("data: {asks}\n\ndata: {ANSWER}\n\n"));
    assert_eq!(arrivals_against(stream).await, [Ok(ANSWER.to_owned())]);
}

#[tokio::test]
async fn a_slow_reader_slows_the_server_instead_of_filling_memory() {
    let written = std::sync::Arc::new(std::sync::atomic::AtomicUsize::new(0));
    let count = std::sync::Arc::clone(&written);
    let server = Canned::scripted(move |_, mut socket| {
        let count = std::sync::Arc::clone(&count);
        async move {
            socket.write_all(events("").as_bytes()).await.ok()?;
            let note = format!(
                "data: {{\"jsonrpc\":\"2.0\",\"method\":\"notifications/message\",\"params\":{{\"data\":\"{}\"}}}}\n\n",
                "x".repeat(10_000)
            );
            while let Ok(Ok(())) =
                tokio::time::timeout(Duration::from_millis(300), socket.write_all(note.as_bytes())).await
            {
                count.fetch_add(note.len(), std::sync::atomic::Ordering::Relaxed);
            }
            None
        }
    })
    .await;
    let reply = upstream(&server.url, EraSetting::Modern).send(modern().say(&modern_call("7"))).await.unwrap();
    // The server stops by itself when its writes stand still; nobody has read an event.
    let mut last = 0;
    loop {
        tokio::time::sleep(Duration::from_millis(400)).await;
        let now = written.load(std::sync::atomic::Ordering::Relaxed);
        if now == last {
            break;
        }
        last = now;
    }
    assert!(last < 32 << 20, "socket buffers hold {last} bytes, we hold none");
    drop(reply);
}
