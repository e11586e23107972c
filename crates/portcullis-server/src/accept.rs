//! From a request to an [`Arrival`]: path, method, media types, and a body of bounded size that arrives in bounded time. Where it comes from
//! was found out before (`proxies.rs`), and whether it may come at all (`origin.rs`).

use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::poll_immediate;
use http::header::{ACCEPT, CONTENT_LENGTH, CONTENT_TYPE};
use http::request::Parts;
use http::{HeaderMap, Method, Request, Uri};
use http_body::{Body, Frame};
use hyper::body::Incoming;
use portcullis_core::pieces::Pieces;
use portcullis_core::refusal::Violation;

use crate::answer::Refusal;
use crate::bell;
use crate::conversation::HEADER_COUNT;
use crate::endpoint::Endpoint;
use crate::gateway::Gateway;
use crate::identify::Permit;
use crate::settings::LimitSettings;

/// Bodies up to this size are copied out of the connection's buffer. Half of what hyper gives a buffer: what is larger fills one. Unit: bytes.
const COPIED: usize = 4096;

/// An `Accept` that covers both forms an answer can take, and so each.
const BOTH_FORMS: &str = "application/json, text/event-stream";

/// Methods of the endpoint.
pub(crate) const METHODS: &str = "GET, POST, DELETE";

/// What the client wants of the endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verb {
    /// `POST`: a message.
    Message,
    /// Legacy `GET`: a stream.
    Stream,
    /// Legacy `DELETE`: the end of the session.
    Close,
}

impl Verb {
    /// As it stands in the request line.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Message => "POST",
            Self::Stream => "GET",
            Self::Close => "DELETE",
        }
    }
}

/// A request that reached the endpoint in a form MCP allows. The body is still on the wire.
#[derive(Debug)]
pub(crate) struct Arrival {
    pub(crate) verb: Verb,
    pub(crate) endpoint: Arc<Endpoint>,
    pub(crate) head: Head,
    body: Incoming,
}

/// What comes before the body. Both parts share the buffer of the connection, which is read into while the call goes on, so that neither may
/// be kept for that time.
#[derive(Debug)]
pub(crate) struct Head {
    pub(crate) uri: Uri,
    pub(crate) headers: HeaderMap,
}

impl Arrival {
    /// # Errors
    /// Path, method and media types, in this order.
    pub(crate) fn new(gateway: &Gateway, request: Request<Incoming>) -> Result<Self, Violation> {
        let (Parts { method, uri, headers, .. }, body) = request.into_parts();
        // HTTP/2 bounds their bytes alone.
        if headers.len() > HEADER_COUNT {
            return Err(Violation::HeadersTooLarge);
        }
        let endpoint = Arc::clone(gateway.endpoints.at(uri.path()).ok_or(Violation::PathUnknown)?);
        let verb = match method {
            Method::POST => Verb::Message,
            Method::GET => Verb::Stream,
            Method::DELETE => Verb::Close,
            _ => return Err(Violation::MethodNotAllowed { allow: METHODS }),
        };
        match verb {
            Verb::Message => {
                check_content_type(&headers)?;
                check_accept(&headers, &["application/json", "text/event-stream"])?;
            }
            Verb::Stream => check_accept(&headers, &["text/event-stream"])?,
            Verb::Close => {}
        }
        Ok(Self { verb, endpoint, head: Head { uri, headers }, body })
    }

    /// Takes the head and reads the body to its end; what is held of it is counted in `permit`.
    ///
    /// # Errors
    /// Too large, too slow, cut off, or more than the caller may make us hold.
    pub(crate) async fn into_body(
        self,
        permit: &mut Permit,
        limits: &LimitSettings,
        at_most: Duration,
    ) -> Result<(Head, Bytes), Refusal> {
        let limit = limits.message_bytes;
        let declared = self.head.headers.get(CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse::<u64>().ok());
        if declared.is_some_and(|length| length > limit as u64) {
            return Err(Violation::BodyTooLarge { limit }.into());
        }
        let mut read = pin!(read_body(self.body, permit, limits));
        // Nearly every body comes with its head; what has to be waited for gets a timer.
        let body = match poll_immediate(read.as_mut()).await {
            Some(body) => body?,
            None => tokio::time::timeout(at_most, read).await.map_err(|_| Violation::BodyTimedOut)??,
        };
        Ok((self.head, body))
    }
}

