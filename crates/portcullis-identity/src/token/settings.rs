//! What an operator may set about access tokens.

use std::collections::BTreeMap;
use std::path::Path;

use schemars::JsonSchema;
use serde::Deserialize;
use url::Url;

use super::claims::ClaimSettings;
use crate::Secret;
use crate::fetch::may_be_asked;
use crate::issuer::KeySettings;

/// Longest clock skew. 300 s: RFC 7519 §4.1.4 speaks of a few minutes; more would keep stolen tokens alive.
pub(crate) const MOST_SKEW: u64 = 300;

/// The gateway as an OAuth 2.1 resource server: whose tokens it takes, and what they say about a caller.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct OAuthSettings {
    /// Canonical address of this gateway for MCP clients, such as `https://mcp.example.com/mcp`: what `aud` of every token must name (RFC
    /// 8707) and what the metadata publishes. Default: `public_url`; never taken from a
    /// request (F10).
    pub resource: String,
    /// Name of this gateway for people, in the metadata. Default none.
    pub resource_name: Option<String>,
    /// Authorization servers whose tokens are taken; at least one.
    pub issuers: Vec<OAuthIssuerSettings>,
    /// Scopes that the metadata names; clients ask for them first. Default none: clients then ask for what a challenge names, which is less
    /// (F43). `offline_access` must not be among them (F6).
    pub scopes_supported: Vec<String>,
    /// Scopes that a scope implies, such as `admin: [read, write]`; followed to the end. Default none: only the issuer's own words count.
    pub scope_implies: BTreeMap<String, Vec<String>>,
    /// Scopes that a token must have, by operation: `*` for every request, a method such as `tools/call`, or a method and what it names, such as
    /// `tools/call:pay`. All that apply are needed together, and one challenge names them all (F15). What such a key names is known to every
    /// caller with a token. Default none: what a token may do is up to the policies.
    pub scopes: BTreeMap<String, Vec<String>>,
    /// Seconds by which clocks may disagree, for `exp`, `nbf` and `iat`. Default 60: machines without a good time source drift by tens of
    /// seconds; at most 300.
    pub clock_skew_seconds: u64,
    /// Bytes of one token. Default 16,384: tokens with 200 groups have some 9,000, and HTTP servers commonly take no larger header.
    pub most_token_bytes: usize,
    /// Verified tokens that are remembered, so that a signature is checked once. Default 10,000, at about 1 KiB each: more callers than that only
    /// cost time.
    pub remembered_tokens: usize,
}

/// One authorization server.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct OAuthIssuerSettings {
    /// Short name, which callers' names begin with: `NAME:SUBJECT`. Without `:`, so that no subject can be read as another issuer's.
    pub name: String,
    /// `iss` of its tokens, byte for byte.
    pub issuer: String,
    /// Where its keys come from, and what they may sign with.
    pub keys: KeySettings,
    /// Accepted `typ` of its tokens. Default `at+jwt` (RFC 9068): no other kind of token can then pass for an access token. For providers that
    /// write `JWT`, name that; an empty text stands for tokens without `typ`.
    pub types: Vec<String>,
    /// Further names of this gateway in `aud`, for providers that cannot issue for `resource`. Default none; each must mean this gateway and
    /// nothing else (F3).
    pub audiences: Vec<String>,
    /// What groups and attributes are read from.
    pub claims: ClaimSettings,
    /// SPIFFE trust domain that this issuer speaks for, such as `prod.example.com`. Subjects in it become the caller's SPIFFE id; any other
    /// `spiffe://` subject is refused. Default none: subjects are not SPIFFE ids, whatever they look like.
    pub spiffe_trust_domain: Option<String>,
    /// How opaque tokens are looked up (RFC 7662). Default none: only signed tokens are taken. For one issuer at most, since an opaque token does
    /// not say whose it is, and must be shown to nobody else.
    pub introspection: Option<IntrospectionSettings>,
}

/// Token introspection.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct IntrospectionSettings {
    /// Introspection endpoint; https, or http on loopback.
    pub url: String,
    /// The gateway's client id there; sent by HTTP Basic.
    pub client_id: String,
    /// Its secret. Read when the configuration is loaded.
    pub client_secret: Secret,
    /// Seconds for which an active token is not asked about again. Default 30: the time that a revoked token stays good.
    #[serde(default = "thirty")]
    pub cache_seconds: u64,
    /// Seconds for which an inactive token is not asked about again. Default 10: a flood of one bad token costs one question, and a token that
    /// was used just before it was valid is soon seen.
    #[serde(default = "ten")]
    pub negative_cache_seconds: u64,
    /// Whether an answer without `sub` is about a client's own token, whose subject then is the client. Some servers leave `sub` out there.
    /// Default false, and such tokens are refused: a server that leaves it out for people too would make one caller of all who use a client.
    #[serde(default)]
    pub client_is_subject: bool,
}

fn thirty() -> u64 {
    30
}

fn ten() -> u64 {
    10
}

impl Default for OAuthSettings {
    fn default() -> Self {
        Self {
            resource: String::new(),
            resource_name: None,
            issuers: Vec::new(),
            scopes_supported: Vec::new(),
            scope_implies: BTreeMap::new(),
            scopes: BTreeMap::new(),
            clock_skew_seconds: 60,
            most_token_bytes: 16_384,
            remembered_tokens: 10_000,
        }
    }
}

