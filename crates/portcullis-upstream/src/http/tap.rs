//! One exchange whose answer is a stream that stands open, on a connection of its own. Such streams are many and quiet, and nobody uses
//! their connection again: between two events this holds a socket and no buffer, a tenth of what a client for many exchanges holds.
//! Written for that case alone: one request, one answer, and the end of the connection.

use std::pin::{Pin, pin};
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes, BytesMut};
use http::header::{CONTENT_LENGTH, HeaderMap, HeaderName, HeaderValue, TRANSFER_ENCODING};
use http::{Request, Response, StatusCode};
use http_body::{Body, Frame};
use httparse::Status;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, ReadBuf};

use super::line::{HEAD_BYTES, LineError};

/// Read at once; a larger event comes in pieces. 4 KiB: these are notifications.
const READ: usize = 4096;
/// Header fields of an answer. As many as hyper takes.
const FIELDS: usize = 100;
/// Bytes of the line before a chunk: 16 digits, and room for extensions that nobody sends.
const SIZE_LINE: usize = 256;

/// How the body ends (RFC 9112 §6.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Framing {
    /// With the connection.
    Close,
    /// After so many bytes.
    Length(u64),
    /// A chunk's size comes next.
    Size,
    /// In a chunk with so many bytes left.
    Chunk(u64),
    /// The line end behind a chunk comes next.
    ChunkEnd,
    Over,
}

