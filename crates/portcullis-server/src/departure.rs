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
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};

use crate::answering::Answering;

/// Bytes of events that go together. 16 KiB: about a hundred small ones, which is what one read brings; the work on them delays the first by
/// less than what a write costs for each.
const GATHERED: usize = 16 << 10;

/// A reply on its way to the client.
pub(crate) struct Departure {
    answering: Option<Answering>,
    /// Already taken from it while its form was being decided, or all there is.
    first: Option<Inspected>,
    keep_alive: Pin<Box<Sleep>>,
    /// Fires when the gateway wants this stream to end.
    stop: Pin<Box<WaitForCancellationFutureOwned>>,
    /// Fires when what proved the caller of a standing stream ends.
    end: Option<Pin<Box<Sleep>>>,
}

impl std::fmt::Debug for Departure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Departure").field("answering", &self.answering).finish_non_exhaustive()
    }
}

impl Departure {
    pub(crate) fn new(answering: Answering, first: Option<Inspected>) -> Self {
        let stop = Box::pin(answering.stop_signal().cancelled_owned());
        let keep_alive = Box::pin(tokio::time::sleep(answering.keep_alive()));
        let end = answering.stands_for().map(|left| Box::pin(tokio::time::sleep(left)));
        Self { answering: Some(answering), first, keep_alive, stop, end }
    }

    /// A refused item of a batch: one message and the end.
    pub(crate) fn refused(message: Inspected) -> Self {
        let never = CancellationToken::new();
        let keep_alive = Box::pin(tokio::time::sleep(Duration::ZERO));
        Self { answering: None, first: Some(message), keep_alive, stop: Box::pin(never.cancelled_owned()), end: None }
    }

    /// The next bytes of the stream; `None` at its end. Events that are there already go together, and none waits for another: each was
    /// inspected alone, and what is not there yet is not waited for.
    pub(crate) fn poll_event(&mut self, cx: &mut Context<'_>) -> Poll<Option<Bytes>> {
        // First, so that not even a stream that is never quiet outlives it.
        if let (Some(end), Some(answering)) = (&mut self.end, &mut self.answering)
            && end.as_mut().poll(cx).is_ready()
        {
            answering.outlived();
            (self.end, self.answering) = (None, None);
            return Poll::Ready(None);
        }
        let mut out = BytesMut::new();
        if let Some(first) = self.first.take() {
            put_event(&mut out, &first, self.answering.as_ref());
        }
        while out.len() < GATHERED
            && let Some(answering) = self.answering.as_mut()
        {
            match answering.poll_next(cx) {
                Poll::Ready(Some(inspected)) => put_event(&mut out, &inspected, Some(answering)),
                Poll::Ready(None) => self.answering = None,
                Poll::Pending if out.is_empty() => return self.poll_quiet(cx),
                Poll::Pending => break,
            }
        }
        if let Some(answering) = &self.answering {
            self.keep_alive.as_mut().reset(Instant::now() + answering.keep_alive());
        }
        Poll::Ready((!out.is_empty()).then(|| out.freeze()))
    }

    /// Nothing to send: perhaps the stream is to end, or the client to be told that it lives.
    fn poll_quiet(&mut self, cx: &mut Context<'_>) -> Poll<Option<Bytes>> {
        let Some(answering) = self.answering.as_mut() else { return Poll::Ready(None) };
        if self.stop.as_mut().poll(cx).is_ready() {
            let last = answering.stop();
            let bytes = last.map(|inspected| {
                let mut out = BytesMut::new();
                put_event(&mut out, &inspected, Some(answering));
                out.freeze()
            });
            self.answering = None;
            return Poll::Ready(bytes);
        }
        ready!(self.keep_alive.as_mut().poll(cx));
        self.keep_alive.as_mut().reset(Instant::now() + answering.keep_alive());
        Poll::Ready(Some(Bytes::from_static(b": keep-alive\n\n")))
    }
}

impl Drop for Departure {
    fn drop(&mut self) {
        if let Some(answering) = self.answering.take() {
            answering.client_left();
        }
    }
}

/// One event. JSON may hold line breaks between tokens; each line becomes a `data` field, which the reader joins again.
fn put_event(out: &mut BytesMut, inspected: &Inspected, answering: Option<&Answering>) {
    let text = inspected.bytes();
    out.reserve(text.len() + 64);
    if let Some(id) = inspected.event_id().zip(answering).and_then(|(id, answering)| answering.seal_event(id)) {
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
