//! Legal JSON goes through byte for byte, both ways; the few edits there are (documented splices) change nothing around them.

use serde_json::{Value, json};

use crate::contract::client::{Client, Era};
use crate::contract::peer::{Peer, STREAM, json_answer, say};
use crate::contract::stage::{SIDES, Stage, Transport};
use crate::support::{Folder, Running};

/// What a tidy library would change: key order, white space, escapes, number forms, unknown members, unusual Unicode.
const ODD: &str = r#"{ "zeta" :1.0E+2,"alpha": -0,"big":123456789012345678901234567890, "exact":9007199254740993,"tiny":1e-5,
	"escaped":"\u0041\/\u00e9\ud83d\ude00\u0000", "plain":"é😀e\u0301\uffff", "":{"":[ ]}, "nested":[[],{ },null , true]}"#;

fn meta(era: Era) -> &'static str {
    match era {
        Era::Legacy => r#"{"vendor/key" : 1.50}"#,
        Era::Modern => {
            r#"{ "io.modelcontextprotocol/clientCapabilities":{ },"vendor/key" : 1.50,"io.modelcontextprotocol/protocolVersion" : "2026-07-28"}"#
        }
    }
}

/// A call as odd as it may legally be.
fn odd_call(era: Era, tool: &str) -> String {
    let meta = meta(era);
    format!(
        "{{\"id\" : \"\\u0069d\",\"method\":\"tools\\/call\",\r\n \"params\":{{\"_meta\":{meta},\"arguments\":{ODD} , \"name\":\"{tool}\"}},\t\"jsonrpc\":\"2.0\"}}"
    )
}

fn send(client: &Client, tool: &str, headers: &[(&str, &str)], body: &str) -> String {
    let mut response = client.send_raw("tools/call", Some(tool), headers, body);
    assert_eq!(response.status, 200);
    loop {
        let text = response.raw_message().expect("a response");
        if serde_json::from_str::<Value>(&text).unwrap().get("id").is_some() {
            return text;
        }
    }
}

/// The body that an HTTP server really got.
fn body_seen(client: &Client, headers: &[(&str, &str)], body: &str) -> String {
    let answer: Value = serde_json::from_str(&send(client, "raw_bytes_seen", headers, body)).unwrap();
    let seen = &answer["result"]["structuredContent"];
    seen["body"].as_str().unwrap_or_else(|| panic!("{answer}")).to_owned()
}

#[test]
fn the_server_gets_the_bytes_the_client_sent() {
    for side in SIDES.into_iter().filter(|side| side.transport == Transport::Http) {
        let stage = Stage::new(side);
        let client = stage.client();
        let body = odd_call(side.era, "raw_bytes_seen");
        assert_eq!(body_seen(&client, &[], &body), body);
        stage.finish();
    }
}

/// The trace context is spliced into `_meta`; every other byte stays.
#[test]
fn a_trace_context_changes_only_its_own_place() {
    for side in SIDES.into_iter().filter(|side| side.transport == Transport::Http) {
        let stage = Stage::new(side);
        let client = stage.client();
        let parent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
        let body = odd_call(side.era, "raw_bytes_seen");
        let seen = body_seen(&client, &[("traceparent", parent)], &body);
        let (before, after) = unchanged(&body, &seen);
        assert_eq!(before + after, body.len(), "nothing of the client's was taken out: {seen}");
        let inserted = &seen[before..seen.len() - after];
        assert!(inserted.contains("4bf92f3577b34da6a3ce929d0e0e4736") && inserted.len() < 120, "{inserted:?}");
        stage.finish();
    }
}

