//! An SSE body as arrivals: each event is given when it is there, and nothing is read before it is asked for (back-pressure).
//! Dropping it closes the stream, which is what cancels a modern request (C8).

use std::collections::VecDeque;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use futures_util::{FutureExt, Stream};
use http_body::Body;
use http_body_util::BodyExt;
use portcullis_core::refusal::{Fault, FaultKind};
use portcullis_core::upstream::{Arrivals, Arrived};
use portcullis_core::version::Era;
use portcullis_core::wire::{Direction, Kind, Message, looks_like_batch, read_batch};
use tokio::time::Sleep;

use super::line::Answer;
use super::reply::{Expecting, arrived, garbage};
use super::sessions::Opening;
use super::{Inner, exchange};
use crate::answers::{Awaiting, Step};
use crate::sse::{SseEvent, SseLimits, SseReader};

/// Unmatched answers on one stream before it is given up. 16: a confused server is tolerated, a flood is not.
const MOST_UNMATCHED: u8 = 16;

/// Bytes after the response that are still looked at. 16 KiB: an answer that came twice, not a flood.
const MOST_BEHIND: usize = 16 << 10;
/// How long the end of a stream is awaited after its response. 1 s: servers end it at once, or hold it open for no reason of ours.
const END_AWAITED: Duration = Duration::from_secs(1);

/// Where the messages of a stream belong.
enum Purpose {
    /// Answers one request.
    Reply(Awaiting),
    /// Stands on its own: no responses (A12).
    Standing,
    /// The rest of a broken stream, whatever it was (A12, A20).
    Resumed,
}

pub(super) struct Events {
    owner: Arc<Inner>,
    /// Dropped as soon as the reply is over, so that the connection is freed or closed.
    body: Option<Answer>,
    reader: SseReader,
    purpose: Purpose,
    opening: Option<Opening>,
    era: Era,
    batches: bool,
    /// An event id was given: a legacy stream may break off and be resumed (A15, B9).
    resumable: bool,
    unmatched: u8,
    /// How much longer the stream may be silent, while it is waited for.
    silence: Option<Pin<Box<Sleep>>>,
    ready: VecDeque<Result<Arrived, Fault>>,
}

impl Stream for Events {
    type Item = Result<Arrived, Fault>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = self.get_mut();
        loop {
            if let Some(item) = this.ready.pop_front() {
                return Poll::Ready(Some(item));
            }
            if this.body.is_none() {
                return Poll::Ready(None);
            }
            match this.reader.next_event() {
                Err(error) => this.fail(Fault::new(FaultKind::TooLarge, error.to_string())),
                Ok(Some(event)) => this.take(event),
                Ok(None) => match ready!(this.poll_chunk(cx)) {
                    Ok(Some(chunk)) => this.reader.feed(chunk),
                    Ok(None) => this.at_end("the stream ended"),
                    Err(fault) if fault.kind == FaultKind::Died => this.at_end(&fault.detail),
                    Err(fault) => this.fail(fault),
                },
            }
        }
    }
}

impl Events {
    pub(super) fn of_reply(owner: Arc<Inner>, body: Answer, awaiting: Awaiting, expecting: Expecting) -> Self {
        let Expecting { era, opening, batches, .. } = expecting;
        Self::new(owner, body, Purpose::Reply(awaiting), opening, era, batches)
    }

    pub(super) fn standing(owner: Arc<Inner>, body: Answer, resumes: bool, batches: bool) -> Self {
        let purpose = if resumes { Purpose::Resumed } else { Purpose::Standing };
        Self::new(owner, body, purpose, None, Era::Legacy, batches)
    }

    fn new(
        owner: Arc<Inner>,
        body: Answer,
        purpose: Purpose,
        opening: Option<Opening>,
        era: Era,
        batches: bool,
    ) -> Self {
        let reader = SseReader::new(SseLimits::for_messages(owner.limits.bytes));
        Self {
            owner,
            body: Some(body),
            reader,
            purpose,
            opening,
            era,
            batches,
            resumable: false,
            unmatched: 0,
            silence: None,
            ready: VecDeque::new(),
        }
    }

    pub(super) fn arrivals(self) -> Arrivals {
        Box::pin(self)
    }

