//! What the gateway is to the authorization server: metadata believed or not (F20, F46), clients proven by keys, settings that contradict.

use std::sync::Arc;

use aws_lc_rs::encoding::AsDer;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED, ECDSA_P256_SHA256_FIXED_SIGNING, ED25519, EcdsaKeyPair, Ed25519KeyPair, KeyPair,
    RSA_PKCS1_2048_8192_SHA256, UnparsedPublicKey, VerificationAlgorithm,
};
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use portcullis_core::clock::FixedClock;
use serde_json::{Value, json};

use super::server::{TokenServer, json as answer, token};
use super::{NOW, UPSTREAM, own, settings, source_with};
use crate::client::TokenSource;

/// A server whose metadata is what `change` makes of a good one; `issuer` stands for its own.
async fn with_metadata(change: Value) -> TokenServer {
    TokenServer::answering(move |before, asked| {
        if !asked.path.contains("/.well-known/") {
            return token(&format!("t{before}"), 3600);
        }
        if asked.path != "/.well-known/oauth-authorization-server/tenant" {
            return answer(404, "");
        }
        let mut all = json!({"issuer": "ISSUER", "token_endpoint": "BASE/tokens"});
        for (key, value) in change.as_object().unwrap() {
            all[key] = value.clone();
        }
        let base = asked.base.clone();
        let text = all.to_string().replace("ISSUER", &format!("{base}/tenant")).replace("BASE", &base);
        answer(200, text)
    })
    .await
}

/// What the gateway gets from it.
async fn outcome(change: Value, rest: Value) -> (TokenServer, Result<String, String>) {
    let server = with_metadata(change).await;
    let mut all = json!({"issuer": format!("{}/tenant", server.base)});
    for (key, value) in rest.as_object().unwrap() {
        all[key] = value.clone();
    }
    let (source, _) = source_with(&server, all);
    let got = own(&source).await;
    (server, got)
}

#[tokio::test]
async fn the_token_endpoint_comes_from_the_issuers_metadata_and_is_remembered_f20() {
    let server = with_metadata(json!({})).await;
    let (source, clock) = source_with(&server, json!({"issuer": format!("{}/tenant", server.base)}));
    assert_eq!(own(&source).await.unwrap(), "Bearer t1");
    clock.advance(std::time::Duration::from_secs(3599));
    assert_eq!(own(&source).await.unwrap(), "Bearer t2");
    clock.advance(std::time::Duration::from_secs(3599));
    assert_eq!(own(&source).await.unwrap(), "Bearer t4");
    let paths: Vec<String> = server.asked().into_iter().map(|asked| asked.path).collect();
    let metadata = "/.well-known/oauth-authorization-server/tenant";
    assert_eq!(paths, [metadata, "/tokens", "/tokens", metadata, "/tokens"]);
}

#[tokio::test]
async fn metadata_that_says_otherwise_ends_it_before_a_secret_is_sent_f20_f46() {
    for (change, word) in [
        (json!({"issuer": "ISSUER/"}), "metadata at"),
        (json!({"issuer": "https://other.example"}), "metadata at"),
        (json!({"token_endpoint": null}), "token_endpoint"),
        (json!({"token_endpoint": "http://other.example/tokens"}), "token_endpoint"),
        (json!({"token_endpoint": "file:///etc/passwd"}), "token_endpoint"),
        (json!({"grant_types_supported": ["authorization_code"]}), "client_credentials"),
        (json!({"grant_types_supported": "client_credentials"}), "grant_types_supported"),
        (json!({"token_endpoint_auth_methods_supported": ["private_key_jwt"]}), "client_secret_basic"),
        (json!({"token_endpoint_auth_methods_supported": [7]}), "token_endpoint_auth_methods_supported"),
    ] {
        let (server, got) = outcome(change.clone(), json!({})).await;
        let refused = got.unwrap_err();
        assert!(refused.contains(word), "{change}: {refused}");
        assert!(server.asked().iter().all(|asked| asked.path.contains("/.well-known/")), "{change}");
    }
    let good = json!({
        "grant_types_supported": ["client_credentials"],
        "token_endpoint_auth_methods_supported": ["client_secret_basic"],
    });
    assert!(outcome(good, json!({})).await.1.is_ok());
}

fn pem(label: &str, der: &[u8]) -> String {
    let body = STANDARD.encode(der);
    let lines: Vec<&str> = body.as_bytes().chunks(64).map(|line| std::str::from_utf8(line).unwrap()).collect();
    format!("-----BEGIN {label}-----\n{}\n-----END {label}-----\n", lines.join("\n"))
}

