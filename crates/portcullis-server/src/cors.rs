//! What a web page on an allowed origin has to be told before its browser lets it call and read (the Fetch standard's CORS protocol).
//! A page on any other origin was refused before this file is asked.

use http::header::{
    ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN,
    ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE, ACCESS_CONTROL_REQUEST_HEADERS,
    ACCESS_CONTROL_REQUEST_METHOD, HeaderValue, VARY,
};
use http::{HeaderMap, Method, Response, StatusCode};

use crate::body::Body;

/// The origin of a page that may use this gateway; made by `OriginRule` alone.
#[derive(Clone, Debug)]
pub(crate) struct Page(HeaderValue);

/// Headers of ours that mean something to a client. `Retry-After` because a page could not keep to it otherwise.
const EXPOSED: HeaderValue =
    HeaderValue::from_static("mcp-session-id, mcp-protocol-version, www-authenticate, dpop-nonce, retry-after");

/// Request headers that mean something here, beside `mcp-param-*`.
const HEADERS: [&str; 18] = [
    "accept",
    "authorization",
    "content-digest",
    "content-type",
    "dpop",
    "last-event-id",
    "mcp-method",
    "mcp-name",
    "mcp-protocol-version",
    "mcp-session-id",
    "mcp-transport-preference",
    "signature",
    "signature-input",
    "traceparent",
    "tracestate",
    "x-agent-identity",
    "x-api-key",
    "x-upstream-agents",
];

/// How long a browser may remember a preflight. 600 s: an origin that was taken from the list is out within ten minutes, and a session of
/// calls costs one preflight, not one each.
const MAX_AGE: HeaderValue = HeaderValue::from_static("600");

/// Header names of one preflight that are looked at. Three times what a modern call has.
const MOST_NAMES: usize = 128;

impl Page {
    pub(crate) fn new(origin: HeaderValue) -> Self {
        Self(origin)
    }

    /// Lets the page read an answer, whatever it says. Credentials are never allowed: what a browser adds by itself (cookies, certificates)
    /// proves nothing about the page.
    pub(crate) fn may_read<B>(self, response: &mut Response<B>) {
        let headers = response.headers_mut();
        headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, self.0);
        headers.insert(ACCESS_CONTROL_EXPOSE_HEADERS, EXPOSED);
        // Answers differ by origin only where one was sent; those without are for no browser's cache.
        headers.append(VARY, HeaderValue::from_static("origin"));
    }
}

/// Whether a browser asks, before it sends the request itself.
pub(crate) fn is_preflight(method: &Method, headers: &HeaderMap) -> bool {
    method == Method::OPTIONS && headers.contains_key(ACCESS_CONTROL_REQUEST_METHOD)
}

/// What a page may send. It proves nothing, because browsers send preflights without credentials.
pub(crate) fn preflight(asked: &HeaderMap, methods: &'static str) -> Response<Body> {
    let mut response = Response::new(Body::Empty);
    *response.status_mut() = StatusCode::NO_CONTENT;
    let headers = response.headers_mut();
    headers.insert(ACCESS_CONTROL_ALLOW_METHODS, HeaderValue::from_static(methods));
    headers.insert(ACCESS_CONTROL_MAX_AGE, MAX_AGE);
    if let Some(names) = allowed_names(asked) {
        headers.insert(ACCESS_CONTROL_ALLOW_HEADERS, names);
    }
    headers.append(VARY, HeaderValue::from_static("access-control-request-method, access-control-request-headers"));
    response
}

/// Those of the names the browser asks for that mean something here.
fn allowed_names(asked: &HeaderMap) -> Option<HeaderValue> {
    let values = asked.get_all(ACCESS_CONTROL_REQUEST_HEADERS).iter().filter_map(|value| value.to_str().ok());
    let mut allowed = Vec::new();
    for name in values.flat_map(|value| value.split(',')).map(str::trim).take(MOST_NAMES) {
        let name = name.to_ascii_lowercase();
        let parameter = name.strip_prefix("mcp-param-").is_some_and(|rest| rest.bytes().all(is_token_letter));
        if parameter || HEADERS.binary_search(&name.as_str()).is_ok() {
            allowed.push(name);
        }
    }
    (!allowed.is_empty()).then(|| HeaderValue::try_from(allowed.join(", ")).ok()).flatten()
}

/// Letters of header names that a tool's schema can lead to; `,` and spaces would be another name.
const fn is_token_letter(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.')
}

#[cfg(test)]
mod tests {
    use http::{HeaderMap, Method, Response};

    use super::{HEADERS, Page, is_preflight, preflight};

    fn asked(names: &str) -> HeaderMap {
        let mut headers = HeaderMap::new();
        headers.insert("access-control-request-method", "POST".parse().unwrap());
        headers.insert("access-control-request-headers", names.parse().unwrap());
        headers
    }

    #[test]
    fn a_preflight_is_told_the_names_that_mean_something_here_and_no_others() {
        let answer =
            preflight(&asked("Content-Type,mcp-session-id, MCP-Param-Region,cookie,x-evil,mcp-param-a b"), "GET, POST");
        assert_eq!(answer.status(), 204);
        assert_eq!(answer.headers()["access-control-allow-headers"], "content-type, mcp-session-id, mcp-param-region");
        assert_eq!(answer.headers()["access-control-allow-methods"], "GET, POST");
        assert_eq!(answer.headers()["access-control-max-age"], "600");
        assert!(!preflight(&asked("x-evil"), "GET").headers().contains_key("access-control-allow-headers"));
    }

    #[test]
    fn options_is_a_preflight_only_when_it_asks_for_a_method() {
        assert!(is_preflight(&Method::OPTIONS, &asked("accept")));
        assert!(!is_preflight(&Method::OPTIONS, &HeaderMap::new()));
        assert!(!is_preflight(&Method::POST, &asked("accept")));
    }

    #[test]
    fn a_page_may_read_what_clients_need_and_never_with_credentials() {
        let mut response = Response::new(());
        Page::new("https://app.example".parse().unwrap()).may_read(&mut response);
        let headers = response.headers();
        assert_eq!(headers["access-control-allow-origin"], "https://app.example");
        assert_eq!(headers["vary"], "origin");
        let exposed = headers["access-control-expose-headers"].to_str().unwrap();
        for name in ["mcp-session-id", "mcp-protocol-version", "www-authenticate", "dpop-nonce"] {
            assert!(exposed.contains(name), "{name}");
        }
        assert!(!headers.contains_key("access-control-allow-credentials"));
    }

    #[test]
    fn the_list_of_names_is_sorted_for_its_search() {
        assert!(HEADERS.is_sorted());
    }
}
