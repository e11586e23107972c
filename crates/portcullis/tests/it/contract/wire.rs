//! One HTTP/1.1 request on a connection of its own, and its answer while it arrives: nothing is collected, so a test sees what came
//! first. Written by hand, because a library would tidy up what these tests are about.

use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use serde_json::Value;

use super::patience;

/// An answer whose head has arrived.
pub(crate) struct Response {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(String, String)>,
    body: BufReader<Body>,
    /// Comments keep a stream open for ever; a test does not wait that long.
    deadline: Instant,
    /// Whether nothing in time is an answer, and not a failure.
    soon: bool,
}

/// One server-sent event.
#[derive(Debug, Default)]
pub(crate) struct Event {
    pub(crate) id: Option<String>,
    pub(crate) data: String,
}

/// The body without its framing.
struct Body {
    socket: BufReader<TcpStream>,
    chunked: bool,
    /// Bytes left of the body, or of the current chunk.
    left: u64,
    /// A chunk has been read, so a line end follows before the next.
    begun: bool,
}

/// Sends one request and waits for the head of its answer.
pub(crate) fn send(address: SocketAddr, method: &str, headers: &[(String, String)], body: &[u8]) -> Response {
    let mut socket = TcpStream::connect(address).unwrap();
    socket.set_read_timeout(Some(patience())).unwrap();
    let mut head =
        format!("{method} /mcp HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\ncontent-length: {}\r\n", body.len());
    for (name, value) in headers {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    head.push_str("\r\n");
    socket.write_all(head.as_bytes()).unwrap();
    socket.write_all(body).unwrap();
    receive(socket)
}

fn receive(socket: TcpStream) -> Response {
    let mut socket = BufReader::new(socket);
    let mut line = String::new();
    socket.read_line(&mut line).unwrap();
    let status = line.split(' ').nth(1).unwrap_or_else(|| panic!("not an HTTP answer: {line:?}")).parse().unwrap();
    let mut headers = Vec::new();
    loop {
        line.clear();
        socket.read_line(&mut line).unwrap();
        let Some((name, value)) = line.trim_end().split_once(':') else { break };
        headers.push((name.to_ascii_lowercase(), value.trim().to_owned()));
    }
    let named = |wanted: &str| headers.iter().find(|(name, _)| name == wanted).map(|(_, value)| value.clone());
    let chunked = named("transfer-encoding").is_some_and(|value| value == "chunked");
    let left = named("content-length").map_or(0, |length| length.parse().unwrap());
    Response {
        status,
        headers,
        body: BufReader::new(Body { socket, chunked, left, begun: false }),
        deadline: Instant::now() + patience(),
        soon: false,
    }
}

impl Response {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    pub(crate) fn is_stream(&self) -> bool {
        self.header("content-type").is_some_and(|kind| kind.starts_with("text/event-stream"))
    }

    /// All of the body.
    pub(crate) fn text(mut self) -> String {
        let mut text = String::new();
        self.body.read_to_string(&mut text).unwrap();
        text
    }

    /// The next event that carries data; `None` at the end.
    pub(crate) fn event(&mut self) -> Option<Event> {
        std::iter::from_fn(|| self.any_event()).find(|event| !event.data.is_empty())
    }

    /// The next event, also one that only brings an id. Comments are passed over.
    pub(crate) fn any_event(&mut self) -> Option<Event> {
        let mut event = Event::default();
        let mut line = String::new();
        loop {
            line.clear();
            assert!(Instant::now() < self.deadline, "no event came in time");
            match self.body.read_line(&mut line) {
                Ok(1..) => {}
                Err(error) if !self.soon && matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                    panic!("nothing came in time, and no end either")
                }
                // A stream that breaks has ended too; what was missing is for the test to miss.
                Ok(0) | Err(_) => return None,
            }
            let line = line.trim_end_matches(['\r', '\n']);
            if line.is_empty() {
                if !event.data.is_empty() || event.id.is_some() {
                    return Some(event);
                }
            } else if let Some(id) = line.strip_prefix("id:") {
                event.id = Some(id.trim_start().to_owned());
            } else if let Some(data) = line.strip_prefix("data:") {
                if !event.data.is_empty() {
                    event.data.push('\n');
                }
                event.data.push_str(data.strip_prefix(' ').unwrap_or(data));
            }
        }
    }

    /// The next JSON-RPC message, whatever the media type.
    pub(crate) fn message(&mut self) -> Option<Value> {
        self.raw_message().map(|text| serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}")))
    }

    /// The next message as it was written.
    pub(crate) fn raw_message(&mut self) -> Option<String> {
        if self.is_stream() {
            return self.event().map(|event| event.data);
        }
        let mut text = String::new();
        self.body.read_to_string(&mut text).unwrap();
        (!text.is_empty()).then_some(text)
    }

    /// The next message if it comes soon; to try again, not to decide.
    pub(crate) fn message_soon(&mut self) -> Option<Value> {
        self.soon = true;
        self.socket().set_read_timeout(Some(patience().min(Duration::from_secs(2)))).unwrap();
        self.message()
    }

    /// The connection itself.
    pub(crate) fn socket(&self) -> TcpStream {
        self.body.get_ref().socket.get_ref().try_clone().unwrap()
    }

    /// Hangs up.
    pub(crate) fn hang_up(self) {
        // Closing is what matters; the peer may have been faster.
        let _ = self.body.into_inner().socket.into_inner().shutdown(Shutdown::Both);
    }
}

impl Read for Body {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        if self.left == 0 && self.chunked {
            self.left = self.next_chunk()?;
            self.chunked = self.left > 0;
        }
        let most = usize::try_from(self.left).unwrap_or(usize::MAX).min(buffer.len());
        let read = self.socket.read(&mut buffer[..most])?;
        self.left -= read as u64;
        Ok(read)
    }
}

impl Body {
    fn next_chunk(&mut self) -> std::io::Result<u64> {
        let mut line = String::new();
        if std::mem::replace(&mut self.begun, true) {
            self.socket.read_line(&mut line)?;
            line.clear();
        }
        self.socket.read_line(&mut line)?;
        if line.is_empty() {
            return Ok(0);
        }
        u64::from_str_radix(line.trim(), 16).map_err(std::io::Error::other)
    }
}
