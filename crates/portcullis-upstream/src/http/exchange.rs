//! One HTTP request up to the beginning of its answer, and what its failures mean.

use std::error::Error;

use bytes::Bytes;
use http::{HeaderMap, Method, Request, Response, Uri};
use http_body_util::Full;
use portcullis_core::refusal::{Fault, FaultKind};

use super::line::{Answer, LineError};
use super::site::Site;
use crate::account::Account;

/// A request before it is addressed.
pub(crate) struct Outbound {
    pub(crate) method: Method,
    pub(crate) headers: HeaderMap,
    /// Another place of the same server than its endpoint.
    pub(crate) target: Option<Uri>,
    body: Bytes,
}

impl Outbound {
    pub(crate) fn new(method: Method, body: Bytes) -> Self {
        Self { method, headers: HeaderMap::new(), target: None, body }
    }

    fn address(mut self, site: &Site, account: Account<'_>) -> Result<Request<Full<Bytes>>, Fault> {
        site.papers.chain(&mut self.headers, account, &self.body)?;
        let mut request = Request::new(Full::new(self.body));
        *request.method_mut() = self.method;
        *request.uri_mut() = self.target.unwrap_or_else(|| site.target.clone());
        *request.headers_mut() = self.headers;
        Ok(request)
    }
}

impl Site {
    /// Sends on somebody's account, and waits for the head of the answer.
    pub(crate) async fn exchange(&self, outbound: Outbound, account: Account<'_>) -> Result<Response<Answer>, Fault> {
        let request = outbound.address(self, account)?;
        match self.papers.tokens() {
            // Only the usual way has its room in every call.
            None => self.once(request).await,
            Some(tokens) => Box::pin(self.authorized(tokens, request, account)).await,
        }
    }

    /// A request that never left, because its kept-alive connection had closed, is sent once more on another one.
    pub(super) async fn once(&self, mut request: Request<Full<Bytes>>) -> Result<Response<Answer>, Fault> {
        let mut again = true;
        loop {
            let answer = tokio::time::timeout(self.first_byte, self.lines.request(request)).await;
            match answer {
                Ok(Ok(response)) => return Ok(response),
                Ok(Err(LineError::NeverLeft(_, unsent))) if again => (request, again) = (*unsent, false),
                Ok(Err(error)) => return Err(fault(&error)),
                Err(_) => {
                    let detail = format!("no answer began within {:?}", self.first_byte);
                    return Err(Fault::new(FaultKind::TimedOut, detail));
                }
            }
        }
    }
}

fn fault(error: &LineError) -> Fault {
    let detail = chain(error);
    match error {
        LineError::Connect(_) | LineError::NeverLeft(..) => Fault::before_sending(FaultKind::Unreachable, detail),
        LineError::Http(http) if http.is_parse() => Fault::new(FaultKind::Garbage, detail),
        LineError::Http(http) if http.is_timeout() => Fault::new(FaultKind::TimedOut, detail),
        LineError::Http(_) | LineError::Ended => Fault::new(FaultKind::Died, detail),
    }
}

fn causes<'a>(error: &'a (dyn Error + 'static)) -> impl Iterator<Item = &'a (dyn Error + 'static)> {
    fn cause<'a>(error: &&'a (dyn Error + 'static)) -> Option<&'a (dyn Error + 'static)> {
        (*error).source()
    }
    std::iter::successors(Some(error), cause)
}

/// The whole chain of causes, outermost first.
pub(crate) fn chain(error: &(dyn Error + 'static)) -> String {
    causes(error).map(ToString::to_string).collect::<Vec<_>>().join(": ")
}
