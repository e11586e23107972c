//! How much of the gateway one server may hold: calls under way, calls that wait for their turn, streams that stand open. A wrapper around any upstream.
//!
//! It stops what begins something, never what ends it: an answer of the client's that had to wait behind the call it belongs to would wait for ever.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use futures_util::StreamExt;
use portcullis_core::call::{Call, Subject};
use portcullis_core::gate::Cleared;
use portcullis_core::refusal::{Fault, FaultKind};
use portcullis_core::upstream::{self, Pending, Reply, Upstream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Checked limits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Walls {
    /// Requests under way.
    pub concurrency: u32,
    /// Requests that wait for one of those to end.
    pub queue: u32,
    /// How long one waits.
    pub patience: Duration,
    /// Streams that stand open without a request.
    pub streams: u32,
}

/// What one server holds. Shared by the upstreams of an old and a new plan.
#[derive(Debug)]
pub struct Room {
    server: Arc<str>,
    walls: Walls,
    calls: Arc<Semaphore>,
    /// Notifications and the client's answers: few and soon over, unless the server does not take them.
    asides: Arc<Semaphore>,
    streams: Arc<Semaphore>,
    waiting: AtomicUsize,
    refused: AtomicU64,
}

/// How full a server's room is, now.
#[derive(Clone, Debug)]
pub struct RoomView {
    pub server: Arc<str>,
    pub calls: usize,
    pub waiting: usize,
    pub streams: usize,
    /// Since the start.
    pub refused: u64,
}

/// A place in the queue, given back when the wait is over, one way or the other.
struct Waiting<'a>(&'a AtomicUsize);

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}

fn places(count: u32) -> Arc<Semaphore> {
    let count = usize::try_from(count).unwrap_or(usize::MAX);
    Arc::new(Semaphore::new(count.min(Semaphore::MAX_PERMITS)))
}

impl Room {
    /// Empty.
    #[must_use]
    pub fn new(server: Arc<str>, walls: Walls) -> Arc<Self> {
        Arc::new(Self {
            server,
            calls: places(walls.concurrency),
            asides: places(walls.concurrency),
            streams: places(walls.streams),
            walls,
            waiting: AtomicUsize::new(0),
            refused: AtomicU64::new(0),
        })
    }

    pub(crate) const fn server(&self) -> &Arc<str> {
        &self.server
    }

    pub(crate) const fn walls(&self) -> &Walls {
        &self.walls
    }

    pub(crate) fn view(&self) -> RoomView {
        let taken = |places: &Semaphore, most: u32| (most as usize).saturating_sub(places.available_permits());
        RoomView {
            server: Arc::clone(&self.server),
            calls: taken(&self.calls, self.walls.concurrency),
            waiting: self.waiting.load(Ordering::Acquire),
            streams: taken(&self.streams, self.walls.streams),
            refused: self.refused.load(Ordering::Relaxed),
        }
    }

    async fn enter(&self, call: &Call) -> Result<OwnedSemaphorePermit, Fault> {
        if stands(call) {
            return self.at_once(&self.streams, "as many streams stand open as `limits.streams` allows");
        }
        // What resumes a reply waits for its answer like the call did.
        if call.message().is_some() && !call.expects_response() {
            return self.at_once(&self.asides, "the server does not take what it is told");
        }
        match Arc::clone(&self.calls).try_acquire_owned() {
            Ok(place) => Ok(place),
            Err(_) => Box::pin(self.wait()).await,
        }
    }

    fn at_once(&self, places: &Arc<Semaphore>, full: &'static str) -> Result<OwnedSemaphorePermit, Fault> {
        Arc::clone(places).try_acquire_owned().map_err(|_| self.refuse(full))
    }

    /// First come, first served: so the semaphore is defined.
    async fn wait(&self) -> Result<OwnedSemaphorePermit, Fault> {
        let waiting = self.waiting.fetch_add(1, Ordering::AcqRel);
        let queued = Waiting(&self.waiting);
        if waiting >= self.walls.queue as usize {
            return Err(self.refuse("as many calls are under way and waiting as `limits` allows"));
        }
        let place = tokio::time::timeout(self.walls.patience, Arc::clone(&self.calls).acquire_owned()).await;
        drop(queued);
        match place {
            Ok(Ok(place)) => Ok(place),
            // Nobody closes it.
            Ok(Err(_)) | Err(_) => Err(self.refuse("no call ended while this one waited for its turn")),
        }
    }

    fn refuse(&self, why: &'static str) -> Fault {
        self.refused.fetch_add(1, Ordering::Relaxed);
        Fault::before_sending(FaultKind::Busy, why)
    }
}

/// Whether it lasts for as long as the client likes, and is the answer to nothing in particular.
pub(crate) fn stands(call: &Call) -> bool {
    match &call.subject {
        Subject::Stream { request, .. } => request.is_none(),
        Subject::Message(_) => call.method() == "subscriptions/listen" && call.expects_response(),
        Subject::Close => false,
    }
}

/// An upstream that takes no more than its room has places.
#[derive(Debug)]
pub struct Bulkhead {
    inner: Arc<dyn Upstream>,
    room: Arc<Room>,
}

impl Bulkhead {
    /// Puts walls around `inner`.
    #[must_use]
    pub fn new(inner: Arc<dyn Upstream>, room: Arc<Room>) -> Arc<Self> {
        Arc::new(Self { inner, room })
    }
}

impl upstream::Wrapper for Bulkhead {
    fn inner(&self) -> &dyn Upstream {
        self.inner.as_ref()
    }

    fn send(&self, cleared: Cleared) -> Pending<'_, Result<Reply, Fault>> {
        // The end of a session makes room.
        if matches!(cleared.call().subject, Subject::Close) {
            return self.inner.send(cleared);
        }
        Box::pin(async move {
            let place = self.room.enter(cleared.call()).await?;
            let reply = self.inner.send(cleared).await?;
            let mut place = Some(place);
            let arrivals = reply.arrivals.chain(futures_util::stream::poll_fn(move |_| {
                place.take();
                std::task::Poll::Ready(None)
            }));
            Ok(Reply { arrivals: Box::pin(arrivals), ..reply })
        })
    }
}

#[cfg(test)]
mod tests;
