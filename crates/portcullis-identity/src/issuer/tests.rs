mod keys;
mod refresh;

use portcullis_core::clock::Timestamp;
use portcullis_core::refusal::ProofFailure;
use serde_json::json;

use super::discovery::{addresses, keys_address_in};
use super::testing::{Signer, set};
use super::{Algorithm, Issuer, KeySettings, metadata};
use crate::fetch::Fetcher;
use crate::fetch::testing::{Answer, Server};

const NOW: Timestamp = Timestamp(1_800_000_000_000);

fn later(seconds: u64) -> Timestamp {
    Timestamp(NOW.0 + seconds * 1000)
}

fn fetcher() -> Fetcher {
    Fetcher::new(None).unwrap()
}

/// An issuer whose keys are at `/keys`.
fn at_keys(server: &Server) -> Issuer {
    let settings = KeySettings { url: Some(format!("{}/keys", server.base)), ..KeySettings::default() };
    Issuer::new(&server.base, &settings, fetcher(), "here").unwrap()
}

async fn failure(issuer: &Issuer, kid: &str, now: Timestamp) -> Option<ProofFailure> {
    issuer.key(Some(kid), Algorithm::Es256, now).await.err().map(|failed| failed.failure)
}

#[test]
fn metadata_is_looked_for_in_the_order_of_f19() {
    let texts = |issuer| addresses(issuer).into_iter().map(String::from).collect::<Vec<_>>();
    assert_eq!(
        texts("https://login.example.com/tenant"),
        [
            "https://login.example.com/.well-known/oauth-authorization-server/tenant",
            "https://login.example.com/.well-known/openid-configuration/tenant",
            "https://login.example.com/tenant/.well-known/openid-configuration",
        ]
    );
    assert_eq!(
        texts("https://login.example.com/"),
        [
            "https://login.example.com/.well-known/oauth-authorization-server",
            "https://login.example.com/.well-known/openid-configuration",
        ]
    );
}

#[tokio::test]
async fn metadata_of_another_issuer_is_discarded_and_the_next_address_tried_f20() {
    let server = Server::start().await;
    let issuer = format!("{}/tenant", server.base);
    server.json("/.well-known/oauth-authorization-server/tenant", json!({"issuer": format!("{issuer}/"), "n": 1}));
    server.json("/.well-known/openid-configuration/tenant", "garbage");
    let failed = metadata(&fetcher(), &issuer).await.unwrap_err();
    assert_eq!(failed.failure, ProofFailure::IssuerUnavailable);
    server.json("/tenant/.well-known/openid-configuration", json!({"issuer": issuer, "n": 3}));
    assert_eq!(metadata(&fetcher(), &issuer).await.unwrap()["n"], 3);
}

#[tokio::test]
async fn keys_are_found_by_discovery() {
    let server = Server::start().await;
    let document = json!({"issuer": server.base, "jwks_uri": format!("{}/found", server.base)});
    server.json("/.well-known/openid-configuration", document);
    server.json("/found", set(&[Signer::p256().jwk("a")]));
    let issuer = Issuer::new(&server.base, &KeySettings::default(), fetcher(), "here").unwrap();
    assert_eq!(failure(&issuer, "a", NOW).await, None);
}

#[test]
fn a_remote_issuer_cannot_send_us_to_this_machine_or_to_plain_http_f40() {
    let address = |uri: &str| {
        let metadata = json!({ "jwks_uri": uri });
        keys_address_in(metadata.as_object().unwrap(), "https://login.example.com").is_ok()
    };
    assert!(address("https://keys.example.com/set"));
    for uri in ["http://127.0.0.1/set", "https://127.0.0.1/set", "https://[::1]/", "http://keys.example.com/", "x", ""]
    {
        assert!(!address(uri), "{uri}");
    }
}

