//! What claims mean, once they are verified: the same rules for access tokens, introspection answers and agents' tokens.

use std::collections::BTreeMap;

use portcullis_core::clock::Timestamp;
use portcullis_core::refusal::ProofFailure;
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Map, Value};

use crate::{Failed, json};

/// Bytes of a subject, client, group or other name that goes into policies and the log. 512: URLs and distinguished names fit.
const MOST_NAME: usize = 512;

/// Groups or values of one attribute. 256: providers cap groups in tokens at 200.
const MOST_VALUES: usize = 256;

/// 9999-12-31: a later date is a mistake of units, and would outlive everything.
const LAST_SECOND: f64 = 253_402_300_799.0;

/// Where in a token's claims something stands: a claim's name, or a list of names that leads into nested objects.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum ClaimPath {
    Name(String),
    Path(Vec<String>),
}

/// What a caller's groups and attributes are read from. Each claim must be a string or a list of strings; an absent one gives nothing.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ClaimSettings {
    /// Claims that name groups, such as `groups` or `[realm_access, roles]`. Default none: a token's words become groups only where the
    /// operator says so.
    pub groups: Vec<ClaimPath>,
    /// Put before each group, such as `corp/`, so that two issuers cannot speak of the same group. Default empty: most gateways have one issuer.
    pub group_prefix: String,
    /// Attributes for policies, by name, and the claim of each. Default none.
    pub attributes: BTreeMap<String, ClaimPath>,
}

/// When a token is good.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Times {
    /// `exp`.
    pub(crate) expires: Timestamp,
    /// The later of `nbf` and `iat`, less the skew.
    pub(crate) from: Timestamp,
    /// `exp` plus the skew.
    pub(crate) until: Timestamp,
    pub(crate) issued: Option<Timestamp>,
}

impl ClaimPath {
    fn find<'a>(&self, claims: &'a Map<String, Value>) -> Option<&'a Value> {
        match self {
            Self::Name(name) => claims.get(name),
            Self::Path(names) => {
                let (first, rest) = names.split_first()?;
                rest.iter().try_fold(claims.get(first)?, |value, name| value.as_object()?.get(name))
            }
        }
    }
}

impl ClaimSettings {
    pub(crate) fn groups(&self, claims: &Map<String, Value>) -> Result<Vec<String>, Failed> {
        let mut groups = Vec::new();
        for value in self.groups.iter().filter_map(|path| path.find(claims)) {
            groups.extend(
                texts(value, "a claim of groups")?.into_iter().map(|name| format!("{}{name}", self.group_prefix)),
            );
        }
        groups.sort_unstable();
        groups.dedup();
        Ok(groups)
    }

    pub(crate) fn attributes(&self, claims: &Map<String, Value>) -> Result<BTreeMap<String, Vec<String>>, Failed> {
        let found = self.attributes.iter().filter_map(|(name, path)| Some((name, path.find(claims)?)));
        found.map(|(name, value)| Ok((name.clone(), texts(value, name)?))).collect()
    }
}

/// `exp`, which must be there unless something else bounds the claims (`otherwise`), `nbf` and `iat` (RFC 7519 §4.1). All with `skew_millis` in
/// the token's favour.
///
/// # Errors
/// `TokenClaims`, `TokenExpired`, `TokenEarly`.
pub(crate) fn times(
    claims: &Map<String, Value>,
    skew_millis: u64,
    otherwise: Option<Timestamp>,
    now: Timestamp,
) -> Result<Times, Failed> {
    let expires = date(claims, "exp")?.or(otherwise).ok_or_else(|| bad("`exp` is missing"))?;
    let (not_before, issued) = (date(claims, "nbf")?, date(claims, "iat")?);
    let until = Timestamp(expires.0.saturating_add(skew_millis));
    let from = Timestamp(not_before.max(issued).unwrap_or_default().0.saturating_sub(skew_millis));
    if now >= until {
        return Err(Failed::new(ProofFailure::TokenExpired, format!("ended {expires}")));
    }
    if now < from {
        return Err(Failed::new(ProofFailure::TokenEarly, format!("`nbf` {not_before:?}, `iat` {issued:?}")));
    }
    Ok(Times { expires, from, until, issued })
}

