//! Facts of a request in a key. Each is taken apart, so that what it has more one day is not forgotten here.

use std::net::IpAddr;

use portcullis_core::proofs::{Agent, Chain, Client, Signature};

use super::{Key, tag};

impl Key {
    pub(super) fn client(&mut self, client: &Client) -> Option<()> {
        let Client { address, secure, host, via_proxy } = client;
        match address.map(|address| address.to_canonical()) {
            None => self.push(&[tag::ABSENT])?,
            Some(IpAddr::V4(address)) => self.text(&address.octets())?,
            Some(IpAddr::V6(address)) => self.text(&address.octets())?,
        }
        self.push(&[u8::from(*secure), u8::from(*via_proxy)])?;
        self.maybe(host.as_deref())
    }

    pub(super) fn agent(&mut self, agent: Option<&Agent>) -> Option<()> {
        let Some(Agent { name, issuer, groups, attributes }) = agent else { return self.push(&[tag::ABSENT]) };
        self.text(name.as_bytes())?;
        self.text(issuer.as_bytes())?;
        self.texts(groups)?;
        for (name, values) in attributes {
            self.text(name.as_bytes())?;
            self.texts(values)?;
        }
        self.push(&[tag::END])
    }

    pub(super) fn signature(&mut self, signature: Option<&Signature>) -> Option<()> {
        let Some(Signature { key_id, workload, session_scoped, ephemeral, created: _ }) = signature else {
            return self.push(&[tag::ABSENT]);
        };
        self.text(key_id.as_bytes())?;
        self.text(workload.as_bytes())?;
        self.push(&[u8::from(*session_scoped), u8::from(*ephemeral)])
    }

    pub(super) fn chain(&mut self, chain: &Chain) -> Option<()> {
        for hop in &chain.hops {
            self.text(hop.agent.name.as_bytes())?;
            self.push(&[u8::from(hop.verified)])?;
        }
        self.push(&[tag::END])
    }

    fn texts(&mut self, texts: &[String]) -> Option<()> {
        texts.iter().try_for_each(|text| self.text(text.as_bytes()))?;
        self.push(&[tag::END])
    }
}
