//! What waits for a client that holds one connection for everything: messages in their order, and the calls that make them. The desk of a
//! legacy session outlives its connection, because a lost connection ends neither (J8); whoever says `initialize` with its id has it next (J9).

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use portcullis_core::gate::Inspected;
use portcullis_core::wire::{Id, Limits};
use tokio::sync::{OwnedMutexGuard, mpsc};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::envelope;

/// Messages that wait for one client. 64, as in a stdio server's replies; then whoever makes them is slowed.
const WAITING: usize = 64;

/// One desk.
#[derive(Debug)]
pub(crate) struct Desk {
    outbox: mpsc::Sender<Parcel>,
    tray: Arc<tokio::sync::Mutex<Tray>>,
    state: Mutex<State>,
    /// Everything that still may put something on it, but for what the server says by itself.
    pub(crate) calls: TaskTracker,
}

#[derive(Debug, Default)]
struct State {
    flights: HashMap<Id, Flight>,
    /// Fires for the connection that has the desk when another takes it.
    taken: CancellationToken,
}

#[derive(Debug)]
struct Flight {
    cancelled: CancellationToken,
    modern: bool,
}

/// The side that the connection takes from.
#[derive(Debug)]
pub(crate) struct Tray {
    parcels: mpsc::Receiver<Parcel>,
    /// Given out, and not known to be written: whoever comes next gets it again.
    unsent: Option<Parcel>,
}

/// One message on its way. Made of what was inspected only.
#[derive(Clone, Debug)]
pub(crate) struct Parcel(Bytes);

/// A request in progress; its id is free again when dropped.
#[derive(Debug)]
pub(crate) struct Airborne {
    desk: Arc<Desk>,
    id: Id,
    pub(crate) cancelled: CancellationToken,
}

impl Drop for Airborne {
    fn drop(&mut self) {
        self.desk.state().flights.remove(&self.id);
    }
}

impl Desk {
    pub(crate) fn new() -> Arc<Self> {
        let (outbox, parcels) = mpsc::channel(WAITING);
        let tray = Arc::new(tokio::sync::Mutex::new(Tray { parcels, unsent: None }));
        Arc::new(Self { outbox, tray, state: Mutex::default(), calls: TaskTracker::new() })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Consistent at every point where a panic could happen.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Registers a request; `None` while another of its id is in progress (C11).
    pub(crate) fn begin(self: &Arc<Self>, id: &Id, modern: bool) -> Option<Airborne> {
        let mut state = self.state();
        if state.flights.contains_key(id) {
            return None;
        }
        let cancelled = CancellationToken::new();
        state.flights.insert(id.clone(), Flight { cancelled: cancelled.clone(), modern });
        Some(Airborne { desk: Arc::clone(self), id: id.clone(), cancelled })
    }

    /// Whether a modern request has this id; `None`: no request has.
    pub(crate) fn is_modern(&self, id: &Id) -> Option<bool> {
        self.state().flights.get(id).map(|flight| flight.modern)
    }

    /// The client does not wait for this any more.
    pub(crate) fn cancel(&self, id: &Id) {
        if let Some(flight) = self.state().flights.get(id) {
            flight.cancelled.cancel();
        }
    }

    /// The client waits for nothing any more.
    pub(crate) fn cancel_all(&self) {
        self.state().flights.values().for_each(|flight| flight.cancelled.cancel());
    }

    /// Waits for room. Nothing is dropped while the desk stands.
    pub(crate) async fn put(&self, parcel: Parcel) {
        // The tray lives as long as the desk.
        let _put = self.outbox.send(parcel).await;
    }

    /// Gives the desk to a connection; the one before hears it.
    pub(crate) fn take(&self) -> CancellationToken {
        let mine = CancellationToken::new();
        std::mem::replace(&mut self.state().taken, mine.clone()).cancel();
        mine
    }

    /// No connection has it.
    pub(crate) fn is_abandoned(&self) -> bool {
        self.state().taken.is_cancelled()
    }

    /// Waits until the connection before has let go.
    pub(crate) async fn tray(&self) -> OwnedMutexGuard<Tray> {
        Arc::clone(&self.tray).lock_owned().await
    }
}

impl Tray {
    /// The next message. Given again until [`Tray::sent`].
    pub(crate) async fn next(&mut self) -> Option<Parcel> {
        if self.unsent.is_none() {
            self.unsent = self.parcels.recv().await;
        }
        self.unsent.clone()
    }

    /// The same without waiting.
    pub(crate) fn next_now(&mut self) -> Option<Parcel> {
        if self.unsent.is_none() {
            self.unsent = self.parcels.try_recv().ok();
        }
        self.unsent.clone()
    }

    pub(crate) fn sent(&mut self) {
        self.unsent = None;
    }
}

impl Parcel {
    pub(crate) fn of(message: &Inspected) -> Self {
        Self(message.bytes().clone())
    }

    /// The answer to `initialize`, with the id under which the client can come back (J7). An id that the server names leads nowhere here: it is taken
    /// off, and where that cannot be done the client is told none, since two would be nobody's JSON.
    pub(crate) fn greeting(answer: &Inspected, id: Option<&str>, limits: &Limits) -> Self {
        let bytes = match answer.message().map(|message| envelope::take_off(message, limits)) {
            Some(Err(_)) => return Self::of(answer),
            Some(Ok(Some((bare, _)))) => bare.bytes().clone(),
            Some(Ok(None)) | None => answer.bytes().clone(),
        };
        Self(id.map_or_else(|| bytes.clone(), |id| envelope::put_on(&bytes, id)))
    }

    /// The text to write.
    pub(crate) const fn text(&self) -> &Bytes {
        &self.0
    }
}

#[cfg(test)]
mod tests;
