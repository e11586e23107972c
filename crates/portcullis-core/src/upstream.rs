//! The seam towards servers. An upstream accepts only what the gate cleared; wrappers (route, breaker, retry) are upstreams too.

mod wrapper;

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Weak};
use std::time::Duration;

use futures_core::Stream;

use crate::attempt::Attempts;
use crate::call::SessionKey;
use crate::catalogue::Catalogue;
use crate::gate::Cleared;
use crate::refusal::Fault;
use crate::version::Era;
use crate::wire::Message;

pub use self::wrapper::Wrapper;

/// A future an upstream returns; boxed because upstreams are chosen at run time.
pub type Pending<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// The messages of one reply, in order, as they arrive.
pub type Arrivals = Pin<Box<dyn Stream<Item = Result<Arrived, Fault>> + Send>>;

/// One server, or several behind one face.
pub trait Upstream: Send + Sync + fmt::Debug {
    /// Name from the configuration; a Cedar identifier.
    fn name(&self) -> &Arc<str>;

    /// The era the server speaks, once known. `None` before the first successful contact.
    fn era(&self) -> Option<Era>;

    /// Delivers a cleared call and returns as soon as the answer begins.
    ///
    /// Dropping the future or the reply cancels a modern exchange; for a legacy one the caller of this method keeps the
    /// reply alive until it ends (A17). A fault in a reply ends it, but for [`crate::refusal::FaultKind::AnswerUnmatched`]: that one
    /// is a report, and the right answer may still follow. A notification, a client's response and a session's end reply with [`Media::Accepted`].
    fn send(&self, cleared: Cleared) -> Pending<'_, Result<Reply, Fault>>;

    /// What the server offers, as last seen. Empty before the first successful contact.
    fn catalogue(&self) -> Arc<Catalogue>;

    /// Asks the server anew what it offers. Single flight; bounded in pages, items and bytes.
    fn refresh(&self) -> Pending<'_, Result<Arc<Catalogue>, Fault>>;

    /// Whether the server is there and speaks MCP: a small exchange on the gateway's own account, for checks of health. Without a smaller one
    /// it is [`Upstream::refresh`]. Has no deadline of its own.
    fn check(&self) -> Pending<'_, Result<(), Fault>> {
        Box::pin(async move { self.refresh().await.map(drop) })
    }

    /// Learns from a `tools/list` result on its way to a client. Servers may offer some clients more than they offer the gateway's own
    /// question (by capabilities, by session); what a client saw must be known when it is called.
    fn observe(&self, listed: &Message);

    /// Ends the upstream side of a legacy session whose client is gone without a `DELETE` (expiry). Idempotent.
    fn forget(&self, session: SessionKey) -> Pending<'_, ()>;

    /// Whom to tell of legacy sessions that are opened anew behind their client's back. Only upstreams that do that tell anybody, and they tell the
    /// first who asked.
    fn tell_renewals_to(&self, _listener: Weak<dyn Renewals>) {}

    /// Stops: no new work, children ended and reaped, upstream sessions closed. Idempotent.
    fn shut_down(&self) -> Pending<'_, ()>;
}

/// Whoever knows what a session has asked of a server to go on doing, such as telling of changes: a server that lost the session has forgotten it.
pub trait Renewals: Send + Sync + fmt::Debug {
    /// Whether the session waits for something that this server said it would tell.
    fn awaits(&self, session: SessionKey, server: &str) -> bool;

    /// The server lost the session, and it was opened anew. Returns at once; what lasts is asked for again meanwhile.
    fn renewed(self: Arc<Self>, session: SessionKey, server: &str);
}

/// How the server answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Media {
    /// No body: a notification or a response was taken (HTTP 202).
    Accepted,
    /// One JSON document: exactly one message follows.
    Json,
    /// A stream of events; ends after the response, or never for standing streams.
    EventStream,
    /// The transport has no media types (stdio): the listener chooses. JSON when the first arrival is the response.
    Unframed,
}

/// A reply: its form at once, its messages when they come.
pub struct Reply {
    pub media: Media,
    /// HTTP status of a JSON-RPC answer that came with one other than 200 (modern 400/404). Only a hint for our own status.
    pub status: Option<u16>,
    pub arrivals: Arrivals,
    /// What was tried, where there was a choice.
    pub attempts: Attempts,
}

impl Reply {
    /// A reply without a status of its own, from the only way there is.
    #[must_use]
    pub fn new(media: Media, arrivals: Arrivals) -> Self {
        Self { media, status: None, arrivals, attempts: None }
    }
}

impl fmt::Debug for Reply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reply").field("media", &self.media).field("status", &self.status).finish_non_exhaustive()
    }
}

/// One event of a reply. An event without a message primes the stream or sets the retry delay (A14, A15).
#[derive(Clone, Debug, Default)]
pub struct Arrived {
    pub message: Option<Message>,
    /// The server's own event id, unsealed.
    pub event_id: Option<String>,
    /// The server's `retry` field.
    pub retry: Option<Duration>,
}
