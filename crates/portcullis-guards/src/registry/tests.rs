#![expect(clippy::disallowed_methods, reason = "the reference page is a file")]

use std::collections::BTreeSet;

use super::*;
use crate::GUARDS;

fn settings(text: &str) -> Result<GuardsSettings, String> {
    serde_json::from_str(text).map_err(|error| error.to_string())
}

fn modes(text: &str) -> Vec<(&'static str, Mode)> {
    settings(text).unwrap().modes().collect()
}

#[test]
fn names_and_codes_are_unique_and_well_formed() {
    let names: BTreeSet<_> = GUARDS.iter().map(|registration| registration.about.name).collect();
    let codes: BTreeSet<_> = GUARDS.iter().map(|registration| registration.about.code).collect();
    assert_eq!((names.len(), codes.len()), (GUARDS.len(), GUARDS.len()));
    for registration in GUARDS {
        let about = registration.about;
        assert!(about.name.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_'), "{}", about.name);
        assert!(about.code.len() == 4 && about.code.starts_with('G'), "{}", about.code);
        assert_eq!((registration.default)().about(), about);
    }
}

#[test]
fn guards_nobody_names_run_in_their_default_mode() {
    let built = build(&GuardsSettings::default());
    let names: Vec<_> = built.iter().map(|(guard, mode)| (guard.about().name, *mode)).collect();
    let defaults: Vec<_> = GUARDS.iter().map(|known| (known.about.name, known.default_mode)).collect();
    assert_eq!(names, defaults);
}

#[test]
fn the_short_form_and_the_long_form_set_the_mode() {
    assert_eq!(modes(r#"{"arguments":"shadow"}"#)[0].1, Mode::Shadow);
    assert_eq!(modes(r#"{"arguments":{"mode":"off"}}"#)[0].1, Mode::Off);
    assert_eq!(modes(r#"{"arguments":{"max_bytes":10}}"#)[0].1, Mode::Enforce);
    assert_eq!(modes(r#"{"arguments":false}"#)[0].1, Mode::Off);
    let built = build(&settings(r#"{"outputs":"off"}"#).unwrap());
    assert_eq!(built[1].1, Mode::Off);
}

#[test]
fn errors_name_the_path_and_the_way_out() {
    for (text, expected) in [
        (r#"{"argument":"off"}"#, "guards.argument: no such guard; did you mean `arguments`?"),
        (r#"{"firewall":"off"}"#, "guards.firewall: no such guard; there are arguments, outputs"),
        (
            r#"{"arguments":"of"}"#,
            "guards.arguments: expected `enforce`, `shadow`, `off`, or a map with `mode` and settings",
        ),
        (
            r#"{"arguments":true}"#,
            "guards.arguments: expected `enforce`, `shadow`, `off`, or a map with `mode` and settings",
        ),
        (r#"{"arguments":{"mode":"on"}}"#, "guards.arguments.mode: expected `enforce`, `shadow` or `off`"),
        (
            r#"{"arguments":{"max_byte":1}}"#,
            "guards.arguments.max_byte: unknown field `max_byte`, expected `max_bytes`",
        ),
        (r#"{"outputs":{"max_bytes":"1"}}"#, "guards.outputs.max_bytes: invalid type: string \"1\", expected usize"),
        (r#"{"outputs":"off","outputs":"off"}"#, "guards.outputs: named twice"),
    ] {
        let error = settings(text).unwrap_err();
        assert!(error.starts_with(expected), "{error}");
    }
}

#[test]
fn the_published_schema_accepts_what_is_accepted_and_refuses_what_is_refused() {
    let schema = Value::from(schema_for!(GuardsSettings));
    let validator = jsonschema::validator_for(&schema).unwrap();
    for text in [
        "{}",
        r#"{"arguments":"shadow"}"#,
        r#"{"arguments":{"mode":"off","max_bytes":1}}"#,
        r#"{"arguments":{"max_bytes":1},"outputs":"off"}"#,
        r#"{"argument":"off"}"#,
        r#"{"arguments":"of"}"#,
        r#"{"arguments":{"mode":"on"}}"#,
        r#"{"arguments":{"max_byte":1}}"#,
        r#"{"outputs":{"max_bytes":"1"}}"#,
    ] {
        let value: Value = serde_json::from_str(text).unwrap();
        assert_eq!(validator.is_valid(&value), settings(text).is_ok(), "{text}");
    }
}

/// Run with `UPDATE_DOCS=1` to write the page anew.
#[test]
fn the_reference_page_is_current() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/reference/guards.md");
    if std::env::var_os("UPDATE_DOCS").is_some() {
        std::fs::create_dir_all(std::path::Path::new(path).parent().unwrap()).unwrap();
        std::fs::write(path, reference()).unwrap();
    }
    assert_eq!(
        std::fs::read_to_string(path).unwrap_or_default(),
        reference(),
        "write it anew: UPDATE_DOCS=1 cargo test -p portcullis-guards"
    );
}

#[test]
fn settings_read_from_yaml_as_users_write_them() {
    let yaml = |text: &str| serde_saphyr::from_str::<GuardsSettings>(text).map_err(|error| error.to_string());
    let modes = |text| yaml(text).unwrap().modes().map(|(_, mode)| mode).take(2).collect::<Vec<_>>();
    assert_eq!(modes("arguments: off\noutputs:\n  mode: shadow\n  max_bytes: 65536\n"), [Mode::Off, Mode::Shadow]);
    assert_eq!(modes("{}"), [Mode::Enforce, Mode::Enforce]);
    let error = yaml("arguments: shadow\noutputs:\n  max_byte: 1\n").unwrap_err();
    assert!(error.contains("guards.outputs.max_byte: unknown field"), "{error}");
}
