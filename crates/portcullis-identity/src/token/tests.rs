mod cached;
mod holders;
mod opaque;
mod settings;

use std::sync::Arc;

use portcullis_core::clock::Timestamp;
use portcullis_core::refusal::ProofFailure;
use serde_json::{Value, json};

use super::{OAuthIssuerSettings, OAuthSettings, TokenVerifier, VerifiedToken};
use crate::fetch::Fetcher;
use crate::fetch::testing::{Answer, Server};
use crate::issuer::testing::{Signer, encode, set};
use crate::issuer::{Algorithm, KeySettings};

const NOW: Timestamp = Timestamp(1_800_000_000_000);
const RESOURCE: &str = "https://mcp.example.com/mcp";

fn later(seconds: u64) -> Timestamp {
    Timestamp(NOW.0 + seconds * 1000)
}

/// An issuer with one P-256 key, `a`, and a gateway that trusts it.
struct World {
    server: Server,
    signer: Signer,
    settings: OAuthSettings,
    verifier: TokenVerifier,
}

impl World {
    async fn new() -> Self {
        Self::with(|_| {}).await
    }

    async fn with(change: impl FnOnce(&mut OAuthSettings)) -> Self {
        let (server, signer) = (Server::start().await, Signer::p256());
        server.json("/keys", set(&[signer.jwk("a")]));
        let keys = KeySettings { url: Some(format!("{}/keys", server.base)), ..KeySettings::default() };
        let issuer =
            OAuthIssuerSettings { name: "corp".to_owned(), issuer: server.base.clone(), keys, ..Default::default() };
        let mut settings =
            OAuthSettings { resource: RESOURCE.to_owned(), issuers: vec![issuer], ..OAuthSettings::default() };
        change(&mut settings);
        let verifier = TokenVerifier::new(&settings, Fetcher::new(None).unwrap()).unwrap();
        Self { server, signer, settings, verifier }
    }

    /// Good for an hour.
    fn claims(&self) -> Value {
        json!({
            "iss": self.server.base, "sub": "alice", "aud": RESOURCE, "client_id": "cli",
            "iat": 1_800_000_000, "exp": 1_800_003_600,
        })
    }

    fn sign(&self, claims: &Value) -> String {
        self.signer.sign(&header(), &claims.to_string())
    }

    /// A good token but for one claim; null takes it away.
    fn token_with(&self, name: &str, value: Value) -> String {
        let mut claims = self.claims();
        match value {
            Value::Null => drop(claims.as_object_mut().unwrap().remove(name)),
            value => claims[name] = value,
        }
        self.sign(&claims)
    }

    async fn verify(&self, token: &str, now: Timestamp) -> Result<Arc<VerifiedToken>, ProofFailure> {
        self.verifier.verify(token, now).await.map_err(|failed| failed.failure)
    }

    async fn failure(&self, token: &str) -> Option<ProofFailure> {
        self.verify(token, NOW).await.err()
    }
}

fn header() -> Value {
    json!({"alg": "ES256", "typ": "at+jwt", "kid": "a"})
}

fn header_with(name: &str, value: Value) -> Value {
    let mut header = header();
    header[name] = value;
    header
}

#[tokio::test]
async fn a_good_token_makes_its_caller() {
    let world = World::new().await;
    let verified = world.verify(&world.sign(&world.claims()), NOW).await.unwrap();
    assert_eq!(verified.caller.name, "corp:alice");
    assert_eq!(verified.caller.issuer.as_deref(), Some(world.server.base.as_str()));
    assert_eq!(verified.caller.client.as_deref(), Some("cli"));
    assert_eq!(verified.expires, later(3600));
    assert_eq!((&verified.jkt, &verified.x5t), (&None, &None));
}

