//! What of the settings contradicts itself, and how keys are read.

use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use serde_json::{Value, json};

use super::{PRIVATE, PUBLIC, PUBLIC_P256, settings, trusted};
use crate::signature::{Algorithm, Execution, KeySource, Scope, SignatureSettings, SignatureVerifier, SignerSettings};

fn error(settings: &SignatureSettings) -> String {
    SignatureVerifier::new(settings).unwrap_err()
}

fn with(signer: SignerSettings) -> SignatureSettings {
    SignatureSettings { signers: vec![trusted("cd", PUBLIC_P256), signer], ..SignatureSettings::default() }
}

fn jwk(value: Value) -> KeySource {
    let Value::Object(jwk) = value else { panic!("no object") };
    KeySource::Jwk(jwk)
}

#[test]
fn contradictions_are_errors_that_name_their_place() {
    let spoiled = |spoil: fn(&mut SignerSettings)| {
        let mut signer = trusted("ci", PUBLIC);
        spoil(&mut signer);
        error(&with(signer))
    };
    let place = "identity.signatures.signers[1]";
    let ephemeral = spoiled(|signer| signer.execution = Execution::Ephemeral);
    assert!(ephemeral.starts_with(&format!("{place}.execution: ")), "{ephemeral}");
    assert!(spoiled(|signer| signer.key_id = "cd".into()).contains(".key_id: `cd` is there twice"));
    assert!(spoiled(|signer| signer.key_id = String::new()).contains(".key_id: "));
    assert!(spoiled(|signer| signer.key_id = "a b".into()).contains(".key_id: "));
    assert!(spoiled(|signer| signer.key_id = "a".repeat(257)).contains(".key_id: "));
    assert!(spoiled(|signer| signer.workload = String::new()).contains(".workload: "));
    assert!(
        spoiled(|signer| signer.algorithm = Some(Algorithm::EcdsaP256Sha256))
            .contains(".algorithm: the key is one for ed25519")
    );
    let same = spoiled(|signer| signer.public_key = KeySource::Pem(PUBLIC_P256.into()));
    assert!(same.contains("the same key as that of `cd`"), "{same}");
    assert!(spoiled(|signer| signer.public_key = KeySource::Pem("nonsense".into())).contains(".public_key: "));
    assert!(spoiled(|signer| signer.public_key = KeySource::File("/nowhere".into())).contains("/nowhere"));
    let private = spoiled(|signer| signer.public_key = KeySource::Pem(PRIVATE.into()));
    assert!(private.contains("no `PUBLIC KEY`"), "a private key has no business here: {private}");
}

#[test]
fn numbers_that_switch_a_check_off_are_errors() {
    let required = SignatureSettings { required: true, ..SignatureSettings::default() };
    assert!(error(&required).starts_with("identity.signatures.required: "));
    for seconds in [0, 86_401] {
        let age = SignatureSettings { max_age_seconds: seconds, ..settings() };
        assert!(error(&age).starts_with("identity.signatures.max_age_seconds: "));
    }
    let skew = SignatureSettings { max_skew_seconds: 86_401, ..settings() };
    assert!(error(&skew).starts_with("identity.signatures.max_skew_seconds: "));
}

#[test]
fn one_key_in_two_encodings_is_one_key() {
    let der = STANDARD.decode(PUBLIC.lines().nth(1).unwrap()).unwrap();
    let mut signer = trusted("again", "");
    signer.public_key = jwk(json!({ "kty": "OKP", "crv": "Ed25519", "x": URL_SAFE_NO_PAD.encode(&der[12..]) }));
    let settings = SignatureSettings { signers: vec![trusted("ci", PUBLIC), signer], ..SignatureSettings::default() };
    assert!(error(&settings).contains("the same key as that of `ci`"));
}

