//! What a request carries for whom: tokens from an authorization server, call chains, and never what the client itself sent (F31–F33).

use std::sync::Arc;

use http::{HeaderMap, HeaderValue};
use portcullis_core::call::{SessionKey, Subject};
use portcullis_core::caller::{Caller, Proof};
use portcullis_core::clock::FixedClock;
use portcullis_core::proofs::{Chain, Proofs, Token};
use portcullis_core::refusal::FaultKind;
use portcullis_core::upstream::Upstream;
use portcullis_core::wire::Limits;
use portcullis_identity::chain::{ChainSettings, ChainSigner, ChainVerifier};
use portcullis_identity::client::CredentialSettings;
use sha2::{Digest, Sha256};
use tokio::io::AsyncWriteExt;

use super::{CALL, INITIALIZE, NOW, made, settings};
use crate::HttpUpstream;
use crate::settings::{EraSetting, HttpSettings, Secret};
use crate::testing::{Canned, Facts, Heard, all, events, id_of, json, legacy, modern, modern_call};

const ANSWER: &str = r#"{"jsonrpc":"2.0","id":7,"result":{}}"#;

/// Gives `t0`, `t1` and so on; for an exchange, the caller's own with the number behind it.
async fn token_server() -> Canned {
    let given = Arc::new(std::sync::atomic::AtomicUsize::new(0));
    Canned::scripted(move |heard, mut socket| {
        let number = given.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
        async move {
            let subject = heard.body.split('&').find_map(|field| field.strip_prefix("subject_token="));
            let token = format!("{}{number}", subject.unwrap_or("t"));
            let body = format!(
                r#"{{"access_token":"{token}","token_type":"Bearer","expires_in":3600,"issued_token_type":"urn:ietf:params:oauth:token-type:access_token"}}"#
            );
            socket.write_all(json(200, &body).as_bytes()).await.ok()?;
            Some(socket)
        }
    })
    .await
}

/// A server that answers by script and keeps the connection.
async fn server(answer: impl Fn(&Heard) -> String + Send + Sync + 'static) -> Canned {
    let answer = Arc::new(answer);
    Canned::scripted(move |heard, mut socket| {
        let answer = answer(&heard);
        async move {
            socket.write_all(answer.as_bytes()).await.ok()?;
            answer.contains("content-length").then_some(socket)
        }
    })
    .await
}

fn credentials(tokens: &Canned, grant: &str) -> CredentialSettings {
    serde_json::from_value(serde_json::json!({
        "grant": grant, "token_endpoint": tokens.url, "client_id": "gateway", "client_secret": {"value": "s"},
    }))
    .unwrap()
}

fn with_tokens(server: &Canned, tokens: &Canned, grant: &str, era: EraSetting) -> Arc<HttpUpstream> {
    let mut settings = settings(&server.url, era);
    settings.credentials = Some(credentials(tokens, grant));
    made(&settings, Limits::default()).unwrap()
}

/// A call of somebody who proved itself with this token.
fn of(secret: &str, mut facts: Facts) -> Facts {
    facts.caller = Caller::new(format!("idp:{secret}"), Proof::Token, Vec::new());
    let expires = portcullis_core::clock::Timestamp(NOW.0 + 600_000);
    facts.proofs = Proofs { token: Some(Token { secret: secret.into(), expires }), ..Proofs::default() };
    facts
}

fn authorizations(server: &Canned) -> Vec<Option<String>> {
    server.heard().iter().map(|heard| heard.header("authorization").map(str::to_owned)).collect()
}

#[tokio::test]
async fn every_request_carries_the_gateways_token_and_never_the_callers_f31_f32() {
    let tokens = token_server().await;
    let server = server(|heard| match heard.method() {
        "GET" => events(""),
        _ if heard.body.contains("\"initialize\"") => {
            let result = format!(
                r#"{{"jsonrpc":"2.0","id":{},"result":{{"protocolVersion":"2025-11-25","capabilities":{{}}}}}}"#,
                id_of(&heard.body)
            );
            json(200, &result).replacen("content-type", "mcp-session-id: sid\r\ncontent-type", 1)
        }
        _ => json(200, ANSWER),
    })
    .await;
    let upstream = with_tokens(&server, &tokens, "client_credentials", EraSetting::Legacy);
    let theirs = || of("theirs", legacy(1));
    all(upstream.send(theirs().say(INITIALIZE)).await.unwrap()).await;
    all(upstream.send(theirs().say(CALL)).await.unwrap()).await;
    all(upstream.send(theirs().clear(Subject::Stream { last_event_id: None, request: None })).await.unwrap()).await;
    upstream.forget(SessionKey(1)).await;
    let methods: Vec<String> = server.heard().iter().map(|heard| heard.method().to_owned()).collect();
    assert!(["POST", "GET", "DELETE"].iter().all(|method| methods.iter().any(|sent| sent == method)), "{methods:?}");
    assert!(authorizations(&server).iter().all(|sent| sent.as_deref() == Some("Bearer t0")));
    assert!(server.heard().iter().all(|heard| !heard.head.contains("theirs") && !heard.body.contains("theirs")));
    assert_eq!(tokens.heard().len(), 1);
}

