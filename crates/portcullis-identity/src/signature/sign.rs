//! Signing a request the way the verifier wants it: for `portcullis sign`, and for tests.

use std::time::Duration;

use aws_lc_rs::rand;
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use http::{HeaderMap, HeaderName, HeaderValue};
use portcullis_core::clock::Timestamp;

use super::{Signed, base, digest, needed};
use crate::keys::PrivateKey;

/// Label of the signatures made here. Verifiers choose by key, never by label.
const LABEL: &str = "sig1";

/// A private key and the name that verifiers know it by.
#[derive(Debug)]
pub struct Signer {
    key_id: String,
    key: PrivateKey,
}

impl Signer {
    /// `pem` is a private key, Ed25519 or P-256, in PKCS #8 or SEC 1.
    ///
    /// # Errors
    /// No such key, or a key id that cannot stand in a header.
    pub fn new(key_id: &str, pem: &[u8]) -> Result<Self, String> {
        if key_id.is_empty() || !key_id.bytes().all(|byte| byte.is_ascii_graphic() && !matches!(byte, b'"' | b'\\')) {
            return Err("a key id has visible ASCII characters, neither quotes nor backslashes".to_owned());
        }
        Ok(Self { key_id: key_id.to_owned(), key: PrivateKey::from_pem(pem)? })
    }

    /// The headers to add: `Content-Digest` if there is a body and no such header yet, `Signature-Input`, `Signature`. Good for `life`,
    /// whole seconds; without a `nonce`, a random one.
    ///
    /// # Errors
    /// The request cannot be signed as it is: a header twice, a target that is no URL.
    pub fn sign(
        &self,
        request: &Signed<'_>,
        created: Timestamp,
        life: Duration,
        nonce: Option<&str>,
    ) -> Result<Vec<(HeaderName, HeaderValue)>, String> {
        let mut headers: HeaderMap = request.headers.clone();
        let mut added = Vec::with_capacity(3);
        if !request.body.is_empty() && !headers.contains_key(digest::CONTENT_DIGEST) {
            let value = header(&digest::of(request.body))?;
            headers.insert(digest::CONTENT_DIGEST, value.clone());
            added.push((HeaderName::from_static(digest::CONTENT_DIGEST), value));
        }
        let request = Signed { headers: &headers, ..*request };
        let nonce = nonce.map_or_else(fresh_nonce, |nonce| Ok(nonce.to_owned()))?;
        if !nonce.bytes().all(|byte| byte.is_ascii_graphic() && !matches!(byte, b'"' | b'\\')) {
            return Err("a nonce has visible ASCII characters, neither quotes nor backslashes".to_owned());
        }
        let components = needed(&request);
        let (created, key_id) = (created.0 / 1000, &self.key_id);
        let expires = created.saturating_add(life.as_secs());
        let covered: Vec<_> = components.iter().map(|name| format!("\"{name}\"")).collect();
        let parameters = format!(
            "({});created={created};expires={expires};nonce=\"{nonce}\";keyid=\"{key_id}\";alg=\"{}\"",
            covered.join(" "),
            self.key.algorithm().as_str()
        );
        let base = base::base(&request, &components, &parameters).map_err(|failed| failed.detail)?;
        let signature = STANDARD.encode(self.key.sign(base.as_bytes())?);
        added.push((HeaderName::from_static("signature-input"), header(&format!("{LABEL}={parameters}"))?));
        added.push((HeaderName::from_static("signature"), header(&format!("{LABEL}=:{signature}:"))?));
        Ok(added)
    }
}

fn header(value: &str) -> Result<HeaderValue, String> {
    HeaderValue::from_str(value).map_err(|error| error.to_string())
}

/// 144 random bits: nobody meets one twice.
fn fresh_nonce() -> Result<String, String> {
    let mut bytes = [0; 18];
    rand::fill(&mut bytes).map_err(|_| "no randomness to be had")?;
    Ok(URL_SAFE_NO_PAD.encode(bytes))
}
