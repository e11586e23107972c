//! The gateway as an OAuth client: access tokens for one upstream, got from an authorization server and kept while they are good. A caller's
//! own token is exchanged (RFC 8693) or left alone; it never becomes what an upstream sees, and no caller gets another one's.

mod answer; // what a token endpoint answered
mod authentication; // which client we are
mod backoff; // when to ask again
mod server; // the authorization server
mod settings; // what an operator may set
mod slot; // one token
#[cfg(test)]
mod tests;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use aws_lc_rs::digest::{Context, SHA256};
use http::HeaderValue;
use portcullis_core::caller::Caller;
use portcullis_core::clock::Clock;
use portcullis_core::proofs::Token;
use quick_cache::sync::Cache;

pub use self::settings::{ClientAuthentication, CredentialSettings, Grant, KeyAlgorithm, OwnQuestions};

use self::server::{AuthorizationServer, Order, Trouble};
use self::slot::{Look, Slot};
use crate::Secret;
use crate::fetch::Fetcher;

/// Callers whose tokens are kept at once. 4,096: some 8 MB with tokens of 2 KB; the one not used for longest goes first, and costs an exchange when
/// it comes back.
const MOST_CALLERS: usize = 4096;
/// RFC 8693 §3.
const ACCESS_TOKEN: &str = "urn:ietf:params:oauth:token-type:access_token";
const JWT: &str = "urn:ietf:params:oauth:token-type:jwt";

/// On whose behalf the upstream is spoken to.
#[derive(Clone, Copy, Debug)]
pub enum Behalf<'a> {
    /// The gateway's own: its questions about the server, the end of sessions whose callers are gone.
    Gateway,
    /// A caller's, with the token that proved who it is, if a token did.
    Caller(&'a Caller, Option<&'a Token>),
}

/// Access tokens for one upstream.
pub struct TokenSource {
    server: AuthorizationServer,
    grant: Grant,
    own_questions: OwnQuestions,
    /// The same in each token request.
    form: Vec<(&'static str, String)>,
    actor: Option<Secret>,
    own: Arc<Slot>,
    callers: Cache<[u8; 32], Arc<Slot>>,
}

/// Shows no token, and nothing that tokens are got with.
impl fmt::Debug for TokenSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TokenSource").field("grant", &self.grant).finish_non_exhaustive()
    }
}

/// A setting that cannot work.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BadCredentials {
    /// Its name among [`CredentialSettings`].
    pub key: &'static str,
    pub reason: String,
}

impl fmt::Display for BadCredentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`credentials.{}`: {}", self.key, self.reason)
    }
}

impl std::error::Error for BadCredentials {}

fn bad(key: &'static str, reason: impl Into<String>) -> BadCredentials {
    BadCredentials { key, reason: reason.into() }
}

/// Where the token for a request is kept, and what it is made from.
struct Place {
    slot: Arc<Slot>,
    subject: Option<Token>,
}

impl TokenSource {
    /// Reads secrets and keys once, to find wrong ones; opens no connection. `upstream` is the URL of the server's endpoint.
    ///
    /// # Errors
    /// A setting that is missing, contradicts another or cannot work.
    pub fn new(
        settings: &CredentialSettings,
        upstream: &str,
        clock: Arc<dyn Clock>,
    ) -> Result<Arc<Self>, BadCredentials> {
        settings.check_exchange()?;
        let place = settings.place()?;
        let authentication = settings.authentication()?;
        authentication.check()?;
        if let Some(actor) = &settings.actor_token {
            actor.resolve().map_err(|reason| bad("actor_token", reason))?;
        }
        let mut form = vec![("resource", settings.resource(upstream)?)];
        form.extend(settings.audience.clone().map(|audience| ("audience", audience)));
        form.extend(settings.scope()?.map(|scope| ("scope", scope)));
        let fetcher = Fetcher::new(settings.ca_file.as_deref()).map_err(|reason| bad("ca_file", reason))?;
        let client = settings.client_id.clone();
        Ok(Arc::new(Self {
            server: AuthorizationServer::new(client, authentication, place, fetcher, clock),
            grant: settings.grant,
            own_questions: settings.own_questions,
            form,
            actor: settings.actor_token.clone(),
            own: Arc::default(),
            callers: Cache::new(MOST_CALLERS),
        }))
    }

