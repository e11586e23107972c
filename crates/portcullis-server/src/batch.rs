//! Batches of 2025-03-26 (A7): every item was judged alone and has a reply of its own; one body carries them all, as they come.

use std::collections::VecDeque;
use std::task::{Context, Poll};

use bytes::Bytes;

use crate::departure::Departure;

/// Several replies behind one body.
#[derive(Debug)]
pub(crate) struct Batch {
    /// Rotated, so that one busy reply cannot starve the others.
    departures: VecDeque<Departure>,
}

impl Batch {
    pub(crate) fn new(departures: Vec<Departure>) -> Self {
        Self { departures: departures.into() }
    }

    pub(crate) fn poll_event(&mut self, cx: &mut Context<'_>) -> Poll<Option<Bytes>> {
        for _ in 0..self.departures.len() {
            let Some(mut departure) = self.departures.pop_front() else { break };
            match departure.poll_event(cx) {
                Poll::Ready(Some(bytes)) => {
                    self.departures.push_back(departure);
                    return Poll::Ready(Some(bytes));
                }
                Poll::Ready(None) => {}
                Poll::Pending => self.departures.push_back(departure),
            }
        }
        if self.departures.is_empty() { Poll::Ready(None) } else { Poll::Pending }
    }
}
