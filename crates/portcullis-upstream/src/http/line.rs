//! HTTP/1.1 connections to one server, kept for the next call. Whoever uses a connection drives it, in its own task: an exchange wakes no
//! other task and no other thread, and a body that nobody reads is not read from the socket either (back-pressure).

use std::error::Error;
use std::fmt;
use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::task::{Context, Poll, Waker, ready};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response, Uri};
use http_body::{Body, Frame, SizeHint};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::client::conn::http1::{self, Connection, SendRequest};
use tokio::runtime::{Handle, Id};
use tokio::time::Instant;
use tower_service::Service;

use crate::departure::leaves;
use crate::door::{Door, Stream};

/// Idle connections kept for the next call, of each runtime. 64: as many calls as a small gateway has at once.
const MOST_IDLE: usize = 64;
/// How long an idle connection is kept. 4 s: common servers (Node among them) close after 5, and a request that meets that close is lost.
const IDLE_FOR: Duration = Duration::from_secs(4);
/// Bytes of a response head. 64 KiB: proxies in front of servers send long headers, none sends that much.
const HEAD_BYTES: usize = 64 << 10;

/// All connections to one server. A connection is used by the runtime that opened it only, since no other hears when it is ready.
pub(super) struct Lines {
    door: Door,
    endpoint: Uri,
    /// By runtime. As few as the machine has cores, so that looking through them is quicker than hashing.
    idle: Mutex<Vec<(Id, Vec<Idle>)>>,
}

/// One connection, with nothing under way on it.
struct Line {
    sender: SendRequest<Full<Bytes>>,
    connection: Pin<Box<Connection<Stream, Full<Bytes>>>>,
    home: Id,
}

struct Idle {
    line: Line,
    since: Instant,
}

/// Why there is no answer.
#[derive(Debug)]
pub(super) enum LineError {
    /// No connection could be opened.
    Connect(Box<dyn Error + Send + Sync>),
    /// A kept connection had closed before a byte of the request was written; here it is back.
    NeverLeft(hyper::Error, Box<Request<Full<Bytes>>>),
    Http(hyper::Error),
    /// The connection ended without saying why.
    Ended,
}

impl fmt::Display for LineError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Connect(_) => "no connection to the server",
            Self::NeverLeft(..) => "the connection had closed before the request was sent",
            Self::Http(_) => "the exchange with the server failed",
            Self::Ended => "the connection ended",
        })
    }
}

impl Error for LineError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Connect(error) => Some(error.as_ref()),
            Self::NeverLeft(error, _) | Self::Http(error) => Some(error),
            Self::Ended => None,
        }
    }
}

impl Lines {
    /// `endpoint` is the whole URI; requests are to be in origin form with their `Host`.
    pub(super) fn new(door: Door, endpoint: Uri) -> Arc<Self> {
        Arc::new(Self { door, endpoint, idle: Mutex::default() })
    }

    /// Sends, and waits for the head of the answer. Dropping the future or the answer closes the connection.
    pub(super) async fn request(
        self: &Arc<Self>,
        request: Request<Full<Bytes>>,
    ) -> Result<Response<Answer>, LineError> {
        let mut line = match self.take() {
            Some(line) => line,
            None => Box::pin(self.open()).await?,
        };
        let response = line.exchange(request).await?;
        Ok(response.map(|body| Answer { body, taken: false, line: Some(line), lines: Arc::clone(self) }))
    }

    async fn open(&self) -> Result<Line, LineError> {
        let mut door = self.door.clone();
        poll_fn(|cx| door.poll_ready(cx)).await.map_err(LineError::Connect)?;
        let stream = door.call(self.endpoint.clone()).await.map_err(LineError::Connect)?;
        let (sender, connection) =
            http1::Builder::new().max_buf_size(HEAD_BYTES).handshake(stream).await.map_err(LineError::Http)?;
        Ok(Line { sender, connection: Box::pin(connection), home: Handle::current().id() })
    }

