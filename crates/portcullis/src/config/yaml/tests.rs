//! Every complaint about a file says where and what to do.

use serde::Deserialize;

use super::{locate, read};

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(dead_code, reason = "only reading matters")]
struct Sample {
    listen: Option<String>,
    #[serde(default)]
    limits: Limits,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Limits {
    bytes: u32,
    mode: Mode,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Mode {
    #[default]
    Enforce,
    Shadow,
}

fn complaint(text: &str) -> String {
    anstream::adapter::strip_str(&read::<Sample>("p.yaml", text).unwrap_err().to_string()).to_string()
}

#[test]
fn an_unknown_key_names_its_place_its_path_and_the_nearest_known_key() {
    assert_eq!(
        complaint("listen: a\nlimits:\n  byttes: 3\n"),
        "p.yaml:3:3: error[limits.byttes]: unknown key `byttes`\n  help: did you mean `bytes`?"
    );
    assert_eq!(
        complaint("lissten: a\n"),
        "p.yaml:1:1: error[lissten]: unknown key `lissten`\n  help: did you mean `listen`?"
    );
}

#[test]
fn a_duplicate_key_is_an_error_at_the_second_place() {
    let complaint = complaint("listen: a\nlimits: {}\nlisten: b\n");
    assert!(complaint.starts_with("p.yaml:3:1: error[listen]: the key `listen` is written twice"), "{complaint}");
}

#[test]
fn a_wrong_type_names_the_key() {
    let complaint = complaint("limits:\n  bytes: many\n");
    assert!(complaint.starts_with("p.yaml:2:10: error[limits.bytes]: "), "{complaint}");
}

#[test]
fn a_value_in_place_of_keys_says_how_keys_are_written() {
    assert_eq!(
        complaint("limits: 3\n"),
        "p.yaml:1:9: error[limits]: expected keys of its own, found none\n  help: write them below it as `KEY: VALUE`, or after it as `{ KEY: VALUE }`"
    );
}

#[test]
fn a_wrong_word_names_the_words_that_exist() {
    let complaint = complaint("limits:\n  mode: shadows\n");
    assert!(
        complaint.starts_with("p.yaml:2:9: error[limits.mode]: `shadows` is not a value of this key"),
        "{complaint}"
    );
    assert!(complaint.ends_with("help: did you mean `shadow`?"), "{complaint}");
}

#[test]
fn what_stands_in_place_of_a_secret_is_never_repeated() {
    #[derive(Debug, Deserialize)]
    #[expect(dead_code, reason = "only reading matters")]
    struct Headers {
        headers: std::collections::BTreeMap<String, portcullis_upstream::Secret>,
    }
    for text in [
        "headers:\n  authorization: Bearer hunter2\n",
        "headers: Bearer hunter2\n",
        "headers: { a: { valu: hunter2 } }\n",
        "headers: { a: [hunter2] }\n",
    ] {
        let finding = read::<Headers>("p.yaml", text).unwrap_err().to_string();
        assert!(!finding.contains("hunter2"), "{finding}");
    }
}

#[test]
fn a_missing_key_is_named_with_the_path_of_its_mapping() {
    #[derive(Debug, Deserialize)]
    #[expect(dead_code, reason = "only reading matters")]
    struct Keys {
        keys: Vec<Key>,
    }
    #[derive(Debug, Deserialize)]
    #[expect(dead_code, reason = "only reading matters")]
    struct Key {
        name: String,
        hash: String,
    }
    for text in ["keys:\n  - name: a\n", "keys: [{name: a}]\n"] {
        let finding = read::<Keys>("p.yaml", text).unwrap_err();
        assert_eq!((finding.key.as_str(), finding.text.as_str()), ("keys.0.hash", "`hash` is missing"));
    }
}

#[test]
fn a_file_that_is_not_yaml_says_where_it_stops_being_yaml() {
    let complaint = complaint("listen: [a\n");
    assert!(complaint.contains("error[yaml]: "), "{complaint}");
    assert!(complaint.starts_with("p.yaml:"), "{complaint}");
}

#[test]
fn a_key_is_found_by_its_path_and_a_missing_one_by_its_parent() {
    let text = "listen: a\nlimits:\n  bytes: 3\n";
    assert_eq!(locate(text, "limits.bytes"), Some((3, 3)));
    assert_eq!(locate(text, "limits.mode"), Some((2, 1)));
    assert_eq!(locate(text, "nothing"), None);
}
