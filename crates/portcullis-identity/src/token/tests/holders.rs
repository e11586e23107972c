//! From claims to a caller.

use std::collections::BTreeMap;

use portcullis_core::refusal::ProofFailure;
use serde_json::{Value, json};

use super::super::{ClaimPath, ClaimSettings};
use super::{NOW, World};

fn path(names: &[&str]) -> ClaimPath {
    ClaimPath::Path(names.iter().map(|name| (*name).to_owned()).collect())
}

async fn mapped() -> World {
    World::with(|settings| {
        settings.issuers[0].claims = ClaimSettings {
            groups: vec![ClaimPath::Name("https://corp.example/groups".to_owned()), path(&["realm", "roles"])],
            group_prefix: "corp/".to_owned(),
            attributes: BTreeMap::from([("team".to_owned(), path(&["org", "team"]))]),
        };
    })
    .await
}

#[tokio::test]
async fn groups_and_attributes_are_read_where_the_configuration_says() {
    let world = mapped().await;
    let mut claims = world.claims();
    claims["https://corp.example/groups"] = json!("staff");
    claims["realm"] = json!({"roles": ["ops", "staff"], "groups": ["ignored"]});
    claims["groups"] = json!(["admin"]);
    claims["org"] = json!({"team": ["red", "blue"]});
    let caller = world.verify(&world.sign(&claims), NOW).await.unwrap().caller.clone();
    assert_eq!(caller.groups, ["corp/ops", "corp/staff"]);
    assert_eq!(caller.attributes, BTreeMap::from([("team".to_owned(), vec!["red".to_owned(), "blue".to_owned()])]));
}

#[tokio::test]
async fn absent_claims_give_nothing_and_misshapen_ones_refuse() {
    let world = mapped().await;
    let caller = world.verify(&world.sign(&world.claims()), NOW).await.unwrap().caller.clone();
    assert!(caller.groups.is_empty() && caller.attributes.is_empty());
    let many: Vec<String> = (0..257).map(|n| n.to_string()).collect();
    for groups in
        [json!(7), json!([["staff"]]), json!(["staff", 7]), json!([""]), json!("a\nb"), json!(many), json!({})]
    {
        let token = world.token_with("https://corp.example/groups", groups.clone());
        assert_eq!(world.failure(&token).await, Some(ProofFailure::TokenClaims), "{groups}");
    }
}

#[tokio::test]
async fn without_a_mapping_no_word_of_a_token_becomes_a_group() {
    let world = World::new().await;
    let token = world.token_with("groups", json!(["admin"]));
    assert!(world.verify(&token, NOW).await.unwrap().caller.groups.is_empty());
}

#[tokio::test]
async fn scopes_come_with_all_that_they_imply_f9() {
    let world = World::with(|settings| {
        let implies = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect();
        settings.scope_implies = BTreeMap::from([
            ("admin".to_owned(), implies(&["write"])),
            ("write".to_owned(), implies(&["read", "admin"])),
        ]);
    })
    .await;
    for (claim, value, expected) in [
        ("scope", json!("openid read"), vec!["openid", "read"]),
        ("scope", json!("write"), vec!["admin", "read", "write"]),
        ("scope", json!("  admin  admin "), vec!["admin", "read", "write"]),
        ("scp", json!(["read", "x"]), vec!["read", "x"]),
        ("scope", json!(""), vec![]),
        ("scope", Value::Null, vec![]),
    ] {
        let verified = world.verify(&world.token_with(claim, value.clone()), NOW).await.unwrap();
        assert_eq!(verified.caller.scopes, expected, "{claim} {value}");
    }
    assert_eq!(world.failure(&world.token_with("scope", json!({"read": true}))).await, Some(ProofFailure::TokenClaims));
}

#[tokio::test]
async fn actors_are_read_from_the_current_one_to_the_first_and_bounded() {
    let world = World::new().await;
    let nested = json!({"sub": "second", "act": {"sub": "first", "iss": world.server.base}});
    let verified = world.verify(&world.token_with("act", nested), NOW).await.unwrap();
    assert_eq!(verified.caller.actors, ["corp:second", "corp:first"]);
    let chain = |length: usize| (1..length).fold(json!({"sub": "a"}), |inner, _| json!({"sub": "a", "act": inner}));
    assert_eq!(world.failure(&world.token_with("act", chain(8))).await, None);
    for act in [chain(9), json!("x"), json!({}), json!({"sub": "x", "iss": "https://evil.example"})] {
        let token = world.token_with("act", act.clone());
        assert_eq!(world.failure(&token).await, Some(ProofFailure::TokenClaims), "{act}");
    }
}

#[tokio::test]
async fn bindings_are_reported_and_unknown_ones_refused() {
    let world = World::new().await;
    let verified = world.verify(&world.token_with("cnf", json!({"jkt": "J", "x5t#S256": "X"})), NOW).await.unwrap();
    assert_eq!((verified.jkt.as_deref(), verified.x5t.as_deref()), (Some("J"), Some("X")));
    for confirmation in [json!({}), json!({"jkt": 7}), json!({"jwk": {}}), json!({"jkt": "J", "kid": "k"}), json!("J")]
    {
        let token = world.token_with("cnf", confirmation.clone());
        assert_eq!(world.failure(&token).await, Some(ProofFailure::TokenClaims), "{confirmation}");
    }
}

#[tokio::test]
async fn a_subject_is_a_spiffe_id_only_of_the_trust_domain_of_its_issuer() {
    let plain = World::new().await;
    let token = plain.token_with("sub", json!("spiffe://prod.example/a"));
    assert_eq!(plain.verify(&token, NOW).await.unwrap().caller.spiffe, None);
    let world = World::with(|settings| settings.issuers[0].spiffe_trust_domain = Some("prod.example".to_owned())).await;
    let token = world.token_with("sub", json!("spiffe://prod.example/a"));
    let caller = world.verify(&token, NOW).await.unwrap().caller.clone();
    assert_eq!(caller.spiffe.as_deref(), Some("spiffe://prod.example/a"));
    for subject in ["spiffe://prod.example.evil/a", "spiffe://prod.example/", "spiffe://prod.example", "spiffe://x/a"] {
        assert_eq!(world.failure(&world.token_with("sub", json!(subject))).await, Some(ProofFailure::TokenClaims));
    }
}

#[tokio::test]
async fn names_that_are_missing_empty_long_or_break_lines_are_refused() {
    let world = World::new().await;
    for subject in [Value::Null, json!(""), json!(7), json!("a\nb"), json!("x".repeat(513))] {
        let token = world.token_with("sub", subject.clone());
        assert_eq!(world.failure(&token).await, Some(ProofFailure::TokenClaims), "{subject}");
    }
    let token = world.token_with("azp", json!("another client"));
    assert_eq!(world.failure(&token).await, Some(ProofFailure::TokenClaims), "`client_id` says otherwise");
}
