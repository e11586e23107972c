//! The handshake (RFC 6455 §4.2) and its subprotocols: which one is spoken, and the token that browsers can put nowhere else (J6, J14).

use http::header::{
    AUTHORIZATION, CONNECTION, HeaderValue, SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_PROTOCOL, SEC_WEBSOCKET_VERSION, UPGRADE,
};
use http::{HeaderMap, HeaderName};
use portcullis_core::refusal::Violation;
use portcullis_core::version::Version;

/// What clients without versions offer.
const PLAIN: &str = "mcp";
const VERSION: &str = "mcp.version.";
/// A secret stands behind it: never selected, never sent back, never shown.
const TOKEN: &str = "mcp.auth.";

/// What was agreed.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Agreed {
    /// For `Sec-WebSocket-Protocol`; `None` when nothing was offered.
    pub(super) subprotocol: Option<String>,
    pub(super) key: HeaderValue,
}

impl Agreed {
    /// The client speaks the draft, in which sessions have ids that it is told (J7).
    pub(super) fn knows_sessions(&self) -> bool {
        self.subprotocol.as_ref().is_some_and(|subprotocol| subprotocol.starts_with(VERSION))
    }
}

/// Whether `headers` ask for a WebSocket at all.
pub(super) fn is_asked(headers: &HeaderMap) -> bool {
    lists(headers, &UPGRADE).any(|protocol| protocol.eq_ignore_ascii_case("websocket"))
}

/// # Errors
/// A handshake that RFC 6455 does not allow, or that offers nothing we speak.
pub(super) fn agree(headers: &HeaderMap) -> Result<Agreed, Violation> {
    let invalid = |why| Violation::UpgradeInvalid { why };
    if !lists(headers, &CONNECTION).any(|option| option.eq_ignore_ascii_case("upgrade")) {
        return Err(invalid("`connection` does not say `upgrade`"));
    }
    if single(headers, &SEC_WEBSOCKET_VERSION).is_none_or(|version| version != "13") {
        return Err(Violation::UpgradeVersion);
    }
    let key = single(headers, &SEC_WEBSOCKET_KEY).filter(|key| is_key(key.as_bytes()));
    let key = key.ok_or_else(|| invalid("`sec-websocket-key` is not 16 bytes in Base64"))?.clone();
    if headers.get_all(&SEC_WEBSOCKET_PROTOCOL).iter().any(|value| value.to_str().is_err()) {
        return Err(invalid("`sec-websocket-protocol` is not ASCII"));
    }
    let offered = || lists(headers, &SEC_WEBSOCKET_PROTOCOL).filter(|name| !name.starts_with(TOKEN));
    let spoken = |name: &&str| name.strip_prefix(VERSION).is_some_and(|version| Version::parse(version).is_some());
    let chosen = offered().find(spoken).or_else(|| offered().find(|name| *name == PLAIN));
    match (chosen, offered().find_map(|name| name.strip_prefix(VERSION)), offered().next()) {
        (Some(chosen), ..) => Ok(Agreed { subprotocol: Some(chosen.to_owned()), key }),
        (None, Some(version), _) => Err(Violation::VersionUnsupported { requested: version.to_owned() }),
        (None, None, Some(_)) => Err(Violation::SubprotocolUnknown),
        (None, None, None) => Ok(Agreed { subprotocol: None, key }),
    }
}

/// Moves a token to where all others stand. One beside another credential makes two, which are refused like any two.
pub(super) fn with_token(mut headers: HeaderMap) -> HeaderMap {
    let token = |name: &str| HeaderValue::try_from(format!("Bearer {}", name.strip_prefix(TOKEN)?)).ok();
    let tokens: Vec<_> = lists(&headers, &SEC_WEBSOCKET_PROTOCOL).filter_map(token).collect();
    headers.remove(&SEC_WEBSOCKET_PROTOCOL);
    for mut token in tokens {
        token.set_sensitive(true);
        headers.append(AUTHORIZATION, token);
    }
    headers
}

