//! RFC 8693: each caller's own token becomes one for the upstream, and nobody's becomes somebody else's.

use std::time::Duration;

use portcullis_core::caller::{Caller, Proof};

use super::server::{TokenServer, json, token};
use super::{caller, of_caller, own, source_with, text, until};
use crate::client::Behalf;

fn exchanging() -> serde_json::Value {
    serde_json::json!({"grant": "token_exchange", "scopes": ["tools"]})
}

#[tokio::test]
async fn a_callers_token_is_exchanged_for_one_of_the_upstream_f31_f32() {
    let server = TokenServer::counting().await;
    let folder = tempfile::tempdir().unwrap();
    let actor = folder.path().join("actor");
    std::fs::write(&actor, "workload.jwt\n").unwrap();
    let mut all = exchanging();
    all["actor_token"] = serde_json::json!({"file": actor});
    let (source, _) = source_with(&server, all);
    let (user, theirs) = (caller("u"), of_caller("theirs", 600));
    let value = source.authorization(Behalf::Caller(&user, Some(&theirs))).await.unwrap().unwrap();
    assert_eq!(text(&value), "Bearer t0");
    let asked = &server.asked()[0];
    for (name, value) in [
        ("grant_type", "urn:ietf:params:oauth:grant-type:token-exchange"),
        ("subject_token", "theirs"),
        ("subject_token_type", "urn:ietf:params:oauth:token-type:access_token"),
        ("requested_token_type", "urn:ietf:params:oauth:token-type:access_token"),
        ("actor_token", "workload.jwt"),
        ("actor_token_type", "urn:ietf:params:oauth:token-type:jwt"),
        ("resource", "https://mcp.example.com/mcp"),
        ("scope", "tools"),
    ] {
        assert_eq!(asked.field(name), Some(value), "{name}");
    }
}

#[tokio::test]
async fn what_was_made_from_one_token_serves_no_other_caller_and_no_other_token() {
    let server =
        TokenServer::answering(|_, asked| token(&format!("for-{}", asked.field("subject_token").unwrap()), 3600)).await;
    let (source, _) = source_with(&server, exchanging());
    let (ann, bob) = (caller("ann"), caller("bob"));
    let other_client = Caller { client: Some("cli".into()), ..caller("ann") };
    for (who, secret) in [(&ann, "a1"), (&ann, "a2"), (&bob, "b1"), (&other_client, "a3")] {
        let theirs = of_caller(secret, 600);
        for _ in 0..3 {
            let value = source.authorization(Behalf::Caller(who, Some(&theirs))).await.unwrap().unwrap();
            assert_eq!(text(&value), format!("Bearer for-{secret}"));
        }
    }
    assert_eq!(server.asked().len(), 4, "each is kept");
    // The same text under two names is two callers.
    let same = of_caller("a1", 600);
    source.authorization(Behalf::Caller(&bob, Some(&same))).await.unwrap();
    assert_eq!(server.asked().len(), 5);
}

#[tokio::test]
async fn a_hundred_calls_of_one_caller_exchange_once() {
    let server = TokenServer::counting().await;
    let (source, _) = source_with(&server, exchanging());
    let (user, theirs) = (caller("u"), of_caller("theirs", 600));
    let calls = (0..100).map(|_| source.authorization(Behalf::Caller(&user, Some(&theirs))));
    assert!(futures_util::future::join_all(calls).await.iter().all(Result::is_ok));
    assert_eq!(server.asked().len(), 1);
}

#[tokio::test]
async fn a_caller_without_a_token_is_refused_and_gets_no_other_credential() {
    let server = TokenServer::counting().await;
    let (source, _) = source_with(&server, exchanging());
    assert_eq!(own(&source).await.unwrap(), "Bearer t0", "the gateway has one of its own");
    for proof in [Proof::Anonymous, Proof::ApiKey, Proof::Certificate] {
        let keyed = Caller::new("k", proof, Vec::new());
        let refused = source.authorization(Behalf::Caller(&keyed, None)).await.unwrap_err();
        assert!(refused.contains(proof.as_str()) && refused.contains("access token"), "{refused}");
    }
    assert_eq!(server.asked().len(), 1);
}

#[tokio::test]
async fn the_gateways_own_questions_go_without_a_token_where_the_operator_says_so() {
    let server = TokenServer::counting().await;
    let mut all = exchanging();
    all["own_questions"] = "unauthenticated".into();
    let (source, _) = source_with(&server, all);
    assert_eq!(source.authorization(Behalf::Gateway).await, Ok(None));
    assert_eq!(server.asked().len(), 0);
}

#[tokio::test]
async fn an_exchanged_token_is_not_used_after_the_callers_own_has_ended() {
    let server = TokenServer::counting().await;
    let (source, clock) = source_with(&server, exchanging());
    let (user, theirs) = (caller("u"), of_caller("theirs", 100));
    let behalf = Behalf::Caller(&user, Some(&theirs));
    assert!(source.authorization(behalf).await.is_ok());
    clock.advance(Duration::from_secs(99));
    until(|| server.asked().len() == 1).await;
    assert!(source.authorization(behalf).await.is_ok(), "a second is left");
    clock.advance(Duration::from_secs(2));
    let refused = source.authorization(behalf).await.unwrap_err();
    assert!(refused.contains("expired"), "{refused}");
}

#[tokio::test]
async fn a_refused_exchange_is_that_callers_trouble_alone_and_waits_before_the_next() {
    let server = TokenServer::answering(|_, asked| match asked.field("subject_token") {
        Some("bad") => json(400, r#"{"error":"invalid_grant","error_description":"<secret words>"}"#),
        _ => token("t", 3600),
    })
    .await;
    let (source, clock) = source_with(&server, exchanging());
    let (ann, bad, bob, good) = (caller("ann"), of_caller("bad", 600), caller("bob"), of_caller("good", 600));
    for _ in 0..5 {
        let refused = source.authorization(Behalf::Caller(&ann, Some(&bad))).await.unwrap_err();
        assert!(refused.contains("`invalid_grant`") && !refused.contains("secret words"), "{refused}");
    }
    assert_eq!(server.asked().len(), 1);
    assert!(source.authorization(Behalf::Caller(&bob, Some(&good))).await.is_ok());
    clock.advance(Duration::from_secs(1));
    assert!(source.authorization(Behalf::Caller(&ann, Some(&bad))).await.is_err());
    assert_eq!(server.asked().len(), 3);
}

#[tokio::test]
async fn an_answer_that_does_not_say_it_is_an_access_token_is_not_used() {
    for kind in [
        "",
        r#","issued_token_type":"urn:ietf:params:oauth:token-type:id_token""#,
        r#","issued_token_type":"urn:ietf:params:oauth:token-type:refresh_token""#,
    ] {
        let server = TokenServer::answering(move |_, _| {
            json(200, format!(r#"{{"access_token":"t","token_type":"Bearer"{kind}}}"#))
        })
        .await;
        let (source, _) = source_with(&server, exchanging());
        let (user, theirs) = (caller("u"), of_caller("theirs", 600));
        let refused = source.authorization(Behalf::Caller(&user, Some(&theirs))).await.unwrap_err();
        assert!(refused.contains("issued_token_type"), "{refused}");
    }
}