/// The body of the answer. Dropping it closes the connection.
pub(super) struct Tap<S> {
    socket: S,
    /// Read and not yet given; without room of its own while it is empty.
    buffer: BytesMut,
    framing: Framing,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Tap<S> {
    /// Sends, and waits for the head of the answer. `request` is in origin form and has its `Host`.
    pub(super) async fn open(mut socket: S, request: &Request<Bytes>) -> Result<Response<Self>, LineError> {
        socket.write_all(&written(request)).await.map_err(LineError::Broken)?;
        socket.flush().await.map_err(LineError::Broken)?;
        let mut tap = Self { socket, buffer: BytesMut::new(), framing: Framing::Close };
        let response = tap.head().await?;
        tap.framing = framing(response.status(), response.headers())?;
        Ok(response.map(|()| tap))
    }

    async fn head(&mut self) -> Result<Response<()>, LineError> {
        loop {
            match head(&self.buffer)? {
                Some((length, response)) => {
                    self.buffer.advance(length);
                    // 1xx, of which we asked for none: the answer follows.
                    if !response.status().is_informational() {
                        return Ok(response);
                    }
                }
                None if self.buffer.len() >= HEAD_BYTES => return Err(LineError::NotHttp("the head is too long")),
                None => {
                    if std::future::poll_fn(|cx| self.poll_more(cx)).await? == 0 {
                        return Err(LineError::Ended);
                    }
                }
            }
        }
    }

    /// Reads what is there; 0 at the end of the connection.
    fn poll_more(&mut self, cx: &mut Context<'_>) -> Poll<Result<usize, LineError>> {
        let mut room = [0; READ];
        let mut read = ReadBuf::new(&mut room);
        ready!(pin!(&mut self.socket).poll_read(cx, &mut read)).map_err(LineError::Broken)?;
        self.buffer.extend_from_slice(read.filled());
        Poll::Ready(Ok(read.filled().len()))
    }

    /// The next bytes of the body that are there already.
    fn next_piece(&mut self) -> Result<Option<Bytes>, LineError> {
        loop {
            let (left, then): (u64, fn(u64) -> Framing) = match self.framing {
                Framing::Over => return Ok(None),
                Framing::Close => (u64::MAX, |_| Framing::Close),
                Framing::Length(left) => (left, |left| if left == 0 { Framing::Over } else { Framing::Length(left) }),
                Framing::Chunk(left) => (left, |left| if left == 0 { Framing::ChunkEnd } else { Framing::Chunk(left) }),
                Framing::ChunkEnd => match self.buffer.get(..2) {
                    None => return Ok(None),
                    Some(b"\r\n") => {
                        self.buffer.advance(2);
                        self.framing = Framing::Size;
                        continue;
                    }
                    Some(_) => return Err(LineError::NotHttp("a chunk is longer than its size")),
                },
                Framing::Size => {
                    let Some(size) = self.chunk_size()? else { return Ok(None) };
                    // What may follow the last chunk is about a message that is over.
                    self.framing = if size == 0 { Framing::Over } else { Framing::Chunk(size) };
                    continue;
                }
            };
            if self.buffer.is_empty() {
                return Ok(None);
            }
            let length = usize::try_from(left).unwrap_or(usize::MAX).min(self.buffer.len());
            let piece = self.buffer.split_to(length).freeze();
            self.framing = then(left.saturating_sub(length as u64));
            return Ok(Some(piece));
        }
    }

    fn chunk_size(&mut self) -> Result<Option<u64>, LineError> {
        match httparse::parse_chunk_size(&self.buffer) {
            Ok(Status::Complete((length, size))) => {
                self.buffer.advance(length);
                Ok(Some(size))
            }
            Ok(Status::Partial) if self.buffer.len() < SIZE_LINE => Ok(None),
            Ok(Status::Partial) | Err(_) => Err(LineError::NotHttp("a chunk without a size")),
        }
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Body for Tap<S> {
    type Data = Bytes;
    type Error = LineError;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, LineError>>> {
        let this = self.get_mut();
        loop {
            match this.next_piece() {
                Ok(Some(piece)) => return Poll::Ready(Some(Ok(Frame::data(piece)))),
                Ok(None) if this.framing == Framing::Over => return Poll::Ready(None),
                Ok(None) => {}
                Err(error) => return Poll::Ready(Some(Err(error))),
            }
            if this.buffer.is_empty() {
                // What was given shares its memory; it is not kept for what may come in an hour.
                this.buffer = BytesMut::new();
            }
            match ready!(this.poll_more(cx)) {
                Ok(0) if this.framing == Framing::Close => this.framing = Framing::Over,
                Ok(0) => return Poll::Ready(Some(Err(LineError::Ended))),
                Ok(_) => {}
                Err(error) => return Poll::Ready(Some(Err(error))),
            }
        }
    }
}

/// The request as bytes. Names and values were checked when they were made: none holds a line end.
fn written(request: &Request<Bytes>) -> Vec<u8> {
    let (target, body) = (request.uri().to_string(), request.body());
    let mut bytes = Vec::with_capacity(READ);
    for part in [request.method().as_str(), " ", &target, " HTTP/1.1\r\n"] {
        bytes.extend_from_slice(part.as_bytes());
    }
    let mut field = |name: &str, value: &[u8]| {
        for part in [name.as_bytes(), b": ", value, b"\r\n"] {
            bytes.extend_from_slice(part);
        }
    };
    for (name, value) in request.headers() {
        field(name.as_str(), value.as_bytes());
    }
    if !body.is_empty() {
        field(CONTENT_LENGTH.as_str(), body.len().to_string().as_bytes());
    }
    bytes.extend_from_slice(b"\r\n");
    bytes.extend_from_slice(body);
    bytes
}

/// A whole head, its length and what it says; copies, so that it keeps no buffer.
fn head(bytes: &[u8]) -> Result<Option<(usize, Response<()>)>, LineError> {
    let mut fields = [httparse::EMPTY_HEADER; FIELDS];
    let mut head = httparse::Response::new(&mut fields);
    let bad = |_| LineError::NotHttp("not the head of an HTTP answer");
    let Status::Complete(length) = head.parse(bytes).map_err(bad)? else { return Ok(None) };
    let mut response = Response::new(());
    *response.status_mut() =
        head.code.and_then(|code| StatusCode::from_u16(code).ok()).ok_or(LineError::NotHttp("no status"))?;
    for field in head.headers.iter() {
        let name = HeaderName::from_bytes(field.name.as_bytes());
        let (Ok(name), Ok(value)) = (name, HeaderValue::from_bytes(field.value)) else {
            return Err(LineError::NotHttp("a header field that is none"));
        };
        response.headers_mut().append(name, value);
    }
    Ok(Some((length, response)))
}

/// What could be read in two ways is not read.
fn framing(status: StatusCode, headers: &HeaderMap) -> Result<Framing, LineError> {
    let mut codings = headers.get_all(TRANSFER_ENCODING).iter();
    let mut lengths = headers.get_all(CONTENT_LENGTH).iter();
    match (codings.next(), lengths.next()) {
        _ if matches!(status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED) => Ok(Framing::Over),
        (None, None) => Ok(Framing::Close),
        (Some(coding), None) if codings.next().is_none() && coding.as_bytes().eq_ignore_ascii_case(b"chunked") => {
            Ok(Framing::Size)
        }
        (None, Some(length)) if lengths.all(|other| other == length) => {
            let digits = length.to_str().ok().filter(|text| text.bytes().all(|byte| byte.is_ascii_digit()));
            match digits.and_then(|digits| digits.parse().ok()) {
                Some(0) => Ok(Framing::Over),
                Some(length) => Ok(Framing::Length(length)),
                None => Err(LineError::NotHttp("a length that is none")),
            }
        }
        _ => Err(LineError::NotHttp("a body whose end is not clear")),
    }
}

#[cfg(test)]
mod tests;
