//! Public keys of an issuer, each tied to the algorithms that its type and curve allow. A key never verifies anything else, so a token
//! cannot choose how it is looked at (RFC 8725 §3.1).

use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED, ECDSA_P384_SHA384_FIXED, ECDSA_P521_SHA512_FIXED, ED25519, RSA_PKCS1_2048_8192_SHA256,
    RSA_PKCS1_2048_8192_SHA384, RSA_PKCS1_2048_8192_SHA512, RSA_PSS_2048_8192_SHA256, RSA_PSS_2048_8192_SHA384,
    RSA_PSS_2048_8192_SHA512, RsaParameters, RsaPublicKeyComponents, UnparsedPublicKey, VerificationAlgorithm,
};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use portcullis_core::refusal::ProofFailure;
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Map, Value};

use crate::{Failed, json};

/// Keys of one set. 64: the largest providers publish a dozen; each costs a search step per token without `kid`.
const MOST_KEYS: usize = 64;

/// Bytes of an RSA modulus: 2048 to 8192 bits, what the cryptographic library verifies.
const MODULUS: std::ops::RangeInclusive<usize> = 256..=1024;

/// How a token is signed. Shared secrets and `none` are no members, so no configuration can allow them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Deserialize, JsonSchema)]
pub enum Algorithm {
    #[serde(rename = "RS256")]
    Rs256,
    #[serde(rename = "RS384")]
    Rs384,
    #[serde(rename = "RS512")]
    Rs512,
    #[serde(rename = "PS256")]
    Ps256,
    #[serde(rename = "PS384")]
    Ps384,
    #[serde(rename = "PS512")]
    Ps512,
    #[serde(rename = "ES256")]
    Es256,
    #[serde(rename = "ES384")]
    Es384,
    #[serde(rename = "ES512")]
    Es512,
    /// Ed25519, also where a token calls it that (RFC 9864).
    #[serde(rename = "EdDSA", alias = "Ed25519")]
    EdDsa,
}

/// One verification key.
#[derive(Debug)]
pub struct Key {
    pub(super) id: Option<String>,
    /// `alg` of the key, where it has one.
    only: Option<Algorithm>,
    material: Material,
}

#[derive(Debug)]
enum Material {
    Rsa {
        modulus: Vec<u8>,
        exponent: Vec<u8>,
    },
    /// An uncompressed point, or an Ed25519 key; for one algorithm.
    Curve {
        algorithm: Algorithm,
        bytes: Vec<u8>,
    },
}

impl Algorithm {
    /// By the name that stands in a header; nothing for what is never accepted.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Some(match name {
            "RS256" => Self::Rs256,
            "RS384" => Self::Rs384,
            "RS512" => Self::Rs512,
            "PS256" => Self::Ps256,
            "PS384" => Self::Ps384,
            "PS512" => Self::Ps512,
            "ES256" => Self::Es256,
            "ES384" => Self::Es384,
            "ES512" => Self::Es512,
            "EdDSA" | "Ed25519" => Self::EdDsa,
            _ => return None,
        })
    }

    /// The name that metadata and challenges have for it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Rs256 => "RS256",
            Self::Rs384 => "RS384",
            Self::Rs512 => "RS512",
            Self::Ps256 => "PS256",
            Self::Ps384 => "PS384",
            Self::Ps512 => "PS512",
            Self::Es256 => "ES256",
            Self::Es384 => "ES384",
            Self::Es512 => "ES512",
            Self::EdDsa => "EdDSA",
        }
    }

    const fn rsa(self) -> Option<&'static RsaParameters> {
        Some(match self {
            Self::Rs256 => &RSA_PKCS1_2048_8192_SHA256,
            Self::Rs384 => &RSA_PKCS1_2048_8192_SHA384,
            Self::Rs512 => &RSA_PKCS1_2048_8192_SHA512,
            Self::Ps256 => &RSA_PSS_2048_8192_SHA256,
            Self::Ps384 => &RSA_PSS_2048_8192_SHA384,
            Self::Ps512 => &RSA_PSS_2048_8192_SHA512,
            Self::Es256 | Self::Es384 | Self::Es512 | Self::EdDsa => return None,
        })
    }

    fn curve(self) -> Option<&'static dyn VerificationAlgorithm> {
        Some(match self {
            Self::Es256 => &ECDSA_P256_SHA256_FIXED,
            Self::Es384 => &ECDSA_P384_SHA384_FIXED,
            Self::Es512 => &ECDSA_P521_SHA512_FIXED,
            Self::EdDsa => &ED25519,
            _ => return None,
        })
    }
}

impl Key {
    /// Whether the key may be used for this algorithm at all.
    #[must_use]
    pub(crate) fn fits(&self, algorithm: Algorithm) -> bool {
        self.only.is_none_or(|only| only == algorithm)
            && match &self.material {
                Material::Rsa { .. } => algorithm.rsa().is_some(),
                Material::Curve { algorithm: own, .. } => *own == algorithm,
            }
    }

