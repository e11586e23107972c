//! Beginnings and ends: servers that come back, gateways that stop, streams that are picked up again, and what must never be written down.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::Command;

use serde_json::{Value, json};

use crate::contract::client::{Client, Era};
use crate::contract::sessions::{knows, upstream_session};
use crate::contract::stage::{SIDES, Side, Stage, Transport, reference_server};
use crate::contract::wire::{Response, send};
use crate::contract::{each, eventually};
use crate::support::{Folder, Running};

/// A GET that comes back for what was missed after `event`.
fn resume(client: &Client, event: &str) -> Response {
    let mut headers = client.headers("", None);
    headers.retain(|(name, _)| name != "content-type" && name != "accept");
    headers.extend(
        [("accept", "text/event-stream"), ("last-event-id", event)]
            .map(|(name, value)| (name.to_owned(), value.to_owned())),
    );
    send(client.address, "GET", &headers, b"")
}

/// A15, A19: the server hangs up in mid-call; the client comes back with the last event id and gets its answer. The ids are ours,
/// sealed to caller and session.
#[test]
fn a_stream_the_server_closed_is_picked_up_where_it_ended() {
    let stage = Stage::new(SIDES[0]);
    assert_eq!((stage.side.era, stage.side.transport), (Era::Legacy, Transport::Http));
    let (client, other) = (stage.client(), stage.client());
    let mut exchange = client.open_call("test_reconnection", json!({}));
    let mut last = None;
    while let Some(event) = exchange.response.any_event() {
        assert!(event.data.is_empty(), "the answer waits for us: {event:?}");
        last = event.id.or(last);
    }
    let last = last.expect("a priming event with an id");
    assert_eq!(resume(&other, &last).status, 404, "another session's event ids are unknown here");
    assert_eq!(resume(&client, "made-up").status, 404);
    let mut resumed = resume(&client, &last);
    assert_eq!(resumed.status, 200);
    let answer = resumed.message().expect("the answer");
    assert_eq!(
        (&answer["id"], &answer["result"]["content"][0]["text"]),
        (&exchange.id, &json!("Reconnection test completed"))
    );
    stage.finish();
}

/// Open calls and streams when the gateway is asked to stop: calls get an answer with their id, streams end, the log is whole.
#[test]
fn a_stopping_gateway_answers_what_is_open() {
    each(SIDES, |side| {
        eprintln!("{side:?}");
        let folder = Folder::new();
        folder.write("portcullis.yaml", "timeouts: { drain_seconds: 1 }\n");
        let mut stage = Stage::start(side, folder, &["--config", "portcullis.yaml"]);
        let client = stage.client();
        let mut stream = client.listen(json!({ "toolsListChanged": true }));
        let mut exchange = client.open_watched("t", "wait_for_cancel", json!({}));
        assert_eq!(exchange.next().unwrap()["method"], "notifications/progress");
        stage.gateway.signal("INT");
        let answer = exchange.last();
        assert_eq!(answer["error"]["data"]["code"], "shutting_down", "{answer}");
        while stream.message().is_some() {}
        stage.gateway.wait_for("the log is complete");
        let log = stage.ended();
        let (_, outcome) = log.call_of("wait_for_cancel");
        assert_eq!(outcome["code"], "shutting_down", "{outcome}");
    });
}

/// A call that ends in time is not cut by a drain.
#[test]
fn a_call_that_ends_within_the_drain_gets_its_result() {
    each(SIDES, |side| {
        let stage = Stage::new(side);
        let client = stage.client();
        let mut exchange = client.open_watched("t", "slow", json!({ "steps": 10, "step_ms": 50 }));
        exchange.next().unwrap();
        stage.gateway.signal("INT");
        assert_eq!(exchange.last()["result"]["content"][0]["text"], "10 steps done");
        stage.ended();
    });
}

/// A gateway that goes takes its sessions at the server with it.
#[test]
fn a_stopped_gateway_leaves_no_session_at_the_server() {
    let mut stage = Stage::new(SIDES[0]);
    let client = stage.client();
    let (server, session) = (stage.server.unwrap(), upstream_session(&client));
    assert!(knows(server, &client, &session));
    stage.gateway.signal("INT");
    stage.gateway.wait_for("the log is complete");
    assert!(!knows(server, &client, &session));
}

/// A server that answers with plain JSON keeps doing so through the gateway; one without sessions gets none, and its client has one of ours.
#[test]
fn a_server_of_plain_json_without_sessions_is_served_as_it_is() {
    each([Era::Legacy, Era::Modern], |era| {
        let mut server = Running::spawn(Command::new(reference_server()).args(["http", "--json", "--era", era.word()]));
        let line = server.wait_for("listening on http://");
        let folder = Folder::new();
        let (_gateway, address) = Running::gateway(&folder, &["--upstream", line.split_whitespace().last().unwrap()]);
        let client = Client::connect(address, era);
        assert_eq!(client.session.is_some(), era == Era::Legacy);
        let mut exchange = client.open_call("echo", json!({ "text": "plain" }));
        assert_eq!(exchange.response.header("content-type"), Some("application/json"));
        assert_eq!(exchange.next().unwrap()["result"]["content"][0]["text"], "plain");
        if era == Era::Legacy {
            assert!((200..300).contains(&client.delete()));
            assert_eq!(client.open_call("echo", json!({ "text": "x" })).response.status, 404);
        }
    });
}

