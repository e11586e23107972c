//! For the tests of this crate: a server of canned replies, a ledger in memory, a policy that denies by name, and a client that speaks
//! HTTP over a real socket.

pub(crate) mod secure;

pub(crate) mod parent;
pub(crate) mod proofs;
pub(crate) mod sockets;

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, Weak};

use bytes::Bytes;
use futures_util::StreamExt;
use http::{HeaderMap, Request, Response};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;
use portcullis_core::call::{Call, SessionKey, Subject};
use portcullis_core::catalogue::Catalogue;
use portcullis_core::clock::{Clock, FixedClock, Timestamp};
use portcullis_core::gate::{Cleared, Gate};
use portcullis_core::guard::{About, Decision, Guard, Phase};
use portcullis_core::ledger::{Ledger, Record, Unwritable};
use portcullis_core::own::hex;
use portcullis_core::refusal::{Denial, DenialCode, Fault, Manner};
use portcullis_core::upstream::{Arrived, Media, Pending, Renewals, Reply, Upstream};
use portcullis_core::version::Era;
use portcullis_core::wire::{Direction, Id, Limits, Message};
use sha2::{Digest, Sha256};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;

use crate::endpoint::EndpointParts;
use crate::gateway::{Gateway, Plan};
use crate::settings::{ApiKey, Refusals, ServerSettings};
use crate::workers::Workers;

/// An API key whose text is its caller's name.
pub(crate) fn api_key(name: &str) -> ApiKey {
    let sha256 = hex(&Sha256::digest(name.as_bytes()));
    ApiKey { name: name.to_owned(), sha256, groups: Vec::new(), expires: None, servers: Vec::new() }
}

/// A reply that a test feeds by hand.
pub(crate) type Feed = mpsc::Sender<Result<Arrived, Fault>>;

type Script = Box<dyn Fn(&Call) -> Result<Reply, Fault> + Send + Sync>;

/// Answers each call by a script; remembers what it was sent.
pub(crate) struct CannedUpstream {
    name: Arc<str>,
    script: Script,
    pub(crate) catalogue: Mutex<Arc<Catalogue>>,
    pub(crate) sent: Mutex<Vec<Bytes>>,
    pub(crate) forgotten: Mutex<Vec<SessionKey>>,
    pub(crate) observed: Mutex<Vec<Bytes>>,
    pub(crate) refreshes: AtomicUsize,
    /// Who wants to know of sessions that were opened anew.
    pub(crate) listener: Mutex<Option<Weak<dyn Renewals>>>,
}

impl std::fmt::Debug for CannedUpstream {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("CannedUpstream")
    }
}

impl CannedUpstream {
    pub(crate) fn new(script: impl Fn(&Call) -> Result<Reply, Fault> + Send + Sync + 'static) -> Arc<Self> {
        Self::named("canned", script)
    }

    pub(crate) fn named(
        name: &str,
        script: impl Fn(&Call) -> Result<Reply, Fault> + Send + Sync + 'static,
    ) -> Arc<Self> {
        Arc::new(Self {
            name: name.into(),
            script: Box::new(script),
            catalogue: Mutex::default(),
            sent: Mutex::default(),
            forgotten: Mutex::default(),
            observed: Mutex::default(),
            refreshes: AtomicUsize::new(0),
            listener: Mutex::default(),
        })
    }

    pub(crate) fn sent(&self) -> Vec<String> {
        self.sent.lock().unwrap().iter().map(|bytes| String::from_utf8(bytes.to_vec()).unwrap()).collect()
    }
}

impl Upstream for CannedUpstream {
    fn name(&self) -> &Arc<str> {
        &self.name
    }

    fn era(&self) -> Option<Era> {
        None
    }

    fn send(&self, cleared: Cleared) -> Pending<'_, Result<Reply, Fault>> {
        if let Subject::Message(message) = &cleared.call().subject {
            self.sent.lock().unwrap().push(message.bytes().clone());
        }
        let reply = (self.script)(cleared.call());
        Box::pin(async move { reply })
    }

    fn catalogue(&self) -> Arc<Catalogue> {
        Arc::clone(&self.catalogue.lock().unwrap())
    }

    fn observe(&self, listed: &Message) {
        self.observed.lock().unwrap().push(listed.bytes().clone());
    }

    fn refresh(&self) -> Pending<'_, Result<Arc<Catalogue>, Fault>> {
        self.refreshes.fetch_add(1, Ordering::Relaxed);
        Box::pin(async { Ok(Arc::default()) })
    }

    fn forget(&self, session: SessionKey) -> Pending<'_, ()> {
        self.forgotten.lock().unwrap().push(session);
        Box::pin(async {})
    }

    fn tell_renewals_to(&self, listener: Weak<dyn Renewals>) {
        *self.listener.lock().unwrap() = Some(listener);
    }

    fn shut_down(&self) -> Pending<'_, ()> {
        Box::pin(async {})
    }
}