/// A large body in one frame is passed on without a copy. A small one is copied: it shares the buffer of its connection, which could not
/// be read into again while the message lives, and the message of a standing stream lives as long as the stream.
async fn read_body(mut body: Incoming, permit: &mut Permit, limits: &LimitSettings) -> Result<Bytes, Refusal> {
    let limit = limits.message_bytes;
    let mut pieces = Pieces::of(body.size_hint().exact());
    while let Some(frame) = next(&mut body).await {
        let Ok(data) = frame.map_err(|_| Violation::BodyBroken)?.into_data() else { continue };
        if pieces.held().saturating_add(data.len()) > limit {
            return Err(Violation::BodyTooLarge { limit }.into());
        }
        permit.hold(data.len(), limits)?;
        pieces.push(data);
    }
    let whole = pieces.whole();
    Ok(if whole.len() <= COPIED { Bytes::copy_from_slice(&whole) } else { whole })
}

/// The next frame. Only a body that is not at its end is read on.
async fn next(body: &mut Incoming) -> Option<Result<Frame<Bytes>, hyper::Error>> {
    poll_fn(|cx| {
        let (frame, rung) = bell::taking(|| Pin::new(&mut *body).poll_frame(cx));
        if rung && !body.is_end_stream() {
            cx.waker().wake_by_ref();
        }
        frame
    })
    .await
}

fn check_content_type(headers: &HeaderMap) -> Result<(), Violation> {
    let mut values = headers.get_all(CONTENT_TYPE).iter();
    let value = values.next().and_then(|value| value.to_str().ok()).ok_or(Violation::UnsupportedMediaType)?;
    let mut parts = value.split(';').map(str::trim);
    let media = parts.next().unwrap_or_default();
    // RFC 8259: JSON on the wire is UTF-8; another charset would make us and the server read different texts.
    let charset_ok = parts.filter_map(|parameter| parameter.split_once('=')).all(|(name, charset)| {
        !name.trim().eq_ignore_ascii_case("charset") || charset.trim().trim_matches('"').eq_ignore_ascii_case("utf-8")
    });
    if values.next().is_some() || !media.eq_ignore_ascii_case("application/json") || !charset_ok {
        return Err(Violation::UnsupportedMediaType);
    }
    Ok(())
}

fn check_accept(headers: &HeaderMap, needed: &[&str]) -> Result<(), Violation> {
    // What MCP's own clients send: read once, not range by range for each form.
    if headers.get(ACCEPT).is_some_and(|value| value == BOTH_FORMS) {
        return Ok(());
    }
    let ranges = || headers.get_all(ACCEPT).iter().filter_map(|value| value.to_str().ok()).flat_map(|v| v.split(','));
    let covered = |media: &str| ranges().any(|range| covers(range, media));
    if needed.iter().all(|media| covered(media)) { Ok(()) } else { Err(Violation::NotAcceptable) }
}

/// Whether one media range of an `Accept` header (RFC 9110 §12.5.1) covers `media`; `q=0` means "not this".
fn covers(range: &str, media: &str) -> bool {
    let mut parts = range.split(';').map(str::trim);
    let name = parts.next().unwrap_or_default();
    let refused = parts.any(|parameter| {
        parameter.split_once('=').is_some_and(|(name, value)| {
            name.trim().eq_ignore_ascii_case("q") && value.trim().parse::<f32>().is_ok_and(|quality| quality == 0.0)
        })
    });
    let kind = media.split_once('/').map_or(media, |(kind, _)| kind);
    let matches = name == "*/*"
        || name.eq_ignore_ascii_case(media)
        || name.strip_suffix("/*").is_some_and(|range| range.eq_ignore_ascii_case(kind));
    matches && !refused
}

#[cfg(test)]
mod tests {
    use super::{check_accept, check_content_type};
    use http::HeaderMap;

    fn headers(name: &'static str, values: &[&str]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(name, value.parse().unwrap());
        }
        headers
    }

    #[test]
    fn a_body_is_json_in_utf_8_or_refused() {
        for good in ["application/json", "Application/JSON; charset=utf-8", "application/json;charset=\"UTF-8\""] {
            assert!(check_content_type(&headers("content-type", &[good])).is_ok(), "{good}");
        }
        for bad in ["text/plain", "application/json; charset=utf-16", "application/jsonp", ""] {
            assert!(check_content_type(&headers("content-type", &[bad])).is_err(), "{bad}");
        }
        assert!(check_content_type(&headers("content-type", &[])).is_err());
        assert!(check_content_type(&headers("content-type", &["application/json", "application/json"])).is_err());
    }

    #[test]
    fn accept_must_cover_both_forms_an_answer_can_take() {
        let both = &["application/json", "text/event-stream"];
        for good in [
            &["application/json, text/event-stream"][..],
            &["application/json", "text/event-stream;q=0.5"],
            &["*/*"],
            &["application/*, text/*"],
        ] {
            assert!(check_accept(&headers("accept", good), both).is_ok(), "{good:?}");
        }
        for bad in
            [&["application/json"][..], &["text/event-stream"], &[], &["application/json, text/event-stream;q=0"]]
        {
            assert!(check_accept(&headers("accept", bad), both).is_err(), "{bad:?}");
        }
    }
}
