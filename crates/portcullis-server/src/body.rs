//! What an HTTP answer carries: nothing, one JSON text, or a stream of events.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Frame, SizeHint};
use portcullis_core::gate::Inspected;

use crate::batch::Batch;
use crate::departure::Departure;

/// The body of every answer this crate gives.
#[derive(Debug)]
pub(crate) enum Body {
    Empty,
    /// Only what was inspected, or is our own refusal, gets this far.
    Whole(Option<Inspected>),
    /// What the gateway says of itself, to everybody and to no message.
    Own(Option<Bytes>),
    Events(Box<Departure>),
    Batch(Box<Batch>),
}

impl http_body::Body for Body {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let next = match self.get_mut() {
            Self::Empty => Poll::Ready(None),
            Self::Whole(message) => Poll::Ready(message.take().map(|message| message.bytes().clone())),
            Self::Own(text) => Poll::Ready(text.take()),
            Self::Events(departure) => departure.poll_event(cx),
            Self::Batch(batch) => batch.poll_event(cx),
        };
        next.map(|bytes| bytes.map(|bytes| Ok(Frame::data(bytes))))
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Empty | Self::Whole(None) | Self::Own(None) => true,
            Self::Whole(Some(_)) | Self::Own(Some(_)) | Self::Events(_) | Self::Batch(_) => false,
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Empty | Self::Whole(None) | Self::Own(None) => SizeHint::with_exact(0),
            Self::Own(Some(text)) => SizeHint::with_exact(text.len() as u64),
            Self::Whole(Some(message)) => SizeHint::with_exact(message.bytes().len() as u64),
            Self::Events(_) | Self::Batch(_) => SizeHint::default(),
        }
    }
}
