//! What a proof costs: tokens seen for the first time and again, proofs of possession, signed requests, call chains. Keys are at hand, as they
//! are for all but the first request after a start; nothing here asks anybody. Each proof that counts once is one of its own.

#![expect(clippy::unwrap_used, reason = "a benchmark that cannot be set up must stop")]

use std::cell::Cell;
use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::{KeyPair as RsaKeyPair, KeySize};
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair as _, RSA_PKCS1_SHA256,
};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use divan::{Bencher, black_box};
use http::{HeaderMap, HeaderValue};
use mimalloc::MiMalloc;
use portcullis_core::caller::{Caller, Proof};
use portcullis_core::clock::Timestamp;
use portcullis_core::memory::Embedded;
use portcullis_core::proofs::{Chain, Hop};
use portcullis_identity::Secret;
use portcullis_identity::chain::{
    self, ChainAlgorithm, ChainKey, ChainSettings, ChainSigner, ChainVerifier, Direction, NewEntry,
};
use portcullis_identity::dpop::{DpopSettings, DpopVerifier};
use portcullis_identity::fetch::Fetcher;
use portcullis_identity::issuer::{Algorithm, KeySettings};
use portcullis_identity::signature::{
    Execution, KeySource, Scope, SignatureSettings, SignatureVerifier, Signed, Signer, SignerSettings,
};
use portcullis_identity::token::{OAuthIssuerSettings, OAuthSettings, TokenVerifier};
use serde_json::{Value, json};
use tempfile::TempDir;

// The gateway's, as it is: counting would be measured too. `cargo xtask bench --rows allocations` counts.
#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

const NOW: Timestamp = Timestamp(1_800_000_000_000);
const SECONDS: u64 = NOW.0 / 1000;
const URL: &str = "https://gateway.example/mcp";
const BODY: &[u8] =
    br#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"search_notes","arguments":{"query":"budget of the third quarter","limit":20,"order":"newest first","folders":["work","archive","shared"]}}}"#;
/// More than a run makes.
const REMEMBERED: usize = 10_000_000;

fn main() {
    divan::main();
}

fn encode(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

/// What needs nobody else is done when it is asked first.
fn at_once<T>(work: impl Future<Output = T>) -> T {
    let done = match pin!(work).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(done) => Some(done),
        Poll::Pending => None,
    };
    done.unwrap()
}

/// A number that no earlier one equals.
fn next(turn: &Cell<u64>) -> u64 {
    turn.set(turn.get() + 1);
    turn.get()
}

/// A key pair that makes JWTs.
enum Key {
    P256(EcdsaKeyPair),
    Ed25519(Ed25519KeyPair),
    Rsa(RsaKeyPair),
}

impl Key {
    fn new(algorithm: &str) -> Self {
        match algorithm {
            "ES256" => Self::P256(EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap()),
            "EdDSA" => Self::Ed25519(Ed25519KeyPair::generate().unwrap()),
            _ => Self::Rsa(RsaKeyPair::generate(KeySize::Rsa2048).unwrap()),
        }
    }

    fn jwk(&self) -> Value {
        match self {
            Self::P256(pair) => {
                let (x, y) = pair.public_key().as_ref().split_at(1).1.split_at(32);
                json!({ "kty": "EC", "crv": "P-256", "x": encode(x), "y": encode(y) })
            }
            Self::Ed25519(pair) => json!({ "kty": "OKP", "crv": "Ed25519", "x": encode(pair.public_key()) }),
            Self::Rsa(pair) => {
                let (n, e) = (pair.public_key().modulus(), pair.public_key().exponent());
                let [n, e] = [n.big_endian_without_leading_zero(), e.big_endian_without_leading_zero()].map(encode);
                json!({ "kty": "RSA", "n": n, "e": e })
            }
        }
    }

    fn sign(&self, header: &Value, claims: &Value) -> String {
        let message = format!("{}.{}", encode(header.to_string()), encode(claims.to_string()));
        let signature = match self {
            Self::P256(pair) => pair.sign(&SystemRandom::new(), message.as_bytes()).unwrap().as_ref().to_vec(),
            Self::Ed25519(pair) => pair.sign(message.as_bytes()).as_ref().to_vec(),
            Self::Rsa(pair) => {
                let mut signature = vec![0; pair.public_modulus_len()];
                pair.sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), message.as_bytes(), &mut signature).unwrap();
                signature
            }
        };
        format!("{message}.{}", encode(signature))
    }
}

/// An issuer whose keys are in a file, and a gateway that trusts it.
struct Issuer {
    key: Key,
    algorithm: &'static str,
    verifier: TokenVerifier,
}

