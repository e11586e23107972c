use http::{HeaderMap, Uri};
use portcullis_core::refusal::Violation;

use super::OriginRule;

fn check(rule: &OriginRule, pairs: &[(&'static str, &str)]) -> Result<(), Violation> {
    let mut headers = HeaderMap::new();
    for (name, value) in pairs {
        headers.append(*name, value.parse().unwrap());
    }
    rule.check(&Uri::from_static("/mcp"), &headers)
}

fn loopback() -> OriginRule {
    OriginRule::new("127.0.0.1:8700".parse().unwrap(), None, None).unwrap()
}

fn allowing(origins: &[&str]) -> Result<OriginRule, String> {
    let origins: Vec<String> = origins.iter().map(|origin| (*origin).to_owned()).collect();
    OriginRule::new("0.0.0.0:8700".parse().unwrap(), None, Some(&origins))
}

#[test]
fn a4_a_loopback_listener_answers_only_to_loopback_hosts() {
    for host in ["localhost:8700", "127.0.0.1:8700", "[::1]:8700", "LOCALHOST", "127.0.0.5"] {
        assert!(check(&loopback(), &[("host", host)]).is_ok(), "{host}");
    }
    for host in [
        "evil.example",
        "localhost.evil.example",
        "127.0.0.1.evil.example:8700",
        "user@localhost",
        "",
        "2130706433",
        "localhost:http",
        "localhost.",
    ] {
        assert_eq!(check(&loopback(), &[("host", host)]).unwrap_err(), Violation::HostRefused, "{host}");
    }
    assert_eq!(check(&loopback(), &[]).unwrap_err(), Violation::HostRefused);
    let twice = [("host", "localhost"), ("host", "localhost")];
    assert_eq!(check(&loopback(), &twice).unwrap_err(), Violation::HostRefused);
}

#[test]
fn a3_a_foreign_origin_is_refused_and_scheme_host_and_port_all_count() {
    for origin in ["http://localhost:8700", "http://127.0.0.1:8700", "http://[::1]:8700", "https://localhost:8700"] {
        assert!(check(&loopback(), &[("host", "localhost:8700"), ("origin", origin)]).is_ok(), "{origin}");
    }
    for origin in [
        "http://localhost:9999",
        "http://localhost",
        "http://evil.example:8700",
        "null",
        "file://localhost:8700",
        "http://localhost@evil.example:8700",
        "localhost:8700",
        "http://localhost:8700/path",
        "not an origin",
        "",
    ] {
        let result = check(&loopback(), &[("host", "localhost:8700"), ("origin", origin)]);
        assert_eq!(result.unwrap_err(), Violation::OriginRefused, "{origin}");
    }
    let twice = [("host", "localhost"), ("origin", "http://localhost:8700"), ("origin", "http://localhost:8700")];
    assert_eq!(check(&loopback(), &twice).unwrap_err(), Violation::OriginRefused);
}

#[test]
fn an_open_listener_has_no_origins_until_the_operator_names_some() {
    let bound = "0.0.0.0:8700".parse().unwrap();
    let open = OriginRule::new(bound, None, None).unwrap();
    assert!(check(&open, &[("host", "gateway.example")]).is_ok());
    assert!(check(&open, &[("host", "gateway.example"), ("origin", "https://gateway.example")]).is_err());
    let hosts = ["gateway.example".into(), "[2001:DB8::1]".into()];
    let named = OriginRule::new(bound, Some(&hosts), Some(&["https://app.example".into()])).unwrap();
    for host in ["Gateway.example:443", "[2001:db8::1]:443"] {
        assert!(check(&named, &[("host", host), ("origin", "https://app.example")]).is_ok(), "{host}");
    }
    assert!(check(&named, &[("host", "other.example")]).is_err());
}

#[test]
fn a3_an_exact_origin_is_that_origin_with_its_default_port_and_no_other() {
    let rule = allowing(&["https://App.example", "http://dev.example:3000", "app-extension://abc"]).unwrap();
    for origin in ["https://app.example", "https://app.example:443", "http://dev.example:3000", "app-extension://abc"] {
        assert!(check(&rule, &[("host", "h"), ("origin", origin)]).is_ok(), "{origin}");
    }
    for origin in [
        "http://app.example",
        "https://app.example:8443",
        "https://app.example.",
        "https://sub.app.example",
        "https://app.example.evil.example",
        "http://dev.example",
        "app-extension://abcd",
        "null",
    ] {
        assert!(check(&rule, &[("host", "h"), ("origin", origin)]).is_err(), "{origin}");
    }
}

#[test]
fn a3_a_wildcard_covers_subdomains_of_any_depth_and_never_the_domain_itself() {
    let rule = allowing(&["https://*.example.com"]).unwrap();
    for origin in ["https://a.example.com", "https://a.b.EXAMPLE.com:443"] {
        assert!(check(&rule, &[("host", "h"), ("origin", origin)]).is_ok(), "{origin}");
    }
    for origin in [
        "https://example.com",
        "https://evilexample.com",
        "https://.example.com",
        "https://a..example.com",
        "http://a.example.com",
        "https://a.example.com:8443",
        "https://a.example.com.evil.example",
        "https://*.example.com",
    ] {
        assert!(check(&rule, &[("host", "h"), ("origin", origin)]).is_err(), "{origin}");
    }
}

#[test]
fn what_no_browser_would_send_is_an_error_that_names_its_key() {
    for bad in [
        "*",
        "null",
        "example.com",
        "https://",
        "https://example.com/",
        "https://user@example.com",
        "https://*.com",
        "https://*.127.0.0.1",
        "https://a.*.example.com",
        "https://münchen.example",
        "https://example.com:99999",
    ] {
        let error = allowing(&[bad]).unwrap_err();
        assert!(error.starts_with("allowed_origins: ") && error.contains(bad), "{error}");
    }
    for bad in [&["https://mcp.example.com"][..], &["mcp.example.com:443"], &["*.example.com"], &[""], &[]] {
        let hosts: Vec<String> = bad.iter().map(|host| (*host).to_owned()).collect();
        let error = OriginRule::new("127.0.0.1:1".parse().unwrap(), Some(&hosts), None).unwrap_err();
        assert!(error.starts_with("allowed_hosts: "), "{error}");
    }
}