/// A message of the server.
pub(crate) fn from_server(text: impl Into<String>) -> Arrived {
    let message = Message::read(Bytes::from(text.into()), Direction::ToClient, &Limits::default()).unwrap();
    Arrived { message: Some(message), ..Arrived::default() }
}

/// The response to the request in `call`, with raw JSON `result`.
pub(crate) fn result(call: &Call, result: &str) -> Arrived {
    let id = call.message().and_then(|message| message.id()).map_or("null", Id::raw);
    from_server(format!(r#"{{"jsonrpc":"2.0","id":{id},"result":{result}}}"#))
}

pub(crate) fn reply(media: Media, arrivals: Vec<Arrived>) -> Reply {
    let arrivals = futures_util::stream::iter(arrivals.into_iter().map(Ok)).boxed();
    Reply::new(media, arrivals)
}

/// A reply that the test feeds through the returned sender; bounded like a socket.
pub(crate) fn fed(media: Media) -> (Feed, Reply) {
    let (feed, mut items) = mpsc::channel(4);
    let arrivals = futures_util::stream::poll_fn(move |cx| items.poll_recv(cx)).boxed();
    (feed, Reply::new(media, arrivals))
}

/// What most tests need: `initialize` answered, notifications accepted, every other request answered `{}`.
pub(crate) fn ordinary(call: &Call) -> Result<Reply, Fault> {
    Ok(match call.message() {
        None => reply(Media::Accepted, Vec::new()),
        Some(_) if !call.expects_response() => reply(Media::Accepted, Vec::new()),
        Some(_) if call.method() == "initialize" => reply(Media::Json, vec![result(call, INITIALIZED)]),
        Some(_) => reply(Media::Json, vec![result(call, "{}")]),
    })
}

pub(crate) const INITIALIZED: &str =
    r#"{"protocolVersion":"2025-11-25","capabilities":{},"serverInfo":{"name":"canned","version":"1"}}"#;

/// Denies the methods it was told; passes everything else.
#[derive(Debug)]
pub(crate) struct DenyList(pub(crate) &'static [(&'static str, Manner)]);

impl Guard for DenyList {
    fn about(&self) -> &'static About {
        &About { code: "G000", name: "policy", phase: Phase::Policy, purpose: "test" }
    }

    fn check(&self, call: &Call) -> Decision {
        match self.0.iter().find(|(method, _)| *method == call.method()) {
            None => Decision::pass(),
            Some((_, manner)) => Decision::Deny(Box::new(Denial {
                code: DenialCode::Forbidden,
                guard: "policy",
                public: "because the test says so".into(),
                detail: "secret detail".into(),
                policies: vec!["p1".into()],
                manner: *manner,
                challenge: None,
            })),
        }
    }

    fn never_permits(&self, _call: &Call, method: &str) -> bool {
        self.0.iter().any(|(denied, _)| *denied == method)
    }
}

/// Keeps what it is given.
#[derive(Debug, Default)]
pub(crate) struct MemoryLedger {
    pub(crate) records: Mutex<Vec<Record>>,
    counts: Mutex<HashMap<(&'static str, &'static str), usize>>,
    pub(crate) broken: std::sync::atomic::AtomicBool,
}

impl Ledger for MemoryLedger {
    fn append(&self, record: Record) -> Result<(), Unwritable> {
        if self.broken.load(Ordering::Relaxed) {
            return Err(Unwritable("disk full".into()));
        }
        self.records.lock().unwrap().push(record);
        Ok(())
    }

    fn count(&self, family: &'static str, code: &'static str) {
        *self.counts.lock().unwrap().entry((family, code)).or_default() += 1;
    }
}