/// Connections on which nothing is under way hold up nobody: the drain would wait ten minutes, and the test does not.
#[test]
fn idle_connections_do_not_hold_up_a_stop() {
    let folder = Folder::new();
    folder.write("portcullis.yaml", "timeouts: { drain_seconds: 600, header_seconds: 600 }\n");
    let stage = Stage::start(SIDES[0], folder, &["--config", "portcullis.yaml"]);
    let _silent = TcpStream::connect(stage.address).unwrap();
    let mut served = TcpStream::connect(stage.address).unwrap();
    served.write_all(format!("GET /nothing HTTP/1.1\r\nhost: {}\r\n\r\n", stage.address).as_bytes()).unwrap();
    let mut first = [0; 12];
    served.read_exact(&mut first).unwrap();
    assert_eq!(&first, b"HTTP/1.1 404");
    stage.finish();
}

/// B7, A24: the server forgot the session; the client hears 404, initializes again, and goes on.
#[test]
fn a_server_that_restarts_is_found_again() {
    for era in [Era::Legacy, Era::Modern] {
        let start = |listen: &str| {
            let mut server = Running::spawn(Command::new(reference_server()).args([
                "http",
                "--era",
                era.word(),
                "--listen",
                listen,
            ]));
            let line = server.wait_for("listening on http://");
            (server, line.split("http://").nth(1).unwrap().split('/').next().unwrap().to_owned())
        };
        let folder = Folder::new();
        let (server, place) = start("127.0.0.1:0");
        let (_gateway, address) = Running::gateway(&folder, &["--upstream", &format!("http://{place}/mcp")]);
        let client = Client::connect(address, era);
        assert_eq!(client.text("echo", json!({ "text": "before" })), "before");
        drop(server);
        let down = client.open_call("echo", json!({ "text": "x" })).last();
        let code = down["error"]["data"]["code"].as_str().unwrap().to_owned();
        assert!(["upstream_unreachable", "upstream_died"].contains(&code.as_str()), "{down}");
        let _server = start(&place);
        match era {
            Era::Legacy => {
                let lost = client.open_call("echo", json!({ "text": "x" }));
                assert_eq!(lost.response.status, 404, "this makes a client initialize again");
                let again = Client::connect(address, era);
                assert_eq!(again.text("echo", json!({ "text": "after" })), "after");
            }
            Era::Modern => assert_eq!(client.text("echo", json!({ "text": "after" })), "after"),
        }
    }
}

/// Many callers at once, all with the same ids: everybody gets their own.
#[test]
fn a_crowd_with_equal_ids_gets_its_own_answers() {
    const CALLERS: usize = 12;
    const CALLS: usize = 8;
    for side in SIDES {
        let stage = Stage::new(side);
        std::thread::scope(|scope| {
            for caller in 0..CALLERS {
                let address = stage.address;
                scope.spawn(move || {
                    let client = Client::connect(address, side.era);
                    for call in 0..CALLS {
                        let text = format!("caller {caller} call {call}");
                        let params =
                            json!({ "name": "echo", "arguments": { "text": text }, "_meta": { "progressToken": "t" } });
                        let answer = client.open_as(json!(call), "tools/call", params).last();
                        assert_eq!(answer["result"]["content"][0]["text"], text, "{answer}");
                    }
                });
            }
        });
        let log = stage.finish();
        let calls = log.calls(|intent| intent["method"] == "tools/call");
        assert_eq!(calls.len(), CALLERS * CALLS);
        assert!(calls.iter().all(|(_, outcome)| outcome["status"] == "answered"));
    }
}

/// A26, I30: session ids open sessions; arguments and results are other people's. None of them is written anywhere.
#[test]
fn neither_session_ids_nor_contents_are_written_down() {
    each(SIDES, |side| {
        let stage = Stage::new(side);
        let client = stage.client();
        client.text("echo", json!({ "text": "the-content-of-a-call" }));
        let mut secrets = vec!["the-content-of-a-call".to_owned()];
        secrets.extend(client.session.clone());
        if side.transport.is_http() && side.era == Era::Legacy {
            let seen = client.call("headers_seen", json!({}));
            let headers = seen["structuredContent"]["headers"].as_array().unwrap().clone();
            secrets.extend(
                headers
                    .iter()
                    .filter(|pair| pair[0] == "mcp-session-id")
                    .map(|pair| pair[1].as_str().unwrap().to_owned()),
            );
            assert_eq!(secrets.len(), 3);
        }
        let (said, log) = stage.finish_saying();
        let written = Value::Array(log.entries).to_string() + &said;
        for secret in &secrets {
            assert!(!written.contains(secret.as_str()), "{side:?}: `{secret}` was written down");
        }
    });
}

/// A client that leaves a legacy call alone does not end it (A17); the log says that nobody heard the answer, or that it ran on.
#[test]
fn a_call_whose_client_left_still_has_one_outcome() {
    each(SIDES, |side| {
        let stage = Stage::new(side);
        let client = stage.client();
        let mut exchange = client.open_watched("t", "slow", json!({ "steps": 3, "step_ms": 100 }));
        exchange.next().unwrap();
        exchange.response.hang_up();
        let outcome = eventually("the outcome", || {
            let log = crate::contract::stage::Log::read(&stage.folder);
            log.calls(|intent| intent["name"] == "slow").first().map(|(_, outcome)| (*outcome).clone())
        });
        let expected = match side {
            Side { era: Era::Modern, .. } => ["abandoned"].as_slice(),
            // What a resumable stream is worth, only its client can say.
            Side { era: Era::Legacy, .. } => &["answered", "abandoned", "ended"],
        };
        assert!(expected.contains(&outcome["status"].as_str().unwrap()), "{side:?}: {outcome}");
        stage.finish();
    });
}
