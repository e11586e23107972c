//! How connections to one server are opened: TCP, TLS with the system's roots, and one time limit over both. HTTP/1.1 only, which every
//! MCP server speaks: a stream of events holds a connection in any version, and one connection per call in progress needs no framing.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use http::Uri;
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder, MaybeHttpsStream};
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioIo;
use rustls::RootCertStore;
use rustls::crypto::aws_lc_rs;
use tokio::net::TcpStream;
use tower_service::Service;

use crate::settings::SettingsError;

pub(super) type Stream = MaybeHttpsStream<TokioIo<TcpStream>>;

/// Connects within a time limit that covers names, TCP and TLS.
#[derive(Clone)]
pub(super) struct Door {
    connector: HttpsConnector<HttpConnector>,
    limit: Duration,
}

impl Service<Uri> for Door {
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

/// The way to one server; `secure` reads the system's root certificates.
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
    let connector = if secure { tls.https_only() } else { tls.https_or_http() };
    Ok(Door { connector: connector.enable_http1().wrap_connector(tcp), limit })
}
