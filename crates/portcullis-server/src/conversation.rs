//! One connection, from its first byte to its last: PROXY header, TLS, then HTTP/1.1 or HTTP/2. What is asked on it is for `pipeline.rs`.

use std::convert::Infallible;
use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, PoisonError};
use std::task::Context;
use std::time::Duration;

use http::StatusCode;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::Watcher;
use portcullis_core::refusal::Violation;
use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::Instant;
use tokio_rustls::server::TlsStream;

use crate::bell::Bell;
use crate::gateway::Gateway;
use crate::http2;
use crate::peer::{Peer, Proven};
use crate::pipeline;
use crate::proxy_protocol::{self, Header, ProxyProtocol, Unread};
use crate::record;
use crate::tls::{Tls, certificate};
use crate::websocket;

/// Fields of one request's headers. Twice what SDK clients with thirty `Mcp-Param-*` headers send.
pub(crate) const HEADER_COUNT: usize = 100;
/// The least hyper can work with. Unit: bytes.
const SMALLEST_BUFFER: usize = 8192;

/// Why a connection ended before its first request.
enum Ended {
    /// It was closed before it said anything, as port checks do. Nobody's fault.
    Silent,
    Refused(Violation, Option<String>),
}

impl From<Violation> for Ended {
    fn from(violation: Violation) -> Self {
        Self::Refused(violation, None)
    }
}

