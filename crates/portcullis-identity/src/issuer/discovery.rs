//! An authorization server's metadata: where it is looked for, and whether it is the issuer's own (RFC 8414 §3, OpenID Connect Discovery §4).

use portcullis_core::refusal::ProofFailure;
use serde_json::{Map, Value};
use url::Url;

use crate::fetch::{FetchError, Fetcher, is_loopback, may_be_asked};
use crate::{Failed, json};

/// The metadata of the issuer, from the first of the well-known addresses that has it (F19). A document that names another issuer, byte for
/// byte, is discarded (F20).
///
/// # Errors
/// `IssuerUnavailable`: no address has it, or the server does not answer.
pub(crate) async fn metadata(fetcher: &Fetcher, issuer: &str) -> Result<Map<String, Value>, Failed> {
    let mut last = unavailable(format!("`{issuer}` is not an issuer's URL"));
    for address in addresses(issuer) {
        match fetcher.get(&address).await {
            Ok(body) => match json::object(&body, ProofFailure::IssuerUnavailable) {
                Ok(metadata) if metadata.get("issuer").and_then(Value::as_str) == Some(issuer) => return Ok(metadata),
                Ok(_) => last = unavailable(format!("metadata at {address}: `issuer` is not `{issuer}`")),
                Err(failed) => last = unavailable(format!("metadata at {address}: {}", failed.detail)),
            },
            Err(error @ (FetchError::Status(_) | FetchError::Redirect(_) | FetchError::TooLarge)) => {
                last = unavailable(format!("metadata at {address}: {error}"));
            }
            // All addresses are on one host; what did not answer will not do so a moment later.
            Err(error) => return Err(unavailable(format!("metadata at {address}: {error}"))),
        }
    }
    Err(last)
}

/// Where the keys are.
pub(super) async fn keys_address(fetcher: &Fetcher, issuer: &str) -> Result<Url, Failed> {
    keys_address_in(&metadata(fetcher, issuer).await?, issuer)
}

/// `jwks_uri`. An issuer that is not on this machine cannot send us to something that is (F40).
pub(super) fn keys_address_in(metadata: &Map<String, Value>, issuer: &str) -> Result<Url, Failed> {
    let local = Url::parse(issuer).is_ok_and(|url| is_loopback(&url));
    json::text(metadata, "jwks_uri", ProofFailure::IssuerUnavailable)?
        .and_then(|address| Url::parse(address).ok())
        .filter(|address| may_be_asked(address) && (local || !is_loopback(address)))
        .ok_or_else(|| unavailable("the metadata has no `jwks_uri` that may be asked"))
}

/// RFC 8414 inserted, OpenID Connect inserted, OpenID Connect appended; an issuer without a path has only the first two.
pub(super) fn addresses(issuer: &str) -> Vec<Url> {
    let Ok(url) = Url::parse(issuer) else { return Vec::new() };
    let path = url.path().trim_end_matches('/').to_owned();
    let mut paths = vec![
        format!("/.well-known/oauth-authorization-server{path}"),
        format!("/.well-known/openid-configuration{path}"),
    ];
    if !path.is_empty() {
        paths.push(format!("{path}/.well-known/openid-configuration"));
    }
    let at = |path: String| {
        let mut url = url.clone();
        url.set_path(&path);
        url
    };
    paths.into_iter().map(at).collect()
}

fn unavailable(detail: impl Into<String>) -> Failed {
    Failed::new(ProofFailure::IssuerUnavailable, detail)
}
