//! Access tokens at this gateway: verified by their issuer's keys, then held to what they are bound to (a key, a certificate), for this very
//! request.

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::HeaderMap;
use portcullis_core::clock::Timestamp;
use portcullis_core::memory::Memory;
use portcullis_core::refusal::ProofFailure;
use portcullis_identity::Failed;
use portcullis_identity::dpop::{DpopMode, DpopSettings, DpopVerifier, Proven, Scheme};
use portcullis_identity::fetch::Fetcher;
use portcullis_identity::token::{DpopOffer, OAuthSettings, TokenVerifier, VerifiedToken};

use super::metadata::Metadata;
use super::scopes::ScopeMap;
use crate::peer::ClientCertificate;

/// Everything about tokens.
#[derive(Debug)]
pub(super) struct Tokens {
    verifier: TokenVerifier,
    dpop: DpopVerifier,
    pub(super) mode: DpopMode,
    /// Our own URL, for `htu`.
    address: String,
    /// Milliseconds after `exp` for which a token is taken.
    pub(super) grace: u64,
    pub(super) scopes: ScopeMap,
    pub(super) metadata: Metadata,
}

/// One token as a request shows it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Shown<'a> {
    pub(super) token: &'a str,
    pub(super) scheme: Scheme,
    pub(super) method: &'a str,
    pub(super) headers: &'a HeaderMap,
    pub(super) certificate: Option<&'a ClientCertificate>,
}

impl Tokens {
    /// `address`: our URL as clients write it. `path`: that of the endpoint.
    ///
    /// # Errors
    /// Settings that contradict themselves or cannot be used; names the key.
    pub(super) fn new(
        oauth: &OAuthSettings,
        dpop: &DpopSettings,
        address: &str,
        path: &str,
        fetcher: Fetcher,
        earlier: Option<&Self>,
    ) -> Result<Self, String> {
        let mut verifier = TokenVerifier::new(oauth, fetcher)?;
        if let Some(earlier) = earlier {
            verifier.inherit(&earlier.verifier);
        }
        let proofs = DpopVerifier::new(dpop)?;
        let algorithms: Vec<&str> = proofs.algorithms().collect();
        let offer = DpopOffer { required: dpop.mode == DpopMode::Required, algorithms: &algorithms };
        let document = verifier.metadata_json((dpop.mode != DpopMode::Off).then_some(offer));
        let metadata = Metadata::new(&oauth.resource, path, document)?;
        let (mode, grace) = (dpop.mode, oauth.clock_skew_seconds.saturating_mul(1000));
        let scopes = ScopeMap::new(&oauth.scopes);
        Ok(Self { verifier, dpop: proofs, mode, address: address.to_owned(), grace, scopes, metadata })
    }

    /// # Errors
    /// Why the token proves nothing here.
    pub(super) async fn verify(
        &self,
        shown: Shown<'_>,
        now: Timestamp,
        memory: &dyn Memory,
    ) -> Result<Arc<VerifiedToken>, Failed> {
        let Shown { token, scheme, method, headers, certificate } = shown;
        let verified = self.verifier.verify(token, now).await?;
        let bound = verified.jkt.as_deref();
        let proof = self.dpop.proof(headers)?;
        let proven = match (scheme, proof) {
            // The token's owner has no reason to prove anything for a token that is bound to nothing.
            (Scheme::Dpop, Some(proof)) if bound.is_some() => {
                Some(self.dpop.verify(proof, method, &self.address, token, now)?)
            }
            _ => None,
        };
        self.dpop.bound(scheme, bound, proven.as_ref().map(Proven::thumbprint))?;
        if let Some(expected) = &verified.x5t {
            let shown = certificate.map(|certificate| URL_SAFE_NO_PAD.encode(certificate.thumbprint));
            if shown.as_ref() != Some(expected) {
                let detail = "the token is bound to another certificate than the connection's";
                return Err(Failed::new(ProofFailure::CertificateRequired, detail));
            }
        }
        // Last, so that nobody fills the memory of proofs with those of other keys.
        if let Some(proven) = proven {
            proven.spend(memory).await?;
        }
        Ok(verified)
    }

    /// For `DPoP-Nonce`.
    pub(super) fn nonce(&self, now: Timestamp) -> Option<String> {
        self.dpop.nonce(now)
    }
}
