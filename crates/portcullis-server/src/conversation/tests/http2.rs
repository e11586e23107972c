use std::time::Duration;

use portcullis_core::upstream::Media;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::mpsc;

use super::{PING, secure};
use crate::settings::ServerSettings;
use crate::testing::secure::{Authority, as_http2, connect, http2};
use crate::testing::{
    CannedUpstream, Client, DenyList, Feed, INITIALIZE, Running, collect, fed, from_server, next_event, ordinary,
    start_with,
};
use crate::tls::ClientCertificates;

const CALL: &str = r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"slow","arguments":{}}}"#;
const PROGRESS: &str = r#"{"jsonrpc":"2.0","method":"notifications/message","params":{"level":"info","data":"n"}}"#;
const DONE: &str = r#"{"jsonrpc":"2.0","id":1,"result":{"content":[]}}"#;

/// A gateway whose tool calls are streams that the test feeds.
async fn streaming(authority: &Authority, mut settings: ServerSettings) -> (Running, mpsc::UnboundedReceiver<Feed>) {
    let (hand, feeds) = mpsc::unbounded_channel();
    let upstream = CannedUpstream::new(move |call| {
        if call.method() != "tools/call" {
            return ordinary(call);
        }
        let (feed, reply) = fed(Media::EventStream);
        hand.send(feed).unwrap();
        Ok(reply)
    });
    settings.tls = Some(authority.settings(ClientCertificates::Off));
    (start_with(upstream, DenyList(&[]), settings).await, feeds)
}

/// Headers of a session that was opened over HTTP/2.
async fn session(running: &Running, authority: &Authority) -> Client {
    let mut sender = http2(running.addr, authority).await;
    let opened = sender.send_request(as_http2(running.client().request("POST", INITIALIZE))).await.unwrap();
    let id = opened.headers()["mcp-session-id"].to_str().unwrap().to_owned();
    collect(opened).await;
    running.client().with("mcp-session-id", &id).with("mcp-protocol-version", "2025-11-25")
}