/// A connection that requests may come on.
enum Opened {
    Plain(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
}

/// Serves one connection to its end.
pub(crate) async fn converse(gateway: Arc<Gateway>, socket: TcpStream, address: SocketAddr, watcher: Watcher) {
    let opened = tokio::select! {
        // Whoever has said nothing is owed nothing, and does not hold up a drain.
        () = gateway.draining.token().cancelled() => return,
        opened = open(&gateway, socket, address) => opened,
    };
    match opened {
        Ok((peer, Opened::Plain(socket))) => http1(gateway, socket, peer, watcher).await,
        // Boxed, so that connections without TLS do not keep the room that these take.
        Ok((peer, Opened::Tls(stream))) if stream.get_ref().1.alpn_protocol() == Some(b"h2") => {
            Box::pin(http2::serve(gateway, stream, peer, watcher)).await;
        }
        Ok((peer, Opened::Tls(stream))) => Box::pin(http1(gateway, stream, peer, watcher)).await,
        Err(Ended::Silent) => {}
        Err(Ended::Refused(violation, detail)) => {
            record::hung_up(&gateway, violation, detail, address.ip().to_canonical(), None);
        }
    }
}

/// Everything before the first byte of HTTP.
async fn open(gateway: &Gateway, mut socket: TcpStream, address: SocketAddr) -> Result<(Arc<Peer>, Opened), Ended> {
    let timeouts = &gateway.settings.timeouts;
    let deadline = Instant::now() + timeouts.handshake();
    let address = match gateway.settings.proxy_protocol {
        ProxyProtocol::Off => address,
        ProxyProtocol::Required => Box::pin(proxied(gateway, &mut socket, address, deadline)).await?,
    };
    if let Some(tls) = &gateway.tls {
        return Box::pin(secured(gateway, tls, socket, address, deadline)).await;
    }
    begun(timeouts.header(), socket.readable()).await?;
    Ok((Peer::new(&gateway.proxies, address, None), Opened::Plain(socket)))
}

/// hyper's own header timer starts with the first byte; a connection that sends none must not hold its place.
async fn begun<T>(at_most: Duration, ready: impl Future<Output = io::Result<T>>) -> Result<(), Ended> {
    match tokio::time::timeout(at_most, ready).await {
        Ok(Ok(_)) => Ok(()),
        Ok(Err(_)) => Err(Ended::Silent),
        Err(_) => Err(Violation::HeadersTimedOut.into()),
    }
}

/// The address that the PROXY header gives.
async fn proxied(
    gateway: &Gateway,
    socket: &mut TcpStream,
    address: SocketAddr,
    deadline: Instant,
) -> Result<SocketAddr, Ended> {
    // Before anything is read: a stranger's word is not even parsed.
    if !gateway.proxies.trusts(address.ip().to_canonical()) {
        return Err(Violation::ProxyUntrusted.into());
    }
    spoken(socket, deadline).await?;
    let read = tokio::time::timeout_at(deadline, proxy_protocol::read(socket)).await;
    match read.map_err(|_| Violation::HandshakeTimedOut)? {
        Ok(Header::Own) => Ok(address),
        Ok(Header::Of(client)) => Ok(client),
        Err(Unread::Invalid(why)) => Err(Ended::Refused(Violation::ProxyHeaderInvalid, Some(why.to_owned()))),
        Err(Unread::Broken(error)) => Err(Ended::Refused(Violation::ProxyHeaderInvalid, Some(error.to_string()))),
    }
}

/// The handshake, and what it proves.
async fn secured(
    gateway: &Gateway,
    tls: &Tls,
    socket: TcpStream,
    address: SocketAddr,
    deadline: Instant,
) -> Result<(Arc<Peer>, Opened), Ended> {
    let failed = |why: String| Ended::Refused(Violation::HandshakeFailed, Some(why));
    spoken(&socket, deadline).await?;
    let (acceptor, trust) = tls.acceptor();
    let shaken = tokio::time::timeout_at(deadline, acceptor.accept(socket)).await;
    let shaken = shaken.map_err(|_| Violation::HandshakeTimedOut)?;
    let mut stream = Box::new(shaken.map_err(|error| failed(error.to_string()))?);
    let shown = stream.get_ref().1.peer_certificates().and_then(<[_]>::first).map(|der| certificate::read(der));
    let certificate = shown.transpose().map_err(|why| failed(why.to_owned()))?.map(Arc::new);
    begun(gateway.settings.timeouts.header(), stream.fill_buf()).await?;
    Ok((Peer::new(&gateway.proxies, address, Some(Proven { certificate, trust })), Opened::Tls(stream)))
}

/// Waits for the first byte without taking it.
async fn spoken(socket: &TcpStream, deadline: Instant) -> Result<(), Ended> {
    let first = tokio::time::timeout_at(deadline, socket.peek(&mut [0])).await;
    match first.map_err(|_| Violation::HandshakeTimedOut)? {
        Ok(0) | Err(_) => Err(Ended::Silent),
        Ok(_) => Ok(()),
    }
}

/// `_watcher` is held for as long as somebody is connected: the drain waits for that.
async fn http1<S>(gateway: Arc<Gateway>, stream: S, peer: Arc<Peer>, _watcher: Watcher)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let (timeouts, limits) = (&gateway.settings.timeouts, &gateway.settings.limits);
    // Silence before the first request is a drip; silence after one is an idle connection, which is nobody's fault.
    let fresh = Arc::new(AtomicBool::new(true));
    let (served, used, asker) = (Arc::clone(&gateway), Arc::clone(&fresh), Arc::clone(&peer));
    let service = service_fn(move |request| {
        let (gateway, peer) = (Arc::clone(&served), Arc::clone(&asker));
        used.store(false, Ordering::Relaxed);
        async move { Ok::<_, Infallible>(pipeline::handle(gateway, request, peer).await) }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(timeouts.header())
        .max_headers(HEADER_COUNT)
        .max_buf_size(limits.header_bytes.max(SMALLEST_BUFFER))
        .half_close(false)
        .serve_connection(TokioIo::new(stream), service)
        .with_upgrades();
    // A broken connection is the client's affair and its calls have their own records; what hyper refused by itself has none yet.
    let mut connection = pin!(connection);
    let mut bell = Bell::default();
    let connection = pin!(poll_fn(|cx| {
        // The watcher cannot say it to a connection that may become something else.
        if gateway.draining.is_said() {
            connection.as_mut().graceful_shutdown();
        }
        connection.as_mut().poll(&mut Context::from_waker(bell.waker(cx.waker())))
    }));
    let connection = pin!(gateway.draining.wakes(connection));
    let serving = pin!(gateway.cut_off.unless(connection));
    let serving = pin!(gateway.cut_off.wakes(serving));
    let Some(ended) = gateway.overdue.wakes(serving).await else { return };
    let upgraded = peer.upgraded.lock().unwrap_or_else(PoisonError::into_inner).take();
    if let Some(accepted) = upgraded {
        Box::pin(websocket::serve(Arc::clone(&gateway), accepted)).await;
        return;
    }
    let (violation, answered) = match ended {
        Err(error) if error.is_parse_too_large() => {
            (Violation::HeadersTooLarge, Some(StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE))
        }
        Err(error) if error.is_timeout() && fresh.load(Ordering::Relaxed) => (Violation::HeadersTimedOut, None),
        Err(error) if error.is_parse() => (Violation::NotHttp, Some(StatusCode::BAD_REQUEST)),
        Ok(()) | Err(_) => return,
    };
    record::hung_up(&gateway, violation, None, peer.address.ip(), answered);
}

#[cfg(test)]
mod tests;
