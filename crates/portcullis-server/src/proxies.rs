//! The proxies in front of us: which peers are ours, and what their forwarding headers say about a request. Nobody else's are read.
//!
//! Headers are followed from the right, hop by hop, as long as the hop that speaks is trusted: what is further left was written by somebody
//! we do not know.

mod forwarded;

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

use http::{HeaderMap, Uri};
use ipnet::IpNet;
use portcullis_core::proofs::{Client, Proofs};
use portcullis_core::refusal::{DenialCode, ProofFailure, Violation};

use self::forwarded::{Told, forwarded, x_forwarded};
use crate::answer::{Refusal, gateway_denial};
use crate::authority::Authority;
use crate::peer::Peer;

/// The networks whose forwarding headers count.
#[derive(Clone, Debug, Default)]
pub(crate) struct Proxies {
    networks: Vec<IpNet>,
}

/// Where one request came from, as far as trusted hops tell. Made only by the code that knows which hops are trusted:
///
/// ```compile_fail,E0423
/// let forged = portcullis_server::Via(std::sync::Arc::new(()));
/// ```
#[derive(Clone)]
pub struct Via(Arc<Seen>);

struct Seen {
    /// `host[:port]` that the client asked for.
    authority: Box<str>,
    /// The nearest hop, where that was a trusted proxy which spoke for somebody else.
    proxy: Option<IpAddr>,
    proofs: Arc<Proofs>,
}

impl fmt::Debug for Via {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Via").field("client", self.client()).field("proxy", &self.0.proxy).finish_non_exhaustive()
    }
}

impl Via {
    fn new(asked: Authority<'_>, address: IpAddr, secure: bool, proxy: Option<IpAddr>) -> Self {
        let host = Some(Arc::from(asked.host));
        let client = Client { address: Some(address), secure, host, via_proxy: proxy.is_some() };
        let proofs = Arc::new(Proofs { client, ..Proofs::default() });
        Self(Arc::new(Seen { authority: asked.text.into(), proxy, proofs }))
    }

    /// What is known of the client by the way it took.
    #[must_use]
    pub fn client(&self) -> &Client {
        &self.0.proofs.client
    }

    /// The trusted proxy that spoke for the client.
    #[must_use]
    pub fn proxy(&self) -> Option<IpAddr> {
        self.0.proxy
    }

    /// The proofs of a request that proves nothing but where it came from. Shared by the requests of a connection.
    pub(crate) fn proofs(&self) -> &Arc<Proofs> {
        &self.0.proofs
    }

    /// The URL the client asked for (RFC 9421 `@target-uri`, RFC 9449 `htu`), as far as the hops tell.
    pub(crate) fn url(&self, uri: &Uri) -> String {
        let scheme = if self.client().secure { "https" } else { "http" };
        let target = uri.path_and_query().map_or("/", |target| target.as_str());
        format!("{scheme}://{}{target}", self.0.authority)
    }
}

impl Proxies {
    /// Reads networks in CIDR form; a bare address is a network of one.
    ///
    /// # Errors
    /// Not a network, bits beyond the prefix, or everybody.
    pub(crate) fn new(written: &[String]) -> Result<Self, String> {
        let networks: Result<Vec<IpNet>, String> = written.iter().map(|text| network(text)).collect();
        networks.map(|networks| Self { networks }).map_err(|why| format!("trusted_proxies: {why}"))
    }

    pub(crate) fn trusts(&self, address: IpAddr) -> bool {
        self.networks.iter().any(|network| network.contains(&address))
    }

    /// Where a request came from.
    ///
    /// # Errors
    /// No readable authority, or forwarding headers of a trusted proxy that cannot be read one way only.
    pub(crate) fn via(&self, peer: &Peer, uri: &Uri, headers: &HeaderMap) -> Result<Via, Refusal> {
        let asked = Authority::of_request(uri, headers).ok_or(Violation::HostRefused)?;
        if peer.is_proxy
            && let Some(told) = self.told(headers).map_err(unreadable)?
        {
            let host = told.host.as_deref().map(Authority::parse);
            let asked = host.unwrap_or(Some(asked)).ok_or_else(|| unreadable("the forwarded host is not one"))?;
            return Ok(Via::new(asked, told.address, told.secure, Some(peer.address.ip())));
        }
        let seen = peer.seen.get_or_init(|| Via::new(asked, peer.address.ip(), peer.is_secure(), None));
        if *seen.0.authority == *asked.text {
            return Ok(seen.clone());
        }
        Ok(Via::new(asked, peer.address.ip(), peer.is_secure(), None))
    }

    /// What the headers say; `None` if there are none.
    fn told(&self, headers: &HeaderMap) -> Result<Option<Told>, &'static str> {
        let trusted = |address| self.trusts(address);
        match (forwarded(headers, trusted)?, x_forwarded(headers, trusted)?) {
            // Equal in everything: a proxy that writes one family and passes on the other would let clients fill the gaps.
            (Some(one), Some(other)) if one != other => Err("`forwarded` and `x-forwarded-*` do not say the same"),
            (one, other) => Ok(one.or(other)),
        }
    }
}

fn network(text: &str) -> Result<IpNet, String> {
    let parsed = text.parse::<IpNet>().ok().or_else(|| text.parse::<IpAddr>().ok().map(IpNet::from));
    let network = parsed.ok_or_else(|| format!("`{text}` is neither a network such as `10.0.0.0/8` nor an address"))?;
    if network.prefix_len() == 0 {
        return Err(format!("`{text}` is everybody; name the networks that only your proxies are in"));
    }
    if network.trunc() != network {
        return Err(format!("`{text}` has bits beyond its prefix; write `{}`", network.trunc()));
    }
    Ok(network)
}

fn unreadable(why: &'static str) -> Refusal {
    let code = DenialCode::Proof(ProofFailure::ForwardedInvalid);
    gateway_denial(code, "the forwarding headers cannot be read", why).into()
}

#[cfg(test)]
mod tests;
