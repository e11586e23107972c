//! DPoP (RFC 9449): who shows a token also holds the key it is bound to, for this very request. Says nothing about the token itself.

mod address; // htu
mod key; // the proof's own key
mod nonces; // the server's nonces
#[cfg(test)]
mod tests;

use std::path::Path;

use aws_lc_rs::digest::{SHA256, digest};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::HeaderMap;
use portcullis_core::clock::Timestamp;
use portcullis_core::memory::{Memory, Taken};
use portcullis_core::refusal::ProofFailure;
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Map, Value};

use crate::issuer::Algorithm;
use crate::{Failed, Secret, json};

use self::key::{Key, invalid};
use self::nonces::Nonces;

/// Bytes of a proof. 8,192: one with an RSA key of 8,192 bits takes about 3,500.
const MOST_BYTES: usize = 8 << 10;
/// Characters of a `jti`. 256: seven times a UUID.
const MOST_JTI: usize = 256;
/// Seconds that `max_age_seconds`, `max_skew_seconds` and `nonce_seconds` may have at most. 3,600: a proof is for one request.
const MOST_SECONDS: u64 = 3600;

/// Proof of possession for access tokens (DPoP, RFC 9449).
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct DpopSettings {
    /// `optional` unless set: a token that is bound to a key needs the proof, others do not, so nothing that works without DPoP stops working.
    pub mode: DpopMode,
    /// Algorithms that a proof may be signed with. ES256, EdDSA, PS256 and RS256 unless set: what authorization servers and clients
    /// have in common.
    pub algorithms: Vec<Algorithm>,
    /// Seconds after `iat` during which a proof is good. 60 unless set: a proof is made for one request, right before it.
    pub max_age_seconds: u64,
    /// Seconds that `iat` may lie in the future. 60 unless set: what clocks without discipline are off by in a day or two.
    pub max_skew_seconds: u64,
    /// Whether a proof must hold a nonce that the gateway handed out. `false` unless set: it costs each client a refused request to learn the first one.
    pub nonces: bool,
    /// Seconds that a nonce is good for, at least; at most twice as long. 300 unless set: a client in use learns the next one in time.
    pub nonce_seconds: u64,
    /// The key that nonces are made with, 32 to 4096 bytes. A key of this process alone unless set; replicas behind one address need the same.
    pub nonce_key: Option<Secret>,
}

impl Default for DpopSettings {
    fn default() -> Self {
        Self {
            mode: DpopMode::Optional,
            algorithms: vec![Algorithm::Es256, Algorithm::EdDsa, Algorithm::Ps256, Algorithm::Rs256],
            max_age_seconds: 60,
            max_skew_seconds: 60,
            nonces: false,
            nonce_seconds: 300,
            nonce_key: None,
        }
    }
}

impl DpopSettings {
    /// A relative file is one beside the configuration.
    pub fn relative_to(&mut self, folder: &Path) {
        if let Some(key) = &mut self.nonce_key {
            key.relative_to(folder);
        }
    }
}

/// Whether tokens must be bound to keys.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum DpopMode {
    /// No proof is read. A bound token is refused then, for nobody can tell who shows it.
    Off,
    /// Bound tokens only.
    #[default]
    Optional,
    /// Every token must be bound to a key, and shown with a proof.
    Required,
}

/// How a token was shown in `Authorization`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scheme {
    Bearer,
    Dpop,
}

/// A proof that is good, if nobody used it before.
#[derive(Debug)]
#[must_use = "a proof that is not spent can be replayed"]
pub struct Proven {
    thumbprint: String,
    once: [u8; 32],
    until: Timestamp,
    now: Timestamp,
}

#[derive(Debug)]
pub struct DpopVerifier {
    mode: DpopMode,
    algorithms: Vec<Algorithm>,
    /// Milliseconds.
    max_age: u64,
    /// Milliseconds.
    max_skew: u64,
    nonces: Option<Nonces>,
}

