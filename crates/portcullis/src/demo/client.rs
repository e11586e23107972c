//! The demo's client: a real HTTP client of MCP revision 2025-11-25, just large enough for the story. It shows answers as they arrive.

use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{Request, header};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper_util::rt::TokioIo;
use portcullis_core::wire::{Limits, View, view_json};
use tokio::net::TcpStream;

use crate::exit::Failure;

/// Longer than anything in the demo takes, so that a defect shows as an error and not as silence.
const PATIENCE: Duration = Duration::from_secs(20);
/// More than any answer in the demo has.
const MOST_BYTES: usize = 1 << 20;

/// One connection to the gateway.
#[derive(Debug)]
pub(super) struct Client {
    sender: SendRequest<Full<Bytes>>,
    address: std::net::SocketAddr,
    session: Option<String>,
    last_id: u64,
}

/// One message of an answer, and when it came.
#[derive(Debug)]
pub(super) struct Arrival {
    pub(super) text: String,
    /// Since the request was sent.
    pub(super) after: Duration,
}

impl Client {
    /// Connects and shakes hands.
    pub(super) async fn connect(address: std::net::SocketAddr) -> Result<Self, Failure> {
        let socket = TcpStream::connect(address).await.map_err(|error| trouble("connect", &error))?;
        let (sender, connection) = handshake(TokioIo::new(socket)).await.map_err(|error| trouble("connect", &error))?;
        // Ends with the sender; its errors reach us through the sender.
        drop(tokio::spawn(connection));
        let mut client = Self { sender, address, session: None, last_id: 0 };
        let hello = r#"{"protocolVersion":"2025-11-25","capabilities":{},"clientInfo":{"name":"portcullis-demo","version":"1.0.0"}}"#;
        client.request("initialize", hello).await?;
        let ready = r#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#.to_owned();
        client.post(ready, |_| {}).await?;
        Ok(client)
    }

    /// Sends a request and gives its response.
    pub(super) async fn request(&mut self, method: &str, params: &str) -> Result<String, Failure> {
        self.stream(method, params, |_| {}).await
    }

