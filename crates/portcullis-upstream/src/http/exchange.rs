//! One HTTP request up to the beginning of its answer, and what its failures mean.

use std::error::Error;

use bytes::Bytes;
use http::{HeaderMap, Method, Request, Response};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper_util::client::legacy;
use portcullis_core::refusal::{Fault, FaultKind};

use super::Inner;

/// A request before it is addressed.
pub(super) struct Outbound {
    pub(super) method: Method,
    pub(super) headers: HeaderMap,
    body: Bytes,
}

impl Outbound {
    pub(super) fn new(method: Method, body: Bytes) -> Self {
        Self { method, headers: HeaderMap::new(), body }
    }

    fn address(&self, inner: &Inner) -> Request<Full<Bytes>> {
        let mut request = Request::new(Full::new(self.body.clone()));
        *request.method_mut() = self.method.clone();
        *request.uri_mut() = inner.endpoint.clone();
        *request.headers_mut() = self.headers.clone();
        request
    }
}

impl Inner {
    /// Sends, and waits for the head of the answer.
    ///
    /// A request that never left, because its kept-alive connection had closed, is sent once more on another one.
    pub(super) async fn exchange(&self, outbound: Outbound) -> Result<Response<Incoming>, Fault> {
        let mut again = true;
        loop {
            let answer = tokio::time::timeout(self.first_byte, self.client.request(outbound.address(self))).await;
            match answer {
                Ok(Ok(response)) => return Ok(response),
                Ok(Err(error)) if again && never_left(&error) => again = false,
                Ok(Err(error)) => return Err(fault(&error)),
                Err(_) => {
                    let detail = format!("no answer began within {:?}", self.first_byte);
                    return Err(Fault::new(FaultKind::TimedOut, detail));
                }
            }
        }
    }
}

fn fault(error: &legacy::Error) -> Fault {
    let detail = chain(error);
    if error.is_connect() || never_left(error) {
        return Fault::before_sending(FaultKind::Unreachable, detail);
    }
    let http = causes(error).find_map(|cause| cause.downcast_ref::<hyper::Error>());
    let kind = match http {
        Some(http) if http.is_parse() => FaultKind::Garbage,
        Some(http) if http.is_timeout() => FaultKind::TimedOut,
        _ => FaultKind::Died,
    };
    Fault::new(kind, detail)
}

/// hyper says "canceled" only when not a byte of the request was written.
fn never_left(error: &legacy::Error) -> bool {
    causes(error).filter_map(|cause| cause.downcast_ref::<hyper::Error>()).any(hyper::Error::is_canceled)
}

fn causes<'a>(error: &'a (dyn Error + 'static)) -> impl Iterator<Item = &'a (dyn Error + 'static)> {
    fn cause<'a>(error: &&'a (dyn Error + 'static)) -> Option<&'a (dyn Error + 'static)> {
        (*error).source()
    }
    std::iter::successors(Some(error), cause)
}

/// The whole chain of causes, outermost first.
pub(super) fn chain(error: &(dyn Error + 'static)) -> String {
    causes(error).map(ToString::to_string).collect::<Vec<_>>().join(": ")
}
