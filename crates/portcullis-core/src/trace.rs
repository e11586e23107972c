//! W3C Trace Context, levels 1 and 2, in HTTP headers and in `_meta` (SEP-414): one hop of a trace, continued or begun.
//! A trace is a convenience: what is malformed counts as absent, nothing is refused for it, and no decision may rest on it.
//! Baggage is not read: it is anybody's text. It travels on inside the message like any other member.

use std::collections::BTreeSet;

use smol_str::SmolStr;

use crate::own::{id_hex, push_hex, quoted};
use crate::wire::{Kind, Limits, Malformed, Message};

const TRACEPARENT: &str = "traceparent";
const TRACESTATE: &str = "tracestate";

/// The caller recorded the request. True of every trace that begins here: the ledger has each call under its trace id.
const SAMPLED: u8 = 0x01;
/// The trace id is random (level 2).
const RANDOM: u8 = 0x02;

/// Most members of a `tracestate`, a limit of the standard.
const MOST_MEMBERS: usize = 32;
/// Most characters of a `tracestate`. 512: the length every participant should carry on; longer ones are dropped whole, since
/// cutting them is a decision the standard leaves to those who wrote the members.
const MOST_STATE: usize = 512;

/// Where a call stands in its trace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TraceContext {
    pub trace_id: [u8; 16],
    /// The client's span, when it sent one.
    pub parent: Option<[u8; 8]>,
    /// This hop.
    pub span: [u8; 8],
    /// Only bits that version 00 defines.
    pub flags: u8,
    /// The client's `tracestate`, whole.
    pub state: Option<String>,
    /// Whether the client sent a valid context, in a header or in `_meta`.
    pub given: bool,
}

struct Parent {
    trace_id: [u8; 16],
    span: [u8; 8],
    flags: u8,
}

impl TraceContext {
    /// Continues the trace of the request, or begins one. Fresh ids must be random and not zero.
    ///
    /// When both name a context, `_meta` wins: an HTTP header covers the exchange and may be written by any client library or
    /// proxy on the way, while `_meta` is written for this very message by the one who sends it, and one exchange may carry
    /// several messages (OpenTelemetry's conventions for MCP; SEP-414 itself leaves the order open). The two carriers are
    /// never mixed: a `tracestate` belongs to the `traceparent` beside it.
    #[must_use]
    pub fn from_request(
        header_traceparents: &[&str],
        header_tracestates: &[&str],
        message: Option<&Message>,
        fresh_trace: [u8; 16],
        fresh_span: [u8; 8],
    ) -> Self {
        let given = message.and_then(from_meta).or_else(|| from_headers(header_traceparents, header_tracestates));
        match given {
            Some((parent, state)) => Self {
                trace_id: parent.trace_id,
                parent: Some(parent.span),
                span: fresh_span,
                flags: parent.flags,
                state,
                given: true,
            },
            None => Self {
                trace_id: fresh_trace,
                parent: None,
                span: fresh_span,
                flags: SAMPLED | RANDOM,
                state: None,
                given: false,
            },
        }
    }

    /// The outgoing `traceparent`: this hop is the parent of what comes next.
    #[must_use]
    pub fn traceparent(&self) -> String {
        let mut text = String::with_capacity(55);
        text.push_str("00-");
        push_hex(&mut text, &self.trace_id);
        text.push('-');
        push_hex(&mut text, &self.span);
        text.push('-');
        push_hex(&mut text, &[self.flags]);
        text
    }

    #[must_use]
    pub fn trace_id_hex(&self) -> SmolStr {
        id_hex(&self.trace_id)
    }

    #[must_use]
    pub fn span_hex(&self) -> SmolStr {
        id_hex(&self.span)
    }

    #[must_use]
    pub fn parent_hex(&self) -> Option<SmolStr> {
        self.parent.map(|parent| id_hex(&parent))
    }
}

