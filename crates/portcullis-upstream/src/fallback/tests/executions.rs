//! What a server carries out is counted at the server, over every point at which a way to it can fail, on real sockets and real processes: what is not
//! declared harmless is carried out at most once, whatever happens, and what is said never to have left was never carried out.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use futures_util::future::join_all;
use futures_util::{SinkExt, StreamExt};
use portcullis_core::catalogue::Catalogue;
use portcullis_core::clock::{FixedClock, Timestamp};
use portcullis_core::gate::Cleared;
use portcullis_core::refusal::{Fault, FaultKind};
use portcullis_core::upstream::Upstream;
use portcullis_core::wire::{Limits, view_json};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, UnixListener};
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::handshake::server::{Request, Response};

use super::{Facts, Fallback, all, idempotent, modern, way_with};
use crate::fallback::Way;
use crate::http::HttpUpstream;
use crate::pipe::{PipeUpstream, StderrSink};
use crate::settings::{
    BreakerSettings, EraSetting, FallbackSettings, HttpSettings, Repeat, StdioSettings, WebSocketSettings,
};
use crate::stdio::Children;
use crate::testing::{hear, id_of};
use crate::websocket::WebSockets;

#[derive(Clone, Copy, Debug, PartialEq)]
enum Transport {
    Json,
    Events,
    UnixSocket,
    WebSocket,
    Stdio,
}

/// After what the server is gone.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Point {
    /// There is none.
    Nothing,
    Connect,
    HalfTheRequest,
    Request,
    /// The beginning of its answer that says nothing yet.
    Head,
    HalfTheBody,
    Answer,
}

const TRANSPORTS: [Transport; 5] =
    [Transport::Json, Transport::Events, Transport::UnixSocket, Transport::WebSocket, Transport::Stdio];
const POINTS: [Point; 7] = [
    Point::Nothing,
    Point::Connect,
    Point::HalfTheRequest,
    Point::Request,
    Point::Head,
    Point::HalfTheBody,
    Point::Answer,
];
/// Calls at once, on connections that the others may have left behind.
const CALLS: usize = 3;

/// Every request that arrived whole: what a server could carry out.
type Arrived = Arc<Mutex<Vec<String>>>;

