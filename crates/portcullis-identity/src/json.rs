//! JSON that a proof is made of, read one way only: a key given twice is refused, not resolved.

use portcullis_core::refusal::ProofFailure;
use portcullis_core::wire::{Limits, view_json};
use serde_json::{Map, Value};

use crate::Failed;

/// An object without duplicate keys at any depth, of bounded depth and size (the strict reader's limits).
///
/// # Errors
/// `failure`, for anything else.
pub(crate) fn object(bytes: &[u8], failure: ProofFailure) -> Result<Map<String, Value>, Failed> {
    view_json(bytes, &Limits::default()).map_err(|malformed| Failed::new(failure, malformed.to_string()))?;
    serde_json::from_slice(bytes).map_err(|error| Failed::new(failure, error.to_string()))
}

/// A member that must be a string if it is there.
pub(crate) fn text<'a>(
    object: &'a Map<String, Value>,
    name: &str,
    failure: ProofFailure,
) -> Result<Option<&'a str>, Failed> {
    match object.get(name) {
        None => Ok(None),
        Some(Value::String(text)) => Ok(Some(text)),
        Some(_) => Err(Failed::new(failure, format!("`{name}` is not a string"))),
    }
}
