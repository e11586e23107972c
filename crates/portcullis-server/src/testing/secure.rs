//! Authorities of a test's own, the files they give to a listener, and clients that speak TLS.

use std::fs;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use bytes::Bytes;
use http::Request;
use http_body_util::Full;
use hyper::client::conn::http2::SendRequest;
use hyper_util::rt::{TokioExecutor, TokioIo};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair, SanType, date_time_ymd};
use rustls::crypto::aws_lc_rs::default_provider;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tempfile::TempDir;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::tls::{ClientCertificates, TlsSettings};

/// A certificate and its key.
pub(crate) struct Issued {
    pub(crate) chain: Vec<CertificateDer<'static>>,
    pub(crate) key: KeyPair,
    pub(crate) pem: String,
}

pub(crate) struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
    folder: TempDir,
}

impl Authority {
    pub(crate) fn new() -> Self {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, "Authority of a test");
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        Self { issuer, folder: tempfile::tempdir().unwrap() }
    }

    /// Good until the beginning of `year`.
    pub(crate) fn issue(&self, names: Vec<SanType>, year: i32) -> Issued {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, "agent");
        params.subject_alt_names = names;
        params.not_before = date_time_ymd(2020, 1, 1);
        params.not_after = date_time_ymd(year, 1, 1);
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        Issued { chain: vec![certificate.der().clone()], key, pem: certificate.pem() }
    }

    /// A client's certificate that names a SPIFFE id.
    pub(crate) fn agent(&self, year: i32) -> Issued {
        self.issue(vec![SanType::URI("spiffe://example.org/agent".try_into().unwrap())], year)
    }

    pub(crate) fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.folder.path().join(name);
        fs::write(&path, text).unwrap();
        path
    }

    /// A listener for `localhost` that asks for certificates of this authority.
    pub(crate) fn settings(&self, client_certificates: ClientCertificates) -> TlsSettings {
        let (certificate, key) = self.renew();
        let asks = client_certificates != ClientCertificates::Off;
        let client_ca = asks.then(|| self.write("clients.pem", &self.issuer.pem()));
        TlsSettings { certificate, key, client_ca, client_certificates }
    }

    /// Writes a new certificate of the listener's in the place of the old one.
    pub(crate) fn renew(&self) -> (PathBuf, PathBuf) {
        let issued = self.issue(vec![SanType::DnsName("localhost".try_into().unwrap())], 2100);
        (self.write("server.pem", &issued.pem), self.write("server.key", &issued.key.serialize_pem()))
    }

    /// Writes another authority in the place of the one that signs clients.
    pub(crate) fn replace(&self, other: &Self) {
        self.write("clients.pem", &other.issuer.pem());
    }

    /// A client that trusts this authority.
    pub(crate) fn client(&self, shows: Option<&Issued>, protocol: &str) -> ClientConfig {
        let mut roots = RootCertStore::empty();
        roots.add(self.issuer.der().clone()).unwrap();
        let builder = ClientConfig::builder_with_provider(Arc::new(default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots);
        let mut config = match shows {
            None => builder.with_no_client_auth(),
            Some(issued) => {
                let key = PrivateKeyDer::try_from(issued.key.serialize_der()).unwrap();
                builder.with_client_auth_cert(issued.chain.clone(), key).unwrap()
            }
        };
        config.alpn_protocols = vec![protocol.as_bytes().to_vec()];
        config
    }
}

pub(crate) async fn secured(socket: TcpStream, config: ClientConfig) -> std::io::Result<TlsStream<TcpStream>> {
    TlsConnector::from(Arc::new(config)).connect(ServerName::try_from("localhost").unwrap(), socket).await
}

pub(crate) async fn connect(addr: SocketAddr, config: ClientConfig) -> std::io::Result<TlsStream<TcpStream>> {
    secured(TcpStream::connect(addr).await?, config).await
}

/// An HTTP/2 connection that takes any number of requests.
pub(crate) async fn http2(addr: SocketAddr, authority: &Authority) -> SendRequest<Full<Bytes>> {
    let stream = connect(addr, authority.client(None, "h2")).await.unwrap();
    let builder = hyper::client::conn::http2::Builder::new(TokioExecutor::new());
    let (sender, connection) = builder.handshake(TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection);
    sender
}

/// The same request in the form of HTTP/2, where the authority stands in the URL.
pub(crate) fn as_http2(mut request: Request<Full<Bytes>>) -> Request<Full<Bytes>> {
    let host = request.headers_mut().remove("host").unwrap();
    let url = format!("https://{}{}", host.to_str().unwrap(), request.uri());
    *request.uri_mut() = url.parse().unwrap();
    request
}
