//! Chains as somebody would like them to be. Every one of them is refused, each for its own reason.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use portcullis_core::caller::{Caller, Proof};
use proptest::prelude::*;

use super::*;

/// `us`, who trusts `edge` and `hub`.
struct Us {
    files: Files,
    edge: Pair,
    hub: Pair,
}

impl Us {
    fn new() -> Self {
        let files = Files::new();
        let (edge, hub) = (files.pair("edge"), files.pair("hub"));
        Self { files, edge, hub }
    }

    fn settings(&self) -> ChainSettings {
        settings("us", vec![incoming("edge", &self.edge), incoming("hub", &self.hub)])
    }

    fn verifier(&self) -> ChainVerifier {
        ChainVerifier::new(&self.settings()).unwrap()
    }

    /// An entry of `edge` for `hub`, and one of `hub` for us with these changes.
    fn two(&self, changes: Value) -> String {
        let first = entry(&with(claims(), json!({ "aud": "hub", "req": digest(b"another body") })), &self.edge.key);
        let second = json!({ "iss": "hub", "sub": "edge-key", "prv": digest(first.as_bytes()) });
        let second = entry(&with(with(claims(), second), changes), &self.hub.key);
        array(&[first, second])
    }
}

#[test]
fn an_agent_of_a_verified_entry_has_what_the_configuration_gives_it() {
    let us = Us::new();
    let attributes = BTreeMap::from([("team".to_owned(), vec!["search".to_owned()])]);
    let agent = ChainAgent { name: "planner".into(), groups: vec!["robots".into()], attributes: attributes.clone() };
    let verifier = ChainVerifier::new(&ChainSettings { agents: vec![agent], ..us.settings() }).unwrap();
    let chain = verify(&verifier, &us.two(json!({}))).unwrap();
    let known = Caller { attributes, ..Caller::new("agent:planner", Proof::Chain, vec!["robots".into()]) };
    assert_eq!(*chain.hops[0].agent, known);
    assert_eq!(*chain.hops[1].agent, Caller::new("agent:edge-key", Proof::Chain, Vec::new()));
}

#[test]
fn no_chain_is_an_empty_one_unless_one_is_required() {
    let us = Us::new();
    let none = HeaderMap::new();
    let empty = Chain::default();
    assert_eq!(us.verifier().verify(&none, [0; 32], NOW), Ok(empty.clone()));
    assert_eq!(verify(&us.verifier(), "[]"), Ok(empty));
    let strict = ChainVerifier::new(&ChainSettings { required: true, ..us.settings() }).unwrap();
    assert_eq!(strict.verify(&none, [0; 32], NOW).unwrap_err().failure, ProofFailure::ChainUnsigned);
    refused(&strict, "[]", ProofFailure::ChainUnsigned);
}

