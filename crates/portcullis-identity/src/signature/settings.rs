//! Whose signatures count, as the operator writes it, and what of it contradicts itself.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Map, Value};

use crate::Secret;
use crate::keys::{Algorithm, PublicKey};

/// Seconds that `max_age_seconds` and `max_skew_seconds` may have at most. 86,400: used nonces are kept as long as both together.
const MOST_SECONDS: u64 = 86_400;

/// Signed requests (HTTP Message Signatures, RFC 9421).
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct SignatureSettings {
    /// Whether a request without a signature is refused. `false` unless set: most clients cannot sign, and a policy can ask for a signature where it
    /// matters. A signature that is present and wrong is refused either way.
    pub required: bool,
    /// Seconds after `created` during which a signature is good. 600 unless set: enough for retries and slow links, and used nonces are kept no
    /// longer than this and `max_skew_seconds` together.
    pub max_age_seconds: u64,
    /// Seconds that `created` may lie in the future. 300 unless set: what clocks without discipline are off by.
    pub max_skew_seconds: u64,
    /// Whose signatures count. None unless set; then signatures are not looked at, for nobody could say whose they are.
    pub signers: Vec<SignerSettings>,
}

impl Default for SignatureSettings {
    fn default() -> Self {
        Self { required: false, max_age_seconds: 600, max_skew_seconds: 300, signers: Vec::new() }
    }
}

/// One key that requests may be signed with.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SignerSettings {
    /// The `keyid` that its signatures name. At most 256 visible ASCII characters.
    pub key_id: String,
    /// The public key: Ed25519 or ECDSA P-256.
    pub public_key: KeySource,
    /// Its algorithm, for who reads this file; must be the key's. The key's unless set.
    #[serde(default)]
    pub algorithm: Option<Algorithm>,
    /// Whom it speaks for; policies read it as the signature's workload.
    pub workload: String,
    /// How long the key lives. `persistent` unless set: a key for one session is made for it, and whoever makes one knows.
    #[serde(default)]
    pub scope: Scope,
    /// How long the workload lives. `long_lived` unless set: what runs once and is gone has to be marked as such.
    #[serde(default)]
    pub execution: Execution,
}

/// Where a public key is.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum KeySource {
    /// A PEM block, `-----BEGIN PUBLIC KEY-----`.
    Pem(String),
    /// A file with such a block, read once.
    File(PathBuf),
    /// A public JWK.
    Jwk(Map<String, Value>),
}

/// How long a key lives.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Scope {
    /// For any number of sessions.
    #[default]
    Persistent,
    /// For one session: the first that a request it signs belongs to. From then on it signs for no other, and not without one.
    Session,
}

/// How long a workload lives.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Execution {
    #[default]
    LongLived,
    /// It runs once and is gone.
    Ephemeral,
}

/// A signer, its key read.
#[derive(Debug)]
pub(super) struct Trusted {
    pub(super) key_id: Arc<str>,
    pub(super) workload: Arc<str>,
    pub(super) key: PublicKey,
    pub(super) session_scoped: bool,
    pub(super) ephemeral: bool,
}

impl SignatureSettings {
    /// A relative file is one beside the configuration.
    pub fn relative_to(&mut self, folder: &Path) {
        for signer in &mut self.signers {
            if let KeySource::File(path) = &mut signer.public_key {
                *path = folder.join(&*path);
            }
        }
    }

    /// # Errors
    /// What contradicts itself or cannot be read, with its place.
    pub(super) fn trusted(&self) -> Result<Vec<Trusted>, String> {
        if self.required && self.signers.is_empty() {
            return Err("identity.signatures.required: without `signers` nobody could ever call".to_owned());
        }
        if self.max_age_seconds == 0 || self.max_age_seconds > MOST_SECONDS {
            return Err(format!("identity.signatures.max_age_seconds: must be from 1 to {MOST_SECONDS}"));
        }
        if self.max_skew_seconds > MOST_SECONDS {
            return Err(format!("identity.signatures.max_skew_seconds: must be at most {MOST_SECONDS}"));
        }
        let mut trusted: Vec<Trusted> = Vec::with_capacity(self.signers.len());
        for (at, signer) in self.signers.iter().enumerate() {
            let place = format!("identity.signatures.signers[{at}]");
            let signer = signer.trusted(&place)?;
            if trusted.iter().any(|before| before.key_id == signer.key_id) {
                return Err(format!("{place}.key_id: `{}` is there twice", signer.key_id));
            }
            if let Some(same) = trusted.iter().find(|before| before.key.raw == signer.key.raw) {
                return Err(format!("{place}.public_key: the same key as that of `{}`", same.key_id));
            }
            trusted.push(signer);
        }
        Ok(trusted)
    }
}

impl SignerSettings {
    fn trusted(&self, place: &str) -> Result<Trusted, String> {
        let visible = self.key_id.bytes().all(|byte| byte.is_ascii_graphic());
        if self.key_id.is_empty() || self.key_id.len() > 256 || !visible {
            return Err(format!("{place}.key_id: must have 1 to 256 visible ASCII characters"));
        }
        if self.workload.is_empty() {
            return Err(format!("{place}.workload: must say whom the key speaks for"));
        }
        let key = self.public_key.read().map_err(|error| format!("{place}.public_key: {error}"))?;
        if self.algorithm.is_some_and(|algorithm| algorithm != key.algorithm) {
            return Err(format!("{place}.algorithm: the key is one for {}", key.algorithm.as_str()));
        }
        if self.execution == Execution::Ephemeral && self.scope == Scope::Persistent {
            return Err(format!("{place}.execution: what runs once cannot keep a persistent key; `scope: session`"));
        }
        Ok(Trusted {
            key_id: self.key_id.as_str().into(),
            workload: self.workload.as_str().into(),
            key,
            session_scoped: self.scope == Scope::Session,
            ephemeral: self.execution == Execution::Ephemeral,
        })
    }
}

impl KeySource {
    fn read(&self) -> Result<PublicKey, String> {
        match self {
            Self::Pem(pem) => PublicKey::from_pem(pem),
            Self::Jwk(jwk) => PublicKey::from_jwk(jwk),
            Self::File(path) => PublicKey::from_pem(&Secret::File(path.clone()).resolve()?),
        }
    }
}
