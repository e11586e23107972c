//! Puts the reference server behind transports that it does not speak itself: a Unix socket before its port, and a child of it for each WebSocket
//! and for each stream of HTTP+SSE. A bridge carries bytes and frames; it reads no message.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::thread;

use futures_util::{SinkExt, StreamExt};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt};
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::handshake::server::{Request, Response};

use super::peer;

/// A running bridge. Its threads end with the process; its children with their connections.
#[derive(Default)]
pub(crate) struct Bridge {
    alive: Arc<Mutex<BTreeSet<u32>>>,
}

/// How a child of the reference server is started.
#[derive(Clone)]
struct Server {
    program: String,
    era: String,
    alive: Arc<Mutex<BTreeSet<u32>>>,
}

impl Bridge {
    /// Servers that run for a connection now.
    pub(crate) fn children(&self) -> Vec<u32> {
        self.alive.lock().unwrap().iter().copied().collect()
    }

    fn server(&self, program: &str, era: &str) -> Server {
        Server { program: program.to_owned(), era: era.to_owned(), alive: Arc::clone(&self.alive) }
    }

    /// Every connection to the socket goes to `server`.
    pub(crate) fn unix_socket(path: &Path, server: SocketAddr) -> Self {
        let listener = UnixListener::bind(path).unwrap();
        thread::spawn(move || {
            for ours in listener.incoming().map_while(Result::ok) {
                let theirs = TcpStream::connect(server).unwrap();
                let (back, forth) = ((theirs.try_clone().unwrap(), ours.try_clone().unwrap()), (ours, theirs));
                thread::spawn(move || {
                    let (mut from, mut to): (UnixStream, TcpStream) = forth;
                    let _ = std::io::copy(&mut from, &mut to);
                    let _ = to.shutdown(std::net::Shutdown::Write);
                });
                thread::spawn(move || {
                    let (mut from, mut to): (TcpStream, UnixStream) = back;
                    let _ = std::io::copy(&mut from, &mut to);
                    let _ = to.shutdown(std::net::Shutdown::Both);
                });
            }
        });
        Self::default()
    }

    /// A text frame for each line of a child, and a line for each text frame.
    pub(crate) fn websocket(program: &str, era: &str) -> (Self, SocketAddr) {
        let bridge = Self::default();
        let server = bridge.server(program, era);
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        listener.set_nonblocking(true).unwrap();
        thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async move {
                let listener = tokio::net::TcpListener::from_std(listener).unwrap();
                while let Ok((socket, _)) = listener.accept().await {
                    tokio::spawn(frames(socket, server.clone()));
                }
            });
        });
        (bridge, address)
    }

    /// The transport of 2024-11-05: a child for each stream, and posts that say which.
    pub(crate) fn http_sse(program: &str, era: &str) -> (Self, SocketAddr) {
        let bridge = Self::default();
        let server = bridge.server(program, era);
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let inputs: Inputs = Arc::default();
        thread::spawn(move || {
            for socket in listener.incoming().map_while(Result::ok) {
                let (server, inputs) = (server.clone(), Arc::clone(&inputs));
                thread::spawn(move || events(socket, &server, &inputs));
            }
        });
        (bridge, address)
    }
}

impl Server {
    fn command(&self) -> Command {
        let mut command = Command::new(&self.program);
        command.args(["stdio", "--era", &self.era]);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        command
    }

    fn ended(&self, pid: u32) {
        self.alive.lock().unwrap().remove(&pid);
    }
}

#[expect(clippy::result_large_err, reason = "the library's own callback")]
async fn frames(socket: tokio::net::TcpStream, server: Server) {
    let choose = |_: &Request, mut response: Response| {
        response.headers_mut().insert("sec-websocket-protocol", "mcp".parse().unwrap());
        Ok(response)
    };
    let Ok(socket) = tokio_tungstenite::accept_hdr_async(socket, choose).await else { return };
    let mut child = tokio::process::Command::from(server.command()).kill_on_drop(true).spawn().unwrap();
    let pid = child.id().unwrap();
    server.alive.lock().unwrap().insert(pid);
    let (mut input, output) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
    let (mut sink, mut stream) = socket.split();
    let hears = async {
        while let Some(Ok(frame)) = stream.next().await {
            let Message::Text(text) = frame else { continue };
            let line = text.replace(['\r', '\n'], " ") + "\n";
            if input.write_all(line.as_bytes()).await.is_err() {
                return;
            }
        }
    };
    let says = async {
        let mut lines = tokio::io::BufReader::new(output).lines();
        while let Ok(Some(line)) = lines.next_line().await {
            if sink.send(Message::text(line)).await.is_err() {
                return;
            }
        }
    };
    tokio::select! {
        () = hears => {}
        () = says => {}
    }
    let _ = child.kill().await;
    server.ended(pid);
}

/// What each session's child reads.
type Inputs = Arc<Mutex<BTreeMap<String, Arc<Mutex<ChildStdin>>>>>;

fn events(mut socket: TcpStream, server: &Server, inputs: &Inputs) {
    let mut reader = BufReader::new(socket.try_clone().unwrap());
    while let Some(peer::Request { verb, target, body }) = peer::request(&mut reader) {
        if verb == "GET" {
            return stream(socket, server, inputs);
        }
        let session = target.rsplit_once('=').map(|(_, session)| session.to_owned()).unwrap_or_default();
        let input = inputs.lock().unwrap().get(&session).map(Arc::clone);
        let taken = input.is_some_and(|input| {
            let line = body.replace(['\r', '\n'], " ") + "\n";
            input.lock().unwrap().write_all(line.as_bytes()).is_ok()
        });
        let status = if taken { "202 Accepted" } else { "404 Not Found" };
        if !peer::say(&mut socket, &format!("HTTP/1.1 {status}\r\ncontent-length: 0\r\n\r\n")) {
            return;
        }
    }
}

fn stream(mut socket: TcpStream, server: &Server, inputs: &Inputs) {
    let mut child = server.command().spawn().unwrap();
    let pid = child.id();
    server.alive.lock().unwrap().insert(pid);
    let session = pid.to_string();
    inputs.lock().unwrap().insert(session.clone(), Arc::new(Mutex::new(child.stdin.take().unwrap())));
    let output = child.stdout.take().unwrap();
    let child = Arc::new(Mutex::new(child));
    let (watched, mut client) = (Arc::clone(&child), socket.try_clone().unwrap());
    thread::spawn(move || {
        // Nothing more comes from a client but its end.
        let _ = client.read(&mut [0]);
        let _ = watched.lock().unwrap().kill();
    });
    let hello = format!("{}event: endpoint\ndata: /messages?session={session}\n\n", peer::STREAM);
    let mut open = peer::say(&mut socket, &hello);
    for line in BufReader::new(output).lines().map_while(Result::ok) {
        open = open && peer::say(&mut socket, &format!("event: message\ndata: {line}\n\n"));
    }
    let _ = socket.shutdown(std::net::Shutdown::Both);
    inputs.lock().unwrap().remove(&session);
    end(&child);
    server.ended(pid);
}

fn end(child: &Mutex<Child>) {
    let mut child = child.lock().unwrap();
    let _ = child.kill();
    let _ = child.wait();
}
