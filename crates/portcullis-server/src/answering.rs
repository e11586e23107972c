//! What answers one message: the reply of one server, or of several together.

use std::future::poll_fn;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use futures_util::future::join_all;
use http::StatusCode;
use portcullis_core::gate::Inspected;
use portcullis_core::refusal::{Fault, FaultKind};
use portcullis_core::upstream::Media;
use tokio_util::sync::CancellationToken;

use crate::answer::{Asked, Unread};
use crate::forward::forward;
use crate::gateway::Gateway;
use crate::journey::Journey;
use crate::merged::Merged;
use crate::read::Turn;

/// A reply under way, whoever makes it.
#[derive(Debug)]
pub(crate) enum Answering {
    One(Box<Journey>),
    Many(Box<Merged>),
}

/// Judges and forwards what expects an answer.
pub(crate) async fn begin(gateway: &Arc<Gateway>, turn: Turn) -> Result<Answering, Box<Unread>> {
    match turn {
        Turn::One(read) => Ok(Answering::One(Box::new(forward(gateway, *read).await?.journey))),
        Turn::Many(many) => {
            // Whatever placed the message found at least one server for it.
            let nobody = || Unread::new(Fault::new(FaultKind::Unreachable, "no server"), Asked::default());
            let mut merged = Box::new(Merged::new(gateway, *many).ok_or_else(nobody)?);
            if merged.media() == Media::EventStream {
                merged.opened().await?;
            }
            Ok(Answering::Many(merged))
        }
    }
}

/// Judges and forwards what expects no answer: a notification, a response, the end of a session.
///
/// # Errors
/// Nobody took it; the first reason.
pub(crate) async fn deliver(gateway: &Arc<Gateway>, turn: Turn, status: StatusCode) -> Result<(), Box<Unread>> {
    match turn {
        Turn::One(read) => forward(gateway, *read).await?.journey.accepted(status),
        Turn::Many(many) => {
            let outcomes = join_all(many.reads.into_iter().map(|read| forward(gateway, read))).await;
            let (mut taken, mut refused) = (false, None);
            for outcome in outcomes {
                match outcome {
                    Ok(mut forwarded) => {
                        forwarded.journey.accepted(status);
                        taken = true;
                    }
                    Err(unread) => refused = refused.or(Some(unread)),
                }
            }
            if let Some(unread) = refused.filter(|_| !taken) {
                return Err(unread);
            }
        }
    }
    Ok(())
}

impl Answering {
    /// The next message for the client; `None` at the end.
    pub(crate) fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<Inspected>> {
        match self {
            Self::One(journey) => journey.poll_next(cx),
            Self::Many(merged) => merged.poll_next(cx),
        }
    }

    pub(crate) async fn next(&mut self) -> Option<Inspected> {
        poll_fn(|cx| self.poll_next(cx)).await
    }

    /// Why there is no answer, where that is known before anything was sent.
    pub(crate) fn refusal(&mut self) -> Option<Box<Unread>> {
        match self {
            Self::One(_) => None,
            Self::Many(merged) => merged.refusal(),
        }
    }

    pub(crate) fn media(&self) -> Media {
        match self {
            Self::One(journey) => journey.media(),
            Self::Many(merged) => merged.media(),
        }
    }

    /// From here on the answer is a stream.
    pub(crate) fn becomes_stream(&mut self) {
        match self {
            Self::One(journey) => journey.becomes_stream(),
            Self::Many(merged) => merged.becomes_stream(),
        }
    }

    /// HTTP status of an answer that is one JSON document.
    pub(crate) fn status(&self) -> StatusCode {
        match self {
            Self::One(journey) => journey.status(),
            Self::Many(merged) => merged.status(),
        }
    }

    /// When the gateway wants this to end.
    pub(crate) fn stop_signal(&self) -> CancellationToken {
        match self {
            Self::One(journey) => journey.stop_signal(),
            Self::Many(merged) => merged.stop_signal(),
        }
    }

    /// How long a standing stream may stand.
    pub(crate) fn stands_for(&self) -> Option<Duration> {
        match self {
            Self::One(journey) => journey.stands_for(),
            Self::Many(merged) => merged.stands_for(),
        }
    }

    /// What proved the caller of a standing stream has ended.
    pub(crate) fn outlived(&mut self) {
        match self {
            Self::One(journey) => journey.outlived(),
            Self::Many(merged) => merged.outlived(),
        }
    }

    /// Ends it now; an open call gets an error with its id.
    pub(crate) fn stop(&mut self) -> Option<Inspected> {
        match self {
            Self::One(journey) => journey.stop(),
            Self::Many(merged) => merged.stop(),
        }
    }

    pub(crate) fn keep_alive(&self) -> Duration {
        match self {
            Self::One(journey) => journey.keep_alive(),
            Self::Many(merged) => merged.keep_alive(),
        }
    }

    /// The event id of the message that came last, as this client may hold it.
    pub(crate) fn seal_event(&self, id: &str) -> Option<String> {
        match self {
            Self::One(journey) => journey.seal_event(id),
            Self::Many(merged) => merged.seal_event(id),
        }
    }

    /// The client hung up.
    pub(crate) fn client_left(self) {
        match self {
            Self::One(journey) => journey.client_left(),
            Self::Many(merged) => merged.client_left(),
        }
    }
}
