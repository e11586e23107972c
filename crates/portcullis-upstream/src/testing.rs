//! For tests only: cleared calls made by a gate that permits everything, and a server whose every byte is scripted.

use std::sync::{Arc, Mutex};

use bytes::Bytes;
use futures_util::StreamExt;
use futures_util::future::BoxFuture;
use portcullis_core::call::{Call, Context, Session, SessionKey, Subject};
use portcullis_core::caller::Caller;
use portcullis_core::catalogue::Catalogue;
use portcullis_core::clock::Timestamp;
use portcullis_core::gate::{Cleared, Gate, Verdict};
use portcullis_core::guard::{About, Decision, Guard, Phase};
use portcullis_core::proofs::Proofs;
use portcullis_core::refusal::Fault;
use portcullis_core::trace::TraceContext;
use portcullis_core::upstream::{Arrived, Pending, Reply, Upstream};
use portcullis_core::version::{Era, Version};
use portcullis_core::wire::{Direction, Limits, Message};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

pub(crate) mod scripted; // an upstream that does what a test says

#[derive(Debug)]
struct Permissive;

impl Guard for Permissive {
    fn about(&self) -> &'static About {
        &About { code: "T001", name: "permissive", phase: Phase::Policy, purpose: "permits everything" }
    }

    fn check(&self, _: &Call) -> Decision {
        Decision::pass()
    }
}

/// Facts of a call that tests vary.
pub(crate) struct Facts {
    pub(crate) version: Version,
    pub(crate) session: Option<u128>,
    pub(crate) catalogue: Arc<Catalogue>,
    pub(crate) param_headers: Vec<(String, String)>,
    pub(crate) transports: Vec<Arc<str>>,
    pub(crate) caller: Caller,
    pub(crate) proofs: Proofs,
    pub(crate) now: Timestamp,
}

pub(crate) fn legacy(session: u128) -> Facts {
    Facts { version: Version::LATEST_LEGACY, session: Some(session), ..modern() }
}

pub(crate) fn modern() -> Facts {
    Facts {
        version: Version::LATEST_MODERN,
        session: None,
        catalogue: Arc::default(),
        param_headers: Vec::new(),
        transports: Vec::new(),
        caller: Caller::anonymous(),
        proofs: Proofs::default(),
        now: Timestamp(0),
    }
}

impl Facts {
    pub(crate) fn clear(self, subject: Subject) -> Cleared {
        let session = self.session.map(|key| Session { key: SessionKey(key), hash: "s".into(), tally: None });
        let context = Context {
            caller: Arc::new(self.caller),
            proofs: Arc::new(self.proofs),
            version: self.version,
            session,
            server: "srv".into(),
            trace: TraceContext {
                trace_id: [1; 16],
                parent: None,
                span: [2; 8],
                flags: 1,
                state: Some("a=b".into()),
                given: true,
            },
            now: self.now,
            catalogue: self.catalogue.into(),
            param_headers: self.param_headers,
            transports: self.transports,
            answers: None,
        };
        let gate = Arc::new(Gate::new(Arc::new(Permissive), Vec::new()));
        match gate.judge(Call { context: Arc::new(context), subject }).verdict {
            Verdict::Cleared(cleared, _) => cleared,
            Verdict::Held(_) | Verdict::Denied(_) => panic!("the permissive gate refused"),
        }
    }

    pub(crate) fn say(self, text: &str) -> Cleared {
        let bytes = Bytes::copy_from_slice(text.as_bytes());
        let message = Message::read(bytes, Direction::ToServer, &Limits::default()).unwrap();
        self.clear(Subject::Message(message))
    }
}

/// A `tools/call` of the modern era.
pub(crate) fn modern_call(id: &str) -> String {
    format!(
        r#"{{"jsonrpc":"2.0","id":{id},"method":"tools/call","params":{{"_meta":{{"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientCapabilities":{{}},"progressToken":"tok"}},"name":"echo","arguments":{{}}}}}}"#
    )
}

