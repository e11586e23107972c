//! W3C trace context (SEP-414): parsed from headers and `_meta`, a span of our own per hop, carried up in both places, in the log.

use serde_json::{Value, json};

use crate::contract::client::{Client, Era};
use crate::contract::stage::{SIDES, Side, Stage, Transport};

const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const PARENT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
const STATE: &str = "rojo=00f067aa0ba902b7,congo=t61rcWkgMzE";

/// What the server saw of one call: its headers, or its body.
fn seen(client: &Client, tool: &str, meta: Option<&Value>, headers: &[(&str, &str)]) -> Value {
    let mut params = json!({ "name": tool, "arguments": {} });
    if let Some(meta) = meta {
        params["_meta"] = meta.clone();
    }
    let params = client.params(params);
    let body =
        json!({ "jsonrpc": "2.0", "id": client.next_id(), "method": "tools/call", "params": params }).to_string();
    let mut response = client.send_raw("tools/call", Some(tool), headers, &body);
    loop {
        let message = response.message().expect("a response");
        if message.get("id").is_some() {
            return message["result"]["structuredContent"].clone();
        }
    }
}

fn header(seen: &Value, name: &str) -> Option<String> {
    let all: Vec<_> = seen["headers"].as_array().unwrap().iter().filter(|pair| pair[0] == name).collect();
    assert!(all.len() <= 1, "{name} twice: {seen}");
    all.first().map(|pair| pair[1].as_str().unwrap().to_owned())
}

/// `_meta` of the body the server saw.
fn meta(seen: &Value) -> Value {
    let body: Value = serde_json::from_str(seen["body"].as_str().unwrap()).unwrap();
    body["params"]["_meta"].clone()
}

/// A child of `PARENT`: same trace, same flags, another span.
fn assert_child(traceparent: &str) {
    let fields: Vec<_> = traceparent.split('-').collect();
    assert_eq!((fields[0], fields[1], fields[3]), ("00", TRACE, "01"), "{traceparent}");
    assert_ne!(fields[2], "00f067aa0ba902b7", "every hop has a span of its own");
    assert_eq!(fields[2].len(), 16);
}

fn http_sides() -> impl Iterator<Item = Side> {
    SIDES.into_iter().filter(|side| side.transport == Transport::Http)
}

#[test]
fn a_context_in_headers_or_in_meta_goes_up_in_both_with_a_span_of_our_own() {
    for side in http_sides() {
        let stage = Stage::new(side);
        let client = stage.client();
        let in_meta = json!({ "traceparent": PARENT, "tracestate": STATE });
        let in_headers: &[(&str, &str)] = &[("traceparent", PARENT), ("tracestate", STATE)];
        for (meta_given, headers_given) in
            [(None, in_headers), (Some(&in_meta), &[] as &[_]), (Some(&in_meta), in_headers)]
        {
            let headers = seen(&client, "headers_seen", meta_given, headers_given);
            assert_child(&header(&headers, "traceparent").unwrap());
            assert_eq!(header(&headers, "tracestate").as_deref(), Some(STATE), "foreign state is kept");
            let body = meta(&seen(&client, "raw_bytes_seen", meta_given, headers_given));
            assert_child(body["traceparent"].as_str().unwrap());
            assert_eq!(body["tracestate"], STATE);
        }
        stage.finish();
    }
}

#[test]
fn the_log_names_the_callers_trace_and_span() {
    for side in SIDES {
        let stage = Stage::new(side);
        let client = stage.client();
        let params = client.params(json!({ "name": "echo", "arguments": { "text": "x" } }));
        let body = json!({ "jsonrpc": "2.0", "id": 9, "method": "tools/call", "params": params }).to_string();
        client.send_raw("tools/call", Some("echo"), &[("traceparent", PARENT)], &body).text();
        let log = stage.finish();
        let (intent, _) = log.call_of("echo");
        assert_eq!(intent["trace_id"], TRACE, "{intent}");
        assert_eq!(intent["parent_span"], "00f067aa0ba902b7", "{intent}");
    }
}

/// The span in the log is the one the server saw, so that logs of both sides can be joined.
#[test]
fn the_span_in_the_log_is_the_span_the_server_saw() {
    for side in http_sides() {
        let stage = Stage::new(side);
        let client = stage.client();
        let headers = seen(&client, "headers_seen", None, &[("traceparent", PARENT)]);
        let up = header(&headers, "traceparent").unwrap();
        let log = stage.finish();
        assert_eq!(log.call_of("headers_seen").0["call"], up.split('-').nth(2).unwrap());
    }
}

#[test]
fn without_a_context_every_call_gets_a_trace_and_the_body_stays_as_it_is() {
    for side in http_sides() {
        let stage = Stage::new(side);
        let client = stage.client();
        let up = header(&seen(&client, "headers_seen", None, &[]), "traceparent");
        let body = meta(&seen(&client, "raw_bytes_seen", None, &[]));
        assert!(body.get("traceparent").is_none(), "nothing is added to a body that had none: {body}");
        let log = stage.finish();
        let traces: Vec<_> = log
            .calls(|intent| intent["method"] == "tools/call")
            .iter()
            .map(|(intent, _)| intent["trace_id"].clone())
            .collect();
        assert!(traces.iter().all(|trace| trace.as_str().is_some_and(|trace| trace.len() == 32)), "{traces:?}");
        assert_ne!(traces[0], traces[1], "strangers' calls are not joined");
        if let Some(up) = up {
            assert_eq!(up.split('-').nth(1).unwrap(), traces[0]);
        }
    }
}

/// A malformed context is nobody's: a new trace begins, and the malformed words go no further.
#[test]
fn a_malformed_context_begins_a_new_trace() {
    for side in http_sides() {
        let stage = Stage::new(side);
        let client = stage.client();
        let zero = "00-00000000000000000000000000000000-00f067aa0ba902b7-01";
        for bad in [zero, "nonsense", "00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01"] {
            let headers = seen(&client, "headers_seen", None, &[("traceparent", bad), ("tracestate", STATE)]);
            assert_ne!(header(&headers, "traceparent").as_deref(), Some(bad));
            assert_eq!(header(&headers, "tracestate"), None, "state without its parent is nobody's");
        }
        if side.era == Era::Modern {
            let body = meta(&seen(&client, "raw_bytes_seen", Some(&json!({ "other": 1 })), &[("traceparent", zero)]));
            assert_eq!(body["other"], 1);
        }
        stage.finish();
    }
}
