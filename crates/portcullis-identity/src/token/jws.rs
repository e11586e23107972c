//! A signed JWT in compact form (RFC 7515, RFC 7519), read one way only. Nothing in its header says how or with what it is verified beyond
//! naming a key of the issuer and an algorithm that the configuration must allow.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use portcullis_core::clock::Timestamp;
use portcullis_core::refusal::ProofFailure;
use serde_json::{Map, Value};

use crate::issuer::{Algorithm, Issuer};
use crate::{Failed, json};

/// Header members that would change what is verified or bring a key along. `crit` and `b64` change the meaning (RFC 7515 §4.1.11, RFC 7797);
/// the others name keys that somebody else than the configuration chose (RFC 8725 §3.10).
const REFUSED: &[&str] = &["crit", "b64", "zip", "enc", "jwk", "jku", "x5u", "x5c"];

/// A token that can be read; whether it is good, `verify` says.
#[derive(Debug)]
pub(crate) struct Jws<'a> {
    algorithm: Algorithm,
    kid: Option<String>,
    typ: Option<String>,
    claims: Map<String, Value>,
    signed: &'a [u8],
    signature: Vec<u8>,
}

/// Whether a token wants to be read as a JWT: three parts, of which the first is an object. Everything else is opaque.
pub(crate) fn looks_signed(token: &str) -> bool {
    let mut parts = token.split('.');
    let header = parts.next().and_then(|part| URL_SAFE_NO_PAD.decode(part).ok());
    parts.count() == 2 && header.is_some_and(|header| header.first() == Some(&b'{'))
}

/// Before anything else looks at a token: everything else costs as much as it is long.
pub(crate) fn check_size(token: &str, most: usize) -> Result<(), Failed> {
    if token.len() <= most {
        return Ok(());
    }
    Err(Failed::new(ProofFailure::TokenTooLarge, format!("{} bytes; at most {most}", token.len())))
}

impl<'a> Jws<'a> {
    /// # Errors
    /// `TokenMalformed`, `TokenAlgorithm`, or `TokenClaims` for a payload that is no object without duplicates.
    pub(crate) fn read(token: &'a str) -> Result<Self, Failed> {
        let malformed = |detail: &str| Failed::new(ProofFailure::TokenMalformed, detail);
        let (signed, signature) = token.rsplit_once('.').ok_or_else(|| malformed("no parts"))?;
        let (header, payload) = signed.split_once('.').ok_or_else(|| malformed("two parts"))?;
        let decode = |part: &str| URL_SAFE_NO_PAD.decode(part).map_err(|_| malformed("a part is not base64url"));
        let (header, payload, signature) = (decode(header)?, decode(payload)?, decode(signature)?);
        let header = json::object(&header, ProofFailure::TokenMalformed)?;
        if let Some(name) = REFUSED.iter().find(|name| header.contains_key(**name)) {
            return Err(malformed(&format!("the header has `{name}`")));
        }
        let text = |name| json::text(&header, name, ProofFailure::TokenMalformed);
        let algorithm = text("alg")?
            .and_then(Algorithm::named)
            .ok_or_else(|| Failed::new(ProofFailure::TokenAlgorithm, "`alg` is missing, or never accepted"))?;
        let (kid, typ) = (text("kid")?.map(str::to_owned), text("typ")?.map(str::to_owned));
        let claims = json::object(&payload, ProofFailure::TokenClaims)?;
        Ok(Self { algorithm, kid, typ, claims, signed: signed.as_bytes(), signature })
    }

    /// What the token says of itself; for finding its issuer, until it is verified.
    pub(crate) const fn unverified(&self) -> &Map<String, Value> {
        &self.claims
    }

    /// The claims, once the type is one of `types`, the algorithm is the issuer's, and the issuer's key signed; and the version of the keys.
    ///
    /// # Errors
    /// `TokenType`, `TokenAlgorithm`, `TokenKey`, `TokenSignature`, `IssuerUnavailable`.
    pub(crate) async fn verify(
        &self,
        issuer: &Issuer,
        types: &[String],
        now: Timestamp,
    ) -> Result<(&Map<String, Value>, u64), Failed> {
        let typ = self.typ.as_deref().unwrap_or_default();
        if !types.iter().any(|accepted| same_type(accepted, typ)) {
            return Err(Failed::new(ProofFailure::TokenType, format!("`typ` is none of {types:?}")));
        }
        if !issuer.allows(self.algorithm) {
            let detail = format!("{:?} is not allowed for `{}`", self.algorithm, issuer.identifier());
            return Err(Failed::new(ProofFailure::TokenAlgorithm, detail));
        }
        let (key, version) = issuer.key(self.kid.as_deref(), self.algorithm, now).await?;
        if !key.verifies(self.algorithm, self.signed, &self.signature) {
            return Err(Failed::new(ProofFailure::TokenSignature, "the signature does not verify"));
        }
        Ok((&self.claims, version))
    }
}

/// Media types without regard to case, `application/` implied (RFC 7515 §4.1.9).
fn same_type(accepted: &str, typ: &str) -> bool {
    fn bare(typ: &str) -> &str {
        match typ.split_at_checked("application/".len()) {
            Some((prefix, rest)) if prefix.eq_ignore_ascii_case("application/") && !rest.contains('/') => rest,
            _ => typ,
        }
    }
    bare(accepted).eq_ignore_ascii_case(bare(typ))
}