struct Key {
    name: &'static str,
    private: String,
    public: Vec<u8>,
    algorithm: &'static dyn VerificationAlgorithm,
}

fn keys() -> [Key; 3] {
    let random = SystemRandom::new();
    let ec = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &random).unwrap();
    let ec_public = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, ec.as_ref()).unwrap();
    let ed = Ed25519KeyPair::generate_pkcs8(&random).unwrap();
    let ed_public = Ed25519KeyPair::from_pkcs8(ed.as_ref()).unwrap();
    let rsa = aws_lc_rs::rsa::KeyPair::generate(aws_lc_rs::rsa::KeySize::Rsa2048).unwrap();
    let rsa_private = rsa.as_der().unwrap();
    let key = |name, der: &[u8], public: &[u8], algorithm| Key {
        name,
        private: pem("PRIVATE KEY", der),
        public: public.to_vec(),
        algorithm,
    };
    [
        key("ES256", ec.as_ref(), ec_public.public_key().as_ref(), &ECDSA_P256_SHA256_FIXED),
        key("EdDSA", ed.as_ref(), ed_public.public_key().as_ref(), &ED25519),
        key("RS256", rsa_private.as_ref(), rsa.public_key().as_ref(), &RSA_PKCS1_2048_8192_SHA256),
    ]
}

fn decoded(part: &str) -> Value {
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(part).unwrap()).unwrap()
}

#[tokio::test]
async fn a_key_proves_the_client_with_a_short_assertion_for_the_issuer_rfc_7523() {
    for key in keys() {
        let rest = json!({
            "client_authentication": "private_key_jwt", "client_secret": null, "private_key_id": "k1",
            "private_key": {"value": key.private}, "private_key_algorithm": key.name,
        });
        let server = with_metadata(json!({"token_endpoint_auth_signing_alg_values_supported": [key.name]})).await;
        let issuer = format!("{}/tenant", server.base);
        let mut all = rest;
        all["issuer"] = issuer.clone().into();
        let (source, clock) = source_with(&server, all);
        own(&source).await.unwrap();
        clock.advance(std::time::Duration::from_secs(3600));
        own(&source).await.unwrap();
        let asked: Vec<_> = server.asked().into_iter().filter(|asked| asked.path == "/tokens").collect();
        let mut unique = Vec::new();
        for asked in &asked {
            assert_eq!(asked.authorization, None);
            assert_eq!(asked.field("client_id"), Some("gateway"));
            assert_eq!(
                asked.field("client_assertion_type"),
                Some("urn:ietf:params:oauth:client-assertion-type:jwt-bearer")
            );
            let assertion = asked.field("client_assertion").unwrap();
            let (signed, signature) = assertion.rsplit_once('.').unwrap();
            let signature = URL_SAFE_NO_PAD.decode(signature).unwrap();
            UnparsedPublicKey::new(key.algorithm, &key.public).verify(signed.as_bytes(), &signature).unwrap();
            let (header, claims) = signed.split_once('.').unwrap();
            let (header, claims) = (decoded(header), decoded(claims));
            assert_eq!((header["alg"].as_str(), header["kid"].as_str()), (Some(key.name), Some("k1")));
            assert_eq!((claims["iss"].as_str(), claims["sub"].as_str()), (Some("gateway"), Some("gateway")));
            assert_eq!(claims["aud"].as_str(), Some(issuer.as_str()));
            assert_eq!(claims["exp"].as_u64().unwrap() - claims["iat"].as_u64().unwrap(), 60);
            unique.push(claims["jti"].as_str().unwrap().to_owned());
        }
        assert_eq!(
            decoded(asked[0].field("client_assertion").unwrap().split('.').nth(1).unwrap())["iat"],
            NOW.0 / 1000
        );
        assert_eq!(unique.len(), 2);
        assert_ne!(unique[0], unique[1]);
    }
}

#[tokio::test]
async fn an_algorithm_that_is_not_advertised_is_not_tried() {
    let [ec, ..] = keys();
    let rest = json!({
        "client_authentication": "private_key_jwt", "client_secret": null, "private_key": {"value": ec.private},
    });
    let (server, got) = outcome(json!({"token_endpoint_auth_signing_alg_values_supported": ["RS256"]}), rest).await;
    assert!(got.unwrap_err().contains("ES256"));
    assert_eq!(server.asked().len(), 1);
}

