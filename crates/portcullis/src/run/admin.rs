//! `/metrics`, `/healthz`, `/readyz` and `/status` for the machine's own eyes: a small HTTP listener on a loopback address, off unless configured.
//! It shows counters and states, never messages, and asks no server anything. All it can change is a breaker that an operator wants closed.

mod servers; // how the servers are

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode, header};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use portcullis_core::upstream::Upstream;
use portcullis_ledger::{AuditLog, Metrics};
use portcullis_server::OriginRule;
use portcullis_upstream::HealthBoard;
use serde::Deserialize;
use serde_json::json;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use crate::exit::Failure;

/// A scraper and a person or two; more is a mistake.
const MOST_CONNECTIONS: usize = 16;
/// A scraper sends its headers at once.
const HEADER_TIME: Duration = Duration::from_secs(5);
/// Of a body: two names.
const MOST_BODY: usize = 4 << 10;

const TEXT: &str = "text/plain; charset=utf-8";
const JSON: &str = "application/json";
const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// What there is to look at.
#[derive(Clone, Debug)]
pub(crate) struct Views {
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) log: Arc<AuditLog>,
    pub(crate) upstreams: Vec<Arc<dyn Upstream>>,
    pub(crate) board: Arc<HealthBoard>,
}

impl Views {
    fn servers(&self) -> Vec<serde_json::Value> {
        servers::brief(&self.upstreams, &self.board)
    }
}

/// Whose breakers are to be closed.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Reset {
    server: String,
    #[serde(default)]
    transport: Option<String>,
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
            let service = service_fn(|request: Request<Incoming>| async {
                Ok::<_, Infallible>(match rule.check(request.uri(), request.headers()) {
                    Ok(()) => answer(request, &views).await,
                    Err(violation) => page(StatusCode::FORBIDDEN, TEXT, format!("{violation}\n")),
                })
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

async fn answer(request: Request<Incoming>, views: &Views) -> Response<Full<Bytes>> {
    match (request.method(), request.uri().path()) {
        (&Method::GET, "/metrics") => {
            let (transports, rooms) = servers::numbers(&views.board);
            page(StatusCode::OK, OPEN_METRICS, views.metrics.render_with(&transports, &rooms))
        }
        (&Method::GET, "/healthz") => health(views),
        (&Method::GET, "/readyz") => ready(views),
        (&Method::GET, "/status") => page(StatusCode::OK, JSON, format!("{}\n", servers::full(&views.board))),
        (&Method::POST, "/reset") => reset(request, views).await,
        (&Method::GET, "/reset") => page(StatusCode::METHOD_NOT_ALLOWED, TEXT, "only POST\n".to_owned()),
        (&Method::GET, _) => {
            let text = "here are /metrics, /healthz, /readyz and /status\n";
            page(StatusCode::NOT_FOUND, TEXT, text.to_owned())
        }
        _ => page(StatusCode::METHOD_NOT_ALLOWED, TEXT, "only GET\n".to_owned()),
    }
}

/// Closes breakers. A page of another origin cannot ask for it: its `Origin` is refused before, and this media type is none that a form has.
async fn reset(request: Request<Incoming>, views: &Views) -> Response<Full<Bytes>> {
    let json = request.headers().get(header::CONTENT_TYPE).is_some_and(|kind| kind == "application/json");
    if !json {
        return page(StatusCode::UNSUPPORTED_MEDIA_TYPE, TEXT, "only application/json\n".to_owned());
    }
    let wrong =
        || page(StatusCode::BAD_REQUEST, TEXT, "write {\"server\": NAME, \"transport\": NAME or null}\n".to_owned());
    let body = tokio::time::timeout(HEADER_TIME, Limited::new(request.into_body(), MOST_BODY).collect()).await;
    let Ok(Ok(body)) = body else { return wrong() };
    let Ok(Reset { server, transport }) = serde_json::from_slice(&body.to_bytes()) else { return wrong() };
    match views.board.reset(&server, transport.as_deref()) {
        0 => page(StatusCode::NOT_FOUND, TEXT, "no such server or transport\n".to_owned()),
        count => page(StatusCode::OK, JSON, format!("{}\n", json!({ "reset": count }))),
    }
}

/// Whether calls can be answered: the log is written, and some server can be called.
fn ready(views: &Views) -> Response<Full<Bytes>> {
    let ready = views.log.health().is_ok() && servers::any_usable(&views.board);
    let status = if ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    page(status, JSON, format!("{}\n", json!({ "ready": ready, "servers": views.servers() })))
}

/// The log decides the status. A server that is down is said and no reason to restart the gateway: that would not bring it back.
fn health(views: &Views) -> Response<Full<Bytes>> {
    let (status, log) = match views.log.health() {
        Ok(()) => (StatusCode::OK, "ok".to_owned()),
        Err(error) => (StatusCode::SERVICE_UNAVAILABLE, error.to_string()),
    };
    page(status, JSON, format!("{}\n", json!({ "log": log, "servers": views.servers() })))
}

fn page(status: StatusCode, kind: &'static str, text: String) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from(text)));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, header::HeaderValue::from_static(kind));
    headers.insert(header::CACHE_CONTROL, header::HeaderValue::from_static("no-store"));
    response
}
