//! What was tried for one call where a server can be reached in more than one way.

use std::sync::Arc;
use std::time::Duration;

/// The outcome of the attempt that brought the answer. Any other outcome is the code of a fault.
pub const ANSWERED: &str = "answered";

/// One attempt. Several stand in the order in which they were made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attempt {
    /// By which way, as the operator knows it: `http`, `stdio-2`, `http/1` (a replica). Never an address.
    pub transport: Arc<str>,
    /// [`ANSWERED`], or the stable code of what failed.
    pub outcome: &'static str,
    /// Whether the call may have reached the server.
    pub left: bool,
    pub took: Duration,
    /// For the log only. Empty for an answer.
    pub why: String,
}

/// Everything that was tried. `None` where there was nothing to choose, so that most calls pay nothing.
pub type Attempts = Option<Box<[Attempt]>>;
