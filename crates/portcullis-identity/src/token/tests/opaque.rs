//! Opaque tokens, looked up at their issuer (RFC 7662).

use portcullis_core::refusal::ProofFailure;
use serde_json::{Value, json};

use super::super::IntrospectionSettings;
use super::{Answer, NOW, RESOURCE, World, later};
use crate::Secret;

async fn world() -> World {
    world_where(false).await
}

async fn world_where(client_is_subject: bool) -> World {
    let world = World::new().await;
    let mut settings = world.settings.clone();
    settings.issuers[0].introspection = Some(IntrospectionSettings {
        url: format!("{}/introspect", world.server.base),
        client_id: "gateway".to_owned(),
        client_secret: Secret::Value("s3cret".to_owned()),
        cache_seconds: 30,
        negative_cache_seconds: 10,
        client_is_subject,
    });
    let verifier = super::TokenVerifier::new(&settings, super::Fetcher::new(None).unwrap()).unwrap();
    World { settings, verifier, ..world }
}

fn active() -> Value {
    json!({"active": true, "sub": "bob", "aud": RESOURCE, "scope": "read", "exp": 1_800_003_600})
}

fn questions(world: &World) -> usize {
    world.server.asked("/introspect").len()
}

#[tokio::test]
async fn an_active_token_makes_its_caller_and_is_asked_about_once_in_thirty_seconds() {
    let world = world().await;
    world.server.json("/introspect", active());
    for (second, expected) in [(0, 1), (29, 1), (30, 2)] {
        let verified = world.verify("opaque&1", later(second)).await.unwrap();
        assert_eq!(verified.caller.name, "corp:bob");
        assert_eq!(questions(&world), expected, "after {second} s");
    }
    let asked = world.server.asked("/introspect").remove(0);
    assert_eq!(asked.body, "token=opaque%261&token_type_hint=access_token");
    assert_eq!(asked.authorization.as_deref(), Some("Basic Z2F0ZXdheTpzM2NyZXQ="));
}

#[tokio::test]
async fn an_inactive_token_is_refused_and_asked_about_once_in_ten_seconds() {
    let world = world().await;
    world.server.json("/introspect", json!({"active": false}));
    for (second, expected) in [(0, 1), (9, 1), (10, 2)] {
        assert_eq!(world.verify("gone", later(second)).await.err(), Some(ProofFailure::TokenInactive));
        assert_eq!(questions(&world), expected, "after {second} s");
    }
}

#[tokio::test]
async fn a_revoked_token_ends_within_the_cache_time() {
    let world = world().await;
    world.server.json("/introspect", active());
    assert!(world.verify("token", NOW).await.is_ok());
    world.server.json("/introspect", json!({"active": false}));
    assert_eq!(world.verify("token", later(30)).await.err(), Some(ProofFailure::TokenInactive));
}

#[tokio::test]
async fn an_answer_never_outlives_the_token() {
    let world = world().await;
    let mut soon = active();
    soon["exp"] = json!(1_799_999_950);
    world.server.json("/introspect", soon);
    assert!(world.verify("token", NOW).await.is_ok(), "within the skew");
    assert_eq!(world.verify("token", later(10)).await.err(), Some(ProofFailure::TokenExpired));
}

#[tokio::test]
async fn without_exp_the_token_is_good_for_as_long_as_the_answer() {
    let world = world().await;
    let mut endless = active();
    endless.as_object_mut().unwrap().remove("exp");
    world.server.json("/introspect", endless);
    assert_eq!(world.verify("token", NOW).await.unwrap().expires, later(30));
}