    /// Sends a request, shows every message of the answer when it arrives, and gives the last one: the response.
    pub(super) async fn stream(
        &mut self,
        method: &str,
        params: &str,
        show: impl FnMut(&Arrival),
    ) -> Result<String, Failure> {
        self.last_id += 1;
        let id = self.last_id;
        let body = format!(r#"{{"jsonrpc":"2.0","id":{id},"method":"{method}","params":{params}}}"#);
        let last = self.post(body, show).await?;
        last.ok_or_else(|| Failure::new(format!("the demo's client got no answer to `{method}`")))
    }

    /// Calls a tool and shows what arrives.
    pub(super) async fn call(
        &mut self,
        tool: &str,
        arguments: &str,
        show: impl FnMut(&Arrival),
    ) -> Result<String, Failure> {
        let token = self.last_id + 1;
        let params =
            format!(r#"{{"name":"{tool}","arguments":{arguments},"_meta":{{"progressToken":"demo-{token}"}}}}"#);
        self.stream("tools/call", &params, show).await
    }

    /// Ends the session.
    pub(super) async fn close(mut self) -> Result<(), Failure> {
        let request = self.head("DELETE", Bytes::new())?;
        let exchange = async {
            self.sender.ready().await?;
            self.sender.send_request(request).await
        };
        tokio::time::timeout(PATIENCE, exchange)
            .await
            .map_err(|error| trouble("close", &error))?
            .map_err(|error| trouble("close", &error))?;
        Ok(())
    }

    async fn post(&mut self, body: String, show: impl FnMut(&Arrival)) -> Result<Option<String>, Failure> {
        let request = self.head("POST", Bytes::from(body))?;
        let exchange = async {
            let started = Instant::now();
            // The connection may still be finishing the previous answer.
            self.sender.ready().await.map_err(|error| trouble("send", &error))?;
            let response = self.sender.send_request(request).await.map_err(|error| trouble("send", &error))?;
            if let Some(session) = response.headers().get("mcp-session-id").and_then(|value| value.to_str().ok()) {
                self.session = Some(session.to_owned());
            }
            read(response.into_parts(), started, show).await
        };
        tokio::time::timeout(PATIENCE, exchange).await.map_err(|error| trouble("wait for the answer", &error))?
    }

    fn head(&self, method: &str, body: Bytes) -> Result<Request<Full<Bytes>>, Failure> {
        let mut request = Request::builder()
            .method(method)
            .uri("/mcp")
            .header(header::HOST, self.address.to_string())
            .header(header::CONTENT_TYPE, "application/json")
            .header(header::ACCEPT, "application/json, text/event-stream");
        if let Some(session) = &self.session {
            request = request.header("mcp-session-id", session).header("mcp-protocol-version", "2025-11-25");
        }
        request.body(Full::new(body)).map_err(|error| trouble("write a request", &error))
    }
}

/// Reads a JSON answer or an event stream; every message is shown at once, the last is returned.
async fn read(
    (head, mut body): (http::response::Parts, Incoming),
    started: Instant,
    mut show: impl FnMut(&Arrival),
) -> Result<Option<String>, Failure> {
    let streams =
        head.headers.get(header::CONTENT_TYPE).is_some_and(|kind| kind.as_bytes().starts_with(b"text/event-stream"));
    let mut buffer = Vec::new();
    let mut last = None;
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|error| trouble("read the answer", &error))?;
        buffer.extend_from_slice(frame.data_ref().map_or(&[][..], |data| data));
        if buffer.len() > MOST_BYTES {
            return Err(Failure::new("the answer is larger than the demo expects"));
        }
        while let Some(event) = streams.then(|| next_event(&mut buffer)).flatten() {
            last = arrive(&event, started, &mut show).or(last);
        }
    }
    if !streams && !buffer.is_empty() {
        last = arrive(&String::from_utf8_lossy(&buffer), started, &mut show);
    }
    Ok(last)
}

fn arrive(text: &str, started: Instant, show: &mut impl FnMut(&Arrival)) -> Option<String> {
    if text.is_empty() {
        return None;
    }
    let arrival = Arrival { text: text.to_owned(), after: started.elapsed() };
    show(&arrival);
    Some(arrival.text)
}

/// Takes one whole event off the buffer and gives its data; empty for a comment or a priming event.
fn next_event(buffer: &mut Vec<u8>) -> Option<String> {
    let end = buffer.windows(2).position(|pair| pair == b"\n\n")?;
    let event: Vec<u8> = buffer.drain(..end + 2).collect();
    let text = String::from_utf8_lossy(&event);
    let data: Vec<&str> = text.lines().filter_map(|line| line.strip_prefix("data:")).map(str::trim_start).collect();
    Some(data.join("\n"))
}

/// A string inside a JSON text, by its path.
pub(super) fn string(text: &str, path: &[&str]) -> Option<String> {
    let view = view_json(text.as_bytes(), &Limits::default()).ok()?;
    view.path(path).and_then(View::as_str).map(std::borrow::Cow::into_owned)
}

/// The text of a tool's answer, or the message of an error.
pub(super) fn spoken(text: &str) -> String {
    let Ok(view) = view_json(text.as_bytes(), &Limits::default()) else { return text.to_owned() };
    let content = view.path(&["result", "content"]).and_then(|content| content.elements().next());
    content
        .and_then(|item| item.get("text"))
        .or_else(|| view.path(&["error", "message"]))
        .and_then(View::as_str)
        .map_or_else(|| text.to_owned(), std::borrow::Cow::into_owned)
}

fn trouble(doing: &str, error: &dyn std::error::Error) -> Failure {
    Failure::new(format!("the demo's client could not {doing}: {error}"))
}
