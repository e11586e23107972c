//! What every listener does with a message once it is read: forward it while there is time, record what is refused, and take the reply to
//! its end. Nothing here knows how messages are framed; `departure.rs` (HTTP) and `line.rs` (WebSocket, stdio) do.

use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use portcullis_core::gate::Inspected;
use portcullis_core::refusal::{Denial, DenialCode};
use tokio::time::Sleep;
use tokio_util::sync::WaitForCancellationFutureOwned;

use crate::answer::{Asked, Refusal, Unread, gateway_denial};
use crate::forward::{Forwarded, forward};
use crate::gateway::Gateway;
use crate::journey::Journey;
use crate::read::Read;
use crate::record::{self, RefusedFacts};

/// Judges and forwards. At the end of a drain, calls that have not even begun to be answered are answered by us.
pub(crate) async fn begin(gateway: &Arc<Gateway>, read: Read) -> Result<Journey, Box<Unread>> {
    let forwarding = std::pin::pin!(forward(gateway, read));
    let forwarded = gateway.overdue.unless(forwarding).await;
    let Forwarded { journey } = forwarded.unwrap_or_else(|| Err(early(shutting_down())))?;
    Ok(journey)
}

/// The record of a refusal, unless it has one.
pub(crate) fn refused(gateway: &Gateway, unread: Unread, facts: &RefusedFacts) -> (Refusal, Asked) {
    let Unread { refusal, asked, recorded } = unread;
    if !recorded {
        record::refused(gateway, &refusal, facts, &asked);
    }
    (refusal, asked)
}

pub(crate) fn early(refusal: impl Into<Refusal>) -> Box<Unread> {
    Unread::new(refusal, Asked::default())
}

pub(crate) fn shutting_down() -> Denial {
    gateway_denial(DenialCode::ShuttingDown, "the gateway is shutting down", "draining")
}

/// A reply on its way to the client, which may leave, and which the gateway may end.
pub(crate) struct Delivery {
    journey: Option<Box<Journey>>,
    /// Fires when the gateway wants this reply to end.
    stop: Pin<Box<WaitForCancellationFutureOwned>>,
    /// Fires when what proved the caller of a standing stream ends.
    end: Option<Pin<Box<Sleep>>>,
}

impl std::fmt::Debug for Delivery {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Delivery").field("journey", &self.journey).finish_non_exhaustive()
    }
}

impl Delivery {
    pub(crate) fn new(journey: Journey) -> Self {
        let stop = Box::pin(journey.stop_signal().cancelled_owned());
        let end = journey.stands_for().map(|left| Box::pin(tokio::time::sleep(left)));
        Self { journey: Some(Box::new(journey)), stop, end }
    }

    /// The next message for the client; `None` at the end.
    pub(crate) fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<Inspected>> {
        let Some(journey) = &mut self.journey else { return Poll::Ready(None) };
        // First, so that not even a stream that is never quiet outlives it.
        if self.end.as_mut().is_some_and(|end| end.as_mut().poll(cx).is_ready()) {
            journey.outlived();
            self.journey = None;
            return Poll::Ready(None);
        }
        match journey.poll_next(cx) {
            Poll::Ready(Some(message)) => return Poll::Ready(Some(message)),
            Poll::Ready(None) => {
                self.journey = None;
                return Poll::Ready(None);
            }
            Poll::Pending => {}
        }
        if self.stop.as_mut().poll(cx).is_pending() {
            return Poll::Pending;
        }
        let last = journey.stop();
        self.journey = None;
        Poll::Ready(last)
    }

    pub(crate) async fn next(&mut self) -> Option<Inspected> {
        poll_fn(|cx| self.poll_next(cx)).await
    }

    /// Until it has ended.
    pub(crate) fn journey(&self) -> Option<&Journey> {
        self.journey.as_deref()
    }
}

impl Drop for Delivery {
    fn drop(&mut self) {
        if let Some(journey) = self.journey.take() {
            journey.client_left();
        }
    }
}
