//! The load: connections that each send a call, read and verify its answer, and send the next. Measures a window of time after a warm-up.
//! An answer that is not the expected one ends the run: a wrong answer is never a fast one.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use memchr::memmem::{self, Finder};
use tokio::io::AsyncReadExt as _;
use tokio::net::TcpStream;
use tokio::task::JoinSet;

use crate::process::{processor_time, resident};
use crate::traffic::{self, EVENTS, Era, FIRST_ID, Kind, Request};
use crate::wire::{First, Wire};

/// Longest latency that is told apart, in nanoseconds: a minute. What takes longer counts as that.
const LONGEST: u64 = 60_000_000_000;
/// How long the first answer may take on a busy machine.
const PATIENCE: Duration = Duration::from_secs(30);
/// Ids of one connection; they never run into the next one's.
const IDS: u64 = 100_000_000;

/// What to send, and how.
#[derive(Clone, Debug)]
pub struct Settings {
    pub address: SocketAddr,
    pub era: Era,
    pub kind: Kind,
    pub connections: usize,
    pub warmup: Duration,
    pub window: Duration,
    /// The gateway is expected to refuse what its policy forbids.
    pub refused: bool,
    /// Processes whose time and memory are told.
    pub watched: Vec<u32>,
    /// Where a gateway tells how much it has allocated.
    pub counter: Option<SocketAddr>,
}

/// What was measured in the window.
#[derive(Debug)]
pub struct Measured {
    /// Nanoseconds from the first byte sent to the last byte read.
    pub latency: Histogram<u64>,
    /// Nanoseconds from the first byte sent to the first event of a stream.
    pub first_event: Histogram<u64>,
    pub used: Used,
    pub allocated: Option<Allocated>,
}

/// What was allocated.
#[derive(Clone, Copy, Debug, Default)]
pub struct Allocated {
    pub count: u64,
    pub bytes: u64,
}

impl Allocated {
    /// As `bench-counted` tells it: two numbers.
    async fn so_far(counter: SocketAddr) -> io::Result<Self> {
        let mut text = String::new();
        TcpStream::connect(counter).await?.read_to_string(&mut text).await?;
        let numbers = text.split_once(' ').and_then(|(count, bytes)| Some((count.parse().ok()?, bytes.parse().ok()?)));
        let (count, bytes) = numbers.ok_or_else(|| io::Error::other(format!("not two numbers: {text}")))?;
        Ok(Self { count, bytes })
    }
}

impl fmt::Display for Allocated {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "allocations={} allocated={}", self.count, self.bytes)
    }
}

/// What processes used in a window.
#[derive(Clone, Copy, Debug)]
pub struct Used {
    pub window: Duration,
    pub processor: Duration,
    /// Bytes at its end.
    pub resident: u64,
}

impl fmt::Display for Used {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { window, processor, resident } = self;
        write!(f, "seconds={:.6} processor={} resident={resident}", window.as_secs_f64(), processor.as_nanos())
    }
}

/// Watches processes for a time, or longer, until `enough`.
pub async fn watch(pids: &[u32], window: Duration, enough: impl Fn() -> bool) -> Used {
    let (before, begun) = (processor_time(pids), Instant::now());
    tokio::time::sleep(window).await;
    while !enough() && begun.elapsed() < PATIENCE {
        tokio::time::sleep(window).await;
    }
    let (window, after) = (begun.elapsed(), processor_time(pids));
    Used { window, processor: after.saturating_sub(before), resident: resident(pids) }
}

const WARMING: u8 = 0;
const MEASURING: u8 = 1;
const OVER: u8 = 2;

#[derive(Debug)]
struct Shared {
    phase: AtomicU8,
    counts: Mutex<Counts>,
}

#[derive(Debug)]
struct Counts {
    latency: Histogram<u64>,
    first_event: Histogram<u64>,
}