/// The elements of a list header, over all its lines.
fn lists<'a>(headers: &'a HeaderMap, name: &HeaderName) -> impl Iterator<Item = &'a str> {
    let lines = headers.get_all(name).iter().filter_map(|value| value.to_str().ok());
    lines.flat_map(|line| line.split(',')).map(str::trim).filter(|element| !element.is_empty())
}

fn single<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a HeaderValue> {
    let mut values = headers.get_all(name).iter();
    values.next().filter(|_| values.next().is_none())
}

fn is_key(key: &[u8]) -> bool {
    let letters = key.strip_suffix(b"==").unwrap_or_default();
    letters.len() == 22 && letters.iter().all(|letter| letter.is_ascii_alphanumeric() || b"+/".contains(letter))
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";

    fn headers(changed: &[(&'static str, &str)]) -> HeaderMap {
        let usual =
            [("connection", "keep-alive, Upgrade"), ("sec-websocket-version", "13"), ("sec-websocket-key", KEY)];
        let mut headers = HeaderMap::new();
        for (name, value) in usual.iter().filter(|(name, _)| !changed.iter().any(|(other, _)| other == name)) {
            headers.append(*name, value.parse().unwrap());
        }
        for (name, value) in changed.iter().filter(|(_, value)| !value.is_empty()) {
            headers.append(*name, value.parse().unwrap());
        }
        headers
    }

    fn chosen(offered: &str) -> Result<Option<String>, &'static str> {
        let agreed = agree(&headers(&[("sec-websocket-protocol", offered)]));
        agreed.map(|agreed| agreed.subprotocol).map_err(|violation| violation.code())
    }

    #[test]
    fn j6_j14_a_version_is_chosen_before_the_plain_word_and_a_token_never() {
        assert_eq!(chosen(""), Ok(None), "a client that offers nothing is told nothing");
        assert_eq!(chosen("mcp"), Ok(Some("mcp".into())));
        assert_eq!(chosen("mcp.auth.secret, mcp"), Ok(Some("mcp".into())));
        assert_eq!(chosen("mcp, mcp.version.2025-06-18"), Ok(Some("mcp.version.2025-06-18".into())));
        assert_eq!(chosen("mcp.version.1999-01-01, mcp"), Ok(Some("mcp".into())));
        assert_eq!(chosen("mcp.auth.secret"), Ok(None));
        assert_eq!(chosen("mcp.version.1999-01-01"), Err("version_unsupported"));
        assert_eq!(chosen("graphql-ws, MCP"), Err("subprotocol_unknown"));
    }

    #[test]
    fn j14_a_token_becomes_a_credential_like_any_other_and_its_header_is_gone() {
        let told = with_token(headers(&[("sec-websocket-protocol", "mcp, mcp.auth.abc.def")]));
        assert_eq!(told.get("authorization").unwrap(), "Bearer abc.def");
        assert!(!told.contains_key("sec-websocket-protocol") && !format!("{told:?}").contains("abc"), "{told:?}");
        let two = [("sec-websocket-protocol", "mcp.auth.abc, mcp.auth.def"), ("authorization", "Bearer ghi")];
        assert_eq!(with_token(headers(&two)).get_all("authorization").iter().count(), 3);
    }

    #[test]
    fn a_handshake_is_whole_or_none() {
        for (changed, code) in [
            (("connection", "close"), "upgrade_invalid"),
            (("sec-websocket-version", "8"), "upgrade_version"),
            (("sec-websocket-version", ""), "upgrade_version"),
            (("sec-websocket-key", "short"), "upgrade_invalid"),
            (("sec-websocket-key", ""), "upgrade_invalid"),
        ] {
            assert_eq!(agree(&headers(&[changed])).unwrap_err().code(), code, "{changed:?}");
        }
        let twice = headers(&[("sec-websocket-key", KEY), ("sec-websocket-key", KEY)]);
        assert_eq!(agree(&twice).unwrap_err().code(), "upgrade_invalid");
    }
}