#[tokio::test]
async fn each_family_of_algorithms_verifies_when_it_is_allowed() {
    for (signer, name) in [(Signer::rsa(), "RS256"), (Signer::rsa(), "PS256"), (Signer::ed25519(), "EdDSA")] {
        let allowed = Algorithm::named(name).unwrap();
        let world = World::with(|settings| settings.issuers[0].keys.algorithms = vec![allowed]).await;
        world.server.json("/keys", set(&[signer.jwk("a")]));
        let token = signer.sign(&header_with("alg", json!(name)), &world.claims().to_string());
        assert_eq!(world.failure(&token).await, None, "{name}");
    }
}

#[tokio::test]
async fn a_forged_signature_is_refused() {
    let world = World::new().await;
    let claims = world.claims();
    let forged = Signer::p256().sign(&header(), &claims.to_string());
    assert_eq!(world.failure(&forged).await, Some(ProofFailure::TokenSignature));
    let good = world.sign(&claims);
    let (signed, signature) = good.rsplit_once('.').unwrap();
    let (head, _) = signed.split_once('.').unwrap();
    let other = encode(claims.to_string().replace("alice", "admin").as_bytes());
    assert_eq!(world.failure(&format!("{head}.{other}.{signature}")).await, Some(ProofFailure::TokenSignature));
    assert_eq!(world.failure(&format!("{signed}.")).await, Some(ProofFailure::TokenSignature));
}

#[tokio::test]
async fn alg_none_is_refused_with_and_without_a_signature() {
    let world = World::new().await;
    for name in ["none", "None", "NONE", ""] {
        let token = world.signer.sign(&header_with("alg", json!(name)), &world.claims().to_string());
        assert_eq!(world.failure(&token).await, Some(ProofFailure::TokenAlgorithm), "{name}");
        let (signed, _) = token.rsplit_once('.').unwrap();
        assert_eq!(world.failure(&format!("{signed}.")).await, Some(ProofFailure::TokenAlgorithm), "{name}");
    }
}

#[tokio::test]
async fn hs256_with_the_public_key_as_secret_is_refused() {
    let world = World::new().await;
    let jwk = world.signer.jwk("a");
    for secret in [jwk.to_string(), jwk["x"].as_str().unwrap().to_owned()] {
        let head = encode(header_with("alg", json!("HS256")).to_string().as_bytes());
        let signed = format!("{head}.{}", encode(world.claims().to_string().as_bytes()));
        let key = aws_lc_rs::hmac::Key::new(aws_lc_rs::hmac::HMAC_SHA256, secret.as_bytes());
        let tag = aws_lc_rs::hmac::sign(&key, signed.as_bytes());
        let token = format!("{signed}.{}", encode(tag.as_ref()));
        assert_eq!(world.failure(&token).await, Some(ProofFailure::TokenAlgorithm));
    }
}

#[tokio::test]
async fn the_token_does_not_choose_its_algorithm() {
    let world = World::with(|settings| settings.issuers[0].keys.algorithms = vec![Algorithm::Rs256]).await;
    assert_eq!(world.failure(&world.sign(&world.claims())).await, Some(ProofFailure::TokenAlgorithm));
}

#[tokio::test]
async fn another_type_of_token_is_refused_unless_the_configuration_names_it() {
    let world = World::new().await;
    let claims = world.claims().to_string();
    let typed = |typ: Value| world.signer.sign(&header_with("typ", typ), &claims);
    for typ in ["JWT", "dpop+jwt", "logout+jwt", "", "application/x/at+jwt"] {
        assert_eq!(world.failure(&typed(json!(typ))).await, Some(ProofFailure::TokenType), "{typ}");
    }
    let untyped = world.signer.sign(&json!({"alg": "ES256", "kid": "a"}), &claims);
    assert_eq!(world.failure(&untyped).await, Some(ProofFailure::TokenType));
    for typ in ["at+jwt", "AT+JWT", "application/at+jwt"] {
        assert_eq!(world.failure(&typed(json!(typ))).await, None, "{typ}");
    }
    let lax = World::with(|settings| settings.issuers[0].types = vec!["JWT".to_owned(), String::new()]).await;
    let claims = lax.claims().to_string();
    assert_eq!(lax.failure(&lax.signer.sign(&header_with("typ", json!("JWT")), &claims)).await, None);
    assert_eq!(lax.failure(&lax.signer.sign(&json!({"alg": "ES256", "kid": "a"}), &claims)).await, None);
    assert_eq!(lax.failure(&lax.signer.sign(&header(), &claims)).await, Some(ProofFailure::TokenType));
}

