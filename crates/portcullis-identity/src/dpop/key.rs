//! The key of a proof: public, of a kind its algorithm is for, and with a name of its own (RFC 7638).

use jsonwebtoken::jwk::{Jwk, ThumbprintHash};
use jsonwebtoken::{Algorithm, DecodingKey};
use portcullis_core::refusal::ProofFailure;
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Map, Value};

use crate::signature::PRIVATE_MEMBERS;
use crate::{Failed, json};

/// A signature algorithm for proofs. All of them are asymmetric: with a shared secret nobody would prove possession to anybody.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
pub enum DpopAlgorithm {
    ES256,
    ES384,
    /// Ed25519, under the name of RFC 8037.
    EdDSA,
    /// The same, under the name of RFC 9864.
    Ed25519,
    PS256,
    PS384,
    PS512,
    RS256,
    RS384,
    RS512,
}

impl DpopAlgorithm {
    /// For `dpop_signing_alg_values_supported` (RFC 9728 §2) and for `algs` in a challenge (RFC 9449 §7.1).
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::ES256 => "ES256",
            Self::ES384 => "ES384",
            Self::EdDSA => "EdDSA",
            Self::Ed25519 => "Ed25519",
            Self::PS256 => "PS256",
            Self::PS384 => "PS384",
            Self::PS512 => "PS512",
            Self::RS256 => "RS256",
            Self::RS384 => "RS384",
            Self::RS512 => "RS512",
        }
    }

    /// With the `kty` and `crv` of its keys.
    const fn family(self) -> (Algorithm, &'static str, Option<&'static str>) {
        match self {
            Self::ES256 => (Algorithm::ES256, "EC", Some("P-256")),
            Self::ES384 => (Algorithm::ES384, "EC", Some("P-384")),
            Self::EdDSA | Self::Ed25519 => (Algorithm::EdDSA, "OKP", Some("Ed25519")),
            Self::PS256 => (Algorithm::PS256, "RSA", None),
            Self::PS384 => (Algorithm::PS384, "RSA", None),
            Self::PS512 => (Algorithm::PS512, "RSA", None),
            Self::RS256 => (Algorithm::RS256, "RSA", None),
            Self::RS384 => (Algorithm::RS384, "RSA", None),
            Self::RS512 => (Algorithm::RS512, "RSA", None),
        }
    }
}

/// A key that a proof was verified with.
pub(super) struct Key {
    algorithm: Algorithm,
    key: DecodingKey,
    /// SHA-256, base64url.
    pub(super) thumbprint: String,
}

impl Key {
    /// From the header of a proof.
    pub(super) fn of(header: &Map<String, Value>, allowed: &[DpopAlgorithm]) -> Result<Self, Failed> {
        let named = json::text(header, "alg", ProofFailure::DpopInvalid)?.unwrap_or_default();
        let algorithm = *allowed
            .iter()
            .find(|algorithm| algorithm.as_str() == named)
            .ok_or_else(|| invalid("an algorithm that is not allowed"))?;
        let jwk = header.get("jwk").and_then(Value::as_object).ok_or_else(|| invalid("no `jwk` in the header"))?;
        if PRIVATE_MEMBERS.iter().any(|member| jwk.contains_key(*member)) {
            return Err(invalid("`jwk` is not public"));
        }
        let (algorithm, kind, curve) = algorithm.family();
        let member = |name| jwk.get(name).and_then(Value::as_str);
        if member("kty") != Some(kind) || (curve.is_some() && member("crv") != curve) {
            return Err(invalid("`jwk` is no key for `alg`"));
        }
        // Only what makes the key; a certificate or an address beside it is nobody's business here.
        let public: Map<String, Value> = ["kty", "crv", "x", "y", "n", "e"]
            .into_iter()
            .filter_map(|name| Some((name.to_owned(), jwk.get(name)?.clone())))
            .collect();
        let jwk: Jwk = serde_json::from_value(Value::Object(public)).map_err(|_| invalid("`jwk` is not complete"))?;
        let key = DecodingKey::from_jwk(&jwk).map_err(|_| invalid("`jwk` is not base64url"))?;
        let thumbprint = jwk.thumbprint(ThumbprintHash::SHA256).map_err(|_| invalid("`jwk` has no thumbprint"))?;
        Ok(Self { algorithm, key, thumbprint })
    }

    pub(super) fn verifies(&self, message: &str, signature: &str) -> bool {
        jsonwebtoken::crypto::verify(signature, message.as_bytes(), &self.key, self.algorithm).unwrap_or(false)
    }
}

pub(super) fn invalid(detail: impl Into<String>) -> Failed {
    Failed::new(ProofFailure::DpopInvalid, detail)
}
