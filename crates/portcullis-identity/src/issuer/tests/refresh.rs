//! When keys are fetched, and what holds meanwhile.

use std::sync::Arc;

use futures_util::future::join_all;
use portcullis_core::clock::Timestamp;
use portcullis_core::refusal::ProofFailure;
use tokio::sync::Semaphore;

use super::super::Algorithm;
use super::super::testing::{Signer, set};
use super::{NOW, at_keys, failure, later};
use crate::fetch::testing::{Answer, Server};

fn fetches(server: &Server) -> usize {
    server.asked("/keys").len()
}

fn publish(server: &Server, kids: &[&str]) {
    let keys: Vec<_> = kids.iter().map(|kid| Signer::p256().jwk(kid)).collect();
    server.json("/keys", set(&keys));
}

#[tokio::test]
async fn many_requests_at_once_make_one_fetch() {
    let server = Server::start().await;
    publish(&server, &["a"]);
    let issuer = at_keys(&server);
    let all = join_all((0..50).map(|_| failure(&issuer, "a", NOW))).await;
    assert_eq!((all, fetches(&server)), (vec![None; 50], 1));
}

#[tokio::test]
async fn a_flood_of_unknown_keys_makes_one_fetch_per_interval() {
    let server = Server::start().await;
    publish(&server, &["a"]);
    let issuer = at_keys(&server);
    assert_eq!(failure(&issuer, "a", NOW).await, None);
    for second in 0..60 {
        let kids: Vec<String> = (0..20).map(|n| format!("{second}-{n}")).collect();
        let all = join_all(kids.iter().map(|kid| failure(&issuer, kid, later(second)))).await;
        assert_eq!(all, vec![Some(ProofFailure::TokenKey); 20]);
    }
    assert_eq!(fetches(&server), 2, "the first one, and one after 30 s; 1,200 unknown keys");
}

#[tokio::test]
async fn one_unknown_key_is_not_looked_for_twice_in_two_minutes() {
    let server = Server::start().await;
    publish(&server, &["a"]);
    let issuer = at_keys(&server);
    for (second, expected) in [(0, 1), (40, 1), (80, 1), (119, 1), (120, 2)] {
        assert_eq!(failure(&issuer, "stray", later(second)).await, Some(ProofFailure::TokenKey));
        assert_eq!(fetches(&server), expected, "after {second} s");
    }
}

#[tokio::test]
async fn a_new_key_is_accepted_and_the_withdrawn_one_is_not() {
    let server = Server::start().await;
    publish(&server, &["old"]);
    let issuer = at_keys(&server);
    assert_eq!(failure(&issuer, "old", NOW).await, None);
    let before = issuer.version(NOW);
    publish(&server, &["new"]);
    assert_eq!(failure(&issuer, "new", later(29)).await, Some(ProofFailure::TokenKey), "not within the interval");
    assert_eq!(failure(&issuer, "new", later(30)).await, None);
    assert_eq!(failure(&issuer, "old", later(31)).await, Some(ProofFailure::TokenKey));
    assert_ne!(issuer.version(later(31)), before, "what the old keys verified must be verified again");
}

#[tokio::test]
async fn old_keys_serve_while_new_ones_are_fetched() {
    let server = Server::start().await;
    publish(&server, &["a"]);
    let issuer = at_keys(&server);
    assert_eq!(failure(&issuer, "a", NOW).await, None);
    let gate = Arc::new(Semaphore::new(0));
    server.arrival().await;
    server.set("/keys", Answer::Gated(Arc::clone(&gate), set(&[Signer::p256().jwk("b")])));
    // Nobody has let the second fetch answer yet.
    assert_eq!(failure(&issuer, "a", later(600)).await, None);
    server.arrival().await;
    gate.add_permits(1);
    assert_eq!(failure(&issuer, "b", later(600)).await, None, "whoever needs the new set waits for it");
    assert_eq!(fetches(&server), 2);
}