impl DpopVerifier {
    /// # Errors
    /// Settings that contradict themselves, or a key file that cannot be read; names the place.
    pub fn new(settings: &DpopSettings) -> Result<Self, String> {
        if settings.algorithms.is_empty() && settings.mode != DpopMode::Off {
            return Err("identity.dpop.algorithms: without one no proof can be good".to_owned());
        }
        for (name, seconds, least) in [
            ("max_age_seconds", settings.max_age_seconds, 1),
            ("max_skew_seconds", settings.max_skew_seconds, 0),
            ("nonce_seconds", settings.nonce_seconds, 1),
        ] {
            if !(least..=MOST_SECONDS).contains(&seconds) {
                return Err(format!("identity.dpop.{name}: must be from {least} to {MOST_SECONDS}"));
            }
        }
        if settings.nonce_key.is_some() && !settings.nonces {
            return Err("identity.dpop.nonce_key: there are no nonces to make; `nonces: true`".to_owned());
        }
        let nonces = settings
            .nonces
            .then(|| Nonces::new(settings.nonce_seconds, settings.nonce_key.as_ref()))
            .transpose()
            .map_err(|error| format!("identity.dpop.nonce_key: {error}"))?;
        Ok(Self {
            mode: settings.mode,
            algorithms: settings.algorithms.clone(),
            max_age: settings.max_age_seconds.saturating_mul(1000),
            max_skew: settings.max_skew_seconds.saturating_mul(1000),
            nonces,
        })
    }

    /// The proof of a request. There must be one header at most (RFC 9449 §4.3, 1); none is read when the mode is `off`.
    ///
    /// # Errors
    /// Several headers, or one that is no ASCII.
    pub fn proof<'a>(&self, headers: &'a HeaderMap) -> Result<Option<&'a str>, Failed> {
        let mut lines = headers.get_all("dpop").iter();
        match (lines.next(), lines.next()) {
            _ if self.mode == DpopMode::Off => Ok(None),
            (Some(line), None) => line.to_str().map(Some).map_err(|_| invalid("a proof that is not ASCII")),
            (None, _) => Ok(None),
            (Some(_), Some(_)) => Err(invalid("several proofs")),
        }
    }

    /// Whether the key a token is bound to (`cnf.jkt`) and the key that was proven are one, and the token came as what it is. Asked for every
    /// token, proof or not.
    ///
    /// # Errors
    /// A bound token without a proof, as a bearer token (RFC 9449 §7.2), or with another key's proof; a proof or the scheme `DPoP` with a token
    /// that is bound to nothing; a token that is bound to nothing where all must be bound.
    pub fn bound(&self, scheme: Scheme, token: Option<&str>, proven: Option<&str>) -> Result<(), Failed> {
        let required = |detail: &str| Err(Failed::new(ProofFailure::DpopRequired, detail));
        match (token, proven) {
            (Some(_), _) if scheme == Scheme::Bearer => required("a bound token as a bearer token"),
            (Some(_), None) => required("a bound token without a proof"),
            (Some(token), Some(proven)) if token == proven => Ok(()),
            (Some(_), Some(_)) => Err(invalid("the token is bound to another key")),
            (None, None) if self.mode == DpopMode::Required => required("a token that is bound to no key"),
            (None, None) if scheme == Scheme::Bearer => Ok(()),
            (None, _) => Err(invalid("the token is bound to no key")),
        }
    }

    /// For `DPoP-Nonce`. `None`: no nonces are asked for.
    #[must_use]
    pub fn nonce(&self, now: Timestamp) -> Option<String> {
        self.nonces.as_ref().map(|nonces| nonces.of(now))
    }

    #[must_use]
    pub const fn mode(&self) -> DpopMode {
        self.mode
    }

    /// For `algs` in a challenge and for the resource's metadata.
    pub fn algorithms(&self) -> impl Iterator<Item = &'static str> {
        self.algorithms.iter().map(|algorithm| algorithm.as_str())
    }

    /// What `proof` proves for `method` at `address` with `token`. `address` is our public URL of the request. It counts once it is
    /// [spent](Proven::spend): last of all, so that what is wrong, stale or another key's fills no store.
    ///
    /// # Errors
    /// Anything of RFC 9449 §4.3 that does not hold, but for its being used before.
    pub fn verify(
        &self,
        proof: &str,
        method: &str,
        address: &str,
        token: &str,
        now: Timestamp,
    ) -> Result<Proven, Failed> {
        if proof.len() > MOST_BYTES {
            return Err(invalid(format!("a proof of more than {MOST_BYTES} bytes")));
        }
        let (message, signature) = proof.rsplit_once('.').ok_or_else(|| invalid("no JWT"))?;
        let (header, claims) = message.split_once('.').ok_or_else(|| invalid("no JWT"))?;
        let header = object(header)?;
        // `crit` names what must be understood, and nothing here is extended (RFC 7515 §4.1.11).
        if json::text(&header, "typ", ProofFailure::DpopInvalid)? != Some("dpop+jwt") || header.contains_key("crit") {
            return Err(invalid("`typ` is not `dpop+jwt`, or there is `crit`"));
        }
        let key = Key::of(&header, &self.algorithms)?;
        let signature = decoded(signature)?;
        if !key.verifies(message, &signature) {
            return Err(invalid("the signature does not verify"));
        }
        let claims = object(claims)?;
        about(&claims, method, address, token)?;
        let issued = self.fresh(&claims, now)?;
        let jti = json::text(&claims, "jti", ProofFailure::DpopInvalid)?
            .filter(|jti| (1..=MOST_JTI).contains(&jti.len()))
            .ok_or_else(|| invalid("no `jti`, or one that is too long"))?;
        let until = Timestamp(issued.saturating_add(self.max_age).saturating_add(self.max_skew));
        Ok(Proven { once: once(&key.thumbprint, jti), thumbprint: key.thumbprint, until, now })
    }

    /// When it was made, in milliseconds.
    fn fresh(&self, claims: &Map<String, Value>, now: Timestamp) -> Result<u64, Failed> {
        if let Some(nonces) = &self.nonces {
            let nonce = json::text(claims, "nonce", ProofFailure::DpopNonce)?;
            if !nonce.is_some_and(|nonce| nonces.accepts(nonce, now)) {
                return Err(Failed::new(ProofFailure::DpopNonce, "no nonce of ours, or an old one"));
            }
        }
        let issued =
            claims.get("iat").and_then(Value::as_u64).ok_or_else(|| invalid("no `iat`, or not whole seconds"))?;
        let issued = issued.saturating_mul(1000);
        if issued > now.0.saturating_add(self.max_skew) || now.0 > issued.saturating_add(self.max_age) {
            return Err(Failed::new(ProofFailure::DpopStale, "`iat` is too old or in the future"));
        }
        Ok(issued)
    }
}

