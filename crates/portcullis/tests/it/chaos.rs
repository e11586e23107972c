//! Bad days: servers of every transport are killed, stopped and slowed while 64 clients call them. Every call is accounted for: answered, refused, or failed with
//! its id; and whatever became of it, no server carried it out twice.

use std::collections::HashMap;
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::contract::stage::Log;
use crate::support::{Folder, HELLO, LEGACY, PATIENCE, Running, descendants, http};

const CLIENTS: usize = 64;
const CALLS: usize = 12;
/// Another seed, another order of bad things.
const SEED: u64 = 5;
pub(crate) const SERVERS: [(&str, Way); 4] =
    [("amber", Way::Http), ("birch", Way::HttpSse), ("cedar", Way::Stdio), ("delta", Way::WebSocket)];
const FATES: [Fate; 4] = [Fate::Restarted, Fate::Missing, Fate::Stopped, Fate::StoppedAndKilled];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    Http,
    HttpSse,
    /// The gateway starts it, for each session.
    Stdio,
    WebSocket,
}

/// What may happen to a server.
#[derive(Clone, Copy, Debug)]
enum Fate {
    /// Killed, and there again at once.
    Restarted,
    /// Killed, and there again later.
    Missing,
    /// Slow beyond all patience, then as before.
    Stopped,
    StoppedAndKilled,
}

pub(crate) fn program() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/recording_server.py")
}

/// A server that can be killed and comes back under the same address, and the record of what it carried out.
pub(crate) struct Mortal {
    /// None where the gateway starts it.
    child: Option<Child>,
    pub(crate) port: u16,
    log: PathBuf,
}

impl Mortal {
    /// One that serves every way that leads over a network; over TLS if there are certificate and key.
    pub(crate) fn start(log: PathBuf, port: u16, certificate: &[PathBuf]) -> Self {
        let mut child = Command::new("python3")
            .arg(program())
            .arg(&log)
            .arg(port.to_string())
            .args(certificate)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let port = line.trim().parse().unwrap_or_else(|_| panic!("no port: {line:?}"));
        Self { child: Some(child), port, log }
    }

    /// One that is to be reached this way.
    pub(crate) fn of(way: Way, log: PathBuf) -> Self {
        if way == Way::Stdio { Self::absent(log, 0) } else { Self::start(log, 0, &[]) }
    }

    /// The place of one that is not there.
    pub(crate) fn absent(log: PathBuf, port: u16) -> Self {
        Self { child: None, port, log }
    }

    /// Its entry in the configuration. It may take so long for anything.
    pub(crate) fn entry(&self, name: &str, way: Way, patience: Duration) -> String {
        let (port, ms) = (self.port, patience.as_millis());
        let times = format!("first_byte_timeout_ms: {ms}, probe_timeout_ms: {ms}");
        let way = match way {
            Way::Http => format!("http: {{ url: 'http://127.0.0.1:{port}/mcp', {times} }}"),
            Way::HttpSse => {
                format!("http_sse: {{ url: 'http://127.0.0.1:{port}/sse', {times}, connect_timeout_ms: {ms} }}")
            }
            Way::WebSocket => {
                format!("websocket: {{ url: 'ws://127.0.0.1:{port}/ws', {times}, connect_timeout_ms: {ms} }}")
            }
            Way::Stdio => format!(
                "stdio: {{ command: python3, args: ['{}', '{}'], era: legacy, {times}, max_children: 100 }}",
                program().display(),
                self.log.display()
            ),
        };
        format!("- {{ name: {name}, {way}, breaker: {{ open_ms: 100, max_open_ms: 400 }} }}\n")
    }

    fn processes(&self, gateway: u32) -> Vec<u32> {
        if let Some(child) = &self.child {
            return vec![child.id()];
        }
        let log = self.log.to_str().unwrap();
        let is_it = |pid: &u32| {
            std::fs::read(format!("/proc/{pid}/cmdline"))
                .is_ok_and(|line| String::from_utf8_lossy(&line).split('\0').any(|word| word == log))
        };
        descendants(gateway).into_iter().filter(is_it).collect()
    }

    fn signal(&self, gateway: u32, name: &str) {
        let processes = self.processes(gateway).iter().map(u32::to_string).collect::<Vec<_>>();
        let mut kill = Command::new("kill");
        kill.arg(format!("-{name}")).args(&processes).stderr(Stdio::null());
        // A session may end, and its process with it, while we look.
        assert!(processes.is_empty() || kill.status().unwrap().success() || self.child.is_none());
    }

    fn come_back(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.wait();
            *self = Self::start(self.log.clone(), self.port, &[]);
        }
    }
}

