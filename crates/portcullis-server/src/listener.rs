//! Sockets, connections and their limits, and the drain at the end.

use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, LazyLock};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use hyper_util::server::graceful::GracefulShutdown;
use portcullis_core::clock::{Clock, Timestamp};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use crate::conversation::converse;
use crate::gateway::Gateway;
use crate::origin::OriginRule;
use crate::tls;
use crate::workers::Workers;

/// How often idle sessions are looked for.
const EXPIRY_ROUND: Duration = Duration::from_secs(30);

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
        let rule = OriginRule::new(local_addr, hosts, origins).map_err(io::Error::other)?;
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
        let watch = tokio::spawn(watch(Arc::clone(&gateway)));
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
        watch.abort();
        drain(&gateway, graceful.shutdown()).await;
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

/// The end of a listener. `finished` is when nobody is connected any more.
pub(crate) async fn drain(gateway: &Arc<Gateway>, finished: impl Future<Output = ()>) {
    gateway.draining.say();
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
    for server in gateway.endpoints.servers() {
        server.upstream.shut_down().await;
    }
    gateway.tasks.close();
    let _left_over = tokio::time::timeout(Duration::from_secs(2), gateway.tasks.wait()).await;
}

/// Ends idle sessions, upstream too.
async fn expire(gateway: Arc<Gateway>) {
    let mut rounds = tokio::time::interval(EXPIRY_ROUND);
    loop {
        rounds.tick().await;
        for key in gateway.sessions.expire(gateway.clock.now()) {
            gateway.forget(key).await;
        }
    }
}

/// Notices certificates that were renewed.
async fn watch(gateway: Arc<Gateway>) {
    let mut rounds = tokio::time::interval(tls::WATCH_ROUND);
    while gateway.tls.is_some() {
        rounds.tick().await;
        let looks = Arc::clone(&gateway);
        if let Err(error) = tokio::task::spawn_blocking(move || looks.refresh_tls(false)).await {
            tracing::error!(%error, "the files of TLS cannot be looked at");
        }
    }
}
