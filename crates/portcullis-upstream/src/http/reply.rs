//! What an HTTP answer means: status and media type become a reply or a fault. No status of the server goes through as such.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::poll_immediate;
use http::header::{CONTENT_ENCODING, CONTENT_TYPE, HeaderMap, RETRY_AFTER};
use http::response::Parts;
use http::{Response, StatusCode};
use http_body::Body;
use http_body_util::BodyExt;
use portcullis_core::pieces::Pieces;
use portcullis_core::refusal::{Fault, FaultKind};
use portcullis_core::upstream::{Arrived, Media, Reply};
use portcullis_core::version::Era;
use portcullis_core::wire::{Direction, Kind, Malformed, Message, looks_like_batch, read_batch};

use super::events::Events;
use super::line::Answer;
use super::sessions::{self, Named, Opening};
use super::{Inner, exchange};
use crate::answers::{Awaiting, Step, accepted, one};
use crate::probe;

/// Bytes read of an answer that is an error anyway. 64 KiB: a JSON-RPC error with data is a few hundred.
const ERROR_BYTES: usize = 64 << 10;
/// Time to read such an answer. 10 s: it is one small packet.
const ERROR_TIME: Duration = Duration::from_secs(10);

/// What the request leads us to expect.
pub(super) struct Expecting {
    /// Absent for notifications and responses.
    pub(super) awaiting: Option<Awaiting>,
    pub(super) era: Era,
    /// The session whose id was sent: a 404 ends it.
    pub(super) session: Option<Named>,
    /// Set for `initialize`.
    pub(super) opening: Option<Opening>,
    /// The negotiated version has batches.
    pub(super) batches: bool,
    /// Arguments were repeated in headers, as the tool's definition asks.
    pub(super) mirrors: bool,
}

/// Media types we asked for.
enum Form {
    Json,
    EventStream,
    Other(String),
}

impl Inner {
    pub(super) async fn read_reply(
        self: &Arc<Self>,
        mut expecting: Expecting,
        response: Response<Answer>,
    ) -> Result<Reply, Fault> {
        let (head, body) = response.into_parts();
        self.check_status(&head, expecting.session.as_ref())?;
        let form = form(&head.headers)?;
        let Some(awaiting) = expecting.awaiting.take() else {
            return if head.status.is_success() { Ok(accepted()) } else { Err(unexpected(head.status, &form)) };
        };
        if !head.status.is_success() {
            return self.read_refusal(expecting, awaiting, head.status, form, body).await;
        }
        if let Some(opening) = &mut expecting.opening {
            opening.id = sessions::session_id(&head.headers)?;
        }
        match form {
            Form::Json => {
                let mut read = pin!(read_body(body, self.limits.bytes));
                // Most bodies come with their head; what has to be waited for gets a timer.
                let bytes = match poll_immediate(read.as_mut()).await {
                    Some(bytes) => bytes?,
                    None => tokio::time::timeout(self.site.first_byte, read)
                        .await
                        .map_err(|_| Fault::new(FaultKind::TimedOut, "the answer's body did not end in time"))??,
                };
                self.read_document(expecting, awaiting, bytes)
            }
            Form::EventStream => {
                let events = Events::of_reply(Arc::clone(self), body, awaiting, expecting);
                Ok(Reply::new(Media::EventStream, events.arrivals()))
            }
            form @ Form::Other(_) => Err(unexpected(head.status, &form)),
        }
    }

    /// The answer to a GET.
    pub(super) fn read_stream(
        self: &Arc<Self>,
        session: Option<Named>,
        resumes: bool,
        batches: bool,
        response: Response<Answer>,
    ) -> Result<Reply, Fault> {
        let (head, body) = response.into_parts();
        if head.status == StatusCode::METHOD_NOT_ALLOWED || (head.status == StatusCode::NOT_FOUND && session.is_none())
        {
            return Err(Fault::new(FaultKind::NoStream, format!("GET was answered with {}", head.status.as_u16())));
        }
        self.check_status(&head, session.as_ref())?;
        match form(&head.headers)? {
            Form::EventStream if head.status.is_success() => {
                let events = Events::standing(Arc::clone(self), body, resumes, batches);
                Ok(Reply::new(Media::EventStream, events.arrivals()))
            }
            form => Err(unexpected(head.status, &form)),
        }
    }

    /// Statuses that mean the same whatever was asked. Their bodies are not read.
    fn check_status(&self, head: &Parts, session: Option<&Named>) -> Result<(), Fault> {
        match (head.status, session) {
            // B7. Only our own session's 404 means this (A24).
            (StatusCode::NOT_FOUND, Some(named)) => {
                self.sessions.lost(named);
                Err(answered(head.status, FaultKind::SessionLost, "it does not know our session any more"))
            }
            _ => same_for_all(head),
        }
    }

