//! The gateway as a client of a token server that is scripted: a good one, a strict one, and the hostile list.

mod exchange;
mod hostile;
mod registration;
mod server;

use std::sync::Arc;
use std::time::Duration;

use http::HeaderValue;
use portcullis_core::caller::{Caller, Proof};
use portcullis_core::clock::{FixedClock, Timestamp};
use portcullis_core::proofs::Token;

use self::server::{TokenServer, json, token};
use super::{Behalf, CredentialSettings, TokenSource};

const UPSTREAM: &str = "https://mcp.example.com/mcp?key=1";
/// 2026-07-28.
const NOW: Timestamp = Timestamp(1_785_231_000_000);

fn settings(rest: serde_json::Value) -> CredentialSettings {
    let mut all = serde_json::json!({
        "grant": "client_credentials", "client_id": "gateway", "client_secret": { "value": "s3cret" },
    });
    for (key, value) in rest.as_object().unwrap() {
        if value.is_null() {
            all.as_object_mut().unwrap().remove(key)
        } else {
            all.as_object_mut().unwrap().insert(key.clone(), value.clone())
        };
    }
    serde_json::from_value(all).unwrap()
}

/// A source of client credentials from this server, and its clock.
fn source(server: &TokenServer) -> (Arc<TokenSource>, Arc<FixedClock>) {
    source_with(server, serde_json::json!({}))
}

fn source_with(server: &TokenServer, rest: serde_json::Value) -> (Arc<TokenSource>, Arc<FixedClock>) {
    let mut settings = settings(rest);
    if settings.issuer.is_none() {
        settings.token_endpoint = Some(format!("{}/token", server.base));
    }
    let clock = Arc::new(FixedClock::at(NOW));
    let handed: Arc<FixedClock> = Arc::clone(&clock);
    (TokenSource::new(&settings, UPSTREAM, handed).unwrap(), clock)
}

/// What the gateway itself would send.
async fn own(source: &Arc<TokenSource>) -> Result<String, String> {
    source.authorization(Behalf::Gateway).await.map(|value| text(&value.unwrap()))
}

fn text(value: &HeaderValue) -> String {
    assert!(value.is_sensitive());
    value.to_str().unwrap().to_owned()
}

fn caller(subject: &str) -> Caller {
    Caller {
        issuer: Some("https://idp.example".into()),
        ..Caller::new(format!("idp:{subject}"), Proof::Token, Vec::new())
    }
}

/// A caller's token that ends in so many seconds.
fn of_caller(secret: &str, seconds: u64) -> Token {
    Token { secret: secret.into(), expires: Timestamp(NOW.0 + seconds * 1000) }
}

