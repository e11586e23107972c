//! The file's shape: unknown keys are errors, defaults are what the documentation says, secrets are not shown.

use super::{EraSetting, HttpSettings, Secret, SettingsError, StdioSettings, resolve};

#[test]
fn an_unknown_key_is_an_error() {
    assert!(serde_json::from_str::<HttpSettings>(r#"{"url":"http://127.0.0.1/","retries":3}"#).is_err());
    assert!(serde_json::from_str::<StdioSettings>(r#"{"command":"x","shell":true}"#).is_err());
}

#[test]
fn the_short_form_has_the_defaults_of_the_file() {
    let file: HttpSettings = serde_json::from_str(r#"{"url":"http://127.0.0.1/"}"#).unwrap();
    assert_eq!(format!("{file:?}"), format!("{:?}", HttpSettings::of_url("http://127.0.0.1/".to_owned())));
    let file: StdioSettings = serde_json::from_str(r#"{"command":"x","args":["y"]}"#).unwrap();
    let short = StdioSettings::of_command("x".to_owned(), vec!["y".to_owned()]);
    assert_eq!(format!("{file:?}"), format!("{short:?}"));
    assert_eq!(file.era, EraSetting::Auto);
}

#[test]
fn replicas_are_one_setting_for_each_address() {
    let read = |text: &str| serde_json::from_str::<HttpSettings>(text).unwrap();
    let addresses = |text: &str| {
        let replicas = read(text).replicas().map_err(|error| error.to_string())?;
        assert!(replicas.iter().all(|replica| replica.urls.is_empty() && replica.probe_timeout_ms == 5));
        Ok::<_, String>(replicas.into_iter().map(|replica| replica.url).collect::<Vec<_>>())
    };
    let two = r#"{"urls":["http://a/mcp","http://b/mcp"],"probe_timeout_ms":5}"#;
    assert_eq!(addresses(two).unwrap(), ["http://a/mcp", "http://b/mcp"]);
    assert_eq!(addresses(r#"{"url":"http://a/mcp","probe_timeout_ms":5}"#).unwrap(), ["http://a/mcp"]);
    let many: Vec<_> = (0..17).map(|at| format!("\"http://a/{at}\"")).collect();
    for bad in [
        r#"{"url":"http://a/mcp","urls":["http://b/mcp"]}"#,
        r#"{"urls":["http://a/mcp","http://a/mcp"]}"#,
        r#"{"urls":["http://localhost/mcp"],"socket":"/run/mcp.sock"}"#,
        &format!(r#"{{"urls":[{}]}}"#, many.join(",")),
    ] {
        assert!(addresses(bad).unwrap_err().starts_with("`urls`: "), "{bad}");
    }
}

#[test]
fn a_secret_is_never_printed() {
    let text = r#"{"url":"http://127.0.0.1/","headers":{"authorization":{"value":"Bearer hunter2"}}}"#;
    let settings: HttpSettings = serde_json::from_str(text).unwrap();
    assert!(!format!("{settings:?}").contains("hunter2"));
}

#[test]
fn a_secret_that_cannot_be_read_names_its_key() {
    let variable = Secret::Env("PORTCULLIS_TEST_NO_SUCH_VARIABLE".to_owned());
    let missing = resolve(&variable, "headers.x");
    assert!(matches!(missing, Err(SettingsError::SecretUnreadable { key, .. }) if key == "headers.x"));
}
