//! An upstream over HTTP+SSE, the transport of protocol version 2024-11-05: a stream of events for each session, whose first event names where
//! messages are posted. Legacy era only, and only where it is configured: nothing falls back to it.
//!
//! What clients speak passes as it is, `initialize` too: a server that knows only 2024-11-05 answers with that version, and the session speaks it.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{Method, StatusCode, Uri};
use http_body::Body;
use portcullis_core::clock::Clock;
use portcullis_core::refusal::{Fault, FaultKind};
use portcullis_core::upstream::Pending;
use portcullis_core::wire::Limits;
use portcullis_identity::chain::ChainSigner;

use crate::account::Account;
use crate::http::exchange::Outbound;
use crate::http::site::Site;
use crate::http::{headers, reply};
use crate::pipe::{Carrier, PipeSettings, PipeUpstream, Post, Router, Source, StderrSink};
use crate::settings::{EraSetting, HttpSettings, HttpSseSettings, SettingsError};

mod endpoint; // where messages are posted
mod stream; // one open stream

use self::stream::Events;

/// Bytes of the answer to a post that are read, so that its connection can serve the next. 4 KiB: a word, or a short page that says so.
const ANSWER_BYTES: usize = 4 << 10;

/// Servers that we reach by streams of events.
pub struct EventStreams {
    site: Arc<Site>,
    url: Uri,
    limits: Limits,
    /// For all that comes before the first message.
    patience: Duration,
    idle: Option<Duration>,
}

/// Not the site: its headers hold secrets.
impl fmt::Debug for EventStreams {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("EventStreams(..)")
    }
}

impl PipeUpstream<EventStreams> {
    /// Checks the settings; opens no connection. `limits` bound each message the server sends. `chain` signs our entry in the call chain of each
    /// message. `sink` gets what is to be said of the server in our log.
    ///
    /// # Errors
    /// A setting that cannot work, naming its key.
    pub fn new(
        name: Arc<str>,
        settings: &HttpSseSettings,
        limits: Limits,
        clock: Arc<dyn Clock>,
        chain: Option<Arc<ChainSigner>>,
        sink: StderrSink,
    ) -> Result<Arc<Self>, SettingsError> {
        let url = headers::address(&settings.url, ["https", "http"], settings.allow_plain_http)?;
        let requests = HttpSettings {
            headers: settings.headers.clone(),
            credentials: settings.credentials.clone(),
            next_gateway: settings.next_gateway.clone(),
            allow_plain_http: settings.allow_plain_http,
            connect_timeout_ms: settings.connect_timeout_ms,
            first_byte_timeout_ms: settings.first_byte_timeout_ms,
            idle_timeout_ms: settings.idle_timeout_ms,
            ..HttpSettings::of_url(settings.url.clone())
        };
        let common = PipeSettings {
            era: EraSetting::Legacy,
            most: settings.max_streams,
            first_byte_timeout_ms: settings.first_byte_timeout_ms,
            probe_timeout_ms: settings.probe_timeout_ms,
            stall_timeout_ms: settings.stall_timeout_ms,
        };
        let streams = EventStreams {
            site: Arc::new(Site::new(Arc::clone(&name), &requests, clock, chain)?),
            url,
            limits,
            patience: Duration::from_millis(settings.connect_timeout_ms),
            idle: settings.idle_timeout_ms.map(Duration::from_millis),
        };
        Self::over(name, &common, streams, limits, sink)
    }
}

/// An open stream, and where messages go.
pub struct Opened {
    events: Events,
    target: Uri,
}

impl fmt::Debug for Opened {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Opened(..)")
    }
}

impl Source for EventStreams {
    type Raw = Opened;
    const MOST: &'static str = "max_streams";

    async fn open(&self, account: Account<'_>) -> Result<Opened, Fault> {
        let late = || Fault::new(FaultKind::TimedOut, format!("no endpoint was named within {:?}", self.patience));
        let opened = tokio::time::timeout(self.patience, self.connect(account)).await;
        // Whatever it was, no message was sent.
        opened.unwrap_or_else(|_| Err(late())).map_err(|fault| Fault { never_left: true, ..fault })
    }

    fn run<R: Router>(&self, raw: Opened, carrier: Carrier<R>) -> Option<Arc<dyn Post>> {
        let Opened { events, target } = raw;
        let mailbox: Arc<dyn Post> = Arc::new(Mailbox { site: Arc::clone(&self.site), target });
        tokio::spawn(stream::carry(events, carrier, Arc::clone(&mailbox)));
        Some(mailbox)
    }
}

impl EventStreams {
    async fn connect(&self, account: Account<'_>) -> Result<Opened, Fault> {
        let mut outbound = Outbound::new(Method::GET, Bytes::new());
        outbound.headers = self.site.fixed.get();
        if let Account::Call(call) = account {
            headers::trace(&mut outbound.headers, &call.context.trace);
        }
        let (head, body) = self.site.exchange(outbound, account).await?.into_parts();
        reply::expect_events(&head)?;
        let mut events = Events::new(body, self.limits.bytes, self.idle);
        let target = loop {
            let event = events.next().await?;
            match event.kind.as_deref() {
                Some("endpoint") => break endpoint::resolve(&self.url, &event.data)?,
                // Of the stream itself, such as its retry delay.
                _ if event.data.is_empty() => {}
                _ => return Err(Fault::new(FaultKind::Garbage, "the stream does not begin with `endpoint`")),
            }
        };
        Ok(Opened { events, target })
    }
}

/// Where the messages of one session are posted.
struct Mailbox {
    site: Arc<Site>,
    target: Uri,
}

impl Post for Mailbox {
    fn post<'a>(&'a self, account: Account<'a>, message: Bytes) -> Pending<'a, Result<(), Fault>> {
        Box::pin(async move {
            let mut outbound = Outbound::new(Method::POST, message);
            outbound.headers = self.site.fixed.post();
            outbound.target = Some(self.target.clone());
            if let Account::Call(call) = account {
                headers::trace(&mut outbound.headers, &call.context.trace);
            }
            let (head, body) = self.site.exchange(outbound, account).await?.into_parts();
            reply::same_for_all(&head)?;
            let refused =
                |kind| Err(Fault::new(kind, format!("the server answered {} to a message", head.status.as_u16())));
            match head.status {
                // The answer comes on the stream; what stands here means nothing.
                status if status.is_success() => {
                    if body.size_hint().exact().is_some() {
                        let _ = reply::read_body(body, ANSWER_BYTES).await;
                    }
                    Ok(())
                }
                StatusCode::NOT_FOUND => refused(FaultKind::SessionLost),
                _ => refused(FaultKind::Garbage),
            }
        })
    }
}

#[cfg(test)]
mod tests;
