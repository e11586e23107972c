//! On whose account a request goes to the server, and what it carries for that: the token that the operator configured, and the call chain with
//! our own entry. The caller's own credentials are never among it (F31).

use std::sync::Arc;

use bytes::Bytes;
use http::header::{AUTHORIZATION, HeaderValue};
use http::{HeaderMap, Request, Response, StatusCode};
use http_body_util::Full;
use portcullis_core::clock::Clock;
use portcullis_core::proofs::Chain;
use portcullis_core::refusal::{Fault, FaultKind};
use portcullis_identity::chain::{self, ChainSigner, NewEntry};
use portcullis_identity::client::{BadCredentials, TokenSource};

use super::line::Answer;
use super::site::Site;
use crate::account::Account;
use crate::settings::{HttpSettings, SettingsError};

/// What every request to one server is provided with, beside the fixed headers.
pub(super) struct Papers {
    tokens: Option<Arc<TokenSource>>,
    chain: Option<Emitter>,
    clock: Arc<dyn Clock>,
}

struct Emitter {
    signer: Arc<ChainSigner>,
    /// The gateway that our entries are made for.
    audience: Arc<str>,
}

impl Papers {
    pub(super) fn new(
        name: &Arc<str>,
        settings: &HttpSettings,
        clock: Arc<dyn Clock>,
        signer: Option<Arc<ChainSigner>>,
    ) -> Result<Self, SettingsError> {
        let tokens = match &settings.credentials {
            Some(_) if settings.headers.keys().any(|name| name.eq_ignore_ascii_case(AUTHORIZATION.as_str())) => {
                let reason = "makes the same header as `headers.authorization`; remove one of the two".to_owned();
                return Err(BadCredentials { key: "grant", reason }.into());
            }
            Some(credentials) => Some(TokenSource::new(credentials, &settings.url, Arc::clone(&clock))?),
            None => None,
        };
        let audience = settings.next_gateway.as_deref().map_or_else(|| Arc::clone(name), Arc::from);
        let chain = match signer {
            Some(signer) => {
                signer.check_audience(&audience).map_err(|reason| SettingsError::Chain { reason })?;
                Some(Emitter { signer, audience })
            }
            None if settings.next_gateway.is_some() => {
                let reason = "is for call chains, which are not configured (`identity.chains`)".to_owned();
                return Err(SettingsError::Chain { reason });
            }
            None => None,
        };
        Ok(Self { tokens, chain, clock })
    }

    pub(super) fn tokens(&self) -> Option<&Arc<TokenSource>> {
        self.tokens.as_ref()
    }

    /// Adds the call chain, made for exactly this body.
    pub(super) fn chain(&self, headers: &mut HeaderMap, account: Account<'_>, body: &Bytes) -> Result<(), Fault> {
        let Some(emitter) = &self.chain else { return Ok(()) };
        let nobody = Chain::default();
        let (chain, agent, target, now) = match account {
            Account::Call(call) => {
                let proofs = &call.context.proofs;
                let agent = proofs.agent.as_ref().map_or(&call.context.caller.name, |agent| &agent.name);
                let tool = call.tool().map(|tool| tool.name.clone());
                (&proofs.chain, agent.as_str(), tool.unwrap_or_else(|| call.method().into()), call.context.now)
            }
            // Of our own questions nobody is the author, and they come from no further away.
            Account::Gateway(method) => (&nobody, "anonymous", method.into(), self.clock.now()),
        };
        let entry = NewEntry { agent, target: &target, body, audience: &emitter.audience, now };
        let unfit = |reason: String| Fault::before_sending(FaultKind::Unauthorized, format!("no call chain: {reason}"));
        let value = emitter.signer.append(chain, entry).map_err(|failed| unfit(failed.to_string()))?;
        headers.insert(chain::HEADER, HeaderValue::try_from(value).map_err(|error| unfit(error.to_string()))?);
        Ok(())
    }
}

impl Site {
    /// Sends with a token. One that the server refuses is replaced once: a 401 is said before a request is looked at
    /// (RFC 9110 §15.5.2), so sending it again repeats nothing.
    pub(super) async fn authorized(
        &self,
        tokens: &Arc<TokenSource>,
        mut request: Request<Full<Bytes>>,
        account: Account<'_>,
    ) -> Result<Response<Answer>, Fault> {
        let behalf = account.behalf();
        let mut again = true;
        loop {
            let token = tokens.authorization(behalf).await;
            let token = token.map_err(|reason| Fault::before_sending(FaultKind::Unauthorized, reason))?;
            let Some(token) = token else { return self.once(request).await };
            request.headers_mut().insert(AUTHORIZATION, token.clone());
            let response = self.once(request.clone()).await?;
            if response.status() != StatusCode::UNAUTHORIZED || !tokens.refused(behalf, &token) || !again {
                return Ok(response);
            }
            again = false;
            tracing::info!(server = %self.name, "the server refused its token; another one is tried, once");
        }
    }
}
