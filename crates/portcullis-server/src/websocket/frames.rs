//! The frames of one connection: each text frame is one message (J5). Reading and writing go on side by side, so that a client which sends
//! before it reads is not waited for; whatever ends the connection ends both, with a code.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::stream::{SplitSink, SplitStream};
use futures_util::{SinkExt, StreamExt};
use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use portcullis_core::refusal::Violation;
use tokio::time::Instant;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::error::{CapacityError, Error, ProtocolError};
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::tungstenite::protocol::{CloseFrame, Role, WebSocketConfig};
use tokio_tungstenite::tungstenite::{Message, Utf8Bytes};
use tokio_util::sync::CancellationToken;

use super::pace::Pace;
use super::settings::seconds;
use super::watch::{self, Heard};
use super::{Accepted, Asker};
use crate::desk::Parcel;
use crate::gateway::Gateway;
use crate::line::{Line, Outlet};
use crate::record;

/// How long the closing handshake may take.
const CLOSING: Duration = Duration::from_secs(2);
/// What one look into the socket takes: most messages whole. 8 KiB, held by every connection.
const READ: usize = 8 << 10;
/// What may wait to be written beyond messages: our pongs and pings.
const SLACK: usize = 64 << 10;

type Socket = WebSocketStream<TokioIo<Upgraded>>;

/// Why a connection ends.
pub(super) enum Ending {
    /// The client closed it, or it is broken.
    Gone,
    /// We close it, and it is nobody's fault.
    Over(CloseCode, &'static str),
    /// We close it, and it is the client's fault.
    Misused(CloseCode, Violation),
}

/// Serves an upgraded connection to its end.
pub(crate) async fn serve(gateway: Arc<Gateway>, accepted: Accepted) {
    let Accepted { upgrade, asker, line, _permit } = accepted;
    let Ok(upgraded) = upgrade.await else { return };
    let socket = WebSocketStream::from_raw_socket(TokioIo::new(upgraded), Role::Server, Some(config(&gateway))).await;
    let (mut sink, mut stream) = socket.split();
    let (heard, finish) = (Heard::now(), CancellationToken::new());
    let ending = {
        let reading = pin!(read(&gateway, &mut stream, &line, &asker, &heard));
        let writing = pin!(write(&gateway, &mut sink, &line, &heard, &finish));
        let watching = pin!(watch::watch(&gateway, &line, &asker, &heard, &finish));
        tokio::select! {
            biased;
            () = gateway.cut_off.token().cancelled() => Ending::Gone,
            ending = watching => ending,
            ending = reading => ending,
            ending = writing => ending,
        }
    };
    line.hang_up();
    let (code, reason) = match ending {
        Ending::Gone => return,
        Ending::Over(code, reason) => (code, reason.to_owned()),
        Ending::Misused(code, violation) => {
            let reason = violation.public().into_owned();
            record::hung_up(&gateway, violation, None, line.came.client, None);
            (code, reason)
        }
    };
    let closing = async {
        sink.send(Message::Close(Some(CloseFrame { code, reason: reason.into() }))).await?;
        // The client's own close frame: without it a reset could overtake what we sent.
        while stream.next().await.transpose()?.is_some() {}
        Ok::<_, Error>(())
    };
    let _either_way = tokio::time::timeout(CLOSING, closing).await;
}

fn config(gateway: &Gateway) -> WebSocketConfig {
    let most = largest(gateway);
    // Beyond that nothing is taken from us: what is larger than the largest message, several times over, is what a client made by never
    // reading the answers to its pings.
    let unwritten = gateway.settings.limits.message_bytes.saturating_mul(4).saturating_add(SLACK);
    WebSocketConfig::default()
        .read_buffer_size(READ)
        .write_buffer_size(0)
        .max_write_buffer_size(unwritten)
        .max_message_size(Some(most))
        .max_frame_size(Some(most))
        .accept_unmasked_frames(false)
}

/// Bytes of the largest message that is read.
fn largest(gateway: &Gateway) -> usize {
    let (own, all) = (gateway.settings.websocket.message_bytes, gateway.settings.limits.message_bytes);
    if own == 0 { all } else { own.min(all) }
}

async fn read(
    gateway: &Gateway,
    stream: &mut SplitStream<Socket>,
    line: &Arc<Line>,
    asker: &Asker,
    heard: &Heard,
) -> Ending {
    let settings = &gateway.settings.websocket;
    let mut pace = Pace::new(settings.messages_per_second, seconds(settings.overrun_seconds), Instant::now());
    loop {
        let frame = match stream.next().await {
            None => return Ending::Gone,
            Some(Err(error)) => return misread(&error, largest(gateway)),
            Some(Ok(frame)) => frame,
        };
        heard.again();
        match pace.frame(Instant::now()) {
            Ok(Duration::ZERO) => {}
            // Not read meanwhile: the client is slowed through TCP.
            Ok(wait) => tokio::time::sleep(wait).await,
            Err(_) => return Ending::Misused(CloseCode::Policy, Violation::TooManyMessages),
        }
        match frame {
            Message::Text(text) => match asker.proven().await {
                Ok(identified) => line.receive(&identified, Bytes::from(text)).await,
                Err(denial) => return asker.unproven(&denial),
            },
            Message::Binary(_) => return Ending::Misused(CloseCode::Unsupported, Violation::BinaryFrame),
            Message::Close(_) => return Ending::Gone,
            // Pings are answered below us.
            Message::Ping(_) | Message::Pong(_) | Message::Frame(_) => {}
        }
    }
}

/// Until nobody takes anything, or there is nothing more to come.
async fn write(
    gateway: &Gateway,
    sink: &mut SplitSink<Socket, Message>,
    line: &Line,
    heard: &Heard,
    finish: &CancellationToken,
) -> Ending {
    let settings = &gateway.settings.websocket;
    let mut outlet = Outlet::of(line).await;
    loop {
        let (frame, of_line) = tokio::select! {
            biased;
            parcel = outlet.next() => (text(&parcel), true),
            () = heard.silent_for(seconds(settings.ping_seconds)) => (Message::Ping(Bytes::new()), false),
            () = finish.cancelled() => return Ending::Over(CloseCode::Away, "the gateway is shutting down"),
        };
        let written = sink.send(frame);
        let written = match seconds(settings.stall_seconds) {
            Some(at_most) => tokio::time::timeout(at_most, written).await,
            None => Ok(written.await),
        };
        match written {
            Ok(Ok(())) if of_line => outlet.sent(),
            Ok(Ok(())) => heard.asked(),
            Ok(Err(_)) => return Ending::Gone,
            Err(_) => return Ending::Misused(CloseCode::Policy, Violation::SlowReader),
        }
    }
}

fn text(parcel: &Parcel) -> Message {
    // Inspected text is UTF-8: the reader took it. Were it not, nothing of it would be said.
    Message::Text(Utf8Bytes::try_from(parcel.text().clone()).unwrap_or_default())
}

fn misread(error: &Error, limit: usize) -> Ending {
    match error {
        Error::Capacity(CapacityError::MessageTooLong { .. }) => {
            Ending::Misused(CloseCode::Size, Violation::BodyTooLarge { limit })
        }
        Error::Utf8(_) => Ending::Misused(CloseCode::Invalid, Violation::FrameInvalid),
        Error::Protocol(ProtocolError::ResetWithoutClosingHandshake) => Ending::Gone,
        Error::Protocol(_) => Ending::Misused(CloseCode::Protocol, Violation::FrameInvalid),
        _ => Ending::Gone,
    }
}
