//! Settings that contradict each other, and what is published of them.

use serde_json::{Value, json};

use super::super::{DpopOffer, IntrospectionSettings, OAuthIssuerSettings, OAuthSettings, TokenVerifier};
use super::{RESOURCE, World};
use crate::Secret;
use crate::fetch::Fetcher;

fn issuer(name: &str, issuer: &str) -> OAuthIssuerSettings {
    OAuthIssuerSettings { name: name.to_owned(), issuer: issuer.to_owned(), ..OAuthIssuerSettings::default() }
}

fn error(change: impl FnOnce(&mut OAuthSettings)) -> String {
    let mut settings = OAuthSettings {
        resource: RESOURCE.to_owned(),
        issuers: vec![issuer("corp", "https://login.example.com")],
        ..OAuthSettings::default()
    };
    change(&mut settings);
    TokenVerifier::new(&settings, Fetcher::new(None).unwrap()).err().unwrap_or_default()
}

#[test]
fn contradictions_name_their_key() {
    assert_eq!(error(|_| {}), "", "the rest differs from this in one thing each");
    for resource in ["", "/mcp", "http://mcp.example.com", "https://mcp.example.com/#x", "https://mcp.example.com/?x"] {
        let error = error(|settings| settings.resource = resource.to_owned());
        assert!(error.starts_with("identity.oauth.resource:"), "{resource}: {error}");
    }
    assert!(error(|settings| settings.issuers.clear()).starts_with("identity.oauth.issuers:"));
    for name in ["", "a:b", "a b", "a\n"] {
        let error = error(|settings| settings.issuers[0].name = name.to_owned());
        assert!(error.starts_with("identity.oauth.issuers[0].name:"), "{name}: {error}");
    }
    for twice in [issuer("corp", "https://b.example"), issuer("b", "https://login.example.com")] {
        assert!(error(|settings| settings.issuers.push(twice)).contains("twice"));
    }
    let types = error(|settings| settings.issuers[0].types.clear());
    assert!(types.starts_with("identity.oauth.issuers[0].types:"), "{types}");
    let domain = error(|settings| settings.issuers[0].spiffe_trust_domain = Some("spiffe://x".to_owned()));
    assert!(domain.starts_with("identity.oauth.issuers[0].spiffe_trust_domain:"), "{domain}");
    assert!(error(|settings| settings.clock_skew_seconds = 301).starts_with("identity.oauth.clock_skew_seconds:"));
    assert!(error(|settings| settings.most_token_bytes = 0).contains("most_token_bytes"));
    assert!(error(|settings| settings.scopes_supported = vec!["a b".to_owned()]).contains("`a b`"));
    let offline = error(|settings| settings.scopes_supported = vec!["offline_access".to_owned()]);
    assert!(offline.starts_with("identity.oauth.scopes_supported:"), "F6: {offline}");
}

#[test]
fn opaque_tokens_are_shown_to_one_issuer_at_most_and_never_in_the_clear() {
    let introspection = |url: &str, client_secret| {
        Some(IntrospectionSettings {
            url: url.to_owned(),
            client_id: "gateway".to_owned(),
            client_secret,
            cache_seconds: 30,
            negative_cache_seconds: 10,
            client_is_subject: false,
        })
    };
    let secret = || Secret::Value("s3cret".to_owned());
    let twice = error(|settings| {
        settings.issuers.push(issuer("b", "https://b.example"));
        for issuer in &mut settings.issuers {
            issuer.introspection = introspection("https://b.example/introspect", secret());
        }
    });
    assert!(twice.starts_with("identity.oauth.issuers:"), "{twice}");
    let clear = introspection("http://b.example/introspect", secret());
    let clear = error(|settings| settings.issuers[0].introspection = clear);
    assert!(clear.starts_with("identity.oauth.issuers[0].introspection.url:"), "{clear}");
    let absent = introspection("https://b.example/introspect", Secret::File("/absent/secret".into()));
    let absent = error(|settings| settings.issuers[0].introspection = absent);
    assert!(absent.starts_with("identity.oauth.issuers[0].introspection.client_secret:"), "{absent}");
}

#[test]
fn a_key_that_does_not_exist_is_an_error() {
    let read = |text: Value| serde_json::from_value::<OAuthSettings>(text);
    assert!(read(json!({"resource": RESOURCE, "issuers": [{"name": "a", "keys": {"algorithms": ["ES256"]}}]})).is_ok());
    assert!(read(json!({"resource": RESOURCE, "verify": false})).is_err());
    assert!(read(json!({"issuers": [{"keys": {"algorithms": ["none"]}}]})).is_err());
    assert!(read(json!({"issuers": [{"claims": {"groups": ["groups", ["realm", "roles"]]}}]})).is_ok());
}

#[tokio::test]
async fn the_metadata_says_what_rfc_9728_asks_f6() {
    let world = World::with(|settings| {
        settings.resource_name = Some("Gateway".to_owned());
        settings.scopes_supported = vec!["read".to_owned()];
    })
    .await;
    assert_eq!(world.verifier.resource(), RESOURCE);
    let document = |dpop| serde_json::from_str::<Value>(&world.verifier.metadata_json(dpop)).unwrap();
    let mut expected = json!({
        "resource": RESOURCE,
        "resource_name": "Gateway",
        "authorization_servers": [world.server.base],
        "bearer_methods_supported": ["header"],
        "scopes_supported": ["read"],
    });
    assert_eq!(document(None), expected);
    expected["dpop_signing_alg_values_supported"] = json!(["ES256"]);
    expected["dpop_bound_access_tokens_required"] = json!(true);
    assert_eq!(document(Some(DpopOffer { required: true, algorithms: &["ES256"] })), expected);
}
