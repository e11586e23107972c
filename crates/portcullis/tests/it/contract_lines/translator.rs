//! HTTP on one side, one line of messages on the other: a line for each legacy session, and for each modern request. Messages pass as they
//! are; only where they go is decided here.

use std::collections::HashMap;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::process::Stdio;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use futures_util::{SinkExt, StreamExt};
use http::{Method, Request, Response, StatusCode};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Empty, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Runtime;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;

use crate::contract::client::Era;
use crate::support::{Folder, portcullis};

#[derive(Clone, Copy, Debug)]
pub(super) enum Listener {
    WebSocket,
    /// A gateway that the translator starts, in front of the one of the stage.
    Wrap,
}

pub(super) struct Translator {
    pub(super) address: SocketAddr,
    shared: Arc<Shared>,
    _runtime: Runtime,
}

struct Shared {
    gateway: SocketAddr,
    listener: Listener,
    era: Era,
    sessions: Mutex<HashMap<String, Arc<Line>>>,
    translated: AtomicUsize,
    folder: Folder,
}

/// Both ends of a line; it ends when they are dropped.
type Ends = (UnboundedSender<String>, UnboundedReceiver<String>);
type Stream = UnboundedSender<String>;
type Body = UnsyncBoxBody<Bytes, Infallible>;

/// A legacy session.
struct Line {
    say: UnboundedSender<String>,
    routes: Mutex<Routes>,
}

#[derive(Default)]
struct Routes {
    /// Open requests, the newest last: id, progress token, and where their messages go.
    open: Vec<(Value, Value, Stream)>,
    standing: Option<Stream>,
}

impl Translator {
    pub(super) fn before(gateway: SocketAddr, listener: Listener, era: Era) -> Self {
        let (sessions, translated, folder) = (Mutex::default(), AtomicUsize::new(0), Folder::new());
        let shared = Arc::new(Shared { gateway, listener, era, sessions, translated, folder });
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        let socket = runtime.block_on(TcpListener::bind("127.0.0.1:0")).unwrap();
        let address = socket.local_addr().unwrap();
        let used = Arc::clone(&shared);
        runtime.spawn(async move {
            while let Ok((socket, _)) = socket.accept().await {
                let shared = Arc::clone(&used);
                tokio::spawn(async move {
                    let service = service_fn(|request| {
                        let shared = Arc::clone(&shared);
                        async move { Ok::<_, Infallible>(shared.translate(request).await) }
                    });
                    // A client that leaves is part of the cases.
                    let _left = http1::Builder::new().serve_connection(TokioIo::new(socket), service).await;
                });
            }
        });
        Self { address, shared, _runtime: runtime }
    }

    /// Messages that went to a gateway.
    pub(super) fn translated(&self) -> usize {
        self.shared.translated.load(Ordering::Relaxed)
    }
}

impl Shared {
    async fn translate(&self, request: Request<Incoming>) -> Response<Body> {
        let session = request.headers().get("mcp-session-id").map(|id| id.to_str().unwrap().to_owned());
        let line = session.as_ref().and_then(|id| self.sessions.lock().unwrap().get(id).cloned());
        match (request.method().clone(), line) {
            (Method::DELETE, _) => {
                session.and_then(|id| self.sessions.lock().unwrap().remove(&id));
                empty(StatusCode::NO_CONTENT)
            }
            (Method::GET, Some(line)) => {
                let (stream, messages) = unbounded_channel();
                line.routes.lock().unwrap().standing = Some(stream);
                events(messages, None)
            }
            (_, line) => {
                let body = request.into_body().collect().await.unwrap().to_bytes();
                let text = String::from_utf8(body.to_vec()).unwrap();
                let message: Value = serde_json::from_str(&text).unwrap();
                self.translated.fetch_add(1, Ordering::Relaxed);
                match line {
                    Some(line) => line.post(&message, text),
                    None if self.era == Era::Legacy && message["method"] == "initialize" => self.initialize(text).await,
                    None => self.alone(&message, text).await,
                }
            }
        }
    }

    async fn initialize(&self, text: String) -> Response<Body> {
        let (say, mut hear) = self.connect().await;
        say.send(text).unwrap();
        let mut answer: Value = serde_json::from_str(&hear.recv().await.unwrap()).unwrap();
        // Over stdio there is no id, and no need for one.
        let told = answer.as_object_mut().unwrap().remove("mcpSessionId");
        let number = self.sessions.lock().unwrap().len();
        let id = told.map_or_else(
            || format!("line-{number}-{}", self.translated.load(Ordering::Relaxed)),
            |id| id.as_str().unwrap().to_owned(),
        );
        let line = Arc::new(Line { say, routes: Mutex::default() });
        self.sessions.lock().unwrap().insert(id.clone(), Arc::clone(&line));
        let listening = Arc::downgrade(&line);
        tokio::spawn(async move {
            while let Some(text) = hear.recv().await {
                let Some(line) = listening.upgrade() else { return };
                line.heard(text);
            }
        });
        let (stream, messages) = unbounded_channel();
        stream.send(answer.to_string()).unwrap();
        drop(stream);
        let mut response = events(messages, None);
        response.headers_mut().insert("mcp-session-id", id.parse().unwrap());
        response
    }

