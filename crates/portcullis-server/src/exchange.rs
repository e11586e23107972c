//! What every listener does with a message once it is read: forward it while there is time, record what is refused, and take the reply to
//! its end. Nothing here knows how messages are framed; `departure.rs` (HTTP) and `line.rs` (WebSocket, stdio) do.

use std::future::poll_fn;
use std::pin::Pin;
use std::task::{Context, Poll};

use portcullis_core::gate::Inspected;
use portcullis_core::refusal::{Denial, DenialCode};
use tokio::time::Sleep;
use tokio_util::sync::WaitForCancellationFutureOwned;

use crate::answer::{Asked, Refusal, Unread, gateway_denial};
use crate::answering::Answering;
use crate::gateway::Gateway;
use crate::record::{self, RefusedFacts};

/// At the end of a drain, calls that have not even begun to be answered are answered by us.
pub(crate) async fn in_time<T>(
    gateway: &Gateway,
    work: Pin<&mut impl Future<Output = Result<T, Box<Unread>>>>,
) -> Result<T, Box<Unread>> {
    gateway.overdue.unless(work).await.unwrap_or_else(|| Err(early(shutting_down())))
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
    answering: Option<Answering>,
    /// Fires when the gateway wants this reply to end.
    stop: Pin<Box<WaitForCancellationFutureOwned>>,
    /// Fires when what proved the caller of a standing stream ends.
    end: Option<Pin<Box<Sleep>>>,
    refusal: Option<Box<Unread>>,
}

impl std::fmt::Debug for Delivery {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Delivery").field("answering", &self.answering).finish_non_exhaustive()
    }
}

impl Delivery {
    pub(crate) fn new(answering: Answering) -> Self {
        let stop = Box::pin(answering.stop_signal().cancelled_owned());
        let end = answering.stands_for().map(|left| Box::pin(tokio::time::sleep(left)));
        Self { answering: Some(answering), stop, end, refusal: None }
    }

    /// The next message for the client; `None` at the end.
    pub(crate) fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<Inspected>> {
        let Some(answering) = &mut self.answering else { return Poll::Ready(None) };
        // First, so that not even a stream that is never quiet outlives it.
        if self.end.as_mut().is_some_and(|end| end.as_mut().poll(cx).is_ready()) {
            answering.outlived();
            self.answering = None;
            return Poll::Ready(None);
        }
        match answering.poll_next(cx) {
            Poll::Ready(Some(message)) => return Poll::Ready(Some(message)),
            Poll::Ready(None) => {
                self.refusal = answering.refusal();
                self.answering = None;
                return Poll::Ready(None);
            }
            Poll::Pending => {}
        }
        if self.stop.as_mut().poll(cx).is_pending() {
            return Poll::Pending;
        }
        let last = answering.stop();
        self.answering = None;
        Poll::Ready(last)
    }

    pub(crate) async fn next(&mut self) -> Option<Inspected> {
        poll_fn(|cx| self.poll_next(cx)).await
    }

    /// Why there was no answer, once it has ended.
    pub(crate) fn refusal(&mut self) -> Option<Box<Unread>> {
        self.refusal.take()
    }

    /// The event id of the message that came last, as this client may hold it.
    pub(crate) fn seal_event(&self, message: &Inspected) -> Option<String> {
        self.answering.as_ref()?.seal_event(message.event_id()?)
    }
}

impl Drop for Delivery {
    fn drop(&mut self) {
        if let Some(answering) = self.answering.take() {
            answering.client_left();
        }
    }
}
