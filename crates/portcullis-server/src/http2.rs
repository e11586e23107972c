//! HTTP/2, for clients that chose it in the TLS handshake. Its requests take the same way as everybody's; this file bounds what one
//! connection can make us hold and do.

use std::convert::Infallible;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use hyper::rt::Executor;
use hyper::server::conn::http2;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::Watcher;
use portcullis_core::refusal::Violation;
use tokio::net::TcpStream;
use tokio_rustls::server::TlsStream;

use crate::gateway::Gateway;
use crate::peer::Peer;
use crate::pipeline;
use crate::record;

/// Requests and streams open on one connection. 128, as nginx has it; a client that needs more opens another connection.
const MOST_STREAMS: u32 = 128;
/// What a client may send before it is read, in one stream and in all. 128 and 256 KiB: one message of usual size at full speed over a long
/// way, and no more than that in memory for a client that is not even known yet.
const STREAM_WINDOW: u32 = 128 << 10;
const CONNECTION_WINDOW: u32 = 256 << 10;
/// What waits to be sent in one stream; then the server is slowed. 64 KiB, as much as a TCP socket takes.
const SEND_BUFFER: usize = 64 << 10;
/// Streams that were reset before we took them (CVE-2023-44487), or that we had to reset (CVE-2025-8671), until the connection is closed. 20
/// and 64: people who press a button twice come nowhere near.
const MOST_RESETS: usize = 20;
const MOST_ERRORS: usize = 64;
/// A connection whose client vanished is noticed within half a minute.
const PING: Duration = Duration::from_secs(20);
const PONG: Duration = Duration::from_secs(10);

/// Runs the streams of one connection, each in a task of its own, and counts them.
#[derive(Clone)]
struct Streams {
    gateway: Arc<Gateway>,
    activity: Arc<Activity>,
}

#[derive(Debug, Default)]
struct Activity {
    open: AtomicUsize,
    /// Beginnings and ends so far.
    changes: AtomicUsize,
}

/// One open stream.
struct Open(Arc<Activity>);

impl Open {
    fn new(activity: &Arc<Activity>) -> Self {
        activity.open.fetch_add(1, Ordering::AcqRel);
        activity.changes.fetch_add(1, Ordering::AcqRel);
        Self(Arc::clone(activity))
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.0.open.fetch_sub(1, Ordering::AcqRel);
        self.0.changes.fetch_add(1, Ordering::AcqRel);
    }
}

impl<F: Future<Output = ()> + Send + 'static> Executor<F> for Streams {
    fn execute(&self, stream: F) {
        let (gateway, open) = (Arc::clone(&self.gateway), Open::new(&self.activity));
        drop(tokio::spawn(async move {
            // A task of its own has to hear the words that end a drain, too.
            let stream = pin!(stream);
            let stream = pin!(gateway.cut_off.unless(stream));
            let stream = pin!(gateway.cut_off.wakes(stream));
            let _ended = gateway.overdue.wakes(stream).await;
            drop(open);
        }));
    }
}

impl Activity {
    /// Returns when nothing was open for `at_most`, and nothing came or went.
    async fn idle(&self, at_most: Duration) {
        loop {
            let before = self.changes.load(Ordering::Acquire);
            tokio::time::sleep(at_most).await;
            if self.open.load(Ordering::Acquire) == 0 && self.changes.load(Ordering::Acquire) == before {
                return;
            }
        }
    }
}

pub(crate) async fn serve(gateway: Arc<Gateway>, stream: Box<TlsStream<TcpStream>>, peer: Arc<Peer>, watcher: Watcher) {
    let streams = Streams { gateway: Arc::clone(&gateway), activity: Arc::default() };
    let activity = Arc::clone(&streams.activity);
    let (served, asker) = (Arc::clone(&gateway), Arc::clone(&peer));
    let service = service_fn(move |request| {
        let (gateway, peer) = (Arc::clone(&served), Arc::clone(&asker));
        async move { Ok::<_, Infallible>(pipeline::handle(gateway, request, peer).await) }
    });
    let headers = u32::try_from(gateway.settings.limits.header_bytes).unwrap_or(u32::MAX);
    let connection = http2::Builder::new(streams)
        .timer(TokioTimer::new())
        .max_concurrent_streams(MOST_STREAMS)
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_send_buf_size(SEND_BUFFER)
        .max_header_list_size(headers)
        .max_pending_accept_reset_streams(MOST_RESETS)
        .max_local_error_reset_streams(MOST_ERRORS)
        .keep_alive_interval(PING)
        .keep_alive_timeout(PONG)
        .serve_connection(TokioIo::new(stream), service);
    let connection = pin!(watcher.watch(connection));
    let serving = pin!(gateway.cut_off.unless(connection));
    let serving = pin!(gateway.cut_off.wakes(serving));
    let header_time = gateway.settings.timeouts.header();
    tokio::select! {
        ended = serving => if let Some(Err(error)) = ended {
            tracing::debug!(%error, peer = %peer.address, "an HTTP/2 connection broke");
        },
        // As with HTTP/1.1: silence before the first request is a drip, silence after one ends an idle connection.
        () = activity.idle(header_time) => if activity.changes.load(Ordering::Acquire) == 0 {
            record::hung_up(&gateway, Violation::HeadersTimedOut, None, peer.address.ip(), None);
        },
    }
}