/// Whether `aud` names one of `accepted`, byte for byte (F3).
pub(crate) fn audience(claims: &Map<String, Value>, accepted: &[String]) -> Result<(), Failed> {
    let audiences = match claims.get("aud") {
        Some(value) => texts(value, "`aud`")?,
        None => return Err(Failed::new(ProofFailure::TokenAudience, "`aud` is missing")),
    };
    if audiences.iter().any(|audience| accepted.contains(audience)) {
        return Ok(());
    }
    Err(Failed::new(ProofFailure::TokenAudience, format!("for {audiences:?}")))
}

/// `sub`, which names a caller and therefore must be there.
pub(crate) fn subject(claims: &Map<String, Value>) -> Result<&str, Failed> {
    name(claims, "sub")?.ok_or_else(|| bad("`sub` is missing"))
}

/// The OAuth client (`client_id` of RFC 9068, `azp` of OpenID Connect). Where both stand they must agree.
pub(crate) fn client(claims: &Map<String, Value>) -> Result<Option<&str>, Failed> {
    match (name(claims, "client_id")?, name(claims, "azp")?) {
        (Some(id), Some(azp)) if id != azp => Err(bad("`client_id` and `azp` disagree")),
        (id, azp) => Ok(id.or(azp)),
    }
}

/// `scope` (RFC 9068 §2.2.3), or `scp` where a provider calls it that; words in one string or a list.
pub(crate) fn scopes(claims: &Map<String, Value>) -> Result<Vec<String>, Failed> {
    let Some(value) = claims.get("scope").or_else(|| claims.get("scp")) else { return Ok(Vec::new()) };
    let words: Vec<String> = match value {
        // A text of scopes may be longer than any name in it.
        Value::String(text) => text.split(' ').filter(|word| !word.is_empty()).map(str::to_owned).collect(),
        other => texts(other, "`scope`")?,
    };
    if words.len() > MOST_VALUES { Err(bad("too many scopes")) } else { Ok(words) }
}

/// A member that is a name: a string that is not empty, not long, and cannot break a line of the log.
pub(crate) fn name<'a>(object: &'a Map<String, Value>, member: &str) -> Result<Option<&'a str>, Failed> {
    match json::text(object, member, ProofFailure::TokenClaims)? {
        Some(text) if !is_name(text) => Err(bad(format!("`{member}` is empty, too long, or has control characters"))),
        text => Ok(text),
    }
}

pub(crate) fn bad(detail: impl Into<String>) -> Failed {
    Failed::new(ProofFailure::TokenClaims, detail)
}

fn is_name(text: &str) -> bool {
    !text.is_empty() && text.len() <= MOST_NAME && !text.chars().any(char::is_control)
}

/// A string, or a list of them.
fn texts(value: &Value, what: &str) -> Result<Vec<String>, Failed> {
    let listed = match value {
        Value::Array(values) => values.as_slice(),
        other => std::slice::from_ref(other),
    };
    if listed.len() > MOST_VALUES {
        return Err(bad(format!("{what} has {} values; at most {MOST_VALUES} are read", listed.len())));
    }
    let text = |value: &Value| value.as_str().filter(|text| is_name(text)).map(str::to_owned);
    listed.iter().map(text).collect::<Option<_>>().ok_or_else(|| bad(format!("{what} is not made of names")))
}

/// A NumericDate (RFC 7519 §2), which may have a fraction.
fn date(claims: &Map<String, Value>, member: &str) -> Result<Option<Timestamp>, Failed> {
    let Some(value) = claims.get(member) else { return Ok(None) };
    let seconds = value
        .as_f64()
        .filter(|seconds| (0.0..=LAST_SECOND).contains(seconds))
        .ok_or_else(|| bad(format!("`{member}` is not a date")))?;
    // In range and not negative, so that nothing is cut off but a fraction of a millisecond.
    Ok(Some(Timestamp((seconds * 1000.0) as u64)))
}
