//! How the gateway proves to a token endpoint which client it is. Secrets and keys are read for each proof and kept nowhere.

use aws_lc_rs::rand::{SecureRandom, SystemRandom};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use portcullis_core::clock::Timestamp;
use serde::Serialize;

use super::settings::{ClientAuthentication, KeyAlgorithm};
use super::{BadCredentials, bad};
use crate::Secret;

/// Life of an assertion in seconds. 60: it is used at once, and clocks of servers differ by less.
const ASSERTION_SECONDS: u64 = 60;
/// RFC 7523 §2.2.
const ASSERTION_TYPE: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";

/// One way to prove it.
#[derive(Clone, Debug)]
pub(super) enum Authentication {
    Basic(Secret),
    Post(Secret),
    PrivateKey { key: Secret, algorithm: KeyAlgorithm, id: Option<String> },
}

/// What a token request carries for it.
pub(super) struct Credentials {
    /// For the `Authorization` header.
    pub(super) basic: Option<String>,
    pub(super) form: Vec<(&'static str, String)>,
}

#[derive(Serialize)]
struct Claims<'a> {
    iss: &'a str,
    sub: &'a str,
    aud: &'a str,
    jti: &'a str,
    iat: u64,
    exp: u64,
}

impl Authentication {
    /// Its name in metadata.
    pub(super) const fn method(&self) -> &'static str {
        match self {
            Self::Basic(_) => ClientAuthentication::ClientSecretBasic.as_str(),
            Self::Post(_) => ClientAuthentication::ClientSecretPost.as_str(),
            Self::PrivateKey { .. } => ClientAuthentication::PrivateKeyJwt.as_str(),
        }
    }

    /// The algorithm of assertions.
    pub(super) const fn algorithm(&self) -> Option<&'static str> {
        match self {
            Self::PrivateKey { algorithm, .. } => Some(algorithm.as_str()),
            Self::Basic(_) | Self::Post(_) => None,
        }
    }

    /// Tries it out, so that a wrong secret or key is found at start and not by the first call.
    pub(super) fn check(&self) -> Result<(), BadCredentials> {
        let key = if self.algorithm().is_some() { "private_key" } else { "client_secret" };
        self.credentials("client", "audience", Timestamp(0)).map(drop).map_err(|reason| bad(key, reason))
    }

    /// `audience`: whom an assertion is for; the issuer.
    pub(super) fn credentials(&self, client: &str, audience: &str, now: Timestamp) -> Result<Credentials, String> {
        match self {
            Self::Basic(secret) => Ok(Credentials { basic: Some(read(secret)?), form: Vec::new() }),
            Self::Post(secret) => {
                let form = vec![("client_id", client.to_owned()), ("client_secret", read(secret)?)];
                Ok(Credentials { basic: None, form })
            }
            Self::PrivateKey { key, algorithm, id } => {
                let assertion = assertion(&read(key)?, *algorithm, id.clone(), client, audience, now)?;
                let form = vec![
                    ("client_id", client.to_owned()),
                    ("client_assertion_type", ASSERTION_TYPE.to_owned()),
                    ("client_assertion", assertion),
                ];
                Ok(Credentials { basic: None, form })
            }
        }
    }
}

fn read(secret: &Secret) -> Result<String, String> {
    let value = secret.resolve()?;
    if value.is_empty() { Err("is empty".to_owned()) } else { Ok(value) }
}

/// RFC 7523 §3.
fn assertion(
    pem: &str,
    algorithm: KeyAlgorithm,
    id: Option<String>,
    client: &str,
    audience: &str,
    now: Timestamp,
) -> Result<String, String> {
    let (algorithm, key) = match algorithm {
        KeyAlgorithm::ES256 => (Algorithm::ES256, EncodingKey::from_ec_pem(pem.as_bytes())),
        KeyAlgorithm::EdDSA => (Algorithm::EdDSA, EncodingKey::from_ed_pem(pem.as_bytes())),
        KeyAlgorithm::RS256 => (Algorithm::RS256, EncodingKey::from_rsa_pem(pem.as_bytes())),
    };
    let unfit = |_| format!("is no private key for {algorithm:?} in PEM form (PKCS #8)");
    let mut unique = [0; 16];
    SystemRandom::new().fill(&mut unique).map_err(|_| "the system has no randomness".to_owned())?;
    let issued = now.0 / 1000;
    let jti = URL_SAFE_NO_PAD.encode(unique);
    let claims =
        Claims { iss: client, sub: client, aud: audience, jti: &jti, iat: issued, exp: issued + ASSERTION_SECONDS };
    let header = Header { kid: id, ..Header::new(algorithm) };
    jsonwebtoken::encode(&header, &claims, &key.map_err(unfit)?).map_err(unfit)
}