/// What a future has to say at once.
pub(crate) fn now<F: Future + Unpin>(future: &mut F) -> std::task::Poll<F::Output> {
    std::pin::Pin::new(future).poll(&mut std::task::Context::from_waker(std::task::Waker::noop()))
}

/// Everything a reply gives, until it ends.
pub(crate) async fn all(mut reply: Reply) -> Vec<Result<Arrived, Fault>> {
    let mut items = Vec::new();
    while let Some(item) = reply.arrivals.next().await {
        items.push(item);
    }
    items
}

/// The text of an arrival that must be a message.
pub(crate) fn text(item: &Result<Arrived, Fault>) -> String {
    let message = item.as_ref().unwrap().message.as_ref().unwrap();
    String::from_utf8(message.bytes().to_vec()).unwrap()
}

/// One HTTP request as it arrived.
#[derive(Clone, Debug)]
pub(crate) struct Heard {
    pub(crate) head: String,
    pub(crate) body: String,
}

impl Heard {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().find_map(|line| {
            let (key, value) = line.split_once(':')?;
            key.eq_ignore_ascii_case(name).then(|| value.trim())
        })
    }

    pub(crate) fn method(&self) -> &str {
        self.head.split(' ').next().unwrap()
    }
}

type Script = Arc<dyn Fn(Heard, TcpStream) -> BoxFuture<'static, Option<TcpStream>> + Send + Sync>;

/// A server on a loopback port that answers each request with what the script writes.
pub(crate) struct Canned {
    pub(crate) url: String,
    heard: Arc<Mutex<Vec<Heard>>>,
}

impl Canned {
    /// `script` writes an answer and gives the socket back to read another request, or keeps or drops it.
    pub(crate) async fn scripted<F, Fut>(script: F) -> Self
    where
        F: Fn(Heard, TcpStream) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Option<TcpStream>> + Send + 'static,
    {
        let script: Script = Arc::new(move |heard, socket| Box::pin(script(heard, socket)));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/mcp", listener.local_addr().unwrap());
        let heard = Arc::new(Mutex::new(Vec::new()));
        let log = Arc::clone(&heard);
        tokio::spawn(async move {
            while let Ok((socket, _)) = listener.accept().await {
                let (script, log) = (Arc::clone(&script), Arc::clone(&log));
                tokio::spawn(async move {
                    let mut socket = Some(socket);
                    while let Some(mut open) = socket.take() {
                        let Some(heard) = hear(&mut open).await else { return };
                        log.lock().unwrap().push(heard.clone());
                        socket = script(heard, open).await;
                    }
                });
            }
        });
        Self { url, heard }
    }

    /// The same bytes to every request, then the end of the connection.
    pub(crate) async fn bytes(answer: impl Into<String>) -> Self {
        let answer: Arc<str> = answer.into().into();
        Self::scripted(move |_, mut socket| {
            let answer = Arc::clone(&answer);
            async move {
                let _ = socket.write_all(answer.as_bytes()).await;
                let _ = socket.shutdown().await;
                None
            }
        })
        .await
    }

    pub(crate) fn heard(&self) -> Vec<Heard> {
        self.heard.lock().unwrap().clone()
    }
}

/// One request to its end; `None` when there is none.
pub(crate) async fn hear(socket: &mut (impl AsyncRead + Unpin)) -> Option<Heard> {
    let mut bytes = Vec::new();
    let end = loop {
        if let Some(at) = bytes.windows(4).position(|window| window == b"\r\n\r\n") {
            break at + 4;
        }
        let mut piece = [0; 4096];
        let count = socket.read(&mut piece).await.ok()?;
        if count == 0 {
            return None;
        }
        bytes.extend_from_slice(&piece[..count]);
    };
    let mut heard = Heard { head: String::from_utf8(bytes[..end].to_vec()).unwrap(), body: String::new() };
    let length: usize = heard.header("content-length").map_or(0, |length| length.parse().unwrap());
    while bytes.len() < end + length {
        let mut piece = [0; 4096];
        let count = socket.read(&mut piece).await.ok()?;
        if count == 0 {
            return None;
        }
        bytes.extend_from_slice(&piece[..count]);
    }
    heard.body = String::from_utf8(bytes[end..end + length].to_vec()).unwrap();
    Some(heard)
}

