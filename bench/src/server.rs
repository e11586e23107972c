//! The fast server: both eras on one path, answers made in advance, one thread. It must never be what is measured, so it does no more
//! for a call than read it, find three words in it and write an answer.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpListener;

use crate::answers::{Answer, Answers, STREAMED, progress};
use crate::traffic::EVENTS;
use crate::wire::{First, Head, Wire};

/// Between two events of a paced stream.
const PACE: Duration = Duration::from_millis(1);

const STREAM_HEAD: &[u8] =
    b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nCache-Control: no-cache\r\nTransfer-Encoding: chunked\r\n\r\n";
const ACCEPTED: &[u8] = b"HTTP/1.1 202 Accepted\r\nContent-Length: 0\r\n\r\n";
const EMPTY: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";

/// Serves until the process ends.
///
/// # Errors
/// When connections can no longer be accepted.
pub async fn serve(listener: TcpListener, answers: Answers) -> io::Result<()> {
    let answers = Arc::new(answers);
    let mut sessions = 0_u64;
    loop {
        let (socket, _) = listener.accept().await?;
        // Sessions of different connections must differ; within one, requests count on.
        sessions += 1 << 32;
        let mut connection = Connection { wire: Wire::new(socket)?, sessions, body: Vec::new(), out: Vec::new() };
        let answers = Arc::clone(&answers);
        drop(tokio::spawn(async move {
            // A connection that breaks is the other side's business; it will say so.
            let _broken = connection.serve(&answers).await;
        }));
    }
}

struct Connection {
    wire: Wire,
    sessions: u64,
    body: Vec<u8>,
    out: Vec<u8>,
}

impl Connection {
    async fn serve(&mut self, answers: &Answers) -> io::Result<()> {
        while let Some(mut head) = self.wire.head().await? {
            self.body.clear();
            self.wire.rest(&mut head.body, &mut self.body).await?;
            match head.first {
                First::Post => self.post(&head, answers).await?,
                First::Delete => self.wire.write(EMPTY).await?,
                First::Get | First::Status(_) => return self.stand(b": open\n\n").await,
            }
        }
        Ok(())
    }

    async fn post(&mut self, head: &Head, answers: &Answers) -> io::Result<()> {
        let asked = answers.asked(&self.body);
        let id = asked.id.unwrap_or(b"null");
        self.out.clear();
        match answers.to(&asked) {
            Answer::Accepted => self.out.extend_from_slice(ACCEPTED),
            Answer::Result(result) => whole(&mut self.out, "", id, head.modern, result),
            Answer::Hello(result) => {
                self.sessions += 1;
                whole(&mut self.out, &format!("Mcp-Session-Id: {:032x}\r\n", self.sessions), id, head.modern, result);
            }
            Answer::Unknown => {
                let id = String::from_utf8_lossy(id);
                let body = format!(r#"{{"jsonrpc":"2.0","id":{id},"error":{{"code":-32601,"message":"not here"}}}}"#);
                let head = format!(
                    "HTTP/1.1 404 Not Found\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
                    body.len()
                );
                self.out.extend_from_slice(head.as_bytes());
            }
            Answer::Stream(paced) => {
                let id = id.to_vec();
                return self.stream(&id, head.modern, paced).await;
            }
            Answer::Standing => {
                let id = String::from_utf8_lossy(id);
                let first = format!(
                    "event: message\ndata: {{\"jsonrpc\":\"2.0\",\"method\":\"notifications/subscriptions/acknowledged\",\"params\":{{\"_meta\":{{\"io.modelcontextprotocol/subscriptionId\":{id}}},\"notifications\":{{\"toolsListChanged\":true}}}}}}\n\n"
                );
                return self.stand(first.as_bytes()).await;
            }
        }
        self.wire.write(&self.out).await
    }

    async fn stream(&mut self, id: &[u8], modern: bool, paced: bool) -> io::Result<()> {
        // An interval and no sleep: a late event does not make all later ones late.
        let mut pace = tokio::time::interval(PACE);
        self.out.extend_from_slice(STREAM_HEAD);
        for step in 1..=EVENTS {
            if paced {
                pace.tick().await;
            }
            chunk(&mut self.out, &progress(id, step));
            if step == 1 || paced {
                self.wire.write(&self.out).await?;
                self.out.clear();
            }
        }
        let mut last = b"event: message\ndata: ".to_vec();
        response(&mut last, id, modern, STREAMED);
        last.extend_from_slice(b"\n\n");
        chunk(&mut self.out, &last);
        self.out.extend_from_slice(b"0\r\n\r\n");
        self.wire.write(&self.out).await
    }

    /// Begins a stream and keeps it open until the other side goes.
    async fn stand(&mut self, first: &[u8]) -> io::Result<()> {
        self.out.clear();
        self.out.extend_from_slice(STREAM_HEAD);
        chunk(&mut self.out, first);
        self.wire.write(&self.out).await?;
        // Idle streams are counted by the thousand: they keep no more than they need.
        self.out = Vec::new();
        self.wire.closed().await;
        Ok(())
    }
}

/// A JSON-RPC response; `result` without its braces.
fn response(out: &mut Vec<u8>, id: &[u8], modern: bool, result: &[u8]) {
    out.extend_from_slice(br#"{"jsonrpc":"2.0","id":"#);
    out.extend_from_slice(id);
    out.extend_from_slice(br#","result":{"#);
    if modern {
        out.extend_from_slice(br#""resultType":"complete""#);
        if !result.is_empty() {
            out.push(b',');
        }
    }
    out.extend_from_slice(result);
    out.extend_from_slice(b"}}");
}

/// A whole answer: head, then body. `more` is further header lines.
fn whole(out: &mut Vec<u8>, more: &str, id: &[u8], modern: bool, result: &[u8]) {
    let mut empty = Vec::with_capacity(128);
    response(&mut empty, id, modern, if result.is_empty() { b"" } else { b"." });
    // One byte stood for the result.
    let length = empty.len() + result.len().saturating_sub(1);
    out.extend_from_slice(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n");
    out.extend_from_slice(more.as_bytes());
    out.extend_from_slice(format!("Content-Length: {length}\r\n\r\n").as_bytes());
    response(out, id, modern, result);
}

fn chunk(out: &mut Vec<u8>, text: &[u8]) {
    out.extend_from_slice(format!("{:x}\r\n", text.len()).as_bytes());
    out.extend_from_slice(text);
    out.extend_from_slice(b"\r\n");
}

#[cfg(test)]
mod tests {
    use super::whole;

    #[test]
    fn the_length_of_an_answer_is_right_in_both_eras() {
        for (modern, result) in [(true, &b"\"a\":1"[..]), (false, b"\"a\":1"), (true, b""), (false, b"")] {
            let mut out = Vec::new();
            whole(&mut out, "", b"12", modern, result);
            let text = String::from_utf8(out).unwrap();
            let (head, body) = text.split_once("\r\n\r\n").unwrap();
            assert!(head.ends_with(&format!("Content-Length: {}", body.len())), "{text}");
            assert!(serde_json::from_str::<serde_json::Value>(body).is_ok(), "{body}");
        }
    }
}
