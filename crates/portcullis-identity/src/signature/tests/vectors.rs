//! The examples of RFC 9421, appendix B, and of RFC 9530.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::HeaderMap;

use super::{PUBLIC, PUBLIC_P256, Request};
use crate::keys::PublicKey;
use crate::signature::base::base;
use crate::signature::digest;

/// `test-request` of B.2.
fn example() -> Request {
    let mut request = Request {
        method: "POST".into(),
        target: "https://example.com/foo?param=Value&Pet=dog".into(),
        headers: HeaderMap::new(),
        body: br#"{"hello": "world"}"#.to_vec(),
        session: None,
    };
    request.set("host", "example.com");
    request.set("date", "Tue, 20 Apr 2021 02:07:55 GMT");
    request.set("content-type", "application/json");
    request.set(
        "content-digest",
        "sha-512=:WZDPaVn/7XgHaAy8pmojAkGWoRx2UFChF41A2svX+TaPm+AbwAgBWnrIiYllu7BNNyealdVLvRwEmTHWXvJwew==:",
    );
    request.set("content-length", "18");
    request
}

#[test]
fn the_base_of_b_2_3_is_built() {
    let components =
        ["date", "@method", "@path", "@query", "@authority", "content-type", "content-digest", "content-length"];
    let parameters = r#"("date" "@method" "@path" "@query" "@authority" "content-type" "content-digest" "content-length");created=1618884473;keyid="test-key-rsa-pss""#;
    let expected = r#""date": Tue, 20 Apr 2021 02:07:55 GMT
"@method": POST
"@path": /foo
"@query": ?param=Value&Pet=dog
"@authority": example.com
"content-type": application/json
"content-digest": sha-512=:WZDPaVn/7XgHaAy8pmojAkGWoRx2UFChF41A2svX+TaPm+AbwAgBWnrIiYllu7BNNyealdVLvRwEmTHWXvJwew==:
"content-length": 18
"@signature-params": ("date" "@method" "@path" "@query" "@authority" "content-type" "content-digest" "content-length");created=1618884473;keyid="test-key-rsa-pss""#;
    assert_eq!(base(&example().signed(), &components, parameters).unwrap(), expected);
}

#[test]
fn the_ed25519_signature_of_b_2_6_verifies() {
    let components = ["date", "@method", "@path", "@authority", "content-type", "content-length"];
    let parameters = r#"("date" "@method" "@path" "@authority" "content-type" "content-length");created=1618884473;keyid="test-key-ed25519""#;
    let text = base(&example().signed(), &components, parameters).unwrap();
    let signature = STANDARD
        .decode("wqcAqbmYJ2ji2glfAMaRy4gruYYnx2nEFN2HN6jrnDnQCK1u02Gb04v9EDgwUPiu4A0w6vuQv5lIp5WPpBKRCw==")
        .unwrap();
    let key = PublicKey::from_pem(PUBLIC).unwrap();
    assert!(key.verifies(text.as_bytes(), &signature));
    assert!(!key.verifies(text.replace("POST", "PUT").as_bytes(), &signature));
}

/// A response, whose components nothing here derives: the base stands as in the RFC.
#[test]
fn the_ecdsa_signature_of_b_2_4_verifies() {
    let text = r#""@status": 200
"content-type": application/json
"content-digest": sha-512=:mEWXIS7MaLRuGgxOBdODa3xqM1XdEvxoYhvlCFJ41QJgJc4GTsPp29l5oGX69wWdXymyU0rjJuahq4l5aGgfLQ==:
"content-length": 23
"@signature-params": ("@status" "content-type" "content-digest" "content-length");created=1618884473;keyid="test-key-ecc-p256""#;
    let signature = STANDARD
        .decode("wNmSUAhwb5LxtOtOpNa6W5xj067m5hFrj0XQ4fvpaCLx0NKocgPquLgyahnzDnDAUy5eCdlYUEkLIj+32oiasw==")
        .unwrap();
    let key = PublicKey::from_pem(PUBLIC_P256).unwrap();
    assert!(key.verifies(text.as_bytes(), &signature));
    assert!(!key.verifies(text.replace("200", "201").as_bytes(), &signature));
}

#[test]
fn the_digests_of_the_examples_are_those_of_their_bodies() {
    let request = example();
    digest::matches(&request.headers, &request.body).unwrap();
    assert!(digest::matches(&request.headers, b"{\"hello\": \"worlD\"}").is_err());
    // RFC 9530, B.1, over a body that ends with a line feed.
    assert_eq!(digest::of(b"{\"hello\": \"world\"}\n"), "sha-256=:RK/0qy18MlBSVnWgjwz6lZEWjP/lF5HF9bvEF8FabDg=:");
}

#[test]
fn parts_of_the_target_are_those_of_section_2_2() {
    let of = |target: &str, name: &str| {
        let request = Request { target: target.into(), ..example() };
        let text = base(&request.signed(), &[name], "()").unwrap();
        text.lines().next().unwrap().split_once(": ").unwrap().1.to_owned()
    };
    assert_eq!(of("https://WWW.Example.com:443/a?b#c", "@authority"), "www.example.com");
    assert_eq!(of("http://example.com:443", "@authority"), "example.com:443");
    assert_eq!(of("HTTP://example.com:80", "@authority"), "example.com");
    assert_eq!(of("HTTP://example.com:80", "@scheme"), "http");
    assert_eq!(of("https://example.com", "@path"), "/");
    assert_eq!(of("https://example.com?q", "@path"), "/");
    assert_eq!(of("https://example.com/a", "@query"), "?");
    assert_eq!(of("https://example.com/a?", "@query"), "?");
    assert_eq!(of("https://example.com?q/r", "@query"), "?q/r");
}