impl Default for OAuthIssuerSettings {
    fn default() -> Self {
        Self {
            name: String::new(),
            issuer: String::new(),
            keys: KeySettings::default(),
            types: vec!["at+jwt".to_owned()],
            audiences: Vec::new(),
            claims: ClaimSettings::default(),
            spiffe_trust_domain: None,
            introspection: None,
        }
    }
}

impl OAuthSettings {
    /// Relative files are those beside the configuration.
    pub fn relative_to(&mut self, folder: &Path) {
        for issuer in &mut self.issuers {
            issuer.keys.relative_to(folder);
            if let Some(introspection) = &mut issuer.introspection {
                introspection.client_secret.relative_to(folder);
            }
        }
    }

    /// What no single value shows.
    pub(super) fn check(&self) -> Result<(), String> {
        check_resource(&self.resource)?;
        check_issuers("identity.oauth", self.issuers.iter().map(|issuer| (&*issuer.name, &*issuer.issuer)))?;
        let words = self.scope_implies.iter().flat_map(|(scope, implied)| std::iter::once(scope).chain(implied));
        let needed = self.scopes.values().flatten();
        if let Some(word) = words.chain(&self.scopes_supported).chain(needed).find(|word| !is_scope(word)) {
            return Err(format!("identity.oauth: `{word}` is not a scope (RFC 6749 §3.3)"));
        }
        if let Some(key) = self.scopes.keys().find(|key| key.starts_with(':') || key.ends_with(':') || key.is_empty()) {
            return Err(format!("identity.oauth.scopes: `{key}` is neither `*`, nor a method, nor METHOD:NAME"));
        }
        if self.scopes_supported.iter().any(|scope| scope == "offline_access") {
            return Err(
                "identity.oauth.scopes_supported: `offline_access` is between a client and its issuer".to_owned()
            );
        }
        if self.clock_skew_seconds > MOST_SKEW {
            return Err(format!("identity.oauth.clock_skew_seconds: more than {MOST_SKEW} keeps ended tokens alive"));
        }
        if self.most_token_bytes == 0 || self.remembered_tokens == 0 {
            return Err("identity.oauth: `most_token_bytes` and `remembered_tokens` must be at least 1".to_owned());
        }
        for (index, issuer) in self.issuers.iter().enumerate() {
            check_issuer(issuer).map_err(|reason| format!("identity.oauth.issuers[{index}].{reason}"))?;
        }
        if self.issuers.iter().filter(|issuer| issuer.introspection.is_some()).count() > 1 {
            return Err(
                "identity.oauth.issuers: `introspection` twice; an opaque token does not say whose it is".to_owned()
            );
        }
        Ok(())
    }
}

/// Names must be usable as the first half of a caller's name; nobody may be configured twice.
pub(crate) fn check_issuers<'a>(
    place: &str,
    issuers: impl Iterator<Item = (&'a str, &'a str)> + Clone,
) -> Result<(), String> {
    if issuers.clone().next().is_none() {
        return Err(format!("{place}.issuers: at least one is needed"));
    }
    for (index, (name, issuer)) in issuers.clone().enumerate() {
        if name.is_empty() || name.contains(':') || name.chars().any(|c| c.is_control() || c.is_whitespace()) {
            return Err(format!("{place}.issuers[{index}].name: `{name}` is empty, or has `:` or spaces"));
        }
        if issuers.clone().skip(index + 1).any(|(other, identifier)| other == name || identifier == issuer) {
            return Err(format!("{place}.issuers[{index}]: its `name` or `issuer` stands there twice"));
        }
    }
    Ok(())
}

fn check_issuer(settings: &OAuthIssuerSettings) -> Result<(), String> {
    if settings.types.is_empty() {
        return Err("types: without a type no token can be accepted".to_owned());
    }
    if let Some(domain) = &settings.spiffe_trust_domain {
        let fits = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "-._".contains(c);
        if domain.is_empty() || !domain.chars().all(fits) {
            return Err(format!("spiffe_trust_domain: `{domain}` is not a trust domain"));
        }
    }
    match &settings.introspection {
        Some(introspection) if !Url::parse(&introspection.url).is_ok_and(|url| may_be_asked(&url)) => {
            Err(format!("introspection.url: `{}` is not an https URL", introspection.url))
        }
        _ => Ok(()),
    }
}

fn check_resource(resource: &str) -> Result<(), String> {
    let failed = |reason: &str| format!("identity.oauth.resource: `{resource}` {reason}");
    let url = Url::parse(resource).map_err(|_| failed("is not an absolute URL"))?;
    if !may_be_asked(&url) {
        return Err(failed("is not an https URL"));
    }
    if resource.contains('#') || url.query().is_some() {
        return Err(failed("has a fragment or a query (RFC 8707 §2)"));
    }
    Ok(())
}

/// RFC 6749 §3.3: visible ASCII without quotation mark and backslash.
fn is_scope(word: &str) -> bool {
    !word.is_empty() && word.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'"' && byte != b'\\')
}
