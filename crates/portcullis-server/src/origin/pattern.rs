//! Origins as browsers write them (RFC 6454 §7), and what the operator allows of them.

use crate::authority::Authority;

/// Scheme, host and port. Two origins are the same only if all three are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Origin {
    pub(super) scheme: String,
    /// Lower case, without brackets.
    pub(super) host: String,
    /// The default one where the scheme has one and none is written.
    pub(super) port: Option<u16>,
}

/// What the operator wrote.
#[derive(Clone, Debug)]
pub(super) enum Pattern {
    Exact(Origin),
    /// Any subdomain of `host`, of any depth; never `host` itself, which is written on its own.
    Below(Origin),
}

impl Origin {
    /// `None` for what is no origin: `null`, a path, user information.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let (scheme, authority) = text.split_once("://")?;
        let mut letters = scheme.bytes();
        let begins = letters.next().is_some_and(|letter| letter.is_ascii_alphabetic());
        let goes_on = letters.all(|letter| letter.is_ascii_alphanumeric() || matches!(letter, b'+' | b'-' | b'.'));
        if !(begins && goes_on) {
            return None;
        }
        let scheme = scheme.to_ascii_lowercase();
        let Authority { text, host } = Authority::parse(authority)?;
        let written = text.rsplit_once(':').filter(|(_, digits)| !digits.ends_with(']'));
        let port = match (written, scheme.as_str()) {
            (Some((_, digits)), _) => Some(digits.parse().ok()?),
            (None, "http" | "ws") => Some(80),
            (None, "https" | "wss") => Some(443),
            (None, _) => None,
        };
        Some(Self { scheme, host: host.to_ascii_lowercase(), port })
    }
}

impl Pattern {
    /// # Errors
    /// What no browser would ever send, so that it would silently match nothing; or far too much.
    pub(super) fn new(text: &str) -> Result<Self, String> {
        if let Some((scheme, rest)) = text.split_once("://*.") {
            let origin = Origin::parse(&format!("{scheme}://{rest}"));
            let above =
                origin.filter(|origin| origin.host.contains('.') && origin.host.parse::<std::net::IpAddr>().is_err());
            return above
                .map(Self::Below)
                .ok_or_else(|| format!("`{text}` is not a wildcard for subdomains such as `https://*.example.com`"));
        }
        Origin::parse(text).map(Self::Exact).ok_or_else(|| {
            format!("`{text}` is not an origin; write scheme, host and perhaps port, such as `https://app.example.com`")
        })
    }

    pub(super) fn covers(&self, origin: &Origin) -> bool {
        match self {
            Self::Exact(exact) => exact == origin,
            Self::Below(above) => {
                let label = origin.host.strip_suffix(&above.host).and_then(|rest| rest.strip_suffix('.'));
                let below = label.is_some_and(|labels| labels.split('.').all(|label| !label.is_empty()));
                below && above.scheme == origin.scheme && above.port == origin.port
            }
        }
    }
}
