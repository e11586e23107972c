//! Sockets, connections and their limits, and the drain at the end.

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, LazyLock};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use http::StatusCode;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::{GracefulShutdown, Watcher};
use portcullis_core::clock::{Clock, Timestamp};
use portcullis_core::refusal::Violation;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use crate::gateway::Gateway;
use crate::origin::OriginRule;
use crate::pipeline;
use crate::record;
use crate::workers::Workers;

/// Fields of one request's headers. Twice what SDK clients with thirty `Mcp-Param-*` headers send.
const HEADER_COUNT: usize = 100;
/// How often idle sessions are looked for.
const EXPIRY_ROUND: Duration = Duration::from_secs(30);
/// The least hyper can work with. Unit: bytes.
const SMALLEST_BUFFER: usize = 8192;

/// The operating system's clock.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

/// The fixed moment that durations are measured from.
static STARTED: LazyLock<Instant> = LazyLock::new(Instant::now);

impl Clock for SystemClock {
    fn now(&self) -> Timestamp {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Timestamp(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
    }

    fn elapsed(&self) -> Duration {
        STARTED.elapsed()
    }
}

/// A gateway with its socket open, not yet serving.
#[derive(Debug)]
pub struct Bound {
    gateway: Arc<Gateway>,
    listener: TcpListener,
    /// The real address, also when port 0 was asked for.
    pub local_addr: SocketAddr,
}

impl Gateway {
    /// Opens the socket.
    ///
    /// # Errors
    /// The address is in use, not ours, or not permitted.
    pub async fn bind(self: &Arc<Self>) -> io::Result<Bound> {
        let listener = TcpListener::bind(self.settings.listen).await?;
        let local_addr = listener.local_addr()?;
        let (hosts, origins) = (self.settings.allowed_hosts.as_deref(), self.settings.allowed_origins.as_deref());
        let rule = OriginRule::new(local_addr, hosts, origins);
        self.origins.set(rule).map_err(|_| io::Error::other("this gateway already listens"))?;
        Ok(Bound { gateway: Arc::clone(self), listener, local_addr })
    }
}

impl Bound {
    /// Serves until `shutdown`, then drains: no new requests, standing streams end, open calls finish or, after the drain time, are
    /// answered with an error; then upstreams are shut down and the workers end. Returns when all that is done.
    pub async fn serve(self, workers: Workers, shutdown: CancellationToken) {
        let Self { gateway, listener, .. } = self;
        let graceful = GracefulShutdown::new();
        let connections = Arc::new(Semaphore::new(gateway.settings.limits.connections));
        let expiry = tokio::spawn(expire(Arc::clone(&gateway)));
        loop {
            let accepted = tokio::select! {
                biased;
                () = shutdown.cancelled() => break,
                accepted = accept(&listener, &connections) => accepted,
            };
            match accepted {
                Ok((socket, peer, place)) => {
                    let (served, watcher) = (Arc::clone(&gateway), graceful.watcher());
                    let given = workers.serve(socket, |socket| async move {
                        converse(served, socket, peer, watcher).await;
                        drop(place);
                    });
                    if let Err(error) = given {
                        tracing::warn!(%error, "a connection could not be given to a worker");
                    }
                }
                Err(error) => {
                    tracing::warn!(%error, "cannot accept connections");
                    // Out of file descriptors: wait for some to come back instead of spinning.
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
            }
        }
        drop(listener);
        expiry.abort();
        drain(&gateway, graceful).await;
        workers.stop().await;
    }
}

type Place = tokio::sync::OwnedSemaphorePermit;

/// Waits for a place before it accepts: connections over the limit queue in the kernel instead of being dropped.
async fn accept(listener: &TcpListener, places: &Arc<Semaphore>) -> io::Result<(TcpStream, SocketAddr, Place)> {
    let place = Arc::clone(places).acquire_owned().await.map_err(io::Error::other)?;
    let (socket, peer) = listener.accept().await?;
    socket.set_nodelay(true)?;
    Ok((socket, peer, place))
}

/// Serves one connection to its end.
async fn converse(gateway: Arc<Gateway>, socket: TcpStream, peer: SocketAddr, watcher: Watcher) {
    let settings = gateway.settings.clone();
    // hyper's own header timer starts with the first byte; a connection that sends none must not hold its place.
    let begun = tokio::time::timeout(settings.timeouts.header(), socket.readable());
    tokio::select! {
        // Whoever has said nothing is owed nothing, and does not hold up a drain.
        () = gateway.draining.token().cancelled() => return,
        begun = begun => if begun.is_err() {
            record::hung_up(&gateway, Violation::HeadersTimedOut, peer, None);
            return;
        },
    }
    // Silence before the first request is a drip; silence after one is an idle connection, which is nobody's fault.
    let fresh = Arc::new(AtomicBool::new(true));
    let (served, used) = (Arc::clone(&gateway), Arc::clone(&fresh));
    let service = service_fn(move |request| {
        let gateway = Arc::clone(&served);
        used.store(false, Ordering::Relaxed);
        async move { Ok::<_, Infallible>(pipeline::handle(gateway, request, peer).await) }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(settings.timeouts.header())
        .max_headers(HEADER_COUNT)
        .max_buf_size(settings.limits.header_bytes.max(SMALLEST_BUFFER))
        .half_close(false)
        .serve_connection(TokioIo::new(socket), service);
    // A broken connection is the client's affair and its calls have their own records; what hyper refused by itself has none yet.
    let connection = pin!(watcher.watch(connection));
    let serving = pin!(gateway.cut_off.unless(connection));
    let serving = pin!(gateway.cut_off.wakes(serving));
    let Some(ended) = gateway.overdue.wakes(serving).await else { return };
    match ended {
        Err(error) if error.is_parse_too_large() => {
            record::hung_up(
                &gateway,
                Violation::HeadersTooLarge,
                peer,
                Some(StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE),
            );
        }
        Err(error) if error.is_timeout() && fresh.load(Ordering::Relaxed) => {
            record::hung_up(&gateway, Violation::HeadersTimedOut, peer, None);
        }
        Err(error) if error.is_parse() => {
            record::hung_up(&gateway, Violation::NotHttp, peer, Some(StatusCode::BAD_REQUEST));
        }
        Ok(()) | Err(_) => {}
    }
}

async fn drain(gateway: &Arc<Gateway>, graceful: GracefulShutdown) {
    gateway.draining.say();
    let finished = graceful.shutdown();
    tokio::pin!(finished);
    if tokio::time::timeout(gateway.settings.timeouts.drain(), &mut finished).await.is_err() {
        gateway.overdue.say();
        // Answers to overdue calls need a moment to be written; nobody can hold us longer than that, not even by not reading.
        if tokio::time::timeout(Duration::from_secs(2), &mut finished).await.is_err() {
            gateway.cut_off.say();
            let _dropped = tokio::time::timeout(Duration::from_secs(1), &mut finished).await;
        }
    }
    gateway.overdue.say();
    gateway.upstream.shut_down().await;
    gateway.tasks.close();
    let _left_over = tokio::time::timeout(Duration::from_secs(2), gateway.tasks.wait()).await;
}

/// Ends idle sessions, upstream too.
async fn expire(gateway: Arc<Gateway>) {
    let mut rounds = tokio::time::interval(EXPIRY_ROUND);
    loop {
        rounds.tick().await;
        for key in gateway.sessions.expire(gateway.clock.now()) {
            gateway.upstream.forget(key).await;
        }
    }
}
