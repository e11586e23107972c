//! The sample server of the demo: "notes and payments", one small MCP server of revision 2025-11-25 with sessions and event streams.
//! A peer for the gateway to guard, and deliberately naive: it checks nothing, pays whom it is told to, and counts what reached it.

use std::collections::HashSet;
use std::convert::Infallible;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use futures_util::StreamExt;
use futures_util::stream;
use http::{HeaderMap, Method, Request, Response, StatusCode, header};
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Full, Limited, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use portcullis_core::own;
use portcullis_core::wire::{Id, Limits, View, view_json};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

/// What `tools/list` answers.
pub(super) const TOOLS: &str = include_str!("tools.json");

/// Time between two steps of `archive_notes`: long enough to see each one arrive.
const STEP: Duration = Duration::from_millis(200);
/// Steps of `archive_notes`.
const STEPS: u64 = 5;
/// Enough for anything a person types into the demo.
const MOST_BODY: usize = 1 << 20;

type Body = BoxBody<Bytes, Infallible>;

/// The server's whole state.
#[derive(Debug, Default)]
pub(super) struct Sample {
    sessions: Mutex<HashSet<String>>,
    opened: AtomicU64,
    notes: Mutex<Vec<String>>,
    /// Payments that reached the server: what the gateway let through.
    payments: AtomicU64,
}

impl Sample {
    /// How many payments were made.
    pub(super) fn payments(&self) -> u64 {
        self.payments.load(Ordering::Relaxed)
    }
}

/// Serves until told to stop.
pub(super) async fn serve(listener: TcpListener, sample: Arc<Sample>, stop: CancellationToken) {
    let tasks = tokio_util::task::TaskTracker::new();
    while let Some(Ok((socket, _))) = stop.run_until_cancelled(listener.accept()).await {
        let sample = Arc::clone(&sample);
        let stop = stop.clone();
        tasks.spawn(async move {
            let service = service_fn(move |request| {
                let sample = Arc::clone(&sample);
                async move { Ok::<_, Infallible>(sample.answer(request).await) }
            });
            let connection = hyper::server::conn::http1::Builder::new()
                .timer(TokioTimer::new())
                .serve_connection(TokioIo::new(socket), service);
            // A broken connection is the peer's business; the next one starts afresh.
            let _ended = stop.run_until_cancelled(connection).await;
        });
    }
    tasks.close();
    tasks.wait().await;
}

impl Sample {
    async fn answer(&self, request: Request<Incoming>) -> Response<Body> {
        let (head, body) = request.into_parts();
        if head.uri.path() != "/mcp" {
            return plain(StatusCode::NOT_FOUND);
        }
        match head.method {
            Method::POST => {}
            Method::DELETE => {
                if let Some(session) = session(&head.headers) {
                    self.sessions().remove(session);
                }
                return plain(StatusCode::OK);
            }
            _ => return plain(StatusCode::METHOD_NOT_ALLOWED),
        }
        let Ok(body) = Limited::new(body, MOST_BODY).collect().await else {
            return plain(StatusCode::PAYLOAD_TOO_LARGE);
        };
        let body = body.to_bytes();
        let Ok(message) = view_json(&body, &Limits::default()) else {
            return plain(StatusCode::BAD_REQUEST);
        };
        self.message(&head.headers, message)
    }

