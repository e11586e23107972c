//! Whose message goes over which socket.

use futures_util::StreamExt;
use portcullis_core::call::SessionKey;
use portcullis_core::refusal::FaultKind;
use portcullis_core::upstream::Upstream;
use portcullis_core::version::Era;
use serde_json::json;
use tokio_tungstenite::tungstenite::Message;

use super::{Server, call, open, result, say, until, upstream};
use crate::settings::EraSetting;
use crate::testing::{all, legacy, modern, modern_call, text};

#[tokio::test]
async fn each_legacy_session_has_a_socket_that_ends_with_it() {
    let server = Server::echo(false).await;
    let upstream = upstream(&server, EraSetting::Legacy);
    open(&upstream, 1).await;
    open(&upstream, 2).await;
    for key in [1, 2] {
        let answers = all(upstream.send(legacy(key).say(&call(7, "echo"))).await.unwrap()).await;
        let answer: serde_json::Value = serde_json::from_str(&text(&answers[0])).unwrap();
        assert_eq!(answer, json!({ "jsonrpc": "2.0", "id": 7, "result": { "tool": "echo" } }));
    }
    let sockets: Vec<usize> = server.heard("tools/call").iter().map(|(socket, _)| *socket).collect();
    assert_eq!(sockets, [0, 1]);
    upstream.forget(SessionKey(1)).await;
    server.until_closed(1000).await;
    assert_eq!(server.closes.lock().unwrap().len(), 1, "the other session goes on");
    let gone = upstream.send(legacy(1).say(&call(8, "echo"))).await.unwrap_err();
    assert_eq!((gone.kind, gone.never_left), (FaultKind::SessionLost, true));
}

/// C11: ids of different callers collide, so each gets one of ours, and its own back.
#[tokio::test]
async fn modern_callers_share_a_socket_and_hear_only_their_own_answers() {
    let server = Server::start(true, |first, mut socket| async move {
        // The second call is answered first.
        let Some(Ok(Message::Text(second))) = socket.next().await else { return None };
        let second = serde_json::from_str(&second).unwrap();
        say(&mut socket, &result(&second, json!({ "resultType": "complete", "n": 2 }))).await;
        say(&mut socket, &result(&first, json!({ "resultType": "complete", "n": 1 }))).await;
        Some(socket)
    })
    .await;
    let upstream = upstream(&server, EraSetting::Modern);
    let first = upstream.send(modern().say(&modern_call("7"))).await.unwrap();
    until(|| !server.heard("tools/call").is_empty()).await;
    let second = upstream.send(modern().say(&modern_call("7"))).await.unwrap();
    for (reply, number) in [(first, "1"), (second, "2")] {
        let answers = all(reply).await;
        assert_eq!(answers.len(), 1);
        let answer = text(&answers[0]);
        assert!(answer.contains(r#""id":7"#) && answer.contains(&format!(r#""n":{number}"#)), "{answer}");
    }
    assert_eq!(server.handshakes.lock().unwrap().len(), 1);
}

/// D11.
#[tokio::test]
async fn a_modern_caller_that_is_gone_is_told_to_the_server_by_our_id() {
    let server = Server::start(true, |_, socket| async move { Some(socket) }).await;
    let upstream = upstream(&server, EraSetting::Modern);
    drop(upstream.send(modern().say(&modern_call("7"))).await.unwrap());
    until(|| !server.heard("notifications/cancelled").is_empty()).await;
    let asked = server.heard("tools/call")[0].1["id"].clone();
    assert_eq!(server.heard("notifications/cancelled")[0].1["params"]["requestId"], asked);
}

/// J15, G3: the socket has no headers to tell the eras apart, so the server is asked, as over stdio.
#[tokio::test]
async fn the_servers_era_is_found_out() {
    for (modern, era) in [(false, Era::Legacy), (true, Era::Modern)] {
        let server = Server::echo(modern).await;
        let upstream = upstream(&server, EraSetting::Auto);
        let catalogue = upstream.refresh().await.unwrap();
        assert_eq!(upstream.era(), Some(era));
        assert!(catalogue.tool("echo").is_some());
    }
}

#[tokio::test]
async fn a_request_of_the_server_reaches_the_client_and_its_answer_the_server() {
    let server = Server::start(false, |message, mut socket| async move {
        say(&mut socket, &json!({ "jsonrpc": "2.0", "id": "s1", "method": "roots/list" })).await;
        let Some(Ok(Message::Text(answer))) = socket.next().await else { return None };
        let answer: serde_json::Value = serde_json::from_str(&answer).unwrap();
        say(&mut socket, &result(&message, json!({ "answer": answer["result"] }))).await;
        Some(socket)
    })
    .await;
    let upstream = upstream(&server, EraSetting::Legacy);
    open(&upstream, 1).await;
    let mut reply = upstream.send(legacy(1).say(&call(7, "ask"))).await.unwrap();
    let asked = reply.arrivals.next().await.unwrap();
    assert!(text(&asked).contains("roots/list"));
    let answer = r#"{"jsonrpc":"2.0","id":"s1","result":{"roots":[]}}"#;
    all(upstream.send(legacy(1).say(answer)).await.unwrap()).await;
    assert!(text(&all(reply).await[0]).contains(r#"{"answer":{"roots":[]}}"#));
}

#[tokio::test]
async fn a_lost_socket_is_opened_again_for_the_next_call_and_nothing_is_said_twice() {
    let server = Server::start(true, |message, mut socket| async move {
        if message["params"]["arguments"]["die"] == true {
            return None;
        }
        say(&mut socket, &result(&message, json!({ "resultType": "complete" }))).await;
        Some(socket)
    })
    .await;
    let upstream = upstream(&server, EraSetting::Modern);
    let deadly = modern_call("7").replace(r#""arguments":{}"#, r#""arguments":{"die":true}"#);
    let died = all(upstream.send(modern().say(&deadly)).await.unwrap()).await.pop().unwrap().unwrap_err();
    assert_eq!((died.kind, died.never_left), (FaultKind::Died, false));
    assert!(all(upstream.send(modern().say(&modern_call("8"))).await.unwrap()).await[0].is_ok());
    let calls: Vec<usize> = server.heard("tools/call").iter().map(|(socket, _)| *socket).collect();
    assert_eq!(calls, [0, 1]);
}

#[tokio::test]
async fn a_stop_closes_every_socket() {
    let server = Server::echo(false).await;
    let upstream = upstream(&server, EraSetting::Legacy);
    open(&upstream, 1).await;
    open(&upstream, 2).await;
    upstream.shut_down().await;
    assert_eq!(*server.closes.lock().unwrap(), [1000, 1000]);
    assert_eq!(upstream.send(legacy(3).say(super::INITIALIZE)).await.unwrap_err().kind, FaultKind::ShuttingDown);
}
