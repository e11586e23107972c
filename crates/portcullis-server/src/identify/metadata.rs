//! What anybody may know of this protected resource (RFC 9728, F6, F7): which authorization servers it believes. Made once, from the
//! configuration alone (F10).

use std::sync::Arc;

use bytes::Bytes;
use http::header::{ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN};
use http::header::{ACCESS_CONTROL_MAX_AGE, ALLOW, CACHE_CONTROL, CONTENT_TYPE, HeaderValue};
use http::{Method, Response, StatusCode};
use url::Url;

use crate::body::Body;

/// Where it is.
pub(crate) const WELL_KNOWN: &str = "/.well-known/oauth-protected-resource";
/// How long anybody may keep it: 300 s, so that a change of issuers is known five minutes later, and a client that asks before each session asks
/// seldom.
const KEPT: HeaderValue = HeaderValue::from_static("public, max-age=300");
const METHODS: HeaderValue = HeaderValue::from_static("GET, HEAD, OPTIONS");
const ANYBODY: HeaderValue = HeaderValue::from_static("*");
/// How long a browser need not ask again whether it may ask. A day: the answer is in the program.
const PREFLIGHT_KEPT: HeaderValue = HeaderValue::from_static("86400");

/// The document and where it is found.
#[derive(Debug)]
pub(crate) struct Metadata {
    /// For challenges.
    pub(super) address: Arc<str>,
    document: Bytes,
    /// Of the resource, and of the endpoint, which a proxy in front may have moved.
    paths: [String; 2],
}

impl Metadata {
    /// `resource` is the canonical address, `path` that of the endpoint here.
    ///
    /// # Errors
    /// The address is none.
    pub(super) fn new(resource: &str, path: &str, document: String) -> Result<Self, String> {
        let url = Url::parse(resource).map_err(|error| format!("identity.oauth.resource: `{resource}`: {error}"))?;
        let own = match url.path() {
            "/" => "",
            path => path,
        };
        let address = format!("{}{WELL_KNOWN}{own}", url.origin().ascii_serialization());
        let paths = [format!("{WELL_KNOWN}{own}"), format!("{WELL_KNOWN}{path}")];
        Ok(Self { address: address.into(), document: document.into(), paths })
    }

    /// The answer to a request for it; `None` for another path. In the root form too, where clients look next (F7). It is for every page and
    /// needs no proof: it says how to get one.
    pub(crate) fn answer(&self, method: &Method, path: &str) -> Option<Response<Body>> {
        if path != WELL_KNOWN && !self.paths.iter().any(|known| known == path) {
            return None;
        }
        let mut response = Response::new(Body::Empty);
        response.headers_mut().insert(ACCESS_CONTROL_ALLOW_ORIGIN, ANYBODY);
        match *method {
            // The connection leaves out the body of an answer to HEAD, and says how long it would be.
            Method::GET | Method::HEAD => {
                *response.body_mut() = Body::Own(Some(self.document.clone()));
                let headers = response.headers_mut();
                headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
                headers.insert(CACHE_CONTROL, KEPT);
            }
            Method::OPTIONS => {
                *response.status_mut() = StatusCode::NO_CONTENT;
                let headers = response.headers_mut();
                headers.insert(ACCESS_CONTROL_ALLOW_METHODS, METHODS);
                headers.insert(ACCESS_CONTROL_ALLOW_HEADERS, ANYBODY);
                headers.insert(ACCESS_CONTROL_MAX_AGE, PREFLIGHT_KEPT);
            }
            _ => {
                *response.status_mut() = StatusCode::METHOD_NOT_ALLOWED;
                response.headers_mut().insert(ALLOW, METHODS);
            }
        }
        Some(response)
    }
}

#[cfg(test)]
mod tests {
    use http::Method;

    use super::Metadata;

    fn metadata(resource: &str) -> Metadata {
        Metadata::new(resource, "/mcp", "{}".to_owned()).unwrap()
    }

    /// F7, F10: the address comes from the configuration; path form and root form both answer.
    #[test]
    fn f7_metadata_is_at_the_root_and_below_it_for_the_resource_and_the_endpoint() {
        let moved = metadata("https://gateway.example:8443/tenant/mcp");
        assert_eq!(&*moved.address, "https://gateway.example:8443/.well-known/oauth-protected-resource/tenant/mcp");
        let root = "/.well-known/oauth-protected-resource";
        for path in [root, &format!("{root}/tenant/mcp"), &format!("{root}/mcp")] {
            assert_eq!(moved.answer(&Method::GET, path).unwrap().status(), 200, "{path}");
        }
        for path in ["/mcp", "/.well-known/oauth-protected-resourcex", &format!("{root}/"), &format!("{root}/other")] {
            assert!(moved.answer(&Method::GET, path).is_none(), "{path}");
        }
        assert_eq!(
            &*metadata("https://gateway.example/").address,
            "https://gateway.example/.well-known/oauth-protected-resource"
        );
    }

    #[test]
    fn every_page_may_read_it_and_nobody_may_write() {
        let known = metadata("https://gateway.example/mcp");
        let answer = |method| known.answer(&method, "/.well-known/oauth-protected-resource/mcp").unwrap();
        for method in [Method::GET, Method::HEAD, Method::OPTIONS, Method::POST] {
            assert_eq!(answer(method).headers()["access-control-allow-origin"], "*");
        }
        assert_eq!(answer(Method::GET).headers()["cache-control"], "public, max-age=300");
        assert_eq!(answer(Method::OPTIONS).status(), 204);
        assert_eq!(answer(Method::POST).status(), 405);
    }
}