#[tokio::test]
async fn a_header_that_brings_a_key_or_changes_the_meaning_is_refused() {
    let world = World::new().await;
    let evil = Signer::p256();
    for (name, value) in [
        ("jwk", evil.jwk("a")),
        ("jku", json!(format!("{}/evil", world.server.base))),
        ("x5u", json!(format!("{}/evil", world.server.base))),
        ("x5c", json!(["AAAA"])),
        ("crit", json!(["exp"])),
        ("b64", json!(false)),
        ("zip", json!("DEF")),
        ("kid", json!(7)),
        ("typ", json!(["at+jwt"])),
    ] {
        let token = evil.sign(&header_with(name, value), &world.claims().to_string());
        assert_eq!(world.failure(&token).await, Some(ProofFailure::TokenMalformed), "{name}");
    }
    assert_eq!(world.server.asked("/evil").len(), 0);
}

#[tokio::test]
async fn a_token_for_somebody_else_is_refused_f3() {
    let world = World::with(|settings| settings.issuers[0].audiences = vec!["api://gateway".to_owned()]).await;
    for audience in [
        json!("https://mcp.example.com"),
        json!("https://mcp.example.com/mcp/"),
        json!("HTTPS://MCP.EXAMPLE.COM/mcp"),
        json!(["https://other.example.com"]),
        json!([]),
        Value::Null,
    ] {
        let token = world.token_with("aud", audience.clone());
        assert_eq!(world.failure(&token).await, Some(ProofFailure::TokenAudience), "{audience}");
    }
    for audience in [json!(["https://other.example.com", RESOURCE]), json!("api://gateway")] {
        assert_eq!(world.failure(&world.token_with("aud", audience)).await, None);
    }
    for audience in [json!(7), json!({"0": RESOURCE}), json!([RESOURCE, 7])] {
        assert_eq!(world.failure(&world.token_with("aud", audience)).await, Some(ProofFailure::TokenClaims));
    }
}

#[tokio::test]
async fn an_issuer_is_compared_byte_for_byte() {
    let world = World::new().await;
    for issuer in [json!(format!("{}/", world.server.base)), json!("https://evil.example"), json!(7), Value::Null] {
        let token = world.token_with("iss", issuer.clone());
        assert_eq!(world.failure(&token).await, Some(ProofFailure::TokenIssuer), "{issuer}");
    }
    assert_eq!(world.server.asked("/keys").len(), 0, "nobody is asked about tokens of strangers");
}

#[tokio::test]
async fn one_issuer_cannot_sign_for_another() {
    let other = World::new().await;
    let world = World::with(|settings| {
        settings.issuers.push(OAuthIssuerSettings { name: "other".to_owned(), ..other.settings.issuers[0].clone() });
    })
    .await;
    let own = other.sign(&other.claims());
    assert_eq!(world.verify(&own, NOW).await.unwrap().caller.name, "other:alice");
    let posing = other.sign(&world.claims());
    assert_eq!(world.failure(&posing).await, Some(ProofFailure::TokenSignature));
}

#[tokio::test]
async fn time_limits_hold_to_the_second_with_the_skew_in_the_tokens_favour() {
    let world = World::new().await;
    let second = |offset: i64| json!(1_800_000_000_i64 + offset);
    for (claim, offset, expected) in [
        ("exp", -59, None),
        ("exp", -60, Some(ProofFailure::TokenExpired)),
        ("exp", -100_000, Some(ProofFailure::TokenExpired)),
        ("nbf", 60, None),
        ("nbf", 61, Some(ProofFailure::TokenEarly)),
        ("iat", 60, None),
        ("iat", 61, Some(ProofFailure::TokenEarly)),
        ("iat", 100_000, Some(ProofFailure::TokenEarly)),
    ] {
        assert_eq!(world.failure(&world.token_with(claim, second(offset))).await, expected, "{claim} {offset}");
    }
    for absent in ["nbf", "iat"] {
        assert_eq!(world.failure(&world.token_with(absent, Value::Null)).await, None, "{absent}");
    }
}

