//! Which `Host` and `Origin` values are ours. Checked on every route and method before anything else (A2–A4, C2).

use std::net::{IpAddr, SocketAddr};

use http::header::{HOST, ORIGIN};
use http::{HeaderMap, Uri};
use portcullis_core::refusal::Violation;

/// The rule of one listener.
#[derive(Clone, Debug)]
pub struct OriginRule {
    hosts: Hosts,
    origins: Option<Vec<String>>,
    /// Port of a loopback listener without configured origins; loopback origins must name it.
    loopback_port: Option<u16>,
}

#[derive(Clone, Debug)]
enum Hosts {
    Any,
    Loopback,
    Listed(Vec<String>),
}

impl OriginRule {
    /// The rule of a listener at `bound`: what the operator listed, or what is safe there (see `ServerSettings`).
    #[must_use]
    pub fn new(bound: SocketAddr, hosts: Option<&[String]>, origins: Option<&[String]>) -> Self {
        let loopback = bound.ip().is_loopback();
        let hosts = match hosts {
            Some(listed) => Hosts::Listed(listed.iter().map(|host| host.to_ascii_lowercase()).collect()),
            None if loopback => Hosts::Loopback,
            None => Hosts::Any,
        };
        let origins = origins.map(|listed| listed.iter().map(|origin| origin.to_ascii_lowercase()).collect());
        Self { hosts, origins, loopback_port: loopback.then_some(bound.port()) }
    }

    /// # Errors
    /// A missing, repeated, unreadable or foreign `Host`; an `Origin` that is repeated, unreadable, `null` or not allowed.
    pub fn check(&self, uri: &Uri, headers: &HeaderMap) -> Result<(), Violation> {
        let host = host_of(uri, headers).ok_or(Violation::HostRefused)?;
        let known = match &self.hosts {
            Hosts::Any => true,
            Hosts::Loopback => is_loopback_name(host),
            Hosts::Listed(listed) => listed.iter().any(|allowed| allowed.eq_ignore_ascii_case(host)),
        };
        if !known {
            return Err(Violation::HostRefused);
        }
        let mut origins = headers.get_all(ORIGIN).iter();
        let Some(origin) = origins.next() else { return Ok(()) };
        if origins.next().is_some() {
            return Err(Violation::OriginRefused);
        }
        let origin = origin.to_str().map_err(|_| Violation::OriginRefused)?;
        if self.origin_allowed(origin) { Ok(()) } else { Err(Violation::OriginRefused) }
    }

    fn origin_allowed(&self, origin: &str) -> bool {
        if let Some(listed) = &self.origins {
            return listed.iter().any(|allowed| allowed.eq_ignore_ascii_case(origin));
        }
        let Some(port) = self.loopback_port else { return false };
        let Ok(uri) = origin.parse::<Uri>() else { return false };
        let (Some(scheme), Some(host)) = (uri.scheme_str(), uri.host()) else { return false };
        let default_port = match scheme {
            "http" => 80,
            "https" => 443,
            _ => return false,
        };
        let plain = uri.path() == "/" && uri.query().is_none() && !origin.contains('@');
        plain && is_loopback_name(host) && uri.port_u16().unwrap_or(default_port) == port
    }
}

/// The one host a request names, without port: the authority of HTTP/2, or exactly one `Host` header.
fn host_of<'a>(uri: &'a Uri, headers: &'a HeaderMap) -> Option<&'a str> {
    let mut values = headers.get_all(HOST).iter();
    let header = match values.next() {
        Some(value) => Some(value.to_str().ok()?),
        None => None,
    };
    if values.next().is_some() {
        return None;
    }
    let authority = match (uri.authority(), header) {
        (Some(authority), Some(header)) if authority.as_str() != header => return None,
        (Some(authority), _) => authority.as_str(),
        (None, Some(header)) => header,
        (None, None) => return None,
    };
    let host = match authority.strip_prefix('[') {
        Some(rest) => rest.split_once(']')?.0,
        None => authority.split_once(':').map_or(authority, |(host, _port)| host),
    };
    (!host.is_empty() && !authority.contains('@')).then_some(host)
}

fn is_loopback_name(host: &str) -> bool {
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    bare.eq_ignore_ascii_case("localhost") || bare.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::OriginRule;
    use http::{HeaderMap, Uri};
    use portcullis_core::refusal::Violation;

    fn check(rule: &OriginRule, pairs: &[(&'static str, &str)]) -> Result<(), Violation> {
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            headers.append(*name, value.parse().unwrap());
        }
        rule.check(&Uri::from_static("/mcp"), &headers)
    }

    fn loopback() -> OriginRule {
        OriginRule::new("127.0.0.1:8700".parse().unwrap(), None, None)
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
        ] {
            assert_eq!(check(&loopback(), &[("host", host)]).unwrap_err(), Violation::HostRefused, "{host}");
        }
        assert_eq!(check(&loopback(), &[]).unwrap_err(), Violation::HostRefused);
        let twice = [("host", "localhost"), ("host", "localhost")];
        assert_eq!(check(&loopback(), &twice).unwrap_err(), Violation::HostRefused);
    }

    #[test]
    fn a3_a_foreign_origin_is_refused_and_scheme_host_and_port_all_count() {
        for origin in ["http://localhost:8700", "http://127.0.0.1:8700", "http://[::1]:8700"] {
            assert!(check(&loopback(), &[("host", "localhost:8700"), ("origin", origin)]).is_ok(), "{origin}");
        }
        for origin in [
            "http://localhost:9999",
            "http://evil.example:8700",
            "null",
            "file://localhost:8700",
            "http://localhost@evil.example:8700",
            "localhost:8700",
            "http://localhost:8700/path",
            "not an origin",
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
        let open = OriginRule::new(bound, None, None);
        assert!(check(&open, &[("host", "gateway.example")]).is_ok());
        assert!(check(&open, &[("host", "gateway.example"), ("origin", "https://gateway.example")]).is_err());
        let named = OriginRule::new(bound, Some(&["gateway.example".into()]), Some(&["https://app.example".into()]));
        assert!(check(&named, &[("host", "Gateway.example:443"), ("origin", "https://app.example")]).is_ok());
        assert!(check(&named, &[("host", "other.example")]).is_err());
    }
}