impl Drop for Mortal {
    fn drop(&mut self) {
        if let Some(child) = &mut self.child {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// What a client read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Told {
    Answered,
    /// With the id of the call.
    Failed,
}

/// A client in its session, and what it was told of each call.
struct Client {
    number: usize,
    address: SocketAddr,
    session: String,
    told: Vec<(String, Told)>,
}

impl Client {
    fn open(address: SocketAddr, number: usize) -> Self {
        let opened = http(address, "POST", "/mcp", &LEGACY, HELLO);
        assert_eq!(opened.status, 200, "all servers down or not, the gateway opens a session: {opened:?}");
        Self { number, address, session: opened.header("mcp-session-id").unwrap().to_owned(), told: Vec::new() }
    }

    fn call(&mut self, server: &str) -> Told {
        let name = format!("{server}/{}/{}", self.number, self.told.len());
        let text = json!({
            "jsonrpc": "2.0",
            "id": name,
            "method": "tools/call",
            "params": { "name": format!("{server}__work"), "arguments": { "call": name } },
        });
        let mut headers = LEGACY.to_vec();
        headers.extend([("mcp-session-id", self.session.as_str()), ("mcp-protocol-version", "2025-11-25")]);
        let answer = http(self.address, "POST", "/mcp", &headers, &text.to_string());
        let body = answer.body.lines().filter_map(|line| line.strip_prefix("data: ")).next_back();
        let body: Value = serde_json::from_str(body.unwrap_or(&answer.body))
            .unwrap_or_else(|error| panic!("{name}: neither an answer nor an error: {error}: {answer:?}"));
        assert_eq!(body["id"], *name, "{body}");
        let told = if body["result"].is_object() {
            assert_eq!(body["result"]["content"][0]["text"], format!("did {name}"), "another call's answer");
            Told::Answered
        } else {
            assert!(body["error"]["code"].is_i64(), "{body}");
            Told::Failed
        };
        self.told.push((name, told));
        told
    }

    /// The servers that it calls. A process for each session is dear where all are started at once: one client of four has one.
    fn servers(&self) -> Vec<&'static str> {
        let all = self.number.is_multiple_of(4);
        SERVERS.into_iter().filter(|(_, way)| all || *way != Way::Stdio).map(|(name, _)| name).collect()
    }

    /// Each server in turn.
    fn work(&mut self, done: &AtomicUsize) {
        let servers = self.servers();
        for call in 0..CALLS {
            self.call(servers[(self.number / 4 + call) % servers.len()]);
            done.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// The day is over, and nobody does anything about it: every server answers again, in the session that saw it all.
    fn recover(&mut self) {
        // Sixteen processes start before the last client has its own.
        let deadline = Instant::now() + PATIENCE * 3;
        for server in self.servers() {
            while self.call(server) == Told::Failed {
                assert!(Instant::now() < deadline, "{server} does not come back for client {}", self.number);
                std::thread::sleep(Duration::from_millis(50));
            }
        }
    }
}

/// Every server meets every fate once. Steps follow the calls that are done, not the clock, in an order that the seed decides.
fn bad_day(servers: &mut [Mortal], gateway: u32, done: &AtomicUsize, over: &AtomicBool) {
    let reached = |calls: usize| {
        while done.load(Ordering::Relaxed) < calls && !over.load(Ordering::Relaxed) {
            std::thread::sleep(Duration::from_millis(1));
        }
    };
    let mut steps: Vec<_> = (0..servers.len()).flat_map(|server| FATES.map(|fate| (server, fate))).collect();
    let mut drawn = SEED;
    for place in (1..steps.len()).rev() {
        // Knuth's generator; its high bits are good enough to shuffle.
        drawn = drawn.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        steps.swap(place, usize::try_from(drawn >> 33).unwrap() % (place + 1));
    }
    let between = CLIENTS * CALLS / (steps.len() + 2);
    for (at, (server, fate)) in steps.into_iter().enumerate() {
        let begin = between * (at + 1);
        reached(begin);
        let server = &mut servers[server];
        let first = if matches!(fate, Fate::Restarted | Fate::Missing) { "KILL" } else { "STOP" };
        server.signal(gateway, first);
        if !matches!(fate, Fate::Restarted) {
            reached(begin + between / 2);
        }
        match fate {
            Fate::Restarted | Fate::Missing => {}
            Fate::Stopped => {
                server.signal(gateway, "CONT");
                continue;
            }
            Fate::StoppedAndKilled => server.signal(gateway, "KILL"),
        }
        server.come_back();
    }
}

#[test]
fn on_a_bad_day_every_call_is_accounted_for_and_none_is_carried_out_twice() {
    let folder = Folder::new();
    let mut servers = SERVERS.map(|(name, way)| Mortal::of(way, folder.path().join(format!("{name}.done"))));
    let entries: String = SERVERS
        .iter()
        .zip(&servers)
        .map(|((name, way), server)| {
            // A Python takes its time to start where others do, too. Who gives up too soon starts it again and again.
            let patience = Duration::from_secs(if *way == Way::Stdio { 10 } else { 2 });
            server.entry(name, *way, patience)
        })
        .collect();
    folder.write("p.yaml", &format!("policy: observe\nupstreams:\n{entries}"));
    let (mut gateway, address) = Running::gateway(&folder, &["--config", "p.yaml"]);

    let (done, over) = (AtomicUsize::new(0), AtomicBool::new(false));
    let told: HashMap<String, Told> = std::thread::scope(|scope| {
        let (done, over, servers, pid) = (&done, &over, &mut servers, gateway.pid());
        let day = scope.spawn(move || bad_day(servers, pid, done, over));
        let clients: Vec<_> = (0..CLIENTS)
            .map(|number| {
                scope.spawn(move || {
                    let mut client = Client::open(address, number);
                    client.work(done);
                    client
                })
            })
            .collect();
        let clients: Vec<_> = clients.into_iter().map(|client| client.join()).collect();
        // Also when a client failed, for whom the day would wait in vain.
        over.store(true, Ordering::Relaxed);
        day.join().unwrap();
        let mut clients: Vec<_> = clients.into_iter().map(Result::unwrap).collect();
        std::thread::scope(|scope| {
            for client in &mut clients {
                scope.spawn(|| client.recover());
            }
        });
        clients.into_iter().flat_map(|client| client.told).collect()
    });

    let mut carried_out: HashMap<String, usize> = HashMap::new();
    for (name, _) in SERVERS {
        for call in folder.read(&format!("{name}.done")).lines() {
            assert!(call.starts_with(name), "{name} was given a call of another server: {call}");
            *carried_out.entry(call.to_owned()).or_default() += 1;
        }
    }
    for (call, times) in &carried_out {
        assert_eq!(*times, 1, "{call} was carried out {times} times");
        assert!(told.contains_key(call), "{call} was never made");
    }
    for (call, _) in told.iter().filter(|(_, told)| **told == Told::Answered) {
        assert!(carried_out.contains_key(call), "{call} was answered and never carried out");
    }
    let failed = told.iter().filter(|(_, told)| **told == Told::Failed);
    for (name, way) in SERVERS {
        let of = failed.clone().filter(|(call, _)| call.starts_with(name)).count();
        eprintln!("{way:?}: {of} calls failed");
    }
    assert!(failed.count() > 0, "a day on which nothing fails shows nothing");

    gateway.signal("INT");
    assert!(gateway.end().success(), "{:#?}", gateway.said);
    // Verifies, and every intent has its outcome.
    let log = Log::of(&folder);
    let calls = log.calls(|intent| intent["method"] == "tools/call").len();
    assert_eq!(calls, told.len(), "each call is in the log");
}

/// The tools that a client sees at a path, or the code of the refusal.
fn listed(address: SocketAddr, path: &str) -> Result<Vec<String>, String> {
    let opened = http(address, "POST", path, &LEGACY, HELLO);
    let session = opened.header("mcp-session-id").unwrap_or_else(|| panic!("{path}: {opened:?}")).to_owned();
    let mut headers = LEGACY.to_vec();
    headers.extend([("mcp-session-id", session.as_str()), ("mcp-protocol-version", "2025-11-25")]);
    let answer = http(address, "POST", path, &headers, r#"{"jsonrpc":"2.0","id":1,"method":"tools/list"}"#);
    let answer: Value = serde_json::from_str(&answer.body).unwrap();
    let Some(tools) = answer["result"]["tools"].as_array() else {
        return Err(answer["error"]["data"]["code"].as_str().unwrap().to_owned());
    };
    Ok(tools.iter().map(|tool| tool["name"].as_str().unwrap().to_owned()).collect())
}

/// With the servers dead, whatever is listed was not asked of them.
#[test]
fn lists_that_are_known_cost_no_call_and_where_they_are_asked_for_an_endpoint_says_what_a_missing_server_means() {
    let folder = Folder::new();
    let mut servers: Vec<Mortal> =
        ["amber", "birch"].map(|name| Mortal::start(folder.path().join(format!("{name}.done")), 0, &[])).into();
    let file = |more: &str| {
        let entry = |(name, server): (&str, &Mortal)| server.entry(name, Way::Http, PATIENCE);
        let entries: String = ["amber", "birch"].into_iter().zip(&servers).map(entry).collect();
        format!("policy: observe\nupstreams:\n{entries}{more}")
    };
    folder.write("known.yaml", &file(""));
    let asked = "gateway: { catalogue_ttl_ms: 0 }\nendpoints:\n- { path: /all-or-none, missing: strict }\n";
    folder.write("asked.yaml", &file(asked));
    let (_known, known) = Running::gateway(&folder, &["--config", "known.yaml"]);
    let other = ["run", "--listen", "127.0.0.1:0", "--audit-log", "audit-of-asked", "--config", "asked.yaml"];
    let mut asking = Running::start(&folder, &other);
    let asked = asking.address();
    let both = ["amber__work".to_owned(), "birch__work".to_owned()];
    assert_eq!(listed(asked, "/all-or-none").unwrap(), both);
    servers.remove(0);
    assert_eq!(listed(known, "/mcp").unwrap(), both);
    assert_eq!(listed(asked, "/mcp").unwrap(), both[1..]);
    assert_eq!(listed(asked, "/all-or-none").unwrap_err(), "upstream_unreachable");
}
