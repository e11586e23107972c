//! One open socket: messages both ways, our own pings, and an end with a close code. One task, so that nothing outlives it.

use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use futures_util::stream::{SplitSink, SplitStream};
use futures_util::{SinkExt, StreamExt};
use hyper_util::rt::TokioIo;
use portcullis_core::refusal::{Fault, FaultKind};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until, timeout};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::error::CapacityError;
use tokio_tungstenite::tungstenite::protocol::CloseFrame;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::tungstenite::{self, Message, Utf8Bytes};

use crate::door::Stream;
use crate::pipe::intake::Intake;
use crate::pipe::running::WRITE_PATIENCE;
use crate::pipe::{Carrier, Router};

/// How long the server has to answer our close. 2 s, as a child has to end by itself.
const GRACE: Duration = Duration::from_secs(2);
/// Pings and pongs of the server within [`SPELL`] before it counts as broken. 100: ten a second are far more than any keep-alive.
const MOST_CONTROLS: u32 = 100;
const SPELL: Duration = Duration::from_secs(10);
/// Characters of the server's own reason for a close that are shown.
const SHOWN: usize = 100;

type Socket = WebSocketStream<TokioIo<Stream>>;

/// When we ping, and how long an answer may take.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pulse {
    /// `None`: never.
    pub(super) every: Option<Duration>,
    pub(super) within: Duration,
}

/// How a socket ended, and the code we close it with.
struct End {
    fault: Fault,
    code: CloseCode,
}

impl End {
    fn new(code: CloseCode, fault: Fault) -> Self {
        Self { fault, code }
    }
}

/// What the reading half tells the writing half.
struct Heard {
    begun: Instant,
    /// When the last frame came, in milliseconds since.
    last: AtomicU64,
    /// A message is being delivered: nothing is read meanwhile, and silence says nothing of the server.
    busy: AtomicBool,
}

impl Heard {
    fn new() -> Arc<Self> {
        Arc::new(Self { begun: Instant::now(), last: AtomicU64::new(0), busy: AtomicBool::new(false) })
    }

