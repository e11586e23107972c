use std::collections::BTreeMap;

use portcullis_core::caller::{Caller, Proof};
use portcullis_core::clock::Timestamp;
use portcullis_core::proofs::Agent;
use portcullis_core::refusal::ProofFailure;
use serde_json::{Value, json};

use super::{AgentIssuerSettings, AgentSettings, AgentVerifier};
use crate::Failed;
use crate::fetch::Fetcher;
use crate::fetch::testing::{Answer, Server};
use crate::issuer::KeySettings;
use crate::issuer::testing::{Signer, set};
use crate::token::{ClaimPath, ClaimSettings};

const NOW: Timestamp = Timestamp(1_800_000_000_000);
const RESOURCE: &str = "https://mcp.example.com/mcp";

struct World {
    server: Server,
    signer: Signer,
    verifier: AgentVerifier,
}

fn settings(url: String) -> AgentSettings {
    let issuer = AgentIssuerSettings {
        name: "fleet".to_owned(),
        issuer: "urn:fleet".to_owned(),
        keys: KeySettings { url: Some(url), ..KeySettings::default() },
        claims: ClaimSettings {
            groups: vec![ClaimPath::Name("roles".to_owned())],
            attributes: BTreeMap::from([("model".to_owned(), ClaimPath::Name("model".to_owned()))]),
            ..ClaimSettings::default()
        },
        ..AgentIssuerSettings::default()
    };
    AgentSettings { issuers: vec![issuer], ..AgentSettings::default() }
}

fn caller(client: Option<&str>) -> Caller {
    let mut caller = Caller::new("corp:alice", Proof::Token, Vec::new());
    caller.client = client.map(str::to_owned);
    caller
}

impl World {
    async fn new() -> Self {
        let (server, signer) = (Server::start().await, Signer::p256());
        server.json("/keys", set(&[signer.jwk("a")]));
        let settings = settings(format!("{}/keys", server.base));
        let verifier = AgentVerifier::new(&settings, RESOURCE, &Fetcher::new(None).unwrap()).unwrap();
        Self { server, signer, verifier }
    }

    /// A good token but for these claims; null takes one away.
    fn token(&self, typ: &str, change: Value) -> String {
        let mut claims = json!({
            "iss": "urn:fleet", "sub": "coder", "aud": RESOURCE, "iat": 1_800_000_000, "exp": 1_800_000_900,
            "roles": ["build"], "model": "m1",
        });
        for (name, value) in change.as_object().unwrap() {
            match value {
                Value::Null => drop(claims.as_object_mut().unwrap().remove(name)),
                value => claims[name] = value.clone(),
            }
        }
        self.signer.sign(&json!({"alg": "ES256", "typ": typ, "kid": "a"}), &claims.to_string())
    }

    async fn verify(&self, token: &str, caller: &Caller) -> Result<Agent, Failed> {
        self.verifier.verify(token, caller, NOW).await
    }
}

#[tokio::test]
async fn a_good_token_makes_an_agent_beside_the_caller() {
    let world = World::new().await;
    let token = world.token("JWT", json!({}));
    for _ in 0..2 {
        let agent = world.verify(&token, &caller(Some("cli"))).await.unwrap();
        assert_eq!((agent.name.as_str(), agent.issuer.as_str()), ("fleet:coder", "fleet"));
        assert_eq!(agent.groups, ["build"]);
        assert_eq!(agent.attributes, BTreeMap::from([("model".to_owned(), vec!["m1".to_owned()])]));
    }
}