impl Proven {
    /// Of the key that signed, as in `cnf.jkt`.
    #[must_use]
    pub fn thumbprint(&self) -> &str {
        &self.thumbprint
    }

    /// Takes the `jti`, which nobody can take again while the proof could be good.
    ///
    /// # Errors
    /// `DpopReplayed`, and `ReplayUnknown` where nobody can tell.
    pub async fn spend(self, memory: &dyn Memory) -> Result<(), Failed> {
        match memory.take("dpop_proofs", self.once, self.until, self.now).await {
            Taken::First => Ok(()),
            Taken::Again => Err(Failed::new(ProofFailure::DpopReplayed, "the proof was used before")),
            Taken::Full => Err(Failed::new(ProofFailure::ReplayUnknown, "the store of proofs is full")),
        }
    }
}

/// A part of the proof.
fn object(part: &str) -> Result<Map<String, Value>, Failed> {
    json::object(&decoded(part)?, ProofFailure::DpopInvalid)
}

fn decoded(part: &str) -> Result<Vec<u8>, Failed> {
    URL_SAFE_NO_PAD.decode(part).map_err(|_| invalid("a part that is not base64url"))
}

/// Whether it was made for this request and this token.
fn about(claims: &Map<String, Value>, method: &str, address: &str, token: &str) -> Result<(), Failed> {
    let claim = |name| json::text(claims, name, ProofFailure::DpopInvalid);
    if claim("htm")? != Some(method) {
        return Err(invalid("`htm` is another method"));
    }
    let here = address::normal(address).ok_or_else(|| invalid("the request has no URL"))?;
    if claim("htu")?.and_then(address::normal).as_deref() != Some(here.as_str()) {
        return Err(invalid("`htu` is another URL"));
    }
    let digest = URL_SAFE_NO_PAD.encode(digest(&SHA256, token.as_bytes()));
    if claim("ath")? != Some(digest.as_str()) {
        return Err(invalid("`ath` is another token's"));
    }
    Ok(())
}

/// A thumbprint has 43 characters always, so that no two pairs look alike.
fn once(thumbprint: &str, jti: &str) -> [u8; 32] {
    let mut key = [0; 32];
    key.copy_from_slice(digest(&SHA256, format!("{thumbprint}{jti}").as_bytes()).as_ref());
    key
}
