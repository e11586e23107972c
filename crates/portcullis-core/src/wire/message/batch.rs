//! Texts that are not one good message: the batches of 2025-03-26, and what can be said about a refused text.
//! Nothing here decides whether a batch is allowed; the caller knows the protocol revision.

use bytes::Bytes;

use super::{Direction, Kind, Message};
use crate::wire::{
    Id, JsonKind, Limits, Malformed, View, case,
    outline::{Level, Slot},
    scan::{Mode, scan},
    text, view_json,
};

/// Reads an array of messages (A7). The whole text keeps to `limits`, and each item is a message of its own over a slice
/// of the same bytes. One bad item refuses the batch: half a batch is not what was sent.
///
/// # Errors
/// The first rule that the text, or an item, breaks.
pub fn read_batch(bytes: Bytes, direction: Direction, limits: &Limits) -> Result<Vec<Message>, Malformed> {
    let batch = view_json(&bytes, limits)?;
    match batch.kind() {
        JsonKind::Array => {}
        JsonKind::Object => {
            return Message::read(bytes.clone(), direction, limits).map(|message| vec![message]);
        }
        _ => return Err(Malformed::NotAnObject),
    }
    let mut messages = Vec::new();
    for item in batch.elements() {
        if messages.len() == limits.batch {
            return Err(Malformed::BatchTooLong { limit: limits.batch });
        }
        let span = item.span();
        let item = bytes.slice(span.start as usize..span.end as usize);
        let message = match Message::read(item, direction, limits) {
            Err(Malformed::BatchNotAllowed) => return Err(Malformed::NotAnObject),
            read => read?,
        };
        if message.method() == Some("initialize") {
            return Err(Malformed::InitializeInBatch);
        }
        messages.push(message);
    }
    if messages.is_empty() {
        return Err(Malformed::BatchEmpty);
    }
    if repeats_id(&messages) {
        return Err(Malformed::BatchRepeatsId);
    }
    Ok(messages)
}

/// Requests and responses count apart: their ids were chosen by different sides.
fn repeats_id(messages: &[Message]) -> bool {
    let mut ids: Vec<(bool, &Id)> =
        messages.iter().filter_map(|message| Some((message.kind() == Kind::Request, message.id()?))).collect();
    ids.sort_unstable();
    ids.array_windows().any(|[a, b]| a == b)
}

/// Whether the first byte that is not space opens an array.
#[must_use]
pub fn looks_like_batch(bytes: &[u8]) -> bool {
    bytes.iter().find(|byte| !matches!(byte, b' ' | b'\t' | b'\n' | b'\r')) == Some(&b'[')
}

/// The id to answer a refused message with, so that its sender's call does not hang (H1). `None` when the text is
/// unreadable, when its top level is ambiguous, or when it is itself an answer.
#[must_use]
pub fn salvage_id(bytes: &[u8], limits: &Limits) -> Option<Id> {
    let outline = scan(bytes, Mode::Salvage, limits).ok()?;
    let lookalike =
        outline.level(Level::Top).any(|member| case::is_id_variant(text::decode(member.key.of(bytes)).as_bytes()));
    let has = |slot| outline.slot(slot).is_some();
    let is_answer = !has(Slot::Method) && (has(Slot::Result) || has(Slot::Error));
    let id = View::new(bytes, outline.slot(Slot::Id)?.value);
    if lookalike || is_answer || id.raw().len() > limits.id {
        return None;
    }
    Id::from_view(id)
}
