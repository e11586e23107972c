//! What a request proved beside who calls: where it came from, which agent speaks for the caller, who signed it, whose hands it went
//! through. Everything here was verified by the *identify* step; what did not verify refused the request and never gets here.

use std::collections::BTreeMap;
use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

use crate::caller::Caller;
use crate::clock::Timestamp;

/// The facts of one request; the same for every message of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Proofs {
    pub client: Client,
    /// `X-Agent-Identity`, beside the caller and never instead of it.
    pub agent: Option<Agent>,
    pub signature: Option<Signature>,
    pub chain: Chain,
    /// The caller's own token, for exchange at an authorization server (RFC 8693) and nothing else.
    pub token: Option<Token>,
}

/// Where the request came from, as far as trusted hops tell.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Client {
    /// Of the first hop that no trusted proxy vouches for. `None`: not by network.
    pub address: Option<IpAddr>,
    /// Whether that hop was reached by TLS.
    pub secure: bool,
    /// Host it asked for, without port.
    pub host: Option<Arc<str>>,
    /// Whether a trusted proxy stood between.
    pub via_proxy: bool,
}

/// A program that acts for the caller, as its own issuer's token says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Agent {
    /// `ISSUER:SUBJECT`, where ISSUER is the configured name of the issuer.
    pub name: String,
    pub issuer: String,
    pub groups: Vec<String>,
    pub attributes: BTreeMap<String, Vec<String>>,
}

/// A verified HTTP message signature (RFC 9421).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Signature {
    pub key_id: Arc<str>,
    /// Whom the configuration says this key speaks for.
    pub workload: Arc<str>,
    /// The key is for one session; otherwise it is persistent.
    pub session_scoped: bool,
    /// The workload runs once and is gone.
    pub ephemeral: bool,
    pub created: Timestamp,
}

/// The hands a request went through before it came here, first hop first (`X-Upstream-Agents`).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Chain {
    pub hops: Vec<Hop>,
}

impl Chain {
    /// Every hop is signed, and every signature verified: by us, or by a gateway that the configuration believes. An empty chain is.
    #[must_use]
    pub fn is_verified(&self) -> bool {
        self.hops.iter().all(|hop| hop.verified)
    }

    /// Agents that are judged beside the caller, with the number of their entry: those that are verified. The others are only words.
    pub fn agents(&self) -> impl Iterator<Item = (usize, &Arc<Caller>)> {
        self.hops.iter().enumerate().filter(|(_, hop)| hop.verified).map(|(at, hop)| (at, &hop.agent))
    }
}

/// One entry of a chain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hop {
    /// The agent as a caller, with the groups and attributes the configuration gives it.
    pub agent: Arc<Caller>,
    /// The gateway that made the entry.
    pub gateway: Arc<str>,
    /// Tool or method it was made for.
    pub target: Arc<str>,
    pub at: Timestamp,
    pub verified: bool,
    /// The entry as it arrived: what the next hop verifies.
    pub raw: Arc<str>,
}

/// A bearer secret that no log shows.
#[derive(Clone, PartialEq, Eq)]
pub struct Token {
    pub secret: Arc<str>,
    /// When it ends: nothing made from it may live longer.
    pub expires: Timestamp,
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Token").field("expires", &self.expires).finish_non_exhaustive()
    }
}
