//! Token servers that fail, lie or flood.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::Response;
use http_body_util::Full;

use super::server::{TokenServer, json, token};
use super::{caller, of_caller, own, source, source_with, until};
use crate::client::Behalf;

/// What a call against this answer learns.
async fn refusal_of(answer: impl Fn() -> Response<Full<Bytes>> + Send + Sync + 'static) -> String {
    let server = TokenServer::answering(move |_, _| answer()).await;
    let (source, _) = source(&server);
    let refused = own(&source).await.unwrap_err();
    assert_eq!(own(&source).await.unwrap_err(), refused, "the second is told without asking");
    assert_eq!(server.asked().len(), 1);
    refused
}

#[tokio::test]
async fn an_answer_is_read_one_way_only() {
    for (body, word) in [
        ("not json", "JSON"),
        ("[]", "JSON"),
        (r#"{"access_token":"a","access_token":"b","token_type":"Bearer"}"#, "JSON"),
        (r#"{"token_type":"Bearer"}"#, "access_token"),
        (r#"{"access_token":7,"token_type":"Bearer"}"#, "access_token"),
        (r#"{"access_token":"","token_type":"Bearer"}"#, "access_token"),
        (r#"{"access_token":"a b","token_type":"Bearer"}"#, "access_token"),
        (r#"{"access_token":"a\r\nx: y","token_type":"Bearer"}"#, "access_token"),
        (r#"{"access_token":"ä","token_type":"Bearer"}"#, "access_token"),
        (r#"{"access_token":"a"}"#, "token_type"),
        (r#"{"access_token":"a","token_type":"mac"}"#, "token_type"),
        (r#"{"access_token":"a","token_type":"DPoP"}"#, "DPoP"),
        (r#"{"access_token":"a","token_type":"Bearer","expires_in":"3600"}"#, "expires_in"),
        (r#"{"access_token":"a","token_type":"Bearer","expires_in":-1}"#, "expires_in"),
        (r#"{"access_token":"a","token_type":"Bearer","expires_in":1e3}"#, "expires_in"),
        (r#"{"access_token":"a","token_type":"Bearer","expires_in":0}"#, "expired"),
    ] {
        let refused = refusal_of(move || json(200, body)).await;
        assert!(refused.contains(word), "{body}: {refused}");
    }
    let long = format!(r#"{{"access_token":"{}","token_type":"Bearer"}}"#, "a".repeat(20_000));
    assert!(refusal_of(move || json(200, long.clone())).await.contains("header"));
}

#[tokio::test]
async fn errors_redirects_and_floods_are_no_tokens() {
    let good = r#"{"access_token":"a","token_type":"Bearer"}"#;
    for status in [201, 204, 404, 429, 500, 503] {
        assert!(refusal_of(move || json(status, good)).await.contains(&status.to_string()));
    }
    let moved = || Response::builder().status(307).header("location", "/elsewhere").body(Full::default()).unwrap();
    assert!(refusal_of(moved).await.contains("redirects are not followed"));
    let huge = refusal_of(|| json(200, format!(r#"{{"access_token":"{}"}}"#, "a".repeat(300 << 10)))).await;
    assert!(huge.contains("262144 bytes"), "{huge}");
    let client = refusal_of(|| json(401, r#"{"error":"invalid_client"}"#)).await;
    assert!(client.contains("does not accept this client"), "{client}");
    let noise = refusal_of(|| json(400, r#"{"error":"two words\u000aand a line"}"#)).await;
    assert!(!noise.contains("two words"), "{noise}");
}

#[tokio::test]
async fn a_failing_server_is_asked_by_one_call_at_a_time_and_ever_more_rarely() {
    let server = TokenServer::answering(|_, _| json(503, "")).await;
    let (source, clock) = source(&server);
    let mut asked = 0;
    for seconds in [0, 1, 2, 4, 8] {
        clock.advance(Duration::from_secs(seconds));
        let calls = (0..50).map(|_| own(&source));
        assert!(futures_util::future::join_all(calls).await.iter().all(Result::is_err));
        asked += 1;
        assert_eq!(server.asked().len(), asked, "after {seconds} s");
    }
}

#[tokio::test]
async fn a_server_that_is_down_is_not_asked_by_every_caller_of_an_exchange() {
    let server = TokenServer::answering(|_, _| json(503, "")).await;
    let (source, clock) = source_with(&server, serde_json::json!({"grant": "token_exchange"}));
    let users: Vec<_> = (0..200).map(|n| (caller(&format!("u{n}")), of_caller(&format!("token{n}"), 600))).collect();
    let calls = || users.iter().map(|(user, theirs)| source.authorization(Behalf::Caller(user, Some(theirs))));
    assert!(futures_util::future::join_all(calls()).await.iter().all(Result::is_err));
    assert!(server.asked().len() <= 16, "{} asked together", server.asked().len());
    let before = server.asked().len();
    clock.advance(Duration::from_secs(1));
    assert!(futures_util::future::join_all(calls()).await.iter().all(Result::is_err));
    assert_eq!(server.asked().len(), before + 1, "one tries for all");
}

#[tokio::test]
async fn a_good_token_outlives_a_failing_server() {
    let server = TokenServer::answering(|before, _| if before == 0 { token("t0", 3600) } else { json(500, "") }).await;
    let (source, clock) = source(&server);
    own(&source).await.unwrap();
    clock.advance(Duration::from_secs(3000));
    assert_eq!(own(&source).await.unwrap(), "Bearer t0");
    until(|| server.asked().len() == 2).await;
    clock.advance(Duration::from_secs(500));
    assert_eq!(own(&source).await.unwrap(), "Bearer t0");
    clock.advance(Duration::from_secs(100));
    assert!(own(&source).await.is_err());
}

#[tokio::test]
async fn a_slow_server_holds_up_those_who_wait_for_it_with_one_request() {
    let gate = Arc::new(tokio::sync::Semaphore::new(0));
    let held = Arc::clone(&gate);
    let server = TokenServer::scripted(move |_, _| {
        let held = Arc::clone(&held);
        async move {
            let _ = held.acquire().await;
            token("t", 3600)
        }
    })
    .await;
    let (source, _) = source(&server);
    let calls: Vec<_> = (0..100)
        .map(|_| {
            let source = Arc::clone(&source);
            tokio::spawn(async move { own(&source).await })
        })
        .collect();
    until(|| !server.asked().is_empty()).await;
    gate.add_permits(100);
    for call in calls {
        assert_eq!(call.await.unwrap().unwrap(), "Bearer t");
    }
    assert_eq!(server.asked().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_server_that_never_answers_is_given_up() {
    let server = TokenServer::scripted(|_, _| std::future::pending()).await;
    let (source, _) = source(&server);
    let refused = own(&source).await.unwrap_err();
    assert!(refused.contains("within 5s"), "{refused}");
}
