use std::sync::Arc;

use portcullis_core::clock::Timestamp;
use portcullis_core::own::hex;
use portcullis_core::refusal::ProofFailure;
use sha2::{Digest, Sha256};

use super::{KeyTable, key_problems, parse_hash};
use crate::identify::{Accounts, Expiry};
use crate::settings::ApiKey;
use crate::testing::api_key as key;

fn table(keys: &[ApiKey]) -> Result<KeyTable, String> {
    KeyTable::new(keys.iter(), |caller, servers| Accounts::default().known(Arc::new(caller), servers))
}

fn notes() -> [Arc<str>; 1] {
    ["notes".into()]
}

#[test]
fn a_key_is_good_until_its_last_millisecond_and_refused_from_then_on() {
    let expires = Some(Expiry::parse("1970-01-01").unwrap());
    let table = table(&[ApiKey { expires, ..key("ana") }]).unwrap();
    let found = table.find("ana", &notes(), Timestamp(86_399_999)).unwrap().unwrap();
    assert_eq!((found.known.caller.name.as_str(), found.expires), ("ana", Some(Timestamp(86_400_000))));
    let (failure, detail) = table.find("ana", &notes(), Timestamp(86_400_000)).unwrap_err();
    assert_eq!(failure, ProofFailure::KeyExpired);
    assert!(detail.contains("`ana`") && detail.contains("1970-01-02T00:00:00.000Z"), "{detail}");
}

#[test]
fn a_key_for_some_servers_opens_no_other() {
    let table = table(&[ApiKey { servers: vec!["notes".into(), "mail".into()], ..key("ana") }, key("ben")]).unwrap();
    for server in ["notes", "mail"] {
        assert!(table.find("ana", &[server.into()], Timestamp(0)).unwrap().is_some(), "{server}");
    }
    for server in ["", "note", "notes2", "NOTES"] {
        assert_eq!(
            table.find("ana", &[server.into()], Timestamp(0)).unwrap_err().0,
            ProofFailure::KeyElsewhere,
            "{server}"
        );
        assert!(table.find("ben", &[server.into()], Timestamp(0)).unwrap().is_some(), "no servers named: all of them");
    }
    let both = ["other".into(), "mail".into()];
    let found = table.find("ana", &both, Timestamp(0)).unwrap().unwrap();
    assert!(
        found.known.reaches("mail") && !found.known.reaches("other"),
        "one of several opens the endpoint, not the others"
    );
}

#[test]
fn an_unknown_key_is_nobodys() {
    let table = table(&[key("ana")]).unwrap();
    for presented in ["", "an", "anab", "ANA", &hex(&Sha256::digest(b"ana"))] {
        assert!(table.find(presented, &notes(), Timestamp(0)).unwrap().is_none(), "{presented}");
    }
}

#[test]
fn every_mistake_in_a_list_of_keys_is_told_with_its_place() {
    let wrong = [
        ("", "cannot be the name of a caller"),
        ("issuer:ana", "cannot be the name of a caller"),
        ("anonymous", "cannot be the name of a caller"),
        ("a\nb", "`a\\nb` cannot be the name of a caller"),
        (&"x".repeat(129), "cannot be the name of a caller"),
    ];
    for (name, text) in wrong {
        let problems = key_problems(&[key("ana"), key(name)]);
        assert!(problems.len() == 1 && problems[0].index == 1 && problems[0].text.contains(text), "{problems:?}");
        assert!(table(&[key(name)]).is_err());
    }
    assert_eq!(key_problems(&[key(&"é".repeat(128)), key("Ana Müller <ana@example.com>")]), []);

    let (ana, ben) = (key("ana"), key("ben"));
    let shouting = ApiKey { sha256: ana.sha256.to_uppercase(), ..ben.clone() };
    for (second, text) in [
        (ApiKey { name: "ana".into(), ..ben.clone() }, "the name `ana` is given twice"),
        (shouting, "`ben` has the key of another entry"),
        (ApiKey { sha256: "abc".into(), ..ben.clone() }, "`sha256` of `ben` must be 64 hexadecimal digits"),
        (ApiKey { groups: vec![String::new()], ..ben }, "cannot be the name of a group"),
    ] {
        let problems = key_problems(&[ana.clone(), second.clone()]);
        assert!(problems.len() == 1 && problems[0].index == 1 && problems[0].text.contains(text), "{problems:?}");
        assert!(table(&[ana.clone(), second]).is_err());
    }
}

#[test]
fn only_64_hexadecimal_digits_are_a_hash() {
    assert!(parse_hash(&"0".repeat(63)).is_none());
    assert!(parse_hash(&"g".repeat(64)).is_none());
    assert!(parse_hash(&"+f".repeat(32)).is_none());
    assert!(parse_hash(&"é".repeat(32)).is_none());
    assert_eq!(parse_hash(&"0f".repeat(32)), Some([0x0f; 32]));
    assert_eq!(parse_hash(&"0F".repeat(32)), Some([0x0f; 32]));
}
