//! An incremental reader of `text/event-stream`: chunks in, whole events out, in any chunking the same.
//! It never holds more than one event and one line, never waits, and knows nothing of JSON.

use std::ops::Range;
use std::time::Duration;

use bytes::{Bytes, BytesMut};

/// How much of a stream may be held at once.
#[derive(Clone, Copy, Debug)]
pub struct SseLimits {
    /// Bytes of one line without its end.
    pub line: usize,
    /// Bytes of the joined `data` of one event.
    pub event: usize,
}

/// Bytes of `id` and `event` values. 1024: event ids of known servers stay under 100, and one is kept for each stream.
const FIELD_LIMIT: usize = 1024;
/// `data: ` and a little air; a data line is as long as its payload and this.
const FIELD_NAME_ROOM: usize = 16;
/// The type of an event that says nothing else.
const MESSAGE: &str = "message";
const BOM: &[u8] = b"\xEF\xBB\xBF";

impl SseLimits {
    /// Events that hold a message of up to `bytes` bytes.
    #[must_use]
    pub const fn for_messages(bytes: usize) -> Self {
        Self { line: bytes.saturating_add(FIELD_NAME_ROOM), event: bytes }
    }
}

/// A stream that asks for more memory than it may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SseError {
    /// A line over the limit. Unit: bytes.
    LineTooLong { limit: usize },
    /// An event over the limit. Unit: bytes.
    EventTooLarge { limit: usize },
}

impl std::fmt::Display for SseError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::LineTooLong { limit } => write!(f, "an event-stream line is longer than {limit} bytes"),
            Self::EventTooLarge { limit } => write!(f, "an event is larger than {limit} bytes"),
        }
    }
}

impl std::error::Error for SseError {}

/// One event: everything between two empty lines.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SseEvent {
    /// All `data` lines joined by line feeds; empty when there were none.
    pub data: Bytes,
    /// The last `id` of this event; one that holds a NUL is ignored, as the standard asks.
    pub id: Option<String>,
    /// The `event` type, unless it is `message`.
    pub kind: Option<String>,
    /// Reconnection delay of this event's `retry` field.
    pub retry: Option<Duration>,
}

impl SseEvent {
    /// Whether the event is of the type that carries messages.
    #[must_use]
    pub fn is_message(&self) -> bool {
        self.kind.as_deref().is_none_or(|kind| kind.is_empty() || kind == MESSAGE)
    }
}

/// The reader. Feed a chunk, take events until there are none, feed the next.
#[derive(Debug)]
pub struct SseReader {
    limits: SseLimits,
    /// The latest chunk; empty as soon as it is used up, so that nothing is held while more is awaited.
    chunk: Bytes,
    /// How much of it is used.
    at: usize,
    /// A line that began in an earlier chunk.
    partial: BytesMut,
    /// The latest line ended with CR: a line feed that follows belongs to that end.
    after_cr: bool,
    /// No line was read yet: a byte order mark may stand here.
    at_start: bool,
    draft: Draft,
}

/// The event so far.
#[derive(Debug, Default)]
struct Draft {
    /// Its `data` stands apart until it is whole.
    event: SseEvent,
    data: Data,
    /// Whether the event has any field at all.
    begun: bool,
}

/// `data` so far: one line is a slice of its chunk, more lines are copied together.
#[derive(Debug, Default)]
enum Data {
    #[default]
    None,
    One(Bytes),
    Many(BytesMut),
}

impl Data {
    fn len(&self) -> usize {
        match self {
            Self::None => 0,
            Self::One(line) => line.len(),
            Self::Many(lines) => lines.len(),
        }
    }

    fn add(&mut self, line: Bytes) {
        match self {
            Self::None => *self = Self::One(line),
            Self::One(first) => {
                let mut lines = BytesMut::with_capacity(first.len() + line.len() + 1);
                lines.extend_from_slice(first);
                lines.extend_from_slice(b"\n");
                lines.extend_from_slice(&line);
                *self = Self::Many(lines);
            }
            Self::Many(lines) => {
                lines.extend_from_slice(b"\n");
                lines.extend_from_slice(&line);
            }
        }
    }

    fn finish(self) -> Bytes {
        match self {
            Self::None => Bytes::new(),
            Self::One(line) => line,
            Self::Many(lines) => lines.freeze(),
        }
    }
}

impl SseReader {
    /// A reader at the start of a stream.
    #[must_use]
    pub fn new(limits: SseLimits) -> Self {
        Self {
            limits,
            chunk: Bytes::new(),
            at: 0,
            partial: BytesMut::new(),
            after_cr: false,
            at_start: true,
            draft: Draft::default(),
        }
    }

    /// Takes the next piece of the stream. The previous one must be used up: [`SseReader::next_event`] gave `None`.
    pub fn feed(&mut self, chunk: Bytes) {
        if self.chunk.is_empty() {
            self.chunk = chunk;
        } else {
            let mut joined = BytesMut::from(self.rest());
            joined.extend_from_slice(&chunk);
            self.chunk = joined.freeze();
        }
        self.at = 0;
    }

