//! What is remembered of a token ends with the token, its keys and the clock.

use portcullis_core::clock::Timestamp;
use portcullis_core::refusal::ProofFailure;

use super::{Algorithm, Answer, Fetcher, NOW, OAuthSettings, Signer, TokenVerifier, World, later, set};

#[tokio::test]
async fn a_token_seen_before_is_not_verified_again() {
    let world = World::new().await;
    let token = world.sign(&world.claims());
    let first = world.verify(&token, NOW).await.unwrap();
    let again = world.verify(&token, later(1)).await.unwrap();
    assert!(std::sync::Arc::ptr_eq(&first, &again));
}

#[tokio::test]
async fn a_remembered_token_expires_like_any_other() {
    let world = World::new().await;
    let token = world.sign(&world.claims());
    assert!(world.verify(&token, NOW).await.is_ok());
    assert!(world.verify(&token, later(3659)).await.is_ok(), "within the skew");
    assert_eq!(world.verify(&token, later(3660)).await.err(), Some(ProofFailure::TokenExpired));
}

#[tokio::test]
async fn a_clock_set_back_makes_a_remembered_token_early() {
    let world = World::new().await;
    let token = world.sign(&world.claims());
    assert!(world.verify(&token, NOW).await.is_ok());
    let before = Timestamp(NOW.0 - 61_000);
    assert_eq!(world.verify(&token, before).await.err(), Some(ProofFailure::TokenEarly));
}

#[tokio::test]
async fn a_withdrawn_key_ends_the_tokens_that_it_signed_and_a_new_one_works_at_once() {
    let world = World::new().await;
    let token = world.sign(&world.claims());
    assert!(world.verify(&token, NOW).await.is_ok());
    let new = Signer::p256();
    world.server.json("/keys", set(&[new.jwk("b")]));
    let next = new.sign(&super::header_with("kid", "b".into()), &world.claims().to_string());
    assert!(world.verify(&next, later(30)).await.is_ok(), "rotation needs no restart");
    assert_eq!(world.verify(&token, later(31)).await.err(), Some(ProofFailure::TokenKey));
}

#[tokio::test]
async fn requests_with_remembered_tokens_alone_keep_the_keys_current() {
    let world = World::new().await;
    let token = world.sign(&world.claims());
    assert!(world.verify(&token, NOW).await.is_ok());
    world.server.arrival().await;
    assert!(world.verify(&token, later(600)).await.is_ok());
    world.server.arrival().await;
    assert_eq!(world.server.asked("/keys").len(), 2);
}

#[tokio::test]
async fn keys_that_went_stale_end_remembered_tokens() {
    let world = World::with(|settings| settings.issuers[0].keys.stale_seconds = 600).await;
    let token = world.sign(&world.claims());
    assert!(world.verify(&token, NOW).await.is_ok());
    world.server.set("/keys", Answer::Text(503, String::new()));
    assert_eq!(world.verify(&token, later(601)).await.err(), Some(ProofFailure::IssuerUnavailable));
}

#[tokio::test]
async fn a_reload_keeps_the_keys_of_an_issuer_that_stays_the_same_and_of_no_other() {
    let world = World::new().await;
    let token = world.sign(&world.claims());
    assert!(world.verify(&token, NOW).await.is_ok());
    world.server.set("/keys", Answer::Text(500, String::new()));
    let reloaded = |settings: &OAuthSettings| {
        let mut verifier = TokenVerifier::new(settings, Fetcher::new(None).unwrap()).unwrap();
        verifier.inherit(&world.verifier);
        verifier
    };
    assert!(reloaded(&world.settings).verify(&token, NOW).await.is_ok(), "nobody asked the issuer again");
    let mut changed = world.settings.clone();
    changed.issuers[0].keys.algorithms.push(Algorithm::Rs256);
    let failed = reloaded(&changed).verify(&token, NOW).await.unwrap_err();
    assert_eq!(failed.failure, ProofFailure::IssuerUnavailable, "other settings, other keys");
}