#[test]
fn contradictions_in_settings_name_their_key() {
    let error = |issuer: &str, settings: KeySettings| Issuer::new(issuer, &settings, fetcher(), "here").unwrap_err();
    let url = || Some("https://login.example.com/keys".to_owned());
    let both = KeySettings { url: url(), file: Some("keys.json".into()), ..KeySettings::default() };
    assert!(error("https://a.example", both).starts_with("here.keys:"));
    let plain = KeySettings { url: Some("http://login.example.com/keys".to_owned()), ..KeySettings::default() };
    assert!(error("https://a.example", plain).starts_with("here.keys.url:"));
    let none = KeySettings { algorithms: Vec::new(), ..KeySettings::default() };
    assert!(error("https://a.example", none).starts_with("here.keys.algorithms:"));
    let eager = KeySettings { interval_seconds: 0, ..KeySettings::default() };
    assert!(error("https://a.example", eager).starts_with("here.keys.interval_seconds:"));
    let short = KeySettings { stale_seconds: 1, ..KeySettings::default() };
    assert!(error("https://a.example", short).starts_with("here.keys.stale_seconds:"));
    assert!(error("http://a.example", KeySettings::default()).starts_with("here.issuer:"));
    assert!(error("https://a.example?x=1", KeySettings::default()).starts_with("here.issuer:"));
}

#[test]
fn none_and_shared_secrets_cannot_be_configured() {
    for name in ["none", "HS256", "HS384", "HS512", "rs256", ""] {
        assert!(serde_json::from_value::<Algorithm>(json!(name)).is_err(), "{name}");
        assert_eq!(Algorithm::named(name), None, "{name}");
    }
    let read = serde_json::from_value::<Algorithm>(json!("PS512")).unwrap();
    assert_eq!(Some(read), Algorithm::named("PS512"));
}

#[tokio::test]
async fn keys_from_a_file_need_no_network_and_never_age() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("keys.json"), set(&[Signer::p256().jwk("a")])).unwrap();
    let mut settings = KeySettings { file: Some("keys.json".into()), ..KeySettings::default() };
    settings.relative_to(folder.path());
    let issuer = Issuer::new("urn:agents", &settings, fetcher(), "here").unwrap();
    for now in [NOW, later(10_000_000)] {
        assert_eq!(failure(&issuer, "a", now).await, None);
        assert_eq!(failure(&issuer, "b", now).await, Some(ProofFailure::TokenKey));
    }
    settings.file = Some(folder.path().join("absent.json"));
    assert!(Issuer::new("urn:agents", &settings, fetcher(), "here").unwrap_err().starts_with("here.keys.file:"));
}

#[tokio::test]
async fn key_sets_that_are_redirecting_huge_garbage_or_private_yield_no_key() {
    let server = Server::start().await;
    let good = Signer::p256().jwk("a");
    server.json("/elsewhere", set(std::slice::from_ref(&good)));
    let mut private = good.clone();
    private["d"] = json!("AAAA");
    let twice = set(std::slice::from_ref(&good)).replacen("{\"keys\"", "{\"keys\":[],\"keys\"", 1);
    let many = vec![good.clone(); 65];
    for (case, answer) in [
        ("redirect", Answer::Redirect(format!("{}/elsewhere", server.base))),
        ("huge", Answer::Text(200, format!("{}{}", set(std::slice::from_ref(&good)), " ".repeat(300_000)))),
        ("garbage", Answer::Text(200, "<html>".to_owned())),
        ("not a set", Answer::Text(200, "[]".to_owned())),
        ("empty", Answer::Text(200, set(&[]))),
        ("private", Answer::Text(200, set(&[private]))),
        ("twice", Answer::Text(200, twice)),
        ("too many", Answer::Text(200, set(&many))),
        ("deep", Answer::Text(200, format!("{{\"keys\":{}{}}}", "[".repeat(200), "]".repeat(200)))),
        ("down", Answer::Text(503, String::new())),
    ] {
        server.set("/keys", answer);
        assert_eq!(failure(&at_keys(&server), "a", NOW).await, Some(ProofFailure::IssuerUnavailable), "{case}");
    }
    server.json("/keys", set(&[good]));
    assert_eq!(failure(&at_keys(&server), "a", NOW).await, None, "the same way is good with good keys");
}

#[tokio::test(start_paused = true)]
async fn a_slow_issuer_is_unavailable() {
    let server = Server::start().await;
    server.set("/keys", Answer::Silence);
    assert_eq!(failure(&at_keys(&server), "a", NOW).await, Some(ProofFailure::IssuerUnavailable));
}