#[tokio::test]
async fn each_wrong_token_is_refused_as_an_agent_and_the_detail_says_why() {
    let world = World::new().await;
    let forged = Signer::p256().sign(&json!({"alg": "ES256", "typ": "JWT", "kid": "a"}), "{\"iss\":\"urn:fleet\"}");
    for (token, why) in [
        (world.token("at+jwt", json!({})), "token_type"),
        (world.token("JWT", json!({"aud": "https://other.example.com"})), "token_audience"),
        (world.token("JWT", json!({"iss": "urn:other"})), "token_issuer"),
        (world.token("JWT", json!({"exp": 1_799_999_900, "iat": null})), "token_expired"),
        (world.token("JWT", json!({"iat": 1_800_000_100})), "token_early"),
        (world.token("JWT", json!({"exp": null})), "token_claims"),
        (world.token("JWT", json!({"exp": 1_800_003_601})), "token_claims: good for more than 3600 s"),
        (world.token("JWT", json!({"exp": 1_800_003_661, "iat": null})), "token_claims: good for more than 3600 s"),
        (world.token("JWT", json!({"sub": null})), "token_claims"),
        (world.token("JWT", json!({"padding": "x".repeat(9000)})), "token_too_large"),
        (forged, "token_signature"),
        ("coder".to_owned(), "token_malformed"),
    ] {
        let failed = world.verify(&token, &caller(None)).await.unwrap_err();
        assert_eq!(failed.failure, ProofFailure::AgentInvalid, "{why}");
        assert!(failed.detail.starts_with(why), "{why}: {}", failed.detail);
    }
    let longest = world.token("JWT", json!({"exp": 1_800_003_600}));
    assert!(world.verify(&longest, &caller(None)).await.is_ok());
}

#[tokio::test]
async fn an_agent_speaks_only_beside_the_client_that_its_token_names() {
    let world = World::new().await;
    for claim in ["client_id", "azp"] {
        let token = world.token("JWT", json!({ claim: "cli" }));
        // Also from memory: what was verified for one caller says nothing about another.
        for _ in 0..2 {
            assert!(world.verify(&token, &caller(Some("cli"))).await.is_ok(), "{claim}");
            for other in [Some("other"), None] {
                let failed = world.verify(&token, &caller(other)).await.unwrap_err();
                assert_eq!(failed.failure, ProofFailure::AgentInvalid, "{claim} {other:?}");
            }
        }
    }
}

#[tokio::test]
async fn a_remembered_agent_expires() {
    let world = World::new().await;
    let token = world.token("JWT", json!({}));
    assert!(world.verify(&token, &caller(None)).await.is_ok());
    let ended = Timestamp(NOW.0 + 960_000);
    let failed = world.verifier.verify(&token, &caller(None), ended).await.unwrap_err();
    assert!(failed.detail.starts_with("token_expired"), "{}", failed.detail);
}

#[tokio::test]
async fn keys_that_cannot_be_had_are_not_the_agents_fault() {
    let world = World::new().await;
    world.server.set("/keys", Answer::Text(503, String::new()));
    let failed = world.verify(&world.token("JWT", json!({})), &caller(None)).await.unwrap_err();
    assert_eq!(failed.failure, ProofFailure::IssuerUnavailable);
}

#[test]
fn contradictions_in_settings_name_their_key() {
    let error = |resource: &str, change: fn(&mut AgentSettings)| {
        let mut settings = settings("https://fleet.example/keys".to_owned());
        change(&mut settings);
        AgentVerifier::new(&settings, resource, &Fetcher::new(None).unwrap()).err().unwrap_or_default()
    };
    assert_eq!(error(RESOURCE, |_| {}), "");
    assert!(error("", |_| {}).contains("identity.oauth.resource"));
    assert!(error(RESOURCE, |settings| settings.issuers.clear()).starts_with("identity.agents.issuers:"));
    assert!(error(RESOURCE, |settings| settings.max_lifetime_seconds = 0).contains("max_lifetime_seconds"));
    assert!(error(RESOURCE, |settings| settings.clock_skew_seconds = 301).contains("clock_skew_seconds"));
    let types = error(RESOURCE, |settings| settings.issuers[0].types.clear());
    assert!(types.starts_with("identity.agents.issuers[0].types:"), "{types}");
    // No address, and no https issuer to discover one from.
    let keys = error(RESOURCE, |settings| settings.issuers[0].keys.url = None);
    assert!(keys.starts_with("identity.agents.issuers[0].issuer:"), "{keys}");
}
