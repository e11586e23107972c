//! What a listener may write: messages that passed an inspector, and the gateway's own refusals. Nothing else becomes one.

use std::time::Duration;

use bytes::Bytes;

use crate::merge::{self, Failed, MergeError, OwnHello, Part};
use crate::own;
use crate::wire::{Id, Kind, Limits, Message};

/// A message that was inspected and may be written to the client. Made only in the gate.
#[derive(Clone, Debug)]
pub struct Inspected {
    content: Content,
    event_id: Option<String>,
    retry: Option<Duration>,
}

#[derive(Clone, Debug)]
enum Content {
    /// A server's, as it was read.
    Read(Message),
    /// Words of our own.
    Own(Bytes, Kind),
    /// An event that only primes the stream.
    Nothing,
}

static NO_TEXT: Bytes = Bytes::new();

impl Inspected {
    /// What passed an inspector.
    pub(super) const fn of(message: Message, event_id: Option<String>, retry: Option<Duration>) -> Self {
        Self { content: Content::Read(message), event_id, retry }
    }

    /// An event without a message.
    pub(super) const fn signal(event_id: Option<String>, retry: Option<Duration>) -> Self {
        Self { content: Content::Nothing, event_id, retry }
    }

    /// Words of our own.
    const fn own(bytes: Bytes, kind: Kind) -> Self {
        Self { content: Content::Own(bytes, kind), event_id: None, retry: None }
    }

    /// A refusal of our own: a JSON-RPC error. `data` is raw JSON of our own making.
    #[must_use]
    pub fn refusal(id: Option<&Id>, code: i64, public: &str, data: Option<&str>) -> Self {
        Self::own(own::error(id, code, public, data), Kind::Error)
    }

    /// A refusal of our own as a tool result that a model can act on.
    #[must_use]
    pub fn refused_tool_result(id: &Id, text: &str, modern: bool) -> Self {
        Self::own(own::refused_tool_result(id, text, modern), Kind::Result)
    }

    /// Several servers' answers to one request as one. The only way from several inspected results to one: what goes in was inspected, each
    /// as its own server's, and what comes out is theirs, item by item, and our own words. `parts`: the servers that answered with a result,
    /// by name, in order; `failed` those that did not, in our words; `next_cursor` is ours too.
    ///
    /// # Errors
    /// See [`merge::merge`]; also for a part that is no result.
    pub fn merged(
        method: &str,
        id: &Id,
        parts: &[(&str, &Self)],
        failed: &[Failed<'_>],
        next_cursor: Option<&str>,
        own: &OwnHello<'_>,
        limits: &Limits,
    ) -> Result<Self, MergeError> {
        let results = parts.iter().map(|(server, part)| {
            let answer = part.message().filter(|message| message.kind() == Kind::Result);
            let no_result = || MergeError::NoResult { server: (*server).to_owned() };
            Ok(Part { server, answer: answer.ok_or_else(no_result)? })
        });
        let results = results.collect::<Result<Vec<_>, MergeError>>()?;
        let bytes = merge::merge(method, id, &results, failed, next_cursor, own, limits)?;
        Ok(Self::own(bytes, Kind::Result))
    }

    /// Several servers' acknowledgements of one subscription as one; what is none of them is left out.
    #[must_use]
    pub fn acknowledged(id: &Id, parts: &[&Self]) -> Self {
        let params = parts.iter().filter_map(|part| part.message()?.params()).collect::<Vec<_>>();
        Self::own(merge::acknowledged(id, &params), Kind::Notification)
    }

    /// Something that the gateway tells the client's log. `data` is raw JSON of our own making.
    #[must_use]
    pub fn logged(level: &str, data: &str) -> Self {
        let params = format!(r#"{{"level":{},"logger":"portcullis","data":{data}}}"#, own::quoted(level));
        let bytes = own::notification("notifications/message", &params);
        Self::own(bytes, Kind::Notification)
    }

    /// The exact JSON text to write; empty for an event that only primes the stream.
    #[must_use]
    pub fn bytes(&self) -> &Bytes {
        match &self.content {
            Content::Read(message) => message.bytes(),
            Content::Own(bytes, _) => bytes,
            Content::Nothing => &NO_TEXT,
        }
    }

    /// What kind of message it is; `None` for a priming event.
    #[must_use]
    pub fn kind(&self) -> Option<Kind> {
        match &self.content {
            Content::Read(message) => Some(message.kind()),
            Content::Own(_, kind) => Some(*kind),
            Content::Nothing => None,
        }
    }

    /// The message as it was read; `None` for what is not a server's.
    #[must_use]
    pub const fn message(&self) -> Option<&Message> {
        match &self.content {
            Content::Read(message) => Some(message),
            Content::Own(..) | Content::Nothing => None,
        }
    }

    /// The server's own event id; the listener seals it before a client sees it.
    #[must_use]
    pub fn event_id(&self) -> Option<&str> {
        self.event_id.as_deref()
    }

    #[must_use]
    pub const fn retry(&self) -> Option<Duration> {
        self.retry
    }

    /// Whether this message answers the request and so ends its reply.
    #[must_use]
    pub fn is_response(&self) -> bool {
        matches!(self.kind(), Some(Kind::Result | Kind::Error))
    }
}