    /// Whether `signature` over `message` is this key's, made by `algorithm`.
    #[must_use]
    pub fn verifies(&self, algorithm: Algorithm, message: &[u8], signature: &[u8]) -> bool {
        if !self.fits(algorithm) {
            return false;
        }
        match &self.material {
            Material::Rsa { modulus, exponent } => algorithm.rsa().is_some_and(|parameters| {
                RsaPublicKeyComponents { n: modulus, e: exponent }.verify(parameters, message, signature).is_ok()
            }),
            Material::Curve { bytes, .. } => algorithm
                .curve()
                .is_some_and(|curve| UnparsedPublicKey::new(curve, bytes).verify(message, signature).is_ok()),
        }
    }

    /// A public key of a set; nothing for keys that are not for signatures or of a kind that no accepted algorithm uses.
    pub(crate) fn read(jwk: &Map<String, Value>) -> Result<Option<Self>, Failed> {
        let text = |name| json::text(jwk, name, UNUSABLE);
        let bytes = |name| {
            let encoded = text(name)?.ok_or_else(|| unusable(format!("a key has no `{name}`")))?;
            URL_SAFE_NO_PAD.decode(encoded).map_err(|_| unusable(format!("`{name}` of a key is not base64url")))
        };
        if text("use")?.is_some_and(|usage| usage != "sig") || !operations_allow(jwk) {
            return Ok(None);
        }
        let only = match text("alg")? {
            None => None,
            Some(name) => match Algorithm::named(name) {
                Some(algorithm) => Some(algorithm),
                None => return Ok(None),
            },
        };
        let material = match (text("kty")?, text("crv")?) {
            (Some("RSA"), _) => {
                let (modulus, exponent) = (trimmed(bytes("n")?), trimmed(bytes("e")?));
                // Smaller keys can be factored; larger ones make each verification dear.
                if !MODULUS.contains(&modulus.len()) || exponent.is_empty() {
                    return Ok(None);
                }
                Material::Rsa { modulus, exponent }
            }
            (Some("EC"), Some(curve)) => {
                let (algorithm, size) = match curve {
                    "P-256" => (Algorithm::Es256, 32),
                    "P-384" => (Algorithm::Es384, 48),
                    "P-521" => (Algorithm::Es512, 66),
                    _ => return Ok(None),
                };
                let (x, y) = (bytes("x")?, bytes("y")?);
                if x.len() != size || y.len() != size {
                    return Err(unusable("a key's coordinates have the wrong size"));
                }
                Material::Curve { algorithm, bytes: [&[4_u8][..], &x, &y].concat() }
            }
            (Some("OKP"), Some("Ed25519")) => {
                let bytes = bytes("x")?;
                if bytes.len() != 32 {
                    return Err(unusable("an Ed25519 key has the wrong size"));
                }
                Material::Curve { algorithm: Algorithm::EdDsa, bytes }
            }
            _ => return Ok(None),
        };
        Ok(Some(Self { id: text("kid")?.map(str::to_owned), only, material }))
    }
}

/// The keys of a JWK set (RFC 7517 §5) that can verify something.
///
/// # Errors
/// It is not a set, holds a key that is damaged or private, has too many, or none that is usable.
pub(super) fn read_set(bytes: &[u8]) -> Result<Vec<Key>, Failed> {
    let set = json::object(bytes, UNUSABLE)?;
    let Some(Value::Array(listed)) = set.get("keys") else { return Err(unusable("the key set has no `keys`")) };
    if listed.len() > MOST_KEYS {
        return Err(unusable(format!("the key set has {} keys; at most {MOST_KEYS} are read", listed.len())));
    }
    let mut keys = Vec::new();
    for jwk in listed {
        let Value::Object(jwk) = jwk else { return Err(unusable("a key is not an object")) };
        // Whoever publishes a private key has lost it; everybody can sign with it (RFC 7517 §9.2).
        if jwk.contains_key("d") {
            return Err(unusable("the key set holds a private key"));
        }
        keys.extend(Key::read(jwk)?);
    }
    if keys.is_empty() { Err(unusable("the key set has no usable key")) } else { Ok(keys) }
}

/// A set that cannot be used leaves nobody able to tell who signed.
const UNUSABLE: ProofFailure = ProofFailure::IssuerUnavailable;

fn unusable(detail: impl Into<String>) -> Failed {
    Failed::new(UNUSABLE, detail)
}

fn operations_allow(jwk: &Map<String, Value>) -> bool {
    match jwk.get("key_ops") {
        None => true,
        Some(Value::Array(operations)) => operations.iter().any(|operation| operation == "verify"),
        Some(_) => false,
    }
}

/// Without leading zeros, which some issuers write and the library refuses.
fn trimmed(bytes: Vec<u8>) -> Vec<u8> {
    bytes.into_iter().skip_while(|byte| *byte == 0).collect()
}
