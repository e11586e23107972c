//! Servers that are down, hang, lie, flood or die, behind the real binary: the client always gets an answer with its id or a closed
//! stream, nothing hangs, and the log says what happened.

use std::io::Write;
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::{Value, json};

use crate::contract::client::{Client, Era};
use crate::contract::each;
use crate::contract::peer::{Heard, Peer, STREAM, event, json_answer, say};
use crate::contract::stage::Log;
use crate::contract::wire::send;
use crate::support::{Folder, Running};

const ERAS: [Era; 2] = [Era::Legacy, Era::Modern];
/// Long enough for a busy machine to answer at all, short enough to wait for.
const PATIENCE_MS: u64 = 1500;

/// A gateway with short time limits in front of `url`.
fn gateway(era: Era, url: &str) -> (Folder, Running, Client) {
    let folder = Folder::new();
    // Each failure is to be met by itself; what many of them lead to is the breaker's own matter.
    let config = format!(
        "upstream:\n  breaker: {{ enabled: false }}\n  http:\n    url: {url}\n    era: {}\n    connect_timeout_ms: {PATIENCE_MS}\n    first_byte_timeout_ms: {PATIENCE_MS}\n    idle_timeout_ms: {PATIENCE_MS}\n",
        era.word(),
    );
    folder.write("portcullis.yaml", &config);
    let (gateway, address) = Running::gateway(&folder, &["--config", "portcullis.yaml"]);
    (folder, gateway, Client::unconnected(address, era))
}

fn ended(folder: &Folder, mut gateway: Running) -> Log {
    gateway.signal("INT");
    assert!(gateway.end().success(), "{:#?}", gateway.said);
    Log::of(folder)
}

/// One call of a server that plays `play`, in both eras: the messages the client got, and the entry of the call.
fn played(
    play: impl Fn(&Heard, &mut TcpStream) -> bool + Clone + Send + Sync + 'static,
    check: impl Fn(Vec<Value>, &Value, &Value) + Sync,
) {
    each(ERAS, |era| {
        eprintln!("{era:?}");
        let peer = Peer::start(era, play.clone());
        let (folder, gateway, client) = gateway(era, &peer.url());
        let client = Client::connect(client.address, era);
        let mut exchange = client.open_watched("t", "play", json!({}));
        let id = exchange.id.clone();
        let messages: Vec<_> = std::iter::from_fn(|| exchange.next()).collect();
        let last = messages.last().expect("an answer");
        assert_eq!(last["id"], id, "the last message is the answer, with its id: {messages:#?}");
        // The gateway is as well as before.
        client.result("tools/list", json!({}));
        let log = ended(&folder, gateway);
        let (intent, outcome) = log.call_of("play");
        check(messages, intent, outcome);
    });
}

/// The client is told of a failure, under `code`, and the log has the same code.
fn fails(code: &'static str, play: impl Fn(&Heard, &mut TcpStream) -> bool + Clone + Send + Sync + 'static) {
    played(play, |messages, _, outcome| {
        let last = messages.last().unwrap();
        assert_eq!(last["error"]["data"]["code"], code, "{last}");
        assert_eq!(last["error"]["code"], -32603, "{last}");
        assert_eq!((&outcome["status"], &outcome["code"]), (&json!("failed"), &json!(code)), "{outcome}");
    });
}