impl MemoryLedger {
    pub(crate) fn counted(&self, family: &'static str, code: &'static str) -> usize {
        self.counts.lock().unwrap().get(&(family, code)).copied().unwrap_or_default()
    }

    /// Statuses of all outcomes so far, in order.
    pub(crate) fn outcomes(&self) -> Vec<&'static str> {
        let records = self.records.lock().unwrap();
        let outcomes = records.iter().filter_map(|record| match record {
            Record::Outcome(outcome) => Some(outcome.status.as_str()),
            _ => None,
        });
        outcomes.collect()
    }

    /// Messages and bytes that reached the client, of each outcome.
    pub(crate) fn delivered(&self) -> Vec<(u64, u64)> {
        let records = self.records.lock().unwrap();
        let outcomes = records.iter().filter_map(|record| match record {
            Record::Outcome(outcome) => Some((outcome.messages, outcome.bytes)),
            _ => None,
        });
        outcomes.collect()
    }

    /// Every intent has exactly one outcome.
    pub(crate) fn is_balanced(&self) -> bool {
        let records = self.records.lock().unwrap();
        let mut open = HashMap::<String, i32>::new();
        for record in records.iter() {
            match record {
                Record::Intent(intent) => *open.entry(intent.call.to_string()).or_default() += 1,
                Record::Outcome(outcome) => *open.entry(outcome.call.to_string()).or_default() -= 1,
                Record::Refused(_) | Record::Notice(_) => {}
            }
        }
        open.values().all(|balance| *balance == 0)
    }
}

/// A gateway that serves.
pub(crate) struct Running {
    pub(crate) addr: SocketAddr,
    pub(crate) gateway: Arc<Gateway>,
    pub(crate) upstream: Arc<CannedUpstream>,
    pub(crate) ledger: Arc<MemoryLedger>,
    pub(crate) clock: Arc<FixedClock>,
    pub(crate) shutdown: CancellationToken,
    pub(crate) stopped: oneshot::Receiver<()>,
}

pub(crate) async fn start(upstream: Arc<CannedUpstream>) -> Running {
    start_with(upstream, DenyList(&[]), ServerSettings::default()).await
}

pub(crate) async fn start_with(upstream: Arc<CannedUpstream>, policy: DenyList, settings: ServerSettings) -> Running {
    start_on(Workers::here(), upstream, Arc::new(policy), settings).await
}

/// The same with the threads and the policy of the test.
pub(crate) async fn start_on(
    workers: Workers,
    upstream: Arc<CannedUpstream>,
    policy: Arc<dyn Guard>,
    settings: ServerSettings,
) -> Running {
    let servers = vec![Arc::clone(&upstream) as Arc<dyn Upstream>];
    let only = EndpointParts { path: settings.path.clone(), servers, merging: None, plan: plan(policy) };
    start_endpoints(workers, upstream, vec![only], settings).await
}

pub(crate) fn plan(policy: Arc<dyn Guard>) -> Plan {
    let gate = Arc::new(Gate::new(policy, Vec::new()));
    Plan { gate, digest: "test".into(), refusals: Refusals::Result }
}

/// The same with several endpoints; `upstream` is the server that the test asks about.
pub(crate) async fn start_endpoints(
    workers: Workers,
    upstream: Arc<CannedUpstream>,
    endpoints: Vec<EndpointParts>,
    mut settings: ServerSettings,
) -> Running {
    settings.listen = "127.0.0.1:0".parse().unwrap();
    let (ledger, clock) = (Arc::new(MemoryLedger::default()), Arc::new(FixedClock::at(Timestamp(1_000_000))));
    let parts = (Arc::clone(&ledger) as Arc<dyn Ledger>, Arc::clone(&clock) as Arc<dyn Clock>);
    let gateway = Gateway::with_endpoints(settings, endpoints, parts.0, parts.1).unwrap();
    let bound = gateway.bind().await.unwrap();
    let (addr, shutdown) = (bound.local_addr, CancellationToken::new());
    let (done, stopped) = oneshot::channel();
    let signal = shutdown.clone();
    tokio::spawn(async move {
        bound.serve(workers, signal).await;
        let _ = done.send(());
    });
    Running { addr, gateway, upstream, ledger, clock, shutdown, stopped }
}

/// A client with default headers, one connection per request.
#[derive(Clone, Debug)]
pub(crate) struct Client {
    pub(crate) addr: SocketAddr,
    pub(crate) headers: Vec<(String, String)>,
}