/// Waits for what another task does, which wakes nobody here.
async fn until(done: impl Fn() -> bool) {
    tokio::time::timeout(Duration::from_secs(20), async {
        while !done() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await
    .unwrap();
}

#[tokio::test]
async fn a_token_is_for_this_upstream_and_kept_f22_f32() {
    let server = TokenServer::counting().await;
    let (source, _) = source_with(&server, serde_json::json!({"scopes": ["a", "b"], "audience": "api"}));
    assert_eq!(own(&source).await.unwrap(), "Bearer t0");
    let (caller, theirs) = (caller("u"), of_caller("theirs", 60));
    let shared = source.authorization(Behalf::Caller(&caller, Some(&theirs))).await.unwrap().unwrap();
    assert_eq!(text(&shared), "Bearer t0", "one token for all calls, and never the caller's");
    let asked = server.asked();
    assert_eq!(asked.len(), 1);
    assert_eq!(asked[0].path, "/token");
    for (name, value) in [
        ("grant_type", Some("client_credentials")),
        ("resource", Some("https://mcp.example.com/mcp")),
        ("audience", Some("api")),
        ("scope", Some("a b")),
        ("client_secret", None),
        ("subject_token", None),
    ] {
        assert_eq!(asked[0].field(name), value, "{name}");
    }
    // `gateway:s3cret`.
    assert_eq!(asked[0].authorization.as_deref(), Some("Basic Z2F0ZXdheTpzM2NyZXQ="));
}

#[tokio::test]
async fn a_hundred_calls_at_once_ask_once() {
    let server = TokenServer::counting().await;
    let (source, _) = source(&server);
    let calls = (0..100).map(|_| own(&source));
    let answers = futures_util::future::join_all(calls).await;
    assert!(answers.iter().all(|answer| answer.as_deref() == Ok("Bearer t0")));
    assert_eq!(server.asked().len(), 1);
}

#[tokio::test]
async fn a_token_is_renewed_before_it_ends_while_the_old_one_still_serves() {
    let server = TokenServer::counting().await;
    let (source, clock) = source(&server);
    own(&source).await.unwrap();
    clock.advance(Duration::from_secs(2879));
    assert_eq!(own(&source).await.unwrap(), "Bearer t0");
    assert_eq!(server.asked().len(), 1);
    clock.advance(Duration::from_secs(1));
    assert_eq!(own(&source).await.unwrap(), "Bearer t0", "nobody waits for what is not yet needed");
    until(|| server.asked().len() == 2).await;
    for _ in 0..200 {
        if own(&source).await.unwrap() == "Bearer t1" {
            return;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    panic!("the new token was never used");
}

#[tokio::test]
async fn a_token_is_not_used_in_its_last_seconds() {
    let server = TokenServer::counting().await;
    let (source, clock) = source(&server);
    own(&source).await.unwrap();
    clock.advance(Duration::from_secs(3590));
    assert_eq!(own(&source).await.unwrap(), "Bearer t1");
}

#[tokio::test]
async fn a_token_without_a_told_life_is_asked_for_anew_soon_and_one_for_a_year_after_an_hour() {
    for (told, used) in [("", 290), (r#","expires_in":31536000"#, 3590)] {
        let server = TokenServer::answering(move |before, _| {
            json(200, format!(r#"{{"access_token":"t{before}","token_type":"bearer"{told}}}"#))
        })
        .await;
        let (source, clock) = source(&server);
        assert_eq!(own(&source).await.unwrap(), "Bearer t0");
        clock.advance(Duration::from_secs(used));
        assert_eq!(own(&source).await.unwrap(), "Bearer t1", "{told}");
    }
}

#[tokio::test]
async fn a_caller_that_goes_away_does_not_make_the_next_one_begin_anew() {
    let gate = Arc::new(tokio::sync::Semaphore::new(0));
    let held = Arc::clone(&gate);
    let server = TokenServer::scripted(move |before, _| {
        let held = Arc::clone(&held);
        async move {
            let _ = held.acquire().await;
            token(&format!("t{before}"), 3600)
        }
    })
    .await;
    let (source, _) = source(&server);
    tokio::select! {
        _ = own(&source) => panic!("nobody answered"),
        () = until(|| server.asked().len() == 1) => {}
    }
    gate.add_permits(10);
    assert_eq!(own(&source).await.unwrap(), "Bearer t0");
    assert_eq!(server.asked().len(), 1);
}

#[tokio::test]
async fn a_refused_token_is_replaced_once_a_minute() {
    let server = TokenServer::counting().await;
    let (source, clock) = source(&server);
    let first = source.authorization(Behalf::Gateway).await.unwrap().unwrap();
    assert!(source.refused(Behalf::Gateway, &first));
    assert!(source.refused(Behalf::Gateway, &first), "somebody else was faster");
    let second = source.authorization(Behalf::Gateway).await.unwrap().unwrap();
    assert_eq!(text(&second), "Bearer t1");
    assert!(source.refused(Behalf::Gateway, &first), "there is a newer one");
    assert!(!source.refused(Behalf::Gateway, &second), "a server that refuses whatever it gets");
    assert_eq!(own(&source).await.unwrap(), "Bearer t1");
    clock.advance(Duration::from_secs(60));
    assert!(source.refused(Behalf::Gateway, &second));
    assert_eq!(own(&source).await.unwrap(), "Bearer t2");
    assert_eq!(server.asked().len(), 3);
}

#[tokio::test]
async fn a_replaced_secret_file_is_used_for_the_next_token() {
    let server = TokenServer::counting().await;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("secret");
    std::fs::write(&file, "old\n").unwrap();
    let (source, clock) = source_with(
        &server,
        serde_json::json!({"client_authentication": "client_secret_post", "client_secret": {"file": file}}),
    );
    own(&source).await.unwrap();
    std::fs::write(&file, "new\n").unwrap();
    clock.advance(Duration::from_secs(3600));
    own(&source).await.unwrap();
    let asked = server.asked();
    assert_eq!((asked[0].field("client_secret"), asked[1].field("client_secret")), (Some("old"), Some("new")));
    assert_eq!((asked[0].field("client_id"), asked[0].authorization.as_deref()), (Some("gateway"), None));
}

#[tokio::test]
async fn nothing_secret_is_ever_printed() {
    let server = TokenServer::counting().await;
    let (source, _) = source(&server);
    let value = source.authorization(Behalf::Gateway).await.unwrap();
    let shown = format!("{:?} {:?} {:?}", settings(serde_json::json!({})), source, value);
    assert!(!shown.contains("s3cret") && !shown.contains("t0"), "{shown}");
}
