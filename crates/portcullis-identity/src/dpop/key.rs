//! The key of a proof: public, of a kind its algorithm is for, and with a name of its own (RFC 7638).

use aws_lc_rs::digest::{SHA256, digest};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use portcullis_core::refusal::ProofFailure;
use serde_json::{Map, Value};

use crate::issuer::{Algorithm, Key as PublicKey};
use crate::keys::PRIVATE_MEMBERS;
use crate::{Failed, json};

/// A key that a proof was verified with.
pub(super) struct Key {
    algorithm: Algorithm,
    key: PublicKey,
    /// SHA-256, base64url.
    pub(super) thumbprint: String,
}

impl Key {
    /// From the header of a proof.
    pub(super) fn of(header: &Map<String, Value>, allowed: &[Algorithm]) -> Result<Self, Failed> {
        let named = json::text(header, "alg", ProofFailure::DpopInvalid)?.unwrap_or_default();
        let algorithm = Algorithm::named(named)
            .filter(|algorithm| allowed.contains(algorithm))
            .ok_or_else(|| invalid("an algorithm that is not allowed"))?;
        let jwk = header.get("jwk").and_then(Value::as_object).ok_or_else(|| invalid("no `jwk` in the header"))?;
        if PRIVATE_MEMBERS.iter().any(|member| jwk.contains_key(*member)) {
            return Err(invalid("`jwk` is not public"));
        }
        let key = PublicKey::read(jwk).map_err(|failed| invalid(format!("`jwk`: {}", failed.detail)))?;
        let key = key.filter(|key| key.fits(algorithm)).ok_or_else(|| invalid("`jwk` is no key for `alg`"))?;
        let thumbprint = thumbprint(jwk).ok_or_else(|| invalid("`jwk` has no thumbprint"))?;
        Ok(Self { algorithm, key, thumbprint })
    }

    pub(super) fn verifies(&self, message: &str, signature: &[u8]) -> bool {
        self.key.verifies(self.algorithm, message.as_bytes(), signature)
    }
}

/// RFC 7638 §3: the members that make the key, in the order of their names, without a space.
fn thumbprint(jwk: &Map<String, Value>) -> Option<String> {
    let names: &[&str] = match jwk.get("kty")?.as_str()? {
        "EC" => &["crv", "kty", "x", "y"],
        "OKP" => &["crv", "kty", "x"],
        "RSA" => &["e", "kty", "n"],
        _ => return None,
    };
    // Written in the order they are put in, or of their names: the same here.
    let made: Option<Map<String, Value>> =
        names.iter().map(|name| Some(((*name).to_owned(), jwk.get(*name)?.clone()))).collect();
    let text = serde_json::to_vec(&made?).ok()?;
    Some(URL_SAFE_NO_PAD.encode(digest(&SHA256, &text)))
}

pub(super) fn invalid(detail: impl Into<String>) -> Failed {
    Failed::new(ProofFailure::DpopInvalid, detail)
}
