//! Bad input: each refused deliberately, with its own code, counted, and with nothing sent to the server.

use std::sync::atomic::Ordering;

use portcullis_core::upstream::Media;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::settings::ServerSettings;
use crate::testing::{
    CannedUpstream, Client, DenyList, INITIALIZE, api_key, fed, from_server, next_event, ordinary, start, start_with,
};

#[tokio::test]
async fn every_malformed_body_is_refused_with_its_code_and_never_reaches_the_server() {
    let running = start(CannedUpstream::new(ordinary)).await;
    let client = running.session().await;
    let before = running.upstream.sent().len();
    let deep = format!(
        r#"{{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{{"a":{}1{}}}}}"#,
        "[".repeat(70),
        "]".repeat(70)
    );
    for (body, status, rpc, code) in [
        ("", 400, -32700, "syntax"),
        (r#"{"jsonrpc":"2.0","id":1,"method":"pi"#, 400, -32700, "syntax"),
        (r#"{"jsonrpc":"2.0","id":1,"id":2,"method":"ping"}"#, 400, -32600, "duplicate_key"),
        (r#"{"jsonrpc":"2.0","id":1,"method":"ping","Method":"tools/call"}"#, 400, -32600, "case_variant_key"),
        (r#"{"jsonrpc":"1.0","id":1,"method":"ping"}"#, 400, -32600, "wrong_json_rpc"),
        (r#"{"jsonrpc":"2.0","id":null,"method":"ping"}"#, 400, -32600, "id_not_string_or_integer"),
        (r#"{"jsonrpc":"2.0","id":1.5,"method":"ping"}"#, 400, -32600, "id_not_string_or_integer"),
        (r#"{"jsonrpc":"2.0","method":"tools/call","params":{"name":"x"}}"#, 400, -32600, "request_without_id"),
        (r#"{"jsonrpc":"2.0","id":1,"method":"ping"} x"#, 400, -32700, "trailing_bytes"),
        (r#"{"jsonrpc":"2.0","id":1,"method":"ping","params":{"a":"\ud800"}}"#, 400, -32700, "lone_surrogate"),
        (deep.as_str(), 400, -32600, "too_deep"),
        (r#"[{"jsonrpc":"2.0","id":1,"method":"ping"}]"#, 400, -32600, "batch_not_allowed"),
    ] {
        let answer = client.post(body).await;
        assert_eq!(answer.status, status, "{body}: {answer:?}");
        assert!(answer.body.contains(&format!(r#""code":{rpc},"#)), "{body}: {answer:?}");
        assert!(answer.body.contains(&format!(r#""code":"{code}""#)), "{body}: {answer:?}");
        assert!(running.ledger.counted("malformed", code) > 0, "{code} is counted");
    }
    assert_eq!(running.upstream.sent().len(), before);
}

#[tokio::test]
async fn h1_the_id_of_a_refused_request_is_echoed_when_it_can_be_read() {
    let running = start(CannedUpstream::new(ordinary)).await;
    let client = running.session().await;
    let answer = client.post(r#"{"jsonrpc":"2.0","id":"seven","method":"ping","params":{"a":1,"a":2}}"#).await;
    assert_eq!(answer.status, 400);
    assert!(answer.body.contains(r#""id":"seven""#), "{answer:?}");
    let unreadable = client.post(r#"{"jsonrpc":"2.0","id":"seven","#).await;
    assert!(!unreadable.body.contains(r#""id""#), "{unreadable:?}");
}

#[tokio::test]
async fn wrong_http_forms_have_the_status_http_gives_them() {
    let running = start(CannedUpstream::new(ordinary)).await;
    let client = running.client();
    for (name, value, status, code) in [
        ("content-type", "text/plain", 415, "unsupported_media_type"),
        ("accept", "application/json", 406, "not_acceptable"),
        ("host", "evil.example", 403, "host_refused"),
        ("origin", "http://evil.example", 403, "origin_refused"),
    ] {
        let answer = client.with(name, value).post(INITIALIZE).await;
        assert_eq!(answer.status, status, "{name}: {value}");
        assert!(!answer.body.contains(r#""id""#), "A3: without id: {answer:?}");
        assert_eq!(running.ledger.counted("violation", code), 1);
    }
    let put = crate::testing::collect(client.open("PUT", "").await).await;
    assert_eq!((put.status, put.headers["allow"].to_str().unwrap()), (405, "GET, POST, DELETE"));
    assert!(running.upstream.sent().is_empty());
}

#[tokio::test]
async fn a_body_over_the_limit_is_refused_413_whether_it_says_so_or_not() {
    let mut settings = ServerSettings::default();
    settings.limits.message_bytes = 4096;
    let running = start_with(CannedUpstream::new(ordinary), DenyList(&[]), settings).await;
    let big = format!(r#"{{"jsonrpc":"2.0","id":1,"method":"ping","params":{{"a":"{}"}}}}"#, "x".repeat(5000));
    assert_eq!(running.client().post(&big).await.status, 413);

    let mut socket = TcpStream::connect(running.addr).await.unwrap();
    let head = format!(
        "POST /mcp HTTP/1.1\r\nhost: {}\r\ncontent-type: application/json\r\naccept: */*\r\ntransfer-encoding: chunked\r\n\r\n",
        running.addr
    );
    socket.write_all(head.as_bytes()).await.unwrap();
    let chunk = format!("400\r\n{}\r\n", "y".repeat(0x400));
    for _ in 0..8 {
        if socket.write_all(chunk.as_bytes()).await.is_err() {
            break;
        }
    }
    let mut answer = vec![0; 64];
    let read = socket.read(&mut answer).await.unwrap();
    assert!(answer[..read].starts_with(b"HTTP/1.1 413"), "{}", String::from_utf8_lossy(&answer[..read]));
}

#[tokio::test]
async fn oversized_headers_are_refused_431() {
    let running = start(CannedUpstream::new(ordinary)).await;
    let mut socket = TcpStream::connect(running.addr).await.unwrap();
    let head = format!("POST /mcp HTTP/1.1\r\nhost: {}\r\nx-big: {}\r\n\r\n", running.addr, "z".repeat(64 * 1024));
    socket.write_all(head.as_bytes()).await.unwrap();
    let mut answer = vec![0; 64];
    let read = socket.read(&mut answer).await.unwrap();
    assert!(answer[..read].starts_with(b"HTTP/1.1 431"), "{}", String::from_utf8_lossy(&answer[..read]));
    running.counted("violation", "headers_too_large", 1).await;
}

#[tokio::test]
async fn what_is_not_http_is_counted() {
    let running = start(CannedUpstream::new(ordinary)).await;
    let mut socket = TcpStream::connect(running.addr).await.unwrap();
    socket.write_all(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03 not http\r\n\r\n").await.unwrap();
    running.counted("violation", "not_http", 1).await;
}

#[tokio::test]
async fn a_dripping_body_is_answered_408_and_dripping_headers_are_hung_up_on() {
    let mut settings = ServerSettings::default();
    (settings.timeouts.body_seconds, settings.timeouts.header_seconds) = (1, 1);
    let running = start_with(CannedUpstream::new(ordinary), DenyList(&[]), settings).await;
    let head = format!(
        "POST /mcp HTTP/1.1\r\nhost: {}\r\ncontent-type: application/json\r\naccept: */*\r\ncontent-length: 100\r\n\r\n{{",
        running.addr
    );
    let mut slow_body = TcpStream::connect(running.addr).await.unwrap();
    slow_body.write_all(head.as_bytes()).await.unwrap();
    let mut answer = vec![0; 64];
    let read = slow_body.read(&mut answer).await.unwrap();
    assert!(answer[..read].starts_with(b"HTTP/1.1 408"), "{}", String::from_utf8_lossy(&answer[..read]));

    for drip in ["", "POST /mcp HTTP/1.1\r\nho"] {
        let mut slow_head = TcpStream::connect(running.addr).await.unwrap();
        slow_head.write_all(drip.as_bytes()).await.unwrap();
        let mut rest = Vec::new();
        let _ = slow_head.read_to_end(&mut rest).await;
        assert!(rest.is_empty() || rest.starts_with(b"HTTP/1.1 4"), "the connection ends: {drip:?}");
    }
    running.counted("violation", "headers_timed_out", 2).await;
}

#[tokio::test]
async fn a_body_cut_off_in_the_middle_reaches_nobody() {
    let running = start(CannedUpstream::new(ordinary)).await;
    let head = format!(
        "POST /mcp HTTP/1.1\r\nhost: {}\r\ncontent-type: application/json\r\naccept: */*\r\ncontent-length: 500\r\n\r\n{{\"jsonrpc\"",
        running.addr
    );
    let mut socket = TcpStream::connect(running.addr).await.unwrap();
    socket.write_all(head.as_bytes()).await.unwrap();
    socket.shutdown().await.unwrap();
    let mut rest = Vec::new();
    let _ = socket.read_to_end(&mut rest).await;
    assert!(running.upstream.sent().is_empty());
}

#[tokio::test]
async fn a_session_flood_is_refused_429_and_ends_nobody_elses_session() {
    let mut settings = ServerSettings::default();
    settings.sessions.per_caller = 3;
    let running = start_with(CannedUpstream::new(ordinary), DenyList(&[]), settings).await;
    let first = running.session().await;
    let statuses = async {
        let mut statuses = Vec::new();
        for _ in 0..5 {
            statuses.push(running.client().post(INITIALIZE).await.status);
        }
        statuses
    };
    assert_eq!(statuses.await, [200, 200, 429, 429, 429]);
    assert_eq!(first.post(r#"{"jsonrpc":"2.0","id":9,"method":"ping"}"#).await.status, 200);
    assert_eq!(running.ledger.counted("denial", "too_many_sessions"), 3);
}

#[tokio::test]
async fn strict_recording_refuses_traffic_while_the_log_cannot_be_written() {
    let running = start(CannedUpstream::new(ordinary)).await;
    let client = running.session().await;
    let before = running.upstream.sent().len();
    running.ledger.broken.store(true, Ordering::Relaxed);
    let answer = client.post(r#"{"jsonrpc":"2.0","id":1,"method":"ping"}"#).await;
    assert_eq!(answer.status, 503, "{answer:?}");
    assert_eq!(running.upstream.sent().len(), before, "nothing leaves unrecorded");
    running.ledger.broken.store(false, Ordering::Relaxed);
    assert_eq!(client.post(r#"{"jsonrpc":"2.0","id":1,"method":"ping"}"#).await.status, 200);
}

#[tokio::test]
async fn an_idle_connection_that_was_served_is_closed_without_being_called_an_attack() {
    let mut settings = ServerSettings::default();
    settings.timeouts.header_seconds = 1;
    let running = start_with(CannedUpstream::new(ordinary), DenyList(&[]), settings).await;
    let mut socket = TcpStream::connect(running.addr).await.unwrap();
    let head = format!("GET /nowhere HTTP/1.1\r\nhost: {}\r\n\r\n", running.addr);
    socket.write_all(head.as_bytes()).await.unwrap();
    let mut rest = Vec::new();
    socket.read_to_end(&mut rest).await.unwrap();
    assert!(rest.starts_with(b"HTTP/1.1 404"), "{}", String::from_utf8_lossy(&rest));
    assert_eq!(running.ledger.counted("violation", "headers_timed_out"), 0);
}

#[tokio::test]
async fn unknown_tools_ask_the_server_for_its_list_once_in_a_while_not_each_time() {
    let running = start(CannedUpstream::new(ordinary)).await;
    let client = running.session().await;
    let call =
        |id: u32| format!(r#"{{"jsonrpc":"2.0","id":{id},"method":"tools/call","params":{{"name":"guess-{id}"}}}}"#);
    for id in 0..20 {
        assert_eq!(client.post(&call(id)).await.status, 200);
    }
    let refreshes = || running.upstream.refreshes.load(Ordering::Relaxed);
    assert_eq!(refreshes(), 1);
    running.clock.advance(std::time::Duration::from_secs(10));
    client.post(&call(21)).await;
    assert_eq!(refreshes(), 2);
}

/// Keys `alice` and `bob`, and these limits.
fn two_callers(bytes_per_caller: usize, bytes_in_flight: usize) -> ServerSettings {
    let mut settings = ServerSettings::default();
    settings.identity.keys = vec![api_key("alice"), api_key("bob")];
    (settings.limits.bytes_per_caller, settings.limits.bytes_in_flight) = (bytes_per_caller, bytes_in_flight);
    settings
}

/// A modern call of 6000 bytes and a little.
fn large_call(client: &Client) -> (Client, String) {
    let headers = [("mcp-protocol-version", "2026-07-28"), ("mcp-method", "tools/call"), ("mcp-name", "t")];
    let client = headers.iter().fold(client.clone(), |client, (name, value)| client.with(name, value));
    let meta =
        r#""io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientCapabilities":{}"#;
    let params = format!(r#"{{"name":"t","arguments":{{"a":"{}"}},"_meta":{{{meta}}}}}"#, "x".repeat(6000));
    (client, format!(r#"{{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{params}}}"#))
}

#[tokio::test]
async fn the_bytes_a_caller_makes_us_hold_are_bounded_and_given_back_when_its_calls_end() {
    let (hold, mut held) = tokio::sync::mpsc::unbounded_channel();
    let upstream = CannedUpstream::new(move |_| {
        let (feed, reply) = fed(Media::EventStream);
        hold.send(feed).unwrap();
        Ok(reply)
    });
    let running = start_with(upstream, DenyList(&[]), two_callers(10_000, 100_000)).await;
    let (alice, body) = large_call(&running.client().with("x-api-key", "alice"));
    let (bob, _) = large_call(&running.client().with("x-api-key", "bob"));
    let mut first = alice.open("POST", &body).await;
    assert_eq!(first.status(), 200);
    let feed = held.recv().await.unwrap();

    let refused = alice.post(&body).await;
    assert_eq!(refused.status, 429, "{refused:?}");
    assert!(refused.body.contains("too_many_bytes"), "{refused:?}");
    assert_eq!(running.ledger.counted("denial", "too_many_bytes"), 1);
    assert_eq!(bob.open("POST", &body).await.status(), 200, "nobody else is concerned");

    feed.send(Ok(from_server(r#"{"jsonrpc":"2.0","id":1,"result":{"resultType":"complete"}}"#))).await.unwrap();
    while next_event(first.body_mut()).await.is_some() {}
    assert_eq!(alice.open("POST", &body).await.status(), 200);
}

#[tokio::test]
async fn a_body_that_is_still_arriving_counts() {
    let running = start_with(CannedUpstream::new(ordinary), DenyList(&[]), two_callers(10_000, 100_000)).await;
    let (alice, body) = large_call(&running.client().with("x-api-key", "alice"));
    let mut slow = TcpStream::connect(running.addr).await.unwrap();
    let head = format!(
        "POST /mcp HTTP/1.1\r\nhost: {}\r\nx-api-key: alice\r\ncontent-type: application/json\r\naccept: */*\r\ncontent-length: 9000\r\n\r\n",
        running.addr
    );
    slow.write_all(format!("{head}{}", "x".repeat(6000)).as_bytes()).await.unwrap();
    let held = || running.gateway.held.load(Ordering::Relaxed);
    while held() < 6000 {
        tokio::task::yield_now().await;
    }
    assert_eq!(alice.post(&body).await.status, 429);
    drop(slow);
    while held() > 0 {
        tokio::task::yield_now().await;
    }
    assert_eq!(alice.post(&body).await.status, 200);
}

#[tokio::test]
async fn the_bytes_of_all_callers_together_are_bounded() {
    let (hold, mut held) = tokio::sync::mpsc::unbounded_channel();
    let upstream = CannedUpstream::new(move |_| {
        let (feed, reply) = fed(Media::EventStream);
        hold.send(feed).unwrap();
        Ok(reply)
    });
    let running = start_with(upstream, DenyList(&[]), two_callers(10_000, 10_000)).await;
    let (alice, body) = large_call(&running.client().with("x-api-key", "alice"));
    let (bob, _) = large_call(&running.client().with("x-api-key", "bob"));
    let first = alice.open("POST", &body).await;
    let feed = held.recv().await.unwrap();
    assert_eq!(bob.post(&body).await.status, 429);
    // Modern: a closed stream is the end of the call (C8).
    drop(first);
    feed.closed().await;
    while running.gateway.held.load(Ordering::Relaxed) > 0 {
        tokio::task::yield_now().await;
    }
    assert_eq!(bob.open("POST", &body).await.status(), 200, "what was refused is not counted");
}