/// Status, headers and whole body of an answer.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) body: String,
}

impl Running {
    pub(crate) fn client(&self) -> Client {
        Client { addr: self.addr, headers: Vec::new() }
    }

    /// A client in a session of its own.
    pub(crate) async fn session(&self) -> Client {
        let client = self.client();
        let answer = client.post(INITIALIZE).await;
        assert_eq!(answer.status, 200, "{answer:?}");
        let id = answer.headers["mcp-session-id"].to_str().unwrap().to_owned();
        client.with("mcp-session-id", &id).with("mcp-protocol-version", "2025-11-25")
    }

    /// Waits until something was counted so often.
    pub(crate) async fn counted(&self, family: &'static str, code: &'static str, times: usize) {
        while self.ledger.counted(family, code) < times {
            tokio::task::yield_now().await;
        }
    }

    /// Waits until the ledger holds `count` outcomes.
    pub(crate) async fn outcomes(&self, count: usize) -> Vec<&'static str> {
        loop {
            let outcomes = self.ledger.outcomes();
            if outcomes.len() >= count {
                return outcomes;
            }
            tokio::task::yield_now().await;
        }
    }
}

pub(crate) const INITIALIZE: &str = r#"{"jsonrpc":"2.0","id":0,"method":"initialize","params":{"protocolVersion":"2025-11-25","capabilities":{"sampling":{},"elicitation":{},"roots":{}},"clientInfo":{"name":"t","version":"1"}}}"#;

impl Client {
    pub(crate) fn with(&self, name: &str, value: &str) -> Self {
        let mut client = self.clone();
        client.headers.push((name.to_owned(), value.to_owned()));
        client
    }

    pub(crate) fn without(&self, name: &str) -> Self {
        let mut client = self.clone();
        client.headers.retain(|(known, _)| known != name);
        client
    }

    pub(crate) async fn post(&self, body: &str) -> Answer {
        let answer = self.open("POST", body).await;
        collect(answer).await
    }

    pub(crate) async fn get(&self) -> Answer {
        collect(self.open("GET", "").await).await
    }

    pub(crate) async fn delete(&self) -> Answer {
        collect(self.open("DELETE", "").await).await
    }

    /// To another path.
    pub(crate) async fn ask(&self, method: &str, path: &str, body: &str) -> Answer {
        let mut request = self.request(method, body);
        *request.uri_mut() = path.parse().unwrap();
        collect(send(TcpStream::connect(self.addr).await.unwrap(), request).await.unwrap()).await
    }

    /// Sends and returns once the headers of the answer are there.
    pub(crate) async fn open(&self, method: &str, body: &str) -> Response<Incoming> {
        let socket = TcpStream::connect(self.addr).await.unwrap();
        send(socket, self.request(method, body)).await.unwrap()
    }

    pub(crate) fn request(&self, method: &str, body: &str) -> Request<Full<Bytes>> {
        let mut request = Request::builder().method(method).uri("/mcp");
        let given = |name: &str| self.headers.iter().any(|(known, _)| known == name);
        for (name, value) in [
            ("host", self.addr.to_string().as_str()),
            ("content-type", "application/json"),
            ("accept", "application/json, text/event-stream"),
        ] {
            if !given(name) {
                request = request.header(name, value);
            }
        }
        for (name, value) in self.headers.iter().filter(|(_, value)| !value.is_empty()) {
            request = request.header(name, value);
        }
        request.body(Full::new(Bytes::from(body.to_owned()))).unwrap()
    }
}

/// One request on a connection of its own.
pub(crate) async fn send<S>(stream: S, request: Request<Full<Bytes>>) -> hyper::Result<Response<Incoming>>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
    tokio::spawn(connection);
    sender.send_request(request).await
}

pub(crate) async fn collect(response: Response<Incoming>) -> Answer {
    let (parts, body) = response.into_parts();
    let body = body.collect().await.unwrap().to_bytes();
    Answer { status: parts.status.as_u16(), headers: parts.headers, body: String::from_utf8(body.to_vec()).unwrap() }
}

/// The next chunk of a stream; events arrive whole here.
pub(crate) async fn next_event(body: &mut Incoming) -> Option<String> {
    let data = body.frame().await?.ok()?.into_data().ok()?;
    Some(String::from_utf8(data.to_vec()).unwrap())
}
