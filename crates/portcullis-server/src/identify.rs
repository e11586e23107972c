//! Who is calling. Every request is proven on its own; a session id never is a proof (A26, C22b).

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use aws_lc_rs::digest::{SHA256, digest};
use http::HeaderMap;
use http::header::AUTHORIZATION;
use portcullis_core::caller::{Caller, Proof};
use portcullis_core::refusal::{Denial, DenialCode};

use crate::answer::gateway_denial;
use crate::fields::API_KEY;
use crate::settings::{IdentitySettings, LimitSettings};

/// A caller the configuration knows, with what it holds at the moment.
#[derive(Debug)]
pub(crate) struct Known {
    pub(crate) caller: Arc<Caller>,
    /// What sessions and sealed ids are bound to.
    pub(crate) owner: String,
    /// Requests and streams in progress.
    pub(crate) in_progress: AtomicUsize,
    /// Bytes of their bodies.
    bytes: AtomicUsize,
    /// Open legacy sessions.
    pub(crate) sessions: AtomicUsize,
}

/// All callers the configuration knows.
#[derive(Debug)]
pub(crate) struct Directory {
    anonymous: Option<Arc<Known>>,
    /// By SHA-256 of the key: looking up a digest tells an attacker nothing about a key.
    keys: HashMap<[u8; 32], Arc<Known>>,
}

/// One request or stream in progress and the bytes of its body; counted until dropped.
#[derive(Debug)]
pub(crate) struct Permit {
    known: Arc<Known>,
    /// Bytes of the bodies of all callers.
    total: Arc<AtomicUsize>,
    bytes: usize,
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.known.in_progress.fetch_sub(1, Ordering::AcqRel);
        self.known.bytes.fetch_sub(self.bytes, Ordering::AcqRel);
        self.total.fetch_sub(self.bytes, Ordering::AcqRel);
    }
}

impl Permit {
    /// Counts more of the body, which is about to be held: refused, it is dropped instead.
    pub(crate) fn hold(&mut self, bytes: usize, limits: &LimitSettings) -> Result<(), Denial> {
        if !take(&self.known.bytes, bytes, limits.bytes_per_caller) {
            let (limit, name) = (limits.bytes_per_caller, &self.known.caller.name);
            return Err(too_many_bytes(format!("limit of {limit} bytes of requests in progress for `{name}`")));
        }
        if !take(&self.total, bytes, limits.bytes_in_flight) {
            self.known.bytes.fetch_sub(bytes, Ordering::AcqRel);
            let limit = limits.bytes_in_flight;
            return Err(too_many_bytes(format!("limit of {limit} bytes of requests in progress in total")));
        }
        self.bytes = self.bytes.saturating_add(bytes);
        Ok(())
    }
}

/// Adds to a count, unless that takes it over its limit.
fn take(count: &AtomicUsize, more: usize, limit: usize) -> bool {
    let fits = count.fetch_add(more, Ordering::AcqRel).saturating_add(more) <= limit;
    if !fits {
        count.fetch_sub(more, Ordering::AcqRel);
    }
    fits
}

impl Known {
    fn new(caller: Caller) -> Arc<Self> {
        let owner = caller.owner();
        let (in_progress, bytes, sessions) = (AtomicUsize::new(0), AtomicUsize::new(0), AtomicUsize::new(0));
        Arc::new(Self { caller: Arc::new(caller), owner, in_progress, bytes, sessions })
    }

    /// Takes one of this caller's places for requests in progress. `total` counts the bytes of all callers' requests.
    pub(crate) fn admit(self: &Arc<Self>, limit: usize, total: &Arc<AtomicUsize>) -> Result<Permit, Denial> {
        if !take(&self.in_progress, 1, limit) {
            let detail = format!("limit of {limit} requests in progress for `{}`", self.caller.name);
            return Err(gateway_denial(DenialCode::TooManyRequests, "too many requests in progress", detail));
        }
        Ok(Permit { known: Arc::clone(self), total: Arc::clone(total), bytes: 0 })
    }
}

impl Directory {
    /// # Errors
    /// A key whose hash is not 64 hexadecimal digits, or one hash or name given twice.
    pub(crate) fn new(settings: &IdentitySettings, loopback: bool, earlier: Option<&Self>) -> Result<Self, String> {
        let mut keys = HashMap::new();
        for key in &settings.keys {
            let hash = parse_hash(&key.sha256)
                .ok_or_else(|| format!("identity.keys: `{}`: `sha256` must be 64 hexadecimal digits", key.name))?;
            let caller = Caller::new(&key.name, Proof::ApiKey, key.groups.clone());
            if keys.values().any(|known: &Arc<Known>| known.caller.name == key.name) {
                return Err(format!("identity.keys: the name `{}` is given twice", key.name));
            }
            if keys.insert(hash, known(caller, earlier)).is_some() {
                return Err(format!("identity.keys: `{}` has the key of another entry", key.name));
            }
        }
        let anonymous = settings.anonymous.unwrap_or(loopback && settings.keys.is_empty());
        if !anonymous && keys.is_empty() {
            return Err("nobody may call: add `identity.keys`, or set `identity.anonymous: true`".to_owned());
        }
        Ok(Self { anonymous: anonymous.then(|| known(Caller::anonymous(), earlier)), keys })
    }

