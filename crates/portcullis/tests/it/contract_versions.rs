//! The older revisions of the legacy era: negotiated, served, and each with its own rules where they differ.

use serde_json::{Value, json};

use crate::contract::client::{Client, Era};
use crate::contract::stage::{SIDES, Stage};
use crate::contract::wire::{Response, send};

/// A session that asked for `version`; gives the version it got.
fn session(stage: &Stage, version: &str) -> (Client, String) {
    let mut client = Client::unconnected(stage.address, Era::Legacy);
    let hello =
        json!({ "protocolVersion": version, "capabilities": {}, "clientInfo": { "name": "old", "version": "1" } });
    let exchange = client.open("initialize", hello);
    let session = exchange.response.header("mcp-session-id").expect("a session").to_owned();
    let greeting = exchange.last();
    client.session = Some(session);
    (client, greeting["result"]["protocolVersion"].as_str().unwrap_or_else(|| panic!("{greeting}")).to_owned())
}

/// A body in a session of `version`; 2025-03-26 has no version header.
fn post(client: &Client, version: &str, body: &Value) -> Response {
    let mut headers = client.headers("", None);
    headers.retain(|(name, _)| name != "mcp-protocol-version");
    if version != "2025-03-26" {
        headers.push(("mcp-protocol-version".to_owned(), version.to_owned()));
    }
    send(client.address, "POST", &headers, body.to_string().as_bytes())
}

fn call(id: u64) -> Value {
    json!({ "jsonrpc": "2.0", "id": id, "method": "tools/call", "params": { "name": "echo", "arguments": { "text": format!("call {id}") } } })
}

fn legacy_stages() -> impl Iterator<Item = Stage> {
    SIDES.into_iter().filter(|side| side.era == Era::Legacy).map(|side| {
        eprintln!("{side:?}");
        Stage::new(side)
    })
}

pub(crate) fn every_legacy_revision_is_negotiated_and_served(stage: &Stage) {
    if stage.side.era == Era::Modern {
        return;
    }
    for version in ["2025-03-26", "2025-06-18", "2025-11-25"] {
        let (client, agreed) = session(stage, version);
        assert_eq!(agreed, version);
        let ready = json!({ "jsonrpc": "2.0", "method": "notifications/initialized" });
        assert_eq!(post(&client, version, &ready).status, 202);
        let mut response = post(&client, version, &call(7));
        let answer = std::iter::from_fn(|| response.message()).last().expect("an answer");
        assert_eq!(answer["result"]["content"][0]["text"], "call 7", "{answer}");
        let other = if version == "2025-11-25" { "2025-06-18" } else { "2025-11-25" };
        assert_eq!(post(&client, other, &call(8)).status, 400, "another version than the one agreed on");
    }
}

/// A31: a client that only knows newer words is answered in the newest ones that have a handshake.
pub(crate) fn unknown_and_modern_revisions_are_negotiated_down(stage: &Stage) {
    if stage.side.era == Era::Modern {
        return;
    }
    for version in ["2026-07-28", "2031-01-01", "1999-01-01"] {
        let (_, agreed) = session(stage, version);
        assert_eq!(agreed, "2025-11-25", "asked for {version}");
    }
}

/// A7: batches exist in 2025-03-26 and nowhere else; each item is a call of its own in the log.
#[test]
fn a_batch_is_taken_apart_in_the_one_revision_that_has_them() {
    for stage in legacy_stages() {
        let batch = json!([call(1), { "jsonrpc": "2.0", "method": "notifications/initialized" }, call(2)]);
        let (client, _) = session(&stage, "2025-03-26");
        let mut response = post(&client, "2025-03-26", &batch);
        assert_eq!(response.status, 200);
        let mut answers: Vec<Value> = std::iter::from_fn(|| response.message())
            .flat_map(|message| message.as_array().cloned().unwrap_or_else(|| vec![message]))
            .filter(|message| message.get("id").is_some())
            .collect();
        answers.sort_by_key(|answer| answer["id"].as_u64());
        assert_eq!(answers.len(), 2, "{answers:#?}");
        for (answer, id) in answers.iter().zip([1, 2]) {
            assert_eq!(answer["result"]["content"][0]["text"], format!("call {id}"), "{answer}");
        }
        let (newer, _) = session(&stage, "2025-06-18");
        assert_eq!(post(&newer, "2025-06-18", &batch).status, 400);
        let log = stage.finish();
        assert_eq!(log.calls(|intent| intent["method"] == "tools/call").len(), 2);
    }
}
