//! An upstream over WebSocket: a text frame for each message, a socket for each legacy session, one for everybody in the modern era (J15).
//! The handshake is an HTTP request like any other of ours; what is on the socket afterwards is a pipe.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use hyper_util::rt::TokioIo;
use portcullis_core::clock::Clock;
use portcullis_core::refusal::Fault;
use portcullis_core::wire::Limits;
use portcullis_identity::client::{BadCredentials, Grant};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;

use crate::account::Account;
use crate::door::Stream;
use crate::http::headers;
use crate::http::site::Site;
use crate::pipe::{Carrier, PipeSettings, PipeUpstream, Post, Router, Source, StderrSink};
use crate::settings::{EraSetting, HttpSettings, SettingsError, WebSocketSettings};

mod handshake; // HTTP -> a socket
mod socket; // one open socket

use self::socket::Pulse;

/// Bytes read at once. 16 KiB, of each socket: most messages in one read, without holding much for an idle one.
const PIECE: usize = 16 << 10;

/// Servers that we reach by sockets.
pub struct WebSockets {
    site: Site,
    framing: WebSocketConfig,
    pulse: Pulse,
}

/// Not the site: its headers hold secrets.
impl fmt::Debug for WebSockets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("WebSockets(..)")
    }
}

impl PipeUpstream<WebSockets> {
    /// Checks the settings; opens no connection. `limits` bound each message the server sends. `sink` gets what is to be said of the server in
    /// our log.
    ///
    /// # Errors
    /// A setting that cannot work, naming its key.
    pub fn new(
        name: Arc<str>,
        settings: &WebSocketSettings,
        limits: Limits,
        clock: Arc<dyn Clock>,
        sink: StderrSink,
    ) -> Result<Arc<Self>, SettingsError> {
        let endpoint = headers::address(&settings.url, ["wss", "ws"], settings.allow_plain_ws)?;
        if let Some(credentials) = &settings.credentials
            && credentials.grant == Grant::TokenExchange
            && settings.era != EraSetting::Legacy
        {
            let reason = "would send every caller's messages on one token: a grant for each caller needs a socket for each, which only `era: legacy` has";
            return Err(BadCredentials { key: "grant", reason: reason.to_owned() }.into());
        }
        if settings.pong_within_ms == 0 {
            return Err(SettingsError::Zero { key: "pong_within_ms" });
        }
        // `ws` and `wss` begin as `http` and `https` (RFC 6455 §3, §4.1).
        let url = settings.url.get(2..).map(|rest| format!("http{rest}")).unwrap_or_default();
        let handshake = HttpSettings {
            headers: settings.headers.clone(),
            credentials: settings.credentials.clone(),
            allow_plain_http: endpoint.scheme_str() == Some("ws"),
            connect_timeout_ms: settings.connect_timeout_ms,
            first_byte_timeout_ms: settings.connect_timeout_ms,
            ..HttpSettings::of_url(url)
        };
        let common = PipeSettings {
            era: settings.era,
            most: settings.max_sockets,
            first_byte_timeout_ms: settings.first_byte_timeout_ms,
            probe_timeout_ms: settings.probe_timeout_ms,
            stall_timeout_ms: settings.stall_timeout_ms,
        };
        let sockets = WebSockets {
            // A socket has no place for a call chain beside each message, so none is sent.
            site: Site::new(Arc::clone(&name), &handshake, clock, None)?,
            framing: WebSocketConfig::default()
                .read_buffer_size(PIECE)
                // Each message is written before the next is taken, so none waits for a fuller buffer.
                .write_buffer_size(0)
                .max_message_size(Some(limits.bytes))
                .max_frame_size(Some(limits.bytes)),
            pulse: Pulse {
                every: (settings.ping_every_ms > 0).then(|| Duration::from_millis(settings.ping_every_ms)),
                within: Duration::from_millis(settings.pong_within_ms),
            },
        };
        Self::over(name, &common, sockets, limits, sink)
    }
}

impl Source for WebSockets {
    type Raw = WebSocketStream<TokioIo<Stream>>;
    const MOST: &'static str = "max_sockets";

    async fn open(&self, account: Account<'_>) -> Result<Self::Raw, Fault> {
        let opened = handshake::open(&self.site, account, self.framing).await;
        // Whatever it was, no message was sent.
        opened.map_err(|fault| Fault { never_left: true, ..fault })
    }

    fn run<R: Router>(&self, raw: Self::Raw, carrier: Carrier<R>) -> Option<Arc<dyn Post>> {
        tokio::spawn(socket::carry(raw, carrier, self.pulse));
        None
    }
}

#[cfg(test)]
mod tests;
