//! `htu` (RFC 9449 §4.3): two ways to write one URL are one URL, and nothing else is.

use url::Url;

/// Scheme, host, port and path in the normal form of RFC 3986 §6.2.2 and §6.2.3; without query and fragment. `None`: no URL of HTTP, or one
/// that readers of URLs do not agree on.
pub(super) fn normal(address: &str) -> Option<String> {
    // The reader below turns backslashes into slashes and drops tabs, as browsers do. RFC 3986 has neither.
    if !address.bytes().all(|byte| byte.is_ascii_graphic() && !matches!(byte, b'\\' | b'"' | b'<' | b'>' | b'^' | b'`'))
    {
        return None;
    }
    let url = Url::parse(address).ok()?;
    if !matches!(url.scheme(), "http" | "https") || !url.username().is_empty() || url.password().is_some() {
        return None;
    }
    let port = url.port().map(|port| format!(":{port}")).unwrap_or_default();
    Some(format!("{}://{}{port}{}", url.scheme(), url.host_str()?, path(url.path())?))
}

/// Escapes in upper case, and none for what needs none. Dot segments are gone already, those written with escapes included.
fn path(path: &str) -> Option<String> {
    let mut normal = String::with_capacity(path.len());
    let mut pieces = path.split('%');
    normal.push_str(pieces.next()?);
    for piece in pieces {
        let (digits, rest) = piece.split_at_checked(2)?;
        let byte =
            u8::from_str_radix(digits, 16).ok().filter(|_| digits.bytes().all(|digit| digit.is_ascii_hexdigit()))?;
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~') {
            normal.push(char::from(byte));
        } else {
            normal.push_str(&format!("%{byte:02X}"));
        }
        normal.push_str(rest);
    }
    Some(normal)
}
