//! Access tokens (RFC 9068, RFC 7662): whether one is good, and the caller it makes. Every request's token goes through here; what it allows
//! is decided elsewhere. Binding to a key (`cnf`) is reported, and checked where the request is.

pub(crate) mod claims;
mod holder;
pub(crate) mod jws;
pub(crate) mod remembered;
pub(crate) mod settings;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use portcullis_core::caller::Caller;
use portcullis_core::clock::Timestamp;
use portcullis_core::refusal::ProofFailure;
use serde_json::{Map, Value, json};

pub use self::claims::{ClaimPath, ClaimSettings};
use self::holder::{Holders, Issuing};
use self::jws::Jws;
use self::remembered::{Entry, Remembered};
pub use self::settings::{IntrospectionSettings, OAuthIssuerSettings, OAuthSettings};
use crate::Failed;
use crate::fetch::Fetcher;
use crate::introspection::Introspection;
use crate::issuer::{Issuer, sha256};

/// A token that is good, and whose it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VerifiedToken {
    pub caller: Arc<Caller>,
    /// `exp`: streams and whatever is made from the token end with it.
    pub expires: Timestamp,
    /// Thumbprint of the key that must prove possession (`cnf.jkt`, RFC 9449 §6.1). A token that has it is no bearer token.
    pub jkt: Option<String>,
    /// SHA-256 of the client certificate it is bound to, base64url (`cnf.x5t#S256`, RFC 8705 §3.1).
    pub x5t: Option<String>,
}

/// What the metadata says about proof of possession (RFC 9728 §2).
#[derive(Clone, Copy, Debug)]
pub struct DpopOffer<'a> {
    /// Tokens must be bound.
    pub required: bool,
    /// `alg` of proofs.
    pub algorithms: &'a [&'a str],
}

/// Tells whether tokens are good. One per configuration.
#[derive(Debug)]
pub struct TokenVerifier {
    settings: OAuthSettings,
    issuers: Vec<Issuing>,
    holders: Holders,
    /// Which issuer opaque tokens are shown to.
    opaque: Option<(usize, Introspection)>,
    remembered: Remembered<Arc<VerifiedToken>>,
    looked_up: Remembered<Result<Arc<VerifiedToken>, Failed>>,
}

impl TokenVerifier {
    /// # Errors
    /// The settings contradict each other, or a file cannot be read; names the key.
    pub fn new(settings: &OAuthSettings, fetcher: Fetcher) -> Result<Self, String> {
        settings.check()?;
        let (mut issuers, mut opaque) = (Vec::new(), None);
        for (index, one) in settings.issuers.iter().enumerate() {
            let place = format!("identity.oauth.issuers[{index}]");
            let issuer = Issuer::new(&one.issuer, &one.keys, fetcher.clone(), &place)?;
            issuers.push(Issuing::new(one, issuer, &settings.resource));
            if let Some(asking) = &one.introspection {
                opaque = Some((index, Introspection::new(asking, fetcher.clone(), &place)?));
            }
        }
        let names = settings.issuers.iter().map(|one| (one.issuer.clone(), one.name.clone())).collect();
        Ok(Self {
            issuers,
            holders: Holders::new(names, &settings.scope_implies),
            opaque,
            remembered: Remembered::new(settings.remembered_tokens),
            looked_up: Remembered::new(settings.remembered_tokens),
            settings: settings.clone(),
        })
    }

    /// Takes over the keys of issuers that stay the same over a reload, so that no request has to wait for them again. Both must ask with the
    /// same certificates.
    pub fn inherit(&mut self, before: &Self) {
        for one in &mut self.issuers {
            before.issuers.iter().for_each(|old| one.issuer.inherit(&old.issuer));
        }
    }

    /// The caller that a token stands for. `now` is checked with every call, also for tokens seen before.
    ///
    /// # Errors
    /// Each reason its own [`ProofFailure`]; `IssuerUnavailable` where nobody can tell.
    pub async fn verify(&self, token: &str, now: Timestamp) -> Result<Arc<VerifiedToken>, Failed> {
        jws::check_size(token, self.settings.most_token_bytes)?;
        let digest = sha256(token.as_bytes());
        let current = |issuer: usize| self.issuers.get(issuer).and_then(|one| one.issuer.version(now));
        if let Some(known) = self.remembered.get(&digest, now, current) {
            return Ok(known);
        }
        match &self.opaque {
            Some((index, introspection)) if !jws::looks_signed(token) => {
                self.look_up(*index, introspection, token, digest, now).await
            }
            _ => self.read(token, digest, now).await,
        }
    }

