//! The WebSocket upstream against servers whose every frame is scripted: good ones first, then the hostile list.

mod hostile;
mod sessions;
mod settings;

use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use futures_util::{SinkExt, StreamExt};
use portcullis_core::clock::{FixedClock, Timestamp};
use portcullis_core::refusal::{Fault, FaultKind};
use portcullis_core::upstream::{Reply, Upstream};
use portcullis_core::wire::Limits;
use serde_json::{Value, json};
use tokio::net::{TcpListener, TcpStream};
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::handshake::server::{Request, Response};

use super::{WebSocketStream, WebSockets};
use crate::pipe::{PipeUpstream, StderrSink};
use crate::settings::{EraSetting, WebSocketSettings};
use crate::testing::{all, legacy};

type Socket = WebSocketStream<TcpStream>;
/// The head of a handshake: names and values.
type Fields = Vec<(String, String)>;
/// Plays one tool call; what it returns is the socket, if it lives on.
type Play = Arc<dyn Fn(Value, Socket) -> BoxFuture<'static, Option<Socket>> + Send + Sync>;

const INITIALIZE: &str = r#"{"jsonrpc":"2.0","id":0,"method":"initialize","params":{"protocolVersion":"2025-11-25","capabilities":{},"clientInfo":{"name":"c","version":"1"}}}"#;

/// A server that is well-behaved in everything but tool calls.
struct Server {
    url: String,
    handshakes: Arc<Mutex<Vec<Fields>>>,
    /// Everything that was said, with the number of the socket it was said on.
    heard: Arc<Mutex<Vec<(usize, Value)>>>,
    /// Close codes, in the order of their coming.
    closes: Arc<Mutex<Vec<u16>>>,
}

impl Server {
    async fn start<F, Fut>(modern: bool, play: F) -> Self
    where
        F: Fn(Value, Socket) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Option<Socket>> + Send + 'static,
    {
        let play: Play = Arc::new(move |message, socket| Box::pin(play(message, socket)));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("ws://{}/mcp/ws", listener.local_addr().unwrap());
        let (handshakes, heard, closes) = (Arc::default(), Arc::default(), Arc::default());
        let server = Self { url, handshakes, heard, closes };
        let (handshakes, heard, closes) =
            (Arc::clone(&server.handshakes), Arc::clone(&server.heard), Arc::clone(&server.closes));
        tokio::spawn(async move {
            let mut number = 0;
            while let Ok((tcp, _)) = listener.accept().await {
                let (play, handshakes, heard, closes) =
                    (Arc::clone(&play), Arc::clone(&handshakes), Arc::clone(&heard), Arc::clone(&closes));
                tokio::spawn(async move {
                    let Some(socket) = accept(tcp, &handshakes).await else { return };
                    serve(modern, socket, number, play, heard, closes).await;
                });
                number += 1;
            }
        });
        server
    }

    /// Echoes the name of the tool.
    async fn echo(modern: bool) -> Self {
        Self::start(modern, |message, mut socket| async move {
            say(&mut socket, &result(&message, json!({ "tool": message["params"]["name"] }))).await;
            Some(socket)
        })
        .await
    }

    fn heard(&self, method: &str) -> Vec<(usize, Value)> {
        self.heard.lock().unwrap().iter().filter(|(_, message)| message["method"] == method).cloned().collect()
    }

    async fn until_closed(&self, code: u16) {
        until(|| self.closes.lock().unwrap().contains(&code)).await;
    }
}

#[expect(clippy::result_large_err, reason = "the library's own callback")]
async fn accept(tcp: TcpStream, handshakes: &Mutex<Vec<Fields>>) -> Option<Socket> {
    let look = |request: &Request, mut response: Response| {
        let fields = request.headers().iter();
        let fields = fields.map(|(name, value)| (name.to_string(), value.to_str().unwrap().to_owned())).collect();
        handshakes.lock().unwrap().push(fields);
        response.headers_mut().insert("sec-websocket-protocol", "mcp".parse().unwrap());
        Ok(response)
    };
    tokio_tungstenite::accept_hdr_async(tcp, look).await.ok()
}