#[tokio::test]
async fn dates_that_are_missing_or_no_dates_are_refused() {
    let world = World::new().await;
    assert_eq!(world.failure(&world.token_with("exp", Value::Null)).await, Some(ProofFailure::TokenClaims));
    for date in [json!("1800003600"), json!(-1), json!(1e20), json!(1_800_003_600_000_u64), json!([1]), json!(true)] {
        for claim in ["exp", "nbf", "iat"] {
            let token = world.token_with(claim, date.clone());
            assert_eq!(world.failure(&token).await, Some(ProofFailure::TokenClaims), "{claim} {date}");
        }
    }
    assert_eq!(world.failure(&world.token_with("exp", json!(1_800_003_600.5))).await, None);
}

#[tokio::test]
async fn a_claim_given_twice_or_too_deep_is_refused() {
    let world = World::new().await;
    let claims = world.claims().to_string();
    let deep = format!("\"deep\":{}{},", "[".repeat(100), "]".repeat(100));
    for extra in [r#""sub":"admin","#, r#""\u0073ub":"admin","#, r#""x":{"y":1,"y":2},"#, &deep] {
        let token = world.signer.sign(&header(), &claims.replacen('{', &format!("{{{extra}"), 1));
        assert_eq!(world.failure(&token).await, Some(ProofFailure::TokenClaims), "{extra}");
    }
    for payload in ["[]", "null", "\"x\"", "{", "{}x", ""] {
        let token = world.signer.sign(&header(), payload);
        assert_eq!(world.failure(&token).await, Some(ProofFailure::TokenClaims), "{payload}");
    }
}

#[tokio::test]
async fn what_is_no_jwt_is_malformed() {
    let world = World::new().await;
    let good = world.sign(&world.claims());
    let (signed, signature) = good.rsplit_once('.').unwrap();
    let twice = encode(br#"{"alg":"none","alg":"ES256","typ":"at+jwt","kid":"a"}"#);
    let payload = signed.split_once('.').unwrap().1;
    for token in [
        String::new(),
        "opaque".to_owned(),
        "..".to_owned(),
        signed.to_owned(),
        format!("{good}."),
        format!("{good}.{signature}.AAAA"),
        format!("{good}="),
        format!(" {good}"),
        format!("{twice}.{payload}.{signature}"),
    ] {
        assert_eq!(world.failure(&token).await, Some(ProofFailure::TokenMalformed), "{token}");
    }
}

#[tokio::test]
async fn an_oversized_token_is_refused_before_it_is_read() {
    let world = World::with(|settings| settings.most_token_bytes = 1000).await;
    let token = world.token_with("padding", json!("x".repeat(1000)));
    assert_eq!(world.failure(&token).await, Some(ProofFailure::TokenTooLarge));
    assert_eq!(world.failure(&world.sign(&world.claims())).await, None);
}

#[tokio::test]
async fn an_unknown_key_and_an_issuer_that_is_down_are_different_refusals() {
    let world = World::new().await;
    let stray = world.signer.sign(&header_with("kid", json!("stray")), &world.claims().to_string());
    assert_eq!(world.failure(&stray).await, Some(ProofFailure::TokenKey));
    let down = World::new().await;
    down.server.set("/keys", Answer::Text(500, String::new()));
    assert_eq!(down.failure(&down.sign(&down.claims())).await, Some(ProofFailure::IssuerUnavailable));
}

#[tokio::test]
async fn a_refusal_does_not_show_the_token() {
    let world = World::new().await;
    let token = world.token_with("aud", json!("elsewhere"));
    let failed = world.verifier.verify(&token, NOW).await.unwrap_err();
    assert!(!failed.to_string().contains(&token));
}