/// A legacy message loses the members by which a dual-era server would take it for a modern one (C22), and nothing else.
#[test]
fn reserved_members_are_cut_out_of_a_legacy_message_and_the_rest_stays() {
    let side = SIDES[0];
    assert_eq!((side.era, side.transport), (Era::Legacy, Transport::Http));
    let stage = Stage::new(side);
    let client = stage.client();
    let plain = odd_call(side.era, "raw_bytes_seen");
    let reserved = r#""io.modelcontextprotocol/clientInfo": { "name":"x","version":"1" },"#;
    let body = plain.replace(r#"{"vendor/key""#, &format!(r#"{{{reserved}"vendor/key""#));
    assert_eq!(body.len(), plain.len() + reserved.len());
    assert_eq!(body_seen(&client, &[], &body), plain);
    stage.finish();
}

/// How many bytes are the same from the front, and from the back of what is left.
fn unchanged(sent: &str, seen: &str) -> (usize, usize) {
    let before = sent.bytes().zip(seen.bytes()).take_while(|(a, b)| a == b).count();
    let most = sent.len().min(seen.len()) - before;
    let after = sent.bytes().rev().zip(seen.bytes().rev()).take(most).take_while(|(a, b)| a == b).count();
    (before, after)
}

/// A child that answers with the very line it read. What a modern child reads has our own id and token in place of the caller's.
const CHILD: &str = r#"
import json, sys
for line in sys.stdin:
    message = json.loads(line)
    era = sys.argv[1]
    if "id" not in message: continue
    method, result = message["method"], None
    if method == "initialize" and era == "legacy":
        result = {"protocolVersion": "2025-11-25", "capabilities": {"tools": {}}, "serverInfo": {"name": "c", "version": "1"}}
    elif method == "server/discover" and era == "modern":
        result = {"resultType": "complete", "supportedVersions": ["2026-07-28"], "capabilities": {"tools": {}}, "ttlMs": 0, "cacheScope": "private"}
    elif method == "tools/list":
        result = {"resultType": "complete", "tools": [{"name": "line", "inputSchema": {"type": "object"}}], "ttlMs": 0, "cacheScope": "private"}
    elif method == "tools/call":
        result = {"resultType": "complete", "content": [{"type": "text", "text": line}]}
    answer = {"jsonrpc": "2.0", "id": message["id"]}
    answer.update({"result": result} if result is not None else {"error": {"code": -32601, "message": "no"}})
    print(json.dumps(answer), flush=True)
"#;

#[test]
fn a_child_gets_the_bytes_the_client_sent_on_one_line() {
    for era in [Era::Legacy, Era::Modern] {
        let folder = Folder::new();
        folder.write("child.py", CHILD);
        let (_gateway, address) = Running::gateway(&folder, &["--", "python3", "child.py", era.word()]);
        let client = Client::connect(address, era);
        // Line breaks outside of strings are white space, and would end the line.
        let body = odd_call(era, "line").replace(['\r', '\n'], " ");
        let answer: Value = serde_json::from_str(&send(&client, "line", &[], &body)).unwrap();
        assert_eq!(answer["id"], "id");
        let line = answer["result"]["content"][0]["text"].as_str().unwrap().trim_end_matches('\n').to_owned();
        match era {
            Era::Legacy => assert_eq!(line, body),
            Era::Modern => {
                let own: Value = serde_json::from_str(&line.replace("123456789012345678901234567890", "0")).unwrap();
                assert_eq!(line, body.replacen(r#""\u0069d""#, &own["id"].to_string(), 1), "only the id is ours");
            }
        }
    }
}

/// A message over several lines is legal, and a child still reads one line.
#[test]
fn a_message_over_several_lines_reaches_a_child_whole() {
    for era in [Era::Legacy, Era::Modern] {
        let folder = Folder::new();
        folder.write("child.py", CHILD);
        let (_gateway, address) = Running::gateway(&folder, &["--", "python3", "child.py", era.word()]);
        let client = Client::connect(address, era);
        let answer: Value = serde_json::from_str(&send(&client, "line", &[], &odd_call(era, "line"))).unwrap();
        let line = answer["result"]["content"][0]["text"].as_str().unwrap();
        assert!(line.contains(r#""exact":9007199254740993,"tiny":1e-5,"#), "{line}");
    }
}

#[test]
fn the_client_gets_the_bytes_the_server_sent() {
    for era in [Era::Legacy, Era::Modern] {
        let result = format!(
            "{{\"resultType\":\"complete\", \"content\" : [ ],\"vendor\":{} ,\"structuredContent\":{{}}}}",
            ODD.replace(['\r', '\n'], " ")
        );
        let answer = format!("{{ \"result\":{result}, \"id\":77 ,\"jsonrpc\":\"2.0\" }}");
        let note =
            r#"{"params":{"progress":1.50,"progressToken":"t" },"method":"notifications\/progress","jsonrpc":"2.0"}"#;
        let (as_json, as_event) = (json_answer(&answer), format!("{STREAM}data: {note}\n\ndata: {answer}\n\n"));
        let peer = Peer::start(era, move |heard, socket| {
            let streamed = heard.body.contains("stream");
            say(socket, if streamed { &as_event } else { &as_json }) && !streamed
        });
        let folder = Folder::new();
        let (_gateway, address) = Running::gateway(&folder, &["--upstream", &peer.url()]);
        let client = Client::connect(address, era);
        for arguments in [json!({}), json!({ "stream": true })] {
            let params = json!({ "name": "play", "arguments": arguments, "_meta": { "progressToken": "t" } });
            let mut exchange = client.open_as(json!(77), "tools/call", params);
            let got: Vec<_> = std::iter::from_fn(|| exchange.response.raw_message()).collect();
            assert_eq!(got.last(), Some(&answer));
            assert_eq!(got.len() == 2, exchange.response.is_stream(), "the media type is kept");
            assert!(got.len() == 1 || got[0] == note);
        }
    }
}
