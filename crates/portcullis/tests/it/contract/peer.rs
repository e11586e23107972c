//! A server of a few lines over raw TCP, well-behaved in everything but tool calls: those are played by the test, byte by byte.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use serde_json::{Value, json};

use super::client::Era;

/// What a tool call asked.
pub(crate) struct Heard {
    pub(crate) body: String,
    pub(crate) message: Value,
}

impl Heard {
    pub(crate) fn id(&self) -> &Value {
        &self.message["id"]
    }

    pub(crate) fn token(&self) -> &Value {
        &self.message["params"]["_meta"]["progressToken"]
    }

    /// A well-formed result for the call.
    pub(crate) fn result(&self, text: &str) -> Value {
        json!({ "jsonrpc": "2.0", "id": self.id(), "result": { "resultType": "complete", "content": [{ "type": "text", "text": text }] } })
    }

    pub(crate) fn progress(&self, step: usize, message: &str) -> Value {
        let params = json!({ "progressToken": self.token(), "progress": step, "message": message });
        json!({ "jsonrpc": "2.0", "method": "notifications/progress", "params": params })
    }
}

/// Plays a tool call on its connection; what it returns is whether the connection lives on.
type Play = dyn Fn(&Heard, &mut TcpStream) -> bool + Send + Sync;

pub(crate) struct Peer {
    pub(crate) address: SocketAddr,
    stop: Arc<AtomicBool>,
}

impl Peer {
    pub(crate) fn start(era: Era, play: impl Fn(&Heard, &mut TcpStream) -> bool + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let stop = Arc::new(AtomicBool::new(false));
        let (stopped, play): (_, Arc<Play>) = (Arc::clone(&stop), Arc::new(play));
        thread::spawn(move || {
            for socket in listener.incoming().map_while(Result::ok) {
                if stopped.load(Ordering::Acquire) {
                    return;
                }
                let play = Arc::clone(&play);
                thread::spawn(move || serve(era, socket, &*play));
            }
        });
        Self { address, stop }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}/mcp", self.address)
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Release);
        // Wakes the thread, which then lets go of the port.
        let _ = TcpStream::connect(self.address);
    }
}

/// The head of an event stream that ends with its connection.
pub(crate) const STREAM: &str = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\n";

/// A whole answer of one JSON document.
pub(crate) fn json_answer(text: &str) -> String {
    format!("HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{text}", text.len())
}

pub(crate) fn event(message: &Value) -> String {
    format!("data: {message}\n\n")
}

/// Writes as long as somebody takes it.
pub(crate) fn say(socket: &mut TcpStream, text: &str) -> bool {
    socket.write_all(text.as_bytes()).is_ok()
}

fn serve(era: Era, socket: TcpStream, play: &Play) {
    let mut reader = BufReader::new(socket.try_clone().unwrap());
    let mut socket = socket;
    while let Some(Request { verb, body, .. }) = request(&mut reader) {
        let Ok(message) = serde_json::from_str::<Value>(&body) else {
            let status = if verb == "DELETE" { "200 OK" } else { "405 Method Not Allowed" };
            if !say(&mut socket, &format!("HTTP/1.1 {status}\r\ncontent-length: 0\r\n\r\n")) {
                return;
            }
            continue;
        };
        if message["method"] == "tools/call" {
            if play(&Heard { body, message }, &mut socket) {
                continue;
            }
            // Both halves: the reader holds the socket open, too.
            let _ = socket.shutdown(std::net::Shutdown::Both);
            return;
        }
        if !say(&mut socket, &usual(era, &message)) {
            return;
        }
    }
}

/// An HTTP request, as far as these servers look at it.
pub(super) struct Request {
    pub(super) verb: String,
    pub(super) target: String,
    pub(super) body: String,
}

pub(super) fn request(reader: &mut BufReader<TcpStream>) -> Option<Request> {
    let (mut verb, mut target, mut length) = (String::new(), String::new(), 0);
    let mut line = String::new();
    loop {
        line.clear();
        if reader.read_line(&mut line).unwrap_or(0) == 0 {
            return None;
        }
        if verb.is_empty() {
            let mut words = line.split(' ').map(str::to_owned);
            (verb, target) = (words.next()?, words.next()?);
        } else if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
            length = value.trim().parse().unwrap();
        } else if line == "\r\n" {
            break;
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    Some(Request { verb, target, body: String::from_utf8(body).unwrap() })
}

fn usual(era: Era, message: &Value) -> String {
    let Some(id) = message.get("id") else { return "HTTP/1.1 202 Accepted\r\ncontent-length: 0\r\n\r\n".to_owned() };
    let tool = json!({ "name": "play", "inputSchema": { "type": "object" } });
    let list = json!({ "resultType": "complete", "ttlMs": 0, "cacheScope": "private", "tools": [tool] });
    let result = match (era, message["method"].as_str().unwrap_or_default()) {
        (Era::Legacy, "initialize") => json!({
            "protocolVersion": era.version(), "capabilities": { "tools": {} }, "serverInfo": { "name": "peer", "version": "1" },
        }),
        (Era::Modern, "server/discover") => json!({
            "resultType": "complete", "supportedVersions": [era.version()], "capabilities": { "tools": {} },
            "ttlMs": 0, "cacheScope": "private",
        }),
        (_, "tools/list") => list,
        _ => {
            let error = json!({ "code": -32601, "message": "Method not found" });
            return json_answer(&json!({ "jsonrpc": "2.0", "id": id, "error": error }).to_string());
        }
    };
    json_answer(&json!({ "jsonrpc": "2.0", "id": id, "result": result }).to_string())
}
