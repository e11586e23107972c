//! The legacy era (section A): sessions, versions, notifications, responses, batches, refusals.

use portcullis_core::ledger::Record;
use portcullis_core::refusal::{Fault, FaultKind, Manner};
use portcullis_core::upstream::Media;

use crate::settings::{ApiKey, ServerSettings};
use crate::testing::{
    CannedUpstream, DenyList, INITIALIZE, api_key, fed, from_server, next_event, ordinary, reply, result, start,
    start_with,
};

/// SHA-256 of `alice` and `bob`, which are their keys here.
const PING: &str = r#"{"jsonrpc":"2.0","id":1,"method":"ping"}"#;

#[tokio::test]
async fn a21_a31_initialize_opens_a_session_that_later_requests_need() {
    let running = start(CannedUpstream::new(ordinary)).await;
    let client = running.session().await;
    assert_eq!(client.post(PING).await.status, 200);
    let missing = client.without("mcp-session-id").post(PING).await;
    assert_eq!(missing.status, 400, "A23: {missing:?}");
    let unknown = client.without("mcp-session-id").with("mcp-session-id", "bogus").post(PING).await;
    assert_eq!(unknown.status, 404, "A24: {unknown:?}");
    assert!(running.ledger.is_balanced());
}

#[tokio::test]
async fn a24_a25_after_delete_the_session_is_404_everywhere() {
    let running = start(CannedUpstream::new(ordinary)).await;
    let client = running.session().await;
    assert_eq!(client.delete().await.status, 204);
    for answer in [client.post(PING).await, client.get().await, client.delete().await] {
        assert_eq!(answer.status, 404, "{answer:?}");
    }
    assert_eq!(running.gateway.open_sessions(), 0);
}

#[tokio::test]
async fn a27_a_session_of_another_caller_is_unknown() {
    let mut settings = ServerSettings::default();
    settings.identity.keys = vec![api_key("alice"), api_key("bob")];
    let running = start_with(CannedUpstream::new(ordinary), DenyList(&[]), settings).await;
    assert_eq!(running.client().post(INITIALIZE).await.status, 401);
    let alice = running.client().with("x-api-key", "alice");
    let opened = alice.post(INITIALIZE).await;
    let id = opened.headers["mcp-session-id"].to_str().unwrap().to_owned();
    assert_eq!(alice.with("mcp-session-id", &id).post(PING).await.status, 200);
    let bob = running.client().with("x-api-key", "bob").with("mcp-session-id", &id);
    for answer in [bob.post(PING).await, bob.get().await, bob.delete().await] {
        assert_eq!(answer.status, 404, "{answer:?}");
    }
}

#[tokio::test]
async fn a_key_that_a_reload_removes_opens_nothing_more_not_even_its_old_session() {
    let mut settings = ServerSettings::default();
    settings.identity.keys = vec![api_key("alice"), api_key("bob")];
    let running = start_with(CannedUpstream::new(ordinary), DenyList(&[]), settings.clone()).await;
    let session = |key: &'static str| {
        let client = running.client().with("x-api-key", key);
        async move {
            let opened = client.post(INITIALIZE).await;
            client.with("mcp-session-id", opened.headers["mcp-session-id"].to_str().unwrap())
        }
    };
    let (alice_client, bob_client) = (session("alice").await, session("bob").await);
    settings.identity.keys = vec![ApiKey { groups: vec!["finance".into()], ..api_key("alice") }];
    running.gateway.reload_identity(&settings.identity).unwrap();
    assert_eq!(bob_client.post(PING).await.status, 401);
    assert_eq!(alice_client.post(PING).await.status, 200, "sessions of callers that stay live on");
}

#[tokio::test]
async fn a30_a_version_header_must_be_known_and_the_negotiated_one() {
    let running = start(CannedUpstream::new(ordinary)).await;
    let client = running.session().await.without("mcp-protocol-version");
    assert_eq!(client.post(PING).await.status, 200, "absent: the session knows");
    for wrong in ["1999-01-01", "2025-06-18", "nonsense"] {
        let answer = client.with("mcp-protocol-version", wrong).post(PING).await;
        assert_eq!(answer.status, 400, "{wrong}: {answer:?}");
    }
}

#[tokio::test]
async fn a31_a_client_that_initializes_with_a_modern_version_is_negotiated_down() {
    let running = start(CannedUpstream::new(ordinary)).await;
    let modern = INITIALIZE.replace("2025-11-25", "2026-07-28");
    assert_eq!(running.client().post(&modern).await.status, 200);
    assert_eq!(running.upstream.sent()[0], INITIALIZE);
}

