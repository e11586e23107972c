//! What upstreams may do with what was cleared: look at it, and send it once more where that is safe. Nothing here changes a message.

use super::Cleared;
use crate::call::{Call, Subject};

impl Cleared {
    /// What was cleared. Read-only: the bytes that were judged are the bytes that are sent.
    #[must_use]
    pub const fn call(&self) -> &Call {
        &self.call
    }

    /// The same once more, for upstreams that wrap upstreams. To be sent only where that is safe: the first provably never left, or what
    /// it asks for may be repeated.
    #[must_use]
    pub fn again(&self) -> Self {
        Self { call: self.call.clone() }
    }

    /// The standing stream once more, from behind this event on, or from its beginning: what a client asks for when its stream broke off (A12, A20).
    /// The id must be the server's own, of this very stream. What is no standing stream stays as it is.
    #[must_use]
    pub fn from_event(&self, last: Option<String>) -> Self {
        let subject = match &self.call.subject {
            Subject::Stream { request: None, .. } => Subject::Stream { last_event_id: last, request: None },
            other => other.clone(),
        };
        Self { call: Call { context: self.call.context.clone(), subject } }
    }
}
