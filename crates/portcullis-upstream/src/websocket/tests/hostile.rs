//! Peers that fragment, compress, ping wildly, never read, say too much, or say it in binary.

use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use portcullis_core::refusal::FaultKind;
use portcullis_core::upstream::Upstream;
use portcullis_core::wire::Limits;
use serde_json::{Value, json};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpListener;
use tokio_tungstenite::tungstenite::Message;

use super::{Server, Socket, call, last_kind, made, open, raw, result, say, settings, upstream};
use crate::settings::EraSetting;
use crate::testing::{all, legacy, text};

/// How a legacy call ends against a server that writes these bytes for an answer; with the code of our close.
async fn against(answer: impl Fn(&Value) -> Vec<u8> + Send + Sync + 'static, code: u16) -> FaultKind {
    let server = Server::start(false, move |message, mut socket| {
        let bytes = answer(&message);
        async move {
            socket.get_mut().write_all(&bytes).await.ok()?;
            Some(socket)
        }
    })
    .await;
    let upstream = upstream(&server, EraSetting::Legacy);
    open(&upstream, 1).await;
    let kind = last_kind(upstream.send(legacy(1).say(&call(7, "raw"))).await).await;
    server.until_closed(code).await;
    assert_eq!(upstream.send(legacy(1).say(&call(8, "raw"))).await.unwrap_err().kind, FaultKind::SessionLost);
    kind
}

/// J5.
#[tokio::test]
async fn a_binary_frame_closes_the_socket_with_1003() {
    assert_eq!(against(|_| raw(0x82, b"{}").into(), 1003).await, FaultKind::Garbage);
}

#[tokio::test]
async fn a_compressed_frame_closes_the_socket_with_1002() {
    assert_eq!(against(|_| raw(0xc1, b"\xaa\x02\x00").into(), 1002).await, FaultKind::Garbage);
}

#[tokio::test]
async fn a_masked_frame_of_a_server_closes_the_socket() {
    assert_eq!(against(|_| b"\x81\x82\0\0\0\0{}".to_vec(), 1002).await, FaultKind::Garbage);
}

#[tokio::test]
async fn text_that_is_not_utf8_closes_the_socket() {
    assert_eq!(against(|_| raw(0x81, b"\xff\xfe").into(), 1007).await, FaultKind::Garbage);
}

#[tokio::test]
async fn wild_pings_close_the_socket_with_1008() {
    assert_eq!(against(|_| raw(0x89, b"").repeat(200), 1008).await, FaultKind::Garbage);
}

/// The length is refused before the bytes are there.
#[tokio::test]
async fn a_message_over_the_limit_closes_the_socket_with_1009() {
    let huge = |_: &Value| b"\x81\x7f\0\0\0\x10\0\0\0\0".to_vec();
    assert_eq!(against(huge, 1009).await, FaultKind::TooLarge);
}

#[tokio::test]
async fn fragments_are_joined_up_to_the_limit_of_a_message() {
    let server = Server::start(false, |message, mut socket| async move {
        let answer = result(&message, json!({ "text": "x".repeat(if message["id"] == 8 { 200_000 } else { 100 }) }));
        let answer = answer.to_string();
        let (last, first) =
            answer.as_bytes().chunks(100).collect::<Vec<_>>().split_last().map(|(l, f)| (*l, f.to_vec()))?;
        for (at, piece) in first.iter().enumerate() {
            socket.get_mut().write_all(&raw(if at == 0 { 0x01 } else { 0x00 }, piece)).await.ok()?;
            // Control frames may stand between fragments.
            socket.get_mut().write_all(&raw(0x8a, b"")).await.ok()?;
        }
        socket.get_mut().write_all(&raw(0x80, last)).await.ok()?;
        Some(socket)
    })
    .await;
    let limits = Limits { bytes: 50_000, ..Limits::default() };
    let upstream = made(&settings(&server.url, EraSetting::Legacy), limits);
    open(&upstream, 1).await;
    let whole = all(upstream.send(legacy(1).say(&call(7, "parts"))).await.unwrap()).await;
    assert!(text(&whole[0]).contains(&"x".repeat(100)));
    let kind = last_kind(upstream.send(legacy(1).say(&call(8, "parts"))).await).await;
    assert!(matches!(kind, FaultKind::TooLarge | FaultKind::Garbage), "{kind:?}");
}

/// It does not read, so it does not answer a ping either.
#[tokio::test]
async fn a_server_that_stops_reading_is_left_after_the_pong_it_owes() {
    let server = Server::start(false, |_, socket| async move {
        std::future::pending::<()>().await;
        Some(socket)
    })
    .await;
    let settings = super::WebSocketSettings {
        ping_every_ms: 50,
        pong_within_ms: 200,
        ..settings(&server.url, EraSetting::Legacy)
    };
    let upstream = made(&settings, Limits::default());
    open(&upstream, 1).await;
    let fault = all(upstream.send(legacy(1).say(&call(7, "sleep"))).await.unwrap()).await.pop().unwrap().unwrap_err();
    assert_eq!(fault.kind, FaultKind::Died);
    assert!(fault.detail.contains("ping"), "{}", fault.detail);
}

#[tokio::test]
async fn a_server_that_answers_pings_may_be_silent_otherwise() {
    let server = Server::start(false, |message, mut socket| async move {
        // Reading answers pings.
        let _ = tokio::time::timeout(Duration::from_millis(600), socket.next()).await;
        say(&mut socket, &result(&message, json!({}))).await;
        Some(socket)
    })
    .await;
    let settings = super::WebSocketSettings {
        ping_every_ms: 50,
        pong_within_ms: 200,
        ..settings(&server.url, EraSetting::Legacy)
    };
    let upstream = made(&settings, Limits::default());
    open(&upstream, 1).await;
    assert!(all(upstream.send(legacy(1).say(&call(7, "wait"))).await.unwrap()).await[0].is_ok());
}

