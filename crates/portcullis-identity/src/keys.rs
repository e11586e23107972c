//! Keys that operators configure for signed requests and call chains: Ed25519 and P-256, from PEM and JWK. Reads no file and guesses no kind.

use std::fmt;

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED, ECDSA_P256_SHA256_FIXED_SIGNING, ED25519, EcdsaKeyPair, Ed25519KeyPair, ParsedPublicKey,
};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{PrivateKeyDer, SubjectPublicKeyInfoDer};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Map, Value};

/// What precedes the 32 bytes of an Ed25519 key in a `SubjectPublicKeyInfo` (RFC 8410 §4). There is one encoding in DER, so comparing is reading.
const ED25519_PREFIX: &[u8] = &[0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00];

/// The same for the 65 bytes of an uncompressed P-256 point (RFC 5480 §2).
const P256_PREFIX: &[u8] = &[
    0x30, 0x59, 0x30, 0x13, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06, 0x08, 0x2a, 0x86, 0x48, 0xce,
    0x3d, 0x03, 0x01, 0x07, 0x03, 0x42, 0x00,
];

/// The y coordinates of Ed25519 points of small order, non-canonical encodings included: with such a key, one signature is good for many
/// messages and anyone can make it.
const SMALL_ORDER: [&str; 7] = [
    "0000000000000000000000000000000000000000000000000000000000000000",
    "0100000000000000000000000000000000000000000000000000000000000000",
    "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
    "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
    "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
];

/// Members of a JWK that only a private or a symmetric key has (RFC 7518 §6).
pub(crate) const PRIVATE_MEMBERS: [&str; 8] = ["d", "p", "q", "dp", "dq", "qi", "oth", "k"];

/// A signature algorithm of RFC 9421 §3.3.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
pub enum Algorithm {
    #[serde(rename = "ed25519")]
    Ed25519,
    /// The signature is r and s, 32 bytes each.
    #[serde(rename = "ecdsa-p256-sha256")]
    EcdsaP256Sha256,
}

impl Algorithm {
    /// As in the registry of RFC 9421 §6.2.2.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Ed25519 => "ed25519",
            Self::EcdsaP256Sha256 => "ecdsa-p256-sha256",
        }
    }
}

/// A key that verifies.
#[derive(Debug)]
pub(crate) struct PublicKey {
    pub(crate) algorithm: Algorithm,
    /// The point, so that one key in two encodings is seen to be one.
    pub(crate) raw: Vec<u8>,
    parsed: ParsedPublicKey,
}

impl PublicKey {
    /// A `PUBLIC KEY` block.
    pub(crate) fn from_pem(pem: &str) -> Result<Self, String> {
        let der = SubjectPublicKeyInfoDer::from_pem_slice(pem.as_bytes())
            .map_err(|error| format!("no `PUBLIC KEY` in PEM: {error}"))?;
        if let Some(point) = der.strip_prefix(ED25519_PREFIX) {
            return Self::new(Algorithm::Ed25519, point.to_vec());
        }
        if let Some(point) = der.strip_prefix(P256_PREFIX) {
            return Self::new(Algorithm::EcdsaP256Sha256, point.to_vec());
        }
        Err("neither an Ed25519 nor an uncompressed P-256 key".to_owned())
    }

    /// A public JWK (RFC 7518 §6.2, RFC 8037 §2).
    pub(crate) fn from_jwk(jwk: &Map<String, Value>) -> Result<Self, String> {
        if let Some(member) = PRIVATE_MEMBERS.iter().find(|member| jwk.contains_key(**member)) {
            return Err(format!("`{member}` does not belong into a public key"));
        }
        let member =
            |name: &str| jwk.get(name).and_then(Value::as_str).ok_or_else(|| format!("no `{name}` in the JWK"));
        let coordinate = |name: &str| {
            let bytes = URL_SAFE_NO_PAD.decode(member(name)?).map_err(|error| format!("`{name}`: {error}"))?;
            if bytes.len() == 32 { Ok(bytes) } else { Err(format!("`{name}` does not have 32 bytes")) }
        };
        match (member("kty")?, member("crv")?) {
            ("OKP", "Ed25519") => Self::new(Algorithm::Ed25519, coordinate("x")?),
            ("EC", "P-256") => {
                let point = [vec![0x04], coordinate("x")?, coordinate("y")?].concat();
                Self::new(Algorithm::EcdsaP256Sha256, point)
            }
            (kind, curve) => Err(format!("`{kind}` with `{curve}` is neither Ed25519 nor P-256")),
        }
    }

    pub(crate) fn new(algorithm: Algorithm, raw: Vec<u8>) -> Result<Self, String> {
        let parsed = match algorithm {
            Algorithm::Ed25519 if has_small_order(&raw) => return Err("an Ed25519 point of small order".to_owned()),
            Algorithm::Ed25519 => ParsedPublicKey::new(&ED25519, &raw),
            Algorithm::EcdsaP256Sha256 => ParsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, &raw),
        };
        let parsed = parsed.map_err(|_| format!("no point of the curve of {}", algorithm.as_str()))?;
        Ok(Self { algorithm, raw, parsed })
    }

    pub(crate) fn verifies(&self, message: &[u8], signature: &[u8]) -> bool {
        self.parsed.verify_sig(message, signature).is_ok()
    }
}

fn has_small_order(point: &[u8]) -> bool {
    let mut text = String::with_capacity(64);
    for (at, byte) in point.iter().enumerate() {
        // The highest bit is the sign of x.
        let byte = if at == 31 { byte & 0x7f } else { *byte };
        text.push_str(&format!("{byte:02x}"));
    }
    SMALL_ORDER.contains(&text.as_str())
}

/// A key that signs.
pub(crate) enum PrivateKey {
    Ed25519(Ed25519KeyPair),
    P256(EcdsaKeyPair),
}

impl fmt::Debug for PrivateKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("PrivateKey").field(&self.algorithm()).finish()
    }
}

impl PrivateKey {
    /// A `PRIVATE KEY` (PKCS #8) or `EC PRIVATE KEY` (SEC 1) block.
    pub(crate) fn from_pem(pem: &[u8]) -> Result<Self, String> {
        let der = PrivateKeyDer::from_pem_slice(pem).map_err(|error| format!("no private key in PEM: {error}"))?;
        let bytes = der.secret_der();
        // The kind stands inside; a key of one kind is refused by the reader of the other.
        if let Ok(pair) = Ed25519KeyPair::from_pkcs8_maybe_unchecked(bytes) {
            return Ok(Self::Ed25519(pair));
        }
        EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, bytes)
            .or_else(|_| EcdsaKeyPair::from_private_key_der(&ECDSA_P256_SHA256_FIXED_SIGNING, bytes))
            .map(Self::P256)
            .map_err(|_| "neither an Ed25519 nor a P-256 key".to_owned())
    }

    pub(crate) const fn algorithm(&self) -> Algorithm {
        match self {
            Self::Ed25519(_) => Algorithm::Ed25519,
            Self::P256(_) => Algorithm::EcdsaP256Sha256,
        }
    }

    pub(crate) fn sign(&self, message: &[u8]) -> Result<Vec<u8>, String> {
        let signature = match self {
            Self::Ed25519(pair) => pair.try_sign(message),
            Self::P256(pair) => pair.sign(&SystemRandom::new(), message),
        };
        Ok(signature.map_err(|_| "the key does not sign")?.as_ref().to_vec())
    }
}
