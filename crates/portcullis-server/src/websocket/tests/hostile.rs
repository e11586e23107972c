//! Clients that break the rules of frames, or use them to cost us something. Each is closed with its code; the next one is served.

use std::time::Duration;

use futures_util::SinkExt;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::frame::Frame;
use tokio_tungstenite::tungstenite::protocol::frame::coding::{Data, OpCode};

use super::{LIST, usual};
use crate::testing::sockets::sockets;
use crate::testing::{CannedUpstream, DenyList, Running, ordinary, reply, result, start_with};
use crate::websocket::WebSocketListener;

async fn running(websocket: WebSocketListener) -> Running {
    start_with(CannedUpstream::new(ordinary), DenyList(&[]), sockets(websocket)).await
}

/// A handshake by hand, for frames that no library sends.
async fn raw(running: &Running) -> TcpStream {
    let mut stream = TcpStream::connect(running.addr).await.unwrap();
    let head = format!(
        "GET /mcp/ws HTTP/1.1\r\nhost: {}\r\nconnection: upgrade\r\nupgrade: websocket\r\nsec-websocket-version: 13\r\n\
         sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
        running.addr
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    while !answer.ends_with(b"\r\n\r\n") {
        answer.push(stream.read_u8().await.unwrap());
    }
    let answer = String::from_utf8(answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 101") && answer.contains("s3pPLMBiTxaQ9kYGzzhZRbK+xOo="), "{answer}");
    stream
}

/// The code of the close frame that comes next.
async fn code(stream: &mut TcpStream) -> u16 {
    let mut head = [0; 4];
    stream.read_exact(&mut head).await.unwrap();
    assert_eq!(head[0], 0x88, "a close frame: {head:?}");
    u16::from_be_bytes([head[2], head[3]])
}

#[tokio::test]
async fn j5_a_binary_frame_is_closed_with_1003() {
    let running = usual().await;
    let mut socket = running.socket("mcp").await;
    socket.0.send(Message::binary(LIST.as_bytes().to_vec())).await.unwrap();
    assert_eq!(socket.closed().await.0, 1003);
    running.counted("violation", "binary_frame", 1).await;
}

#[tokio::test]
async fn what_is_too_large_is_closed_with_1009_in_one_frame_or_in_many() {
    let running = running(WebSocketListener { message_bytes: 1000, ..WebSocketListener::default() }).await;
    let mut socket = running.socket("mcp").await;
    socket.0.send(Message::text("x".repeat(1001))).await.unwrap();
    assert_eq!(socket.closed().await.0, 1009);
    let mut socket = running.socket("mcp").await;
    for number in 0..4 {
        let opcode = if number == 0 { Data::Text } else { Data::Continue };
        let part = Frame::message("x".repeat(400), OpCode::Data(opcode), false);
        // The last ones may meet a closed connection.
        let _late = socket.0.send(Message::Frame(part)).await;
    }
    assert_eq!(socket.closed().await.0, 1009);
    running.counted("violation", "body_too_large", 2).await;
}

#[tokio::test]
async fn a_message_in_many_fragments_is_one_message_and_pings_between_them_are_answered() {
    let running = usual().await;
    let mut socket = running.socket("mcp").await.initialized().await;
    let (last, parts) = LIST.as_bytes().split_last().unwrap();
    for (number, letter) in parts.iter().enumerate() {
        let opcode = if number == 0 { Data::Text } else { Data::Continue };
        socket.0.send(Message::Frame(Frame::message(vec![*letter], OpCode::Data(opcode), false))).await.unwrap();
        if number % 16 == 0 {
            socket.0.send(Message::Ping(vec![7].into())).await.unwrap();
        }
    }
    socket.0.send(Message::Frame(Frame::message(vec![*last], OpCode::Data(Data::Continue), true))).await.unwrap();
    assert!(socket.hear().await.contains(r#""result":{}"#));
}

#[tokio::test]
async fn unmasked_reserved_and_broken_frames_are_closed_with_1002_and_text_that_is_none_with_1007() {
    let running = usual().await;
    for (frame, expected) in [
        // Unmasked; a reserved bit, as compression sets it; a reserved opcode; a fragmented ping.
        (&[0x81, 0x02, b'{', b'}'][..], 1002),
        (&[0xC1, 0x82, 0, 0, 0, 0, b'{', b'}'], 1002),
        (&[0x83, 0x80, 0, 0, 0, 0], 1002),
        (&[0x09, 0x80, 0, 0, 0, 0], 1002),
        (&[0x80, 0x80, 0, 0, 0, 0], 1002),
        (&[0x81, 0x82, 0, 0, 0, 0, 0xC3, 0x28], 1007),
    ] {
        let mut stream = raw(&running).await;
        stream.write_all(frame).await.unwrap();
        assert_eq!(code(&mut stream).await, expected, "{frame:x?}");
    }
    running.counted("violation", "frame_invalid", 6).await;
}

#[tokio::test]
async fn who_sends_faster_than_allowed_is_slowed_and_then_closed_with_1008() {
    let settings = WebSocketListener { messages_per_second: 20, overrun_seconds: 1, ..WebSocketListener::default() };
    let running = running(settings).await;
    let mut socket = running.socket("mcp").await;
    let flood = async { while socket.0.send(Message::Ping(vec![1].into())).await.is_ok() {} };
    // Reading is what stops: the kernel's buffers fill, and nothing of ours does.
    let _full = tokio::time::timeout(Duration::from_secs(3), flood).await;
    running.counted("violation", "too_many_messages", 1).await;
}

#[tokio::test]
async fn a_client_that_never_reads_is_closed_and_holds_up_nobody() {
    let upstream = CannedUpstream::new(|call| match call.method() {
        "tools/list" => {
            let large = format!(r#"{{"tools":[],"x":"{}"}}"#, "x".repeat(1 << 20));
            Ok(reply(portcullis_core::upstream::Media::Json, vec![result(call, &large)]))
        }
        _ => ordinary(call),
    });
    let settings = WebSocketListener { stall_seconds: 1, ..WebSocketListener::default() };
    let running = start_with(upstream, DenyList(&[]), sockets(settings)).await;
    let mut deaf = running.socket("mcp").await.initialized().await;
    for id in 10..60 {
        deaf.say(&LIST.replace(r#""id":1"#, &format!(r#""id":{id}"#))).await;
    }
    let mut other = running.socket("mcp").await.initialized().await;
    assert!(other.ask(LIST).await.contains(r#""id":1,"#));
    running.counted("violation", "slow_reader", 1).await;
}

#[tokio::test]
async fn a_silent_client_is_pinged_and_one_that_does_not_answer_is_closed() {
    let settings = WebSocketListener { ping_seconds: 1, idle_seconds: 3, ..WebSocketListener::default() };
    let running = running(settings).await;
    let mut stream = raw(&running).await;
    let mut ping = [0; 2];
    stream.read_exact(&mut ping).await.unwrap();
    assert_eq!(ping, [0x89, 0], "a ping");
    // Never answered.
    let mut rest = Vec::new();
    stream.read_to_end(&mut rest).await.unwrap();
    let close = rest.chunks(2).position(|frame| frame[0] == 0x88).unwrap();
    assert_eq!(&rest[close * 2 + 2..close * 2 + 4], 1001u16.to_be_bytes());
}

#[tokio::test]
async fn a_connection_has_a_lifetime_and_an_abandoned_handshake_a_time() {
    let running = running(WebSocketListener { lifetime_seconds: 1, ..WebSocketListener::default() }).await;
    let mut socket = running.socket("mcp").await;
    assert_eq!(socket.closed().await.0, 1001);
    let mut half = TcpStream::connect(running.addr).await.unwrap();
    half.write_all(b"GET /mcp/ws HTTP/1.1\r\nupgrade: websocket\r\n").await.unwrap();
    running.shutdown.cancel();
    tokio::time::timeout(Duration::from_secs(20), running.stopped).await.unwrap().unwrap();
}
