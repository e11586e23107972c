//! Chains as gateways make them, and as others would like them to be.

mod attacks;
mod gateways;
mod table;

use std::path::PathBuf;

use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair};
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use http::{HeaderMap, HeaderValue};
use portcullis_core::clock::Timestamp;
use portcullis_core::proofs::Chain;
use portcullis_core::refusal::ProofFailure;
use serde_json::{Value, json};
use tempfile::TempDir;

use super::entry::Digest;
use super::*;
use crate::{Failed, Secret};

const NOW: Timestamp = Timestamp(1_800_000_000_000);
const BODY: &[u8] = br#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"search"}}"#;

/// Files that keys are read from.
struct Files(TempDir);

/// One gateway's Ed25519 key, both halves as files.
struct Pair {
    key: Ed25519KeyPair,
    private: Secret,
    public: Secret,
}

impl Files {
    fn new() -> Self {
        Self(TempDir::new().unwrap())
    }

    fn write(&self, name: &str, text: &str) -> Secret {
        let path: PathBuf = self.0.path().join(name);
        std::fs::write(&path, text).unwrap();
        Secret::File(path)
    }

    fn pair(&self, name: &str) -> Pair {
        let key = Ed25519KeyPair::generate().unwrap();
        let pem = pem("PRIVATE KEY", key.to_pkcs8v1().unwrap().as_ref());
        let private = self.write(&format!("{name}.pem"), &pem);
        let public = Secret::Value(URL_SAFE_NO_PAD.encode(key.public_key().as_ref()));
        Pair { key, private, public }
    }

    fn shared(&self, name: &str) -> Secret {
        self.write(name, &format!("{name}: a secret that two gateways share"))
    }
}

fn pem(label: &str, der: &[u8]) -> String {
    format!("-----BEGIN {label}-----\n{}\n-----END {label}-----\n", STANDARD.encode(der))
}

fn key(gateway: Option<&str>, algorithm: ChainAlgorithm, direction: Direction, key: &Secret) -> ChainKey {
    let (gateway, key) = (gateway.map(str::to_owned), key.clone());
    ChainKey { key_id: "k1".to_owned(), gateway, algorithm, direction, key, vouches: false }
}

fn incoming(gateway: &str, pair: &Pair) -> ChainKey {
    key(Some(gateway), ChainAlgorithm::Ed25519, Direction::Incoming, &pair.public)
}

fn outgoing(pair: &Pair) -> ChainKey {
    key(None, ChainAlgorithm::Ed25519, Direction::Outgoing, &pair.private)
}

fn shared(gateway: &str, secret: &Secret) -> ChainKey {
    key(Some(gateway), ChainAlgorithm::Hs256, Direction::Both, secret)
}

fn settings(gateway: &str, keys: Vec<ChainKey>) -> ChainSettings {
    ChainSettings { gateway: Some(gateway.to_owned()), keys, ..ChainSettings::default() }
}

fn headers(value: &str) -> HeaderMap {
    HeaderMap::from_iter([(HEADER, HeaderValue::from_str(value).unwrap())])
}

fn verify_at(verifier: &ChainVerifier, value: &str, body: &[u8], now: Timestamp) -> Result<Chain, Failed> {
    verifier.verify(&headers(value), Digest::of(body).0, now)
}

fn verify(verifier: &ChainVerifier, value: &str) -> Result<Chain, Failed> {
    verify_at(verifier, value, BODY, NOW)
}

#[track_caller]
fn refused(verifier: &ChainVerifier, value: &str, why: ProofFailure) {
    match verify(verifier, value) {
        Err(failed) => assert_eq!(failed.failure, why, "{failed} for {value}"),
        Ok(_) => panic!("accepted: {value}"),
    }
}

fn digest(bytes: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(Digest::of(bytes).0)
}

/// What `edge` says of a call that `planner` makes, for `us`.
fn claims() -> Value {
    json!({ "sub": "planner", "iss": "edge", "aud": "us", "iat": NOW.0 / 1000, "tgt": "search", "req": digest(BODY) })
}

fn with(mut claims: Value, changes: Value) -> Value {
    for (name, value) in changes.as_object().unwrap() {
        if value.is_null() {
            claims.as_object_mut().unwrap().remove(name);
        } else {
            claims[name] = value.clone();
        }
    }
    claims
}

/// An entry with any header and claims, signed with the key whatever they say.
fn signed(header: &Value, claims: &Value, key: &Ed25519KeyPair) -> String {
    let encode = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let text = format!("{}.{}", encode(header), encode(claims));
    let signature = URL_SAFE_NO_PAD.encode(key.sign(text.as_bytes()));
    format!("{text}.{signature}")
}

fn entry(claims: &Value, key: &Ed25519KeyPair) -> String {
    signed(&json!({ "alg": "EdDSA", "kid": "k1", "typ": "mcp-hop+jwt" }), claims, key)
}

fn array(items: &[String]) -> String {
    serde_json::to_string(items).unwrap()
}