#[tokio::test]
async fn each_caller_gets_its_own_exchanged_token_f32() {
    let tokens = token_server().await;
    let server = server(|_| json(200, ANSWER)).await;
    let upstream = with_tokens(&server, &tokens, "token_exchange", EraSetting::Modern);
    for secret in ["ann", "bob", "ann"] {
        all(upstream.send(of(secret, modern()).say(&modern_call("7"))).await.unwrap()).await;
    }
    let sent = authorizations(&server);
    assert_eq!(sent, ["Bearer ann0", "Bearer bob1", "Bearer ann0"].map(|sent| Some(sent.to_owned())));
}

#[tokio::test]
async fn a_caller_without_a_token_to_exchange_is_refused_and_nothing_is_sent() {
    let tokens = token_server().await;
    let server = server(|_| json(200, ANSWER)).await;
    let upstream = with_tokens(&server, &tokens, "token_exchange", EraSetting::Modern);
    let fault = upstream.send(modern().say(&modern_call("7"))).await.unwrap_err();
    assert_eq!((fault.kind, fault.never_left), (FaultKind::Unauthorized, true));
    assert!(fault.detail.contains("anonymous"), "{}", fault.detail);
    assert_eq!((server.heard().len(), tokens.heard().len()), (0, 0));
}

#[tokio::test]
async fn without_a_token_nothing_is_sent() {
    let tokens = Canned::bytes(json(503, "")).await;
    let server = server(|_| json(200, ANSWER)).await;
    let upstream = with_tokens(&server, &tokens, "client_credentials", EraSetting::Modern);
    for _ in 0..3 {
        let fault = upstream.send(modern().say(&modern_call("7"))).await.unwrap_err();
        assert_eq!((fault.kind, fault.never_left), (FaultKind::Unauthorized, true));
    }
    assert_eq!((server.heard().len(), tokens.heard().len()), (0, 1));
}

#[tokio::test]
async fn a_refused_token_is_replaced_and_the_call_sent_once_more() {
    let tokens = token_server().await;
    let server = server(|heard| match heard.header("authorization") {
        Some("Bearer t0") => json(401, "{}"),
        _ => json(200, ANSWER),
    })
    .await;
    let upstream = with_tokens(&server, &tokens, "client_credentials", EraSetting::Modern);
    for _ in 0..2 {
        assert!(all(upstream.send(modern().say(&modern_call("7"))).await.unwrap()).await[0].is_ok());
    }
    let sent = authorizations(&server);
    assert_eq!(sent, ["Bearer t0", "Bearer t1", "Bearer t1"].map(|sent| Some(sent.to_owned())));
    assert_eq!(server.heard()[0].body, server.heard()[1].body);
}

#[tokio::test]
async fn a_server_that_refuses_every_token_is_a_fault_and_costs_one_token_more() {
    let tokens = token_server().await;
    let challenge =
        "www-authenticate: Bearer resource_metadata=\"https://evil.example\"\r\nset-cookie: a=b\r\ncontent-type";
    let server = server(move |_| json(401, "{}").replacen("content-type", challenge, 1)).await;
    let upstream = with_tokens(&server, &tokens, "client_credentials", EraSetting::Modern);
    for requests in [2, 3, 4] {
        let fault = upstream.send(modern().say(&modern_call("7"))).await.unwrap_err();
        assert_eq!((&fault.kind, fault.never_left), (&FaultKind::Unauthorized, false));
        assert!(!fault.detail.contains("evil"), "F17: {}", fault.detail);
        assert_eq!(server.heard().len(), requests);
    }
    assert_eq!(tokens.heard().len(), 2);
}

#[tokio::test]
async fn a_static_header_that_is_refused_is_not_sent_again() {
    let server = server(|_| json(401, "{}")).await;
    let mut settings = settings(&server.url, EraSetting::Modern);
    settings.headers.insert("authorization".into(), Secret::Value("Bearer ours".into()));
    let upstream = made(&settings, Limits::default()).unwrap();
    let fault = upstream.send(modern().say(&modern_call("7"))).await.unwrap_err();
    assert_eq!(fault.kind, FaultKind::Unauthorized);
    assert_eq!(server.heard().len(), 1);
}