#[tokio::test]
async fn the_subject_of_a_token_that_nobody_is_behind_is_its_client_where_the_operator_says_so() {
    let world = world_where(true).await;
    world
        .server
        .json("/introspect", json!({"active": true, "client_id": "worker", "aud": RESOURCE, "exp": 1_800_003_600}));
    let verified = world.verify("a client's own", NOW).await.unwrap();
    assert_eq!((verified.caller.name.as_str(), verified.caller.client.as_deref()), ("corp:worker", Some("worker")));
    world.server.json(
        "/introspect",
        json!({"active": true, "sub": "", "client_id": "worker", "aud": RESOURCE, "exp": 1_800_003_600}),
    );
    assert_eq!(world.failure("nobody").await, Some(ProofFailure::TokenClaims), "an empty one is not none");
    let strict = self::world().await;
    let unnamed = json!({"active": true, "client_id": "worker", "aud": RESOURCE, "exp": 1_800_003_600});
    strict.server.json("/introspect", unnamed);
    assert_eq!(strict.failure("somebody's").await, Some(ProofFailure::TokenClaims), "it might be a person's");
}

#[tokio::test]
async fn claims_of_an_answer_are_judged_like_those_of_a_token() {
    let world = world().await;
    for (token, claim, value, expected) in [
        ("1", "aud", json!("https://other.example.com"), ProofFailure::TokenAudience),
        ("2", "aud", Value::Null, ProofFailure::TokenAudience),
        ("3", "iss", json!("https://evil.example"), ProofFailure::TokenIssuer),
        ("4", "sub", Value::Null, ProofFailure::TokenClaims),
        ("5", "exp", json!(1), ProofFailure::TokenExpired),
        ("6", "nbf", json!(1_800_000_061), ProofFailure::TokenEarly),
        ("7", "active", json!("true"), ProofFailure::IssuerUnavailable),
        ("8", "active", Value::Null, ProofFailure::IssuerUnavailable),
    ] {
        let mut answer = active();
        match value {
            Value::Null => drop(answer.as_object_mut().unwrap().remove(claim)),
            value => answer[claim] = value,
        }
        world.server.json("/introspect", answer);
        assert_eq!(world.failure(token).await, Some(expected), "{claim}");
    }
}

#[tokio::test]
async fn an_endpoint_that_gives_no_clear_answer_refuses_and_is_asked_again_at_once() {
    let world = world().await;
    for answer in [
        Answer::Text(401, active().to_string()),
        Answer::Text(500, String::new()),
        Answer::Text(200, "<html>".to_owned()),
        Answer::Text(200, r#"{"active":false,"active":true}"#.to_owned()),
        Answer::Redirect(format!("{}/elsewhere", world.server.base)),
    ] {
        world.server.set("/introspect", answer);
        assert_eq!(world.failure("token").await, Some(ProofFailure::IssuerUnavailable));
    }
    world.server.json("/introspect", active());
    assert_eq!(world.failure("token").await, None);
}

#[tokio::test]
async fn a_signed_token_is_never_shown_to_the_endpoint() {
    let world = world().await;
    world.server.json("/introspect", active());
    let forged = super::Signer::p256().sign(&super::header(), &world.claims().to_string());
    assert_eq!(world.failure(&forged).await, Some(ProofFailure::TokenSignature));
    assert_eq!(questions(&world), 0);
}

#[tokio::test]
async fn a_question_that_finds_no_room_in_time_is_refused() {
    let world = world().await;
    let gate = std::sync::Arc::new(tokio::sync::Semaphore::new(0));
    world.server.set("/introspect", Answer::Gated(std::sync::Arc::clone(&gate), active().to_string()));
    let world = std::sync::Arc::new(world);
    let open: Vec<_> = (0..32)
        .map(|n| {
            let world = std::sync::Arc::clone(&world);
            tokio::spawn(async move { world.failure(&format!("token {n}")).await })
        })
        .collect();
    for _ in 0..32 {
        world.server.arrival().await;
    }
    assert_eq!(world.failure("one more").await, Some(ProofFailure::IssuerUnavailable));
    gate.add_permits(32);
    for one in open {
        assert_eq!(one.await.unwrap(), None);
    }
}
