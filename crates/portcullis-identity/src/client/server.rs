//! The authorization server as the gateway knows it: where its token endpoint is, what it says it can do, and whether it is well.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use portcullis_core::clock::Clock;
use portcullis_core::refusal::ProofFailure;
use serde_json::{Map, Value};
use tokio::sync::Semaphore;
use url::Url;

use super::answer::{self, Issued, NoToken};
use super::authentication::Authentication;
use super::backoff::{Attempt, Backoff, Blocked};
use super::settings::{Grant, Place};
use crate::fetch::{Fetcher, is_loopback, may_be_asked};
use crate::{issuer, json};

/// Token requests at once. 16: each is some milliseconds at a server that is well, and one that is not must not be met by all callers together.
const AT_ONCE: usize = 16;
/// How long metadata is believed. An hour: a moved endpoint is rare, and a failing one is looked up anew at once.
const METADATA_FOR: Duration = Duration::from_secs(3600);

/// A form to be posted.
pub(super) struct Order {
    pub(super) grant: Grant,
    pub(super) form: Vec<(&'static str, String)>,
}

pub(super) struct AuthorizationServer {
    pub(super) client: String,
    pub(super) authentication: Authentication,
    pub(super) place: Place,
    pub(super) fetcher: Fetcher,
    pub(super) clock: Arc<dyn Clock>,
    known: tokio::sync::Mutex<Option<Known>>,
    health: Mutex<Backoff>,
    room: Semaphore,
}

struct Known {
    endpoint: Arc<Endpoint>,
    since: Duration,
}

struct Endpoint {
    url: Url,
    /// Whom assertions are for.
    audience: String,
    /// What the metadata says about grants; nothing, if there is none or it does not say.
    grants: Option<Vec<String>>,
}

/// Why there is no token.
pub(super) enum Trouble {
    Refused(String),
    Unavailable(Blocked),
}

impl AuthorizationServer {
    pub(super) fn new(
        client: String,
        authentication: Authentication,
        place: Place,
        fetcher: Fetcher,
        clock: Arc<dyn Clock>,
    ) -> Self {
        let room = Semaphore::new(AT_ONCE);
        Self {
            client,
            authentication,
            place,
            fetcher,
            clock,
            known: Default::default(),
            health: Mutex::default(),
            room,
        }
    }

    /// One token. Not repeated here: who needs it asks again when it is needed.
    pub(super) async fn token(&self, order: &Order) -> Result<Issued, Trouble> {
        let _room = self.room.acquire().await;
        let attempt = self.health().begin(self.clock.elapsed()).map_err(Trouble::Unavailable)?;
        match self.ask(order, attempt).await {
            Ok(issued) => {
                self.health().succeeded();
                Ok(issued)
            }
            // It answers; that it says no is no illness.
            Err(NoToken::Refused(detail)) => {
                self.health().succeeded();
                Err(Trouble::Refused(detail))
            }
            Err(NoToken::Unavailable(detail)) => {
                *self.known.lock().await = None;
                Err(Trouble::Unavailable(self.health().failed(attempt, &detail, self.clock.elapsed())))
            }
        }
    }

    async fn ask(&self, order: &Order, attempt: Attempt) -> Result<Issued, NoToken> {
        let endpoint = self.endpoint(attempt).await.map_err(NoToken::Unavailable)?;
        let grant = order.grant.as_str();
        if endpoint.grants.as_ref().is_some_and(|grants| !grants.iter().any(|known| known == grant)) {
            return Err(NoToken::Refused(format!("the authorization server has no grant `{grant}`")));
        }
        let credentials = self
            .authentication
            .credentials(&self.client, &endpoint.audience, self.clock.now())
            .map_err(NoToken::Unavailable)?;
        let fields = order.form.iter().chain(&credentials.form);
        let form: Vec<(&str, &str)> =
            std::iter::once(("grant_type", grant)).chain(fields.map(|(name, value)| (*name, value.as_str()))).collect();
        let basic = credentials.basic.as_deref().map(|secret| (self.client.as_str(), secret));
        let (status, body) = self
            .fetcher
            .post_form(&endpoint.url, &form, basic)
            .await
            .map_err(|error| NoToken::Unavailable(format!("the token endpoint: {error}")))?;
        answer::read(status, &body, order.grant == Grant::TokenExchange)
    }

    /// Looked up by one at a time.
    async fn endpoint(&self, attempt: Attempt) -> Result<Arc<Endpoint>, String> {
        let issuer = match &self.place {
            Place::Given { endpoint, issuer } => {
                let audience = issuer.clone().unwrap_or_else(|| endpoint.to_string());
                return Ok(Arc::new(Endpoint { url: endpoint.clone(), audience, grants: None }));
            }
            Place::Discovered { issuer } => issuer,
        };
        let mut known = self.known.lock().await;
        let now = self.clock.elapsed();
        if let Some(known) = known.as_ref().filter(|known| now.saturating_sub(known.since) < METADATA_FOR) {
            return Ok(Arc::clone(&known.endpoint));
        }
        if !self.health().holds(attempt) {
            return Err("the authorization server has just failed".to_owned());
        }
        let metadata = issuer::metadata(&self.fetcher, issuer).await.map_err(|failed| failed.detail)?;
        let endpoint = Arc::new(self.read(&metadata, issuer)?);
        *known = Some(Known { endpoint: Arc::clone(&endpoint), since: now });
        Ok(endpoint)
    }

    /// F46: what is advertised must be what we do; what is not advertised is found out by doing it.
    fn read(&self, metadata: &Map<String, Value>, issuer: &str) -> Result<Endpoint, String> {
        let local = Url::parse(issuer).is_ok_and(|url| is_loopback(&url));
        // A server elsewhere cannot send our secret to something on this machine (F40).
        let url = json::text(metadata, "token_endpoint", ProofFailure::IssuerUnavailable)
            .map_err(|failed| failed.detail)?
            .and_then(|address| Url::parse(address).ok())
            .filter(|address| may_be_asked(address) && (local || !is_loopback(address)))
            .ok_or("the metadata has no `token_endpoint` that may be asked")?;
        let method = self.authentication.method();
        if names(metadata, "token_endpoint_auth_methods_supported")?
            .is_some_and(|known| !known.iter().any(|name| name == method))
        {
            return Err(format!("the authorization server does not take `{method}`"));
        }
        if let Some(algorithm) = self.authentication.algorithm()
            && names(metadata, "token_endpoint_auth_signing_alg_values_supported")?
                .is_some_and(|known| !known.iter().any(|name| name == algorithm))
        {
            return Err(format!("the authorization server does not take assertions signed with `{algorithm}`"));
        }
        let grants = names(metadata, "grant_types_supported")?;
        Ok(Endpoint { url, audience: issuer.to_owned(), grants })
    }

    fn health(&self) -> MutexGuard<'_, Backoff> {
        self.health.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn names(metadata: &Map<String, Value>, member: &str) -> Result<Option<Vec<String>>, String> {
    let Some(value) = metadata.get(member) else { return Ok(None) };
    let texts = value.as_array().map(|items| items.iter().map(|item| item.as_str().map(str::to_owned)).collect());
    match texts.flatten() {
        Some(names) => Ok(Some(names)),
        None => Err(format!("the metadata's `{member}` is no list of names")),
    }
}