impl Issuer {
    fn new(algorithm: &'static str) -> Self {
        let (key, folder) = (Key::new(algorithm), TempDir::new().unwrap());
        let (mut jwk, file) = (key.jwk(), folder.path().join("jwks.json"));
        if let Some(members) = jwk.as_object_mut() {
            members.insert("kid".to_owned(), "a".into());
        }
        std::fs::write(&file, json!({ "keys": [jwk] }).to_string()).unwrap();
        let algorithms = vec![Algorithm::named(algorithm).unwrap()];
        let issuer = OAuthIssuerSettings {
            name: "corp".to_owned(),
            issuer: "https://login.example".to_owned(),
            keys: KeySettings { file: Some(file), algorithms, ..KeySettings::default() },
            ..OAuthIssuerSettings::default()
        };
        let settings = OAuthSettings { resource: URL.to_owned(), issuers: vec![issuer], ..OAuthSettings::default() };
        let verifier = TokenVerifier::new(&settings, Fetcher::new(None).unwrap()).unwrap();
        Self { key, algorithm, verifier }
    }

    fn token(&self, jti: u64) -> String {
        let header = json!({ "alg": self.algorithm, "typ": "at+jwt", "kid": "a" });
        let claims = json!({
            "iss": "https://login.example", "sub": "alice", "aud": URL, "client_id": "cli", "scope": "read write",
            "iat": SECONDS, "exp": SECONDS + 3600, "jti": jti.to_string(),
        });
        self.key.sign(&header, &claims)
    }

    fn verify(&self, token: &str) {
        black_box(at_once(self.verifier.verify(token, NOW)).unwrap());
    }
}

/// A token that nobody showed before.
#[divan::bench(args = ["ES256", "RS256", "EdDSA"])]
fn token_fresh(bencher: Bencher<'_, '_>, algorithm: &'static str) {
    let (issuer, turn) = (Issuer::new(algorithm), Cell::new(0));
    bencher.with_inputs(|| issuer.token(next(&turn))).bench_local_refs(|token| issuer.verify(token));
}

/// The same token again, as in all requests of a client but one.
#[divan::bench]
fn token_remembered(bencher: Bencher<'_, '_>) {
    let issuer = Issuer::new("ES256");
    let token = issuer.token(0);
    bencher.bench_local(|| issuer.verify(black_box(&token)));
}

/// A proof of possession; there are no two alike.
#[divan::bench(args = ["ES256", "EdDSA"])]
fn dpop(bencher: Bencher<'_, '_>, algorithm: &str) {
    let (key, turn, token) = (Key::new(algorithm), Cell::new(0), "the token".repeat(80));
    let header = json!({ "alg": algorithm, "typ": "dpop+jwt", "jwk": key.jwk() });
    let hash = encode(digest(&SHA256, token.as_bytes()));
    let proof = || {
        let jti = format!("00112233-4455-6677-8899-{:012}", next(&turn));
        key.sign(&header, &json!({ "jti": jti, "htm": "POST", "htu": URL, "iat": SECONDS, "ath": hash }))
    };
    let (verifier, memory) = (DpopVerifier::new(&DpopSettings::default()).unwrap(), Embedded::new(REMEMBERED));
    bencher.with_inputs(proof).bench_local_refs(|proof| {
        at_once(verifier.verify(proof, "POST", URL, &token, NOW).unwrap().spend(&memory)).unwrap()
    });
}

fn pem(label: &str, der: &[u8]) -> String {
    format!("-----BEGIN {label}-----\n{}\n-----END {label}-----\n", STANDARD.encode(der))
}

/// A private key as a file holds it, and the public half.
fn pair(algorithm: &str) -> (String, Value) {
    let key = Key::new(algorithm);
    let der = match &key {
        Key::P256(pair) => pair.to_pkcs8v1().ok(),
        Key::Ed25519(pair) => pair.to_pkcs8v1().ok(),
        Key::Rsa(_) => None,
    };
    (pem("PRIVATE KEY", der.unwrap().as_ref()), key.jwk())
}

fn request(headers: &HeaderMap) -> Signed<'_> {
    Signed { method: "POST", target_uri: URL, headers, body: BODY, session: None }
}

/// A signed request of 200 bytes in a session: its digest and its signature; each signed for itself.
#[divan::bench(args = ["EdDSA", "ES256"])]
fn signature(bencher: Bencher<'_, '_>, algorithm: &str) {
    let (private, public) = pair(algorithm);
    let signer = Signer::new("ci", private.as_bytes()).unwrap();
    let trusted = SignerSettings {
        key_id: "ci".to_owned(),
        public_key: KeySource::Jwk(public.as_object().unwrap().clone()),
        algorithm: None,
        workload: "build".to_owned(),
        scope: Scope::Persistent,
        execution: Execution::LongLived,
    };
    let settings = SignatureSettings { signers: vec![trusted], ..SignatureSettings::default() };
    let (verifier, memory) = (SignatureVerifier::new(&settings).unwrap(), Embedded::new(REMEMBERED));
    let mut plain = HeaderMap::new();
    for (name, value) in [("mcp-protocol-version", "2025-11-25"), ("mcp-session-id", "5d41402abc4b2a76")] {
        plain.insert(name, HeaderValue::from_static(value));
    }
    bencher
        .with_inputs(|| {
            let mut headers = plain.clone();
            headers.extend(signer.sign(&request(&plain), NOW, Duration::from_secs(60), None).unwrap());
            headers
        })
        .bench_local_refs(|headers| at_once(verifier.verify(&request(headers), NOW, &memory)).unwrap());
}