#[tokio::test]
async fn events_of_many_calls_on_one_connection_each_arrive_as_they_come() {
    let authority = Authority::new();
    let (running, mut feeds) = streaming(&authority, ServerSettings::default()).await;
    let client = session(&running, &authority).await;
    let mut sender = http2(running.addr, &authority).await;
    let mut open = Vec::new();
    for id in 1..=3 {
        let call = CALL.replace(r#""id":1"#, &format!(r#""id":{id}"#));
        let response = sender.send_request(as_http2(client.request("POST", &call))).await.unwrap();
        open.push((id, response, feeds.recv().await.unwrap()));
    }
    for (id, response, feed) in &mut open {
        feed.send(Ok(from_server(PROGRESS))).await.unwrap();
        assert!(next_event(response.body_mut()).await.unwrap().contains("notifications/message"), "{id}");
    }
    for (id, response, feed) in &mut open {
        feed.send(Ok(from_server(DONE.replace(r#""id":1"#, &format!(r#""id":{id}"#))))).await.unwrap();
        assert!(next_event(response.body_mut()).await.unwrap().contains("result"), "{id}");
    }
    running.outcomes(4).await;
    assert!(running.ledger.is_balanced());
}

#[tokio::test]
async fn c8_a_modern_call_is_cancelled_by_its_reset_stream_and_the_connection_lives_on() {
    let authority = Authority::new();
    let (running, mut feeds) = streaming(&authority, ServerSettings::default()).await;
    let meta = r#""_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientCapabilities":{},"io.modelcontextprotocol/clientInfo":{"name":"t","version":"1"}}"#;
    let call = CALL.replace(r#""arguments":{}"#, &format!(r#""arguments":{{}},{meta}"#));
    let client = running
        .client()
        .with("mcp-protocol-version", "2026-07-28")
        .with("mcp-method", "tools/call")
        .with("mcp-name", "slow");
    let mut sender = http2(running.addr, &authority).await;
    let response = sender.send_request(as_http2(client.request("POST", &call))).await.unwrap();
    assert_eq!(response.status(), 200);
    let feed = feeds.recv().await.unwrap();
    drop(response);
    feed.closed().await;
    assert_eq!(running.outcomes(1).await, ["abandoned"]);
    let answer = sender.send_request(as_http2(running.client().request("POST", INITIALIZE))).await.unwrap();
    assert_eq!(collect(answer).await.status, 200);
}

#[tokio::test]
async fn limits_of_headers_and_bodies_and_the_rules_of_host_and_origin_are_those_of_http_1() {
    let authority = Authority::new();
    let running = secure(&authority, ClientCertificates::Off).await;
    let mut sender = http2(running.addr, &authority).await;
    let mut many = running.client();
    for number in 0..100 {
        many = many.with(&format!("x-{number}"), "1");
    }
    let foreign = running.client().with("host", "evil.example");
    for (client, body, status) in [
        (many, PING.to_owned(), 431),
        (foreign, PING.to_owned(), 403),
        (running.client().with("origin", "https://evil.example"), PING.to_owned(), 403),
        (running.client(), "[".repeat(5 << 20), 413),
        (running.client().with("x-large", &"z".repeat(64 << 10)), PING.to_owned(), 431),
    ] {
        let answer = sender.send_request(as_http2(client.request("POST", &body))).await.unwrap();
        assert_eq!(answer.status(), status);
    }
    // Two authorities are none.
    let mut two = as_http2(running.client().request("POST", PING));
    two.headers_mut().insert("host", "evil.example".parse().unwrap());
    assert_eq!(sender.send_request(two).await.unwrap().status(), 403);
}

#[tokio::test]
async fn a_drain_lets_open_calls_finish_and_ends_the_overdue_with_an_error() {
    let authority = Authority::new();
    let mut settings = ServerSettings::default();
    settings.timeouts.drain_seconds = 1;
    let (running, mut feeds) = streaming(&authority, settings).await;
    let client = session(&running, &authority).await;
    let mut sender = http2(running.addr, &authority).await;
    let mut quick = sender.send_request(as_http2(client.request("POST", CALL))).await.unwrap();
    let finishes = feeds.recv().await.unwrap();
    let slow = CALL.replace(r#""id":1"#, r#""id":2"#);
    let mut late = sender.send_request(as_http2(client.request("POST", &slow))).await.unwrap();
    let _hangs = feeds.recv().await.unwrap();
    running.shutdown.cancel();
    finishes.send(Ok(from_server(DONE))).await.unwrap();
    assert!(next_event(quick.body_mut()).await.unwrap().contains("result"));
    let last = next_event(late.body_mut()).await.unwrap();
    assert!(last.contains(r#""id":2"#) && last.contains("error"), "{last}");
    tokio::time::timeout(Duration::from_secs(10), running.stopped).await.unwrap().unwrap();
    assert!(running.ledger.is_balanced());
}

/// One frame (RFC 9113 §4.1).
fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let mut bytes = u32::try_from(payload.len()).unwrap().to_be_bytes()[1..].to_vec();
    bytes.extend([kind, flags]);
    bytes.extend(stream.to_be_bytes());
    bytes.extend(payload);
    bytes
}

/// CVE-2023-44487.
#[tokio::test]
async fn a_flood_of_streams_that_are_reset_at_once_ends_the_connection() {
    let authority = Authority::new();
    let running = secure(&authority, ClientCertificates::Off).await;
    let mut stream = connect(running.addr, authority.client(None, "h2")).await.unwrap();
    let mut flood = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
    flood.extend(frame(4, 0, 0, b""));
    // `POST`, `https`, and path and authority as literals (RFC 7541 appendix A).
    let headers = b"\x83\x87\x04\x04/mcp\x01\x09localhost";
    for number in (1..1001).step_by(2) {
        flood.extend(frame(1, 4, number, headers));
        flood.extend(frame(3, 0, number, &8_u32.to_be_bytes()));
    }
    // The end may come before all of it is written.
    let _cut_off = stream.write_all(&flood).await;
    let mut told = Vec::new();
    let _reset = stream.read_to_end(&mut told).await;
    let mut rest = told.as_slice();
    let mut reasons = Vec::new();
    while let [a, b, c, kind, _, _, _, _, _, more @ ..] = rest {
        let length = usize::try_from(u32::from_be_bytes([0, *a, *b, *c])).unwrap();
        if *kind == 7 {
            reasons.push(more[7]);
        }
        rest = more.get(length..).unwrap_or_default();
    }
    assert_eq!(reasons, [11], "ENHANCE_YOUR_CALM");
    // Others are served as before.
    let mut sender = http2(running.addr, &authority).await;
    let answer = sender.send_request(as_http2(running.client().request("POST", INITIALIZE))).await.unwrap();
    assert_eq!(collect(answer).await.status, 200);
}