#[tokio::test]
async fn a_session_whose_initialize_the_server_refuses_never_lives() {
    let running = start(CannedUpstream::new(|call| {
        let id = call.message().unwrap().id().unwrap().raw().to_owned();
        let error = format!(r#"{{"jsonrpc":"2.0","id":{id},"error":{{"code":-32602,"message":"no"}}}}"#);
        Ok(reply(Media::Json, vec![from_server(error)]))
    }))
    .await;
    let answer = running.client().post(INITIALIZE).await;
    assert!(answer.body.contains("-32602"), "{answer:?}");
    assert_eq!(running.gateway.open_sessions(), 0);
}

#[tokio::test]
async fn a8_notifications_are_accepted_202_and_denied_ones_403() {
    let policy = DenyList(&[("notifications/roots/list_changed", Manner::Plain)]);
    let running = start_with(CannedUpstream::new(ordinary), policy, ServerSettings::default()).await;
    let client = running.session().await;
    let accepted = client.post(r#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#).await;
    assert_eq!((accepted.status, accepted.body.as_str()), (202, ""));
    let denied = client.post(r#"{"jsonrpc":"2.0","method":"notifications/roots/list_changed"}"#).await;
    assert_eq!(denied.status, 403);
    assert!(!denied.body.contains(r#""id""#) && !denied.body.contains("secret detail"), "{denied:?}");
}

#[tokio::test]
async fn a_notification_of_the_client_has_an_intent_and_an_outcome_whether_it_passes_or_not() {
    let policy = DenyList(&[("notifications/roots/list_changed", Manner::Plain)]);
    let running = start_with(CannedUpstream::new(ordinary), policy, ServerSettings::default()).await;
    let client = running.session().await;
    for method in ["notifications/initialized", "notifications/roots/list_changed"] {
        client.post(&format!(r#"{{"jsonrpc":"2.0","method":"{method}"}}"#)).await;
    }
    assert_eq!(running.outcomes(3).await, ["answered", "accepted", "denied"]);
    let records = running.ledger.records.lock().unwrap();
    let decided: Vec<_> = records
        .iter()
        .filter_map(|record| match record {
            Record::Intent(intent) => Some((intent.method.as_str(), intent.decision)),
            _ => None,
        })
        .collect();
    let expected = [("notifications/initialized", "allow"), ("notifications/roots/list_changed", "deny")];
    assert_eq!(decided[1..], expected, "{records:?}");
}

/// They have no entries of their own: ten thousand must not become twenty thousand lines.
#[tokio::test]
async fn notifications_of_the_server_are_counted_by_method_and_refused_ones_are_named_in_the_outcome() {
    let upstream = CannedUpstream::new(|call| {
        if call.method() != "tools/call" {
            return ordinary(call);
        }
        let notification =
            |method: &str| from_server(format!(r#"{{"jsonrpc":"2.0","method":"{method}","params":{{}}}}"#));
        let methods = ["progress", "message", "progress", "message", "progress"];
        let mut arrivals: Vec<_> =
            methods.iter().map(|method| notification(&format!("notifications/{method}"))).collect();
        arrivals.push(result(call, "{}"));
        Ok(reply(Media::EventStream, arrivals))
    });
    let policy = DenyList(&[("notifications/message", Manner::Plain)]);
    let running = start_with(upstream, policy, ServerSettings::default()).await;
    let client = running.session().await;
    let answer = client.post(r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"t"}}"#).await;
    assert_eq!(answer.body.matches("notifications/progress").count(), 3, "{answer:?}");
    assert!(!answer.body.contains("notifications/message"), "{answer:?}");
    assert_eq!(running.outcomes(2).await, ["answered", "answered"]);
    assert_eq!(running.ledger.counted("denial", "forbidden"), 2);
    let records = running.ledger.records.lock().unwrap();
    let Some(Record::Outcome(outcome)) = records.last() else { panic!("{records:?}") };
    assert_eq!(outcome.notifications, [("notifications/progress".to_owned(), 3)]);
    assert_eq!(outcome.findings.len(), 1, "{outcome:?}");
    assert_eq!(outcome.findings[0].detail, "notifications/message: secret detail (and 1 times more)");
    assert_eq!((outcome.messages, outcome.findings[0].code), (4, "forbidden"));
}

#[tokio::test]
async fn a_refused_call_takes_the_form_its_manner_asks_for_and_tells_no_detail() {
    let policy = DenyList(&[
        ("tools/call", Manner::Correctable),
        ("prompts/get", Manner::Unknown),
        ("resources/read", Manner::Unknown),
        ("completion/complete", Manner::Plain),
    ]);
    let running = start_with(CannedUpstream::new(ordinary), policy, ServerSettings::default()).await;
    let client = running.session().await;
    let mut sizes = Vec::new();
    for (method, params, expected) in [
        ("tools/call", r#"{"name":"pay"}"#, r#""isError":true"#),
        ("prompts/get", r#"{"name":"p"}"#, r#""code":-32602"#),
        ("resources/read", r#"{"uri":"x:/y"}"#, r#""code":-32002"#),
        ("completion/complete", r#"{"ref":{"type":"ref/prompt","name":"p"}}"#, r#""code":-31403"#),
    ] {
        let body = format!(r#"{{"jsonrpc":"2.0","id":"q","method":"{method}","params":{params}}}"#);
        let answer = client.post(&body).await;
        assert_eq!(answer.status, 200, "{answer:?}");
        assert!(answer.body.contains(expected) && answer.body.contains(r#""id":"q""#), "{method}: {answer:?}");
        assert!(!answer.body.contains("secret detail"), "{answer:?}");
        sizes.push((1, answer.body.len() as u64));
    }
    assert_eq!(running.outcomes(5).await[1..], ["denied"; 4]);
    assert!(running.ledger.is_balanced());
    assert_eq!(running.ledger.delivered()[1..], sizes, "the record says what the client read");
}

#[tokio::test]
async fn a34_a_request_id_in_progress_is_refused_a_second_time() {
    let (hold, mut held) = tokio::sync::mpsc::unbounded_channel();
    let running = start(CannedUpstream::new(move |call| {
        if call.method() != "tools/call" {
            return ordinary(call);
        }
        let (feed, reply) = fed(Media::EventStream);
        hold.send(feed).unwrap();
        Ok(reply)
    }))
    .await;
    let client = running.session().await;
    let call = r#"{"jsonrpc":"2.0","id":5,"method":"tools/call","params":{"name":"slow"}}"#;
    let first = client.open("POST", call).await;
    let second = client.post(call).await;
    assert_eq!(second.status, 400);
    assert!(second.body.contains("id_in_use"), "{second:?}");
    let feed = held.recv().await.unwrap();
    feed.send(Ok(from_server(r#"{"jsonrpc":"2.0","id":5,"result":{}}"#))).await.unwrap();
    drop((feed, crate::testing::collect(first).await));
    let (again, _fed) = tokio::join!(client.open("POST", call), async { held.recv().await.unwrap() });
    assert_eq!(again.status(), 200, "the id is free again");
}

#[tokio::test]
async fn i5_the_clients_answer_to_a_server_request_is_matched_once() {
    let running = start(CannedUpstream::new(|call| match call.method() {
        "tools/call" => {
            let ask = from_server(r#"{"jsonrpc":"2.0","id":"s1","method":"sampling/createMessage","params":{}}"#);
            Ok(reply(Media::EventStream, vec![ask, result(call, "{}")]))
        }
        _ => ordinary(call),
    }))
    .await;
    let client = running.session().await;
    let answer = client.post(r#"{"jsonrpc":"2.0","id":2,"method":"tools/call","params":{"name":"ask"}}"#).await;
    assert!(answer.body.contains("sampling/createMessage"), "{answer:?}");
    let response = r#"{"jsonrpc":"2.0","id":"s1","result":{"role":"assistant"}}"#;
    assert_eq!(client.post(response).await.status, 202);
    assert_eq!(running.upstream.sent().last().unwrap(), response);
    assert_eq!(client.post(response).await.status, 400, "answered once");
    let stranger = running.session().await;
    assert_eq!(stranger.post(response).await.status, 400, "another session never was asked");
    assert!(running.ledger.is_balanced());
}

#[tokio::test]
async fn a_denied_server_request_is_answered_to_the_server_and_never_seen_by_the_client() {
    let policy = DenyList(&[("sampling/createMessage", Manner::Plain)]);
    let upstream = CannedUpstream::new(|call| match call.method() {
        "tools/call" => {
            let ask = from_server(r#"{"jsonrpc":"2.0","id":"s1","method":"sampling/createMessage","params":{}}"#);
            Ok(reply(Media::EventStream, vec![ask, result(call, "{}")]))
        }
        _ => ordinary(call),
    });
    let running = start_with(upstream, policy, ServerSettings::default()).await;
    let client = running.session().await;
    let answer = client.post(r#"{"jsonrpc":"2.0","id":2,"method":"tools/call","params":{"name":"ask"}}"#).await;
    assert!(!answer.body.contains("sampling"), "{answer:?}");
    assert!(answer.body.contains(r#""result":{}"#), "the call itself goes on: {answer:?}");
    while !running.upstream.sent().iter().any(|sent| sent.contains(r#""id":"s1","error""#)) {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn a7_a_batch_lives_only_under_2025_03_26_and_each_item_is_judged() {
    let policy = DenyList(&[("tools/call", Manner::Correctable)]);
    let upstream = CannedUpstream::new(|call| match call.method() {
        "initialize" => {
            let text = crate::testing::INITIALIZED.replace("2025-11-25", "2025-03-26");
            Ok(reply(Media::Json, vec![result(call, &text)]))
        }
        _ => ordinary(call),
    });
    let running = start_with(upstream, policy, ServerSettings::default()).await;
    let client = running.session().await.without("mcp-protocol-version");
    let batch = r#"[{"jsonrpc":"2.0","id":1,"method":"ping"},{"jsonrpc":"2.0","id":2,"method":"tools/call","params":{"name":"x"}},{"jsonrpc":"2.0","method":"notifications/initialized"}]"#;
    let answer = client.post(batch).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    assert!(answer.body.contains(r#""id":1,"result""#), "{answer:?}");
    assert!(answer.body.contains(r#""id":2,"result":{"content""#) && answer.body.contains("isError"), "{answer:?}");
    let mixed = r#"[{"jsonrpc":"2.0","id":"gone","result":{}},{"jsonrpc":"2.0","id":3,"method":"ping"}]"#;
    let answer = client.post(mixed).await;
    assert!(answer.body.contains(r#""id":3,"result""#), "one bad item does not take the others with it: {answer:?}");
    assert_eq!(running.ledger.counted("violation", "response_unmatched"), 1);
    let quiet = client.post(r#"[{"jsonrpc":"2.0","method":"notifications/initialized"}]"#).await;
    assert_eq!(quiet.status, 202);
    for bad in ["[]", r#"[{"jsonrpc":"2.0","id":0,"method":"initialize","params":{}}]"#, "[1]"] {
        assert_eq!(client.post(bad).await.status, 400, "{bad}");
    }
    assert!(running.ledger.is_balanced());
}

#[tokio::test]
async fn faults_of_the_server_reach_the_client_as_errors_with_its_id() {
    for kind in [FaultKind::Unreachable, FaultKind::TimedOut, FaultKind::Garbage, FaultKind::TooLarge, FaultKind::Died]
    {
        let fault = kind.clone();
        let running = start(CannedUpstream::new(move |call| match call.method() {
            "tools/call" => Err(Fault::new(fault.clone(), "private")),
            _ => ordinary(call),
        }))
        .await;
        let client = running.session().await;
        let answer = client.post(r#"{"jsonrpc":"2.0","id":"x","method":"tools/call","params":{"name":"t"}}"#).await;
        assert_eq!(answer.status, 200);
        assert!(answer.body.contains(r#""id":"x""#) && answer.body.contains(kind.code()), "{answer:?}");
        assert!(!answer.body.contains("private"));
        assert_eq!(running.outcomes(2).await[1], "failed");
    }
}

#[tokio::test]
async fn a24_b7_a_session_the_server_lost_is_404_and_over() {
    let running = start(CannedUpstream::new(|call| match call.method() {
        "ping" => Err(Fault::new(FaultKind::SessionLost, "upstream 404")),
        _ => ordinary(call),
    }))
    .await;
    let client = running.session().await;
    assert_eq!(client.post(PING).await.status, 404);
    assert_eq!(running.gateway.open_sessions(), 0);
}

#[tokio::test]
async fn a36_a_legacy_call_the_gateway_stops_waiting_for_is_cancelled_at_the_server() {
    let running = start(CannedUpstream::new(|call| match call.method() {
        "tools/call" => Err(Fault::new(FaultKind::TimedOut, "no first byte")),
        _ => ordinary(call),
    }))
    .await;
    let client = running.session().await;
    client.post(r#"{"jsonrpc":"2.0","id":"slow","method":"tools/call","params":{"name":"t"}}"#).await;
    let cancelled = |sent: &String| sent.contains("notifications/cancelled") && sent.contains(r#""requestId":"slow""#);
    while !running.upstream.sent().iter().any(cancelled) {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn two_answers_to_one_id_are_delivered_once_and_noticed() {
    let running = start(CannedUpstream::new(|call| match call.method() {
        "tools/call" => {
            let answer = futures_util::stream::iter([
                Ok(result(call, r#"{"first":1}"#)),
                Err(Fault::new(FaultKind::AnswerUnmatched, "a second answer")),
            ]);
            Ok(portcullis_core::upstream::Reply { arrivals: Box::pin(answer), ..reply(Media::EventStream, Vec::new()) })
        }
        _ => ordinary(call),
    }))
    .await;
    let client = running.session().await;
    let answer = client.post(r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"t"}}"#).await;
    assert_eq!(answer.body.matches("jsonrpc").count(), 1, "{answer:?}");
    assert_eq!(running.ledger.counted("gateway", "upstream_answer_unmatched"), 1);
}

#[tokio::test]
async fn an_idle_session_ends_upstream_too() {
    let running = start(CannedUpstream::new(ordinary)).await;
    let client = running.session().await;
    running.clock.advance(std::time::Duration::from_secs(3601));
    for key in running.gateway.sessions.expire(running.gateway.clock.now()) {
        running.gateway.forget(key).await;
    }
    assert_eq!(running.upstream.forgotten.lock().unwrap().len(), 1);
    assert_eq!(client.post(PING).await.status, 404);
}

#[tokio::test]
async fn the_bytes_the_server_gets_are_the_bytes_the_client_sent() {
    let running = start(CannedUpstream::new(ordinary)).await;
    let client = running.session().await;
    let odd = "{ \"jsonrpc\" :\"2.0\",\n\t\"unknown\":[1.50,1e+2,12345678901234567890123], \"id\":12345678901234567,\"method\":\"tools\\/call\",\"params\":{\"name\":\"t\",\"arguments\":{\"z\":\"\\u0041é\\ud83d\\ude00\",\"a\":-0.0,\"big\":9223372036854775808}} }";
    assert_eq!(client.post(odd).await.status, 200);
    assert_eq!(running.upstream.sent().last().unwrap(), odd);
}

#[tokio::test]
async fn drained_calls_are_answered_and_new_ones_are_refused() {
    let (hold, mut held) = tokio::sync::mpsc::unbounded_channel();
    let mut settings = ServerSettings::default();
    settings.timeouts.drain_seconds = 0;
    let upstream = CannedUpstream::new(move |call| {
        if call.method() != "tools/call" {
            return ordinary(call);
        }
        let (feed, reply) = fed(Media::EventStream);
        hold.send(feed).unwrap();
        Ok(reply)
    });
    let running = start_with(upstream, DenyList(&[]), settings).await;
    let client = running.session().await;
    let mut open =
        client.open("POST", r#"{"jsonrpc":"2.0","id":"o","method":"tools/call","params":{"name":"t"}}"#).await;
    let _feed = held.recv().await.unwrap();
    running.shutdown.cancel();
    let last = next_event(open.body_mut()).await.unwrap();
    assert!(last.contains(r#""id":"o""#) && last.contains("shutting_down"), "{last}");
    running.stopped.await.unwrap();
    assert!(running.ledger.is_balanced());
}

/// I1: in the legacy era once, with `initialize`; what the policy leaves open is declared as the client wrote it.
#[tokio::test]
async fn i1_a_capability_that_policy_never_lets_the_server_use_is_not_declared_to_it() {
    let policy = DenyList(&[("sampling/createMessage", Manner::Plain), ("roots/list", Manner::Plain)]);
    let running = start_with(CannedUpstream::new(ordinary), policy, ServerSettings::default()).await;
    assert_eq!(running.client().post(INITIALIZE).await.status, 200);
    assert_eq!(
        running.upstream.sent()[0],
        INITIALIZE.replace(r#""sampling":{},"elicitation":{},"roots":{}"#, r#""elicitation":{}"#)
    );
    assert_eq!(running.ledger.counted("gateway", "capability_withheld"), 1, "and the log says so");
}
