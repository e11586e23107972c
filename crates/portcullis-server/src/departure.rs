//! The outgoing stream: frames inspected messages as Server-Sent Events when they come, and keeps a quiet stream open with comments.
//! Polled by the connection only as fast as the client reads, so a slow reader slows the server (bounded buffers, A9, C5, C7).

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{BufMut, Bytes, BytesMut};
use memchr::memchr2;
use portcullis_core::gate::Inspected;
use tokio::time::{Instant, Sleep};

use crate::answering::Answering;
use crate::exchange::Delivery;

/// Bytes of events that go together. 16 KiB: about a hundred small ones, which is what one read brings; the work on them delays the first by
/// less than what a write costs for each.
const GATHERED: usize = 16 << 10;
/// Room behind them for the one that makes them enough. 1 KiB: longer ones are rare, and then the room grows once.
const LAST: usize = 1 << 10;

/// A reply on its way to the client, as events.
#[derive(Debug)]
pub(crate) struct Departure {
    delivery: Option<Delivery>,
    /// Already taken from the reply while its form was being decided, or all there is.
    first: Option<Inspected>,
    keep_alive: Pin<Box<Sleep>>,
    quiet: Duration,
}

impl Departure {
    pub(crate) fn new(answering: Answering, first: Option<Inspected>) -> Self {
        let quiet = answering.keep_alive();
        let keep_alive = Box::pin(tokio::time::sleep(quiet));
        Self { delivery: Some(Delivery::new(answering)), first, keep_alive, quiet }
    }

    /// A refused item of a batch: one message and the end.
    pub(crate) fn refused(message: Inspected) -> Self {
        let quiet = Duration::ZERO;
        Self { delivery: None, first: Some(message), keep_alive: Box::pin(tokio::time::sleep(quiet)), quiet }
    }

    /// The next bytes of the stream; `None` at its end. Events that are there already go together, and none waits for another: each was
    /// inspected alone, and what is not there yet is not waited for.
    pub(crate) fn poll_event(&mut self, cx: &mut Context<'_>) -> Poll<Option<Bytes>> {
        let mut out = BytesMut::new();
        if let Some(first) = self.first.take() {
            put_event(&mut out, &first, self.delivery.as_ref());
        }
        while out.len() < GATHERED
            && let Some(delivery) = self.delivery.as_mut()
        {
            match delivery.poll_next(cx) {
                Poll::Ready(Some(inspected)) => {
                    // One event alone gets the room it needs; where a second is there already, many often are.
                    if !out.is_empty() {
                        out.reserve(GATHERED + LAST - out.len());
                    }
                    put_event(&mut out, &inspected, Some(delivery));
                }
                Poll::Ready(None) => self.delivery = None,
                Poll::Pending if out.is_empty() => return self.poll_quiet(cx),
                Poll::Pending => break,
            }
        }
        if self.delivery.is_some() {
            self.keep_alive.as_mut().reset(Instant::now() + self.quiet);
        }
        Poll::Ready((!out.is_empty()).then(|| out.freeze()))
    }

    /// Nothing to send: perhaps the client is to be told that the stream lives.
    fn poll_quiet(&mut self, cx: &mut Context<'_>) -> Poll<Option<Bytes>> {
        ready!(self.keep_alive.as_mut().poll(cx));
        self.keep_alive.as_mut().reset(Instant::now() + self.quiet);
        Poll::Ready(Some(Bytes::from_static(b": keep-alive\n\n")))
    }
}

/// One event. JSON may hold line breaks between tokens; each line becomes a `data` field, which the reader joins again.
fn put_event(out: &mut BytesMut, inspected: &Inspected, delivery: Option<&Delivery>) {
    let text = inspected.bytes();
    out.reserve(text.len() + 64);
    if let Some(id) = delivery.and_then(|delivery| delivery.seal_event(inspected)) {
        out.put_slice(b"id: ");
        out.put_slice(id.as_bytes());
        out.put_u8(b'\n');
    }
    if let Some(retry) = inspected.retry() {
        out.put_slice(format!("retry: {}\n", retry.as_millis()).as_bytes());
    }
    put_data(out, text);
    out.put_u8(b'\n');
}

fn put_data(out: &mut BytesMut, text: &[u8]) {
    let mut rest = text;
    loop {
        out.put_slice(b"data: ");
        let Some(at) = memchr2(b'\n', b'\r', rest) else {
            out.put_slice(rest);
            out.put_u8(b'\n');
            return;
        };
        let (line, tail) = rest.split_at(at);
        out.put_slice(line);
        out.put_u8(b'\n');
        rest = tail.strip_prefix(b"\r\n").or_else(|| tail.get(1..)).unwrap_or_default();
    }
}

#[cfg(test)]
mod tests {
    use super::put_data;
    use bytes::BytesMut;

    fn framed(text: &[u8]) -> String {
        let mut out = BytesMut::new();
        put_data(&mut out, text);
        String::from_utf8(out.to_vec()).unwrap()
    }

    #[test]
    fn json_with_line_breaks_becomes_one_data_field_a_line() {
        assert_eq!(framed(b"{}"), "data: {}\n");
        assert_eq!(framed(b""), "data: \n");
        assert_eq!(framed(b"{\n\"a\":1,\r\n\"b\":2\r}"), "data: {\ndata: \"a\":1,\ndata: \"b\":2\ndata: }\n");
    }
}
