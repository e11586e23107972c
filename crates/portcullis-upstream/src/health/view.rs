//! What can be seen of a server from outside: plain values, for `/readyz`, `portcullis status` and metrics.

use std::sync::Arc;
use std::time::Duration;

use super::condition::Health;
use crate::breaker::Phase;

/// One transport of one server, now.
#[derive(Clone, Debug)]
pub struct TrackView {
    pub server: Arc<str>,
    pub transport: Arc<str>,
    pub health: Health,
    /// How long it has been so.
    pub health_for: Duration,
    pub breaker: Phase,
    pub breaker_for: Duration,
    /// Until somebody may try; `None` while calls pass.
    pub retry_after: Option<Duration>,
    pub last_failure: Option<LastFailure>,
    pub numbers: Numbers,
    /// Tools whose own breaker does not let every call pass, by name.
    pub tools: Vec<ToolView>,
}

/// Words of a fault; part of it may be the server's, so it is to be escaped before a terminal sees it.
#[derive(Clone, Debug)]
pub struct LastFailure {
    pub text: String,
    pub ago: Duration,
}

/// A tool that is shut.
#[derive(Clone, Debug)]
pub struct ToolView {
    pub name: Arc<str>,
    pub breaker: Phase,
    pub retry_after: Option<Duration>,
}

/// Counted since the start; never goes back.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Numbers {
    /// Let through.
    pub calls: u64,
    pub answered: u64,
    pub failed: u64,
    /// Given up by the caller, or ended in a way that says nothing about the server.
    pub undecided: u64,
    /// Refused by an open breaker.
    pub refused: u64,
    /// Times the breaker of the transport came to each state.
    pub opened: u64,
    pub half_opened: u64,
    pub closed: u64,
    /// Questions of our own.
    pub checks_answered: u64,
    pub checks_failed: u64,
}

impl Numbers {
    /// Times the breaker of the transport came to this state.
    #[must_use]
    pub const fn came_to(&self, phase: Phase) -> u64 {
        match phase {
            Phase::Closed => self.closed,
            Phase::HalfOpen => self.half_opened,
            Phase::Open => self.opened,
        }
    }
}
