//! One proof that is not good, and why.

use std::fmt;

use portcullis_core::refusal::ProofFailure;

/// Refuses the request that carries it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failed {
    pub failure: ProofFailure,
    /// For the log only; holds neither tokens nor secrets.
    pub detail: String,
}

impl Failed {
    #[must_use]
    pub fn new(failure: ProofFailure, detail: impl Into<String>) -> Self {
        Self { failure, detail: detail.into() }
    }
}

impl fmt::Display for Failed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.failure.as_str(), self.detail)
    }
}

impl std::error::Error for Failed {}