/// Runs the load to its end.
///
/// # Errors
/// A connection that fails or an answer that is not the expected one, with its beginning.
pub async fn run(settings: Settings) -> io::Result<Measured> {
    let counts = Mutex::new(Counts { latency: histogram()?, first_event: histogram()? });
    let shared = Arc::new(Shared { phase: AtomicU8::new(WARMING), counts });
    let settings = Arc::new(settings);
    let mut connections = JoinSet::new();
    for number in 0..settings.connections {
        let client = Client::open(&settings, number).await?;
        connections.spawn(client.run(Arc::clone(&settings), Arc::clone(&shared)));
    }
    let window = async {
        tokio::time::sleep(settings.warmup).await;
        let before = match settings.counter {
            Some(counter) => Some(Allocated::so_far(counter).await?),
            None => None,
        };
        shared.phase.store(MEASURING, Ordering::Relaxed);
        let any = || !shared.counts.lock().unwrap_or_else(PoisonError::into_inner).latency.is_empty();
        let used = watch(&settings.watched, settings.window, any).await;
        shared.phase.store(OVER, Ordering::Relaxed);
        let Some((counter, before)) = settings.counter.zip(before) else { return Ok((used, None)) };
        let after = Allocated::so_far(counter).await?;
        Ok((used, Some(Allocated { count: after.count - before.count, bytes: after.bytes - before.bytes })))
    };
    let all = async {
        while let Some(ended) = connections.join_next().await {
            ended.map_err(io::Error::other)??;
        }
        Ok::<_, io::Error>(())
    };
    let ((used, allocated), ()) = tokio::try_join!(window, all)?;
    let counts = shared.counts.lock().unwrap_or_else(PoisonError::into_inner);
    Ok(Measured { latency: counts.latency.clone(), first_event: counts.first_event.clone(), used, allocated })
}

fn histogram() -> io::Result<Histogram<u64>> {
    Histogram::new_with_bounds(1, LONGEST, 3).map_err(io::Error::other)
}

/// One connection and what it sends.
struct Client {
    wire: Wire,
    request: Request,
    /// Ends the session, where there is one.
    goodbye: Option<Request>,
    id: u64,
    answer: Vec<u8>,
}

/// An answer that has been read.
struct Heard {
    status: u16,
    first_event: Option<Duration>,
}

impl Client {
    async fn open(settings: &Settings, number: usize) -> io::Result<Self> {
        let host = settings.address.to_string();
        let mut wire = Wire::open(settings.address).await?;
        let session = match settings.era {
            Era::Modern => None,
            Era::Legacy => begin_session(&mut wire, &host).await?,
        };
        let request = traffic::call(&host, settings.era, settings.kind, session.as_deref());
        let id = FIRST_ID + u64::try_from(number).unwrap_or_default() * IDS;
        let goodbye = session.map(|session| traffic::goodbye(&host, &session));
        Ok(Self { wire, request, goodbye, id, answer: Vec::with_capacity(64 * 1024) })
    }

    /// A gateway takes only so many sessions of one caller: those of the rounds before must not stand in the way of the next.
    async fn leave(mut self) -> io::Result<()> {
        if let Some(mut goodbye) = self.goodbye.take() {
            self.wire.write(goodbye.under(self.id)).await?;
            self.wire.head().await?;
        }
        Ok(())
    }

    async fn run(mut self, settings: Arc<Settings>, shared: Arc<Shared>) -> io::Result<()> {
        let proof = Finder::new(traffic::proof(settings.kind, settings.refused));
        let streams = matches!(settings.kind, Kind::Stream | Kind::Paced);
        loop {
            if shared.phase.load(Ordering::Relaxed) == OVER {
                return self.leave().await;
            }
            self.id += 1;
            let begun = Instant::now();
            let heard = self.exchange(begun, streams).await?;
            let took = begun.elapsed();
            self.verify(heard.status, streams, &proof)?;
            // What ends in the window counts: as much as began before it ends after it, so that long calls are not counted too seldom.
            if shared.phase.load(Ordering::Relaxed) == MEASURING {
                let mut counts = shared.counts.lock().unwrap_or_else(PoisonError::into_inner);
                counts.latency.saturating_record(nanoseconds(took));
                if let Some(first) = heard.first_event {
                    counts.first_event.saturating_record(nanoseconds(first));
                }
            }
        }
    }