    fn message(&self, headers: &HeaderMap, message: View<'_>) -> Response<Body> {
        let method = message.get("method").and_then(View::as_str).unwrap_or_default();
        let Some(id) = message.get("id").and_then(|id| Id::from_text(id.text())) else {
            return plain(StatusCode::ACCEPTED);
        };
        if method == "initialize" {
            return self.initialize(&id);
        }
        if !session(headers).is_some_and(|session| self.sessions().contains(session)) {
            return plain(StatusCode::NOT_FOUND);
        }
        match method.as_ref() {
            "ping" => result(&id, "{}"),
            "tools/list" => result(&id, &format!(r#"{{"tools":{TOOLS}}}"#)),
            "tools/call" => self.call(&id, message),
            _ => json(own::error(Some(&id), -32601, "Method not found", None)),
        }
    }

    fn initialize(&self, id: &Id) -> Response<Body> {
        let session = format!("sample-{}", self.opened.fetch_add(1, Ordering::Relaxed) + 1);
        self.sessions().insert(session.clone());
        let mut response = result(
            id,
            r#"{"protocolVersion":"2025-11-25","capabilities":{"tools":{}},"serverInfo":{"name":"notes-and-payments","version":"1.0.0"}}"#,
        );
        if let Ok(value) = session.parse() {
            response.headers_mut().insert("mcp-session-id", value);
        }
        response
    }

    fn call(&self, id: &Id, message: View<'_>) -> Response<Body> {
        let name = message.path(&["params", "name"]).and_then(View::as_str).unwrap_or_default();
        let argument = |key: &str| message.path(&["params", "arguments", key]);
        let text = |key: &str| argument(key).and_then(View::as_str).unwrap_or_default();
        match name.as_ref() {
            "add_note" => {
                let mut notes = self.notes.lock().unwrap_or_else(PoisonError::into_inner);
                // Bounded: `--stay` may run for days.
                if notes.len() < 1000 {
                    notes.push(text("text").into_owned());
                }
                said(id, &format!("Saved as note {}.", notes.len()))
            }
            "list_notes" => {
                let notes = self.notes.lock().unwrap_or_else(PoisonError::into_inner);
                said(id, &notes.join("\n"))
            }
            "send_payment" => {
                let number = self.payments.fetch_add(1, Ordering::Relaxed) + 1;
                let amount = argument("amount").map(View::text).unwrap_or_default();
                said(id, &format!("Paid {amount} EUR to {} (receipt {number}).", text("recipient")))
            }
            "archive_notes" => archive(id, message.path(&["params", "_meta", "progressToken"])),
            "delete_everything" => said(id, "Everything is gone."),
            _ => json(own::error(Some(id), -32602, "Unknown tool", None)),
        }
    }

    fn sessions(&self) -> std::sync::MutexGuard<'_, HashSet<String>> {
        self.sessions.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Answers with an event stream: one progress notification for each step, then the result.
fn archive(id: &Id, token: Option<View<'_>>) -> Response<Body> {
    let mut events: Vec<Bytes> = Vec::new();
    if let Some(token) = token {
        for step in 1..=STEPS {
            let params = format!(r#"{{"progressToken":{},"progress":{step},"total":{STEPS}}}"#, token.text());
            events.push(own::notification("notifications/progress", &params));
        }
    }
    events.push(tool_text(id, "All notes are archived."));
    let frames = stream::iter(events).then(|event| async move {
        tokio::time::sleep(STEP).await;
        let mut frame = b"event: message\ndata: ".to_vec();
        frame.extend_from_slice(&event);
        frame.extend_from_slice(b"\n\n");
        Ok::<_, Infallible>(Frame::data(Bytes::from(frame)))
    });
    let mut response = Response::new(BodyExt::boxed(StreamBody::new(frames)));
    response.headers_mut().insert(header::CONTENT_TYPE, header::HeaderValue::from_static("text/event-stream"));
    response
}

fn session(headers: &HeaderMap) -> Option<&str> {
    headers.get("mcp-session-id")?.to_str().ok()
}

fn tool_text(id: &Id, text: &str) -> Bytes {
    answer(id, &format!(r#"{{"content":[{{"type":"text","text":{}}}]}}"#, own::quoted(text)))
}

fn said(id: &Id, text: &str) -> Response<Body> {
    json(tool_text(id, text))
}

fn answer(id: &Id, result: &str) -> Bytes {
    Bytes::from(format!(r#"{{"jsonrpc":"2.0","id":{},"result":{result}}}"#, id.raw()))
}

fn result(id: &Id, result: &str) -> Response<Body> {
    json(answer(id, result))
}

fn json(text: Bytes) -> Response<Body> {
    let mut response = Response::new(Full::new(text).boxed());
    response.headers_mut().insert(header::CONTENT_TYPE, header::HeaderValue::from_static("application/json"));
    response
}

fn plain(status: StatusCode) -> Response<Body> {
    let mut response = Response::new(Full::new(Bytes::new()).boxed());
    *response.status_mut() = status;
    response
}
