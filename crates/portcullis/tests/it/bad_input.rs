//! What servers may do wrong, behind every transport at once: lists without end, ids of others, nobody there at start. The others are served.

use std::net::{SocketAddr, TcpListener};
use std::path::PathBuf;

use serde_json::{Value, json};

use crate::chaos::{Mortal, SERVERS, Way, program};
use crate::contract::eventually;
use crate::contract::stage::Log;
use crate::servers::Client;
use crate::support::{Folder, PATIENCE, Running, run};

/// A server behind each transport whose list of tools misbehaves like this, and their entries.
fn servers(folder: &Folder, suffix: &str, list: &str) -> (Vec<Mortal>, String) {
    let mut entries = String::new();
    let started = SERVERS.map(|(name, way)| {
        let name = format!("{name}{suffix}");
        folder.write(&format!("{name}.list"), list);
        let server = Mortal::of(way, folder.path().join(&name));
        entries.push_str(&server.entry(&name, way, PATIENCE));
        server
    });
    (started.into(), entries)
}

/// Servers that are not there yet, and their entries.
struct Absent {
    entries: String,
    program: PathBuf,
    places: Vec<(u16, PathBuf)>,
}

impl Absent {
    fn new(folder: &Folder) -> Self {
        let (mut entries, mut places) = (String::new(), Vec::new());
        for (name, way) in SERVERS {
            let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
            let log = folder.path().join(name);
            entries.push_str(&Mortal::absent(log.clone(), port).entry(name, way, PATIENCE));
            if way != Way::Stdio {
                places.push((port, log));
            }
        }
        let late = folder.path().join("late.py");
        let entries = entries.replace(program().to_str().unwrap(), late.to_str().unwrap());
        Self { entries, program: late, places }
    }

    fn come(self) -> Vec<Mortal> {
        std::fs::copy(program(), self.program).unwrap();
        self.places.into_iter().map(|(port, log)| Mortal::start(log, port, &[])).collect()
    }
}

fn gateway(folder: &Folder, entries: &str) -> (Running, SocketAddr) {
    folder.write("p.yaml", &format!("policy: observe\nupstreams:\n{entries}"));
    Running::gateway(folder, &["--config", "p.yaml"])
}

/// One line has all of it.
fn says(gateway: &mut Running, of: &str, what: &str) {
    let fits = |line: &String| line.contains(of) && line.contains(what);
    while !gateway.said.iter().any(fits) {
        gateway.wait_for(of);
    }
}

fn call(id: &str, tool: &str, arguments: &Value) -> String {
    let params = json!({ "name": tool, "arguments": arguments });
    json!({ "jsonrpc": "2.0", "id": id, "method": "tools/call", "params": params }).to_string()
}

/// What is made of them in lists and calls is told of one server in `pipeline/tests/merged.rs`.
#[test]
fn ten_thousand_tools_of_each_server_are_read_and_named_and_one_more_is_too_many() {
    let folder = Folder::new();
    let (_servers, entries) = servers(&folder, "", "hoard 10000");
    folder.write("more.list", "hoard 10001");
    let more = Mortal::of(Way::Http, folder.path().join("more"));
    let entries = entries + &more.entry("more", Way::Http, PATIENCE);
    folder.write("p.yaml", &format!("policy: observe\nupstreams:\n{entries}"));
    let ended = run(&folder, &["tools", "--json", "--config", "p.yaml"]);
    assert_eq!(ended.code, 1, "{}", ended.err);
    assert!(ended.out.contains("the server has more than 10000 items in `tools/list`"), "{}", ended.err);
    for (server, _) in SERVERS {
        let names = format!("\"{server}__work");
        assert_eq!(ended.out.matches(&names).count(), 10_000, "{server}");
    }
}

/// Pages without end, cursors that go round in a circle.
#[test]
fn a_list_that_cannot_be_read_to_its_end_is_given_up_and_keeps_nobody_from_the_others() {
    let folder = Folder::new();
    let (_endless, endless) = servers(&folder, "_endless", "endless");
    let (_circles, circles) = servers(&folder, "_circle", "circle");
    let good = Mortal::of(Way::Http, folder.path().join("good"));
    let entries = format!("{}{endless}{circles}", good.entry("good", Way::Http, PATIENCE));
    let (mut gateway, address) = gateway(&folder, &entries);
    for (name, _) in SERVERS {
        for (list, why) in
            [("endless", "`tools/list` has more than 100 pages"), ("circle", "`tools/list` repeats a cursor")]
        {
            says(&mut gateway, &format!("trying again server={name}_{list} "), why);
        }
    }
    let client = Client::open(address, "/mcp");
    assert!(client.tools().contains(&"good__work".to_owned()));
    let answer = client.ask(&call("good", "good__work", &json!({ "call": "good" })));
    assert_eq!(answer["result"]["content"][0]["text"], "did good", "{answer}");
    gateway.signal("INT");
    assert!(gateway.end().success());
}

/// Each server in turn answers to the id of a call that waits at another, before its own.
#[test]
fn an_answer_with_the_id_of_another_servers_call_reaches_nobody() {
    let folder = Folder::new();
    let (_servers, entries) = servers(&folder, "", "");
    let (mut gateway, address) = gateway(&folder, &entries);
    for (number, (liar, way)) in SERVERS.into_iter().enumerate() {
        let victim = SERVERS[(number + 1) % SERVERS.len()].0;
        let (client, go) = (Client::open(address, "/mcp"), format!("go{number}"));
        let waits = json!({ "call": format!("{victim} {liar}"), "until": folder.path().join(&go) });
        std::thread::scope(|scope| {
            let waiting = scope.spawn(|| client.ask(&call("victim", &format!("{victim}__work"), &waits)));
            eventually("the call to wait", || {
                let done = std::fs::read_to_string(folder.path().join(victim)).unwrap_or_default();
                done.contains(&format!("{victim} {liar}")).then_some(())
            });
            let lies = json!({ "call": liar, "others": ["victim"] });
            let own = client.ask(&call("own", &format!("{liar}__work"), &lies));
            folder.write(&go, "");
            // One body is one answer.
            if way == Way::Http {
                assert_eq!(own["error"]["data"]["code"], "upstream_answer_unmatched", "{own}");
            } else {
                assert_eq!(own["result"]["content"][0]["text"], format!("did {liar}"), "{own}");
            }
            assert_eq!(own["id"], "own");
            let answer = waiting.join().unwrap();
            assert_eq!(answer["result"]["content"][0]["text"], format!("did {victim} {liar}"), "{answer}");
        });
    }
    gateway.signal("INT");
    assert!(gateway.end().success());
    Log::of(&folder);
}

#[test]
fn with_servers_of_every_transport_down_it_starts_says_so_and_recovers_by_itself() {
    let folder = Folder::new();
    let absent = Absent::new(&folder);
    let (mut gateway, address) = gateway(&folder, &absent.entries);
    for (name, _) in SERVERS {
        says(&mut gateway, &format!("server={name} "), "starting anyway, and trying again");
    }
    let _servers = absent.come();
    for (name, _) in SERVERS {
        says(&mut gateway, &format!("server={name} "), "the server answers now");
    }
    assert_eq!(Client::open(address, "/mcp").tools(), SERVERS.map(|(name, _)| format!("{name}__work")));
}