    async fn exchange(&mut self, begun: Instant, streams: bool) -> io::Result<Heard> {
        self.wire.write(self.request.under(self.id)).await?;
        let mut head = self.wire.head().await?.ok_or_else(|| io::Error::other("closed in place of an answer"))?;
        let First::Status(status) = head.first else { return Err(io::Error::other("not an answer")) };
        self.answer.clear();
        let mut first_event = None;
        while self.wire.piece(&mut head.body, &mut self.answer).await? {
            if streams && first_event.is_none() && memmem::find(&self.answer, b"data:").is_some() {
                first_event = Some(begun.elapsed());
            }
        }
        Ok(Heard { status, first_event })
    }

    fn verify(&self, status: u16, streams: bool, proof: &Finder<'_>) -> io::Result<()> {
        let id = format!("\"id\":{}", self.id);
        let answered = memmem::find(&self.answer, id.as_bytes()).is_some();
        let events = if streams { memmem::find_iter(&self.answer, b"notifications/progress").count() } else { EVENTS };
        if status == 200 && answered && proof.find(&self.answer).is_some() && events == EVENTS {
            return Ok(());
        }
        let shown = String::from_utf8_lossy(self.answer.get(..600).unwrap_or(&self.answer)).into_owned();
        Err(io::Error::other(format!("not the expected answer to {id}: status {status}, {events} events: {shown}")))
    }
}

fn nanoseconds(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

/// `initialize` and `notifications/initialized`; the session's id, if the server gives one.
async fn begin_session(wire: &mut Wire, host: &str) -> io::Result<Option<String>> {
    let mut body = Vec::new();
    wire.write(traffic::initialize(host).under(FIRST_ID)).await?;
    let mut head = wire.head().await?.unwrap_or_default();
    wire.rest(&mut head.body, &mut body).await?;
    if head.first != First::Status(200) {
        let body = String::from_utf8_lossy(&body).into_owned();
        return Err(io::Error::other(format!("`initialize` is answered {:?}: {body}", head.first)));
    }
    wire.write(traffic::initialized(host, head.session.as_deref()).under(FIRST_ID)).await?;
    let mut told = wire.head().await?.unwrap_or_default();
    wire.rest(&mut told.body, &mut body).await?;
    if told.first != First::Status(202) {
        return Err(io::Error::other(format!("`notifications/initialized` is answered {:?}", told.first)));
    }
    Ok(head.session)
}

/// Opens sessions and leaves them.
///
/// # Errors
/// Those of the connection, and a server that gives no session.
pub async fn open_sessions(address: SocketAddr, count: usize) -> io::Result<()> {
    let host = address.to_string();
    let mut wire = Wire::open(address).await?;
    for _ in 0..count {
        begin_session(&mut wire, &host).await?.ok_or_else(|| io::Error::other("`initialize` gave no session"))?;
    }
    Ok(())
}

/// Opens standing streams and keeps them for as long as the result lives.
///
/// # Errors
/// Those of the connections, and a stream that does not begin with an event.
pub async fn open_streams(address: SocketAddr, count: usize) -> io::Result<Vec<Wire>> {
    let host = address.to_string();
    let mut streams = Vec::with_capacity(count);
    for id in (FIRST_ID..).take(count) {
        let mut wire = Wire::open(address).await?;
        wire.write(traffic::listen(&host).under(id)).await?;
        let mut head = wire.head().await?.unwrap_or_default();
        let mut body = Vec::new();
        while memmem::find(&body, b"subscriptions/acknowledged").is_none() {
            if head.first != First::Status(200) || !wire.piece(&mut head.body, &mut body).await? {
                let body = String::from_utf8_lossy(&body).into_owned();
                return Err(io::Error::other(format!("a stream begins with {:?}: {body}", head.first)));
            }
        }
        streams.push(wire);
    }
    Ok(streams)
}
