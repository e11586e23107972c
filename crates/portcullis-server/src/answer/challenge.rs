//! What a client has to prove, in headers (F5, F14, F15; RFC 6750 §3, RFC 9449 §7.1 and §9, RFC 9728 §5.1).

use http::StatusCode;
use http::header::{HeaderName, HeaderValue, RETRY_AFTER, WWW_AUTHENTICATE};
use portcullis_core::refusal::{Challenge, ProofFailure};

use crate::fields::DPOP_NONCE;

/// 400 for what cannot be read, 403 for what is proven and not enough, 503 for what nobody can tell, otherwise 401 (F5).
pub(super) const fn status(failure: ProofFailure) -> StatusCode {
    match failure {
        ProofFailure::CredentialsMalformed
        | ProofFailure::TokenInQuery
        | ProofFailure::ForwardedInvalid
        | ProofFailure::SignatureMalformed
        | ProofFailure::ChainMalformed
        | ProofFailure::DigestMismatch => StatusCode::BAD_REQUEST,
        ProofFailure::KeyElsewhere
        | ProofFailure::InsufficientScope
        | ProofFailure::ChainUnsigned
        | ProofFailure::ChainKey
        | ProofFailure::ChainInvalid
        | ProofFailure::ChainLink
        | ProofFailure::ChainStale
        | ProofFailure::ChainTooDeep
        | ProofFailure::ChainLoop
        | ProofFailure::ChainDenied => StatusCode::FORBIDDEN,
        ProofFailure::IssuerUnavailable | ProofFailure::ReplayUnknown => StatusCode::SERVICE_UNAVAILABLE,
        ProofFailure::KeyExpired
        | ProofFailure::CertificateRequired
        | ProofFailure::TokenMalformed
        | ProofFailure::TokenTooLarge
        | ProofFailure::TokenType
        | ProofFailure::TokenAlgorithm
        | ProofFailure::TokenIssuer
        | ProofFailure::TokenKey
        | ProofFailure::TokenSignature
        | ProofFailure::TokenAudience
        | ProofFailure::TokenExpired
        | ProofFailure::TokenEarly
        | ProofFailure::TokenClaims
        | ProofFailure::TokenInactive
        | ProofFailure::DpopRequired
        | ProofFailure::DpopInvalid
        | ProofFailure::DpopStale
        | ProofFailure::DpopReplayed
        | ProofFailure::DpopNonce
        | ProofFailure::AgentInvalid
        | ProofFailure::SignatureRequired
        | ProofFailure::SignatureKey
        | ProofFailure::SignatureInvalid
        | ProofFailure::SignatureStale
        | ProofFailure::SignatureReplayed => StatusCode::UNAUTHORIZED,
    }
}

/// The headers of an answer with `status`. A 401 always has a challenge (RFC 9110 §15.5.2).
pub(super) fn headers(status: StatusCode, challenge: Option<&Challenge>) -> Vec<(HeaderName, HeaderValue)> {
    let mut headers = Vec::new();
    if status == StatusCode::SERVICE_UNAVAILABLE {
        headers.push((RETRY_AFTER, HeaderValue::from_static("5")));
    }
    let bare = Challenge::default();
    let challenge = match challenge {
        Some(challenge) => challenge,
        None if status == StatusCode::UNAUTHORIZED => &bare,
        None => return headers,
    };
    // What the operator configured is visible ASCII; should it not be, the bare scheme still says what is missing.
    let value = HeaderValue::try_from(text(challenge));
    headers.push((WWW_AUTHENTICATE, value.unwrap_or_else(|_| HeaderValue::from_static("Bearer"))));
    if let Some(nonce) = challenge.nonce.as_deref().and_then(|nonce| HeaderValue::from_str(nonce).ok()) {
        headers.push((DPOP_NONCE.clone(), nonce));
    }
    headers
}

fn text(challenge: &Challenge) -> String {
    let mut text = String::from(if challenge.dpop { "DPoP" } else { "Bearer" });
    let mut separator = ' ';
    let mut parameter = |name: &str, value: &str| {
        text.push(separator);
        separator = ',';
        text.push_str(name);
        text.push_str("=\"");
        // A quoted-string (RFC 9110 §5.6.4); scopes and URLs hold neither, a careless configuration might.
        for letter in value.chars().filter(|letter| !letter.is_control()) {
            if matches!(letter, '"' | '\\') {
                text.push('\\');
            }
            text.push(letter);
        }
        text.push('"');
    };
    if let Some(error) = challenge.error {
        parameter("error", error);
    }
    if !challenge.scopes.is_empty() {
        parameter("scope", &challenge.scopes.join(" "));
    }
    if let Some(metadata) = &challenge.metadata {
        parameter("resource_metadata", metadata);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::{headers, status};
    use http::StatusCode;
    use portcullis_core::refusal::{Challenge, ProofFailure};

    #[test]
    fn every_failure_of_a_proof_refuses() {
        for failure in ProofFailure::ALL {
            assert!(status(*failure).is_client_error() || status(*failure).is_server_error(), "{failure:?}");
        }
    }

    #[test]
    fn a_challenge_names_error_scopes_and_metadata_as_f14_and_f15_say() {
        let challenge = Challenge {
            dpop: false,
            error: Some("insufficient_scope"),
            scopes: vec!["files:read".into(), "files:write".into()],
            metadata: Some("https://gateway.example/.well-known/oauth-protected-resource/mcp".into()),
            nonce: None,
        };
        let headers = headers(StatusCode::FORBIDDEN, Some(&challenge));
        let expected = r#"Bearer error="insufficient_scope",scope="files:read files:write",resource_metadata="https://gateway.example/.well-known/oauth-protected-resource/mcp""#;
        assert_eq!(headers, [(http::header::WWW_AUTHENTICATE, expected.parse().unwrap())]);
    }

    #[test]
    fn a_401_without_credentials_has_a_challenge_without_an_error() {
        assert_eq!(
            headers(StatusCode::UNAUTHORIZED, None),
            [(http::header::WWW_AUTHENTICATE, "Bearer".parse().unwrap())]
        );
        assert_eq!(headers(StatusCode::BAD_REQUEST, None), []);
    }

    #[test]
    fn a_quote_in_the_configuration_does_not_end_the_value() {
        let challenge = Challenge { dpop: true, metadata: Some("a\"b\\c\r\nd".into()), ..Challenge::default() };
        let headers = headers(StatusCode::UNAUTHORIZED, Some(&challenge));
        assert_eq!(headers[0].1, r#"DPoP resource_metadata="a\"b\\cd""#);
    }
}
