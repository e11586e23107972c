//! A proof that is not good, as a refusal: what the client reads, what it is asked for instead (F5, F14, F15), and what only the log says.

use std::sync::Arc;

use portcullis_core::refusal::{Challenge, Denial, DenialCode, ProofFailure};
use portcullis_identity::Failed;

use crate::answer::gateway_denial;

/// What clients are asked for.
#[derive(Clone, Debug)]
pub(super) struct Challenges {
    /// Where the metadata is (RFC 9728 §5.1). Without it there are no tokens here.
    pub(super) metadata: Option<Arc<str>>,
    /// Scopes that every request needs.
    pub(super) scopes: Vec<String>,
    /// Every token must be bound to a key.
    pub(super) dpop: bool,
    /// Certificates are the only way in.
    pub(super) certificates_only: bool,
}

impl Challenges {
    /// Nothing was shown, or something that says nothing to us.
    pub(super) fn unauthenticated(&self, detail: &str) -> Denial {
        if self.certificates_only {
            return self.failed(Failed::new(ProofFailure::CertificateRequired, detail), None);
        }
        let public = if self.metadata.is_some() {
            "a valid access token is required: `authorization: Bearer TOKEN`"
        } else {
            "a valid API key is required: `authorization: Bearer KEY`"
        };
        Denial { challenge: Some(self.challenge(None)), ..gateway_denial(DenialCode::Unauthenticated, public, detail) }
    }

    /// A bearer credential that is no key, where there are no tokens.
    pub(super) fn unknown(&self, detail: &str) -> Denial {
        let mut denial = self.unauthenticated(detail);
        if let Some(challenge) = &mut denial.challenge {
            challenge.error = Some("invalid_token");
        }
        denial
    }

    /// `nonce` for `DPoP-Nonce`, where there are such.
    pub(super) fn failed(&self, failed: Failed, nonce: Option<String>) -> Denial {
        let Failed { failure, detail } = failed;
        let mut denial = gateway_denial(DenialCode::Proof(failure), public(failure), detail);
        if let Some(error) = error(failure) {
            let mut challenge = self.challenge(Some(error));
            challenge.dpop |= is_about_possession(failure);
            challenge.nonce = nonce;
            denial.challenge = Some(challenge);
        }
        denial
    }

    /// One challenge with all scopes of the operation (F15).
    pub(super) fn insufficient(&self, scopes: Vec<String>) -> Denial {
        let detail = format!("needs the scopes {}", scopes.join(" "));
        let mut denial = self.failed(Failed::new(ProofFailure::InsufficientScope, detail), None);
        if let Some(challenge) = &mut denial.challenge {
            challenge.scopes = scopes;
        }
        denial
    }

    fn challenge(&self, error: Option<&'static str>) -> Box<Challenge> {
        let (scopes, metadata) = (self.scopes.clone(), self.metadata.clone());
        Box::new(Challenge { dpop: self.dpop, error, scopes, metadata, nonce: None })
    }
}

/// What RFC 6750 §3.1 and RFC 9449 §7.1 call it. `None`: no other token would help, so that none is asked for.
fn error(failure: ProofFailure) -> Option<&'static str> {
    match failure {
        ProofFailure::CredentialsMalformed | ProofFailure::TokenInQuery => Some("invalid_request"),
        ProofFailure::InsufficientScope => Some("insufficient_scope"),
        ProofFailure::DpopNonce => Some("use_dpop_nonce"),
        ProofFailure::DpopInvalid | ProofFailure::DpopStale | ProofFailure::DpopReplayed => Some("invalid_dpop_proof"),
        ProofFailure::KeyExpired | ProofFailure::DpopRequired => Some("invalid_token"),
        // Whatever else is wrong with a token has a code that begins so.
        failure if failure.as_str().starts_with("token_") => Some("invalid_token"),
        _ => None,
    }
}

const fn is_about_possession(failure: ProofFailure) -> bool {
    matches!(
        failure,
        ProofFailure::DpopRequired
            | ProofFailure::DpopInvalid
            | ProofFailure::DpopStale
            | ProofFailure::DpopReplayed
            | ProofFailure::DpopNonce
    )
}

/// Says what kind of proof is meant and never what is wrong with a secret part of it.
const fn public(failure: ProofFailure) -> &'static str {
    match failure {
        ProofFailure::CredentialsMalformed => "the credentials cannot be read; send one, in one header",
        ProofFailure::TokenInQuery => {
            "a token in the query string is not accepted; send it as `authorization: Bearer TOKEN`"
        }
        ProofFailure::KeyExpired => "this API key has expired",
        ProofFailure::KeyElsewhere => "this API key is not for this server",
        ProofFailure::CertificateRequired => "a client certificate that this server knows is required",
        ProofFailure::TokenExpired => "the access token has expired",
        ProofFailure::TokenAudience => "the access token is not for this server",
        ProofFailure::TokenMalformed
        | ProofFailure::TokenTooLarge
        | ProofFailure::TokenType
        | ProofFailure::TokenAlgorithm
        | ProofFailure::TokenIssuer
        | ProofFailure::TokenKey
        | ProofFailure::TokenSignature
        | ProofFailure::TokenEarly
        | ProofFailure::TokenClaims
        | ProofFailure::TokenInactive => "the access token is not valid here",
        ProofFailure::IssuerUnavailable => "the token cannot be checked at the moment; try again later",
        ProofFailure::InsufficientScope => "the access token lacks a scope that this needs",
        ProofFailure::DpopRequired => "the access token must be bound to a key and shown with a DPoP proof",
        ProofFailure::DpopInvalid => "the DPoP proof is not for this request, this key or this token",
        ProofFailure::DpopStale => "the DPoP proof is too old or from the future",
        ProofFailure::DpopReplayed => "the DPoP proof was used before",
        ProofFailure::DpopNonce => "the DPoP proof needs the nonce in `dpop-nonce`",
        ProofFailure::AgentInvalid => "`x-agent-identity` is not valid here",
        ProofFailure::ForwardedInvalid => "the forwarding headers cannot be read",
        ProofFailure::SignatureRequired => "the request must be signed (RFC 9421)",
        ProofFailure::SignatureMalformed => "the signature cannot be read, or covers too little",
        ProofFailure::SignatureKey | ProofFailure::SignatureInvalid => {
            "the signature is not one that this server knows"
        }
        ProofFailure::SignatureStale => "the signature is too old or from the future",
        ProofFailure::SignatureReplayed => "the signature was used before",
        ProofFailure::DigestMismatch => "`content-digest` is not that of the body",
        ProofFailure::ReplayUnknown => "whether this was used before cannot be told at the moment; try again later",
        // Which entry is wrong, and why, is for the log alone.
        ProofFailure::ChainMalformed
        | ProofFailure::ChainUnsigned
        | ProofFailure::ChainKey
        | ProofFailure::ChainInvalid
        | ProofFailure::ChainLink
        | ProofFailure::ChainStale
        | ProofFailure::ChainTooDeep
        | ProofFailure::ChainLoop
        | ProofFailure::ChainDenied => "the call chain in `x-upstream-agents` is not accepted",
    }
}
