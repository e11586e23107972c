//! What one key may verify.

use serde_json::{Value, json};

use super::super::key::read_set;
use super::super::testing::{Signer, encode, set};
use super::super::{Algorithm, Key};

fn one(jwk: Value) -> Option<Key> {
    read_set(set(&[jwk]).as_bytes()).ok()?.pop()
}

fn with(mut jwk: Value, member: &str, value: Value) -> Value {
    jwk[member] = value;
    jwk
}

/// Message and signature.
fn signed(signer: &Signer, algorithm: &str) -> (String, Vec<u8>) {
    use base64::Engine;
    let token = signer.sign(&json!({ "alg": algorithm }), "{}");
    let (message, signature) = token.rsplit_once('.').unwrap();
    (message.to_owned(), base64::engine::general_purpose::URL_SAFE_NO_PAD.decode(signature).unwrap())
}

#[test]
fn a_key_verifies_its_own_algorithms_and_no_other() {
    let all = ["RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA"];
    for (signer, own) in
        [(Signer::p256(), "ES256"), (Signer::ed25519(), "EdDSA"), (Signer::rsa(), "RS256"), (Signer::rsa(), "PS256")]
    {
        let key = one(signer.jwk("a")).unwrap();
        let (message, signature) = signed(&signer, own);
        for name in all {
            let verifies = key.verifies(Algorithm::named(name).unwrap(), message.as_bytes(), &signature);
            assert_eq!(verifies, name == own, "{name} with a signature of {own}");
        }
        assert!(!key.verifies(Algorithm::named(own).unwrap(), b"other bytes", &signature));
    }
}

#[test]
fn the_algorithm_of_a_key_binds_it() {
    let signer = Signer::rsa();
    let (message, signature) = signed(&signer, "RS256");
    let key = one(with(signer.jwk("a"), "alg", json!("PS256"))).unwrap();
    assert!(!key.verifies(Algorithm::Rs256, message.as_bytes(), &signature));
    let key = one(with(signer.jwk("a"), "alg", json!("RS256"))).unwrap();
    assert!(key.verifies(Algorithm::Rs256, message.as_bytes(), &signature));
}

#[test]
fn keys_that_are_not_for_our_signatures_are_passed_over() {
    let good = Signer::p256().jwk("good");
    for other in [
        with(good.clone(), "use", json!("enc")),
        with(good.clone(), "key_ops", json!(["sign"])),
        with(good.clone(), "alg", json!("ECDH-ES")),
        with(good.clone(), "crv", json!("secp256k1")),
        with(Signer::ed25519().jwk("x"), "crv", json!("X25519")),
        with(Signer::rsa().jwk("small"), "n", json!(encode(&[0xC5; 128]))),
        json!({"kty": "oct", "k": "c2VjcmV0", "kid": "shared"}),
        json!({"kty": "AKP"}),
    ] {
        let keys = read_set(set(&[other.clone(), good.clone()]).as_bytes()).unwrap();
        assert_eq!(keys.len(), 1, "{other}");
        assert_eq!(keys[0].id.as_deref(), Some("good"), "{other}");
    }
}

#[test]
fn a_damaged_key_spoils_the_set() {
    let good = Signer::p256().jwk("a");
    for damaged in [
        with(good.clone(), "x", json!("AAAA")),
        with(good.clone(), "x", json!(7)),
        with(good.clone(), "y", json!("not base64!")),
        with(Signer::ed25519().jwk("a"), "x", json!("AAAA")),
        json!({"kty": "RSA", "e": "AQAB"}),
        json!("key"),
    ] {
        assert!(read_set(set(&[damaged.clone(), good.clone()]).as_bytes()).is_err(), "{damaged}");
    }
}

#[test]
fn a_point_that_is_not_on_the_curve_verifies_nothing() {
    let signer = Signer::p256();
    let (message, signature) = signed(&signer, "ES256");
    let key = one(with(signer.jwk("a"), "y", json!(encode(&[1; 32])))).unwrap();
    assert!(!key.verifies(Algorithm::Es256, message.as_bytes(), &signature));
}

#[test]
fn leading_zeros_of_a_modulus_do_not_count() {
    use base64::Engine;
    let signer = Signer::rsa();
    let (message, signature) = signed(&signer, "RS256");
    let jwk = signer.jwk("a");
    let modulus = base64::engine::general_purpose::URL_SAFE_NO_PAD.decode(jwk["n"].as_str().unwrap()).unwrap();
    let key = one(with(jwk, "n", json!(encode(&[&[0, 0][..], &modulus].concat())))).unwrap();
    assert!(key.verifies(Algorithm::Rs256, message.as_bytes(), &signature));
}