#[test]
fn keys_come_from_files_and_as_jwk_too() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("key.pem");
    std::fs::write(&path, PUBLIC).unwrap();
    let mut signer = trusted("ci", "");
    signer.public_key = KeySource::File("key.pem".into());
    let mut beside = with(signer.clone());
    beside.relative_to(folder.path());
    assert!(SignatureVerifier::new(&beside).is_ok());
    signer.public_key = KeySource::File(path.clone());
    std::fs::write(&path, "x".repeat(70_000)).unwrap();
    assert!(error(&with(signer.clone())).contains("has 70000 bytes"));
    let pair = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap();
    let point = pair.public_key().as_ref();
    let (x, y) = (URL_SAFE_NO_PAD.encode(&point[1..33]), URL_SAFE_NO_PAD.encode(&point[33..]));
    signer.public_key = jwk(json!({ "kty": "EC", "crv": "P-256", "x": x, "y": y, "kid": "ignored" }));
    assert!(SignatureVerifier::new(&with(signer.clone())).is_ok());
    signer.public_key = jwk(json!({ "kty": "EC", "crv": "P-256", "x": x, "y": x }));
    assert!(error(&with(signer)).contains("no point of the curve"));
}

#[test]
fn weak_unknown_and_private_keys_are_refused() {
    let x = URL_SAFE_NO_PAD.encode([7; 32]);
    for (key, reason) in [
        (json!({ "kty": "OKP", "crv": "Ed25519", "x": x, "d": x }), "`d` does not belong"),
        (json!({ "kty": "oct", "k": x }), "`k` does not belong"),
        (json!({ "kty": "OKP", "crv": "X25519", "x": x }), "neither Ed25519 nor P-256"),
        (json!({ "kty": "EC", "crv": "secp256k1", "x": x, "y": x }), "neither Ed25519 nor P-256"),
        (json!({ "kty": "RSA", "n": x, "e": "AQAB" }), "no `crv`"),
        (json!({ "kty": "OKP", "crv": "Ed25519", "x": "AAAA" }), "does not have 32 bytes"),
        (json!({ "kty": "OKP", "crv": "Ed25519" }), "no `x`"),
    ] {
        let mut signer = trusted("ci", "");
        signer.public_key = jwk(key);
        let found = error(&with(signer));
        assert!(found.contains(reason), "{found}");
    }
}

#[test]
fn points_of_small_order_are_refused_whatever_their_sign() {
    // The identity, the point of order two, and one of order eight with either sign.
    let mut identity = [0; 32];
    identity[0] = 1;
    let mut two = [0xff; 32];
    (two[0], two[31]) = (0xec, 0x7f);
    let eight: [u8; 32] = [
        0xc7, 0x17, 0x6a, 0x70, 0x3d, 0x4d, 0xd8, 0x4f, 0xba, 0x3c, 0x0b, 0x76, 0x0d, 0x10, 0x67, 0x0f, 0x2a, 0x20,
        0x53, 0xfa, 0x2c, 0x39, 0xcc, 0xc6, 0x4e, 0xc7, 0xfd, 0x77, 0x92, 0xac, 0x03, 0x7a,
    ];
    let mut negative = eight;
    negative[31] |= 0x80;
    for point in [[0; 32], identity, two, eight, negative] {
        let mut signer = trusted("ci", "");
        signer.public_key = jwk(json!({ "kty": "OKP", "crv": "Ed25519", "x": URL_SAFE_NO_PAD.encode(point) }));
        assert!(error(&with(signer)).contains("small order"), "{point:?}");
    }
}

#[test]
fn settings_are_read_as_the_operator_writes_them() {
    let settings: SignatureSettings = serde_json::from_value(json!({
        "required": true,
        "signers": [{
            "key_id": "job", "public_key": { "pem": PUBLIC }, "algorithm": "ed25519",
            "workload": "spiffe://example.org/job", "scope": "session", "execution": "ephemeral",
        }],
    }))
    .unwrap();
    assert_eq!((settings.max_age_seconds, settings.max_skew_seconds), (600, 300));
    assert_eq!((settings.signers[0].scope, settings.signers[0].execution), (Scope::Session, Execution::Ephemeral));
    assert!(SignatureVerifier::new(&settings).is_ok());
    assert!(serde_json::from_value::<SignatureSettings>(json!({ "requierd": true })).is_err());
}
