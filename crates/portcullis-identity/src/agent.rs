//! `X-Agent-Identity`: a signed JWT by which a program that acts for the caller says who it is. Verified with every request and never
//! remembered for a session; it adds to what is known and never replaces the caller.

#[cfg(test)]
mod tests;

use std::path::Path;
use std::sync::Arc;

use portcullis_core::caller::Caller;
use portcullis_core::clock::Timestamp;
use portcullis_core::proofs::Agent;
use portcullis_core::refusal::ProofFailure;
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Map, Value};

use crate::Failed;
use crate::fetch::Fetcher;
use crate::issuer::{Issuer, KeySettings, sha256};
use crate::token::ClaimSettings;
use crate::token::claims::{self, Times, bad};
use crate::token::jws::{self, Jws};
use crate::token::remembered::{Entry, Remembered};
use crate::token::settings::{MOST_SKEW, check_issuers};

/// Bytes of one token. 8,192: it stands in a header beside the access token, and says little.
const MOST_BYTES: usize = 8192;

/// Agents that are remembered. 10,000, at about 500 bytes each.
const REMEMBERED: usize = 10_000;

/// Whose word about agents counts.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct AgentSettings {
    /// Issuers of agents' tokens; at least one. Own ones: an authorization server of callers says nothing about agents.
    pub issuers: Vec<AgentIssuerSettings>,
    /// Longest time, in seconds, that a token may be good for. Default 3,600: an agent's run; what lives longer is a password.
    pub max_lifetime_seconds: u64,
    /// Seconds by which clocks may disagree. Default 60, and at most 300, as for access tokens.
    pub clock_skew_seconds: u64,
}

/// One issuer of agents' tokens.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct AgentIssuerSettings {
    /// Short name, which agents' names begin with: `NAME:SUBJECT`. Without `:`.
    pub name: String,
    /// `iss` of its tokens, byte for byte.
    pub issuer: String,
    /// Where its keys come from, and what they may sign with.
    pub keys: KeySettings,
    /// Accepted `typ`. Default `JWT`, what workload issuers write (SPIFFE among them); access tokens are `at+jwt` and cannot pass.
    pub types: Vec<String>,
    /// What groups and attributes are read from.
    pub claims: ClaimSettings,
}

impl Default for AgentSettings {
    fn default() -> Self {
        Self { issuers: Vec::new(), max_lifetime_seconds: 3600, clock_skew_seconds: 60 }
    }
}

impl Default for AgentIssuerSettings {
    fn default() -> Self {
        Self {
            name: String::new(),
            issuer: String::new(),
            keys: KeySettings::default(),
            types: vec!["JWT".to_owned()],
            claims: ClaimSettings::default(),
        }
    }
}

impl AgentSettings {
    /// Relative files are those beside the configuration.
    pub fn relative_to(&mut self, folder: &Path) {
        for issuer in &mut self.issuers {
            issuer.keys.relative_to(folder);
        }
    }
}

/// Tells whether an agent is who it says. One per configuration.
#[derive(Debug)]
pub struct AgentVerifier {
    issuers: Vec<(AgentIssuerSettings, Issuer)>,
    audiences: [String; 1],
    skew_millis: u64,
    most_millis: u64,
    remembered: Remembered<Known>,
}

/// A verified agent, and the only client it may speak beside.
#[derive(Clone, Debug)]
struct Known {
    agent: Arc<Agent>,
    client: Option<Arc<str>>,
}