#[test]
fn settings_that_cannot_work_name_their_key() {
    let endpoint = "https://as.example/token";
    let key = json!({"value": "-----BEGIN PRIVATE KEY-----\nAA==\n-----END PRIVATE KEY-----"});
    for (rest, name) in [
        (json!({}), "issuer"),
        (json!({"issuer": "http://as.example"}), "issuer"),
        (json!({"issuer": "https://user@as.example"}), "issuer"),
        (json!({"token_endpoint": "as.example/token"}), "token_endpoint"),
        (json!({"token_endpoint": endpoint, "client_id": ""}), "client_id"),
        (json!({"token_endpoint": endpoint, "client_secret": null}), "client_secret"),
        (json!({"token_endpoint": endpoint, "client_secret": {"value": ""}}), "client_secret"),
        (json!({"token_endpoint": endpoint, "client_secret": {"env": "PORTCULLIS_TEST_NO_SUCH"}}), "client_secret"),
        (json!({"token_endpoint": endpoint, "private_key": key}), "private_key"),
        (json!({"token_endpoint": endpoint, "private_key_id": "k"}), "private_key_id"),
        (json!({"token_endpoint": endpoint, "client_authentication": "private_key_jwt"}), "client_secret"),
        (
            json!({"token_endpoint": endpoint, "client_authentication": "private_key_jwt", "client_secret": null}),
            "private_key",
        ),
        (
            json!({"token_endpoint": endpoint, "client_authentication": "private_key_jwt", "client_secret": null, "private_key": key}),
            "private_key",
        ),
        (json!({"token_endpoint": endpoint, "scopes": ["a b"]}), "scopes"),
        (json!({"token_endpoint": endpoint, "scopes": [""]}), "scopes"),
        (json!({"token_endpoint": endpoint, "resource": "/mcp"}), "resource"),
        (json!({"token_endpoint": endpoint, "resource": "https://a/#b"}), "resource"),
        (json!({"token_endpoint": endpoint, "actor_token": {"value": "x"}}), "actor_token"),
        (json!({"token_endpoint": endpoint, "own_questions": "unauthenticated"}), "own_questions"),
        (json!({"token_endpoint": endpoint, "ca_file": "/nowhere/ca.pem"}), "ca_file"),
    ] {
        let clock = Arc::new(FixedClock::at(NOW));
        let error = TokenSource::new(&settings(rest.clone()), UPSTREAM, clock).unwrap_err();
        assert_eq!(error.key, name, "{rest}: {error}");
        assert!(error.to_string().starts_with(&format!("`credentials.{name}`: ")));
    }
}

#[test]
fn a_key_for_another_algorithm_is_found_at_start() {
    let [ec, ed, rsa] = keys();
    for (key, algorithm) in [(&ec, "RS256"), (&ec, "EdDSA"), (&ed, "ES256"), (&rsa, "ES256")] {
        let rest = json!({
            "token_endpoint": "https://as.example/token", "client_authentication": "private_key_jwt", "client_secret": null,
            "private_key": {"value": key.private}, "private_key_algorithm": algorithm,
        });
        let error = TokenSource::new(&settings(rest), UPSTREAM, Arc::new(FixedClock::at(NOW))).unwrap_err();
        assert_eq!(error.key, "private_key", "{} for {algorithm}", key.name);
    }
}

#[test]
fn the_resource_is_the_canonical_uri_of_the_server_f22() {
    for (url, resource) in [
        ("https://MCP.example.com/mcp", "https://mcp.example.com/mcp"),
        ("https://mcp.example.com/mcp/?key=1", "https://mcp.example.com/mcp"),
        ("https://mcp.example.com:443/", "https://mcp.example.com"),
        ("https://mcp.example.com:8443", "https://mcp.example.com:8443"),
    ] {
        assert_eq!(settings(json!({})).resource(url).unwrap(), resource);
    }
    assert_eq!(settings(json!({"resource": "https://x/y/"})).resource("https://z").unwrap(), "https://x/y/");
}

#[test]
fn relative_files_are_beside_the_configuration() {
    let mut settings = settings(json!({"client_secret": {"file": "secret"}, "ca_file": "ca.pem"}));
    settings.relative_to(std::path::Path::new("/etc/portcullis"));
    assert!(format!("{settings:?}").contains("/etc/portcullis/secret"));
    assert_eq!(settings.ca_file.as_deref(), Some(std::path::Path::new("/etc/portcullis/ca.pem")));
}

#[test]
fn an_unknown_key_is_an_error() {
    let text = r#"{"grant":"client_credentials","client_id":"g","client_secrets":{"value":"x"}}"#;
    assert!(serde_json::from_str::<crate::client::CredentialSettings>(text).is_err());
}
