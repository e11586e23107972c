//! HTTP/1.1 over one connection, as far as load and server need it: heads of requests and answers, bodies by length, in chunks or
//! to the end of the connection. Trusts its peer more than a product may: it is only ever pointed at programs on this machine.

use std::io;

use bytes::{Buf, BytesMut};
use memchr::memmem;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// Bytes of a head. More is a mistake of the peer.
const MOST_HEAD: usize = 64 * 1024;
/// Room for one read: a whole small message, and few reads for a large one.
const READ: usize = 64 * 1024;

/// A connection and what was read of it and not yet used.
#[derive(Debug)]
pub struct Wire {
    socket: TcpStream,
    input: BytesMut,
}

/// What a head says. `first` is the method of a request or the status of an answer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Head {
    pub first: First,
    pub body: Body,
    /// `Mcp-Session-Id`.
    pub session: Option<String>,
    /// `MCP-Protocol-Version` names the modern era.
    pub modern: bool,
}

/// The first line as far as it matters.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum First {
    #[default]
    Post,
    Get,
    Delete,
    Status(u16),
}

/// How much of a body is still to come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Body {
    #[default]
    Done,
    Length(usize),
    /// Before the size line of a chunk.
    Size,
    /// Inside a chunk; its line end is not counted.
    Chunk(usize),
    /// Before the line end that closes a chunk.
    ChunkEnd,
    /// After the last chunk: lines up to an empty one.
    Trailer,
    /// Until the connection ends.
    Close,
}

impl Wire {
    /// Connects, without delay for small writes.
    ///
    /// # Errors
    /// Those of the socket.
    pub async fn open(address: std::net::SocketAddr) -> io::Result<Self> {
        Self::new(TcpStream::connect(address).await?)
    }

    /// Takes over a connection.
    ///
    /// # Errors
    /// Those of the socket.
    pub fn new(socket: TcpStream) -> io::Result<Self> {
        socket.set_nodelay(true)?;
        Ok(Self { socket, input: BytesMut::with_capacity(READ) })
    }

    /// Writes all of it.
    ///
    /// # Errors
    /// Those of the socket.
    pub async fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.socket.write_all(bytes).await
    }

    /// The next head; `None` when the peer closed the connection between messages.
    ///
    /// # Errors
    /// Those of the socket, and a head that is none.
    pub async fn head(&mut self) -> io::Result<Option<Head>> {
        loop {
            if let Some(end) = memmem::find(&self.input, b"\r\n\r\n") {
                let head = self.input.get(..end).map(read_head).unwrap_or_default();
                self.input.advance(end + 4);
                return head.map(Some).ok_or_else(|| invalid("not a head"));
            }
            if self.input.len() > MOST_HEAD {
                return Err(invalid("the head has no end"));
            }
            if !self.more().await? {
                return if self.input.is_empty() { Ok(None) } else { Err(invalid("the head is cut")) };
            }
        }
    }

    /// Appends the next piece of a body; false when there is none left.
    ///
    /// # Errors
    /// Those of the socket, and a body that is cut or badly framed.
    pub async fn piece(&mut self, body: &mut Body, into: &mut Vec<u8>) -> io::Result<bool> {
        loop {
            let before = into.len();
            decode(body, &mut self.input, into)?;
            if *body == Body::Done {
                return Ok(into.len() > before);
            }
            if into.len() > before {
                return Ok(true);
            }
            if !self.more().await? {
                let ended = *body == Body::Close;
                *body = Body::Done;
                return if ended { Ok(false) } else { Err(invalid("the body is cut")) };
            }
        }
    }

    /// Appends all that is left of a body.
    ///
    /// # Errors
    /// As [`Self::piece`].
    pub async fn rest(&mut self, body: &mut Body, into: &mut Vec<u8>) -> io::Result<()> {
        while self.piece(body, into).await? {}
        Ok(())
    }

    /// Waits until the peer closes; what it says meanwhile is dropped.
    pub async fn closed(&mut self) {
        while self.more().await.unwrap_or(false) {
            self.input.clear();
        }
    }

    async fn more(&mut self) -> io::Result<bool> {
        self.input.reserve(READ / 4);
        Ok(self.socket.read_buf(&mut self.input).await? > 0)
    }
}

fn invalid(what: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}

