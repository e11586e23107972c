//! `Content-Digest` (RFC 9530): whether the signed digests are those of the body.

use aws_lc_rs::digest::{Algorithm, SHA256, SHA512, digest};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::HeaderMap;
use portcullis_core::refusal::ProofFailure;
use sfv::ListEntry;

use crate::Failed;

use super::fields::{dictionary, malformed, value};

pub(super) const CONTENT_DIGEST: &str = "content-digest";

/// Every digest that is known here must be the body's, and at least one must be known. Absent is not this file's question.
pub(super) fn matches(headers: &HeaderMap, body: &[u8]) -> Result<(), Failed> {
    let Some(text) = value(headers, CONTENT_DIGEST)? else { return Ok(()) };
    let mut known = 0;
    for (name, entry) in &dictionary("Content-Digest", &text)? {
        let Some(algorithm) = algorithm(name.as_str()) else { continue };
        let ListEntry::Item(item) = entry else { return Err(malformed("a digest is a list")) };
        let claimed = item.bare_item.as_byte_sequence().ok_or_else(|| malformed("a digest is not bytes"))?;
        if digest(algorithm, body).as_ref() != claimed {
            return Err(Failed::new(ProofFailure::DigestMismatch, format!("`{name}` is not the body's")));
        }
        known += 1;
    }
    if known == 0 {
        return Err(Failed::new(ProofFailure::DigestMismatch, "neither sha-256 nor sha-512 in `Content-Digest`"));
    }
    Ok(())
}

/// Value of the header for `body`.
pub(super) fn of(body: &[u8]) -> String {
    format!("sha-256=:{}:", STANDARD.encode(digest(&SHA256, body)))
}

/// Those that RFC 9530 §5 calls active.
fn algorithm(name: &str) -> Option<&'static Algorithm> {
    match name {
        "sha-256" => Some(&SHA256),
        "sha-512" => Some(&SHA512),
        _ => None,
    }
}
