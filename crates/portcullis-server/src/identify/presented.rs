//! What a request shows of its caller, before anybody looks whether it is good: at most one credential, in a header (F4, F5).

use http::header::AUTHORIZATION;
use http::{HeaderMap, HeaderValue, Uri};
use portcullis_core::refusal::ProofFailure;
use portcullis_identity::Failed;
use portcullis_identity::dpop::Scheme;
use url::form_urlencoded;

use crate::fields::API_KEY;

/// One credential, unverified.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Presented<'a> {
    Nothing,
    /// `X-API-Key`: nothing but an API key.
    Key(&'a str),
    /// `Authorization`: with `Bearer` an API key or a token, with `DPoP` a token.
    Token(Scheme, &'a str),
    /// `Authorization` by a scheme that nobody here knows.
    Foreign,
}

/// # Errors
/// Several credentials, one that cannot be read, or a token in the query.
pub(super) fn presented<'a>(uri: &Uri, headers: &'a HeaderMap) -> Result<Presented<'a>, Failed> {
    if uri.query().is_some_and(|query| form_urlencoded::parse(query.as_bytes()).any(|(name, _)| name == "access_token"))
    {
        return Err(Failed::new(ProofFailure::TokenInQuery, "`access_token` in the query"));
    }
    let mut tokens = headers.get_all(AUTHORIZATION).iter();
    let mut keys = headers.get_all(&API_KEY).iter();
    match (tokens.next(), tokens.next(), keys.next(), keys.next()) {
        (None, _, None, _) => Ok(Presented::Nothing),
        (Some(value), None, None, _) => authorization(value),
        (None, _, Some(value), None) => visible(value.to_str().ok().map(str::trim)).map(Presented::Key),
        _ => Err(malformed("more than one credential")),
    }
}

fn authorization(value: &HeaderValue) -> Result<Presented<'_>, Failed> {
    let text = value.to_str().map_err(|_| malformed("`authorization` is not ASCII"))?;
    let (scheme, credential) = text.split_once(' ').unwrap_or((text, ""));
    let scheme = match scheme {
        scheme if scheme.eq_ignore_ascii_case("bearer") => Scheme::Bearer,
        scheme if scheme.eq_ignore_ascii_case("dpop") => Scheme::Dpop,
        _ => return Ok(Presented::Foreign),
    };
    Ok(Presented::Token(scheme, visible(Some(credential.trim()))?))
}

/// One word, or two readers could see two credentials.
fn visible(text: Option<&str>) -> Result<&str, Failed> {
    let word = text.filter(|text| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_graphic()));
    word.ok_or_else(|| malformed("a credential that is no single word of visible ASCII"))
}

fn malformed(detail: &str) -> Failed {
    Failed::new(ProofFailure::CredentialsMalformed, detail)
}

#[cfg(test)]
mod tests {
    use http::{HeaderMap, Uri};
    use portcullis_core::refusal::ProofFailure;
    use portcullis_identity::dpop::Scheme;

    use super::{Presented, presented};

    fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            headers.append(*name, value.parse().unwrap());
        }
        headers
    }

    #[test]
    fn f5_several_credentials_and_unreadable_ones_are_no_credential() {
        for bad in [
            &[("authorization", "Bearer one"), ("authorization", "Bearer two")][..],
            &[("authorization", "Bearer one"), ("x-api-key", "one")],
            &[("x-api-key", "one"), ("x-api-key", "one")],
            &[("authorization", "Bearer")],
            &[("authorization", "Bearer ")],
            &[("authorization", "Bearer one two")],
            &[("authorization", "Bearer one,Bearer two, three")],
            &[("authorization", "DPoP")],
            &[("authorization", "Bearer \u{e9}")],
            &[("x-api-key", "")],
        ] {
            let failed = presented(&Uri::from_static("/mcp"), &headers(bad)).unwrap_err();
            assert_eq!(failed.failure, ProofFailure::CredentialsMalformed, "{bad:?}");
        }
    }

    #[test]
    fn f4_a_token_in_the_query_is_refused_however_its_name_is_written() {
        for query in ["access_token=a", "x=1&access_token=", "access%5Ftoken=a", "access_token"] {
            let uri: Uri = format!("/mcp?{query}").parse().unwrap();
            let failed = presented(&uri, &headers(&[("authorization", "Bearer one")])).unwrap_err();
            assert_eq!(failed.failure, ProofFailure::TokenInQuery, "{query}");
        }
        assert!(presented(&Uri::from_static("/mcp?token=a"), &HeaderMap::new()).is_ok());
    }

    #[test]
    fn a_credential_is_what_its_header_and_scheme_say() {
        let found = |pairs| presented(&Uri::from_static("/mcp"), Box::leak(Box::new(headers(pairs)))).unwrap();
        assert_eq!(found(&[]), Presented::Nothing);
        assert_eq!(found(&[("x-api-key", " key ")]), Presented::Key("key"));
        assert_eq!(found(&[("authorization", "bearer  a.b.c")]), Presented::Token(Scheme::Bearer, "a.b.c"));
        assert_eq!(found(&[("authorization", "DPoP a.b.c")]), Presented::Token(Scheme::Dpop, "a.b.c"));
        assert_eq!(found(&[("authorization", "Basic YTpi")]), Presented::Foreign);
        assert_eq!(found(&[("authorization", "Basic")]), Presented::Foreign);
    }
}
