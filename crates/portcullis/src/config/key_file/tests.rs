use std::path::PathBuf;

use portcullis_server::IdentitySettings;

use super::{KeyFile, managed};
use crate::finding::Finding;

const HASH: &str = "0000000000000000000000000000000000000000000000000000000000000001";

/// What is wrong with a key file beside the key `ana` of the configuration.
fn wrong(text: &str) -> Vec<String> {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("keys.yaml");
    std::fs::write(&file, text).unwrap();
    let written = KeyFile::parse("p.yaml".into(), format!("- {{ name: ana, sha256: {HASH} }}\n")).unwrap();
    let identity = IdentitySettings { keys: written.keys, key_file: Some(file), ..IdentitySettings::default() };
    let findings = managed(&identity, None).err().unwrap_or_default();
    let place = |finding: &Finding| {
        let file = finding.file.replace(&format!("{}/", folder.path().display()), "");
        format!("{file}:{}:{}: {}", finding.line.unwrap_or_default(), finding.column.unwrap_or_default(), finding.text)
    };
    findings.iter().map(place).collect()
}

#[test]
fn every_mistake_in_a_key_file_is_said_with_file_and_line() {
    let other = HASH.replace('1', "2");
    let ben = format!("# ours\n- name: ben\n  sha256: {other}\n");
    assert_eq!(wrong(&ben), [""; 0]);
    assert_eq!(wrong("# nobody yet\n\n"), [""; 0]);
    for (text, place, what) in [
        (format!("{ben}  group: [x]\n"), "keys.yaml:4:3", "unknown key `group`"),
        (format!("{ben}  name: bob\n"), "keys.yaml:4:3", "written twice"),
        (format!("{ben}- name: bob\n"), "keys.yaml:4:", "`sha256` is missing"),
        (format!("{ben}- name: bob\n  sha256: {other}\n"), "keys.yaml:4:3", "`bob` has the key of another entry"),
        (
            format!("{ben}- {{ name: ben, sha256: {} }}\n", HASH.replace('1', "3")),
            "keys.yaml:4:",
            "`ben` is given twice",
        ),
        (ben.replace("ben", "ana"), "keys.yaml:2:3", "the name `ana` is given twice"),
        (ben.replace(&other, HASH), "keys.yaml:2:3", "has the key of another entry"),
        (ben.replace(&other, "abc"), "keys.yaml:2:3", "must be 64 hexadecimal digits"),
        (ben.replace("ben", "'iss:ben'"), "keys.yaml:2:3", "cannot be the name of a caller"),
        (ben.replace("ben", "\"b\\nen\""), "keys.yaml:2:3", "`b\\nen` cannot be the name of a caller"),
        (format!("{ben}  expires: tomorrow\n"), "keys.yaml:4:12", "`tomorrow` is neither a date"),
        (format!("{ben}  servers: [my-server]\n"), "keys.yaml:2:3", "`my-server` cannot be the name of a server"),
        ("keys: []\n".into(), "keys.yaml:1:1", "expected"),
        ("- ben\n".into(), "keys.yaml:1:3", "expected"),
    ] {
        let found = wrong(&text);
        let [only] = found.as_slice() else { panic!("{text}: {found:#?}") };
        assert!(only.starts_with(place) && only.contains(what), "{text}: {only}");
    }
}

#[test]
fn a_key_file_that_is_not_there_is_an_error_with_the_way_out() {
    let identity = IdentitySettings { key_file: Some(PathBuf::from("no/such.yaml")), ..IdentitySettings::default() };
    let findings = managed(&identity, None).unwrap_err();
    let [Finding { file, key, text, help: Some(help), .. }] = findings.as_slice() else { panic!("{findings:#?}") };
    assert_eq!((file.as_str(), key.as_str()), ("no/such.yaml", "identity.key_file"));
    assert!(text.starts_with("cannot be read: ") && help.contains("portcullis keys new"), "{text}: {help}");
}
