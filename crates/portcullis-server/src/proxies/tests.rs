use std::net::SocketAddr;
use std::sync::Arc;

use http::{HeaderMap, Uri};
use portcullis_core::refusal::Violation;
use tokio_util::sync::CancellationToken;

use super::{Proxies, Via};
use crate::answer::Refusal;
use crate::peer::{Peer, Proven};

const PROXY: &str = "10.0.0.5:40000";
const STRANGER: &str = "203.0.113.7:40000";

fn proxies() -> Proxies {
    Proxies::new(&["10.0.0.0/8".into(), "2001:db8::/32".into(), "192.0.2.1".into()]).unwrap()
}

fn ask(from: &str, pairs: &[(&'static str, &str)]) -> Result<Via, Refusal> {
    let mut headers = HeaderMap::new();
    for (name, value) in [("host", "gateway.example")].iter().chain(pairs) {
        headers.append(*name, value.parse().unwrap());
    }
    let proxies = proxies();
    let peer = Peer::new(&proxies, from.parse::<SocketAddr>().unwrap(), None);
    proxies.via(&peer, &Uri::from_static("/mcp?x=1"), &headers)
}

/// Address, scheme, host, and whether a proxy spoke.
fn facts(via: &Via) -> (String, bool, String, bool) {
    let client = via.client();
    (client.address.unwrap().to_string(), client.secure, client.host.as_deref().unwrap().to_owned(), client.via_proxy)
}

#[test]
fn the_forwarding_headers_of_a_stranger_are_not_read() {
    for headers in [
        &[("x-forwarded-for", "10.1.1.1"), ("x-forwarded-proto", "https"), ("x-forwarded-host", "evil.example")][..],
        &[("forwarded", "for=10.1.1.1;proto=https;host=evil.example")],
        &[("forwarded", "for=\"")],
    ] {
        let via = ask(STRANGER, headers).unwrap();
        assert_eq!(facts(&via), ("203.0.113.7".into(), false, "gateway.example".into(), false), "{headers:?}");
        assert_eq!(via.proxy(), None);
    }
}

#[test]
fn a_trusted_proxy_tells_address_scheme_and_host_in_either_form() {
    for headers in [
        &[
            ("x-forwarded-for", "198.51.100.9"),
            ("x-forwarded-proto", "https"),
            ("x-forwarded-host", "public.example:444"),
        ][..],
        &[("forwarded", "For=198.51.100.9; PROTO=https ;host=\"public.example:444\"")],
        &[(
            "forwarded",
            "for=\"198.51.100.9:1234\";proto=https;host=\"public.example:444\";by=_gate;secret=\"a\\\"b,;\"",
        )],
        &[
            ("x-forwarded-for", "198.51.100.9:1234"),
            ("x-forwarded-proto", "HTTPS"),
            ("x-forwarded-host", "public.example:444"),
        ],
    ] {
        let via = ask(PROXY, headers).unwrap();
        assert_eq!(facts(&via), ("198.51.100.9".into(), true, "public.example".into(), true), "{headers:?}");
        assert_eq!(via.url(&Uri::from_static("/mcp?x=1")), "https://public.example:444/mcp?x=1");
        assert_eq!(via.proxy().unwrap().to_string(), "10.0.0.5");
    }
}

#[test]
fn headers_are_followed_from_the_right_to_the_first_hop_that_is_not_trusted() {
    for headers in [
        // The leftmost was written by the client.
        &[("x-forwarded-for", "1.1.1.1, 198.51.100.9, 10.0.0.7")][..],
        &[("x-forwarded-for", "1.1.1.1"), ("x-forwarded-for", "198.51.100.9,10.0.0.7")],
        &[
            ("forwarded", "for=1.1.1.1;proto=https, for=198.51.100.9;proto=http"),
            ("forwarded", "for=10.0.0.7;proto=https"),
        ],
        &[("x-forwarded-for", "1.1.1.1, 198.51.100.9, 10.0.0.7"), ("x-forwarded-proto", "https, http, https")],
    ] {
        let via = ask(PROXY, headers).unwrap();
        assert_eq!(facts(&via), ("198.51.100.9".into(), false, "gateway.example".into(), true), "{headers:?}");
    }
    // Trusted to the end: a proxy of ours asks on its own account.
    let via = ask(PROXY, &[("x-forwarded-for", "10.0.0.9, 192.0.2.1")]).unwrap();
    assert_eq!(via.client().address.unwrap().to_string(), "10.0.0.9");
    let via = ask(PROXY, &[("forwarded", "for=\"[2001:db9::1]:4711\", for=\"[2001:db8::5]\"")]).unwrap();
    assert_eq!(via.client().address.unwrap().to_string(), "2001:db9::1");
    let via = ask(PROXY, &[("x-forwarded-for", "::ffff:198.51.100.9")]).unwrap();
    assert_eq!(via.client().address.unwrap().to_string(), "198.51.100.9");
}

#[test]
fn a_trusted_proxy_that_says_nothing_speaks_for_itself() {
    let via = ask(PROXY, &[]).unwrap();
    assert_eq!(facts(&via), ("10.0.0.5".into(), false, "gateway.example".into(), false));
}

#[test]
fn what_a_trusted_proxy_says_in_two_ways_is_refused() {
    let many = ["10.0.0.1"; 33].join(",");
    for headers in [
        &[("x-forwarded-for", "unknown")][..],
        &[("x-forwarded-for", "198.51.100.9, ")],
        &[("x-forwarded-for", "")],
        &[("x-forwarded-for", "198.51.100.9\u{9}1")],
        &[("x-forwarded-for", many.as_str())],
        &[("x-forwarded-for", "198.51.100.9"), ("x-forwarded-proto", "ftp")],
        &[("x-forwarded-for", "198.51.100.9"), ("x-forwarded-proto", "http, https")],
        &[("x-forwarded-for", "198.51.100.9"), ("x-forwarded-host", "a.example, b.example")],
        &[("x-forwarded-for", "198.51.100.9"), ("x-forwarded-host", "user@a.example")],
        &[("x-forwarded-proto", "https")],
        &[("x-forwarded-host", "public.example")],
        &[("forwarded", "")],
        &[("forwarded", "proto=https")],
        &[("forwarded", "for=unknown")],
        &[("forwarded", "for=_hidden")],
        &[("forwarded", "for=198.51.100.9;for=198.51.100.9")],
        &[("forwarded", "for=198.51.100.9:80")],
        &[("forwarded", "for=\"198.51.100.9")],
        &[("forwarded", "for=198.51.100.9 proto=https")],
        &[("forwarded", "for = 198.51.100.9")],
        &[("forwarded", "for=\", for=198.51.100.9")],
        &[("forwarded", "for=198.51.100.9"), ("x-forwarded-for", "198.51.100.8")],
        // A gap in one family is filled by nobody.
        &[("forwarded", "for=198.51.100.9;proto=https"), ("x-forwarded-for", "198.51.100.9")],
        &[("forwarded", "for=198.51.100.9;host=public.example"), ("x-forwarded-for", "198.51.100.9")],
    ] {
        let refusal = ask(PROXY, headers).unwrap_err();
        assert_eq!(refusal.code(), "forwarded_invalid", "{headers:?}");
    }
    let same = [
        ("forwarded", "for=198.51.100.9;proto=https"),
        ("x-forwarded-for", "198.51.100.9"),
        ("x-forwarded-proto", "https"),
    ];
    assert!(ask(PROXY, &same).unwrap().client().secure);
}

#[test]
fn a4_a_request_without_one_readable_host_is_refused_whoever_sends_it() {
    for from in [PROXY, STRANGER] {
        let refusal = ask(from, &[("host", "second.example")]).unwrap_err();
        assert!(matches!(refusal, Refusal::Violation(Violation::HostRefused)), "{refusal:?}");
    }
}

#[test]
fn requests_of_one_connection_to_one_host_share_what_is_known_of_them() {
    let proxies = proxies();
    let secure = Proven { certificate: None, trust: CancellationToken::new() };
    let peer = Peer::new(&proxies, STRANGER.parse().unwrap(), Some(secure));
    let ask = |host: &str| {
        let headers = HeaderMap::from_iter([(http::header::HOST, host.parse().unwrap())]);
        proxies.via(&peer, &Uri::from_static("/mcp"), &headers).unwrap()
    };
    let first = ask("gateway.example");
    assert!(Arc::ptr_eq(first.proofs(), ask("gateway.example").proofs()));
    let other = ask("other.example:8443");
    assert_eq!(other.client().host.as_deref(), Some("other.example"));
    assert_eq!(other.url(&Uri::from_static("/mcp")), "https://other.example:8443/mcp");
    assert!(Arc::ptr_eq(first.proofs(), ask("gateway.example").proofs()));
}

#[test]
fn networks_that_cannot_be_meant_are_errors() {
    for (bad, says) in [
        ("10.0.0.0/33", "neither a network"),
        ("proxy.example", "neither a network"),
        ("0.0.0.0/0", "everybody"),
        ("::/0", "everybody"),
        ("10.0.0.1/8", "write `10.0.0.0/8`"),
    ] {
        let error = Proxies::new(&[bad.to_owned()]).unwrap_err();
        assert!(error.starts_with("trusted_proxies: ") && error.contains(says), "{error}");
    }
    // A dual-stack socket shows it as IPv6.
    let proxies = proxies();
    let peer = Peer::new(&proxies, "[::ffff:10.0.0.5]:1".parse().unwrap(), None);
    assert!(peer.is_proxy);
}