    async fn read(&self, token: &str, digest: [u8; 32], now: Timestamp) -> Result<Arc<VerifiedToken>, Failed> {
        let jws = Jws::read(token)?;
        let issuer = jws.unverified().get("iss").and_then(Value::as_str);
        let (index, issuing) = self
            .issuers
            .iter()
            .enumerate()
            .find(|(_, one)| Some(one.issuer.identifier()) == issuer)
            .ok_or_else(|| Failed::new(ProofFailure::TokenIssuer, "`iss` is not configured"))?;
        let (claims, version) = jws.verify(&issuing.issuer, &issuing.types, now).await?;
        let (verified, times) = self.accept(issuing, claims, None, now)?;
        let entry =
            Entry { value: Arc::clone(&verified), from: times.from, until: times.until, keys: Some((index, version)) };
        self.remembered.put(digest, entry);
        Ok(verified)
    }

    async fn look_up(
        &self,
        index: usize,
        introspection: &Introspection,
        token: &str,
        digest: [u8; 32],
        now: Timestamp,
    ) -> Result<Arc<VerifiedToken>, Failed> {
        if let Some(known) = self.looked_up.get(&digest, now, |_| None) {
            return known;
        }
        let issuing = self.issuers.get(index).ok_or_else(|| claims::bad("no issuer for opaque tokens"))?;
        let fresh = introspection.fresh_until(now);
        let found = match introspection.ask(token).await {
            Ok(claims) => self.accept_introspected(issuing, &claims, introspection.clients, fresh, now),
            Err(failed) => Err(failed),
        };
        let (value, from, until) = match found {
            Ok((verified, times)) => (Ok(verified), times.from.max(now), times.until.min(fresh)),
            // Nobody could tell; the next request may ask again.
            Err(failed) if failed.failure == ProofFailure::IssuerUnavailable => return Err(failed),
            Err(failed) => (Err(failed), now, introspection.refused_until(now)),
        };
        self.looked_up.put(digest, Entry { value: value.clone(), from, until, keys: None });
        value
    }

    /// `clients`: what has no subject is a client's own.
    fn accept_introspected(
        &self,
        issuing: &Issuing,
        claims: &Map<String, Value>,
        clients: bool,
        fresh: Timestamp,
        now: Timestamp,
    ) -> Result<(Arc<VerifiedToken>, claims::Times), Failed> {
        if claims.get("iss").is_some_and(|issuer| issuer.as_str() != Some(issuing.issuer.identifier())) {
            return Err(Failed::new(ProofFailure::TokenIssuer, "introspected: `iss` is another issuer"));
        }
        // `sub` may be left out (RFC 7662 §2.2). Where that means that nobody is behind the token but a client, the client is its subject (RFC 9068
        // §2.2); that it does mean this, only the operator knows.
        let mut whole = claims.clone();
        if let (None, Some(client), true) = (claims.get("sub"), claims.get("client_id"), clients) {
            whole.insert("sub".to_owned(), client.clone());
        }
        // Without `exp` the answer itself bounds it.
        self.accept(issuing, &whole, Some(fresh), now)
    }

    fn accept(
        &self,
        issuing: &Issuing,
        claims: &Map<String, Value>,
        otherwise: Option<Timestamp>,
        now: Timestamp,
    ) -> Result<(Arc<VerifiedToken>, claims::Times), Failed> {
        claims::audience(claims, &issuing.audiences)?;
        let times = claims::times(claims, self.settings.clock_skew_seconds * 1000, otherwise, now)?;
        let (jkt, x5t) = holder::confirmation(claims)?;
        let caller = Arc::new(self.holders.caller(issuing, claims)?);
        Ok((Arc::new(VerifiedToken { caller, expires: times.expires, jkt, x5t }), times))
    }

    /// Canonical address of this gateway (RFC 8707).
    #[must_use]
    pub fn resource(&self) -> &str {
        &self.settings.resource
    }

    /// The protected resource's metadata (RFC 9728 §2, F6).
    #[must_use]
    pub fn metadata_json(&self, dpop: Option<DpopOffer<'_>>) -> String {
        let settings = &self.settings;
        let issuers: Vec<&str> = settings.issuers.iter().map(|one| one.issuer.as_str()).collect();
        let mut document = Map::new();
        let mut say = |name: &str, value: Value| document.insert(name.to_owned(), value);
        say("resource", json!(settings.resource));
        say("authorization_servers", json!(issuers));
        say("bearer_methods_supported", json!(["header"]));
        if let Some(name) = &settings.resource_name {
            say("resource_name", json!(name));
        }
        if !settings.scopes_supported.is_empty() {
            say("scopes_supported", json!(settings.scopes_supported));
        }
        if let Some(dpop) = dpop {
            say("dpop_signing_alg_values_supported", json!(dpop.algorithms));
            say("dpop_bound_access_tokens_required", json!(dpop.required));
        }
        Value::Object(document).to_string()
    }
}
