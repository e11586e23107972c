//! The modern era (section C): no sessions, mirrored headers, statuses, cancellation by closing.

use portcullis_core::ledger::Record;
use portcullis_core::refusal::{Fault, FaultKind, Manner};
use portcullis_core::upstream::{Media, Reply};
use portcullis_core::version::Era;

use crate::settings::ServerSettings;
use crate::testing::{
    CannedUpstream, Client, DenyList, fed, from_server, next_event, ordinary, reply, start, start_with,
};

fn body(method: &str, params: &str) -> String {
    let meta = r#""_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientCapabilities":{}}"#;
    let comma = if params.is_empty() { "" } else { "," };
    format!(r#"{{"jsonrpc":"2.0","id":"m","method":"{method}","params":{{{params}{comma}{meta}}}}}"#)
}

fn modern(client: &Client, method: &str) -> Client {
    client.with("mcp-protocol-version", "2026-07-28").with("mcp-method", method)
}

#[tokio::test]
async fn c1_c22b_a_modern_request_needs_no_session_and_its_session_id_means_nothing() {
    let running = start(CannedUpstream::new(ordinary)).await;
    let client = modern(&running.client(), "tools/list").with("mcp-session-id", "whatever");
    let answer = client.post(&body("tools/list", "")).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    assert!(answer.headers.get("mcp-session-id").is_none());
}

#[tokio::test]
async fn c1_get_and_delete_are_405() {
    let running = start(CannedUpstream::new(ordinary)).await;
    let client = running.client().with("mcp-protocol-version", "2026-07-28");
    for answer in [client.get().await, client.delete().await] {
        assert_eq!((answer.status, answer.headers["allow"].to_str().unwrap()), (405, "POST"));
    }
}

#[tokio::test]
async fn c80_who_did_not_declare_tasks_is_told_so_and_learns_nothing_of_any_task() {
    let running = start(CannedUpstream::new(ordinary)).await;
    let (get, listen) = (r#""taskId":"t""#, r#""notifications":{"taskIds":["t"]}"#);
    for (method, params) in
        [("tasks/get", get), ("tasks/update", get), ("tasks/cancel", get), ("subscriptions/listen", listen)]
    {
        let client = modern(&running.client(), method);
        let client = if method.starts_with("tasks/") { client.with("mcp-name", "t") } else { client };
        let answer = client.post(&body(method, params)).await;
        assert_eq!(answer.status, 400, "{method}: {answer:?}");
        let told = r#""code":-32021"#;
        let needed = r#""requiredCapabilities":{"extensions":{"io.modelcontextprotocol/tasks":{}}}"#;
        assert!(answer.body.contains(told) && answer.body.contains(needed), "{method}: {answer:?}");
        let declaring = body(method, params).replace(
            r#"clientCapabilities":{}"#,
            r#"clientCapabilities":{"extensions":{"io.modelcontextprotocol/tasks":{}}}"#,
        );
        assert!(!client.post(&declaring).await.body.contains(told), "{method}");
    }
}

/// The digest was computed by another implementation, and is the one that `docs/audit-format.md` shows.
#[tokio::test]
async fn the_digest_of_the_arguments_is_blake3_of_the_bytes_that_the_client_sent() {
    let running = start(CannedUpstream::new(ordinary)).await;
    let client = modern(&running.client(), "tools/call").with("mcp-name", "echo");
    for (arguments, digest) in [
        (r#"{"to":"ana","amount":20}"#, Some("1b004c45a6bb66fe5a807472f9741d0e7f390d78713ff638756223930ceb37f3")),
        (r#"{ "to":"ana","amount":20}"#, Some("99d9165e15ecc9d7b11049fc4702e13c778d901ed403914cb3f5d7a2e7454be7")),
    ] {
        client.post(&body("tools/call", &format!(r#""name":"echo","arguments": {arguments} "#))).await;
        let records = running.ledger.records.lock().unwrap();
        let last = records.iter().rev().find_map(|record| match record {
            Record::Intent(intent) => Some(intent),
            _ => None,
        });
        assert_eq!(last.unwrap().arguments_blake3.as_deref(), digest, "{records:?}");
    }
}

#[tokio::test]
async fn c25_to_c31_headers_that_are_missing_repeated_or_different_are_32020() {
    let running = start(CannedUpstream::new(ordinary)).await;
    let call = body("tools/call", r#""name":"echo","arguments":{}"#);
    let good = modern(&running.client(), "tools/call").with("mcp-name", "echo");
    assert_eq!(good.post(&call).await.status, 200);
    for (what, bad) in [
        ("missing method", good.without("mcp-method")),
        ("missing name", good.without("mcp-name")),
        ("other name", good.without("mcp-name").with("mcp-name", "Echo")),
        ("repeated name", good.with("mcp-name", "echo")),
        ("repeated method", good.with("mcp-method", "tools/call")),
        ("bad base64", good.without("mcp-name").with("mcp-name", "=?base64?!!?=")),
        ("repeated version", good.with("mcp-protocol-version", "2026-07-28")),
    ] {
        let answer = bad.post(&call).await;
        assert_eq!(answer.status, 400, "{what}: {answer:?}");
        assert!(answer.body.contains(r#""code":-32020"#) && answer.body.contains(r#""id":"m""#), "{what}: {answer:?}");
    }
    let encoded = good.without("mcp-name").with("mcp-name", "=?base64?ZWNobw==?=");
    assert_eq!(encoded.post(&call).await.status, 200, "C29");
}

#[tokio::test]
async fn c14_c18_missing_meta_is_32602_and_an_unknown_version_32022() {
    let running = start(CannedUpstream::new(ordinary)).await;
    let client = modern(&running.client(), "tools/list");
    let bare = client.post(r#"{"jsonrpc":"2.0","id":"m","method":"tools/list","params":{}}"#).await;
    assert_eq!(bare.status, 400);
    assert!(bare.body.contains("-32602"), "{bare:?}");
    let future = running.client().with("mcp-protocol-version", "2030-01-01").with("mcp-method", "tools/list");
    let answer = future.post(&body("tools/list", "").replace("2026-07-28", "2030-01-01")).await;
    assert_eq!(answer.status, 400);
    assert!(answer.body.contains("-32022") && answer.body.contains(r#""supported":["2026-07-28"]"#), "{answer:?}");
    assert!(answer.body.contains(r#""requested":"2030-01-01""#), "{answer:?}");
}

#[tokio::test]
async fn c20_methods_of_the_other_era_are_404_with_a_body() {
    let running = start(CannedUpstream::new(ordinary)).await;
    for method in ["initialize", "ping", "logging/setLevel", "resources/subscribe", "resources/unsubscribe"] {
        for params in [r#""uri":"a:/b""#, ""] {
            let answer = modern(&running.client(), method).post(&body(method, params)).await;
            assert_eq!(answer.status, 404, "{method}: {answer:?}");
            assert!(answer.body.contains("-32601") && answer.body.contains(r#""id":"m""#), "{answer:?}");
        }
    }
    assert!(running.upstream.sent().is_empty());
}

#[tokio::test]
async fn c3_a_response_or_batch_of_a_modern_client_is_400() {
    let running = start(CannedUpstream::new(ordinary)).await;
    let client = running.client().with("mcp-protocol-version", "2026-07-28");
    assert_eq!(client.post(r#"{"jsonrpc":"2.0","id":1,"result":{}}"#).await.status, 400);
    assert_eq!(client.post(r#"[{"jsonrpc":"2.0","id":1,"method":"tools/list"}]"#).await.status, 400);
}

#[tokio::test]
async fn a_modern_cancellation_by_notification_reaches_no_server() {
    let running = start(CannedUpstream::new(ordinary)).await;
    let client = modern(&running.client(), "notifications/cancelled");
    let answer = client.post(r#"{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":1}}"#).await;
    assert_eq!(answer.status, 202);
    assert!(running.upstream.sent().is_empty(), "an id of a stateless caller names nobody's request");
}

#[tokio::test]
async fn errors_of_the_server_keep_the_status_their_code_has() {
    for (code, hint, status) in
        [(-32601, 404, 404), (-32602, 400, 400), (-32602, 200, 200), (-32021, 400, 400), (-32603, 500, 500)]
    {
        let running = start(CannedUpstream::new(move |_| {
            let error = format!(r#"{{"jsonrpc":"2.0","id":"m","error":{{"code":{code},"message":"no"}}}}"#);
            Ok(Reply { status: Some(hint), ..reply(Media::Json, vec![from_server(error)]) })
        }))
        .await;
        let answer = modern(&running.client(), "tools/list").post(&body("tools/list", "")).await;
        assert_eq!(answer.status, status, "{code}");
    }
}

#[tokio::test]
async fn h6_a_legacy_only_server_is_told_to_a_modern_client_in_a_way_that_lets_it_fall_back() {
    let running = start(CannedUpstream::new(|_| {
        Err(Fault::before_sending(FaultKind::EraMismatch { served: Era::Legacy }, "legacy"))
    }))
    .await;
    let answer = modern(&running.client(), "tools/list").post(&body("tools/list", "")).await;
    assert_eq!(answer.status, 400);
    assert!(answer.body.contains("-32600") && answer.body.contains("2025-11-25"), "{answer:?}");
}

#[tokio::test]
async fn c8_a_closed_modern_stream_cancels_upstream_and_is_recorded_abandoned() {
    let (hold, mut held) = tokio::sync::mpsc::unbounded_channel();
    let running = start(CannedUpstream::new(move |_| {
        let (feed, reply) = fed(Media::EventStream);
        hold.send(feed).unwrap();
        Ok(reply)
    }))
    .await;
    let client = modern(&running.client(), "tools/call").with("mcp-name", "slow");
    let open = client.open("POST", &body("tools/call", r#""name":"slow""#)).await;
    let feed = held.recv().await.unwrap();
    drop(open);
    feed.closed().await;
    assert_eq!(running.outcomes(1).await, ["abandoned"]);
}

#[tokio::test]
async fn c6_a_server_request_on_a_modern_stream_is_dropped_and_the_answer_still_comes() {
    let (hold, mut held) = tokio::sync::mpsc::unbounded_channel();
    let running = start(CannedUpstream::new(move |_| {
        let (feed, reply) = fed(Media::EventStream);
        hold.send(feed).unwrap();
        Ok(reply)
    }))
    .await;
    let client = modern(&running.client(), "tools/call").with("mcp-name", "t");
    let mut open = client.open("POST", &body("tools/call", r#""name":"t""#)).await;
    let feed = held.recv().await.unwrap();
    feed.send(Ok(from_server(r#"{"jsonrpc":"2.0","id":1,"method":"roots/list"}"#))).await.unwrap();
    feed.send(Ok(from_server(r#"{"jsonrpc":"2.0","id":"other","result":{}}"#))).await.unwrap();
    feed.send(Ok(from_server(r#"{"jsonrpc":"2.0","id":"m","result":{"resultType":"complete"}}"#))).await.unwrap();
    let event = next_event(open.body_mut()).await.unwrap();
    assert!(event.contains(r#""id":"m""#), "{event}");
    assert!(next_event(open.body_mut()).await.is_none());
    assert_eq!(running.ledger.counted("gateway", "upstream_answer_unmatched"), 1);
}

#[tokio::test]
async fn a_denied_method_that_is_hidden_is_404_in_the_modern_era() {
    let policy = DenyList(&[("subscriptions/listen", Manner::Unknown)]);
    let running = start_with(CannedUpstream::new(ordinary), policy, ServerSettings::default()).await;
    let answer = modern(&running.client(), "subscriptions/listen").post(&body("subscriptions/listen", "")).await;
    assert_eq!(answer.status, 404, "{answer:?}");
    assert!(answer.body.contains("-32601"));
}

#[tokio::test]
async fn i1_a_capability_that_policy_never_lets_the_server_use_is_not_declared_in_any_request() {
    let policy = DenyList(&[("elicitation/create", Manner::Plain)]);
    let running = start_with(CannedUpstream::new(ordinary), policy, ServerSettings::default()).await;
    let given = r#""io.modelcontextprotocol/clientCapabilities":{}"#;
    let declared = given.replace("{}", r#"{"elicitation":{"url":{}},"roots":{}}"#);
    let call = body("tools/list", "").replace(given, &declared);
    assert!(call.contains(&declared), "{call}");
    assert_eq!(modern(&running.client(), "tools/list").post(&call).await.status, 200);
    let sent = &running.upstream.sent()[0];
    assert!(sent.contains(&given.replace("{}", r#"{"roots":{}}"#)), "{sent}");
}