/// Puts this hop into the message's `_meta`, if the client sent a context; otherwise, and in responses, nothing is touched and
/// the bytes stay the same.
///
/// # Errors
/// When the reader refuses the outcome: the message was as large as `limits` allow before.
pub fn splice(message: Message, trace: &TraceContext, limits: &Limits) -> Result<Message, Malformed> {
    if !trace.given || !matches!(message.kind(), Kind::Request | Kind::Notification) {
        return Ok(message);
    }
    let edit = message.edit().set_meta(TRACEPARENT, &quoted(&trace.traceparent()));
    let edit = match &trace.state {
        Some(state) => edit.set_meta(TRACESTATE, &quoted(state)),
        // What is there is malformed or belongs to another context.
        None => edit.remove_meta(TRACESTATE),
    };
    edit.apply(limits)
}

fn from_meta(message: &Message) -> Option<(Parent, Option<String>)> {
    if !matches!(message.kind(), Kind::Request | Kind::Notification) {
        return None;
    }
    let parent = Parent::parse(&message.meta(TRACEPARENT)?.as_str()?)?;
    let state = message.meta(TRACESTATE).and_then(|value| checked_state(&value.as_str()?));
    Some((parent, state))
}

fn from_headers(traceparents: &[&str], tracestates: &[&str]) -> Option<(Parent, Option<String>)> {
    // Two parents are none: picking one would join strangers' traces.
    let [traceparent] = traceparents else { return None };
    let parent = Parent::parse(traceparent.trim_matches([' ', '\t']))?;
    // Several `tracestate` fields are one list, in their order (RFC 9110 §5.3).
    Some((parent, checked_state(&tracestates.join(","))))
}

impl Parent {
    /// Reads a `traceparent`. Of versions to come only what version 00 knows is read, as the standard asks.
    fn parse(text: &str) -> Option<Self> {
        let mut fields = text.split('-');
        let [version] = bytes::<1>(fields.next()?)?;
        let trace_id = bytes::<16>(fields.next()?)?;
        let span = bytes::<8>(fields.next()?)?;
        let [flags] = bytes::<1>(fields.next()?)?;
        let flags = match version {
            0x00 if fields.next().is_some() => return None,
            0x00 => flags & (SAMPLED | RANDOM),
            0xFF => return None,
            _ => flags & SAMPLED,
        };
        let zero = trace_id == [0; 16] || span == [0; 8];
        (!zero).then_some(Self { trace_id, span, flags })
    }
}

/// A `tracestate` list that keeps all rules, as it is; `None` for one that breaks any, or holds nothing.
fn checked_state(text: &str) -> Option<String> {
    if text.len() > MOST_STATE {
        return None;
    }
    let mut keys = BTreeSet::new();
    for member in text.split(',').map(|member| member.trim_matches([' ', '\t'])) {
        if member.is_empty() {
            continue;
        }
        let (key, value) = member.split_once('=')?;
        if !is_state_key(key) || !is_state_value(value) || !keys.insert(key) {
            return None;
        }
    }
    (1..=MOST_MEMBERS).contains(&keys.len()).then(|| text.to_owned())
}

/// Level 2's grammar, which holds all keys of level 1.
fn is_state_key(key: &str) -> bool {
    let starts = key.starts_with(|first: char| first.is_ascii_lowercase() || first.is_ascii_digit());
    let inner = |byte: u8| {
        byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'_' | b'-' | b'*' | b'/' | b'@')
    };
    starts && key.len() <= 256 && key.bytes().all(inner)
}

fn is_state_value(value: &str) -> bool {
    let inner = |byte: u8| matches!(byte, 0x20..=0x7E) && byte != b',' && byte != b'=';
    (1..=256).contains(&value.len()) && value.bytes().all(inner) && !value.ends_with(' ')
}

/// Exactly `N` bytes in lower-case hexadecimal.
fn bytes<const N: usize>(text: &str) -> Option<[u8; N]> {
    let mut out = [0; N];
    if text.len() != 2 * N {
        return None;
    }
    for (byte, pair) in out.iter_mut().zip(text.as_bytes().chunks_exact(2)) {
        *byte = pair.iter().try_fold(0, |sum, digit| match digit {
            b'0'..=b'9' => Some((sum << 4) | (digit - b'0')),
            b'a'..=b'f' => Some((sum << 4) | (digit - b'a' + 10)),
            _ => None,
        })?;
    }
    Some(out)
}

#[cfg(test)]
mod tests;
