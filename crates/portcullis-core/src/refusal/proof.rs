//! What can be wrong with a proof, and what a client is asked to prove instead.

use std::sync::Arc;

/// What stands in `WWW-Authenticate` (RFC 6750 §3, RFC 9449 §7.1).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Challenge {
    /// `DPoP` instead of `Bearer`.
    pub dpop: bool,
    /// `error`; absent when no credentials were sent (RFC 6750 §3.1).
    pub error: Option<&'static str>,
    /// All scopes of the operation (F15, F16).
    pub scopes: Vec<String>,
    /// Address of the protected resource's metadata (RFC 9728 §5.1).
    pub metadata: Option<Arc<str>>,
    /// For `DPoP-Nonce` (RFC 9449 §9).
    pub nonce: Option<String>,
}

/// What is wrong with a proof; one per behaviour, stable.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ProofFailure {
    /// The `Authorization` header cannot be read, or there are several credentials (400, F5).
    CredentialsMalformed,
    /// A token in the query string (400, F4).
    TokenInQuery,
    /// An API key after its expiry.
    KeyExpired,
    /// An API key that is not for this server.
    KeyElsewhere,
    /// The caller must show a client certificate, or the token is bound to another one.
    CertificateRequired,
    /// No JWT where nothing else can be read, or one that cannot be read one way only.
    TokenMalformed,
    /// A token over the size limit.
    TokenTooLarge,
    /// `typ` is not what a token of this kind has (RFC 9068 §4).
    TokenType,
    /// An algorithm that is not on the allow-list, `none` included, or not the key's.
    TokenAlgorithm,
    /// An issuer that is not configured.
    TokenIssuer,
    /// No key of the issuer has this `kid`.
    TokenKey,
    /// The token's signature does not verify.
    TokenSignature,
    /// Issued for somebody else (F3).
    TokenAudience,
    /// After `exp`.
    TokenExpired,
    /// Before `nbf`, or issued in the future.
    TokenEarly,
    /// A claim is missing, of the wrong type, or given twice.
    TokenClaims,
    /// Introspection says that the token is not active.
    TokenInactive,
    /// The issuer's keys or its introspection cannot be had, so nobody can tell (503).
    IssuerUnavailable,
    /// More scope would help (403, F15).
    InsufficientScope,
    /// The proof of possession is missing, or a bound token is presented as a bearer token.
    DpopRequired,
    /// The DPoP proof is not for this request, this key or this token.
    DpopInvalid,
    /// The DPoP proof's `iat` is outside of the window.
    DpopStale,
    /// The DPoP proof was used before.
    DpopReplayed,
    /// The DPoP proof lacks the server's nonce.
    DpopNonce,
    /// `X-Agent-Identity` does not verify.
    AgentInvalid,
    /// A trusted proxy's forwarding headers cannot be read one way only.
    ForwardedInvalid,
    /// The request must be signed and is not.
    SignatureRequired,
    /// The signature headers cannot be read, or cover too little.
    SignatureMalformed,
    /// Signed with a key that is not configured.
    SignatureKey,
    /// The request's signature does not verify.
    SignatureInvalid,
    /// Created too long ago or in the future, or expired.
    SignatureStale,
    /// The nonce was used before.
    SignatureReplayed,
    /// `Content-Digest` is not the body's.
    DigestMismatch,
    /// The store of used nonces is full, so nobody can tell (503).
    ReplayUnknown,
    /// `X-Upstream-Agents` cannot be read, or is too large.
    ChainMalformed,
    /// An entry without a signature, and the configuration does not accept that.
    ChainUnsigned,
    /// An entry signed with a key that is not configured for its gateway.
    ChainKey,
    /// An entry's signature does not verify.
    ChainInvalid,
    /// An entry does not follow from the one before it, is not for us, or is not for this request.
    ChainLink,
    /// An entry's time is too old, in the future, or before that of the one ahead of it.
    ChainStale,
    /// More hops than the configuration allows.
    ChainTooDeep,
    /// The same agent or gateway twice, or an agent that delegates to itself.
    ChainLoop,
    /// The caller may, but an agent in the chain may not.
    ChainDenied,
}

