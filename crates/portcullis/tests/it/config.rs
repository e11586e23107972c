//! The configuration file from outside: its description is current, its mistakes are found, keys fit in.

use std::path::Path;

use crate::support::{Folder, run};

#[test]
fn the_generated_pages_are_current() {
    for (what, page) in [("reference", "docs/configuration.md"), ("commands", "docs/reference/cli.md")] {
        let made = run(&Folder::new(), &["config", what]);
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").join(page);
        let written = std::fs::read_to_string(&path).unwrap_or_default();
        assert!(written == made.out, "{page} is not current; run `cargo run -- config {what} > {page}`");
    }
}

#[test]
fn the_schema_is_json_and_forbids_unknown_keys() {
    let schema = run(&Folder::new(), &["config", "schema"]);
    let schema: serde_json::Value = serde_json::from_str(&schema.out).unwrap();
    assert_eq!(schema["additionalProperties"], false);
    for key in ["listen", "upstream", "policy", "guards", "audit", "identity", "limits", "timeouts", "refusals"] {
        assert!(schema["properties"].get(key).is_some(), "{key}");
    }
}

#[test]
fn the_documented_example_is_a_valid_file() {
    let folder = Folder::new();
    let page = run(&folder, &["config", "reference"]).out;
    let example = page.split("```yaml\n").nth(1).unwrap().split("```").next().unwrap();
    folder.write("p.yaml", example);
    folder.write("policies/a.cedar", "@id(\"a\") permit (principal, action, resource);");
    let ended = run(&folder, &["check", "--config", "p.yaml"]);
    assert_eq!(ended.code, 0, "{ended:?}");
}

#[test]
fn a_new_key_fits_into_the_configuration_and_is_printed_once() {
    let folder = Folder::new();
    let made = run(&folder, &["keys", "new", "ana", "--group", "finance"]);
    assert_eq!(made.code, 0);
    let key = made.out.lines().find_map(|line| line.strip_prefix("# key: ")).unwrap();
    assert!(key.starts_with("pck_") && key.len() == 68, "{key}");
    folder.write("p.yaml", &made.out);
    let ended = run(&folder, &["check", "--config", "p.yaml"]);
    assert_eq!(ended.code, 0, "{ended:?}");
    assert_ne!(made.out, run(&folder, &["keys", "new", "ana", "--group", "finance"]).out, "random");
    assert_eq!(run(&folder, &["keys", "new", "a\nb"]).code, 2);
}
