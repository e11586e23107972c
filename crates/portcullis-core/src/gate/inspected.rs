//! What a listener may write: messages that passed an inspector, and the gateway's own refusals. Nothing else becomes one.

use std::time::Duration;

use bytes::Bytes;

use crate::merge::{self, Failed, MergeError, OwnHello, Part};
use crate::own;
use crate::wire::{Id, Kind, Limits, Message, view_json};

/// A message that was inspected and may be written to the client. Made only in the gate.
#[derive(Clone, Debug)]
pub struct Inspected {
    /// Empty for an event that only primes the stream.
    bytes: Bytes,
    kind: Option<Kind>,
    event_id: Option<String>,
    retry: Option<Duration>,
}

impl Inspected {
    /// What passed an inspector.
    pub(super) fn of(message: &Message, event_id: Option<String>, retry: Option<Duration>) -> Self {
        Self { bytes: message.bytes().clone(), kind: Some(message.kind()), event_id, retry }
    }

    /// An event without a message.
    pub(super) const fn signal(event_id: Option<String>, retry: Option<Duration>) -> Self {
        Self { bytes: Bytes::new(), kind: None, event_id, retry }
    }

    /// A refusal of our own: a JSON-RPC error. `data` is raw JSON of our own making.
    #[must_use]
    pub fn refusal(id: Option<&Id>, code: i64, public: &str, data: Option<&str>) -> Self {
        Self { bytes: own::error(id, code, public, data), kind: Some(Kind::Error), event_id: None, retry: None }
    }

    /// A refusal of our own as a tool result that a model can act on.
    #[must_use]
    pub fn refused_tool_result(id: &Id, text: &str, modern: bool) -> Self {
        let bytes = own::refused_tool_result(id, text, modern);
        Self { bytes, kind: Some(Kind::Result), event_id: None, retry: None }
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
        // Each was read within its server's limits before; only the whole is bounded here.
        let read = Limits { bytes: usize::MAX, ..*limits };
        let results = parts.iter().map(|(server, part)| {
            let no_result = || MergeError::NoResult { server: (*server).to_owned() };
            let whole = view_json(part.bytes(), &read).map_err(|_| no_result())?;
            let result = whole.get("result").filter(|_| part.kind == Some(Kind::Result)).ok_or_else(no_result)?;
            Ok(Part { server, result })
        });
        let results = results.collect::<Result<Vec<_>, MergeError>>()?;
        let bytes = merge::merge(method, id, &results, failed, next_cursor, own, limits)?;
        Ok(Self { bytes, kind: Some(Kind::Result), event_id: None, retry: None })
    }

    /// Several servers' acknowledgements of one subscription as one; what is none of them is left out.
    #[must_use]
    pub fn acknowledged(id: &Id, parts: &[&Self], limits: &Limits) -> Self {
        let read = Limits { bytes: usize::MAX, ..*limits };
        let whole = parts.iter().filter(|part| part.kind == Some(Kind::Notification));
        let params = whole.filter_map(|part| view_json(part.bytes(), &read).ok()?.get("params")).collect::<Vec<_>>();
        let bytes = merge::acknowledged(id, &params);
        Self { bytes, kind: Some(Kind::Notification), event_id: None, retry: None }
    }

    /// Something that the gateway tells the client's log. `data` is raw JSON of our own making.
    #[must_use]
    pub fn logged(level: &str, data: &str) -> Self {
        let params = format!(r#"{{"level":{},"logger":"portcullis","data":{data}}}"#, own::quoted(level));
        let bytes = own::notification("notifications/message", &params);
        Self { bytes, kind: Some(Kind::Notification), event_id: None, retry: None }
    }

    /// The exact JSON text to write; empty for an event that only primes the stream.
    #[must_use]
    pub const fn bytes(&self) -> &Bytes {
        &self.bytes
    }

    /// What kind of message it is; `None` for a priming event.
    #[must_use]
    pub const fn kind(&self) -> Option<Kind> {
        self.kind
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
    pub const fn is_response(&self) -> bool {
        matches!(self.kind, Some(Kind::Result | Kind::Error))
    }
}
