//! Connections to one server: TCP, TLS with the system's roots, and one time limit over both.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::Uri;
use http_body_util::Full;
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder, MaybeHttpsStream};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use rustls::RootCertStore;
use rustls::crypto::aws_lc_rs;
use tokio::net::TcpStream;
use tower_service::Service;

use crate::settings::SettingsError;

/// Idle connections kept for the next call. 64: as many calls as a small gateway has at once.
const MOST_IDLE: usize = 64;
/// How long an idle connection is kept. 4 s: common servers (Node among them) close after 5, and a request that meets that close is lost.
const IDLE_FOR: Duration = Duration::from_secs(4);
/// Bytes of a response head. 64 KiB: proxies in front of servers send long headers, none sends that much.
const HEAD_BYTES: usize = 64 << 10;

/// The pooled client.
pub(super) type Door = Client<InTime, Full<Bytes>>;

type Stream = MaybeHttpsStream<TokioIo<TcpStream>>;

/// Connects within a time limit that covers names, TCP and TLS.
#[derive(Clone)]
pub(super) struct InTime {
    connector: HttpsConnector<HttpConnector>,
    limit: Duration,
}

impl Service<Uri> for InTime {
    type Response = Stream;
    type Error = Box<dyn std::error::Error + Send + Sync>;
    type Future = Pin<Box<dyn Future<Output = Result<Stream, Self::Error>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.connector.poll_ready(cx)
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        let connecting = self.connector.call(uri);
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

/// A client for one server; `secure` reads the system's root certificates.
pub(super) fn open(secure: bool, limit: Duration) -> Result<Door, SettingsError> {
    let failed = |reason: String| SettingsError::Tls { reason };
    let provider = aws_lc_rs::default_provider();
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
    let connector = if secure {
        tls.https_only().enable_all_versions().wrap_connector(tcp)
    } else {
        tls.https_or_http().enable_http1().wrap_connector(tcp)
    };
    let mut builder = Client::builder(TokioExecutor::new());
    builder
        .pool_timer(TokioTimer::new())
        .timer(TokioTimer::new())
        .pool_idle_timeout(IDLE_FOR)
        .pool_max_idle_per_host(MOST_IDLE)
        .http1_max_buf_size(HEAD_BYTES)
        // What may be sent again is decided where the fault is made, not down here.
        .retry_canceled_requests(false);
    Ok(builder.build(InTime { connector, limit }))
}
