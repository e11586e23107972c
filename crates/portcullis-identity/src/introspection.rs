//! Token introspection (RFC 7662): what the issuer says about a token that only it can read. Remembers nothing; who asks does.

use std::time::Duration;

use http::StatusCode;
use portcullis_core::clock::Timestamp;
use portcullis_core::refusal::ProofFailure;
use serde_json::{Map, Value};
use tokio::sync::Semaphore;
use url::Url;

use crate::fetch::{Fetcher, may_be_asked};
use crate::token::IntrospectionSettings;
use crate::{Failed, json};

/// Questions at once. 32: at 10 ms each this is 3,000 new tokens a second; a flood of made-up tokens must not become a flood at the issuer.
const AT_ONCE: usize = 32;

/// How long a question waits for room. 1 s: the burst after a restart passes; in a flood, whoever would wait longer is told to come again.
const ROOM_WITHIN: Duration = Duration::from_secs(1);

/// One issuer's endpoint, and who we are there.
pub(crate) struct Introspection {
    url: Url,
    client: String,
    secret: String,
    cache_millis: u64,
    negative_millis: u64,
    /// A token without a subject is a client's own.
    pub(crate) clients: bool,
    fetcher: Fetcher,
    room: Semaphore,
}

/// Never the secret.
impl std::fmt::Debug for Introspection {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Introspection").field("url", &self.url.as_str()).finish_non_exhaustive()
    }
}

impl Introspection {
    pub(crate) fn new(settings: &IntrospectionSettings, fetcher: Fetcher, place: &str) -> Result<Self, String> {
        let url = Url::parse(&settings.url).ok().filter(may_be_asked);
        let url = url.ok_or_else(|| format!("{place}.introspection.url: `{}` is not an https URL", settings.url))?;
        let secret = settings.client_secret.resolve();
        let secret = secret.map_err(|reason| format!("{place}.introspection.client_secret: {reason}"))?;
        Ok(Self {
            url,
            client: settings.client_id.clone(),
            secret,
            cache_millis: settings.cache_seconds.saturating_mul(1000),
            negative_millis: settings.negative_cache_seconds.saturating_mul(1000),
            clients: settings.client_is_subject,
            fetcher,
            room: Semaphore::new(AT_ONCE),
        })
    }

    /// Until when an answer about an active token holds.
    pub(crate) const fn fresh_until(&self, now: Timestamp) -> Timestamp {
        Timestamp(now.0.saturating_add(self.cache_millis))
    }

    /// Until when an answer about any other token holds.
    pub(crate) const fn refused_until(&self, now: Timestamp) -> Timestamp {
        Timestamp(now.0.saturating_add(self.negative_millis))
    }

    /// The claims of an active token.
    ///
    /// # Errors
    /// `TokenInactive`; `IssuerUnavailable` for anything but a clear answer, or when too many are being asked about for too long.
    pub(crate) async fn ask(&self, token: &str) -> Result<Map<String, Value>, Failed> {
        let unavailable =
            |detail: String| Failed::new(ProofFailure::IssuerUnavailable, format!("introspection: {detail}"));
        let room = tokio::time::timeout(ROOM_WITHIN, self.room.acquire()).await;
        let Ok(Ok(_room)) = room else { return Err(unavailable(format!("{AT_ONCE} questions are open"))) };
        let form = [("token", token), ("token_type_hint", "access_token")];
        let (status, body) = self
            .fetcher
            .post_form(&self.url, &form, Some((&self.client, &self.secret)))
            .await
            .map_err(|error| unavailable(error.to_string()))?;
        if status != StatusCode::OK {
            return Err(unavailable(format!("status {}", status.as_u16())));
        }
        let claims = json::object(&body, ProofFailure::IssuerUnavailable)?;
        match claims.get("active") {
            Some(Value::Bool(true)) => Ok(claims),
            Some(Value::Bool(false)) => Err(Failed::new(ProofFailure::TokenInactive, "the issuer says so")),
            _ => Err(unavailable("`active` is not a boolean".to_owned())),
        }
    }
}