#[test]
fn two_makers_of_one_header_are_a_contradiction() {
    let settings: HttpSettings = serde_json::from_str(
        r#"{"url":"https://mcp.example/mcp","headers":{"Authorization":{"value":"x"}},
            "credentials":{"grant":"client_credentials","client_id":"g","client_secret":{"value":"s"},"issuer":"https://as.example"}}"#,
    )
    .unwrap();
    let error = made(&settings, Limits::default()).unwrap_err().to_string();
    assert!(error.contains("`credentials.grant`") && error.contains("headers.authorization"), "{error}");
}

#[test]
fn a_wrong_credential_setting_names_its_key() {
    let settings: HttpSettings = serde_json::from_str(
        r#"{"url":"https://mcp.example/mcp","credentials":{"grant":"token_exchange","client_id":"g","client_secret":{"value":"s"}}}"#,
    )
    .unwrap();
    let error = made(&settings, Limits::default()).unwrap_err().to_string();
    assert!(error.starts_with("`credentials.issuer`: "), "{error}");
}

fn chains(text: &str) -> ChainSettings {
    serde_json::from_str(text).unwrap()
}

/// With a key shared between gateways `one` and `two`.
fn signer() -> Arc<ChainSigner> {
    let folder = tempfile::tempdir().unwrap();
    Arc::new(ChainSigner::new(&shared(folder.path(), "one", "two")).unwrap())
}

fn shared(folder: &std::path::Path, us: &str, them: &str) -> ChainSettings {
    let file = folder.join("key");
    std::fs::write(&file, "0123456789abcdef0123456789abcdef").unwrap();
    chains(&format!(
        r#"{{"gateway":"{us}","required":true,"keys":[{{"key_id":"k","gateway":"{them}","algorithm":"hs256","direction":"both","key":{{"file":{file:?}}}}}]}}"#
    ))
}

/// What the gateway `two` reads from a request.
fn chain_of(heard: &Heard) -> Chain {
    let folder = tempfile::tempdir().unwrap();
    let verifier = ChainVerifier::new(&shared(folder.path(), "two", "one")).unwrap();
    let mut headers = HeaderMap::new();
    headers.insert("x-upstream-agents", HeaderValue::from_str(heard.header("x-upstream-agents").unwrap()).unwrap());
    verifier.verify(&headers, Sha256::digest(heard.body.as_bytes()).into(), NOW).unwrap()
}

fn with_chain(url: &str, era: EraSetting) -> Arc<HttpUpstream> {
    let settings = HttpSettings { next_gateway: Some("two".into()), ..settings(url, era) };
    HttpUpstream::new("srv".into(), &settings, Limits::default(), Arc::new(FixedClock::at(NOW)), Some(signer()))
        .unwrap()
}

#[tokio::test]
async fn each_request_carries_a_chain_for_its_very_bytes() {
    let server = server(|heard| if heard.method() == "GET" { events("") } else { json(200, ANSWER) }).await;
    let upstream = with_chain(&server.url, EraSetting::Modern);
    let mut facts = of("ann", modern());
    facts.now = NOW;
    all(upstream.send(facts.say(&modern_call("7"))).await.unwrap()).await;
    let chain = chain_of(&server.heard()[0]);
    assert!(chain.is_verified());
    let [hop] = chain.hops.as_slice() else { panic!("{chain:?}") };
    assert_eq!((&*hop.agent.name, &*hop.gateway, &*hop.target), ("agent:idp:ann", "one", "tools/call"));
    let _ = upstream.refresh().await;
    let questions = server.heard();
    assert!(questions.len() > 1);
    let own = chain_of(&questions[1]);
    assert_eq!(&*own.hops[0].agent.name, "agent:anonymous", "our own questions are nobody's");
}

#[tokio::test]
async fn what_cannot_be_chained_is_not_sent() {
    let server = server(|_| json(200, ANSWER)).await;
    let upstream = with_chain(&server.url, EraSetting::Modern);
    let mut facts = of("ann", modern());
    facts.caller.name = "x".repeat(9000);
    let fault = upstream.send(facts.say(&modern_call("7"))).await.unwrap_err();
    assert_eq!((fault.kind, fault.never_left), (FaultKind::Unauthorized, true));
    assert_eq!(server.heard().len(), 0);
}

#[test]
fn a_chain_for_a_gateway_without_a_key_or_without_chains_is_an_error_at_start() {
    let new = |next: Option<&str>, signer| {
        let mut settings = settings("http://127.0.0.1:1/", EraSetting::Auto);
        settings.next_gateway = next.map(str::to_owned);
        let made = HttpUpstream::new("srv".into(), &settings, Limits::default(), Arc::new(FixedClock::at(NOW)), signer);
        made.map(drop).map_err(|error| error.to_string())
    };
    assert!(new(Some("three"), Some(signer())).unwrap_err().starts_with("`next_gateway`: "));
    assert!(new(Some("two"), None).unwrap_err().starts_with("`next_gateway`: "));
    assert_eq!(new(Some("two"), Some(signer())), Ok(()));
    assert_eq!(new(None, None), Ok(()));
}
