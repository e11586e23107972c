//! What the request proved beside who calls, as records. Absent is what was not proven; nothing here is anybody's mere word, except in a
//! chain that says so itself (`verified`).

use std::collections::BTreeMap;
use std::net::IpAddr;

use portcullis_core::proofs::{Agent, Chain, Client, Proofs, Signature};

use super::Unfit;
use super::fact::{Fact, Fields};
use crate::mentions::Needs;

pub(super) fn push(proofs: &Proofs, needs: &Needs, pairs: &mut Fields<'_>) -> Result<(), Unfit> {
    let wants = |name: &str| needs.below(name).is_some();
    let Proofs { client: address, agent, signature, chain: hops, token: _ } = proofs;
    if wants("client") {
        pairs.push(("client".into(), client(address)?));
    }
    if let (true, Some(agent)) = (wants("agent"), agent) {
        pairs.push(("agent".into(), self::agent(agent)?));
    }
    if let (true, Some(signature)) = (wants("signature"), signature) {
        pairs.push(("signature".into(), self::signature(signature)?));
    }
    if wants("chain") {
        pairs.push(("chain".into(), chain(hops)?));
    }
    Ok(())
}

fn client(client: &Client) -> Result<Fact, Unfit> {
    let Client { address, secure, host, via_proxy } = client;
    let mut fields: Fields<'_> =
        vec![("secure".into(), Fact::bool(*secure)), ("viaProxy".into(), Fact::bool(*via_proxy))];
    if let Some(address) = address {
        let value = ip(*address).ok_or_else(|| Unfit::new("client.address", "not an address that Cedar knows"))?;
        fields.push(("address".into(), value));
    }
    if let Some(host) = host {
        fields.push(("host".into(), Fact::string(host)));
    }
    Fact::record(fields)
}

/// An IPv4 address is one however the socket shows it: a rule for its network must not be dodged by `::ffff:…`.
fn ip(address: IpAddr) -> Option<Fact> {
    Fact::ip(&address.to_canonical().to_string())
}

fn agent(agent: &Agent) -> Result<Fact, Unfit> {
    let Agent { name, issuer, groups, attributes } = agent;
    Fact::record(vec![
        ("name".into(), Fact::string(name)),
        ("issuer".into(), Fact::string(issuer)),
        ("groups".into(), Fact::set(groups.iter().map(|group| Fact::string(group)).collect())),
        ("attributes".into(), pairs_of(attributes)),
    ])
}

/// Records have no tags, so that each value stands as `NAME=VALUE`.
fn pairs_of(attributes: &BTreeMap<String, Vec<String>>) -> Fact {
    let each = attributes.iter().flat_map(|(name, values)| values.iter().map(move |value| (name, value)));
    Fact::set(each.map(|(name, value)| Fact::string(&format!("{name}={value}"))).collect())
}

fn signature(signature: &Signature) -> Result<Fact, Unfit> {
    let Signature { key_id, workload, session_scoped, ephemeral, created: _ } = signature;
    Fact::record(vec![
        ("keyId".into(), Fact::string(key_id)),
        ("workload".into(), Fact::string(workload)),
        ("sessionScoped".into(), Fact::bool(*session_scoped)),
        ("ephemeral".into(), Fact::bool(*ephemeral)),
    ])
}

fn chain(chain: &Chain) -> Result<Fact, Unfit> {
    let Chain { hops } = chain;
    Fact::record(vec![
        ("length".into(), Fact::long(i64::try_from(hops.len()).unwrap_or(i64::MAX))),
        ("agents".into(), Fact::set(hops.iter().map(|hop| Fact::string(&hop.agent.name)).collect())),
        ("verified".into(), Fact::bool(chain.is_verified())),
    ])
}
