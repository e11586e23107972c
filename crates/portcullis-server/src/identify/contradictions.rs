//! Settings about callers that contradict each other. Opens no file.

use url::Url;

use crate::settings::{IdentitySettings, ServerSettings};
use crate::tls::ClientCertificates;

/// # Errors
/// The first contradiction, after its key and a colon.
pub(super) fn first(settings: &ServerSettings, identity: &IdentitySettings) -> Result<(), String> {
    let loopback = settings.listen.ip().is_loopback();
    if !identity.lets_anonymous_in(loopback) && !identity.knows_callers() {
        let way_out =
            "add `identity.keys` (see `portcullis keys new`) or `identity.oauth`, or set `identity.anonymous: true`";
        return Err(format!("identity: nobody may call; {way_out}"));
    }
    if let Some(url) = &settings.public_url {
        check_url(url)?;
    }
    for (at, rule) in identity.certificates.iter().enumerate() {
        rule.check(at)?;
    }
    let asked = settings.tls.as_ref().is_some_and(|tls| tls.client_certificates != ClientCertificates::Off);
    if !identity.certificates.is_empty() && !asked {
        return Err("identity.certificates: nobody is asked for one; set `tls.client_certificates`".to_owned());
    }
    if identity.dpop.is_some() && identity.oauth.is_none() {
        return Err("identity.dpop: there are no tokens to bind; add `identity.oauth`".to_owned());
    }
    let named = identity.resource(settings.public_url.as_deref()).is_some();
    if identity.oauth.is_some() && !named {
        return Err(
            "identity.oauth.resource: missing, and so is `public_url`; tokens must name this gateway".to_owned()
        );
    }
    if identity.agents.is_some() && !named {
        return Err("identity.agents: without `public_url` nothing says for whom an agent's token must be".to_owned());
    }
    let one_host = loopback || settings.allowed_hosts.is_some() || named;
    if !identity.signatures.signers.is_empty() && !one_host {
        return Err(
            "identity.signatures: clients sign the URL they ask for, and nothing says which is ours; set `public_url`"
                .to_owned(),
        );
    }
    Ok(())
}

fn check_url(text: &str) -> Result<(), String> {
    let url = Url::parse(text).ok().filter(|url| matches!(url.scheme(), "http" | "https") && url.has_host());
    let url = url.ok_or_else(|| format!("public_url: `{text}` is no URL such as `https://mcp.example.com/mcp`"))?;
    let bare =
        url.query().is_none() && url.fragment().is_none() && url.username().is_empty() && url.password().is_none();
    bare.then_some(()).ok_or_else(|| format!("public_url: `{text}` has a query, a fragment or a user"))
}