impl AgentVerifier {
    /// `resource` is what `aud` must name: this gateway.
    ///
    /// # Errors
    /// The settings contradict each other, or a file cannot be read; names the key.
    pub fn new(settings: &AgentSettings, resource: &str, fetcher: &Fetcher) -> Result<Self, String> {
        const PLACE: &str = "identity.agents";
        check_issuers(PLACE, settings.issuers.iter().map(|one| (&*one.name, &*one.issuer)))?;
        if resource.is_empty() {
            return Err(format!("{PLACE}: without `identity.oauth.resource` nothing says whom a token is for"));
        }
        if settings.max_lifetime_seconds == 0 {
            return Err(format!("{PLACE}.max_lifetime_seconds: must be at least 1"));
        }
        if settings.clock_skew_seconds > MOST_SKEW {
            return Err(format!("{PLACE}.clock_skew_seconds: more than {MOST_SKEW} keeps ended tokens alive"));
        }
        let issuers = settings.issuers.iter().enumerate().map(|(index, one)| {
            let place = format!("{PLACE}.issuers[{index}]");
            if one.types.is_empty() {
                return Err(format!("{place}.types: without a type no token can be accepted"));
            }
            Ok((one.clone(), Issuer::new(&one.issuer, &one.keys, fetcher.clone(), &place)?))
        });
        Ok(Self {
            issuers: issuers.collect::<Result<_, String>>()?,
            audiences: [resource.to_owned()],
            skew_millis: settings.clock_skew_seconds.saturating_mul(1000),
            most_millis: settings.max_lifetime_seconds.saturating_mul(1000),
            remembered: Remembered::new(REMEMBERED),
        })
    }

    /// Takes over the keys of issuers that stay the same over a reload. Both must ask with the same certificates.
    pub fn inherit(&mut self, before: &Self) {
        for (_, issuer) in &mut self.issuers {
            before.issuers.iter().for_each(|(_, old)| issuer.inherit(old));
        }
    }

    /// The agent that `jwt` proves. Where the token names a client, it is the caller's.
    ///
    /// # Errors
    /// `AgentInvalid` with the reason; `IssuerUnavailable` where nobody can tell.
    pub async fn verify(&self, jwt: &str, caller: &Caller, now: Timestamp) -> Result<Agent, Failed> {
        let known = self.known(jwt, now).await.map_err(|failed| match failed.failure {
            ProofFailure::IssuerUnavailable => failed,
            failure => Failed::new(ProofFailure::AgentInvalid, format!("{}: {}", failure.as_str(), failed.detail)),
        })?;
        if known.client.is_some() && known.client.as_deref() != caller.client.as_deref() {
            return Err(Failed::new(ProofFailure::AgentInvalid, "it speaks beside another client than the caller's"));
        }
        Ok(Agent::clone(&known.agent))
    }

    async fn known(&self, jwt: &str, now: Timestamp) -> Result<Known, Failed> {
        jws::check_size(jwt, MOST_BYTES)?;
        let digest = sha256(jwt.as_bytes());
        let current = |index: usize| self.issuers.get(index).and_then(|(_, issuer)| issuer.version(now));
        if let Some(known) = self.remembered.get(&digest, now, current) {
            return Ok(known);
        }
        let token = Jws::read(jwt)?;
        let named = token.unverified().get("iss").and_then(Value::as_str);
        let (index, (settings, issuer)) = self
            .issuers
            .iter()
            .enumerate()
            .find(|(_, (settings, _))| Some(settings.issuer.as_str()) == named)
            .ok_or_else(|| Failed::new(ProofFailure::TokenIssuer, "`iss` is not configured"))?;
        let (claims, version) = token.verify(issuer, &settings.types, now).await?;
        let times = self.times(claims, now)?;
        let known = Known {
            agent: Arc::new(Agent {
                name: format!("{}:{}", settings.name, claims::subject(claims)?),
                issuer: settings.name.clone(),
                groups: settings.claims.groups(claims)?,
                attributes: settings.claims.attributes(claims)?,
            }),
            client: claims::client(claims)?.map(Arc::from),
        };
        let entry = Entry { value: known.clone(), from: times.from, until: times.until, keys: Some((index, version)) };
        self.remembered.put(digest, entry);
        Ok(known)
    }

    fn times(&self, claims: &Map<String, Value>, now: Timestamp) -> Result<Times, Failed> {
        claims::audience(claims, &self.audiences)?;
        let times = claims::times(claims, self.skew_millis, None, now)?;
        // Counted from now where the token does not say when it was issued: one that is good for longer was made for longer.
        let begins = times.issued.unwrap_or(Timestamp(now.0.saturating_add(self.skew_millis)));
        if times.expires.0.saturating_sub(begins.0) > self.most_millis {
            return Err(bad(format!("good for more than {} s", self.most_millis / 1000)));
        }
        Ok(times)
    }
}
