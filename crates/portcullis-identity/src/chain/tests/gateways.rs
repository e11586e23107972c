//! Gateways in a row: what one emits, the next verifies.

use jsonwebtoken::{Algorithm, EncodingKey, Header};

use super::*;

struct Gateway {
    verifier: ChainVerifier,
    signer: ChainSigner,
}

impl Gateway {
    fn new(settings: &ChainSettings) -> Self {
        Self { verifier: ChainVerifier::new(settings).unwrap(), signer: ChainSigner::new(settings).unwrap() }
    }

    /// Verifies what came for `body`, and makes the header for the next hop, which gets `sent`.
    fn pass(&self, came: Option<&str>, body: &[u8], agent: &str, sent: &[u8], audience: &str) -> String {
        let headers = came.map(headers).unwrap_or_default();
        let chain = self.verifier.verify(&headers, Digest::of(body).0, NOW).unwrap();
        let entry = NewEntry { agent, target: "search", body: sent, audience, now: NOW };
        self.signer.append(&chain, entry).unwrap()
    }
}

/// The bodies differ from hop to hop, as they do when ids or traces are written anew.
fn through_three(edge: &Gateway, hub: &Gateway) -> String {
    let first = edge.pass(None, b"from the client", "alice", b"from the edge", "hub");
    hub.pass(Some(&first), b"from the edge", "edge-key", BODY, "core")
}

fn assert_whole(chain: &Chain) {
    assert!(chain.is_verified() && chain.hops.iter().all(|hop| hop.verified));
    let hops: Vec<_> =
        chain.hops.iter().map(|hop| (hop.agent.name.as_str(), &*hop.gateway, &*hop.target, hop.at)).collect();
    assert_eq!(hops, [("agent:alice", "edge", "search", NOW), ("agent:edge-key", "hub", "search", NOW)]);
}

#[test]
fn three_gateways_in_a_row_with_ed25519_see_the_whole_chain() {
    let files = Files::new();
    let (edge, hub) = (files.pair("edge"), files.pair("hub"));
    let trusting = vec![incoming("edge", &edge), incoming("hub", &hub)];
    let first = Gateway::new(&settings("edge", vec![outgoing(&edge)]));
    let second = Gateway::new(&settings("hub", vec![outgoing(&hub), incoming("edge", &edge)]));
    let third = ChainVerifier::new(&settings("core", trusting)).unwrap();
    assert_whole(&verify(&third, &through_three(&first, &second)).unwrap());
}

#[test]
fn with_keys_shared_by_pairs_the_third_gateway_believes_the_second_only_where_it_is_told_to() {
    let files = Files::new();
    let (edge_hub, hub_core) = (files.shared("edge-hub"), files.shared("hub-core"));
    let first = Gateway::new(&settings("edge", vec![shared("hub", &edge_hub)]));
    let second = Gateway::new(&settings("hub", vec![shared("edge", &edge_hub), shared("core", &hub_core)]));
    let header = through_three(&first, &second);

    let strict = settings("core", vec![shared("hub", &hub_core)]);
    refused(&ChainVerifier::new(&strict).unwrap(), &header, ProofFailure::ChainKey);

    let vouching = settings("core", vec![ChainKey { vouches: true, ..shared("hub", &hub_core) }]);
    assert_whole(&verify(&ChainVerifier::new(&vouching).unwrap(), &header).unwrap());
}

#[test]
fn who_holds_a_key_for_an_entry_verifies_it_whoever_vouches() {
    let files = Files::new();
    let (edge_hub, hub_core, other) = (files.shared("edge-hub"), files.shared("hub-core"), files.shared("other"));
    let first = Gateway::new(&settings("edge", vec![shared("hub", &edge_hub)]));
    let second = Gateway::new(&settings("hub", vec![shared("edge", &edge_hub), shared("core", &hub_core)]));
    let vouching = ChainKey { vouches: true, ..shared("hub", &hub_core) };
    let third = ChainVerifier::new(&settings("core", vec![vouching, shared("edge", &other)])).unwrap();
    refused(&third, &through_three(&first, &second), ProofFailure::ChainInvalid);
}

