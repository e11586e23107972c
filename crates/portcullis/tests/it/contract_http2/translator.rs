//! HTTP/1.1 on one side, HTTP/2 over TLS on the other; all requests share one connection. Bodies pass as they come, and who leaves on
//! one side leaves on the other.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use http::header::{CONNECTION, HOST};
use http::{Request, Response, Version};
use hyper::body::Incoming;
use hyper::client::conn::http2::{Builder, SendRequest};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Runtime;
use tokio::sync::Mutex;
use tokio_rustls::TlsConnector;

pub(super) struct Translator {
    pub(super) address: SocketAddr,
    link: Arc<Link>,
    _runtime: Runtime,
}

/// The connection to the gateway.
struct Link {
    gateway: SocketAddr,
    connector: TlsConnector,
    sender: Mutex<Option<SendRequest<Incoming>>>,
    translated: AtomicUsize,
}

impl Translator {
    /// Before a gateway that shows this certificate.
    pub(super) fn before(gateway: SocketAddr, certificate: CertificateDer<'static>) -> Self {
        let mut roots = RootCertStore::empty();
        roots.add(certificate).unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
        let mut config = builder.with_root_certificates(roots).with_no_client_auth();
        config.alpn_protocols = vec![b"h2".to_vec()];
        let connector = TlsConnector::from(Arc::new(config));
        let link = Arc::new(Link { gateway, connector, sender: Mutex::default(), translated: AtomicUsize::new(0) });
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).unwrap();
        let address = listener.local_addr().unwrap();
        let used = Arc::clone(&link);
        runtime.spawn(async move {
            while let Ok((socket, _)) = listener.accept().await {
                let link = Arc::clone(&used);
                tokio::spawn(async move {
                    let service = service_fn(|request| translate(&link, request));
                    // A client that leaves is part of the cases.
                    let _left = http1::Builder::new().serve_connection(TokioIo::new(socket), service).await;
                });
            }
        });
        Self { address, link, _runtime: runtime }
    }

    /// Requests that went to the gateway.
    pub(super) fn translated(&self) -> usize {
        self.link.translated.load(Ordering::Relaxed)
    }
}

impl Link {
    async fn sender(&self) -> SendRequest<Incoming> {
        let mut held = self.sender.lock().await;
        if let Some(sender) = held.as_ref().filter(|sender| !sender.is_closed()) {
            return sender.clone();
        }
        let socket = TcpStream::connect(self.gateway).await.unwrap();
        let name = ServerName::try_from("localhost").unwrap();
        let stream = TokioIo::new(self.connector.connect(name, socket).await.unwrap());
        let (sender, connection) = Builder::new(TokioExecutor::new()).handshake(stream).await.unwrap();
        tokio::spawn(connection);
        held.insert(sender).clone()
    }
}

async fn translate(link: &Link, mut request: Request<Incoming>) -> hyper::Result<Response<Incoming>> {
    let host = request.headers_mut().remove(HOST).unwrap();
    request.headers_mut().remove(CONNECTION);
    *request.uri_mut() = format!("https://{}{}", host.to_str().unwrap(), request.uri()).parse().unwrap();
    *request.version_mut() = Version::HTTP_2;
    let mut sender = link.sender().await;
    link.translated.fetch_add(1, Ordering::Relaxed);
    let mut response = sender.send_request(request).await?;
    *response.version_mut() = Version::HTTP_11;
    Ok(response)
}