    /// The next whole event, or `None` when more bytes are needed.
    ///
    /// # Errors
    /// A line or an event over its limit. The reader must not be used afterwards.
    pub fn next_event(&mut self) -> Result<Option<SseEvent>, SseError> {
        while let Some(piece) = self.next_piece()? {
            let joined;
            let (text, mut line) = if self.partial.is_empty() {
                (&self.chunk, piece)
            } else {
                self.partial.extend_from_slice(self.chunk.get(piece).unwrap_or_default());
                joined = std::mem::take(&mut self.partial).freeze();
                (&joined, 0..joined.len())
            };
            if std::mem::take(&mut self.at_start) && text.get(line.clone()).is_some_and(|line| line.starts_with(BOM)) {
                line.start += BOM.len();
            }
            if !line.is_empty() {
                self.draft.take_field(text, line, self.limits.event)?;
            } else if self.draft.begun {
                return Ok(Some(self.draft.finish()));
            }
        }
        self.chunk = Bytes::new();
        Ok(None)
    }

    /// Whether the stream, if it ended here, would end inside an event. Such an event must be dropped.
    #[must_use]
    pub fn is_inside_event(&self) -> bool {
        self.draft.begun || !self.partial.is_empty()
    }

    /// What is left of the chunk.
    fn rest(&self) -> &[u8] {
        self.chunk.get(self.at..).unwrap_or_default()
    }

    /// Where the next line's last piece stands in the chunk, and goes on behind its end. At the end of the chunk, keeps the rest.
    fn next_piece(&mut self) -> Result<Option<Range<usize>>, SseError> {
        if self.after_cr && self.at < self.chunk.len() {
            self.after_cr = false;
            if self.rest().first() == Some(&b'\n') {
                self.at += 1;
            }
        }
        let (start, rest) = (self.at, self.chunk.get(self.at..).unwrap_or_default());
        let end = match rest {
            [] => return Ok(None),
            // Every event ends with an empty line.
            [b'\n', ..] => Some(0),
            _ => memchr::memchr2(b'\r', b'\n', rest),
        };
        if self.partial.len() + end.unwrap_or(rest.len()) > self.limits.line {
            return Err(SseError::LineTooLong { limit: self.limits.line });
        }
        let Some(end) = end else {
            self.partial.extend_from_slice(rest);
            return Ok(None);
        };
        self.after_cr = rest.get(end) == Some(&b'\r');
        self.at = start + end + 1;
        Ok(Some(start..start + end))
    }
}

impl Draft {
    /// One line that is not empty.
    fn take_field(&mut self, text: &Bytes, line: Range<usize>, limit: usize) -> Result<(), SseError> {
        let end = line.end;
        let line = text.get(line).unwrap_or_default();
        if let Some(value) = value_of(b"data", line) {
            // Each further line costs its bytes and the line feed that joins it, so empty lines are not free.
            let joined = self.data.len() + value.len() + usize::from(!matches!(self.data, Data::None));
            if joined > limit {
                return Err(SseError::EventTooLarge { limit });
            }
            self.data.add(text.slice(end - value.len()..end));
        } else if let Some(value) = value_of(b"event", line) {
            // What nearly every server writes before every event, and what its absence means.
            let kind = if value == MESSAGE.as_bytes() { None } else { Some(short_text(value)?) };
            self.event.kind = kind;
        } else if let Some(value) = value_of(b"id", line).filter(|value| !value.contains(&0)) {
            self.event.id = Some(short_text(value)?);
        } else if let Some(millis) = value_of(b"retry", line).and_then(digits) {
            self.event.retry = Some(Duration::from_millis(millis));
        } else {
            // Comments have an empty name; unknown fields are ignored, as the standard asks.
            return Ok(());
        }
        self.begun = true;
        Ok(())
    }

    /// The event, whole; the next one begins.
    fn finish(&mut self) -> SseEvent {
        let Self { event, data, .. } = std::mem::take(self);
        SseEvent { data: data.finish(), ..event }
    }
}

/// The value of that field; `None` when the line is another one. A line without a colon is a name with an empty value.
fn value_of<'a>(name: &[u8], line: &'a [u8]) -> Option<&'a [u8]> {
    match line.strip_prefix(name)? {
        [b':', b' ', value @ ..] | [b':', value @ ..] => Some(value),
        [] => Some(&[]),
        _ => None,
    }
}

fn short_text(value: &[u8]) -> Result<String, SseError> {
    if value.len() > FIELD_LIMIT {
        return Err(SseError::LineTooLong { limit: FIELD_LIMIT });
    }
    Ok(String::from_utf8_lossy(value).into_owned())
}

/// ASCII digits only, as the standard asks.
fn digits(value: &[u8]) -> Option<u64> {
    let text = std::str::from_utf8(value).ok()?;
    text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok()).flatten()
}

#[cfg(test)]
mod tests;