fn answer(request: &str) -> String {
    format!(r#"{{"jsonrpc":"2.0","id":{},"result":{{"resultType":"complete","content":[]}}}}"#, id_of(request))
}

/// Plays one HTTP connection.
async fn http<S: AsyncRead + AsyncWrite + Unpin>(mut socket: S, point: Point, events: bool, arrived: Arrived) {
    match point {
        Point::Connect => return,
        Point::HalfTheRequest => {
            let _ = socket.read(&mut [0; 64]).await;
            return;
        }
        _ => {}
    }
    if let Some(heard) = hear(&mut socket).await {
        arrived.lock().unwrap().push(heard.body.clone());
        let answer = answer(&heard.body);
        let (head, body) = if events {
            ("HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\n".to_owned(), format!("data: {answer}\n\n"))
        } else {
            let length = answer.len();
            (format!("HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {length}\r\n\r\n"), answer)
        };
        let written = match point {
            Point::Request => String::new(),
            Point::Head => head,
            Point::HalfTheBody => format!("{head}{}", body.split_at(body.len() / 2).0),
            _ => format!("{head}{body}"),
        };
        let _ = socket.write_all(written.as_bytes()).await;
    }
}

#[expect(clippy::result_large_err, reason = "the library's own callback")]
async fn websocket(tcp: TcpStream, point: Point, arrived: Arrived) {
    if point == Point::Connect {
        return;
    }
    let agree = |_: &Request, mut response: Response| {
        response.headers_mut().insert("sec-websocket-protocol", "mcp".parse().unwrap());
        Ok(response)
    };
    let Ok(mut socket) = tokio_tungstenite::accept_hdr_async(tcp, agree).await else { return };
    if point == Point::HalfTheRequest {
        return;
    }
    while let Some(Ok(frame)) = socket.next().await {
        let Message::Text(request) = frame else { continue };
        arrived.lock().unwrap().push(request.to_string());
        let answer = answer(&request);
        // A text frame of up to 64 KiB: two bytes, two of length, the text.
        let [high, low] = u16::try_from(answer.len()).unwrap().to_be_bytes();
        let raw = match point {
            Point::Request => Vec::new(),
            Point::Head => vec![0x81, 126, high, low],
            Point::HalfTheBody => [&[0x81, 126, high, low], &answer.as_bytes()[..answer.len() / 2]].concat(),
            _ => {
                let _ = socket.send(Message::text(answer)).await;
                return;
            }
        };
        let _ = socket.get_mut().write_all(&raw).await;
        return;
    }
}

const CHILD: &str = r#"
import json, os, sys
point, log = os.environ["POINT"], os.environ["LOG"]
if point == "Connect":
    sys.exit(3)
if point == "HalfTheRequest":
    os.read(0, 64)
    os._exit(3)
line = sys.stdin.readline()
if line:
    with open(log, "a") as out:
        out.write(line)
    answer = json.dumps({"jsonrpc": "2.0", "id": json.loads(line)["id"], "result": {"resultType": "complete", "content": []}}) + "\n"
    written = {"Request": "", "Head": answer[:1], "HalfTheBody": answer[:len(answer) // 2]}.get(point, answer)
    os.write(1, written.encode())
os._exit(3)
"#;

/// A server that fails at `point`, and the way to it.
struct Failing {
    arrived: Arrived,
    /// What arrived at children.
    log: PathBuf,
    _folder: tempfile::TempDir,
    way: Way,
}

impl Failing {
    async fn start(transport: Transport, point: Point) -> Self {
        let (arrived, folder) = (Arrived::default(), tempfile::tempdir().unwrap());
        let log = folder.path().join("log");
        let upstream = match transport {
            Transport::Stdio => child(point, &log),
            Transport::UnixSocket => over_unix_socket(point, folder.path(), &arrived),
            Transport::Json | Transport::Events | Transport::WebSocket => over_tcp(transport, point, &arrived).await,
        };
        Self { arrived, log, _folder: folder, way: unbroken("first", upstream) }
    }

    fn arrived(&self) -> Vec<String> {
        let mut all = self.arrived.lock().unwrap().clone();
        let logged = std::fs::read_to_string(&self.log).unwrap_or_default();
        all.extend(logged.lines().map(str::to_owned));
        all
    }
}

/// Without a breaker that could keep calls away from what fails.
fn unbroken(word: &str, upstream: Arc<dyn Upstream>) -> Way {
    way_with(word, upstream, &BreakerSettings { enabled: false, ..BreakerSettings::default() })
}

async fn over_tcp(transport: Transport, point: Point, arrived: &Arrived) -> Arc<dyn Upstream> {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let arrived = Arc::clone(arrived);
    if point != Point::Nothing {
        tokio::spawn(async move {
            while let Ok((socket, _)) = listener.accept().await {
                let arrived = Arc::clone(&arrived);
                match transport {
                    Transport::WebSocket => tokio::spawn(websocket(socket, point, arrived)),
                    _ => tokio::spawn(http(socket, point, transport == Transport::Events, arrived)),
                };
            }
        });
    }
    if transport != Transport::WebSocket {
        return http_upstream(HttpSettings::of_url(format!("http://{address}/mcp")));
    }
    let text = format!(r#"{{"url":"ws://{address}/mcp","era":"modern"}}"#);
    let settings: WebSocketSettings = serde_json::from_str(&text).unwrap();
    let clock = Arc::new(FixedClock::at(Timestamp(0)));
    PipeUpstream::<WebSockets>::new("srv".into(), &settings, Limits::default(), clock, silent()).unwrap()
}

fn over_unix_socket(point: Point, folder: &Path, arrived: &Arrived) -> Arc<dyn Upstream> {
    let path = folder.join("mcp.sock");
    let arrived = Arc::clone(arrived);
    if point != Point::Nothing {
        let listener = UnixListener::bind(&path).unwrap();
        tokio::spawn(async move {
            while let Ok((socket, _)) = listener.accept().await {
                tokio::spawn(http(socket, point, false, Arc::clone(&arrived)));
            }
        });
    }
    http_upstream(HttpSettings { socket: Some(path), ..HttpSettings::of_url("http://localhost/mcp".to_owned()) })
}

fn http_upstream(settings: HttpSettings) -> Arc<dyn Upstream> {
    let settings = HttpSettings { era: EraSetting::Modern, ..settings };
    HttpUpstream::new("srv".into(), &settings, Limits::default(), Arc::new(FixedClock::at(Timestamp(0))), None).unwrap()
}

fn child(point: Point, log: &Path) -> Arc<dyn Upstream> {
    let command = if point == Point::Nothing { "/nowhere/server".to_owned() } else { crate::stdio::tests::python() };
    let mut settings = StdioSettings::of_command(command, vec!["-c".into(), CHILD.into()]);
    settings.era = EraSetting::Modern;
    let set = |value: String| crate::Secret::Value(value);
    settings.env.insert("POINT".to_owned(), set(format!("{point:?}")));
    settings.env.insert("LOG".to_owned(), set(log.display().to_string()));
    PipeUpstream::<Children>::new("srv".into(), &settings, Limits::default(), None, silent()).unwrap()
}

fn silent() -> StderrSink {
    StderrSink::new(|_, _| {})
}

/// A modern call that says which one it is.
fn call(number: usize, read_only: bool) -> Cleared {
    let tools = format!(r#"[{{"name":"pay","inputSchema":{{}},"annotations":{{"readOnlyHint":{read_only}}}}}]"#);
    let catalogue = Catalogue::from_tools(view_json(tools.as_bytes(), &Limits::default()).unwrap().elements()).unwrap();
    Facts { catalogue: Arc::new(catalogue), ..modern() }.say(&format!(
        r#"{{"jsonrpc":"2.0","id":{number},"method":"tools/call","params":{{"_meta":{{"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientCapabilities":{{}}}},"name":"pay","arguments":{{"call":"number {number}"}}}}}}"#
    ))
}

async fn outcome(fallback: &Fallback, cleared: Cleared) -> Result<(), Fault> {
    let reply = fallback.send(cleared).await?;
    let items = all(reply).await;
    let answered = items.iter().any(|item| matches!(item, Ok(arrived) if arrived.message.is_some()));
    match items.into_iter().find_map(Result::err) {
        Some(fault) if !answered => Err(fault),
        _ if answered => Ok(()),
        _ => Err(Fault::new(FaultKind::Died, "no answer")),
    }
}

async fn play(transport: Transport, point: Point, settings: &FallbackSettings, read_only: bool) {
    let case = format!("{transport:?} gone after {point:?}, {:?}, read-only: {read_only}", settings.repeat);
    let (first, second) =
        tokio::join!(Failing::start(transport, point), Failing::start(Transport::Json, Point::Answer));
    let other = Way::new("second".into(), Arc::clone(second.way.breaker()));
    let fallback = Fallback::new(vec![first.way.clone(), other], settings, &[]).unwrap();
    let twice = read_only && settings.repeat == Repeat::Idempotent;
    for round in 0..2 {
        let numbers: Vec<usize> = (0..CALLS).map(|number| round * CALLS + number).collect();
        let outcomes = join_all(numbers.iter().map(|number| outcome(&fallback, call(*number, read_only)))).await;
        for (number, outcome) in numbers.iter().zip(outcomes) {
            let named = format!("\"number {number}\"");
            let arrived = first.arrived().into_iter().chain(second.arrived());
            let executed = arrived.filter(|request| request.contains(&named)).count();
            let case = format!("{case}, call {number}: executed {executed} times, {outcome:?}");
            assert!(executed <= if twice { 2 } else { 1 }, "{case}");
            match outcome {
                Ok(()) => assert!(executed >= 1, "{case}"),
                Err(fault) => {
                    assert!(!fault.never_left || executed == 0, "{case}");
                    assert!(point != Point::Nothing && !twice, "{case}");
                }
            }
        }
    }
    fallback.shut_down().await;
}

/// The list of points and transports is the whole of it: every pair is played, with what may be repeated and what may not.
#[tokio::test]
async fn what_is_not_harmless_is_carried_out_at_most_once_wherever_a_way_fails() {
    let mut played = 0;
    for transport in TRANSPORTS {
        for point in POINTS {
            let never = FallbackSettings::default();
            let repeats = idempotent();
            tokio::join!(
                play(transport, point, &never, false),
                play(transport, point, &never, true),
                play(transport, point, &repeats, false),
                play(transport, point, &repeats, true),
            );
            played += 4;
        }
    }
    assert_eq!(played, 140);
}

/// The test above can fail: a server that is gone after the request was carried out, and a caller that sends again regardless.
#[tokio::test]
async fn a_call_that_is_sent_again_regardless_is_seen_to_be_carried_out_twice() {
    let first = Failing::start(Transport::Json, Point::Request).await;
    let breaker = first.way.breaker();
    assert!(breaker.send(call(1, false)).await.is_err() && breaker.send(call(1, false)).await.is_err());
    assert_eq!(first.arrived().len(), 2);
}
