//! Our own standard input and output: one JSON-RPC message a line, for the program that started us (ST26). Nothing else is ever written there.

use std::io;
use std::net::{IpAddr, Ipv4Addr};
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use memchr::memchr;
use portcullis_core::caller::{Caller, Proof};
use portcullis_core::proofs::Proofs;
use portcullis_core::wire::Malformed;
use tokio::io::{AsyncBufRead, AsyncBufReadExt, AsyncRead, AsyncWrite, AsyncWriteExt, BufReader};
use tokio_util::sync::CancellationToken;

use crate::desk::Parcel;
use crate::gateway::Gateway;
use crate::identify::{Accounts, Identified, Known};
use crate::line::{Came, Line, Outlet};
use crate::listener;

/// How long the last answers may take to be written to a parent that has stopped reading.
const LAST_WRITE: Duration = Duration::from_secs(2);

impl Gateway {
    /// Serves the program at the other end of `input` and `output`, known as `local:USER`, until it closes `input` or `shutdown` fires: open calls
    /// finish or, after the drain time, are answered with an error. Returns when all that is done.
    pub async fn serve_stdio(
        self: &Arc<Self>,
        user: &str,
        input: impl AsyncRead + Unpin + Send,
        output: impl AsyncWrite + Unpin + Send,
        shutdown: CancellationToken,
    ) {
        let caller = Arc::new(Caller::new(format!("local:{user}"), Proof::Stdio, Vec::new()));
        let known = Accounts::default().known(caller, &[]);
        // There is no network between us.
        let came = Came { client: IpAddr::V4(Ipv4Addr::LOCALHOST), proxy: None };
        // The parent has no other way back.
        let Some(endpoint) = self.endpoints.iter().next() else { return };
        let line = Line::new(self, endpoint, came, false);
        let finish = CancellationToken::new();
        let mut writing = pin!(write(Arc::clone(&line), output, finish.clone()));
        let gone = {
            let reading = pin!(read(self, &line, &known, input));
            tokio::select! {
                () = reading => false,
                () = shutdown.cancelled() => false,
                _broken = &mut writing => true,
            }
        };
        let finished = async {
            if gone {
                return;
            }
            let answered = async {
                line.answered_all().await;
                finish.cancel();
            };
            let written = async { drop(writing.await) };
            tokio::join!(answered, written);
        };
        listener::drain(self, finished).await;
        line.hang_up();
    }
}

/// What the configuration says of callers is about those who come by network; this one is known by having started us.
fn identified(gateway: &Gateway, known: &Arc<Known>) -> Arc<Identified> {
    let (known, directory) = (Arc::clone(known), gateway.directory.load_full());
    Arc::new(Identified { known, proofs: Arc::new(Proofs::default()), until: None, nonce: None, directory })
}

/// Until the parent closes its end.
async fn read(gateway: &Gateway, line: &Arc<Line>, known: &Arc<Known>, input: impl AsyncRead + Unpin) {
    let mut input = BufReader::with_capacity(64 << 10, input);
    let limit = gateway.settings.limits.message_bytes;
    while let Ok(Some(read)) = next_line(&mut input, limit).await {
        let identified = identified(gateway, known);
        match read {
            Ok(text) if text.trim_ascii().is_empty() => {}
            Ok(text) => line.receive(&identified, text).await,
            Err(bytes) => line.unreadable(&identified, Malformed::TooLarge { limit }, bytes).await,
        }
    }
}

/// One line without its end, or the size of one that is too long; that is read over and not kept. `None` at the end of the input: a line
/// that nobody ended is none.
async fn next_line(input: &mut (impl AsyncBufRead + Unpin), limit: usize) -> io::Result<Option<Result<Bytes, usize>>> {
    let (mut line, mut length) = (BytesMut::new(), 0usize);
    loop {
        let there = input.fill_buf().await?;
        if there.is_empty() {
            return Ok(None);
        }
        let end = memchr(b'\n', there);
        let part = there.get(..end.unwrap_or(there.len())).unwrap_or_default();
        length = length.saturating_add(part.len());
        if length <= limit {
            line.extend_from_slice(part);
        }
        let read = part.len() + usize::from(end.is_some());
        input.consume(read);
        if end.is_some() {
            return Ok(Some(if length <= limit { Ok(line.freeze()) } else { Err(length) }));
        }
    }
}

/// Writes until told that nothing more comes, or until nobody reads.
async fn write(line: Arc<Line>, mut output: impl AsyncWrite + Unpin, finish: CancellationToken) -> io::Result<()> {
    let mut outlet = Outlet::of(&line).await;
    loop {
        tokio::select! {
            biased;
            () = finish.cancelled() => break,
            parcel = outlet.next() => put(&mut output, &parcel).await?,
        }
        outlet.sent();
    }
    let last = async {
        while let Some(parcel) = outlet.next_now() {
            put(&mut output, &parcel).await?;
            outlet.sent();
        }
        output.shutdown().await
    };
    tokio::time::timeout(LAST_WRITE, last).await.unwrap_or(Ok(()))
}

async fn put(output: &mut (impl AsyncWrite + Unpin), parcel: &Parcel) -> io::Result<()> {
    let text = parcel.text();
    // JSON may hold line breaks between its tokens, and nowhere else.
    let flat = text.iter().map(|byte| if matches!(byte, b'\n' | b'\r') { b' ' } else { *byte });
    let flat: Vec<u8> = flat.chain([b'\n']).collect();
    output.write_all(&flat).await?;
    output.flush().await
}

#[cfg(test)]
mod tests;
