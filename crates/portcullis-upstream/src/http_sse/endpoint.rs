//! Where messages are posted: the server says it, and says it about itself only. A stream that could name another origin could have our
//! credentials and our callers' messages sent to anybody.

use http::Uri;
use portcullis_core::refusal::{Fault, FaultKind};

/// Bytes of what a server may name. 4 KiB: a path with a session id in it.
const LONGEST: usize = 4 << 10;

/// The target of our posts, in origin form, from the data of the `endpoint` event.
pub(super) fn resolve(stream: &Uri, named: &[u8]) -> Result<Uri, Fault> {
    let garbage = |why: &str| Fault::new(FaultKind::Garbage, format!("the server names an endpoint that {why}"));
    let named = std::str::from_utf8(named).ok().filter(|named| named.len() <= LONGEST && !named.contains(['#', '\\']));
    let named = named.ok_or_else(|| garbage("is no address"))?.trim();
    if named.is_empty() {
        return Err(garbage("is empty"));
    }
    if named.starts_with("//") {
        return Err(garbage("is of another origin"));
    }
    let before_path = named.split(['/', '?']).next().unwrap_or_default();
    let target = if before_path.contains(':') {
        let absolute: Uri = named.parse().map_err(|_| garbage("is no address"))?;
        if origin(&absolute) != origin(stream) || absolute.authority().is_some_and(|host| host.as_str().contains('@')) {
            return Err(garbage("is of another origin"));
        }
        absolute.path_and_query().map_or("/", http::uri::PathAndQuery::as_str).to_owned()
    } else if named.starts_with('/') {
        named.to_owned()
    } else if named.starts_with('?') {
        format!("{}{named}", stream.path())
    } else {
        let folder = stream.path().rsplit_once('/').map_or("", |(folder, _)| folder);
        format!("{folder}/{named}")
    };
    if target.split('?').next().is_some_and(|path| path.split('/').any(|part| part == "..")) {
        return Err(garbage("leads out of its folder"));
    }
    target.parse().map_err(|_| garbage("is no address"))
}

/// Scheme, host and port, as far as they decide where a request goes.
fn origin(uri: &Uri) -> Option<(String, String, u16)> {
    let scheme = uri.scheme_str()?.to_ascii_lowercase();
    let implied = if scheme == "https" { 443 } else { 80 };
    Some((scheme, uri.host()?.to_ascii_lowercase(), uri.port_u16().unwrap_or(implied)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn resolved(named: &str) -> Option<String> {
        let stream = Uri::from_static("https://mcp.example/one/sse?key=k");
        resolve(&stream, named.as_bytes()).ok().map(|target| target.to_string())
    }

    #[test]
    fn an_endpoint_may_be_named_in_every_form_of_its_own_origin() {
        for (named, target) in [
            ("/messages?sessionId=1", "/messages?sessionId=1"),
            ("messages/?session_id=a:b", "/one/messages/?session_id=a:b"),
            ("?session=1", "/one/sse?session=1"),
            ("https://mcp.example/m?s=1", "/m?s=1"),
            ("https://MCP.example:443/m", "/m"),
            (" /messages\r", "/messages"),
        ] {
            assert_eq!(resolved(named).as_deref(), Some(target), "{named}");
        }
    }

    #[test]
    fn an_endpoint_of_another_origin_is_refused() {
        for named in [
            "",
            "//evil.example/m",
            "\\\\evil.example/m",
            "/\\evil.example/m",
            "http://mcp.example/m",
            "https://evil.example/m",
            "https://mcp.example:8443/m",
            "https://mcp.example@evil.example/m",
            "https://x@mcp.example/m",
            "https:evil",
            "javascript:alert(1)",
            "/a/../../m",
            "/m#f",
            "/m n",
        ] {
            assert_eq!(resolved(named), None, "{named}");
        }
    }
}
