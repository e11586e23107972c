//! Settings that contradict themselves end the start, and the text says where.

use super::*;

#[track_caller]
fn contradicts(settings: &ChainSettings, text: &str) {
    let verifier = ChainVerifier::new(settings).map(|_| ()).unwrap_err();
    assert!(verifier.starts_with("identity.chains.") && verifier.contains(text), "{verifier}");
}

fn table(keys: Vec<ChainKey>) -> ChainSettings {
    settings("us", keys)
}

#[test]
fn every_contradiction_in_the_key_table_names_its_place() {
    let files = Files::new();
    let (pair, secret) = (files.pair("edge"), files.shared("edge-us"));
    let good = incoming("edge", &pair);
    let nameless = || ChainKey { gateway: None, ..good.clone() };
    for (keys, text) in [
        (vec![ChainKey { key_id: String::new(), ..good.clone() }], "keys[0].key_id: empty"),
        (vec![nameless()], "keys[0].gateway: missing"),
        (vec![incoming("us", &pair)], "keys[0].gateway: this gateway itself"),
        (vec![incoming("a\nb", &pair)], "keys[0].gateway: empty"),
        (vec![ChainKey { direction: Direction::Both, ..good.clone() }], "keys[0].direction: `both`"),
        (vec![ChainKey { vouches: true, ..outgoing(&pair) }], "keys[0].vouches"),
        (vec![good.clone(), good.clone()], "keys[1].key_id: another"),
        (vec![ChainKey { gateway: None, ..shared("edge", &secret) }], "keys[0].gateway: missing"),
        (vec![shared("edge", &Secret::Value("x".repeat(32)))], "keys[0].key: stands in the configuration itself"),
        (vec![shared("edge", &files.write("short", &"x".repeat(31)))], "keys[0].key: 31 bytes; at least 32"),
        (vec![shared("edge", &Secret::File("/nowhere/key".into()))], "keys[0].key: file `/nowhere/key`"),
        (
            vec![incoming("edge", &Pair { public: Secret::Value("AAAA".into()), ..files.pair("x") })],
            "no point of the curve of ed25519",
        ),
        (vec![incoming("edge", &Pair { public: Secret::Value("*".into()), ..files.pair("x") })], "neither PEM nor"),
    ] {
        contradicts(&table(keys), text);
    }
}

#[test]
fn every_contradiction_beside_the_key_table_names_its_place() {
    let agent = |name: &str| ChainAgent { name: name.to_owned(), ..ChainAgent::default() };
    let nameless = ChainSettings { gateway: None, ..table(Vec::new()) };
    contradicts(&ChainSettings { required: true, ..nameless.clone() }, "chains.gateway: missing");
    contradicts(&ChainSettings { accept_unverified: true, ..nameless }, "chains.gateway: missing");
    contradicts(&settings("", Vec::new()), "chains.gateway: empty");
    let entries = ChainSettings { max_entry_bytes: 9000, ..table(Vec::new()) };
    contradicts(&entries, "chains.max_entry_bytes");
    let agents = ChainSettings { agents: vec![agent("a"), agent("a")], ..table(Vec::new()) };
    contradicts(&agents, "chains.agents[1].name: another");
    let agents = ChainSettings { agents: vec![agent("")], ..table(Vec::new()) };
    contradicts(&agents, "chains.agents[0].name: empty");
}

#[test]
fn two_keys_that_sign_for_the_same_gateway_are_one_too_many() {
    let files = Files::new();
    let keys = vec![outgoing(&files.pair("one")), outgoing(&files.pair("two"))];
    let error = ChainSigner::new(&table(keys)).map(|_| ()).unwrap_err();
    assert!(error.contains("identity.chains.keys[1].gateway: another outgoing key"), "{error}");
    let public = files.pair("edge").public;
    let error = ChainSigner::new(&table(vec![outgoing(&Pair { private: public, ..files.pair("x") })])).unwrap_err();
    assert!(error.contains("keys[0].key: stands in the configuration itself"), "{error}");
    let not_pem = files.write("key", "no key at all");
    let error = ChainSigner::new(&table(vec![outgoing(&Pair { private: not_pem, ..files.pair("x") })])).unwrap_err();
    assert!(error.contains("keys[0].key: no private key in PEM"), "{error}");
}

#[test]
fn keys_are_read_as_common_tools_write_them() {
    // `openssl genpkey -algorithm ed25519`, and `openssl pkey -pubout` of it.
    const PRIVATE: &str = "-----BEGIN PRIVATE KEY-----\nMC4CAQAwBQYDK2VwBCIEIJ1hsZ3v/VpguoRK9JLsLMREScVpezJpGXA7rAMcrn9g\n-----END PRIVATE KEY-----\n";
    const PUBLIC: &str = "-----BEGIN PUBLIC KEY-----\nMCowBQYDK2VwAyEA11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo=\n-----END PUBLIC KEY-----\n";
    let files = Files::new();
    let edge = outgoing(&Pair { private: files.write("private.pem", PRIVATE), ..files.pair("x") });
    let signer = ChainSigner::new(&settings("edge", vec![edge])).unwrap();
    let trusted = incoming("edge", &Pair { public: files.write("public.pem", PUBLIC), ..files.pair("x") });
    let us = ChainVerifier::new(&table(vec![trusted])).unwrap();
    let new = NewEntry { agent: "alice", target: "search", body: BODY, audience: "us", now: NOW };
    let header = signer.append(&Chain::default(), new).unwrap();
    assert!(verify(&us, &header).unwrap().is_verified());
}

#[test]
fn no_secret_is_shown() {
    let files = Files::new();
    let settings = table(vec![shared("edge", &files.shared("edge-us"))]);
    let shown = format!("{settings:?} {:?}", ChainVerifier::new(&settings).unwrap());
    assert!(!shown.contains("two gateways share"), "{shown}");
}