/// Reads a head without the empty line at its end.
fn read_head(text: &[u8]) -> Option<Head> {
    let mut lines = text.split(|byte| *byte == b'\n').map(|line| line.strip_suffix(b"\r").unwrap_or(line));
    let first = match lines.next()? {
        line if line.starts_with(b"POST ") => First::Post,
        line if line.starts_with(b"GET ") => First::Get,
        line if line.starts_with(b"DELETE ") => First::Delete,
        line => First::Status(number(line.strip_prefix(b"HTTP/1.1 ")?.get(..3)?, 10)?.try_into().ok()?),
    };
    let mut head = Head { first, ..Head::default() };
    let mut length = None;
    let mut chunked = false;
    for line in lines {
        let colon = memchr::memchr(b':', line)?;
        let (name, value) = (line.get(..colon)?, line.get(colon + 1..)?.trim_ascii());
        if name.eq_ignore_ascii_case(b"content-length") {
            length = Some(number(value, 10)?);
        } else if name.eq_ignore_ascii_case(b"transfer-encoding") {
            chunked = value.eq_ignore_ascii_case(b"chunked");
        } else if name.eq_ignore_ascii_case(b"mcp-session-id") {
            head.session = std::str::from_utf8(value).ok().map(str::to_owned);
        } else if name.eq_ignore_ascii_case(b"mcp-protocol-version") {
            head.modern = value == b"2026-07-28";
        }
    }
    head.body = match (chunked, length) {
        (true, _) => Body::Size,
        (false, Some(0)) => Body::Done,
        (false, Some(length)) => Body::Length(length),
        (false, None) if matches!(first, First::Status(200)) => Body::Close,
        (false, None) => Body::Done,
    };
    Some(head)
}

/// Moves what there is of a body from `input` to `into`.
fn decode(body: &mut Body, input: &mut BytesMut, into: &mut Vec<u8>) -> io::Result<()> {
    loop {
        match *body {
            Body::Done => return Ok(()),
            Body::Close => {
                into.extend_from_slice(input);
                input.clear();
                return Ok(());
            }
            Body::Length(left) | Body::Chunk(left) => {
                let taken = left.min(input.len());
                into.extend_from_slice(input.get(..taken).unwrap_or_default());
                input.advance(taken);
                let left = left - taken;
                *body = match *body {
                    Body::Length(_) if left == 0 => Body::Done,
                    Body::Length(_) => Body::Length(left),
                    _ if left == 0 => Body::ChunkEnd,
                    _ => Body::Chunk(left),
                };
                if left > 0 {
                    return Ok(());
                }
            }
            Body::Size | Body::ChunkEnd | Body::Trailer => {
                let Some(end) = memchr::memchr(b'\n', input) else { return Ok(()) };
                let line = input.get(..end).unwrap_or_default().trim_ascii();
                *body = match *body {
                    Body::Size => match number(line, 16).ok_or_else(|| invalid("not a chunk size"))? {
                        0 => Body::Trailer,
                        size => Body::Chunk(size),
                    },
                    Body::Trailer if line.is_empty() => Body::Done,
                    Body::Trailer => Body::Trailer,
                    _ if line.is_empty() => Body::Size,
                    _ => return Err(invalid("a chunk is longer than it says")),
                };
                input.advance(end + 1);
            }
        }
    }
}

fn number(text: &[u8], radix: u32) -> Option<usize> {
    usize::from_str_radix(std::str::from_utf8(text).ok()?, radix).ok()
}

#[cfg(test)]
mod tests {
    use bytes::BytesMut;

    use super::{Body, First, Head, decode, read_head};

    #[test]
    fn heads_of_requests_and_answers_are_read() {
        let head = read_head(b"POST /mcp HTTP/1.1\r\nContent-Length: 12\r\nmcp-protocol-version: 2026-07-28").unwrap();
        assert_eq!(head, Head { first: First::Post, body: Body::Length(12), session: None, modern: true });
        let head = read_head(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nMcp-Session-Id: abc").unwrap();
        assert_eq!((head.first, head.body), (First::Status(200), Body::Size));
        assert_eq!(head.session.as_deref(), Some("abc"));
        assert_eq!(read_head(b"HTTP/1.1 202 Accepted\r\ncontent-length: 0").unwrap().body, Body::Done);
        assert_eq!(read_head(b"nonsense"), None);
    }

    #[test]
    fn chunks_are_joined_wherever_the_reads_cut_them() {
        let whole = b"5\r\nhello\r\n1\r\n \r\n5\r\nworld\r\n0\r\n\r\n";
        for cut in 0..whole.len() {
            let (mut body, mut out, mut input) = (Body::Size, Vec::new(), BytesMut::new());
            for part in [&whole[..cut], &whole[cut..]] {
                input.extend_from_slice(part);
                decode(&mut body, &mut input, &mut out).unwrap();
            }
            assert_eq!((out.as_slice(), body), (b"hello world".as_slice(), Body::Done), "cut at {cut}");
        }
    }

    #[test]
    fn a_chunk_longer_than_its_size_is_refused() {
        let mut input = BytesMut::from(&b"1\r\nab\r\n"[..]);
        assert!(decode(&mut { Body::Size }, &mut input, &mut Vec::new()).is_err());
    }
}
