//! The other end of a connection: what stays the same for all of its requests, found out once before the first of them. What one request
//! says about itself, such as the forwarding headers of a proxy, is no part of it (see `proxies.rs`).

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, OnceLock};

use portcullis_core::clock::Timestamp;
use portcullis_core::refusal::{Denial, DenialCode, ProofFailure};
use tokio_util::sync::CancellationToken;

use crate::answer::gateway_denial;
use crate::proxies::{Proxies, Via};
use crate::websocket::Accepted;

/// Who is at the other end of a connection, as far as the connection itself tells.
#[derive(Debug)]
pub(crate) struct Peer {
    /// Where the connection comes from: as the socket says or, where a trusted load balancer put a PROXY header in front, as that says.
    pub(crate) address: SocketAddr,
    /// What its TLS handshake with us proved; `None` without TLS.
    proven: Option<Proven>,
    /// It is a proxy of ours: its forwarding headers count.
    pub(crate) is_proxy: bool,
    /// What its first request made of all this, for the next ones, which nearly always name the same host.
    pub(crate) seen: OnceLock<Via>,
    /// A handshake that was answered with 101: what the connection becomes when HTTP has ended.
    pub(crate) upgraded: Mutex<Option<Accepted>>,
}

/// What a TLS handshake proved.
#[derive(Clone, Debug)]
pub(crate) struct Proven {
    /// Verified against the configured authorities.
    pub(crate) certificate: Option<Arc<ClientCertificate>>,
    /// Fires when those are not the configured ones any more.
    pub(crate) trust: CancellationToken,
}

/// A client certificate that was verified.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ClientCertificate {
    /// As RFC 4514 writes it, most specific part first; empty if it has none.
    pub(crate) subject: String,
    /// Subject alternative names, in the order of the certificate.
    pub(crate) dns: Vec<String>,
    pub(crate) uris: Vec<String>,
    pub(crate) emails: Vec<String>,
    /// Its SPIFFE id, which it has if exactly one URI names one (X.509-SVID §2).
    pub(crate) spiffe: Option<String>,
    /// SHA-256 of the certificate: what tokens are bound to (`x5t#S256`, RFC 8705 §3.1).
    pub(crate) thumbprint: [u8; 32],
    /// A connection can outlive its certificate; requests after this prove nothing by it.
    pub(crate) expires: Timestamp,
}

impl Peer {
    pub(crate) fn new(proxies: &Proxies, address: SocketAddr, proven: Option<Proven>) -> Arc<Self> {
        // A dual-stack socket shows IPv4 peers as IPv6 addresses; no list of networks or policy should have to know.
        let address = SocketAddr::new(address.ip().to_canonical(), address.port());
        let is_proxy = proxies.trusts(address.ip());
        Arc::new(Self { address, proven, is_proxy, seen: OnceLock::new(), upgraded: Mutex::default() })
    }

    /// The connection is TLS, and it ends here.
    pub(crate) const fn is_secure(&self) -> bool {
        self.proven.is_some()
    }

    /// What a request on this connection may prove itself by. Asked for each, because a connection can outlive its certificate and the
    /// authority that signed it.
    ///
    /// # Errors
    /// There is one, and it proves nothing any more: who relied on it is refused, and not taken for somebody who never had one.
    pub(crate) fn certificate(&self, now: Timestamp) -> Result<Option<&Arc<ClientCertificate>>, Denial> {
        let Some(Proven { certificate: Some(certificate), trust }) = &self.proven else { return Ok(None) };
        let ended = match () {
            () if now > certificate.expires => "the client certificate has expired since the handshake",
            () if trust.is_cancelled() => "the authorities have changed since the handshake",
            () => return Ok(Some(certificate)),
        };
        let code = DenialCode::Proof(ProofFailure::CertificateRequired);
        Err(gateway_denial(code, "the client certificate is no longer valid; connect again", ended))
    }
}
