//! The key table: settings checked, keys read. Contradictions end the start, not a request.

use aws_lc_rs::hmac;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use super::entry::{Entry, is_name};
use super::settings::{ChainAlgorithm, ChainKey, ChainSettings, Direction};
use crate::Secret;
use crate::keys::{Algorithm, PrivateKey, PublicKey};

/// Bytes of a shared secret. 32: the size of the hash (RFC 7518 §3.2).
const LEAST_SECRET: usize = 32;

/// Where the settings stand, for errors.
pub(super) const SECTION: &str = "identity.chains";

/// A key that verifies the entries of one gateway.
#[derive(Debug)]
pub(super) struct Trusted {
    gateway: String,
    key_id: String,
    half: Verifying,
    pub(super) vouches: bool,
}

#[derive(Debug)]
enum Verifying {
    Ed25519(PublicKey),
    Hs256(Box<hmac::Key>),
}

/// A key that signs our own entries.
#[derive(Debug)]
pub(super) struct Own {
    /// For whom; `None` for all.
    pub(super) gateway: Option<String>,
    pub(super) key_id: String,
    half: Signing,
}

#[derive(Debug)]
enum Signing {
    Ed25519(PrivateKey),
    Hs256(Box<hmac::Key>),
}

/// Our name in chains, if we have one.
///
/// # Errors
/// Settings that mean nothing without it.
pub(super) fn own_name(settings: &ChainSettings) -> Result<Option<&str>, String> {
    let needs_name = !settings.keys.is_empty() || settings.required || settings.accept_unverified;
    match settings.gateway.as_deref() {
        Some(name) if is_name(name) => Ok(Some(name)),
        Some(_) => Err(format!("{SECTION}.gateway: empty, too long or with control characters")),
        None if needs_name => Err(format!("{SECTION}.gateway: missing; entries are made for a gateway by its name")),
        None => Ok(None),
    }
}

/// # Errors
/// A key that contradicts itself, us, or another one, or that cannot be read.
pub(super) fn trusted(settings: &ChainSettings) -> Result<Vec<Trusted>, String> {
    let mut table: Vec<Trusted> = Vec::new();
    for (at, key) in settings.keys.iter().enumerate() {
        let place = format!("{SECTION}.keys[{at}]");
        check(key, settings, &place)?;
        let (true, Some(gateway)) = (key.direction.is_incoming(), &key.gateway) else { continue };
        if table.iter().any(|other| other.gateway == *gateway && other.key_id == key.key_id) {
            return Err(format!("{place}.key_id: another incoming key of `{gateway}` has it too"));
        }
        let place = format!("{place}.key");
        let half = match key.algorithm {
            ChainAlgorithm::Ed25519 => Verifying::Ed25519(public_key(&key.key, &place)?),
            ChainAlgorithm::Hs256 => Verifying::Hs256(Box::new(shared_key(&key.key, &place)?)),
        };
        let (gateway, key_id) = (gateway.clone(), key.key_id.clone());
        table.push(Trusted { gateway, key_id, half, vouches: key.vouches });
    }
    Ok(table)
}

/// # Errors
/// As [`trusted`].
pub(super) fn own(settings: &ChainSettings) -> Result<Vec<Own>, String> {
    let mut table: Vec<Own> = Vec::new();
    for (at, key) in settings.keys.iter().enumerate() {
        let place = format!("{SECTION}.keys[{at}]");
        check(key, settings, &place)?;
        if !key.direction.is_outgoing() {
            continue;
        }
        if table.iter().any(|other| other.gateway == key.gateway) {
            return Err(format!("{place}.gateway: another outgoing key signs for the same"));
        }
        let place = format!("{place}.key");
        let half = match key.algorithm {
            ChainAlgorithm::Ed25519 => Signing::Ed25519(private_key(&key.key, &place)?),
            ChainAlgorithm::Hs256 => Signing::Hs256(Box::new(shared_key(&key.key, &place)?)),
        };
        table.push(Own { gateway: key.gateway.clone(), key_id: key.key_id.clone(), half });
    }
    Ok(table)
}

