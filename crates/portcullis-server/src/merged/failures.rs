//! Which servers did not answer, and what of that their client may know.

use std::sync::Arc;

use portcullis_core::gate::Inspected;
use portcullis_core::merge::Failed;
use portcullis_core::wire::{Direction, Limits, Message};

use crate::answer::{Refusal, Unread};

/// JSON-RPC's "method not found": the server has no such list, and nobody misses it.
const METHOD_NOT_FOUND: i64 = -32601;

/// Why servers are missing in an answer.
#[derive(Debug, Default)]
pub(super) struct Failures {
    /// The first that was ours.
    pub(super) first: Option<Box<Unread>>,
    /// The first that a server gave, with its code.
    pub(super) error: Option<(Inspected, Option<i64>)>,
    /// Server, code and sentence of each that its caller may know of: what policies hide is not missing.
    pub(super) missing: Vec<(Arc<str>, String, String)>,
}

impl Failures {
    pub(super) fn answered(&mut self, server: Arc<str>, error: Inspected) {
        let read = Message::read(error.bytes().clone(), Direction::ToClient, &Limits::default()).ok();
        let number = read.as_ref().and_then(Message::error_code);
        if number != Some(METHOD_NOT_FOUND) {
            let code = number.map_or_else(|| "error".to_owned(), |code| code.to_string());
            self.missing.push((server, code, "the server answered with an error".to_owned()));
        }
        self.error.get_or_insert((error, number));
    }

    pub(super) fn refused(&mut self, server: Arc<str>, unread: Box<Unread>) {
        if let Refusal::Fault(fault) = &unread.refusal {
            self.missing.push((server, fault.kind.code().to_owned(), fault.kind.public().to_owned()));
        }
        self.first.get_or_insert(unread);
    }

    pub(super) fn named(&self) -> Vec<Failed<'_>> {
        self.missing.iter().map(|(server, code, message)| Failed { server, code, message }).collect()
    }
}
