//! Which connection an exchange uses, and what becomes of it afterwards.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use portcullis_core::upstream::Upstream;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

use super::super::HttpUpstream;
use super::upstream;
use crate::settings::EraSetting;
use crate::testing::{Canned, Heard, all, id_of, json, modern, modern_call};

const NOTE: &str = r#"{"jsonrpc":"2.0","method":"notifications/x","params":{"_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28"}}}"#;

type Ports = Arc<Mutex<Vec<u16>>>;

/// A server that tells the client's port of each exchange; `after` decides about the socket once the answer is written.
async fn counted<F, Fut>(after: F) -> (Canned, Ports)
where
    F: Fn(TcpStream) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = Option<TcpStream>> + Send + 'static,
{
    let ports = Ports::default();
    let (seen, after) = (Arc::clone(&ports), Arc::new(after));
    let server = Canned::scripted(move |heard, mut socket| {
        seen.lock().unwrap().push(socket.peer_addr().unwrap().port());
        let after = Arc::clone(&after);
        async move {
            socket.write_all(answer(&heard).as_bytes()).await.ok()?;
            after(socket).await
        }
    })
    .await;
    (server, ports)
}

fn answer(heard: &Heard) -> String {
    if heard.body.contains("\"id\"") {
        json(200, &format!(r#"{{"jsonrpc":"2.0","id":{},"result":{{"content":[]}}}}"#, id_of(&heard.body)))
    } else {
        "HTTP/1.1 202 Accepted\r\ncontent-length: 0\r\n\r\n".to_owned()
    }
}

async fn call(upstream: &HttpUpstream) {
    assert!(all(upstream.send(modern().say(&modern_call("7"))).await.unwrap()).await[0].is_ok());
}

#[tokio::test]
async fn calls_and_notifications_after_each_other_share_one_connection() {
    let (server, ports) = counted(|socket| async { Some(socket) }).await;
    let upstream = upstream(&server.url, EraSetting::Modern);
    call(&upstream).await;
    upstream.send(modern().say(NOTE)).await.unwrap();
    call(&upstream).await;
    let ports = ports.lock().unwrap();
    assert_eq!(ports.len(), 3);
    assert!(ports.iter().all(|port| *port == ports[0]), "{ports:?}");
}

#[tokio::test]
async fn calls_at_the_same_time_have_a_connection_each() {
    let (server, ports) = counted(|socket| async { Some(socket) }).await;
    let upstream = upstream(&server.url, EraSetting::Modern);
    tokio::join!(call(&upstream), call(&upstream));
    let ports = ports.lock().unwrap();
    assert_ne!(ports[0], ports[1]);
}

/// Each write a chunk of its own, some together and some apart: whoever waits hears of each, and the end gives the connection back.
#[tokio::test]
async fn chunks_are_heard_whether_they_come_together_or_apart() {
    let ports = Ports::default();
    let seen = Arc::clone(&ports);
    let server = Canned::scripted(move |heard, mut socket| {
        seen.lock().unwrap().push(socket.peer_addr().unwrap().port());
        async move {
            let chunk = |text: &str| format!("{:x}\r\n{text}\r\n", text.len());
            let note = chunk("data: {\"jsonrpc\":\"2.0\",\"method\":\"notifications/x\"}\n\n");
            let last =
                chunk(&format!("data: {{\"jsonrpc\":\"2.0\",\"id\":{},\"result\":{{}}}}\n\n", id_of(&heard.body)));
            let head = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n";
            let (half, rest) = note.split_at(20);
            for piece in [head, &format!("{note}{note}{half}"), rest, &note, &format!("{last}0\r\n\r\n")] {
                socket.write_all(piece.as_bytes()).await.ok()?;
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
            Some(socket)
        }
    })
    .await;
    let upstream = upstream(&server.url, EraSetting::Modern);
    for _ in 0..2 {
        let heard = async { all(upstream.send(modern().say(&modern_call("7"))).await.unwrap()).await };
        let arrivals = tokio::time::timeout(Duration::from_secs(5), heard).await.unwrap();
        assert_eq!(arrivals.iter().filter(|arrival| arrival.is_ok()).count(), 5);
    }
    let ports = ports.lock().unwrap();
    assert_eq!(ports[0], ports[1]);
}

#[tokio::test]
async fn a_kept_connection_that_the_server_closed_is_not_used_again() {
    let (closed, mut closing) = tokio::sync::mpsc::unbounded_channel();
    let (server, ports) = counted(move |mut socket| {
        let closed = closed.clone();
        async move {
            socket.shutdown().await.ok()?;
            drop(socket);
            closed.send(()).ok()?;
            None
        }
    })
    .await;
    let upstream = upstream(&server.url, EraSetting::Modern);
    for _ in 0..3 {
        call(&upstream).await;
        closing.recv().await.unwrap();
        // Lets the runtime hear of the closed socket.
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    assert_eq!(ports.lock().unwrap().len(), 3);
}

#[tokio::test]
async fn a_connection_idle_for_longer_than_servers_keep_theirs_is_closed() {
    let (server, ports) = counted(|socket| async { Some(socket) }).await;
    let upstream = upstream(&server.url, EraSetting::Modern);
    call(&upstream).await;
    tokio::time::pause();
    tokio::time::advance(Duration::from_secs(5)).await;
    tokio::time::resume();
    call(&upstream).await;
    let ports = ports.lock().unwrap();
    assert_ne!(ports[0], ports[1]);
}

#[test]
fn a_connection_is_used_by_the_runtime_that_opened_it_only() {
    let runtime = || tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let (first, second, serving) = (runtime(), runtime(), tokio::runtime::Runtime::new().unwrap());
    let (server, ports) = serving.block_on(counted(|socket| async { Some(socket) }));
    let upstream = upstream(&server.url, EraSetting::Modern);
    first.block_on(call(&upstream));
    second.block_on(call(&upstream));
    first.block_on(call(&upstream));
    let ports = ports.lock().unwrap();
    assert_ne!(ports[0], ports[1]);
    assert_eq!(ports[0], ports[2]);
}

#[tokio::test]
async fn an_exchange_runs_its_task_once_for_what_it_sends_and_once_for_what_comes_back() {
    let (server, _) = counted(|socket| async { Some(socket) }).await;
    let upstream = upstream(&server.url, EraSetting::Modern);
    call(&upstream).await;
    let mut kept = pin!(async {
        call(&upstream).await;
        // Whatever would run the task again has time to.
        tokio::time::sleep(Duration::from_millis(20)).await;
    });
    let mut runs = 0;
    poll_fn(|cx| {
        runs += 1;
        kept.as_mut().poll(cx)
    })
    .await;
    assert_eq!(runs, 3, "the third when it had waited");
}

#[tokio::test]
async fn an_answer_in_pieces_is_heard_piece_by_piece() {
    let server = Canned::scripted(|heard, mut socket| async move {
        let answer = answer(&heard);
        for piece in answer.as_bytes().chunks(answer.len() / 5) {
            socket.write_all(piece).await.ok()?;
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        Some(socket)
    })
    .await;
    let upstream = upstream(&server.url, EraSetting::Modern);
    for _ in 0..3 {
        tokio::time::timeout(Duration::from_secs(5), call(&upstream)).await.unwrap();
    }
}
