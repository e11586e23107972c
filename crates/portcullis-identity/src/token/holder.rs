//! From verified claims to a caller: its name, its scopes with all that they imply, who acts for it, and what it must prove to hold.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use portcullis_core::caller::{Caller, Proof};
use serde_json::{Map, Value};

use super::claims::{self, ClaimSettings, bad};
use super::settings::OAuthIssuerSettings;
use crate::Failed;
use crate::issuer::Issuer;

/// Actors in one token. 8: delegation over more services than that is a loop or an attack; each is judged by policies.
const MOST_ACTORS: usize = 8;

/// An issuer as its tokens are read.
#[derive(Debug)]
pub(super) struct Issuing {
    pub(super) name: String,
    pub(super) issuer: Issuer,
    pub(super) types: Vec<String>,
    /// `aud` of tokens for us.
    pub(super) audiences: Vec<String>,
    claims: ClaimSettings,
    /// `spiffe://DOMAIN/`, which subjects must begin with.
    spiffe: Option<String>,
}

/// What holds for tokens of all issuers.
#[derive(Debug)]
pub(super) struct Holders {
    /// Configured names by `iss`.
    names: HashMap<String, String>,
    /// Each scope with everything it leads to.
    implied: BTreeMap<String, BTreeSet<String>>,
}

impl Issuing {
    pub(super) fn new(settings: &OAuthIssuerSettings, issuer: Issuer, resource: &str) -> Self {
        let mut audiences = settings.audiences.clone();
        audiences.push(resource.to_owned());
        Self {
            name: settings.name.clone(),
            issuer,
            types: settings.types.clone(),
            audiences,
            claims: settings.claims.clone(),
            spiffe: settings.spiffe_trust_domain.as_ref().map(|domain| format!("spiffe://{domain}/")),
        }
    }
}

impl Holders {
    pub(super) fn new(names: HashMap<String, String>, implies: &BTreeMap<String, Vec<String>>) -> Self {
        let implied = implies.keys().map(|scope| (scope.clone(), closure(scope, implies))).collect();
        Self { names, implied }
    }

    /// The caller of a verified token.
    ///
    /// # Errors
    /// `TokenClaims`: something that is read has the wrong form.
    pub(super) fn caller(&self, issuing: &Issuing, claims: &Map<String, Value>) -> Result<Caller, Failed> {
        let subject = claims::subject(claims)?;
        let mut caller =
            Caller::new(format!("{}:{subject}", issuing.name), Proof::Token, issuing.claims.groups(claims)?);
        caller.issuer = Some(issuing.issuer.identifier().to_owned());
        caller.client = claims::client(claims)?.map(str::to_owned);
        caller.scopes = self.with_implied(claims::scopes(claims)?);
        caller.spiffe = spiffe(issuing, subject)?;
        caller.attributes = issuing.claims.attributes(claims)?;
        caller.actors = self.actors(issuing, claims)?;
        Ok(caller)
    }

    /// Sorted, each once.
    fn with_implied(&self, scopes: Vec<String>) -> Vec<String> {
        let mut all = BTreeSet::new();
        for scope in scopes {
            all.extend(self.implied.get(&scope).into_iter().flatten().cloned());
            all.insert(scope);
        }
        all.into_iter().collect()
    }

    /// `act`, the current actor first (RFC 8693 §4.1). An actor is named like a caller, by its own issuer or else the token's.
    fn actors(&self, issuing: &Issuing, claims: &Map<String, Value>) -> Result<Vec<String>, Failed> {
        let mut actors = Vec::new();
        let mut next = claims.get("act");
        while let Some(actor) = next {
            let actor = actor.as_object().ok_or_else(|| bad("`act` is not an object"))?;
            if actors.len() == MOST_ACTORS {
                return Err(bad(format!("more than {MOST_ACTORS} actors")));
            }
            let issuer = match claims::name(actor, "iss")? {
                None => &issuing.name,
                Some(issuer) => {
                    self.names.get(issuer).ok_or_else(|| bad("an actor of an issuer that is not configured"))?
                }
            };
            actors.push(format!("{issuer}:{}", claims::subject(actor)?));
            next = actor.get("act");
        }
        Ok(actors)
    }
}

/// `cnf` (RFC 7800): the thumbprints of a key and of a certificate. A confirmation that we do not check would make a bound token a bearer
/// token, so it is refused.
pub(super) fn confirmation(claims: &Map<String, Value>) -> Result<(Option<String>, Option<String>), Failed> {
    let Some(confirmation) = claims.get("cnf") else { return Ok((None, None)) };
    let confirmation = confirmation.as_object().ok_or_else(|| bad("`cnf` is not an object"))?;
    if let Some(other) = confirmation.keys().find(|name| !matches!(name.as_str(), "jkt" | "x5t#S256")) {
        return Err(bad(format!("`cnf` has `{other}`, which is not supported")));
    }
    let text = |name| Ok::<_, Failed>(claims::name(confirmation, name)?.map(str::to_owned));
    match (text("jkt")?, text("x5t#S256")?) {
        (None, None) => Err(bad("`cnf` is empty")),
        found => Ok(found),
    }
}

fn spiffe(issuing: &Issuing, subject: &str) -> Result<Option<String>, Failed> {
    match &issuing.spiffe {
        Some(domain) if subject.starts_with("spiffe://") => {
            if subject.strip_prefix(domain.as_str()).is_some_and(|path| !path.is_empty()) {
                Ok(Some(subject.to_owned()))
            } else {
                Err(bad("`sub` is of another trust domain"))
            }
        }
        _ => Ok(None),
    }
}

/// All scopes that `scope` leads to; circles end where they begin.
fn closure(scope: &str, implies: &BTreeMap<String, Vec<String>>) -> BTreeSet<String> {
    let mut reached = BTreeSet::new();
    let mut open = vec![scope];
    while let Some(scope) = open.pop() {
        for implied in implies.get(scope).into_iter().flatten() {
            if reached.insert(implied.clone()) {
                open.push(implied);
            }
        }
    }
    reached
}