/// As [`fails`], for many answers of one server; each comes with its code. It hangs up after each and says so: a connection that ends
/// without a word can take the next call with it, with any server.
fn all_fail(answers: Vec<(&'static str, String)>) {
    each(ERAS, |era| {
        let said: Vec<_> =
            answers.iter().map(|(_, answer)| answer.replacen("\r\n", "\r\nconnection: close\r\n", 1)).collect();
        let peer = Peer::start(era, move |heard, socket| {
            let number = heard.message["params"]["arguments"]["number"].as_u64().unwrap();
            say(socket, &said[usize::try_from(number).unwrap()]);
            false
        });
        let (folder, gateway, client) = gateway(era, &peer.url());
        let client = Client::connect(client.address, era);
        for (number, (code, said)) in answers.iter().enumerate() {
            let answer = client.open_call("play", json!({ "number": number })).last();
            let rpc = if *code == "upstream_throttled" { -31429 } else { -32603 };
            assert_eq!(
                (&answer["error"]["data"]["code"], &answer["error"]["code"]),
                (&json!(code), &json!(rpc)),
                "{era:?} {said:?}"
            );
        }
        let log = ended(&folder, gateway);
        let codes: Vec<_> =
            log.calls(|intent| intent["name"] == "play").iter().map(|(_, outcome)| outcome["code"].clone()).collect();
        assert_eq!(codes, answers.iter().map(|(code, _)| json!(code)).collect::<Vec<_>>());
    });
}

#[test]
fn a_server_that_is_down_is_unreachable() {
    each(ERAS, |era| {
        let place = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let (folder, gateway, client) = gateway(era, &format!("http://{place}/mcp"));
        let (method, params) = match era {
            Era::Legacy => {
                let info = json!({ "name": "test", "version": "1" });
                ("initialize", json!({ "protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": info }))
            }
            Era::Modern => ("tools/call", json!({ "name": "play", "arguments": {} })),
        };
        let answer = client.open(method, params).last();
        assert_eq!(answer["error"]["data"]["code"], "upstream_unreachable", "{answer}");
        let log = ended(&folder, gateway);
        let calls = log.calls(|intent| intent["method"] == method);
        assert_eq!(calls[0].1["code"], "upstream_unreachable", "{calls:#?}");
    });
}

#[test]
fn a_server_that_hangs_is_timed_out() {
    fails("upstream_timed_out", |_, socket| {
        // Until the gateway gives up; what it then does to the socket is its business.
        let _ = std::io::copy(socket, &mut std::io::sink());
        false
    });
}

#[test]
fn a_stream_that_goes_silent_is_timed_out() {
    fails("upstream_timed_out", |heard, socket| {
        say(socket, &format!("{STREAM}{}", event(&heard.progress(1, "and then"))));
        let _ = std::io::copy(socket, &mut std::io::sink());
        false
    });
}

#[test]
fn garbage_is_said_to_be_garbage() {
    let answers = [
        "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 9\r\n\r\n{garbage}".to_owned(),
        "HTTP/1.1 200 OK\r\ncontent-type: text/html\r\ncontent-length: 6\r\n\r\n<html>".to_owned(),
        "HTTP/1.1 500 X\r\ncontent-type: text/html\r\ncontent-length: 6\r\n\r\n<html>".to_owned(),
        "\0\0\0garbage\r\n\r\n".to_owned(),
        format!("{STREAM}data: {{not json\n\n"),
        json_answer("[]"),
    ];
    all_fail(answers.map(|answer| ("upstream_garbage", answer)).into());
}

#[test]
fn an_answer_that_says_one_thing_twice_is_garbage() {
    fails("upstream_garbage", |heard, socket| {
        let twice =
            format!(r#"{{"jsonrpc":"2.0","id":{},"result":{{"content":[]}},"result":{{"content":[]}}}}"#, heard.id());
        say(socket, &json_answer(&twice))
    });
}

#[test]
fn half_an_event_and_then_the_end_is_a_death() {
    fails("upstream_died", |heard, socket| {
        let whole = heard.result("never whole").to_string();
        say(socket, &format!("{STREAM}data: {}", &whole[..whole.len() / 2]));
        false
    });
}

#[test]
fn a_death_in_mid_stream_is_told_after_what_came_before() {
    played(
        |heard, socket| {
            say(socket, &format!("{STREAM}{}{}", event(&heard.progress(1, "a")), event(&heard.progress(2, "b"))));
            false
        },
        |messages, _, outcome| {
            assert_eq!(messages.len(), 3, "{messages:#?}");
            assert_eq!(messages[1]["params"]["message"], "b");
            assert_eq!(messages[2]["error"]["data"]["code"], "upstream_died");
            assert_eq!(outcome["code"], "upstream_died", "{outcome}");
        },
    );
}

#[test]
fn an_endless_event_is_cut_at_the_limit() {
    fails("upstream_too_large", |_, socket| {
        say(socket, STREAM);
        let line = format!("data: {}\n", "more and ".repeat(1000));
        while say(socket, &line) {}
        false
    });
}

#[test]
fn an_endless_document_is_cut_at_the_limit() {
    fails("upstream_too_large", |_, socket| {
        say(socket, "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n\r\n{\"x\":\"");
        let more = "x".repeat(10_000);
        while say(socket, &more) {}
        false
    });
}

#[test]
fn of_two_answers_to_one_id_the_first_counts() {
    played(
        |heard, socket| {
            say(socket, &format!("{STREAM}{}{}", event(&heard.result("first")), event(&heard.result("second"))));
            false
        },
        |messages, _, outcome| {
            assert_eq!(messages.len(), 1, "{messages:#?}");
            assert_eq!(messages[0]["result"]["content"][0]["text"], "first");
            assert_eq!(outcome["status"], "answered", "{outcome}");
        },
    );
}

#[test]
fn an_answer_to_nobodys_id_goes_nowhere_and_is_noted() {
    played(
        |heard, socket| {
            let nobody = json!({ "jsonrpc": "2.0", "id": "nobody", "result": { "content": [] } });
            say(socket, &format!("{STREAM}{}{}", event(&nobody), event(&heard.result("right"))));
            false
        },
        |messages, _, outcome| {
            assert_eq!(messages.len(), 1, "{messages:#?}");
            assert_eq!(messages[0]["result"]["content"][0]["text"], "right");
            let findings = outcome["findings"].as_array().unwrap_or_else(|| panic!("{outcome}"));
            assert!(findings.iter().any(|finding| finding["code"] == "upstream_answer_unmatched"), "{outcome}");
        },
    );
    fails("upstream_answer_unmatched", |_, socket| {
        say(socket, &json_answer(r#"{"jsonrpc":"2.0","id":"nobody","result":{"content":[]}}"#))
    });
}

#[test]
fn ten_thousand_notifications_pass_in_order_and_in_little_memory() {
    const COUNT: usize = 10_000;
    each(ERAS, |era| {
        let peer = Peer::start(era, |heard, socket| {
            say(socket, STREAM);
            for step in 1..=COUNT {
                if !say(socket, &event(&heard.progress(step, "x"))) {
                    return false;
                }
            }
            say(socket, &event(&heard.result("done")));
            false
        });
        let (folder, gateway, client) = gateway(era, &peer.url());
        let client = Client::connect(client.address, era);
        let before = gateway.resident();
        let mut exchange = client.open_watched("t", "play", json!({}));
        for step in 1..=COUNT {
            let message = exchange.next().unwrap();
            assert_eq!(message["params"]["progress"], step, "{message}");
        }
        assert_eq!(exchange.next().unwrap()["result"]["content"][0]["text"], "done");
        let grown = gateway.resident().saturating_sub(before);
        assert!(grown < 64 << 20, "{grown} bytes more");
        let log = ended(&folder, gateway);
        let (_, outcome) = log.call_of("play");
        assert_eq!(outcome["messages"], COUNT + 1, "{outcome}");
    });
}

/// A call that reached the server is never sent again, whatever happened to its connection (field notes: executed up to four times).
#[test]
fn a_call_whose_connection_dies_is_executed_once() {
    each(ERAS, |era| {
        let executed = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&executed);
        let peer = Peer::start(era, move |_, _| {
            count.fetch_add(1, Ordering::SeqCst);
            false
        });
        let (folder, gateway, client) = gateway(era, &peer.url());
        let client = Client::connect(client.address, era);
        // The connection has served before, so that a client library might think of a stale one and try again.
        client.result("tools/list", json!({}));
        let answer = client.open_call("play", json!({})).last();
        assert_eq!(answer["error"]["data"]["code"], "upstream_died", "{answer}");
        assert_eq!(executed.load(Ordering::SeqCst), 1);
        assert_eq!(ended(&folder, gateway).call_of("play").1["code"], "upstream_died");
    });
}

/// A client that reads nothing of a flood of 200 MB holds up its server, not our memory.
#[test]
fn a_reader_that_does_not_read_slows_the_server_and_fills_no_memory() {
    const FLOOD: usize = 200 << 20;
    each(ERAS, |era| {
        let written = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&written);
        let peer = Peer::start(era, move |heard, socket| {
            say(socket, STREAM);
            let text = event(&heard.progress(1, &"x".repeat(100_000)));
            while count.load(Ordering::SeqCst) < FLOOD && socket.write_all(text.as_bytes()).is_ok() {
                count.fetch_add(text.len(), Ordering::SeqCst);
            }
            false
        });
        let (_folder, gateway, client) = gateway(era, &peer.url());
        let client = Client::connect(client.address, era);
        let before = gateway.resident();
        let exchange = client.open_watched("t", "play", json!({}));
        // The flood stands still once every buffer on the way is full.
        let mut last = usize::MAX;
        crate::contract::eventually("the server to be held up", || {
            let now = written.load(Ordering::SeqCst);
            let still = now > 0 && now == last;
            last = now;
            std::thread::sleep(std::time::Duration::from_millis(500));
            still.then_some(())
        });
        assert!(last < FLOOD / 2, "{last} bytes were taken of a flood nobody reads");
        let grown = gateway.resident().saturating_sub(before);
        assert!(grown < 48 << 20, "{grown} bytes more");
        exchange.response.hang_up();
        // Others are served meanwhile and afterwards.
        client.result("tools/list", json!({}));
    });
}

/// No status of the server goes through as such: a 401 is ours to explain, a 404 is no end of anybody's session.
#[test]
fn statuses_of_the_server_become_errors_with_the_id() {
    let statuses = [
        (401, "upstream_unauthorized"),
        (403, "upstream_unauthorized"),
        (307, "upstream_garbage"),
        (429, "upstream_throttled"),
        (503, "upstream_unreachable"),
    ];
    let answer = |status| format!("HTTP/1.1 {status} X\r\nlocation: http://127.0.0.1:1/\r\ncontent-length: 0\r\n\r\n");
    all_fail(statuses.map(|(status, code)| (code, answer(status))).into());
}

/// A11: a server without a standing stream is no reason to offer one.
#[test]
fn a_get_that_the_server_does_not_take_is_not_taken() {
    let peer = Peer::start(Era::Legacy, |_, _| false);
    let (_folder, _gateway, client) = gateway(Era::Legacy, &peer.url());
    let client = Client::connect(client.address, Era::Legacy);
    let mut headers = client.headers("", None);
    headers.retain(|(name, _)| name != "content-type");
    assert_eq!(send(client.address, "GET", &headers, b"").status, 405);
}

/// A drain does not wait for a reader that does not read.
#[test]
fn a_reader_that_does_not_read_does_not_hold_up_a_stop() {
    each(ERAS, |era| {
        let peer = Peer::start(era, |heard, socket| {
            say(socket, STREAM);
            let text = event(&heard.progress(1, &"x".repeat(100_000)));
            while say(socket, &text) {}
            false
        });
        let folder = Folder::new();
        folder.write("portcullis.yaml", "timeouts: { drain_seconds: 1 }\n");
        let (gateway, address) = Running::gateway(&folder, &["--config", "portcullis.yaml", "--upstream", &peer.url()]);
        let client = Client::connect(address, era);
        let _unread = client.open_watched("t", "play", json!({}));
        let begun = std::time::Instant::now();
        ended(&folder, gateway);
        // Far more than the drain and the last waits together.
        assert!(begun.elapsed() < std::time::Duration::from_secs(30), "{:?}", begun.elapsed());
    });
}