    /// A 4xx or 500: a JSON-RPC error about our request, or nothing of MCP (H1).
    async fn read_refusal(
        self: &Arc<Self>,
        expecting: Expecting,
        mut awaiting: Awaiting,
        status: StatusCode,
        form: Form,
        body: Answer,
    ) -> Result<Reply, Fault> {
        if !matches!(form, Form::Json) {
            return Err(unexpected(status, &form));
        }
        let read = tokio::time::timeout(ERROR_TIME, read_body(body, self.limits.bytes.min(ERROR_BYTES))).await;
        let Ok(Ok(bytes)) = read else { return Err(unexpected(status, &form)) };
        let message = Message::read(bytes, Direction::ToClient, &self.limits)
            .ok()
            .filter(|message| message.kind() == Kind::Error);
        let Some(message) = message else { return Err(unexpected(status, &form)) };
        self.doubt(&message, expecting.opening.is_some());
        if expecting.mirrors && message.error_code() == Some(-32020) {
            self.correct().await;
        }
        match awaiting.step(message, &self.limits) {
            Step::Last(message) => Ok(Reply { status: Some(status.as_u16()), ..one(message) }),
            Step::Give(_) => Err(unexpected(status, &form)),
            Step::Unmatched(detail) => Err(Fault::new(FaultKind::AnswerUnmatched, detail)),
        }
    }

    /// A whole JSON answer: one message, or a batch where the version has them.
    fn read_document(
        self: &Arc<Self>,
        mut expecting: Expecting,
        mut awaiting: Awaiting,
        bytes: Bytes,
    ) -> Result<Reply, Fault> {
        if expecting.batches && looks_like_batch(&bytes) {
            return self.read_batch(expecting, awaiting, bytes);
        }
        let message = self.seen.read(bytes, Direction::ToClient, &self.limits).map_err(|error| garbage(&error))?;
        self.notice(&message);
        match awaiting.step(message, &self.limits) {
            Step::Last(message) => {
                self.settle(expecting.opening.take(), &message)?;
                Ok(one(message))
            }
            Step::Give(_) => Err(without_response()),
            Step::Unmatched(detail) => Err(Fault::new(FaultKind::AnswerUnmatched, detail)),
        }
    }

    fn read_batch(
        self: &Arc<Self>,
        mut expecting: Expecting,
        mut awaiting: Awaiting,
        bytes: Bytes,
    ) -> Result<Reply, Fault> {
        let messages = read_batch(bytes, Direction::ToClient, &self.limits).map_err(|error| garbage(&error))?;
        let mut arrivals = Vec::with_capacity(messages.len());
        for message in messages {
            self.notice(&message);
            match awaiting.step(message, &self.limits) {
                Step::Give(message) => arrivals.push(Ok(arrived(message))),
                Step::Last(message) => {
                    self.settle(expecting.opening.take(), &message)?;
                    arrivals.push(Ok(arrived(message)));
                }
                Step::Unmatched(detail) if awaiting.is_answered() => {
                    arrivals.push(Err(Fault::new(FaultKind::AnswerUnmatched, detail)));
                }
                Step::Unmatched(detail) => return Err(Fault::new(FaultKind::AnswerUnmatched, detail)),
            }
        }
        if !awaiting.is_answered() {
            return Err(without_response());
        }
        Ok(Reply::new(Media::Json, Box::pin(futures_util::stream::iter(arrivals))))
    }

    /// An answered `initialize` opens the session; one in a version we do not speak does not (B4).
    pub(super) fn settle(&self, opening: Option<Opening>, response: &Message) -> Result<(), Fault> {
        match opening {
            Some(opening) if response.kind() == Kind::Result => {
                self.sessions.open(opening, probe::legacy_version(response)?)
            }
            opening => {
                self.doubt(response, opening.is_some());
                Ok(())
            }
        }
    }

    /// A server that does not know our version, or has no `initialize`, has changed its era since we asked (G4).
    fn doubt(&self, response: &Message, opens: bool) {
        match response.error_code() {
            Some(-32601 | -32020 | -32022) if opens => self.standing.contradicted(Era::Legacy),
            Some(-32022) => self.standing.contradicted(Era::Modern),
            _ => {}
        }
    }
}

fn without_response() -> Fault {
    Fault::new(FaultKind::Garbage, "a JSON answer without the response")
}