    /// The connection that was idle for the shortest time, if it is still good. It is tried outside of the lock, which all threads share.
    fn take(&self) -> Option<Line> {
        let home = Handle::current().id();
        loop {
            let Idle { mut line, since } = of(&mut self.lock(), home)?.pop()?;
            if since.elapsed() <= IDLE_FOR && line.is_usable() {
                return Some(line);
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, Vec<(Id, Vec<Idle>)>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn put_back(self: &Arc<Self>, mut line: Line) {
        // Usually it became ready with the end of the answer. Whether the server closes it afterwards is seen when it is taken.
        if !line.sender.is_ready() && !line.is_usable() {
            return;
        }
        let home = line.home;
        let mut all = self.lock();
        let first = match of(&mut all, home) {
            Some(known) => {
                if known.len() < MOST_IDLE {
                    known.push(Idle { line, since: Instant::now() });
                }
                false
            }
            None => {
                all.push((home, vec![Idle { line, since: Instant::now() }]));
                true
            }
        };
        drop(all);
        if first && let Ok(runtime) = Handle::try_current() {
            runtime.spawn(sweep(Arc::downgrade(self), home));
        }
    }

    /// Closes what nobody used for long; false when nothing is left.
    fn prune(&self, home: Id) -> bool {
        let mut all = self.lock();
        let Some(idle) = of(&mut all, home) else { return false };
        idle.retain(|idle| idle.since.elapsed() <= IDLE_FOR);
        let some = !idle.is_empty();
        all.retain(|(runtime, _)| some || *runtime != home);
        some
    }
}

fn of(all: &mut [(Id, Vec<Idle>)], home: Id) -> Option<&mut Vec<Idle>> {
    all.iter_mut().find_map(|(runtime, idle)| (*runtime == home).then_some(idle))
}

/// Nobody drives an idle connection, so nobody hears the server close it.
async fn sweep(lines: Weak<Lines>, home: Id) {
    loop {
        tokio::time::sleep(IDLE_FOR).await;
        match lines.upgrade() {
            Some(lines) if lines.prune(home) => {}
            _ => return,
        }
    }
}

/// In whose name a connection is driven while something is waited for. hyper wakes whoever brought a frame once that is taken, so that it
/// goes on; here whoever takes it goes on anyway, and its task would run once more for nothing. So first in nobody's name and, when
/// nothing is there, in that of the task, which the socket then wakes.
fn drivers(task: &Waker) -> [&Waker; 2] {
    [Waker::noop(), task]
}

impl Line {
    /// Open, with nothing left of the exchange before. Reads what the socket has: an end, if the server has closed it.
    fn is_usable(&mut self) -> bool {
        let mut nobody = Context::from_waker(Waker::noop());
        self.connection.as_mut().poll(&mut nobody).is_pending() && self.sender.is_ready()
    }

    async fn exchange(&mut self, request: Request<Full<Bytes>>) -> Result<Response<Incoming>, LineError> {
        leaves();
        let mut answer = pin!(self.sender.try_send_request(request));
        let (mut sent, mut ended) = (false, false);
        poll_fn(|cx| {
            // The first time the request is sent, which cannot bring an answer yet.
            let first = !std::mem::replace(&mut sent, true);
            for waker in drivers(cx.waker()).into_iter().skip(usize::from(first)) {
                ended = ended || self.connection.as_mut().poll(&mut Context::from_waker(waker)).is_ready();
                // Only driving the connection brings an answer, so the answer itself need not wake anybody.
                if let Poll::Ready(answered) = answer.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
                    return Poll::Ready(answered.map_err(|mut error| match error.take_message() {
                        Some(unsent) => LineError::NeverLeft(error.into_error(), Box::new(unsent)),
                        None => LineError::Http(error.into_error()),
                    }));
                }
            }
            if ended { Poll::Ready(Err(LineError::Ended)) } else { Poll::Pending }
        })
        .await
    }
}

/// The body of an answer. Reading it to its end gives the connection back; dropping it before closes the connection.
pub(crate) struct Answer {
    body: Incoming,
    /// What the connection had brought was taken, so only the connection can bring more.
    taken: bool,
    /// `None` once the connection is closed or given back.
    line: Option<Line>,
    lines: Arc<Lines>,
}

impl Body for Answer {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let this = self.get_mut();
        // Only driving the connection brings a frame, one at a time.
        let mut nobody = Context::from_waker(Waker::noop());
        let mut frame = if this.taken && !this.body.is_end_stream() {
            Poll::Pending
        } else {
            Pin::new(&mut this.body).poll_frame(&mut nobody)
        };
        for waker in drivers(cx.waker()) {
            if frame.is_ready() {
                break;
            }
            if let Some(line) = this.line.as_mut()
                && line.connection.as_mut().poll(&mut Context::from_waker(waker)).is_ready()
            {
                this.line = None;
            }
            frame = Pin::new(&mut this.body).poll_frame(&mut nobody);
        }
        let frame = ready!(frame);
        this.taken = matches!(frame, Some(Ok(_)));
        match &frame {
            Some(Ok(_)) => {}
            Some(Err(_)) => this.line = None,
            None => this.give_back(),
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl Answer {
    /// The connection itself, once it has stopped being HTTP (101), and what was read already of what follows.
    pub(crate) fn into_upgraded(mut self) -> Option<(Stream, Bytes)> {
        let line = self.line.take()?;
        let parts = Pin::into_inner(line.connection).into_parts();
        Some((parts.io, parts.read_buf))
    }

    fn give_back(&mut self) {
        if let Some(line) = self.line.take() {
            self.lines.put_back(line);
        }
    }
}

impl Drop for Answer {
    fn drop(&mut self) {
        // An answer without a body has nothing to be read, and most answers to notifications have none.
        if self.body.is_end_stream() {
            self.give_back();
        }
    }
}
