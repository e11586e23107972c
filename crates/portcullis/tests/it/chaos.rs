//! Bad days: servers are killed, stopped and slowed while 64 clients call them. Every call is accounted for: answered, refused, or failed with
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
use crate::support::{Folder, HELLO, LEGACY, PATIENCE, Running, http};

const CLIENTS: usize = 64;
const CALLS: usize = 12;
const SERVERS: [&str; 4] = ["amber", "birch", "cedar", "delta"];

/// A server that can be killed and comes back under the same address, and the record of what it carried out.
struct Mortal {
    child: Child,
    port: u16,
    log: PathBuf,
}

impl Mortal {
    fn start(log: PathBuf, port: u16) -> Self {
        let program = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/chaos_server.py");
        let mut child = Command::new("python3")
            .arg(program)
            .arg(port.to_string())
            .arg(&log)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        Self { port: line.trim().parse().unwrap_or_else(|_| panic!("no port: {line:?}")), child, log }
    }

    fn signal(&self, name: &str) {
        assert!(
            Command::new("kill").args([&format!("-{name}"), &self.child.id().to_string()]).status().unwrap().success()
        );
    }

    fn restart(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        *self = Self::start(self.log.clone(), self.port);
    }
}

impl Drop for Mortal {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What a client read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Told {
    Answered,
    /// With the id of the call.
    Failed,
}

/// A client that opens a session and calls each server in turn.
fn client(address: SocketAddr, number: usize, done: &AtomicUsize) -> Vec<(String, Told)> {
    let opened = http(address, "POST", "/mcp", &LEGACY, HELLO);
    assert_eq!(opened.status, 200, "all servers down or not, the gateway opens a session: {opened:?}");
    let session = opened.header("mcp-session-id").unwrap().to_owned();
    let mut headers = LEGACY.to_vec();
    headers.extend([("mcp-session-id", session.as_str()), ("mcp-protocol-version", "2025-11-25")]);
    let mut told = Vec::new();
    for call in 0..CALLS {
        let server = SERVERS[(number + call) % SERVERS.len()];
        let name = format!("{server}/{number}/{call}");
        let text = json!({
            "jsonrpc": "2.0",
            "id": name,
            "method": "tools/call",
            "params": { "name": format!("{server}__work"), "arguments": { "call": name } },
        });
        let answer = http(address, "POST", "/mcp", &headers, &text.to_string());
        let body = answer.body.lines().filter_map(|line| line.strip_prefix("data: ")).next_back();
        let body: Value = serde_json::from_str(body.unwrap_or(&answer.body))
            .unwrap_or_else(|error| panic!("{name}: neither an answer nor an error: {error}: {answer:?}"));
        assert_eq!(body["id"], *name, "{body}");
        told.push(if body["result"].is_object() {
            assert_eq!(body["result"]["content"][0]["text"], format!("did {name}"), "another call's answer");
            (name, Told::Answered)
        } else {
            assert!(body["error"]["code"].is_i64(), "{body}");
            (name, Told::Failed)
        });
        done.fetch_add(1, Ordering::Relaxed);
    }
    told
}

/// The bad day, in steps that follow the calls that are done, not the clock: the same order in every run.
fn bad_day(servers: &mut [Mortal], done: &AtomicUsize, over: &AtomicBool) {
    let reached = |calls: usize| {
        while done.load(Ordering::Relaxed) < calls && !over.load(Ordering::Relaxed) {
            std::thread::yield_now();
        }
    };
    let all = CLIENTS * CALLS;
    for (at, step) in (1..16).enumerate() {
        reached(all * step / 20);
        // A small generator with a fixed seed: which server, and what becomes of it.
        let drawn = (at * 7 + 3) % 11;
        let Some(server) = servers.get_mut(drawn % SERVERS.len()) else { continue };
        match drawn % 3 {
            0 => server.restart(),
            1 => {
                server.signal("STOP");
                reached(all * step / 20 + 20);
                server.signal("CONT");
            }
            _ => {
                let _ = server.child.kill();
                reached(all * step / 20 + 30);
                server.restart();
            }
        }
    }
}

#[test]
fn on_a_bad_day_every_call_is_accounted_for_and_none_is_carried_out_twice() {
    let folder = Folder::new();
    let log = |name: &str| folder.path().join(format!("{name}.done"));
    let mut servers: Vec<Mortal> = SERVERS.iter().map(|name| Mortal::start(log(name), 0)).collect();
    let mut file = String::from("policy: observe\nupstreams:\n");
    for (name, server) in SERVERS.iter().zip(&servers) {
        file.push_str(&format!(
            "- {{ name: {name}, http: {{ url: 'http://127.0.0.1:{}/mcp', first_byte_timeout_ms: 2000 }}, breaker: {{ open_ms: 100, max_open_ms: 400 }} }}\n",
            server.port
        ));
    }
    folder.write("p.yaml", &file);
    let (mut gateway, address) = Running::gateway(&folder, &["--config", "p.yaml"]);

    let (done, over) = (AtomicUsize::new(0), AtomicBool::new(false));
    let told: HashMap<String, Told> = std::thread::scope(|scope| {
        let (done, over, servers) = (&done, &over, &mut servers);
        let chaos = scope.spawn(move || bad_day(servers, done, over));
        let clients: Vec<_> = (0..CLIENTS).map(|number| scope.spawn(move || client(address, number, done))).collect();
        let told = clients.into_iter().flat_map(|client| client.join().unwrap()).collect();
        over.store(true, Ordering::Relaxed);
        chaos.join().unwrap();
        told
    });
    assert_eq!(told.len(), CLIENTS * CALLS, "every call was told of");

    let mut carried_out: HashMap<String, usize> = HashMap::new();
    for name in SERVERS {
        for call in folder.read(&format!("{name}.done")).lines() {
            assert!(call.starts_with(name), "{name} was given a call of another server: {call}");
            *carried_out.entry(call.to_owned()).or_default() += 1;
        }
    }
    for (call, times) in &carried_out {
        assert_eq!(*times, 1, "{call} was carried out {times} times");
    }
    let answered = told.iter().filter(|(_, told)| **told == Told::Answered);
    for (call, _) in answered.clone() {
        assert!(carried_out.contains_key(call), "{call} was answered and never carried out");
    }
    let (answered, failed) = (answered.count(), told.values().filter(|told| **told == Told::Failed).count());
    assert!(answered > 0 && failed > 0, "a day with {answered} answered and {failed} failed calls shows nothing");

    // It recovers by itself.
    let deadline = Instant::now() + PATIENCE;
    for (number, server) in SERVERS.iter().enumerate() {
        let recovered =
            || client(address, 1000 + number, &AtomicUsize::new(0)).iter().all(|(_, told)| *told == Told::Answered);
        while !recovered() {
            assert!(Instant::now() < deadline, "{server} does not come back");
            std::thread::sleep(Duration::from_millis(50));
        }
    }
    gateway.signal("INT");
    assert!(gateway.end().success(), "{:#?}", gateway.said);
    // Verifies, and every intent has its outcome.
    let log = Log::of(&folder);
    let calls = |kind: &str| {
        log.entries.iter().filter(|entry| entry["kind"] == kind && entry["method"] == "tools/call").count()
    };
    assert!(calls("intent") >= CLIENTS * CALLS, "{} intents", calls("intent"));
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
        ["amber", "birch"].iter().map(|name| Mortal::start(folder.path().join(format!("{name}.done")), 0)).collect();
    let file = |more: &str| {
        let entry = |(name, server): (&str, &Mortal)| {
            format!("- {{ name: {name}, http: {{ url: 'http://127.0.0.1:{}/mcp' }} }}\n", server.port)
        };
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
