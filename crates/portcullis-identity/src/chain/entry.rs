//! One item of a chain, read and written. Says what stands there; whether it is true is for `verify`.

use aws_lc_rs::digest;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use portcullis_core::refusal::ProofFailure;
use portcullis_core::wire::{JsonKind, View};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::Value;

use super::settings::ChainAlgorithm;
use crate::{Failed, json};

/// `typ` of an entry, so that no other token signed with the same key is taken for one (RFC 8725 §3.11).
const TYPE: &str = "mcp-hop+jwt";
/// Bytes of a name or target. 512: `ISSUER:SUBJECT` with a URL in it, and any tool name (128, C52).
const MOST_NAME: usize = 512;

/// One item as it stands there.
#[derive(Debug)]
pub(super) struct Entry {
    /// What the next entry's `prv` is the digest of: the compact form, or the JSON text of an item that is not signed.
    pub(super) raw: String,
    pub(super) claims: Claims,
    pub(super) seal: Option<Seal>,
}

/// The signature of an item and what it names.
#[derive(Debug)]
pub(super) struct Seal {
    pub(super) algorithm: ChainAlgorithm,
    pub(super) key_id: String,
    pub(super) signature: Vec<u8>,
}

/// Everything an entry says; all but `prv` is there in a signed one.
#[derive(Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Claims {
    #[serde(rename = "sub")]
    pub(super) agent: String,
    #[serde(rename = "iss")]
    pub(super) gateway: String,
    #[serde(rename = "aud")]
    pub(super) audience: Option<String>,
    #[serde(rename = "iat")]
    pub(super) seconds: Option<u64>,
    #[serde(rename = "tgt")]
    pub(super) target: Option<String>,
    #[serde(rename = "req")]
    pub(super) request: Option<Digest>,
    #[serde(rename = "prv", skip_serializing_if = "Option::is_none")]
    pub(super) previous: Option<Digest>,
}

#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct Header {
    alg: String,
    kid: String,
    typ: String,
}

/// A SHA-256; base64url in JSON.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Digest(pub(super) [u8; 32]);

impl Digest {
    pub(super) fn of(bytes: &[u8]) -> Self {
        let mut sum = [0; 32];
        sum.copy_from_slice(digest::digest(&digest::SHA256, bytes).as_ref());
        Self(sum)
    }
}

impl Serialize for Digest {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&URL_SAFE_NO_PAD.encode(self.0))
    }
}

impl<'de> Deserialize<'de> for Digest {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let bytes = URL_SAFE_NO_PAD.decode(text).ok().and_then(|bytes| bytes.try_into().ok());
        bytes.map(Self).ok_or_else(|| serde::de::Error::custom("not a SHA-256 in base64url"))
    }
}

impl ChainAlgorithm {
    /// `alg` of the entry's header (RFC 7518 §3.1, RFC 8037 §3.1).
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Ed25519 => "EdDSA",
            Self::Hs256 => "HS256",
        }
    }
}

impl Entry {
    /// # Errors
    /// `ChainMalformed`, and `ChainUnsigned` for `alg: none`: what is not signed says so by being an object.
    pub(super) fn read(item: View<'_>) -> Result<Self, Failed> {
        match item.kind() {
            JsonKind::Object => Self::unsigned(item.text()),
            JsonKind::String => Self::compact(&item.as_str().unwrap_or_default()),
            JsonKind::Array | JsonKind::Number | JsonKind::Bool | JsonKind::Null => {
                Err(malformed("an entry is neither a JWS nor an object"))
            }
        }
    }

    fn unsigned(text: &str) -> Result<Self, Failed> {
        let claims: Claims = read(text.as_bytes())?;
        claims.check()?;
        Ok(Self { raw: text.to_owned(), claims, seal: None })
    }

    fn compact(text: &str) -> Result<Self, Failed> {
        let mut parts = text.split('.');
        let (Some(header), Some(claims), Some(signature), None) =
            (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return Err(malformed("an entry does not have the three parts of a JWS"));
        };
        let decode = |part: &str| URL_SAFE_NO_PAD.decode(part).map_err(|_| malformed("an entry is not base64url"));
        let header: Header = read(&decode(header)?)?;
        if header.typ != TYPE {
            return Err(malformed("the `typ` of an entry is another one"));
        }
        let algorithm = match header.alg.as_str() {
            "EdDSA" => ChainAlgorithm::Ed25519,
            "HS256" => ChainAlgorithm::Hs256,
            "none" => return Err(Failed::new(ProofFailure::ChainUnsigned, "the `alg` of an entry is `none`")),
            _ => return Err(malformed("the `alg` of an entry is not known")),
        };
        let claims: Claims = read(&decode(claims)?)?;
        claims.check()?;
        claims.check_complete()?;
        let seal = Seal { algorithm, key_id: header.kid, signature: decode(signature)? };
        Ok(Self { raw: text.to_owned(), claims, seal: Some(seal) })
    }

    /// What the signature is made over.
    pub(super) fn signed(&self) -> &[u8] {
        self.raw.rsplit_once('.').map_or(&[], |(signed, _)| signed.as_bytes())
    }
}

impl Claims {
    /// The compact form, signed by `sign`.
    ///
    /// # Errors
    /// `ChainMalformed`, when this could not be read back (a name is too long, or no name), or the key does not sign.
    pub(super) fn seal(
        &self,
        algorithm: ChainAlgorithm,
        key_id: &str,
        sign: impl FnOnce(&[u8]) -> Result<Vec<u8>, String>,
    ) -> Result<String, Failed> {
        self.check()?;
        let header = Header { alg: algorithm.name().to_owned(), kid: key_id.to_owned(), typ: TYPE.to_owned() };
        let encode = |json: serde_json::Result<Vec<u8>>| match json {
            Ok(json) => Ok(URL_SAFE_NO_PAD.encode(json)),
            Err(error) => Err(malformed(&error.to_string())),
        };
        let signed = format!("{}.{}", encode(serde_json::to_vec(&header))?, encode(serde_json::to_vec(self))?);
        let signature = URL_SAFE_NO_PAD.encode(sign(signed.as_bytes()).map_err(|error| malformed(&error))?);
        Ok(format!("{signed}.{signature}"))
    }

    fn check(&self) -> Result<(), Failed> {
        let others = [self.audience.as_deref(), self.target.as_deref()];
        let all = [Some(self.agent.as_str()), Some(&self.gateway)].into_iter().chain(others).flatten();
        for text in all {
            if !is_name(text) {
                return Err(malformed("a name in an entry is empty, too long or holds control characters"));
            }
        }
        Ok(())
    }

    fn check_complete(&self) -> Result<(), Failed> {
        let Self { audience: Some(_), seconds: Some(_), target: Some(_), request: Some(_), .. } = self else {
            return Err(malformed("a signed entry lacks one of `aud`, `iat`, `tgt`, `req`"));
        };
        Ok(())
    }
}

/// Whether policies and the log can show it.
pub(super) fn is_name(text: &str) -> bool {
    !text.is_empty() && text.len() <= MOST_NAME && !text.chars().any(char::is_control)
}

fn read<T: for<'de> Deserialize<'de>>(bytes: &[u8]) -> Result<T, Failed> {
    let object = json::object(bytes, ProofFailure::ChainMalformed)?;
    serde_json::from_value(Value::Object(object)).map_err(|error| malformed(&error.to_string()))
}

fn malformed(why: &str) -> Failed {
    Failed::new(ProofFailure::ChainMalformed, why)
}