/// A JSON answer that keeps the connection.
pub(crate) fn json(status: u16, body: &str) -> String {
    format!("HTTP/1.1 {status} X\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{body}", body.len())
}

/// An event stream that ends with its connection.
pub(crate) fn events(body: &str) -> String {
    format!("HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\n{body}")
}

/// The id a request text carries, as written.
pub(crate) fn id_of(body: &str) -> String {
    let message =
        Message::read(Bytes::copy_from_slice(body.as_bytes()), Direction::ToServer, &Limits::default()).unwrap();
    message.id().map(|id| id.raw().to_owned()).unwrap_or_default()
}

/// What [`Fake`] says to a message, or fails with.
type Says = Box<dyn Fn(&Call) -> Result<Reply, Fault> + Send + Sync>;

/// An upstream in memory, for wrappers: it keeps a list of what reached it.
pub(crate) struct Fake {
    name: Arc<str>,
    says: Says,
    catalogue: Mutex<Result<Arc<Catalogue>, Fault>>,
    /// Methods of what was sent, `forget`, `refresh`; in order.
    heard: Mutex<Vec<String>>,
}

impl std::fmt::Debug for Fake {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Fake")
    }
}

impl Fake {
    /// `offers` is what a refresh reads; nothing is read before.
    pub(crate) fn new(
        offers: Result<Catalogue, Fault>,
        says: impl Fn(&Call) -> Result<Reply, Fault> + Send + Sync + 'static,
    ) -> Arc<Self> {
        let catalogue = Mutex::new(offers.map(Arc::new));
        Arc::new(Self { name: "fake".into(), says: Box::new(says), catalogue, heard: Mutex::default() })
    }

    pub(crate) fn heard(&self) -> Vec<String> {
        self.heard.lock().unwrap().clone()
    }

    /// What was heard since the last time.
    pub(crate) fn news(&self) -> Vec<String> {
        std::mem::take(&mut *self.heard.lock().unwrap())
    }

    pub(crate) fn offer(&self, offers: Result<Catalogue, Fault>) {
        *self.catalogue.lock().unwrap() = offers.map(Arc::new);
    }

    fn hear(&self, what: &str) {
        self.heard.lock().unwrap().push(what.to_owned());
    }
}

impl Upstream for Fake {
    fn name(&self) -> &Arc<str> {
        &self.name
    }

    fn era(&self) -> Option<Era> {
        None
    }

    fn send(&self, cleared: Cleared) -> Pending<'_, Result<Reply, Fault>> {
        self.hear(cleared.call().method());
        let said = (self.says)(cleared.call());
        Box::pin(async move {
            // A server is never faster than whoever asks it beside.
            tokio::task::yield_now().await;
            said
        })
    }

    fn catalogue(&self) -> Arc<Catalogue> {
        let read = self.catalogue.lock().unwrap().clone().ok();
        read.filter(|catalogue| catalogue.asked().is_some()).unwrap_or_default()
    }

    fn refresh(&self) -> Pending<'_, Result<Arc<Catalogue>, Fault>> {
        self.hear("refresh");
        let mut catalogue = self.catalogue.lock().unwrap();
        if let Ok(read) = &mut *catalogue {
            *read = Arc::new((**read).clone().asked_at(tokio::time::Instant::now().into_std()));
        }
        let outcome = catalogue.clone();
        drop(catalogue);
        Box::pin(std::future::ready(outcome))
    }

    fn observe(&self, _: &Message) {}

    fn forget(&self, _: SessionKey) -> Pending<'_, ()> {
        self.hear("forget");
        Box::pin(std::future::ready(()))
    }

    fn shut_down(&self) -> Pending<'_, ()> {
        self.hear("shut_down");
        Box::pin(std::future::ready(()))
    }
}

/// A message of a server.
pub(crate) fn said(text: &str) -> Message {
    Message::read(Bytes::copy_from_slice(text.as_bytes()), Direction::ToClient, &Limits::default()).unwrap()
}