    /// The next bytes; `None` at the orderly end.
    fn poll_chunk(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Bytes>, Fault>> {
        loop {
            let Some(body) = self.body.as_mut() else { return Poll::Ready(Ok(None)) };
            let Poll::Ready(frame) = Pin::new(body).poll_frame(cx) else { return self.poll_silence(cx).map(Err) };
            self.silence = None;
            match frame {
                None => return Poll::Ready(Ok(None)),
                Some(Err(error)) => {
                    return Poll::Ready(Err(Fault::new(FaultKind::Died, exchange::chain(&error))));
                }
                Some(Ok(frame)) => {
                    if let Ok(data) = frame.into_data() {
                        return Poll::Ready(Ok(Some(data)));
                    }
                }
            }
        }
    }

    /// Ready when nothing has come for too long. Only a stream that is waited for has a timer.
    fn poll_silence(&mut self, cx: &mut Context<'_>) -> Poll<Fault> {
        let Some(limit) = self.owner.idle else { return Poll::Pending };
        let silence = self.silence.get_or_insert_with(|| Box::pin(tokio::time::sleep(limit)));
        ready!(silence.as_mut().poll(cx));
        Poll::Ready(Fault::new(FaultKind::TimedOut, format!("the stream was silent for {limit:?}")))
    }

    fn fail(&mut self, fault: Fault) {
        self.body = None;
        self.ready.push_back(Err(fault));
    }

    /// Half an event is dropped. What is owed decides whether the end is a fault.
    fn at_end(&mut self, how: &str) {
        let owed = matches!(&self.purpose, Purpose::Reply(awaiting) if !awaiting.is_answered());
        if owed && !(self.resumable && self.era == Era::Legacy) {
            let half = if self.reader.is_inside_event() { ", inside an event" } else { "" };
            self.fail(Fault::new(FaultKind::Died, format!("{how} before the response{half}")));
        } else {
            self.body = None;
        }
    }

    fn take(&mut self, event: SseEvent) {
        let is_message = event.is_message();
        let SseEvent { data, id: event_id, retry, .. } = event;
        self.resumable |= event_id.is_some();
        if data.is_empty() || !is_message {
            // It may still prime the stream or set the retry delay (A14, A15); foreign event types mean nothing to MCP.
            if event_id.is_some() || retry.is_some() {
                self.ready.push_back(Ok(Arrived { message: None, event_id, retry }));
            }
            return;
        }
        let owner = &self.owner;
        if self.batches && looks_like_batch(&data) {
            match read_batch(data, Direction::ToClient, &owner.limits) {
                Ok(messages) => messages.into_iter().for_each(|message| self.sort(message)),
                Err(error) => return self.fail(garbage(&error)),
            }
        } else {
            match owner.seen.read(data, Direction::ToClient, &owner.limits) {
                Ok(message) => self.sort(message),
                Err(error) => return self.fail(garbage(&error)),
            }
        }
        self.label(event_id, retry);
    }

    /// One message to its place.
    fn sort(&mut self, message: Message) {
        self.owner.notice(&message);
        if self.era == Era::Modern && message.kind() == Kind::Request {
            // C6: a modern server has no requests, and nobody could answer one.
            tracing::warn!(server = %self.owner.site.name, "a request on a modern stream was dropped");
            return;
        }
        let is_response = matches!(message.kind(), Kind::Result | Kind::Error);
        let step = match &mut self.purpose {
            Purpose::Reply(awaiting) => awaiting.step(message, &self.owner.limits),
            Purpose::Standing if is_response => Step::Unmatched("a response on a standalone stream"),
            Purpose::Standing | Purpose::Resumed => Step::Give(message),
        };
        match step {
            Step::Give(message) => self.ready.push_back(Ok(arrived(message))),
            Step::Last(message) => {
                if let Err(fault) = self.owner.settle(self.opening.take(), &message) {
                    return self.fail(fault);
                }
                self.ready.push_back(Ok(arrived(message)));
                self.look_behind();
            }
            Step::Unmatched(detail) => self.unmatched(detail),
        }
    }

    /// After the response nothing more is given (A16). What is there already is looked at, so that a second answer is
    /// noticed; and the end is awaited elsewhere for a moment, so that the connection can serve the next call.
    fn look_behind(&mut self) {
        let Some(mut body) = self.body.take() else { return };
        let mut left = MOST_BEHIND;
        let ended = loop {
            while let Ok(Some(event)) = self.reader.next_event() {
                let extra = Message::read(event.data, Direction::ToClient, &self.owner.limits);
                if extra.is_ok_and(|extra| matches!(extra.kind(), Kind::Result | Kind::Error)) {
                    return self.unmatched("a second response after the first");
                }
            }
            match body.frame().now_or_never() {
                None => break false,
                Some(Some(Ok(frame))) => match frame.into_data() {
                    Ok(data) if data.len() <= left => {
                        left -= data.len();
                        self.reader.feed(data);
                    }
                    _ => return,
                },
                Some(_) => break true,
            }
        };
        if !ended {
            tokio::spawn(tokio::time::timeout(END_AWAITED, async move {
                let ends = body.frame().await.is_none();
                tracing::trace!(ends, "after the response");
            }));
        }
    }

    /// Reported, and the stream goes on: the right answer may still come.
    fn unmatched(&mut self, detail: &str) {
        self.unmatched = self.unmatched.saturating_add(1);
        if self.unmatched > MOST_UNMATCHED {
            return self.fail(Fault::new(FaultKind::Garbage, "too many answers to nobody"));
        }
        self.ready.push_back(Err(Fault::new(FaultKind::AnswerUnmatched, detail)));
    }

    /// The event's id and delay go with the last message that was made of it.
    fn label(&mut self, event_id: Option<String>, retry: Option<Duration>) {
        if event_id.is_none() && retry.is_none() {
            return;
        }
        match self.ready.iter_mut().rev().find_map(|item| item.as_mut().ok()) {
            Some(last) => (last.event_id, last.retry) = (event_id, retry),
            None => self.ready.push_back(Ok(Arrived { message: None, event_id, retry })),
        }
    }
}
