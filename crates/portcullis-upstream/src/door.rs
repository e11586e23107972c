//! How connections to one server are opened: TCP and TLS with the system's roots, or a Unix socket, and one time limit over all of it. HTTP/1.1
//! only, which every MCP server speaks: a stream of events holds a connection in any version, and one connection per call in progress needs no framing.

use std::future::Future;
use std::io;
use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use http::Uri;
use http::uri::Scheme;
use hyper::rt::{Read, ReadBufCursor, Write};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder, MaybeHttpsStream};
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioIo;
use rustls::RootCertStore;
use rustls::crypto::aws_lc_rs;
use tokio::net::{TcpStream, UnixStream};
use tower_service::Service;

use crate::settings::SettingsError;

/// A connection to a server.
#[expect(
    clippy::large_enum_variant,
    reason = "whoever holds one has it in a box already, and a second would cost every read a jump"
)]
pub enum Stream {
    Network(MaybeHttpsStream<TokioIo<TcpStream>>),
    Socket(TokioIo<UnixStream>),
}

impl std::fmt::Debug for Stream {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Network(_) => "Network(..)",
            Self::Socket(_) => "Socket(..)",
        })
    }
}

/// Connects within a time limit that covers names, TCP and TLS.
#[derive(Clone)]
pub(crate) struct Door {
    way: Way,
    limit: Duration,
}

#[derive(Clone)]
enum Way {
    Network(HttpsConnector<HttpConnector>),
    Socket(Arc<Path>),
}

type Failure = Box<dyn std::error::Error + Send + Sync>;

impl Service<Uri> for Door {
    type Response = Stream;
    type Error = Failure;
    type Future = Pin<Box<dyn Future<Output = Result<Stream, Failure>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Failure>> {
        match &mut self.way {
            Way::Network(connector) => connector.poll_ready(cx),
            Way::Socket(_) => Poll::Ready(Ok(())),
        }
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        let connecting: Self::Future = match &mut self.way {
            Way::Network(connector) => {
                let connecting = connector.call(uri);
                Box::pin(async { connecting.await.map(Stream::Network) })
            }
            Way::Socket(path) => {
                let path = Arc::clone(path);
                Box::pin(async move {
                    let named = |error: io::Error| io::Error::new(error.kind(), format!("{}: {error}", path.display()));
                    Ok(Stream::Socket(TokioIo::new(UnixStream::connect(&path).await.map_err(named)?)))
                })
            }
        };
        let limit = self.limit;
        Box::pin(async move {
            match tokio::time::timeout(limit, connecting).await {
                Ok(connected) => connected,
                Err(_) => {
                    Err(io::Error::new(io::ErrorKind::TimedOut, format!("no connection within {limit:?}")).into())
                }
            }
        })
    }
}

/// The way to one server: over `socket` if there is one, else over the network. `https` reads the system's root certificates.
pub(crate) fn open(endpoint: &Uri, socket: Option<&Path>, limit: Duration) -> Result<Door, SettingsError> {
    if let Some(path) = socket {
        std::os::unix::net::SocketAddr::from_pathname(path)
            .map_err(|error| SettingsError::BadSocket { reason: error.to_string() })?;
        return Ok(Door { way: Way::Socket(path.into()), limit });
    }
    let failed = |reason: String| SettingsError::Tls { reason };
    let provider = aws_lc_rs::default_provider();
    let secure = endpoint.scheme() == Some(&Scheme::HTTPS);
    let tls = HttpsConnectorBuilder::new();
    let tls = if secure {
        tls.with_provider_and_native_roots(provider).map_err(|error| failed(error.to_string()))?
    } else {
        // No root is trusted: this door is for plain HTTP, and a TLS connection over it must fail.
        let config = rustls::ClientConfig::builder_with_provider(Arc::new(provider))
            .with_safe_default_protocol_versions()
            .map_err(|error| failed(error.to_string()))?
            .with_root_certificates(RootCertStore::empty())
            .with_no_client_auth();
        tls.with_tls_config(config)
    };
    let mut tcp = HttpConnector::new();
    tcp.enforce_http(false);
    tcp.set_nodelay(true);
    let connector = if secure { tls.https_only() } else { tls.https_or_http() };
    Ok(Door { way: Way::Network(connector.enable_http1().wrap_connector(tcp)), limit })
}

impl Read for Stream {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, into: ReadBufCursor<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Network(stream) => Pin::new(stream).poll_read(cx, into),
            Self::Socket(stream) => Pin::new(stream).poll_read(cx, into),
        }
    }
}

impl Write for Stream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Network(stream) => Pin::new(stream).poll_write(cx, bytes),
            Self::Socket(stream) => Pin::new(stream).poll_write(cx, bytes),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Network(stream) => Pin::new(stream).poll_flush(cx),
            Self::Socket(stream) => Pin::new(stream).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Network(stream) => Pin::new(stream).poll_shutdown(cx),
            Self::Socket(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }

    fn is_write_vectored(&self) -> bool {
        match self {
            Self::Network(stream) => stream.is_write_vectored(),
            Self::Socket(stream) => stream.is_write_vectored(),
        }
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Network(stream) => Pin::new(stream).poll_write_vectored(cx, slices),
            Self::Socket(stream) => Pin::new(stream).poll_write_vectored(cx, slices),
        }
    }
}
