use http_body_util::BodyExt;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};

use super::*;

const HEAD: &str = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n";

/// An answer to a request, in pieces of `piece` bytes.
async fn answered(answer: String, piece: usize) -> Result<Response<Tap<DuplexStream>>, LineError> {
    let (ours, mut theirs) = tokio::io::duplex(1 << 20);
    let request = Request::builder().uri("/mcp?a=b").header("host", "h").body(Bytes::from_static(b"{}")).unwrap();
    tokio::spawn(async move {
        let mut heard = [0; 1024];
        let count = theirs.read(&mut heard).await.unwrap();
        assert_eq!(&heard[..count], b"GET /mcp?a=b HTTP/1.1\r\nhost: h\r\ncontent-length: 2\r\n\r\n{}");
        for piece in answer.as_bytes().chunks(piece) {
            theirs.write_all(piece).await.unwrap();
            tokio::task::yield_now().await;
        }
    });
    Tap::open(ours, &request).await
}

/// What came of the body, and how it ended.
async fn body(response: Result<Response<Tap<DuplexStream>>, LineError>) -> (String, Result<(), LineError>) {
    let mut tap = match response {
        Ok(response) => response.into_body(),
        Err(error) => return (String::new(), Err(error)),
    };
    let mut text = String::new();
    while let Some(frame) = tap.frame().await {
        match frame {
            Ok(frame) => text.push_str(std::str::from_utf8(&frame.into_data().unwrap()).unwrap()),
            Err(error) => return (text, Err(error)),
        }
    }
    assert!(tap.frame().await.is_none(), "over is over");
    (text, Ok(()))
}

#[tokio::test]
async fn every_way_to_end_a_body_is_understood_in_pieces_of_any_size() {
    for (fields, sent) in [
        ("", "data: 1\n\n"),
        ("content-length: 9\r\n", "data: 1\n\nmore"),
        ("content-length: 9\r\ncontent-length: 9\r\n", "data: 1\n\n"),
        ("transfer-encoding: Chunked\r\n", "4\r\ndata\r\n5;x=y\r\n: 1\n\n\r\n0\r\n\r\n"),
        ("transfer-encoding: chunked\r\n", "00A\r\ndata: 1\n\n\n\r\n0\r\ntrailer: 1\r\n\r\n"),
    ] {
        for piece in [1, 2, 3, 7, 1000] {
            let response = answered(format!("HTTP/1.1 103 Early\r\n\r\n{HEAD}{fields}\r\n{sent}"), piece).await;
            let (text, end) = body(response).await;
            assert_eq!(text.trim_end(), "data: 1", "{fields} {piece}");
            end.unwrap();
        }
    }
}

#[tokio::test]
async fn an_answer_without_a_body_is_over_with_its_head() {
    for head in ["HTTP/1.1 204 No Content\r\n\r\n", "HTTP/1.1 405 No\r\ncontent-length: 0\r\n\r\n"] {
        let (text, end) = body(answered(head.to_owned(), 1000).await).await;
        assert!(text.is_empty() && end.is_ok(), "{head}");
    }
}

#[tokio::test]
async fn a_body_that_ends_before_its_end_is_a_fault() {
    for sent in [
        "content-length: 10\r\n\r\ndata",
        "transfer-encoding: chunked\r\n\r\n4\r\ndata\r\n",
        "transfer-encoding: chunked\r\n\r\n9\r\ndata",
    ] {
        let (text, end) = body(answered(format!("{HEAD}{sent}"), 1000).await).await;
        assert_eq!(text, "data", "{sent}");
        assert!(matches!(end, Err(LineError::Ended)), "{sent}");
    }
    assert!(matches!(answered("HTTP/1.1 200 OK\r\nx: ".to_owned(), 5).await, Err(LineError::Ended)));
}

#[tokio::test]
async fn what_is_not_http_or_could_be_read_in_two_ways_is_refused() {
    for answer in [
        "ICY 200 OK\r\n\r\n".to_owned(),
        format!("{HEAD}a b: c\r\n\r\n"),
        format!("{HEAD}content-length: 1\r\ncontent-length: 2\r\n\r\nab"),
        format!("{HEAD}content-length: +1\r\n\r\na"),
        format!("{HEAD}content-length: 1, 1\r\n\r\na"),
        format!("{HEAD}content-length: 1\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n"),
        format!("{HEAD}transfer-encoding: gzip, chunked\r\n\r\n0\r\n\r\n"),
        format!("{HEAD}transfer-encoding: chunked\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n"),
        format!("{HEAD}transfer-encoding: chunked\r\n\r\n-1\r\n\r\n"),
        format!("{HEAD}transfer-encoding: chunked\r\n\r\n2\r\nabc\r\n"),
        format!("{HEAD}transfer-encoding: chunked\r\n\r\n11111111111111111\r\n"),
        format!("{HEAD}transfer-encoding: chunked\r\n\r\n1;{}", "x".repeat(SIZE_LINE)),
        format!("{HEAD}x: {}", "x".repeat(HEAD_BYTES)),
        format!("{HEAD}{}\r\n", "x: y\r\n".repeat(FIELDS)),
    ] {
        let (_, end) = body(answered(answer.clone(), 4096).await).await;
        assert!(matches!(end, Err(LineError::NotHttp(_))), "{:.150} {end:?}", answer);
    }
}

#[tokio::test]
async fn a_stream_that_waits_holds_no_buffer() {
    let (mut ours, mut theirs) = tokio::io::duplex(1 << 20);
    let request = Request::builder().uri("/").body(Bytes::new()).unwrap();
    theirs.write_all(format!("{HEAD}\r\ndata: 1\n\n").as_bytes()).await.unwrap();
    let mut tap = Tap::open(&mut ours, &request).await.unwrap().into_body();
    assert!(tap.frame().await.unwrap().is_ok());
    let mut nobody = Context::from_waker(std::task::Waker::noop());
    assert!(Pin::new(&mut tap).poll_frame(&mut nobody).is_pending());
    assert_eq!(tap.buffer.capacity(), 0);
}
