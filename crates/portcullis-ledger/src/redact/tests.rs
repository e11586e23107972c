use super::{REDACTED, json, line, name};

#[test]
fn a_value_under_a_secret_name_is_replaced_whatever_its_shape() {
    let cases = [
        (
            r#"{"user":"bo","password":"hunter2","n":12345678901234567890}"#,
            r#"{"user":"bo","password":"[redacted]","n":12345678901234567890}"#,
        ),
        (r#"{"api-key" : [1,{"a":"]"}] ,"b":1}"#, r#"{"api-key" : "[redacted]" ,"b":1}"#),
        (r#"{"x":{"Client_Secret":{"deep":"}"}},"y":[]}"#, r#"{"x":{"Client_Secret":"[redacted]"},"y":[]}"#),
        (r#"{"accessToken":null}"#, r#"{"accessToken":"[redacted]"}"#),
        (r#"{"p\u0061ssword":"x"}"#, r#"{"p\u0061ssword":"[redacted]"}"#),
        (r#"{"token": -1.5e3}"#, r#"{"token": "[redacted]"}"#),
    ];
    for (text, wanted) in cases {
        assert_eq!(json(text), wanted);
    }
}

#[test]
fn ordinary_content_is_kept_byte_for_byte() {
    for text in [
        r#"{"max_tokens": 100, "token_count":3, "text":"the risk-averse task: buy milk", "url":"https://example.com/a?b=c"}"#,
        r#"{ "a" : [ 1 , 2.50 , "\"" , "\u00e9" ] }"#,
        "[]",
        "\"eyJ\"",
    ] {
        assert_eq!(json(text), text);
    }
}

#[test]
fn a_value_that_looks_like_a_secret_is_replaced_under_any_name() {
    for secret in [
        "Bearer abcdefghijk",
        "my key is sk-proj-abcdefghijklmnop, keep it",
        "eyJhbGciOiJIUzI1NiJ9.e30.abc",
        "-----BEGIN RSA PRIVATE KEY-----",
        "password=hunter2",
        r#"{\"api_key\": \"abc\"}"#,
        "postgres://bo:hunter2@db/x",
    ] {
        let text = format!(r#"{{"note":"{secret}"}}"#);
        assert_eq!(json(&text), format!(r#"{{"note":"{REDACTED}"}}"#), "{secret}");
    }
}

#[test]
fn text_that_is_not_json_is_dropped_whole() {
    for text in [r#"{"password":"#, r#"{"a":"unterminated"#, r#"{"token":{"a":1"#] {
        assert_eq!(json(text), REDACTED, "{text}");
    }
}

#[test]
fn names_keep_the_part_that_is_no_secret() {
    assert_eq!(name("get_weather"), "get_weather");
    assert_eq!(name("reset_password"), "reset_password");
    assert_eq!(name("https://h/x?token=abc"), "https://h/x?[redacted]");
    assert_eq!(name("https://u:p@h/x?y=1"), REDACTED);
    assert_eq!(line("listening on :8080"), "listening on :8080");
    assert_eq!(line("API_KEY=abc loaded"), REDACTED);
}

#[test]
fn hostile_texts_are_scanned_in_linear_time() {
    // Quadratic work on these would take minutes, not the moment it takes.
    for piece in ["sk-", "password=", "://u:p", "\\\"", "a:", "    :", "token"] {
        let text = format!("{{\"x\":\"{}\"}}", piece.repeat(200_000));
        assert!(!json(&text).is_empty());
    }
    let nested = format!("{}{}", "{\"token\":[".repeat(60), "]}".repeat(60));
    assert_eq!(json(&nested), r#"{"token":"[redacted]"}"#);
}