    /// The caller of one request. A wrong or unreadable key is never taken for an anonymous call.
    pub(crate) fn identify(&self, headers: &HeaderMap) -> Result<Arc<Known>, Denial> {
        let presented = presented_key(headers).map_err(|detail| unauthenticated(&detail))?;
        match presented {
            Some(key) => self
                .keys
                .get(digest(&SHA256, key.as_bytes()).as_ref())
                .cloned()
                .ok_or_else(|| unauthenticated("unknown API key")),
            None => self.anonymous.clone().ok_or_else(|| unauthenticated("no API key presented")),
        }
    }
}

/// A caller that stays the same keeps its counts over a reload.
fn known(caller: Caller, earlier: Option<&Directory>) -> Arc<Known> {
    let before = earlier.and_then(|earlier| {
        earlier.keys.values().chain(&earlier.anonymous).find(|known| *known.caller == caller).cloned()
    });
    before.unwrap_or_else(|| Known::new(caller))
}

fn parse_hash(text: &str) -> Option<[u8; 32]> {
    if text.len() != 64 || !text.is_ascii() {
        return None;
    }
    let mut hash = [0; 32];
    for (byte, at) in hash.iter_mut().zip((0..64).step_by(2)) {
        *byte = u8::from_str_radix(text.get(at..at + 2)?, 16).ok()?;
    }
    Some(hash)
}

fn presented_key(headers: &HeaderMap) -> Result<Option<&str>, String> {
    let mut found = None;
    for (name, value) in headers
        .get_all(AUTHORIZATION)
        .iter()
        .map(|value| ("authorization", value))
        .chain(headers.get_all(&API_KEY).iter().map(|value| ("x-api-key", value)))
    {
        let text = value.to_str().map_err(|_| format!("`{name}` is not ASCII"))?;
        let key = if name == "authorization" {
            let (scheme, key) = text.split_once(' ').ok_or("`authorization` has no credentials")?;
            if !scheme.eq_ignore_ascii_case("bearer") {
                return Err("`authorization` is not of the Bearer scheme".to_owned());
            }
            key.trim()
        } else {
            text.trim()
        };
        if found.replace(key).is_some() {
            return Err("more than one credential presented".to_owned());
        }
    }
    Ok(found)
}

fn unauthenticated(detail: &str) -> Denial {
    let public = "a valid API key is required: `authorization: Bearer KEY`";
    gateway_denial(DenialCode::Unauthenticated, public, detail.to_owned())
}

fn too_many_bytes(detail: String) -> Denial {
    gateway_denial(DenialCode::TooManyBytes, "too many bytes of requests in progress", detail)
}

#[cfg(test)]
mod tests {
    use super::{Directory, parse_hash};
    use crate::settings::{ApiKey, IdentitySettings};
    use http::HeaderMap;
    use portcullis_core::own::hex;
    use sha2::{Digest, Sha256};

    fn directory(anonymous: Option<bool>) -> Directory {
        let keys = vec![ApiKey {
            name: "alice".into(),
            sha256: hex(&Sha256::digest(b"alice-key")),
            groups: vec!["finance".into()],
        }];
        Directory::new(&IdentitySettings { anonymous, keys }, true, None).unwrap()
    }

    fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            headers.append(*name, value.parse().unwrap());
        }
        headers
    }

    #[test]
    fn a_key_names_its_caller_by_either_header() {
        for header in [("authorization", "Bearer alice-key"), ("x-api-key", "alice-key")] {
            let known = directory(None).identify(&headers(&[header])).unwrap();
            assert_eq!(known.caller.name, "alice");
            assert_eq!(known.owner, "api_key:alice");
        }
    }

    #[test]
    fn a_wrong_key_is_refused_even_where_anonymous_callers_are_let_in() {
        let directory = directory(Some(true));
        assert_eq!(directory.identify(&headers(&[])).unwrap().caller.name, "anonymous");
        for bad in [
            &[("authorization", "Bearer wrong")][..],
            &[("authorization", "Basic YTpi")],
            &[("authorization", "Bearer")],
            &[("authorization", "Bearer alice-key"), ("x-api-key", "alice-key")],
            &[("x-api-key", "alice-key"), ("x-api-key", "alice-key")],
        ] {
            assert!(directory.identify(&headers(bad)).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn with_keys_configured_nobody_is_anonymous_unless_the_operator_says_so() {
        assert!(directory(None).identify(&headers(&[])).is_err());
        assert!(Directory::new(&IdentitySettings::default(), false, None).is_err(), "an open port asks for proof");
    }

    #[test]
    fn only_64_hexadecimal_digits_are_a_hash() {
        assert!(parse_hash(&"0".repeat(63)).is_none());
        assert!(parse_hash(&"g".repeat(64)).is_none());
        assert!(parse_hash(&"é".repeat(32)).is_none());
        assert_eq!(parse_hash(&"0f".repeat(32)), Some([0x0f; 32]));
    }
}