#[tokio::test]
async fn a_server_that_answers_pings_and_nothing_else_is_timed_out() {
    let server = Server::start(false, |_, mut socket| async move {
        while let Some(Ok(_)) = socket.next().await {}
        None
    })
    .await;
    let settings = super::WebSocketSettings {
        ping_every_ms: 50,
        first_byte_timeout_ms: 500,
        ..settings(&server.url, EraSetting::Legacy)
    };
    let upstream = made(&settings, Limits::default());
    open(&upstream, 1).await;
    assert_eq!(last_kind(upstream.send(legacy(1).say(&call(7, "hang"))).await).await, FaultKind::TimedOut);
}

#[tokio::test]
async fn a_socket_that_is_reset_has_died() {
    let server = Server::start(false, |_, socket| async move {
        socket.get_ref().set_zero_linger().ok()?;
        None
    })
    .await;
    let upstream = upstream(&server, EraSetting::Legacy);
    open(&upstream, 1).await;
    let fault = all(upstream.send(legacy(1).say(&call(7, "reset"))).await.unwrap()).await.pop().unwrap().unwrap_err();
    assert_eq!((fault.kind, fault.never_left), (FaultKind::Died, false));
    assert_eq!(server.heard("tools/call").len(), 1, "nothing is said twice");
}

#[tokio::test]
async fn second_answers_and_answers_to_nobody_go_nowhere() {
    let server = Server::start(false, |message, mut socket| async move {
        let nobody = json!({ "id": "nobody" });
        for (whose, number) in [(&nobody, 1), (&message, 2), (&message, 3)] {
            say(&mut socket, &result(whose, json!({ "n": number }))).await;
        }
        Some(socket)
    })
    .await;
    let upstream = upstream(&server, EraSetting::Legacy);
    open(&upstream, 1).await;
    for id in [7, 8] {
        let answers = all(upstream.send(legacy(1).say(&call(id, "twice"))).await.unwrap()).await;
        assert!(answers.len() == 1 && text(&answers[0]).contains(r#""n":2"#), "{answers:?}");
    }
}

#[tokio::test]
async fn what_is_no_message_is_borne_and_a_babbling_server_is_left() {
    async fn babble(socket: &mut Socket, times: usize) {
        for _ in 0..times {
            let _ = socket.send(Message::text("Server listening!")).await;
        }
    }
    let server = Server::start(false, |message, mut socket| async move {
        babble(&mut socket, if message["id"] == 7 { 3 } else { 200 }).await;
        say(&mut socket, &result(&message, json!({}))).await;
        Some(socket)
    })
    .await;
    let upstream = upstream(&server, EraSetting::Legacy);
    open(&upstream, 1).await;
    assert!(all(upstream.send(legacy(1).say(&call(7, "some"))).await.unwrap()).await[0].is_ok());
    assert_eq!(last_kind(upstream.send(legacy(1).say(&call(8, "much"))).await).await, FaultKind::Garbage);
    server.until_closed(1008).await;
}

#[tokio::test]
async fn the_servers_reason_for_closing_is_in_the_log() {
    let server = Server::start(false, |_, mut socket| async move {
        socket.get_mut().write_all(&raw(0x88, b"\x03\xf0no more\n")).await.ok()?;
        Some(socket)
    })
    .await;
    let upstream = upstream(&server, EraSetting::Legacy);
    open(&upstream, 1).await;
    let fault = all(upstream.send(legacy(1).say(&call(7, "close"))).await.unwrap()).await.pop().unwrap().unwrap_err();
    assert_eq!(
        (fault.kind, fault.detail.as_str()),
        (FaultKind::Died, "the server closed the socket with 1008 no more")
    );
}

#[tokio::test]
async fn an_answer_the_reader_refuses_fails_its_own_call_only() {
    let server = Server::start(false, |message, mut socket| async move {
        let text = match message["id"].as_u64() {
            Some(7) => r#"{"jsonrpc":"2.0","id":7,"result":{"a":1,"a":2}}"#.to_owned(),
            _ => result(&message, json!({})).to_string(),
        };
        let _ = socket.send(Message::text(text)).await;
        Some(socket)
    })
    .await;
    let upstream = upstream(&server, EraSetting::Legacy);
    open(&upstream, 1).await;
    assert_eq!(last_kind(upstream.send(legacy(1).say(&call(7, "twice"))).await).await, FaultKind::Garbage);
    assert!(all(upstream.send(legacy(1).say(&call(8, "good"))).await.unwrap()).await[0].is_ok());
}

/// A port that is open and says nothing, and one that says nonsense: no message left.
#[tokio::test]
async fn a_handshake_that_goes_nowhere_is_given_up_in_time() {
    for nonsense in ["", "HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n", "SSH-2.0-OpenSSH\r\n"] {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("ws://{}/", listener.local_addr().unwrap());
        tokio::spawn(async move {
            let mut held = Vec::new();
            while let Ok((mut socket, _)) = listener.accept().await {
                let _ = socket.write_all(nonsense.as_bytes()).await;
                held.push(socket);
            }
        });
        let settings = super::WebSocketSettings { connect_timeout_ms: 300, ..settings(&url, EraSetting::Legacy) };
        let upstream = made(&settings, Limits::default());
        let fault = upstream.send(legacy(1).say(super::INITIALIZE)).await.unwrap_err();
        assert!(fault.never_left, "{fault:?}");
        let wanted = if nonsense.is_empty() { FaultKind::TimedOut } else { FaultKind::Garbage };
        assert_eq!(fault.kind, wanted, "{nonsense:?}");
    }
}
