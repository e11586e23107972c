//! Proofs made and spoiled. Time and stores are handed in; nothing waits.

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::{KeyPair as RsaKeyPair, KeySize};
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair as _, RSA_PKCS1_SHA256, RSA_PSS_SHA256,
};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use futures_util::FutureExt as _;
use http::{HeaderMap, HeaderValue};
use portcullis_core::clock::Timestamp;
use portcullis_core::memory::Embedded;
use portcullis_core::refusal::ProofFailure;
use proptest::prelude::*;
use serde_json::{Value, json};

use super::address::normal;
use super::{DpopMode, DpopSettings, DpopVerifier, Scheme};
use crate::Secret;
use crate::issuer::Algorithm;

const NOW: Timestamp = Timestamp(1_700_000_000_000);
const TOKEN: &str = "a.token.of-somebody";
const HERE: &str = "https://gateway.example/mcp?team=a";

fn encode(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

/// Private keys that prove; their JWKs follow.
fn ed25519() -> (Ed25519KeyPair, Value) {
    let pair = Ed25519KeyPair::from_seed_unchecked(&[7; 32]).unwrap();
    let jwk = json!({ "kty": "OKP", "crv": "Ed25519", "x": encode(pair.public_key()) });
    (pair, jwk)
}

/// What a proof says; spoil it before [`Draft::proof`].
struct Draft {
    header: Value,
    claims: Value,
}

impl Draft {
    fn new() -> Self {
        let ath = encode(super::digest(&super::SHA256, TOKEN.as_bytes()));
        Self {
            header: json!({ "typ": "dpop+jwt", "alg": "EdDSA", "jwk": ed25519().1 }),
            claims: json!({ "jti": "j-1", "htm": "POST", "htu": "https://gateway.example/mcp", "iat": NOW.0 / 1000, "ath": ath }),
        }
    }

    fn header(name: &str, value: Value) -> Self {
        let mut draft = Self::new();
        draft.header[name] = value;
        draft
    }

    fn claim(name: &str, value: Value) -> Self {
        let mut draft = Self::new();
        draft.claims[name] = value;
        draft
    }

    fn message(&self) -> String {
        format!("{}.{}", encode(self.header.to_string()), encode(self.claims.to_string()))
    }

    fn proof(&self) -> String {
        let message = self.message();
        let signature = ed25519().0.sign(message.as_bytes());
        format!("{message}.{}", encode(signature))
    }
}

fn verifier() -> DpopVerifier {
    DpopVerifier::new(&DpopSettings::default()).unwrap()
}

fn verify_at(verifier: &DpopVerifier, proof: &str, now: u64, memory: &Embedded) -> Result<String, ProofFailure> {
    let proven = verifier.verify(proof, "POST", HERE, TOKEN, Timestamp(now)).map_err(|failed| failed.failure)?;
    let thumbprint = proven.thumbprint().to_owned();
    let spent = proven.spend(memory).now_or_never().unwrap();
    spent.map(|()| thumbprint).map_err(|failed| failed.failure)
}

fn verify(proof: &str) -> Result<String, ProofFailure> {
    verify_at(&verifier(), proof, NOW.0, &Embedded::new(10))
}

/// RFC 9449 §4.3 and §7.1, figures 12 and 13; the thumbprint is that of §6.1.
#[test]
fn the_example_of_the_rfc_verifies() {
    let proof = "eyJ0eXAiOiJkcG9wK2p3dCIsImFsZyI6IkVTMjU2IiwiandrIjp7Imt0eSI6IkVDIiwieCI6Imw4dEZyaHgtMzR0VjNoUklDUkRZOXpDa0RscEJoRjQyVVFVZldWQVdCRnMiLCJ5IjoiOVZFNGpmX09rX282NHpiVFRsY3VOSmFqSG10NnY5VERWclUwQ2R2R1JEQSIsImNydiI6IlAtMjU2In19.eyJqdGkiOiJlMWozVl9iS2ljOC1MQUVCIiwiaHRtIjoiR0VUIiwiaHR1IjoiaHR0cHM6Ly9yZXNvdXJjZS5leGFtcGxlLm9yZy9wcm90ZWN0ZWRyZXNvdXJjZSIsImlhdCI6MTU2MjI2MjYxOCwiYXRoIjoiZlVIeU8ycjJaM0RaNTNFc05yV0JiMHhXWG9hTnk1OUlpS0NBcWtzbVFFbyJ9.2oW9RP35yRqzhrtNP86L-Ey71EOptxRimPPToA1plemAgR6pxHF8y6-yqyVnmcw6Fy1dqd-jfxSYoMxhAJpLjA";
    let (address, token) =
        ("https://resource.example.org/protectedresource", "Kz~8mXK1EalYznwH-LC-1fBAo.4Ljp~zsPE_NeO.gxU");
    let now = Timestamp(1_562_262_618_000);
    let proven = verifier().verify(proof, "GET", address, token, now).unwrap();
    assert_eq!(proven.thumbprint(), "0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I");
}

#[test]
fn a_proof_gives_the_thumbprint_of_its_key() {
    let thumbprint = verify(&Draft::new().proof()).unwrap();
    let expected = format!(r#"{{"crv":"Ed25519","kty":"OKP","x":{}}}"#, ed25519().1["x"]);
    assert_eq!(thumbprint, encode(super::digest(&super::SHA256, expected.as_bytes())));
    let named = Draft::header("alg", "Ed25519".into()).proof();
    assert_eq!(verify(&named), Ok(thumbprint), "the other name of the algorithm");
}

#[test]
fn keys_of_every_allowed_kind_prove() {
    let pair = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap();
    let point = pair.public_key().as_ref();
    let mut draft = Draft::header("alg", "ES256".into());
    draft.header["jwk"] = json!({ "kty": "EC", "crv": "P-256", "x": encode(&point[1..33]), "y": encode(&point[33..]) });
    let signature = pair.sign(&SystemRandom::new(), draft.message().as_bytes()).unwrap();
    assert!(verify(&format!("{}.{}", draft.message(), encode(signature))).is_ok());

    let pair = RsaKeyPair::generate(KeySize::Rsa2048).unwrap();
    let public = pair.public_key();
    let (n, e) =
        (public.modulus().big_endian_without_leading_zero(), public.exponent().big_endian_without_leading_zero());
    for name in ["RS256", "PS256"] {
        let mut draft = Draft::header("alg", name.into());
        draft.header["jwk"] = json!({ "kty": "RSA", "n": encode(n), "e": encode(e) });
        let mut signature = vec![0; pair.public_modulus_len()];
        let message = draft.message();
        let (random, message) = (SystemRandom::new(), message.as_bytes());
        if name == "RS256" {
            pair.sign(&RSA_PKCS1_SHA256, &random, message, &mut signature).unwrap();
        } else {
            pair.sign(&RSA_PSS_SHA256, &random, message, &mut signature).unwrap();
        }
        let proof = format!("{}.{}", draft.message(), encode(signature));
        assert!(verify(&proof).is_ok(), "{name}");
        let only = DpopSettings { algorithms: vec![Algorithm::Es256], ..DpopSettings::default() };
        let outcome = verify_at(&DpopVerifier::new(&only).unwrap(), &proof, NOW.0, &Embedded::new(10));
        assert_eq!(outcome, Err(ProofFailure::DpopInvalid), "{name} is not on the list");
    }
}

#[test]
fn headers_of_other_kinds_are_refused() {
    let x = ed25519().1["x"].clone();
    for (name, value) in [
        ("typ", json!("JWT")),
        ("typ", json!("application/dpop+jwt")),
        ("typ", Value::Null),
        ("crit", json!(["b64"])),
        ("alg", json!("none")),
        ("alg", json!("HS256")),
        ("alg", json!("ES256")),
        ("alg", json!("RS256")),
        ("alg", json!("eddsa")),
        ("alg", json!(1)),
        ("jwk", Value::Null),
        ("jwk", json!({})),
        ("jwk", json!("x")),
        ("jwk", json!({ "kty": "OKP", "crv": "Ed25519", "x": x, "d": x })),
        ("jwk", json!({ "kty": "OKP", "crv": "X25519", "x": x })),
        ("jwk", json!({ "kty": "oct", "k": x })),
        ("jwk", json!({ "kty": "EC", "crv": "P-256", "x": x, "y": x })),
        ("jwk", json!({ "kty": "OKP", "crv": "Ed25519", "x": "not base64 \"" })),
        ("jwk", json!({ "kty": "OKP", "crv": "Ed25519" })),
    ] {
        let proof = Draft::header(name, value.clone()).proof();
        assert_eq!(verify(&proof), Err(ProofFailure::DpopInvalid), "{name}: {value}");
    }
}

#[test]
fn a_symmetric_key_made_of_the_public_one_proves_nothing() {
    let draft = Draft::header("alg", "HS256".into());
    let key = aws_lc_rs::hmac::Key::new(aws_lc_rs::hmac::HMAC_SHA256, ed25519().0.public_key().as_ref());
    let signature = aws_lc_rs::hmac::sign(&key, draft.message().as_bytes());
    let proof = format!("{}.{}", draft.message(), encode(signature));
    assert_eq!(verify(&proof), Err(ProofFailure::DpopInvalid));
    assert_eq!(verify(&format!("{}.", Draft::header("alg", "none".into()).message())), Err(ProofFailure::DpopInvalid));
}

#[test]
fn claims_that_are_not_this_requests_are_refused() {
    for (name, value) in [
        ("htm", json!("GET")),
        ("htm", json!("post")),
        ("htm", Value::Null),
        ("htu", json!("https://gateway.example/other")),
        ("htu", json!("http://gateway.example/mcp")),
        ("htu", json!("https://gateway.example:8443/mcp")),
        ("htu", json!("https://other.example/mcp")),
        ("htu", json!("https://user@gateway.example/mcp")),
        ("htu", json!("https:\\\\gateway.example\\mcp")),
        ("htu", json!("/mcp")),
        ("htu", Value::Null),
        ("ath", json!(encode(super::digest(&super::SHA256, b"another token")))),
        ("ath", Value::Null),
        ("jti", json!("")),
        ("jti", json!("j".repeat(257))),
        ("jti", json!(1)),
        ("jti", Value::Null),
        ("iat", json!("1700000000")),
        ("iat", json!(-1)),
        ("iat", json!(1_700_000_000.5)),
        ("iat", Value::Null),
    ] {
        let proof = Draft::claim(name, value.clone()).proof();
        assert_eq!(verify(&proof), Err(ProofFailure::DpopInvalid), "{name}: {value}");
    }
}

#[test]
fn a_claim_given_twice_is_refused() {
    let claims = Draft::new().claims.to_string().replacen('{', r#"{"htm":"GET","#, 1);
    let message = format!("{}.{}", encode(Draft::new().header.to_string()), encode(claims));
    let proof = format!("{message}.{}", encode(ed25519().0.sign(message.as_bytes())));
    assert_eq!(verify(&proof), Err(ProofFailure::DpopInvalid));
}

#[test]
fn what_is_no_jwt_is_refused() {
    for proof in ["", ".", "..", "...", "a.b.c", "e30.e30.", "\u{e9}.e30.e30", &"a".repeat(9000)] {
        assert_eq!(verify(proof), Err(ProofFailure::DpopInvalid), "{proof}");
    }
    let proof = Draft::new().proof();
    assert_eq!(verify(&format!("{proof}=")), Err(ProofFailure::DpopInvalid), "padding");
    assert_eq!(verify(&format!("{proof}.{proof}")), Err(ProofFailure::DpopInvalid));
}

#[test]
fn the_window_is_judged_in_both_directions_and_before_the_proof_is_taken() {
    let (verifier, proof, memory) = (verifier(), Draft::new().proof(), Embedded::new(10));
    let at = |now| verify_at(&verifier, &proof, now, &memory);
    assert_eq!(at(NOW.0 - 60_001), Err(ProofFailure::DpopStale));
    assert_eq!(at(NOW.0 + 60_001), Err(ProofFailure::DpopStale));
    assert!(at(NOW.0 + 60_000).is_ok(), "nobody has taken it yet");
    assert_eq!(at(NOW.0 + 60_000), Err(ProofFailure::DpopReplayed));
    assert_eq!(at(NOW.0 - 60_000), Err(ProofFailure::DpopReplayed), "a clock that is set back brings nothing back");
    assert_eq!(at(NOW.0 + 60_001), Err(ProofFailure::DpopStale));
    let never = Draft::claim("iat", json!(u64::MAX)).proof();
    assert_eq!(verify_at(&verifier, &never, NOW.0, &memory), Err(ProofFailure::DpopStale));
}

#[test]
fn a_jti_counts_once_per_key_and_a_full_store_refuses() {
    let (verifier, memory) = (verifier(), Embedded::new(1));
    let forged = Draft::claim("htm", "GET".into()).proof();
    assert_eq!(verify_at(&verifier, &forged, NOW.0, &memory), Err(ProofFailure::DpopInvalid));
    assert!(verify_at(&verifier, &Draft::new().proof(), NOW.0, &memory).is_ok(), "what is wrong fills no store");
    assert_eq!(verify_at(&verifier, &Draft::new().proof(), NOW.0, &memory), Err(ProofFailure::DpopReplayed));
    let second = Draft::claim("jti", "j-2".into()).proof();
    assert_eq!(verify_at(&verifier, &second, NOW.0, &memory), Err(ProofFailure::ReplayUnknown));
    assert_ne!(super::once("key", "jti"), super::once("other", "jti"));
}

#[test]
fn nonces_are_good_for_their_slot_and_the_next() {
    let wide = DpopSettings {
        nonces: true,
        max_age_seconds: 3600,
        nonce_key: Some(Secret::Value("k".repeat(32))),
        ..DpopSettings::default()
    };
    let verifier = DpopVerifier::new(&wide).unwrap();
    let start = NOW.0 - NOW.0 % 300_000;
    let nonce = verifier.nonce(Timestamp(start + 299_999)).unwrap();
    let at = |now, nonce: Value| verify_at(&verifier, &Draft::claim("nonce", nonce).proof(), now, &Embedded::new(10));
    assert!(at(start + 299_999, nonce.clone().into()).is_ok());
    assert!(at(start + 599_999, nonce.clone().into()).is_ok());
    assert_eq!(at(start + 600_000, nonce.clone().into()), Err(ProofFailure::DpopNonce));
    let next = verifier.nonce(Timestamp(start + 300_000)).unwrap();
    assert_ne!(next, nonce);
    assert_eq!(at(start + 299_999, next.into()), Err(ProofFailure::DpopNonce), "of a slot to come");
    for none in [Value::Null, json!(1), json!(""), json!("x")] {
        assert_eq!(at(start + 299_999, none), Err(ProofFailure::DpopNonce));
    }
    let replica = DpopVerifier::new(&wide).unwrap();
    assert_eq!(replica.nonce(Timestamp(start)), Some(nonce), "replicas with one key make the same");
    let alone = DpopSettings { nonce_key: None, ..wide };
    let [one, other] = [(); 2].map(|()| DpopVerifier::new(&alone).unwrap().nonce(NOW));
    assert_ne!(one, other);
    assert_eq!(self::verifier().nonce(NOW), None);
}

#[test]
fn a_bound_token_needs_its_own_keys_proof() {
    use DpopMode::{Off, Optional, Required};
    use Scheme::{Bearer, Dpop};
    let of = |mode, scheme, token, proven| {
        let verifier = DpopVerifier::new(&DpopSettings { mode, ..DpopSettings::default() }).unwrap();
        verifier.bound(scheme, token, proven).map_err(|failed| failed.failure)
    };
    for mode in [Off, Optional, Required] {
        assert_eq!(of(mode, Dpop, Some("k"), Some("k")), Ok(()));
        assert_eq!(of(mode, Dpop, Some("k"), None), Err(ProofFailure::DpopRequired));
        assert_eq!(of(mode, Dpop, Some("k"), Some("l")), Err(ProofFailure::DpopInvalid));
        for proven in [None, Some("k"), Some("l")] {
            assert_eq!(of(mode, Bearer, Some("k"), proven), Err(ProofFailure::DpopRequired), "as a bearer token");
        }
        for scheme in [Bearer, Dpop] {
            assert_eq!(of(mode, scheme, None, Some("k")), Err(ProofFailure::DpopInvalid), "bound to no key");
        }
    }
    for mode in [Off, Optional] {
        assert_eq!(of(mode, Bearer, None, None), Ok(()));
        assert_eq!(of(mode, Dpop, None, None), Err(ProofFailure::DpopInvalid));
    }
    assert_eq!(of(Required, Bearer, None, None), Err(ProofFailure::DpopRequired));
}

#[test]
fn one_header_holds_the_proof() {
    let mut headers = HeaderMap::new();
    let read = |verifier: &DpopVerifier, headers: &HeaderMap| {
        verifier.proof(headers).map(|proof| proof.map(str::to_owned)).map_err(|failed| failed.failure)
    };
    assert_eq!(read(&verifier(), &headers), Ok(None));
    headers.append("dpop", HeaderValue::from_static("a.b.c"));
    assert_eq!(read(&verifier(), &headers), Ok(Some("a.b.c".into())));
    headers.append("dpop", HeaderValue::from_static("a.b.c"));
    assert_eq!(read(&verifier(), &headers), Err(ProofFailure::DpopInvalid));
    let off = DpopVerifier::new(&DpopSettings { mode: DpopMode::Off, ..DpopSettings::default() }).unwrap();
    assert_eq!(read(&off, &headers), Ok(None));
    headers.insert("dpop", HeaderValue::from_bytes(b"\xff").unwrap());
    assert_eq!(read(&verifier(), &headers), Err(ProofFailure::DpopInvalid));
}

#[test]
fn settings_that_contradict_themselves_name_their_place() {
    let error = |settings: DpopSettings| DpopVerifier::new(&settings).unwrap_err();
    let none = error(DpopSettings { algorithms: Vec::new(), ..DpopSettings::default() });
    assert!(none.starts_with("identity.dpop.algorithms: "), "{none}");
    let age = error(DpopSettings { max_age_seconds: 0, ..DpopSettings::default() });
    assert!(age.starts_with("identity.dpop.max_age_seconds: "), "{age}");
    let skew = error(DpopSettings { max_skew_seconds: 3601, ..DpopSettings::default() });
    assert!(skew.starts_with("identity.dpop.max_skew_seconds: "), "{skew}");
    let slot = error(DpopSettings { nonce_seconds: 0, ..DpopSettings::default() });
    assert!(slot.starts_with("identity.dpop.nonce_seconds: "), "{slot}");
    let unused = error(DpopSettings { nonce_key: Some(Secret::File("nowhere".into())), ..DpopSettings::default() });
    assert!(unused.starts_with("identity.dpop.nonce_key: "), "{unused}");
    let mut gone =
        DpopSettings { nonces: true, nonce_key: Some(Secret::File("none".into())), ..DpopSettings::default() };
    gone.relative_to("/nowhere".as_ref());
    assert!(error(gone.clone()).contains("/nowhere/none"));
    gone.nonce_key = Some(Secret::Value("k".repeat(31)));
    assert!(error(gone).contains("has 31 bytes"));
    for symmetric in ["none", "HS256", "ES256K"] {
        assert!(serde_json::from_value::<DpopSettings>(json!({ "algorithms": [symmetric] })).is_err());
    }
    let read: DpopSettings = serde_json::from_value(json!({ "mode": "required", "algorithms": ["ES256"] })).unwrap();
    assert_eq!((read.mode, read.max_age_seconds), (DpopMode::Required, 60));
}

#[test]
fn addresses_are_compared_in_their_normal_form() {
    let here = normal("https://gateway.example/a%2Fb/~c").unwrap();
    for same in [
        "HTTPS://GATEWAY.example:443/a%2fb/%7Ec",
        "https://gateway.example/x/../a%2Fb/./~c",
        "https://gateway.example/x/%2e%2E/a%2Fb/~c?query#fragment",
    ] {
        assert_eq!(normal(same).as_ref(), Some(&here), "{same}");
    }
    for other in
        ["https://gateway.example/a/b/~c", "https://gateway.example/A%2Fb/~c", "https://gateway.example/a%2Fb/~c/"]
    {
        assert_ne!(normal(other).as_ref(), Some(&here), "{other}");
    }
    assert_eq!(normal("https://gateway.example"), normal("https://gateway.example/"));
    assert_eq!(normal("http://[::1]:80/"), Some("http://[::1]/".into()));
    for none in [
        "",
        "mcp",
        "ftp://a/",
        "https://a\\b/",
        "https://u@a/",
        "https://a /",
        "https://a/\u{e9}",
        "https://a/%",
        "https://a/%zz",
        "https://a/%+1",
    ] {
        assert_eq!(normal(none), None, "{none}");
    }
}

proptest! {
    #[test]
    fn any_changed_character_of_a_proof_is_found(at: prop::sample::Index, with in "[A-Za-z0-9_-]") {
        let proof = Draft::new().proof();
        let at = at.index(proof.len());
        prop_assume!(proof.as_bytes()[at] != with.as_bytes()[0]);
        let mut changed = proof.clone();
        changed.replace_range(at..=at, &with);
        prop_assert_eq!(verify(&changed), Err(ProofFailure::DpopInvalid));
    }

    #[test]
    fn any_other_method_address_or_token_is_found(which in 0_usize..3, at: prop::sample::Index, with in "[a-z0-9]") {
        let mut parts = ["POST".to_owned(), "https://gateway.example/mcp".to_owned(), TOKEN.to_owned()];
        let part = &mut parts[which];
        let at = at.index(part.len());
        prop_assume!(part.as_bytes()[at] != with.as_bytes()[0]);
        part.replace_range(at..=at, &with);
        let [method, address, token] = &parts;
        let outcome = verifier().verify(&Draft::new().proof(), method, address, token, NOW);
        prop_assert_eq!(outcome.map(|_| ()).map_err(|failed| failed.failure), Err(ProofFailure::DpopInvalid));
    }

    #[test]
    fn nothing_that_arrives_makes_the_reader_panic(proof in "\\PC{0,60}", address in "\\PC{0,60}") {
        prop_assert!(verify(&proof).is_err());
        let _ = normal(&address);
    }
}
