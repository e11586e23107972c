//! One open stream of events, until it ends or is to end.

use std::sync::Arc;
use std::time::Duration;

use http_body_util::BodyExt;
use portcullis_core::refusal::{Fault, FaultKind};
use tokio::sync::mpsc;

use crate::account::Account;
use crate::http::exchange;
use crate::http::line::Answer;
use crate::pipe::intake::Intake;
use crate::pipe::{Carrier, Post, Router};
use crate::sse::{SseEvent, SseLimits, SseReader};

/// The events of one body.
pub(super) struct Events {
    body: Answer,
    reader: SseReader,
    idle: Option<Duration>,
}

impl Events {
    pub(super) fn new(body: Answer, most: usize, idle: Option<Duration>) -> Self {
        Self { body, reader: SseReader::new(SseLimits::for_messages(most)), idle }
    }

    /// The next one; the end of the stream is a fault.
    pub(super) async fn next(&mut self) -> Result<SseEvent, Fault> {
        loop {
            let event = self.reader.next_event();
            if let Some(event) = event.map_err(|error| Fault::new(FaultKind::TooLarge, error.to_string()))? {
                return Ok(event);
            }
            let frame = match self.idle {
                Some(limit) => tokio::time::timeout(limit, self.body.frame())
                    .await
                    .map_err(|_| Fault::new(FaultKind::TimedOut, format!("the stream was silent for {limit:?}")))?,
                None => self.body.frame().await,
            };
            let frame = frame.ok_or_else(|| Fault::new(FaultKind::Died, "the server ended the stream"))?;
            let frame = frame.map_err(|error| Fault::new(FaultKind::Died, exchange::chain(&error)))?;
            if let Ok(data) = frame.into_data() {
                self.reader.feed(data);
            }
        }
    }
}

/// Reads until the stream breaks or is to end. The end of the stream is the end of the session: this transport has no other.
pub(super) async fn carry<R: Router>(events: Events, carrier: Carrier<R>, mailbox: Arc<dyn Post>) {
    let Carrier { router, notes, limits, messages, mut stopping, burial } = carrier;
    let ended = tokio::select! {
        fault = read(events, Intake::new(router, notes, limits)) => Some(fault),
        () = write(messages, mailbox) => None,
        _ = stopping.wait_for(|stop| *stop) => None,
    };
    burial.begin();
    let asked = ended.is_none();
    let fault = ended.unwrap_or_else(|| Fault::new(FaultKind::Died, "the stream was closed by us"));
    burial.finish(&fault, asked);
}

async fn read<R: Router>(mut events: Events, mut intake: Intake<R>) -> Fault {
    loop {
        let event = match events.next().await {
            Ok(event) => event,
            Err(fault) => return fault,
        };
        if event.is_message()
            && !event.data.is_empty()
            && let Err(fault) = intake.take(event.data).await
        {
            return fault;
        }
    }
}

/// What we say on our own account: refusals of the server's requests.
async fn write(mut messages: mpsc::Receiver<bytes::Bytes>, mailbox: Arc<dyn Post>) {
    while let Some(message) = messages.recv().await {
        if let Err(fault) = mailbox.post(Account::OWN, message).await {
            tracing::info!(%fault, "the server did not take our answer to its request");
        }
    }
    std::future::pending().await
}