    fn now(&self) -> u64 {
        u64::try_from(self.begun.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    fn frame(&self) {
        self.last.store(self.now(), Ordering::Relaxed);
    }

    fn is_silent_since(&self, then: u64) -> bool {
        self.last.load(Ordering::Relaxed) < then && !self.busy.load(Ordering::Relaxed)
    }
}

/// Carries messages until the socket breaks or is to end.
pub(super) async fn carry<R: Router>(socket: Socket, carrier: Carrier<R>, pulse: Pulse) {
    let Carrier { router, notes, limits, messages, mut stopping, burial } = carrier;
    let (mut sink, mut stream) = socket.split();
    let heard = Heard::new();
    let ended = {
        let mut reading = pin!(read(&mut stream, Intake::new(router, notes, limits), Arc::clone(&heard)));
        let mut writing = pin!(write(&mut sink, messages, pulse, heard));
        tokio::select! {
            end = &mut reading => Some(end),
            end = &mut writing => Some(end),
            _ = stopping.wait_for(|stop| *stop) => None,
        }
    };
    burial.begin();
    let asked = ended.is_none();
    let gone = || End::new(CloseCode::Normal, Fault::new(FaultKind::Died, "the socket was closed by us"));
    let End { fault, code } = ended.unwrap_or_else(gone);
    if !asked {
        burial.announce(&fault);
    }
    let goodbye = async {
        let frame = CloseFrame { code, reason: Utf8Bytes::from_static("") };
        if sink.send(Message::Close(Some(frame))).await.is_ok() {
            // What still comes is for nobody; the server's own close ends it.
            while let Some(Ok(_)) = stream.next().await {}
        }
    };
    let _ = timeout(GRACE, goodbye).await;
    burial.finish(&fault, asked);
}

async fn read<R: Router>(stream: &mut SplitStream<Socket>, mut intake: Intake<R>, heard: Arc<Heard>) -> End {
    let (mut since, mut controls) = (Instant::now(), 0_u32);
    let mut closed = None;
    while let Some(item) = stream.next().await {
        heard.frame();
        match item {
            Ok(Message::Text(text)) => {
                heard.busy.store(true, Ordering::Relaxed);
                let taken = intake.take(Bytes::from(text)).await;
                heard.busy.store(false, Ordering::Relaxed);
                if let Err(fault) = taken {
                    return End::new(CloseCode::Policy, fault);
                }
            }
            // J5.
            Ok(Message::Binary(_)) => {
                return End::new(
                    CloseCode::Unsupported,
                    Fault::new(FaultKind::Garbage, "the server sent a binary frame"),
                );
            }
            Ok(Message::Ping(_) | Message::Pong(_) | Message::Frame(_)) => {
                if since.elapsed() > SPELL {
                    (since, controls) = (Instant::now(), 0);
                }
                controls += 1;
                if controls > MOST_CONTROLS {
                    return End::new(CloseCode::Policy, Fault::new(FaultKind::Garbage, "the server pings without end"));
                }
            }
            // Nothing that may follow it counts.
            Ok(Message::Close(frame)) => {
                closed = frame;
                break;
            }
            Err(error) => return broken(&error),
        }
    }
    let how = closed.map_or_else(String::new, |frame| {
        let reason: String = frame.reason.chars().filter(|char| !char.is_control()).take(SHOWN).collect();
        format!(" with {} {reason}", u16::from(frame.code))
    });
    End::new(CloseCode::Normal, Fault::new(FaultKind::Died, format!("the server closed the socket{how}")))
}

fn broken(error: &tungstenite::Error) -> End {
    use tungstenite::Error;
    let (code, kind) = match error {
        Error::Capacity(CapacityError::MessageTooLong { .. }) => (CloseCode::Size, FaultKind::TooLarge),
        Error::Utf8(_) => (CloseCode::Invalid, FaultKind::Garbage),
        // The end without a close, which is how a connection that was lost looks.
        Error::Protocol(tungstenite::error::ProtocolError::ResetWithoutClosingHandshake) => {
            (CloseCode::Normal, FaultKind::Died)
        }
        Error::Protocol(_) | Error::Capacity(_) => (CloseCode::Protocol, FaultKind::Garbage),
        _ => (CloseCode::Normal, FaultKind::Died),
    };
    End::new(code, Fault::new(kind, error.to_string()))
}

async fn write(
    sink: &mut SplitSink<Socket, Message>,
    mut messages: mpsc::Receiver<Bytes>,
    pulse: Pulse,
    heard: Arc<Heard>,
) -> End {
    let mut latest = Instant::now();
    // The ping that nothing has answered yet.
    let mut open: Option<u64> = None;
    loop {
        let wake = match (open, pulse.every) {
            (Some(_), _) => Some(latest + pulse.within),
            (None, every) => every.map(|every| latest + every),
        };
        let frame = tokio::select! {
            message = messages.recv() => match message.map(Utf8Bytes::try_from) {
                Some(Ok(text)) => Message::Text(text),
                // Messages were read strictly, so they are UTF-8.
                Some(Err(_)) => continue,
                // Nobody will say anything more, but the server may.
                None => std::future::pending().await,
            },
            () = at(wake) => match open.take() {
                Some(then) if heard.is_silent_since(then) => {
                    let detail = format!("the server answered nothing within {:?} after a ping", pulse.within);
                    return End::new(CloseCode::Away, Fault::new(FaultKind::Died, detail));
                }
                Some(_) => continue,
                None => {
                    (latest, open) = (Instant::now(), Some(heard.now()));
                    Message::Ping(Bytes::new())
                }
            },
        };
        match timeout(WRITE_PATIENCE, sink.send(frame)).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => return broken(&error),
            Err(_) => {
                let fault = Fault::new(FaultKind::Died, format!("the server took nothing within {WRITE_PATIENCE:?}"));
                return End::new(CloseCode::Away, fault);
            }
        }
    }
}

async fn at(wake: Option<Instant>) {
    match wake {
        Some(wake) => sleep_until(wake).await,
        None => std::future::pending().await,
    }
}
