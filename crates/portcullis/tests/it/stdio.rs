//! Children with real failures behind the real binary: what they inherit, what they say, how they die, and that nothing of them stays.
//! (That they are served, heard and gone after a drain is told in `children.rs`.)

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::process::Command;

use serde_json::{Value, json};

use crate::contract::client::{Client, Era};
use crate::contract::stage::Log;
use crate::contract::{each, eventually};
use crate::support::{Folder, Running, descendants, portcullis};

/// A server of either era whose tools are ways to misbehave.
const SERVER: &str = r#"
import json, os, signal, subprocess, sys, time
era = sys.argv[1]

def write(message):
    sys.stdout.write(json.dumps(message) + "\n")
    sys.stdout.flush()

def text(message, words):
    result = {"resultType": "complete", "content": [{"type": "text", "text": words}]}
    write({"jsonrpc": "2.0", "id": message["id"], "result": result})

def call(message):
    tool, token = message["params"]["name"], message["params"].get("_meta", {}).get("progressToken")
    if tool == "environment":
        text(message, json.dumps(dict(os.environ)))
    elif tool == "crash":
        print("about to crash", file=sys.stderr, flush=True)
        os._exit(9)
    elif tool == "offspring":
        quiet = {"stdin": subprocess.DEVNULL, "stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        deaf = "import signal,time;signal.signal(signal.SIGTERM,signal.SIG_IGN);time.sleep(600)"
        one = subprocess.Popen([sys.executable, "-c", "import time;time.sleep(600)"], **quiet)
        two = subprocess.Popen([sys.executable, "-c", deaf], **quiet)
        text(message, json.dumps([os.getpid(), one.pid, two.pid]))
    elif tool == "garbage":
        sys.stdout.write('{"jsonrpc":"2.0","id":%s,"result":{"a":1,"a":2}}\n' % json.dumps(message["id"]))
        sys.stdout.flush()
    elif tool == "flood":
        note = {"jsonrpc": "2.0", "method": "notifications/progress",
            "params": {"progressToken": token, "progress": 1, "message": "x" * 100000}}
        for step in range(1000):
            write(note)
        text(message, "all written")
    else:
        text(message, "done " + tool)

tools = ["environment", "crash", "offspring", "garbage", "flood", "plain"]
for line in sys.stdin:
    message = json.loads(line)
    method = message.get("method")
    if "id" not in message:
        continue
    if method == "initialize" and era == "legacy":
        write({"jsonrpc": "2.0", "id": message["id"], "result": {"protocolVersion": "2025-11-25",
            "capabilities": {"tools": {}}, "serverInfo": {"name": "s", "version": "1"}}})
    elif method == "server/discover" and era == "modern":
        write({"jsonrpc": "2.0", "id": message["id"], "result": {"resultType": "complete", "supportedVersions": ["2026-07-28"],
            "capabilities": {"tools": {}}, "ttlMs": 0, "cacheScope": "private"}})
    elif method == "tools/list":
        listed = [{"name": name, "inputSchema": {"type": "object"}} for name in tools]
        write({"jsonrpc": "2.0", "id": message["id"], "result": {"resultType": "complete", "tools": listed, "ttlMs": 0,
            "cacheScope": "private"}})
    elif method == "tools/call":
        call(message)
    else:
        write({"jsonrpc": "2.0", "id": message["id"], "error": {"code": -32601, "message": "no"}})
"#;

const ERAS: [Era; 2] = [Era::Legacy, Era::Modern];

fn gateway(era: Era) -> (Folder, Running, SocketAddr) {
    let folder = Folder::new();
    folder.write("server.py", SERVER);
    let (gateway, address) = Running::gateway(&folder, &["--name", "notes", "--", "python3", "server.py", era.word()]);
    (folder, gateway, address)
}

fn ended(folder: &Folder, mut gateway: Running) -> Log {
    gateway.signal("INT");
    assert!(gateway.end().success(), "{:#?}", gateway.said);
    Log::of(folder)
}

/// What Python, or the script that stands for it on some machines, puts into its own environment.
fn added_by_python() -> BTreeSet<String> {
    let folder = Folder::new();
    let mut python = Command::new("python3");
    python.env_clear().env("PATH", std::env::var_os("PATH").unwrap()).env("HOME", folder.path());
    let output = python.args(["-c", "import json, os; print(json.dumps(list(os.environ)))"]).output().unwrap();
    serde_json::from_slice(&output.stdout).unwrap()
}

/// E13: what a program needs to run, what the operator names, and nothing of ours.
#[test]
fn a_child_inherits_nothing_but_what_programs_need_and_the_operator_names() {
    let added = added_by_python();
    for era in ERAS {
        let folder = Folder::new();
        folder.write("server.py", SERVER);
        let config = format!(
            "upstream:\n  name: notes\n  stdio:\n    command: python3\n    args: [server.py, {}]\n    env: {{ NOTES_FOLDER: {{ value: /srv/notes }} }}\n",
            era.word()
        );
        folder.write("portcullis.yaml", &config);
        let mut command = portcullis(folder.path());
        command.env("AWS_SECRET_ACCESS_KEY", "leaked").env("LD_LIBRARY_PATH", "/leaked").env("PORTCULLIS_LOG", "info");
        command.args(["run", "--config", "portcullis.yaml", "--listen", "127.0.0.1:0", "--audit-log", "audit"]);
        let mut gateway = Running::spawn(&mut command);
        let client = Client::connect(gateway.address(), era);
        let environment: Value = serde_json::from_str(&client.text("environment", json!({}))).unwrap();
        let names: BTreeSet<_> = environment.as_object().unwrap().keys().map(String::as_str).collect();
        let needed = ["PATH", "HOME", "LANG", "TMPDIR", "USER", "NOTES_FOLDER"];
        let unexpected: Vec<_> =
            names.iter().filter(|name| !needed.contains(name) && !added.contains(**name)).collect();
        assert!(unexpected.is_empty(), "{unexpected:?}");
        assert_eq!(environment["NOTES_FOLDER"], "/srv/notes");
    }
}

#[test]
fn a_crash_in_mid_call_is_an_error_with_the_id_and_the_next_session_works() {
    each(ERAS, |era| {
        eprintln!("{era:?}");
        let (folder, gateway, address) = gateway(era);
        let client = Client::connect(address, era);
        let answer = client.open_as(json!("mine"), "tools/call", json!({ "name": "crash", "arguments": {} })).last();
        assert_eq!(answer["id"], "mine");
        assert_eq!(answer["error"]["data"]["code"], "upstream_died", "{answer}");
        if era == Era::Legacy {
            // The session died with its child: 404 makes a client initialize again.
            let gone = client.send_raw("ping", None, &[], r#"{"jsonrpc":"2.0","id":1,"method":"ping"}"#);
            assert_eq!(gone.status, 404);
        }
        assert_eq!(Client::connect(address, era).text("plain", json!({})), "done plain");
        let log = ended(&folder, gateway);
        assert_eq!(log.call_of("crash").1["code"], "upstream_died");
        let stderr =
            log.entries.iter().find(|entry| entry["detail"] == "about to crash").expect("the child's last words");
        assert_eq!(
            (&stderr["kind"], &stderr["code"], &stderr["server"]),
            (&json!("notice"), &json!("child_stderr"), &json!("notes"))
        );
    });
}

#[test]
fn an_answer_the_reader_refuses_is_an_error_with_the_id_and_the_child_serves_on() {
    each(ERAS, |era| {
        let (folder, gateway, address) = gateway(era);
        let client = Client::connect(address, era);
        let answer = client.open_call("garbage", json!({})).last();
        assert_eq!(answer["error"]["data"]["code"], "upstream_garbage", "{answer}");
        assert_eq!(client.text("plain", json!({})), "done plain");
        assert_eq!(ended(&folder, gateway).call_of("garbage").1["code"], "upstream_garbage");
    });
}

/// What the child reports of itself and its own children, and what the system says is below the gateway.
fn family(gateway: &Running, client: &Client) -> Vec<u32> {
    let told: Vec<u32> = serde_json::from_str(&client.text("offspring", json!({}))).unwrap();
    let mut all = descendants(gateway.pid());
    assert!(told.iter().all(|pid| all.contains(pid)), "{told:?} {all:?}");
    all.extend(told);
    all
}

fn gone(family: &[u32]) {
    // A number may be used anew, but not within a test's life. Zombies of another parent are gone, too.
    let alive = |pid: u32| {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        stat.rsplit_once(')').is_some_and(|(_, rest)| !rest.trim_start().starts_with('Z'))
    };
    eventually("the family to go", || (!family.iter().any(|pid| alive(*pid))).then_some(()));
}

#[test]
fn ctrl_c_ends_children_and_grandchildren_even_deaf_ones() {
    each(ERAS, |era| {
        let (folder, gateway, address) = gateway(era);
        let family = family(&gateway, &Client::connect(address, era));
        ended(&folder, gateway);
        gone(&family);
    });
}

/// Nobody can clean up after SIGKILL but the system: children must be tied to our life beforehand. (Their own children are theirs.)
#[test]
fn a_killed_gateway_leaves_no_child() {
    each(ERAS, |era| {
        let (_folder, gateway, address) = gateway(era);
        let client = Client::connect(address, era);
        client.text("plain", json!({}));
        let children = descendants(gateway.pid());
        assert!(!children.is_empty());
        gateway.signal("KILL");
        gone(&children);
    });
}

#[test]
fn a_closed_session_leaves_neither_children_nor_grandchildren_nor_zombies() {
    let (_folder, gateway, address) = gateway(Era::Legacy);
    let before = descendants(gateway.pid());
    let client = Client::connect(address, Era::Legacy);
    let mut family = family(&gateway, &client);
    family.retain(|pid| !before.contains(pid));
    client.delete();
    gone(&family);
    let zombies = || {
        let children = format!("/proc/{0}/task/{0}/children", gateway.pid());
        let children = std::fs::read_to_string(children).unwrap_or_default();
        children
            .split_whitespace()
            .any(|pid| std::fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|stat| stat.contains(") Z ")))
    };
    eventually("the dead to be reaped", || (!zombies()).then_some(()));
}

/// A client that reads nothing of a flood of 100 MB holds up the child, not our memory; after a while its call is given up.
#[test]
fn a_reader_that_does_not_read_fills_no_memory() {
    each(ERAS, |era| {
        let folder = Folder::new();
        folder.write("server.py", SERVER);
        let config = format!(
            "upstream:\n  stdio:\n    command: python3\n    args: [server.py, {}]\n    stall_timeout_ms: 1000\n",
            era.word()
        );
        folder.write("portcullis.yaml", &config);
        let (gateway, address) = Running::gateway(&folder, &["--config", "portcullis.yaml"]);
        let client = Client::connect(address, era);
        let before = gateway.resident();
        let exchange = client.open_watched("t", "flood", json!({}));
        // On the same child: it is served once the one who does not read is given up.
        let most = std::thread::scope(|scope| {
            let other = scope.spawn(|| client.text("plain", json!({})));
            let mut most = 0;
            while !other.is_finished() {
                most = most.max(gateway.resident());
                std::thread::sleep(std::time::Duration::from_millis(20));
            }
            assert_eq!(other.join().unwrap(), "done plain");
            most
        });
        let grown = most.saturating_sub(before);
        assert!(grown < 48 << 20, "{era:?}: {grown} bytes more");
        exchange.response.hang_up();
        ended(&folder, gateway);
    });
}
