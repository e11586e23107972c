//! `X-Upstream-Agents`: whose hands a request went through. A JSON array, first hop first; each item is a compact JWS
//! (`{"alg":"EdDSA"|"HS256","kid":…,"typ":"mcp-hop+jwt"}`) with these claims and no others:
//! `sub` agent, `iss` gateway that made the entry, `aud` gateway it was made for, `iat` seconds, `tgt` tool or method,
//! `req` SHA-256 of the body as it was sent to `aud`, `prv` SHA-256 of the item before (absent in the first). Digests are base64url.
//! A chain only ever takes rights away; that is why entries have no nonce, and why nothing here grants.

mod entry; // one item, read and written
mod keys; // the key table
mod settings; // what an operator says
mod sign; // our own entry
mod verify; // everybody else's

pub use self::settings::{ChainAgent, ChainAlgorithm, ChainKey, ChainSettings, Direction};
pub use self::sign::{ChainSigner, NewEntry};
pub use self::verify::ChainVerifier;

/// The header, as HTTP/1.1 and HTTP/2 libraries name it.
pub const HEADER: http::HeaderName = http::HeaderName::from_static("x-upstream-agents");

#[cfg(test)]
mod tests;