impl ProofFailure {
    /// All of them, for tables and tests.
    pub const ALL: &[Self] = &[
        Self::CredentialsMalformed,
        Self::TokenInQuery,
        Self::KeyExpired,
        Self::KeyElsewhere,
        Self::CertificateRequired,
        Self::TokenMalformed,
        Self::TokenTooLarge,
        Self::TokenType,
        Self::TokenAlgorithm,
        Self::TokenIssuer,
        Self::TokenKey,
        Self::TokenSignature,
        Self::TokenAudience,
        Self::TokenExpired,
        Self::TokenEarly,
        Self::TokenClaims,
        Self::TokenInactive,
        Self::IssuerUnavailable,
        Self::InsufficientScope,
        Self::DpopRequired,
        Self::DpopInvalid,
        Self::DpopStale,
        Self::DpopReplayed,
        Self::DpopNonce,
        Self::AgentInvalid,
        Self::ForwardedInvalid,
        Self::SignatureRequired,
        Self::SignatureMalformed,
        Self::SignatureKey,
        Self::SignatureInvalid,
        Self::SignatureStale,
        Self::SignatureReplayed,
        Self::DigestMismatch,
        Self::ReplayUnknown,
        Self::ChainMalformed,
        Self::ChainUnsigned,
        Self::ChainKey,
        Self::ChainInvalid,
        Self::ChainLink,
        Self::ChainStale,
        Self::ChainTooDeep,
        Self::ChainLoop,
        Self::ChainDenied,
    ];

    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::CredentialsMalformed => "credentials_malformed",
            Self::TokenInQuery => "token_in_query",
            Self::KeyExpired => "key_expired",
            Self::KeyElsewhere => "key_elsewhere",
            Self::CertificateRequired => "certificate_required",
            Self::TokenMalformed => "token_malformed",
            Self::TokenTooLarge => "token_too_large",
            Self::TokenType => "token_type",
            Self::TokenAlgorithm => "token_algorithm",
            Self::TokenIssuer => "token_issuer",
            Self::TokenKey => "token_key",
            Self::TokenSignature => "token_signature",
            Self::TokenAudience => "token_audience",
            Self::TokenExpired => "token_expired",
            Self::TokenEarly => "token_early",
            Self::TokenClaims => "token_claims",
            Self::TokenInactive => "token_inactive",
            Self::IssuerUnavailable => "issuer_unavailable",
            Self::InsufficientScope => "insufficient_scope",
            Self::DpopRequired => "dpop_required",
            Self::DpopInvalid => "dpop_invalid",
            Self::DpopStale => "dpop_stale",
            Self::DpopReplayed => "dpop_replayed",
            Self::DpopNonce => "dpop_nonce",
            Self::AgentInvalid => "agent_invalid",
            Self::ForwardedInvalid => "forwarded_invalid",
            Self::SignatureRequired => "signature_required",
            Self::SignatureMalformed => "signature_malformed",
            Self::SignatureKey => "signature_key",
            Self::SignatureInvalid => "signature_invalid",
            Self::SignatureStale => "signature_stale",
            Self::SignatureReplayed => "signature_replayed",
            Self::DigestMismatch => "digest_mismatch",
            Self::ReplayUnknown => "replay_unknown",
            Self::ChainMalformed => "chain_malformed",
            Self::ChainUnsigned => "chain_unsigned",
            Self::ChainKey => "chain_key",
            Self::ChainInvalid => "chain_invalid",
            Self::ChainLink => "chain_link",
            Self::ChainStale => "chain_stale",
            Self::ChainTooDeep => "chain_too_deep",
            Self::ChainLoop => "chain_loop",
            Self::ChainDenied => "chain_denied",
        }
    }
}