    /// A modern message, on a line of its own: ids of two clients may be equal.
    async fn alone(&self, message: &Value, text: String) -> Response<Body> {
        let (say, mut hear) = self.connect().await;
        say.send(text).unwrap();
        let id = message["id"].clone();
        if id.is_null() {
            return empty(StatusCode::ACCEPTED);
        }
        let (stream, messages) = unbounded_channel();
        tokio::spawn(async move {
            loop {
                tokio::select! {
                    () = stream.closed() => {
                        // What a closed stream says over HTTP.
                        let cancelled = json!({ "jsonrpc": "2.0", "method": "notifications/cancelled", "params": { "requestId": id } });
                        let _ended = say.send(cancelled.to_string());
                        // The line stays until that was read; the gateway has nothing more to say.
                        tokio::time::sleep(std::time::Duration::from_secs(5)).await;
                        return;
                    }
                    heard = hear.recv() => {
                        let Some(text) = heard else { return };
                        let message: Value = serde_json::from_str(&text).unwrap();
                        let last = message.get("method").is_none();
                        if stream.send(text).is_err() || last {
                            return;
                        }
                    }
                }
            }
        });
        events(messages, None)
    }

    async fn connect(&self) -> Ends {
        match self.listener {
            Listener::WebSocket => self.socket().await,
            Listener::Wrap => self.wrapped(),
        }
    }

    async fn socket(&self) -> Ends {
        let mut request = format!("ws://{}/mcp/ws", self.gateway).into_client_request().unwrap();
        let subprotocol = format!("mcp.version.{}", self.era.version());
        request.headers_mut().insert("sec-websocket-protocol", subprotocol.parse().unwrap());
        let stream = TcpStream::connect(self.gateway).await.unwrap();
        let (socket, _) = tokio_tungstenite::client_async(request, stream).await.unwrap();
        let (mut sink, mut frames) = socket.split();
        let (say, mut said) = unbounded_channel::<String>();
        let (tell, hear) = unbounded_channel();
        tokio::spawn(async move {
            while let Some(text) = said.recv().await {
                if sink.send(Message::text(text)).await.is_err() {
                    return;
                }
            }
            let _closed = sink.close().await;
        });
        tokio::spawn(async move {
            while let Some(Ok(frame)) = frames.next().await {
                if let Message::Text(text) = frame
                    && tell.send(text.to_string()).is_err()
                {
                    return;
                }
            }
        });
        (say, hear)
    }

    fn wrapped(&self) -> Ends {
        let number = self.translated.load(Ordering::Relaxed);
        let mut command = tokio::process::Command::from(portcullis(self.folder.path()));
        command.args(["wrap", "--policy", "observe", "--upstream", &format!("http://{}/mcp", self.gateway)]);
        command.args(["--audit-log", &format!("audit-{number}")]).kill_on_drop(true);
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        let (mut input, output) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
        let (say, mut said) = unbounded_channel::<String>();
        let (tell, hear) = unbounded_channel();
        tokio::spawn(async move {
            while let Some(text) = said.recv().await {
                if input.write_all(format!("{}\n", text.replace('\n', " ")).as_bytes()).await.is_err() {
                    return;
                }
            }
            drop(input);
            let _ended = child.wait().await;
        });
        tokio::spawn(async move {
            let mut lines = BufReader::new(output).lines();
            while let Ok(Some(line)) = lines.next_line().await {
                if tell.send(line).is_err() {
                    return;
                }
            }
        });
        (say, hear)
    }
}

impl Line {
    fn post(self: &Arc<Self>, message: &Value, text: String) -> Response<Body> {
        let asks = message.get("method").is_some() && message.get("id").is_some();
        if !asks {
            self.say.send(text).unwrap();
            return empty(StatusCode::ACCEPTED);
        }
        let (stream, messages) = unbounded_channel();
        let token = message["params"]["_meta"]["progressToken"].clone();
        self.routes.lock().unwrap().open.push((message["id"].clone(), token, stream));
        self.say.send(text).unwrap();
        events(messages, Some(Arc::clone(self)))
    }

    /// Finds the stream that a message belongs on.
    fn heard(&self, text: String) {
        let message: Value = serde_json::from_str(&text).unwrap();
        let mut routes = self.routes.lock().unwrap();
        let Routes { open, standing } = &mut *routes;
        let Some(method) = message["method"].as_str() else {
            if let Some(at) = open.iter().position(|(id, ..)| *id == message["id"]) {
                // The last message: its stream ends.
                let _left = open.remove(at).2.send(text);
            }
            return;
        };
        let newest = open.last().map(|(.., stream)| stream);
        let stream = match method {
            "notifications/progress" => {
                let token = &message["params"]["progressToken"];
                open.iter().find(|(_, known, _)| known == token).map(|(.., stream)| stream)
            }
            "notifications/message" => newest.or(standing.as_ref()),
            _ if message.get("id").is_some() => newest.or(standing.as_ref()),
            _ => standing.as_ref().or(newest),
        };
        if let Some(stream) = stream {
            let _left = stream.send(text);
        }
    }
}

fn empty(status: StatusCode) -> Response<Body> {
    let mut response = Response::new(Empty::new().boxed_unsync());
    *response.status_mut() = status;
    response
}

/// Messages as events; `line` is held as long.
fn events(messages: UnboundedReceiver<String>, line: Option<Arc<Line>>) -> Response<Body> {
    let frames = futures_util::stream::unfold((messages, line), |(mut messages, line)| async move {
        let text = messages.recv().await?;
        let event = text.lines().map(|line| format!("data: {line}\n")).collect::<String>() + "\n";
        Some((Ok(Frame::data(Bytes::from(event))), (messages, line)))
    });
    let mut response = Response::new(StreamBody::new(frames.boxed()).boxed_unsync());
    response.headers_mut().insert("content-type", "text/event-stream".parse().unwrap());
    response
}
