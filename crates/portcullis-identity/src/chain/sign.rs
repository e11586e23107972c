//! Our own entry, put behind those that came. They are emitted as they arrived: their signatures are over these very bytes.

use std::sync::Arc;

use portcullis_core::clock::Timestamp;
use portcullis_core::proofs::Chain;
use portcullis_core::refusal::ProofFailure;

use super::entry::{Claims, Digest};
use super::keys::{self, Own, SECTION};
use super::settings::ChainSettings;
use super::verify::NOBODY;
use crate::Failed;

/// Makes outgoing chains.
#[derive(Debug)]
pub struct ChainSigner {
    gateway: Option<Arc<str>>,
    keys: Vec<Own>,
    max_bytes: usize,
}

/// What our entry says.
#[derive(Clone, Copy, Debug)]
pub struct NewEntry<'a> {
    /// Who asked us: the verified agent if there is one, else the caller, by name.
    pub agent: &'a str,
    /// The tool that is called, or else the method.
    pub target: &'a str,
    /// The body, exactly as it is sent.
    pub body: &'a [u8],
    /// Name of the gateway that it is sent to.
    pub audience: &'a str,
    pub now: Timestamp,
}

impl ChainSigner {
    /// # Errors
    /// Settings that contradict themselves or keys that cannot be read; the text names the place.
    pub fn new(settings: &ChainSettings) -> Result<Self, String> {
        let gateway = keys::own_name(settings)?.map(Arc::from);
        Ok(Self { gateway, keys: keys::own(settings)?, max_bytes: settings.max_bytes })
    }

    /// Whether entries can be made for that gateway; for the start, so that no request has to find out.
    ///
    /// # Errors
    /// There is no key to sign with.
    pub fn check_audience(&self, audience: &str) -> Result<(), String> {
        match self.key(audience) {
            Some(_) => Ok(()),
            None => Err(format!("{SECTION}.keys: no outgoing key for gateway `{audience}`")),
        }
    }

    /// The header for the next hop: what came, and our entry behind it.
    ///
    /// # Errors
    /// What the next hop would refuse anyway: an agent that is in the chain already, a chain that is too large, a name that is none; and
    /// no key for the audience.
    pub fn append(&self, chain: &Chain, entry: NewEntry<'_>) -> Result<String, Failed> {
        let NewEntry { agent, target, body, audience, now } = entry;
        let (Some(gateway), Some(key)) = (&self.gateway, self.key(audience)) else {
            return Err(Failed::new(ProofFailure::ChainKey, format!("no key to sign with for `{audience}`")));
        };
        let is_again = |hop: &str| hop.strip_prefix("agent:") == Some(agent);
        if agent != NOBODY && chain.hops.iter().any(|hop| is_again(&hop.agent.name)) {
            return Err(Failed::new(ProofFailure::ChainLoop, "who calls is in the chain already"));
        }
        let claims = Claims {
            agent: agent.to_owned(),
            gateway: gateway.to_string(),
            audience: Some(audience.to_owned()),
            seconds: Some(now.0 / 1000),
            target: Some(target.to_owned()),
            request: Some(Digest::of(body)),
            previous: chain.hops.last().map(|hop| Digest::of(hop.raw.as_bytes())),
        };
        let own = claims.seal(key.algorithm(), &key.key_id, |bytes| key.sign(bytes))?;
        let quoted = |raw: &str| if raw.starts_with('{') { raw.to_owned() } else { format!("\"{raw}\"") };
        let mut items: Vec<String> = chain.hops.iter().map(|hop| quoted(&hop.raw)).collect();
        items.push(quoted(&own));
        let header = format!("[{}]", items.join(","));
        if header.len() > self.max_bytes {
            let why = format!("{} bytes with our entry; at most {}", header.len(), self.max_bytes);
            return Err(Failed::new(ProofFailure::ChainTooDeep, why));
        }
        Ok(header)
    }

    fn key(&self, audience: &str) -> Option<&Own> {
        let exact = self.keys.iter().find(|key| key.gateway.as_deref() == Some(audience));
        exact.or_else(|| self.keys.iter().find(|key| key.gateway.is_none()))
    }
}