#[test]
fn without_configuration_a_chain_is_not_ignored_but_refused() {
    let us = Us::new();
    let verifier = ChainVerifier::new(&ChainSettings::default()).unwrap();
    assert!(verify(&verifier, &array(&[entry(&claims(), &us.edge.key)])).is_err());
    assert!(verify(&verifier, r#"[{"sub":"planner","iss":"edge"}]"#).is_err());
    assert!(verifier.verify(&HeaderMap::new(), [0; 32], NOW).unwrap().is_verified());
}

#[test]
fn what_cannot_be_read_one_way_only_is_malformed() {
    let us = Us::new();
    let key = &us.edge.key;
    let header = json!({ "alg": "EdDSA", "kid": "k1", "typ": "mcp-hop+jwt" });
    let jws = |changes: Value| array(&[signed(&with(header.clone(), changes), &claims(), key)]);
    let said = |changes: Value| array(&[entry(&with(claims(), changes), key)]);
    let good = entry(&claims(), key);
    let twice = URL_SAFE_NO_PAD.encode(r#"{"sub":"a","sub":"b"}"#);
    let [head, _, tail] = good.split('.').collect::<Vec<_>>().try_into().unwrap();
    let texts = [
        "".into(),
        "{}".into(),
        "null".into(),
        "[".into(),
        "[1]".into(),
        "[[]]".into(),
        "[null]".into(),
        "[\"a\"]".into(),
        "[\"a.b\"]".into(),
        "[\"a.b.c.d\"]".into(),
        "[\"..\"]".into(),
        format!("[\"{good}\"] x"),
        format!("\"{good}\""),
        format!("[\"{good}=\"]"),
        format!("[\"{head}.{twice}.{tail}\"]"),
        "[\"planner\"]".into(),
        jws(json!({ "typ": "JWT" })),
        jws(json!({ "typ": null })),
        jws(json!({ "kid": null })),
        jws(json!({ "alg": "RS256" })),
        jws(json!({ "alg": "eddsa" })),
        jws(json!({ "crit": ["b64"] })),
        jws(json!({ "jku": "https://evil.example" })),
        said(json!({ "aud": null })),
        said(json!({ "iat": null })),
        said(json!({ "tgt": null })),
        said(json!({ "req": null })),
        said(json!({ "sub": null })),
        said(json!({ "iss": null })),
        said(json!({ "sub": "" })),
        said(json!({ "sub": "a\nb" })),
        said(json!({ "sub": ["planner"] })),
        said(json!({ "iat": 1.5 })),
        said(json!({ "iat": -1 })),
        said(json!({ "iat": "1" })),
        said(json!({ "req": "AAAA" })),
        said(json!({ "exp": 1 })),
        said(json!({ "sub": "a".repeat(513) })),
    ];
    for text in texts {
        refused(&us.verifier(), &text, ProofFailure::ChainMalformed);
    }
    assert!(verify(&us.verifier(), &array(&[good])).is_ok(), "the one that all others were made from");
}

#[test]
fn a_header_that_comes_twice_or_holds_more_than_ascii_is_malformed() {
    let us = Us::new();
    let good = HeaderValue::from_str(&array(&[entry(&claims(), &us.edge.key)])).unwrap();
    let mut twice = HeaderMap::new();
    twice.append(HEADER, good.clone());
    twice.append(HEADER, good);
    let latin = HeaderMap::from_iter([(HEADER, HeaderValue::from_bytes(b"[\"\xe9\"]").unwrap())]);
    for headers in [twice, latin] {
        let failed = us.verifier().verify(&headers, Digest::of(BODY).0, NOW).unwrap_err();
        assert_eq!(failed.failure, ProofFailure::ChainMalformed);
    }
}

#[test]
fn chains_as_large_as_a_431_are_refused_before_they_are_read() {
    let us = Us::new();
    let key = &us.edge.key;
    let large = array(&[entry(&with(claims(), json!({ "tgt": "t".repeat(512), "sub": "s".repeat(512) })), key)]);
    assert!(large.len() < 2048);
    assert!(verify(&us.verifier(), &large).is_ok());
    let settings = ChainSettings { max_entry_bytes: 1024, ..us.settings() };
    refused(&ChainVerifier::new(&settings).unwrap(), &large, ProofFailure::ChainMalformed);
    refused(&us.verifier(), &format!("[{}]", " ".repeat(8191)), ProofFailure::ChainMalformed);
    refused(&us.verifier(), &array(&vec!["x".repeat(1000); 40]), ProofFailure::ChainMalformed);
    // What no server's header limit would stop.
    refused(&us.verifier(), &"[".repeat(8192), ProofFailure::ChainMalformed);
}

#[test]
fn one_entry_more_than_allowed_is_too_deep() {
    let us = Us::new();
    let depth = |most: usize| ChainVerifier::new(&ChainSettings { max_depth: most, ..us.settings() }).unwrap();
    let two = us.two(json!({}));
    assert!(verify(&depth(2), &two).is_ok());
    refused(&depth(1), &two, ProofFailure::ChainTooDeep);
    refused(&depth(0), &array(&[entry(&claims(), &us.edge.key)]), ProofFailure::ChainTooDeep);
}

#[test]
fn entries_without_a_signature_are_refused_unless_they_may_be_unverified() {
    let us = Us::new();
    let plain = format!("[{}]", claims());
    refused(&us.verifier(), &plain, ProofFailure::ChainUnsigned);
    let agent = ChainAgent { name: "planner".into(), groups: vec!["robots".into()], ..ChainAgent::default() };
    let settings = ChainSettings { accept_unverified: true, agents: vec![agent], ..us.settings() };
    let lenient = ChainVerifier::new(&settings).unwrap();
    let chain = verify(&lenient, &plain).unwrap();
    assert!(!chain.is_verified() && !chain.hops[0].verified);
    assert_eq!(chain.hops[0].agent.groups, Vec::<String>::new(), "what is only asserted has no groups");
    assert!(verify(&lenient, r#"[{"sub":"planner","iss":"edge"}]"#).is_ok(), "it may leave out what it cannot prove");

    // What it says is held to the rules all the same.
    let says = |changes: Value| format!("[{}]", with(claims(), changes));
    refused(&lenient, &says(json!({ "aud": "hub" })), ProofFailure::ChainLink);
    refused(&lenient, &says(json!({ "req": digest(b"x") })), ProofFailure::ChainLink);
    refused(&lenient, &says(json!({ "iat": 1 })), ProofFailure::ChainStale);
    refused(&lenient, &says(json!({ "iss": "us" })), ProofFailure::ChainLoop);
    // And a JWS must verify.
    refused(&lenient, &array(&[entry(&claims(), &us.hub.key)]), ProofFailure::ChainInvalid);
    let none = signed(&json!({ "alg": "none", "kid": "k1", "typ": "mcp-hop+jwt" }), &claims(), &us.edge.key);
    refused(&lenient, &array(&[none]), ProofFailure::ChainUnsigned);
}

#[test]
fn a_signed_entry_behind_one_that_is_not_makes_only_itself_verified() {
    let us = Us::new();
    let lenient = ChainVerifier::new(&ChainSettings { accept_unverified: true, ..us.settings() }).unwrap();
    let first = with(claims(), json!({ "aud": "hub", "req": null })).to_string();
    let second = json!({ "iss": "hub", "sub": "edge-key", "prv": digest(first.as_bytes()) });
    let second = entry(&with(claims(), second), &us.hub.key);
    let chain = verify(&lenient, &format!("[{first},\"{second}\"]")).unwrap();
    assert_eq!(chain.hops.iter().map(|hop| hop.verified).collect::<Vec<_>>(), [false, true]);
    assert!(!chain.is_verified());
    // Both come back out as they came in.
    let ours = ChainSigner::new(&settings("us", vec![outgoing(&us.files.pair("us"))])).unwrap();
    let new = NewEntry { agent: "hub-key", target: "search", body: BODY, audience: "next", now: NOW };
    let emitted = ours.append(&chain, new).unwrap();
    assert!(emitted.starts_with(&format!("[{first},\"{second}\",\"")), "{emitted}");
}

#[test]
fn an_entry_needs_a_key_of_its_own_gateway() {
    let us = Us::new();
    let header = |changes: Value| with(json!({ "alg": "EdDSA", "kid": "k1", "typ": "mcp-hop+jwt" }), changes);
    let unknown = signed(&header(json!({ "kid": "k2" })), &claims(), &us.edge.key);
    refused(&us.verifier(), &array(&[unknown]), ProofFailure::ChainKey);
    let stranger = entry(&with(claims(), json!({ "iss": "stranger" })), &us.edge.key);
    refused(&us.verifier(), &array(&[stranger]), ProofFailure::ChainKey);
    let of_another = entry(&claims(), &us.hub.key);
    refused(&us.verifier(), &array(&[of_another]), ProofFailure::ChainInvalid);
}

#[test]
fn a_public_key_is_no_shared_secret() {
    let us = Us::new();
    let header = json!({ "alg": "HS256", "kid": "k1", "typ": "mcp-hop+jwt" });
    let encode = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let text = format!("{}.{}", encode(&header), encode(&claims()));
    let key = aws_lc_rs::hmac::Key::new(aws_lc_rs::hmac::HMAC_SHA256, us.edge.key.public_key().as_ref());
    let signature = URL_SAFE_NO_PAD.encode(aws_lc_rs::hmac::sign(&key, text.as_bytes()));
    refused(&us.verifier(), &array(&[format!("{text}.{signature}")]), ProofFailure::ChainKey);
}

#[test]
fn an_entry_that_says_something_else_than_was_signed_is_invalid() {
    let us = Us::new();
    let good = entry(&claims(), &us.edge.key);
    let [header, _, signature] = good.split('.').collect::<Vec<_>>().try_into().unwrap();
    let other = URL_SAFE_NO_PAD.encode(with(claims(), json!({ "tgt": "delete" })).to_string());
    refused(&us.verifier(), &format!("[\"{header}.{other}.{signature}\"]"), ProofFailure::ChainInvalid);
    refused(&us.verifier(), &format!("[\"{header}.{other}.\"]"), ProofFailure::ChainInvalid);
}

#[test]
fn an_entry_for_another_request_or_gateway_or_place_in_the_chain_does_not_link() {
    let us = Us::new();
    for changes in [
        json!({ "req": digest(b"another body") }),
        json!({ "aud": "hub" }),
        json!({ "aud": "US" }),
        json!({ "prv": digest(b"something") }),
    ] {
        let header = array(&[entry(&with(claims(), changes), &us.edge.key)]);
        refused(&us.verifier(), &header, ProofFailure::ChainLink);
    }
    assert!(verify(&us.verifier(), &us.two(json!({}))).is_ok());
    for changes in
        [json!({ "prv": null }), json!({ "prv": digest(b"something") }), json!({ "req": digest(b"another body") })]
    {
        refused(&us.verifier(), &us.two(changes), ProofFailure::ChainLink);
    }
}

#[test]
fn a_chain_holds_for_the_bytes_it_was_made_for_only() {
    let us = Us::new();
    let header = us.two(json!({}));
    let spaced = [BODY, b" "].concat();
    let failed = verify_at(&us.verifier(), &header, &spaced, NOW).unwrap_err();
    assert_eq!(failed.failure, ProofFailure::ChainLink);
}

#[test]
fn entries_are_neither_too_old_nor_from_the_future() {
    let us = Us::new();
    let header = array(&[entry(&claims(), &us.edge.key)]);
    let at = |now: u64| verify_at(&us.verifier(), &header, BODY, Timestamp(now)).map_err(|failed| failed.failure);
    let stale = Err(ProofFailure::ChainStale);
    assert!(at(NOW.0 + 600_000).is_ok());
    assert_eq!(at(NOW.0 + 600_001).map(|_| ()), stale);
    assert!(at(NOW.0 - 60_000).is_ok());
    assert_eq!(at(NOW.0 - 60_001).map(|_| ()), stale);
    // A clock that stands at its beginning, and an entry from the end of time.
    assert_eq!(at(0).map(|_| ()), stale);
    let last = array(&[entry(&with(claims(), json!({ "iat": u64::MAX })), &us.edge.key)]);
    refused(&us.verifier(), &last, ProofFailure::ChainStale);
}

#[test]
fn an_entry_is_not_older_than_the_one_it_follows() {
    let us = Us::new();
    let seconds = NOW.0 / 1000;
    assert!(verify(&us.verifier(), &us.two(json!({ "iat": seconds - 60 }))).is_ok(), "clocks differ");
    refused(&us.verifier(), &us.two(json!({ "iat": seconds - 61 })), ProofFailure::ChainStale);
}

#[test]
fn no_agent_and_no_gateway_comes_twice() {
    let us = Us::new();
    refused(&us.verifier(), &us.two(json!({ "sub": "planner" })), ProofFailure::ChainLoop);
    refused(&us.verifier(), &us.two(json!({ "iss": "edge" })), ProofFailure::ChainLoop);
    refused(&us.verifier(), &us.two(json!({ "iss": "us" })), ProofFailure::ChainLoop);
}

/// Gateways `g0` to `g5` that pass requests on, and `us` who trusts them all.
struct Row {
    _files: Files,
    signers: Vec<ChainSigner>,
    us: ChainVerifier,
}

static ROW: LazyLock<Row> = LazyLock::new(|| {
    let files = Files::new();
    let pairs: Vec<_> = (0..6).map(|at| files.pair(&format!("g{at}"))).collect();
    let signer =
        |(at, pair): (usize, &Pair)| ChainSigner::new(&settings(&format!("g{at}"), vec![outgoing(pair)])).unwrap();
    let signers = pairs.iter().enumerate().map(signer).collect();
    let trusted = pairs.iter().enumerate().map(|(at, pair)| incoming(&format!("g{at}"), pair)).collect();
    let us = ChainVerifier::new(&settings("us", trusted)).unwrap();
    Row { _files: files, signers, us }
});

impl Row {
    /// Items of a chain through the first `length` gateways, for `BODY`; `tag` makes it another chain.
    fn items(&self, length: usize, tag: &str) -> Vec<String> {
        let mut header = "[]".to_owned();
        for (at, signer) in self.signers.iter().take(length).enumerate() {
            let last = at + 1 == length;
            let audience = if last { "us".to_owned() } else { format!("g{}", at + 1) };
            let (agent, body) = (format!("{tag}{at}"), if last { BODY } else { b"before" });
            let entry = NewEntry { agent: &agent, target: "search", body, audience: &audience, now: NOW };
            header = signer.append(&carried(&header), entry).unwrap();
        }
        serde_json::from_str(&header).unwrap()
    }
}

/// A chain that nobody looked into.
fn carried(header: &str) -> Chain {
    let items: Vec<String> = serde_json::from_str(header).unwrap();
    let hop = |raw: String| portcullis_core::proofs::Hop {
        agent: Caller::new("agent:unread", Proof::Chain, Vec::new()).into(),
        gateway: "".into(),
        target: "".into(),
        at: NOW,
        verified: true,
        raw: raw.into(),
    };
    Chain { hops: items.into_iter().map(hop).collect() }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn a_chain_reordered_truncated_extended_or_spliced_is_refused(
        length in 2_usize..=6,
        cut in any::<prop::sample::Index>(),
        other in any::<prop::sample::Index>(),
    ) {
        let items = ROW.items(length, "a");
        prop_assert!(verify(&ROW.us, &array(&items)).is_ok());
        let cut = cut.index(length);
        let others = ROW.items(length, "b");
        let mut attacks: Vec<Vec<String>> = vec![
            // Without one, without all before it, without all from it on.
            [&items[..cut], &items[cut + 1..]].concat(),
            items[cut.max(1)..].to_vec(),
            // One of them twice; its own end again; the whole chain again.
            [&items[..=cut], &items[cut..]].concat(),
            [&items[..], &items[cut..]].concat(),
            // One of another chain between, or instead; the head of one with the tail of the other.
            [&items[..cut], &others[cut..=cut], &items[cut..]].concat(),
            [&items[..cut.max(1)], &others[cut.max(1)..]].concat(),
        ];
        if cut > 0 {
            attacks.push(items[..cut].to_vec());
        }
        let mut swapped = items.clone();
        swapped.swap(cut, other.index(length));
        attacks.push(swapped);
        let mut exchanged = items.clone();
        exchanged[cut].clone_from(&others[cut]);
        if length > 1 {
            attacks.push(exchanged);
        }
        for attack in attacks {
            // An empty chain is one that was never there, which `required` refuses.
            prop_assert!(attack == items || attack.is_empty() || verify(&ROW.us, &array(&attack)).is_err(), "{attack:?}");
        }
    }

    #[test]
    fn a_chain_with_any_byte_changed_is_refused(
        length in 1_usize..=3,
        place in any::<prop::sample::Index>(),
        byte in 0x20_u8..0x7f,
    ) {
        let good = array(&ROW.items(length, "a"));
        let mut bytes = good.clone().into_bytes();
        let place = place.index(bytes.len());
        bytes[place] = byte;
        let changed = String::from_utf8(bytes).unwrap();
        prop_assert!(changed == good || verify(&ROW.us, &changed).is_err(), "{changed}");
    }

    #[test]
    fn whatever_the_header_holds_is_answered(text in "[ -~]{0,200}", items in prop::collection::vec("[A-Za-z0-9_.-]{0,80}", 0..10)) {
        let _ = verify(&ROW.us, &text).map(|chain| assert!(chain.hops.is_empty()));
        prop_assert!(items.is_empty() || verify(&ROW.us, &array(&items)).is_err());
    }
}