#[tokio::test]
async fn the_same_set_fetched_again_keeps_its_version() {
    let server = Server::start().await;
    publish(&server, &["a"]);
    let issuer = at_keys(&server);
    assert_eq!(failure(&issuer, "a", NOW).await, None);
    assert_eq!(failure(&issuer, "b", later(30)).await, Some(ProofFailure::TokenKey));
    assert_eq!((fetches(&server), issuer.version(later(30))), (2, Some(1)));
}

#[tokio::test]
async fn good_keys_outlive_an_outage_but_not_for_ever() {
    let server = Server::start().await;
    publish(&server, &["a"]);
    let issuer = at_keys(&server);
    assert_eq!(failure(&issuer, "a", NOW).await, None);
    server.set("/keys", Answer::Text(503, String::new()));
    assert_eq!(failure(&issuer, "b", later(40)).await, Some(ProofFailure::IssuerUnavailable), "nobody can tell");
    assert_eq!(failure(&issuer, "a", later(86_400)).await, None);
    assert_eq!(failure(&issuer, "a", later(86_401)).await, Some(ProofFailure::IssuerUnavailable));
    assert_eq!(issuer.version(later(86_401)), None);
}

#[tokio::test]
async fn after_a_failure_the_issuer_is_asked_again_within_seconds_and_not_before() {
    let server = Server::start().await;
    server.set("/keys", Answer::Text(503, String::new()));
    let issuer = at_keys(&server);
    for second in [0, 1, 4] {
        assert_eq!(failure(&issuer, "a", later(second)).await, Some(ProofFailure::IssuerUnavailable));
    }
    assert_eq!(fetches(&server), 1);
    publish(&server, &["a"]);
    assert_eq!(failure(&issuer, "a", later(5)).await, None);
}

#[tokio::test]
async fn a_clock_that_was_set_back_neither_stops_refreshing_nor_prolongs_keys() {
    let server = Server::start().await;
    publish(&server, &["a"]);
    let issuer = at_keys(&server);
    assert_eq!(failure(&issuer, "a", NOW).await, None);
    publish(&server, &["b"]);
    let earlier = Timestamp(NOW.0 - 3_600_000);
    assert_eq!(failure(&issuer, "b", earlier).await, None);
    let much_earlier = Timestamp(NOW.0 - 200_000_000);
    server.set("/keys", Answer::Text(503, String::new()));
    assert_eq!(failure(&issuer, "b", much_earlier).await, Some(ProofFailure::IssuerUnavailable));
}

#[tokio::test]
async fn a_caller_that_hangs_up_does_not_end_the_fetch_for_others() {
    let server = Server::start().await;
    let gate = Arc::new(Semaphore::new(0));
    server.set("/keys", Answer::Gated(Arc::clone(&gate), set(&[Signer::p256().jwk("a")])));
    let issuer = at_keys(&server);
    let asking = issuer.clone();
    let hanging_up = tokio::spawn(async move { failure(&asking, "a", NOW).await });
    server.arrival().await;
    hanging_up.abort();
    assert!(hanging_up.await.unwrap_err().is_cancelled());
    gate.add_permits(1);
    assert_eq!(failure(&issuer, "a", NOW).await, None);
    assert_eq!(fetches(&server), 1);
}

#[tokio::test]
async fn without_a_kid_the_only_fitting_key_is_meant_and_two_of_one_name_are_none() {
    let server = Server::start().await;
    server.json("/keys", set(&[Signer::p256().jwk("a"), Signer::ed25519().jwk("b")]));
    let issuer = at_keys(&server);
    assert!(issuer.key(None, Algorithm::Es256, NOW).await.is_ok());
    publish(&server, &["a", "a", "c"]);
    let issuer = at_keys(&server);
    let unnamed = issuer.key(None, Algorithm::Es256, NOW).await.unwrap_err();
    assert_eq!(unnamed.failure, ProofFailure::TokenKey);
    assert_eq!(failure(&issuer, "a", NOW).await, Some(ProofFailure::TokenKey));
    assert_eq!(failure(&issuer, "c", NOW).await, None);
}
