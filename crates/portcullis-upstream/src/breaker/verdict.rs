//! What an outcome says about the server's transport. Nothing that a caller can bring about alone may count against it, or one caller could shut a
//! server for all others.

use std::time::Duration;

use portcullis_core::refusal::{Fault, FaultKind};

use super::circuit::Outcome;

/// Of a call, or of a reply that broke off.
pub(super) fn of_fault(fault: &Fault) -> Outcome {
    match &fault.kind {
        FaultKind::Unreachable
        | FaultKind::TimedOut
        | FaultKind::Garbage
        | FaultKind::Died
        | FaultKind::AnswerUnmatched => Outcome::Failed { retry_after: None },
        FaultKind::Throttled { retry_after_ms } => {
            Outcome::Failed { retry_after: retry_after_ms.map(Duration::from_millis) }
        }
        // What was asked for decides how large an answer is.
        FaultKind::TooLarge
        // The caller's session, era or method.
        | FaultKind::SessionLost
        | FaultKind::NotRepeated
        | FaultKind::NoStream
        | FaultKind::EraMismatch { .. }
        // With credentials made for each caller, one who may not would shut out those who may.
        | FaultKind::Unauthorized
        // Ours.
        | FaultKind::Overloaded
        | FaultKind::Busy
        | FaultKind::CircuitOpen { .. }
        | FaultKind::ShuttingDown => Outcome::Neither,
    }
}

/// Of a question of our own: there is no caller to blame, so a server that will not have us is not healthy either.
pub(crate) fn of_check(fault: &Fault) -> Outcome {
    match (&fault.kind, of_fault(fault)) {
        (FaultKind::Unauthorized | FaultKind::TooLarge | FaultKind::EraMismatch { .. }, _) => {
            Outcome::Failed { retry_after: None }
        }
        (_, outcome) => outcome,
    }
}