async fn serve(
    modern: bool,
    mut socket: Socket,
    number: usize,
    play: Play,
    heard: Arc<Mutex<Vec<(usize, Value)>>>,
    closes: Arc<Mutex<Vec<u16>>>,
) {
    while let Some(Ok(frame)) = socket.next().await {
        let text = match frame {
            Message::Text(text) => text,
            Message::Close(frame) => {
                closes.lock().unwrap().push(frame.map_or(0, |frame| u16::from(frame.code)));
                continue;
            }
            _ => continue,
        };
        let message: Value = serde_json::from_str(&text).unwrap();
        heard.lock().unwrap().push((number, message.clone()));
        let answer = match (message["method"].as_str().unwrap_or_default(), modern) {
            ("tools/call", _) => match play(message, socket).await {
                Some(back) => {
                    socket = back;
                    continue;
                }
                None => return,
            },
            ("initialize", false) => {
                let version = &message["params"]["protocolVersion"];
                result(
                    &message,
                    json!({ "protocolVersion": version, "capabilities": { "tools": {} }, "serverInfo": { "name": "t", "version": "1" } }),
                )
            }
            ("server/discover", true) => result(
                &message,
                json!({ "resultType": "complete", "supportedVersions": ["2026-07-28"], "capabilities": { "tools": {} } }),
            ),
            ("tools/list", _) => result(
                &message,
                json!({ "resultType": "complete", "tools": [{ "name": "echo", "inputSchema": { "type": "object" } }] }),
            ),
            _ if message.get("id").is_some() && message.get("method").is_some() => {
                json!({ "jsonrpc": "2.0", "id": message["id"], "error": { "code": -32601, "message": "no" } })
            }
            _ => continue,
        };
        say(&mut socket, &answer).await;
    }
}

fn result(message: &Value, result: Value) -> Value {
    json!({ "jsonrpc": "2.0", "id": message["id"], "result": result })
}

async fn say(socket: &mut Socket, message: &Value) {
    let _ = socket.send(Message::text(message.to_string())).await;
}

fn settings(url: &str, era: EraSetting) -> WebSocketSettings {
    WebSocketSettings { era, first_byte_timeout_ms: 20_000, ..WebSocketSettings::of_url(url.to_owned()) }
}

fn made(settings: &WebSocketSettings, limits: Limits) -> Arc<PipeUpstream<WebSockets>> {
    let clock = Arc::new(FixedClock::at(Timestamp(0)));
    PipeUpstream::<WebSockets>::new("srv".into(), settings, limits, clock, StderrSink::new(|_, _| {})).unwrap()
}

fn upstream(server: &Server, era: EraSetting) -> Arc<PipeUpstream<WebSockets>> {
    made(&settings(&server.url, era), Limits::default())
}

async fn open(upstream: &PipeUpstream<WebSockets>, key: u128) {
    let opened = all(upstream.send(legacy(key).say(INITIALIZE)).await.unwrap()).await;
    assert!(opened[0].is_ok(), "{opened:?}");
}

fn call(id: u32, tool: &str) -> String {
    format!(r#"{{"jsonrpc":"2.0","id":{id},"method":"tools/call","params":{{"name":"{tool}"}}}}"#)
}

async fn last_kind(reply: Result<Reply, Fault>) -> FaultKind {
    all(reply.unwrap()).await.pop().unwrap().map(|_| ()).unwrap_err().kind
}

/// Waits for something the other side does; fails after ten seconds.
async fn until(done: impl Fn() -> bool) {
    for _ in 0..500 {
        if done() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("did not happen within ten seconds");
}

/// A frame as a server writes it, byte by byte.
fn raw(first: u8, payload: &[u8]) -> Bytes {
    let mut frame = vec![first, u8::try_from(payload.len()).unwrap()];
    frame.extend_from_slice(payload);
    frame.into()
}
