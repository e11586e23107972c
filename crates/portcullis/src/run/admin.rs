//! `/metrics` and `/healthz` for the machine's own eyes: a small HTTP listener on a loopback address, off unless configured.
//! It shows counters and states, never messages, and changes nothing; nor does it ask the server anything.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode, header};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use portcullis_core::upstream::Upstream;
use portcullis_ledger::{AuditLog, Metrics};
use portcullis_server::OriginRule;
use serde_json::json;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use crate::exit::Failure;

/// A scraper and a person or two; more is a mistake.
const MOST_CONNECTIONS: usize = 16;
/// A scraper sends its headers at once.
const HEADER_TIME: Duration = Duration::from_secs(5);

const TEXT: &str = "text/plain; charset=utf-8";
const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// What there is to look at.
#[derive(Clone, Debug)]
pub(crate) struct Views {
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) log: Arc<AuditLog>,
    pub(crate) upstreams: Vec<Arc<dyn Upstream>>,
}

/// Takes the address.
///
/// # Errors
/// When the address is in use or not ours.
pub(crate) async fn bind(address: SocketAddr) -> Result<TcpListener, Failure> {
    TcpListener::bind(address).await.map_err(|error| {
        Failure::new(format!("cannot listen on {address} for metrics: {error}"))
            .help("choose another port with `--admin`")
    })
}

/// Serves until told to stop.
pub(crate) async fn serve(listener: TcpListener, views: Views, stop: CancellationToken) {
    let places = Arc::new(Semaphore::new(MOST_CONNECTIONS));
    // A web page must not read metrics by DNS rebinding (A4), and one that cannot say where it listens answers nobody.
    let Ok(bound) = listener.local_addr() else { return };
    let Ok(rule) = OriginRule::new(bound, None, None).map(Arc::new) else { return };
    while let Some(accepted) = stop.run_until_cancelled(listener.accept()).await {
        let Ok((socket, _)) = accepted else { continue };
        // Over the limit: closed at once, like a full backlog.
        let Ok(place) = Arc::clone(&places).try_acquire_owned() else { continue };
        let (views, rule, stop) = (views.clone(), Arc::clone(&rule), stop.clone());
        drop(tokio::spawn(async move {
            let service = service_fn(move |request| {
                let response = match rule.check(request.uri(), request.headers()) {
                    Ok(()) => answer(&request, &views),
                    Err(violation) => page(StatusCode::FORBIDDEN, TEXT, format!("{violation}\n")),
                };
                async move { Ok::<_, Infallible>(response) }
            });
            let connection = hyper::server::conn::http1::Builder::new()
                .timer(TokioTimer::new())
                .header_read_timeout(HEADER_TIME)
                .serve_connection(TokioIo::new(socket), service);
            // A broken connection is the scraper's business.
            let _ended = stop.run_until_cancelled(connection).await;
            drop(place);
        }));
    }
}

fn answer(request: &Request<Incoming>, views: &Views) -> Response<Full<Bytes>> {
    if request.method() != Method::GET {
        return page(StatusCode::METHOD_NOT_ALLOWED, TEXT, "only GET\n".to_owned());
    }
    match request.uri().path() {
        "/metrics" => page(StatusCode::OK, OPEN_METRICS, views.metrics.render()),
        "/healthz" => health(views),
        _ => page(StatusCode::NOT_FOUND, TEXT, "here are /metrics and /healthz\n".to_owned()),
    }
}

/// The log decides the status. A server that is down is said and no reason to restart the gateway: that would not bring it back.
fn health(views: &Views) -> Response<Full<Bytes>> {
    let (status, log) = match views.log.health() {
        Ok(()) => (StatusCode::OK, "ok".to_owned()),
        Err(error) => (StatusCode::SERVICE_UNAVAILABLE, error.to_string()),
    };
    let of = |upstream: &Arc<dyn Upstream>| json!({ "name": &**upstream.name(), "reached": upstream.catalogue().is_read() });
    let servers: Vec<_> = views.upstreams.iter().map(of).collect();
    page(status, "application/json", format!("{}\n", json!({ "log": log, "servers": servers })))
}

fn page(status: StatusCode, kind: &'static str, text: String) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from(text)));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, header::HeaderValue::from_static(kind));
    headers.insert(header::CACHE_CONTROL, header::HeaderValue::from_static("no-store"));
    response
}