fn check(key: &ChainKey, settings: &ChainSettings, place: &str) -> Result<(), String> {
    if !is_name(&key.key_id) {
        return Err(format!("{place}.key_id: empty, too long or with control characters"));
    }
    if key.gateway.as_deref().is_some_and(|gateway| !is_name(gateway)) {
        return Err(format!("{place}.gateway: empty, too long or with control characters"));
    }
    if key.gateway.is_some() && key.gateway == settings.gateway {
        return Err(format!("{place}.gateway: this gateway itself; the table names the other one"));
    }
    let for_all = key.algorithm == ChainAlgorithm::Ed25519 && key.direction == Direction::Outgoing;
    if key.gateway.is_none() && !for_all {
        return Err(format!("{place}.gateway: missing; only an outgoing ed25519 key can be for all gateways"));
    }
    if key.algorithm == ChainAlgorithm::Ed25519 && key.direction == Direction::Both {
        return Err(format!("{place}.direction: `both` is for shared keys; ed25519 has a key for each direction"));
    }
    if key.vouches && !key.direction.is_incoming() {
        return Err(format!("{place}.vouches: the key is not incoming"));
    }
    Ok(())
}

fn public_key(key: &Secret, place: &str) -> Result<PublicKey, String> {
    let text = key.resolve().map_err(|error| format!("{place}: {error}"))?;
    let read = if text.contains("-----BEGIN") {
        PublicKey::from_pem(&text)
    } else {
        URL_SAFE_NO_PAD
            .decode(text.trim())
            .map_err(|_| "neither PEM nor base64url".to_owned())
            .and_then(|raw| PublicKey::new(Algorithm::Ed25519, raw))
    };
    let key = read.map_err(|error| format!("{place}: {error}"))?;
    (key.algorithm == Algorithm::Ed25519).then_some(key).ok_or_else(|| format!("{place}: no Ed25519 public key"))
}

fn private_key(key: &Secret, place: &str) -> Result<PrivateKey, String> {
    let key = PrivateKey::from_pem(secret(key, place)?.as_bytes()).map_err(|error| format!("{place}: {error}"))?;
    (key.algorithm() == Algorithm::Ed25519).then_some(key).ok_or_else(|| format!("{place}: no Ed25519 private key"))
}

fn shared_key(key: &Secret, place: &str) -> Result<hmac::Key, String> {
    let text = secret(key, place)?;
    if text.len() < LEAST_SECRET {
        return Err(format!("{place}: {} bytes; at least {LEAST_SECRET}", text.len()));
    }
    Ok(hmac::Key::new(hmac::HMAC_SHA256, text.as_bytes()))
}

fn secret(key: &Secret, place: &str) -> Result<String, String> {
    if matches!(key, Secret::Value(_)) {
        return Err(format!("{place}: stands in the configuration itself; name a `file` or `env`"));
    }
    key.resolve().map_err(|error| format!("{place}: {error}"))
}

impl Trusted {
    /// Whether an entry that says so is made with this key.
    pub(super) fn is_for(&self, gateway: &str, algorithm: ChainAlgorithm, key_id: &str) -> bool {
        let own = match self.half {
            Verifying::Ed25519(_) => ChainAlgorithm::Ed25519,
            Verifying::Hs256(_) => ChainAlgorithm::Hs256,
        };
        self.gateway == gateway && self.key_id == key_id && own == algorithm
    }

    pub(super) fn verifies(&self, entry: &Entry, signature: &[u8]) -> bool {
        match &self.half {
            Verifying::Ed25519(key) => key.verifies(entry.signed(), signature),
            Verifying::Hs256(key) => hmac::verify(key, entry.signed(), signature).is_ok(),
        }
    }
}

impl Own {
    pub(super) fn algorithm(&self) -> ChainAlgorithm {
        match self.half {
            Signing::Ed25519(_) => ChainAlgorithm::Ed25519,
            Signing::Hs256(_) => ChainAlgorithm::Hs256,
        }
    }

    pub(super) fn sign(&self, bytes: &[u8]) -> Result<Vec<u8>, String> {
        match &self.half {
            Signing::Ed25519(key) => key.sign(bytes),
            Signing::Hs256(key) => Ok(hmac::sign(key, bytes).as_ref().to_vec()),
        }
    }
}