/// Three gateways, and a fourth that they lead to.
struct Gateways {
    verifier: ChainVerifier,
    signer: ChainSigner,
    /// What the three made of a request with [`BODY`].
    headers: HeaderMap,
}

impl Gateways {
    fn new(algorithm: ChainAlgorithm) -> Self {
        let folder = TempDir::new().unwrap();
        let key = |gateway: Option<&str>, direction, key| {
            let (key_id, gateway) = ("k1".to_owned(), gateway.map(str::to_owned));
            ChainKey { key_id, gateway, algorithm, direction, key, vouches: false }
        };
        let file = |name: &str, text: &str| {
            let path = folder.path().join(name);
            std::fs::write(&path, text).unwrap();
            Secret::File(path)
        };
        let settings =
            |gateway: &str, keys| ChainSettings { gateway: Some(gateway.to_owned()), keys, ..ChainSettings::default() };
        let names = ["edge", "hub", "inner", "us", "beyond"];
        let (mut signers, mut incoming) = (Vec::new(), Vec::new());
        for (name, audience) in names.iter().zip(names.iter().skip(1)) {
            let (own, theirs) = match algorithm {
                ChainAlgorithm::Ed25519 => {
                    let (private, public) = pair("EdDSA");
                    let public = public.get("x").and_then(Value::as_str).unwrap().to_owned();
                    (file(name, &private), Secret::Value(public))
                }
                ChainAlgorithm::Hs256 => {
                    let shared = file(name, "a secret of some bytes that two gateways share");
                    (shared.clone(), shared)
                }
            };
            signers
                .push(ChainSigner::new(&settings(name, vec![key(Some(audience), Direction::Outgoing, own)])).unwrap());
            if *name != "us" {
                incoming.push(key(Some(name), Direction::Incoming, theirs));
            }
        }
        let verifier = ChainVerifier::new(&settings("us", incoming)).unwrap();
        let signer = signers.pop().unwrap();
        let mut header = String::from("[]");
        for ((signer, agent), audience) in
            signers.iter().zip(["planner", "researcher", "writer"]).zip(names.iter().skip(1))
        {
            header = signer.append(&carried(&header), entry(agent, audience)).unwrap();
        }
        let headers = HeaderMap::from_iter([(chain::HEADER, HeaderValue::from_str(&header).unwrap())]);
        Self { verifier, signer, headers }
    }

    fn verify(&self) -> Chain {
        let mut request = [0; 32];
        request.copy_from_slice(digest(&SHA256, BODY).as_ref());
        self.verifier.verify(&self.headers, request, NOW).unwrap()
    }
}

fn entry<'a>(agent: &'a str, audience: &'a str) -> NewEntry<'a> {
    NewEntry { agent, target: "search_notes", body: BODY, audience, now: NOW }
}

/// A chain that nobody looked into, to be put behind.
fn carried(header: &str) -> Chain {
    let items: Vec<String> = serde_json::from_str(header).unwrap();
    let agent = Arc::new(Caller::new("agent:unread", Proof::Chain, Vec::new()));
    let hop = |raw: String| Hop {
        agent: Arc::clone(&agent),
        gateway: "".into(),
        target: "".into(),
        at: NOW,
        verified: true,
        raw: raw.into(),
    };
    Chain { hops: items.into_iter().map(hop).collect() }
}

const BOTH: [ChainAlgorithm; 2] = [ChainAlgorithm::Ed25519, ChainAlgorithm::Hs256];

/// A chain of three entries, the digest of the body included.
#[divan::bench(args = BOTH)]
fn chain_verify(bencher: Bencher<'_, '_>, algorithm: ChainAlgorithm) {
    let gateways = Gateways::new(algorithm);
    bencher.bench_local(|| gateways.verify());
}

/// Our entry behind three others.
#[divan::bench(args = BOTH)]
fn chain_append(bencher: Bencher<'_, '_>, algorithm: ChainAlgorithm) {
    let gateways = Gateways::new(algorithm);
    let chain = gateways.verify();
    bencher.bench_local(|| gateways.signer.append(black_box(&chain), entry("reviewer", "beyond")).unwrap());
}