#[test]
fn nobody_vouches_for_who_comes_later() {
    let files = Files::new();
    let (edge, hub) = (files.pair("edge"), files.pair("hub"));
    let first = Gateway::new(&settings("edge", vec![outgoing(&edge)]));
    let second = Gateway::new(&settings("hub", vec![outgoing(&hub), incoming("edge", &edge)]));
    let vouching = ChainKey { vouches: true, ..incoming("edge", &edge) };
    let third = ChainVerifier::new(&settings("core", vec![vouching])).unwrap();
    refused(&third, &through_three(&first, &second), ProofFailure::ChainKey);
}

#[test]
fn an_entry_made_by_another_implementation_verifies() {
    let files = Files::new();
    let edge = files.pair("edge");
    let us = ChainVerifier::new(&settings("us", vec![incoming("edge", &edge)])).unwrap();
    let mut header = Header::new(Algorithm::EdDSA);
    header.typ = Some("mcp-hop+jwt".to_owned());
    header.kid = Some("k1".to_owned());
    let pem = edge.private.resolve().unwrap();
    let jws = jsonwebtoken::encode(&header, &claims(), &EncodingKey::from_ed_pem(pem.as_bytes()).unwrap()).unwrap();
    assert!(verify(&us, &format!("[ \"{jws}\" ]")).unwrap().is_verified());

    let secret = files.shared("edge-us");
    let us = ChainVerifier::new(&settings("us", vec![shared("edge", &secret)])).unwrap();
    header.alg = Algorithm::HS256;
    let key = EncodingKey::from_secret(secret.resolve().unwrap().as_bytes());
    let jws = jsonwebtoken::encode(&header, &claims(), &key).unwrap();
    assert!(verify(&us, &array(&[jws])).unwrap().is_verified());
}

#[test]
fn our_own_entry_is_made_of_what_the_next_hop_will_check() {
    let files = Files::new();
    let edge = files.pair("edge");
    let ours = settings("edge", vec![outgoing(&edge)]);
    let gateway = Gateway::new(&ours);
    let none = Chain::default();
    let new = NewEntry { agent: "alice", target: "search", body: BODY, audience: "us", now: NOW };
    let us = ChainVerifier::new(&settings("us", vec![incoming("edge", &edge)])).unwrap();
    let header = gateway.signer.append(&none, new).unwrap();
    let chain = verify(&us, &header).unwrap();

    let failure = |chain: &Chain, new: NewEntry<'_>| gateway.signer.append(chain, new).unwrap_err().failure;
    assert_eq!(failure(&chain, new), ProofFailure::ChainLoop, "alice is in it already");
    assert_eq!(failure(&none, NewEntry { agent: "a\r\nb", ..new }), ProofFailure::ChainMalformed);
    assert_eq!(failure(&none, NewEntry { target: "", ..new }), ProofFailure::ChainMalformed);
    let narrow = ChainSigner::new(&ChainSettings { max_bytes: header.len() - 1, ..ours }).unwrap();
    assert_eq!(narrow.append(&none, new).unwrap_err().failure, ProofFailure::ChainTooDeep);
    assert!(header.is_ascii() && !header.contains(' '));
}

#[test]
fn a_gateway_without_a_key_for_the_next_one_finds_out_at_its_start() {
    let files = Files::new();
    let secret = files.shared("edge-hub");
    let signer = ChainSigner::new(&settings("edge", vec![shared("hub", &secret)])).unwrap();
    assert_eq!(signer.check_audience("hub"), Ok(()));
    assert_eq!(
        signer.check_audience("core"),
        Err("identity.chains.keys: no outgoing key for gateway `core`".to_owned())
    );
    let none = Chain::default();
    let new = NewEntry { agent: "alice", target: "search", body: BODY, audience: "core", now: NOW };
    assert_eq!(signer.append(&none, new).unwrap_err().failure, ProofFailure::ChainKey);
}

#[test]
fn callers_that_nobody_knows_are_not_one_agent_that_comes_twice() {
    let files = Files::new();
    let (edge, hub) = (files.pair("edge"), files.pair("hub"));
    let first = Gateway::new(&settings("edge", vec![outgoing(&edge)]));
    let second = Gateway::new(&settings("hub", vec![outgoing(&hub), incoming("edge", &edge)]));
    let header = first.pass(None, b"1", "anonymous", b"2", "hub");
    let header = second.pass(Some(&header), b"2", "anonymous", BODY, "core");
    let third = ChainVerifier::new(&settings("core", vec![incoming("edge", &edge), incoming("hub", &hub)])).unwrap();
    assert_eq!(verify(&third, &header).unwrap().hops.len(), 2);
}
