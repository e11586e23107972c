//! The authority a request names: `Host`, `:authority`, or what a trusted proxy passes on. Read strictly, so that no two readers of the same
//! bytes can see two hosts.

use std::net::Ipv6Addr;

use http::header::HOST;
use http::{HeaderMap, Uri};

/// `host[:port]`, both parts checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Authority<'a> {
    /// As it was written.
    pub(crate) text: &'a str,
    /// Without port and brackets.
    pub(crate) host: &'a str,
}

impl<'a> Authority<'a> {
    /// `None` for user information, a port that is no number, and letters that no host has.
    pub(crate) fn parse(text: &'a str) -> Option<Self> {
        let (host, port) = match text.strip_prefix('[') {
            Some(rest) => {
                let (host, port) = rest.split_once(']')?;
                host.parse::<Ipv6Addr>().ok()?;
                (host, port)
            }
            None => {
                let at = text.find(':').unwrap_or(text.len());
                let (host, port) = text.split_at_checked(at)?;
                (!host.is_empty() && host.bytes().all(is_host_letter)).then_some((host, port))?
            }
        };
        match port.strip_prefix(':') {
            // RFC 3986 §3.2.3: the port may be empty.
            Some(digits) => digits.is_empty() || is_port(digits),
            None => port.is_empty(),
        }
        .then_some(Self { text, host })
    }

    /// The one authority of a request: that of HTTP/2 or of the absolute form, or exactly one `Host` header; both only if they are equal
    /// (RFC 9113 §8.3.1).
    pub(crate) fn of_request(uri: &'a Uri, headers: &'a HeaderMap) -> Option<Self> {
        let mut values = headers.get_all(HOST).iter();
        let header = match values.next() {
            Some(value) => Some(value.to_str().ok()?),
            None => None,
        };
        if values.next().is_some() {
            return None;
        }
        match (uri.authority(), header) {
            (Some(authority), Some(header)) if authority.as_str() != header => None,
            (Some(authority), _) => Self::parse(authority.as_str()),
            (None, Some(header)) => Self::parse(header),
            (None, None) => None,
        }
    }
}

/// Letters of a DNS name, `_` included because internal names have it. Not `%`: an encoded name is two names to two readers.
pub(crate) const fn is_host_letter(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_')
}

fn is_port(digits: &str) -> bool {
    digits.bytes().all(|byte| byte.is_ascii_digit()) && digits.parse::<u16>().is_ok()
}

#[cfg(test)]
mod tests {
    use super::Authority;

    #[test]
    fn an_authority_has_one_host_and_at_most_one_port() {
        for (text, host) in [
            ("gateway.example", "gateway.example"),
            ("gateway.example:8443", "gateway.example"),
            ("gateway.example:", "gateway.example"),
            ("[2001:db8::1]:443", "2001:db8::1"),
            ("192.0.2.1", "192.0.2.1"),
        ] {
            assert_eq!(Authority::parse(text).unwrap().host, host, "{text}");
        }
        for text in [
            "",
            ":80",
            "user@gateway.example",
            "gateway.example:80:80",
            "gateway.example:http",
            "gateway.example:65536",
            "gateway.example/path",
            "gate way.example",
            "gateway%2eexample",
            "[::1",
            "[::1]80",
            "[gateway.example]",
            "::1",
            "gateway.example,other.example",
        ] {
            assert_eq!(Authority::parse(text), None, "{text}");
        }
    }
}