fn answered(status: StatusCode, kind: FaultKind, words: &str) -> Fault {
    Fault::new(kind, format!("the server answered {}: {words}", status.as_u16()))
}

/// Statuses that mean the same whatever was asked, and over whatever begins as HTTP.
pub(crate) fn same_for_all(head: &Parts) -> Result<(), Fault> {
    let status = head.status;
    let with = |kind, words| Err(answered(status, kind, words));
    match status {
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN | StatusCode::PROXY_AUTHENTICATION_REQUIRED => {
            with(FaultKind::Unauthorized, "check the `headers` or the `credentials` of this upstream")
        }
        StatusCode::TOO_MANY_REQUESTS => {
            with(FaultKind::Throttled { retry_after_ms: retry_after(&head.headers) }, "too many requests")
        }
        StatusCode::SERVICE_UNAVAILABLE if let Some(wait) = retry_after(&head.headers) => {
            with(FaultKind::Throttled { retry_after_ms: Some(wait) }, "come back later")
        }
        StatusCode::BAD_GATEWAY | StatusCode::SERVICE_UNAVAILABLE | StatusCode::GATEWAY_TIMEOUT => {
            with(FaultKind::Unreachable, "something in front of it cannot reach it")
        }
        status if status.is_redirection() => with(FaultKind::Garbage, "a redirect, which is never followed"),
        _ => Ok(()),
    }
}

pub(super) fn arrived(message: Message) -> Arrived {
    Arrived { message: Some(message), event_id: None, retry: None }
}

/// A text of the server that the strict reader refuses.
pub(super) fn garbage(error: &Malformed) -> Fault {
    let kind = if matches!(error, Malformed::TooLarge { .. }) { FaultKind::TooLarge } else { FaultKind::Garbage };
    Fault::new(kind, format!("{}: {error}", error.code()))
}

/// An event stream, or why it is none.
pub(crate) fn expect_events(head: &Parts) -> Result<(), Fault> {
    same_for_all(head)?;
    match form(&head.headers)? {
        Form::EventStream if head.status.is_success() => Ok(()),
        form => Err(unexpected(head.status, &form)),
    }
}

fn unexpected(status: StatusCode, form: &Form) -> Fault {
    let form = match form {
        Form::Json => "JSON that is no answer",
        Form::EventStream => "an event stream",
        Form::Other(name) if name.is_empty() => "no media type",
        Form::Other(name) => name.as_str(),
    };
    let hint = match status {
        StatusCode::MISDIRECTED_REQUEST => {
            "; it does not know itself by the host, or wants the port, that is in our URL"
        }
        _ => "",
    };
    Fault::new(FaultKind::Garbage, format!("the server answered {} with {form}{hint}", status.as_u16()))
}

/// Milliseconds of a `Retry-After` in seconds. Its other form is a date, which would need the server's clock to agree with ours.
fn retry_after(headers: &HeaderMap) -> Option<u64> {
    let seconds: u64 = headers.get(RETRY_AFTER)?.to_str().ok()?.trim().parse().ok()?;
    Some(seconds.saturating_mul(1000))
}

fn form(headers: &HeaderMap) -> Result<Form, Fault> {
    // We asked for none, and a compressed body would be inspected unread.
    if headers.get(CONTENT_ENCODING).is_some_and(|encoding| !encoding.as_bytes().eq_ignore_ascii_case(b"identity")) {
        return Err(Fault::new(FaultKind::Garbage, "the answer is compressed, which was not asked for"));
    }
    let value = headers.get(CONTENT_TYPE).map_or(&b""[..], |value| value.as_bytes());
    let essence = value.split(|byte| *byte == b';').next().unwrap_or_default().trim_ascii();
    let is = |name: &str| essence.eq_ignore_ascii_case(name.as_bytes());
    Ok(match () {
        () if is("application/json") => Form::Json,
        () if is("text/event-stream") => Form::EventStream,
        () => Form::Other(String::from_utf8_lossy(&essence.to_ascii_lowercase()).chars().take(64).collect()),
    })
}

/// A body of at most `limit` bytes.
pub(crate) async fn read_body(mut body: Answer, limit: usize) -> Result<Bytes, Fault> {
    let mut pieces = Pieces::of(body.size_hint().exact());
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|error| Fault::new(FaultKind::Died, exchange::chain(&error)))?;
        let Ok(data) = frame.into_data() else { continue };
        if pieces.held() + data.len() > limit {
            return Err(Fault::new(FaultKind::TooLarge, format!("the answer is larger than {limit} bytes")));
        }
        pieces.push(data);
    }
    Ok(pieces.whole())
}