    /// The `Authorization` header for one request; `None` when it is to go without. Asks the authorization server only when no good token is
    /// kept, once for all who wait for it, and not while it is failing.
    ///
    /// # Errors
    /// For the log: why there is no token. Nothing was sent to the upstream, and nothing else may be sent instead.
    pub async fn authorization(self: &Arc<Self>, behalf: Behalf<'_>) -> Result<Option<HeaderValue>, String> {
        let Some(place) = self.place(behalf)? else { return Ok(None) };
        match place.slot.look(self.now()) {
            Look::Good(authorization) => Ok(Some(authorization)),
            Look::Due(authorization) => {
                // Nobody waits for what is not yet needed.
                if let Ok(flight) = Arc::clone(&place.slot.flight).try_lock_owned() {
                    self.renew(place, flight);
                }
                Ok(Some(authorization))
            }
            Look::Blocked(reason) => Err(reason.to_string()),
            Look::None => {
                let slot = Arc::clone(&place.slot);
                let flight = Arc::clone(&slot.flight).lock_owned().await;
                if let Look::None = slot.look(self.now()) {
                    self.renew(place, flight)
                        .await
                        .map_err(|error| format!("the token request was given up: {error}"))?;
                } else {
                    drop(flight);
                }
                match slot.look(self.now()) {
                    Look::Good(authorization) | Look::Due(authorization) => Ok(Some(authorization)),
                    Look::Blocked(reason) => Err(reason.to_string()),
                    Look::None => Err("the token was already over when it came".to_owned()),
                }
            }
        }
    }

    /// The upstream refused what [`Self::authorization`] gave. The token is forgotten; whether the same request, which was refused before it
    /// was looked at, should be sent once more with another one.
    #[must_use]
    pub fn refused(&self, behalf: Behalf<'_>, used: &HeaderValue) -> bool {
        self.place(behalf).is_ok_and(|place| place.is_some_and(|place| place.slot.refuse(used, self.now())))
    }

    /// Runs to its end whoever stops waiting for it: a caller that goes away must not make the next one begin anew.
    fn renew(self: &Arc<Self>, place: Place, flight: tokio::sync::OwnedMutexGuard<()>) -> tokio::task::JoinHandle<()> {
        let this = Arc::clone(self);
        tokio::spawn(async move {
            let began = this.now();
            match this.ask(place.subject.as_ref()).await {
                Ok(issued) => place.slot.fill(&issued, began),
                Err(Trouble::Unavailable(blocked)) => {
                    tracing::warn!(reason = %blocked.reason, "no token for the upstream");
                    place.slot.hold(blocked);
                }
                Err(Trouble::Refused(reason)) => {
                    tracing::warn!(%reason, "no token for the upstream");
                    place.slot.failed(&reason, this.now());
                }
            }
            drop(flight);
        })
    }

    async fn ask(&self, subject: Option<&Token>) -> Result<answer::Issued, Trouble> {
        let mut form = self.form.clone();
        let Some(subject) = subject else {
            return self.server.token(&Order { grant: Grant::ClientCredentials, form }).await;
        };
        let left = || subject.expires.since(self.server.clock.now());
        if left().is_zero() {
            return Err(Trouble::Refused("the caller's own token has expired".to_owned()));
        }
        form.extend([
            ("subject_token", subject.secret.to_string()),
            ("subject_token_type", ACCESS_TOKEN.to_owned()),
            ("requested_token_type", ACCESS_TOKEN.to_owned()),
        ]);
        if let Some(actor) = &self.actor {
            let token = actor.resolve().map_err(|reason| Trouble::Refused(format!("`actor_token`: {reason}")))?;
            form.extend([("actor_token", token), ("actor_token_type", JWT.to_owned())]);
        }
        let left = left();
        let mut issued = self.server.token(&Order { grant: Grant::TokenExchange, form }).await?;
        issued.lifetime = issued.lifetime.min(left);
        Ok(issued)
    }

    fn place(&self, behalf: Behalf<'_>) -> Result<Option<Place>, String> {
        let own = || Place { slot: Arc::clone(&self.own), subject: None };
        match (self.grant, behalf) {
            (Grant::ClientCredentials, _) => Ok(Some(own())),
            (Grant::TokenExchange, Behalf::Gateway) => {
                Ok((self.own_questions == OwnQuestions::ClientCredentials).then(own))
            }
            (Grant::TokenExchange, Behalf::Caller(caller, None)) => Err(format!(
                "the upstream wants a token of the caller's own, and this one proved itself by {} and not by an access token",
                caller.proof.as_str()
            )),
            (Grant::TokenExchange, Behalf::Caller(caller, Some(token))) => {
                let key = key(caller, token);
                let fresh = || Ok::<_, std::convert::Infallible>(Arc::default());
                let Ok(slot) = self.callers.get_or_insert_with(&key, fresh);
                Ok(Some(Place { slot, subject: Some(token.clone()) }))
            }
        }
    }

    fn now(&self) -> Duration {
        self.server.clock.elapsed()
    }
}

/// Issuer, subject and client, and the very token: two tokens of one subject may carry different rights, and what was made from one must not
/// serve the other. Upstream and scope are the source's own.
fn key(caller: &Caller, token: &Token) -> [u8; 32] {
    let owner = caller.owner();
    let mut context = Context::new(&SHA256);
    context.update(&owner.len().to_be_bytes());
    context.update(owner.as_bytes());
    context.update(token.secret.as_bytes());
    let mut key = [0; 32];
    key.copy_from_slice(context.finish().as_ref());
    key
}
