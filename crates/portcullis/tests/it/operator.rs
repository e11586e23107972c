//! What an operator relies on: the cap on sessions, sessions that belong to their caller, a strict log, rotation, metrics and health.

use std::net::SocketAddr;
use std::process::Command;

use serde_json::{Value, json};

use crate::contract::eventually;
use crate::contract::stage::Log;
use crate::support::{Answer, Folder, HELLO, LEGACY, Running, Server, http, in_session, open_session, portcullis, run};

const LOOK: &str = r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"look","arguments":{}}}"#;

/// A gateway with a configuration and an admin listener, in front of `server`.
fn gateway(folder: &Folder, server: &Server, config: &str) -> (Running, SocketAddr, SocketAddr) {
    folder.write("portcullis.yaml", config);
    let args = ["--config", "portcullis.yaml", "--upstream", &server.url(), "--admin", "127.0.0.1:0"];
    let (mut gateway, address) = Running::gateway(folder, &args);
    let admin = gateway.admin();
    (gateway, address, admin)
}

fn stopped(folder: &Folder, mut gateway: Running) -> Log {
    gateway.signal("INT");
    assert!(gateway.end().success(), "{:#?}", gateway.said);
    Log::of(folder)
}

fn body(answer: &Answer) -> Value {
    serde_json::from_str(&answer.body).unwrap_or_else(|error| panic!("{error}: {answer:?}"))
}

/// Value of a metric whose labels all stand in its line; 0 before it is first counted.
fn metric(admin: SocketAddr, name: &str, labels: &[&str]) -> u64 {
    let page = http(admin, "GET", "/metrics", &[], "").body;
    let line = page.lines().find(|line| line.starts_with(name) && labels.iter().all(|label| line.contains(label)));
    line.map_or(0, |line| line.rsplit(' ').next().unwrap().parse().unwrap())
}

#[test]
fn a_caller_at_the_cap_of_sessions_is_refused_a_new_one_and_keeps_the_old() {
    let (folder, server) = (Folder::new(), Server::start());
    let (gateway, address, admin) = gateway(&folder, &server, "sessions: { per_caller: 2 }\n");
    let sessions = [open_session(address), open_session(address)];
    for _ in 0..3 {
        let refused = http(address, "POST", "/mcp", &LEGACY, HELLO);
        assert_eq!(refused.status, 429, "{refused:?}");
        assert_eq!(body(&refused)["error"]["data"]["code"], "too_many_sessions", "{refused:?}");
        assert!(refused.header("mcp-session-id").is_none());
    }
    for session in &sessions {
        assert!(in_session(address, session, LOOK).body.contains("did"), "an old session is nobody's to take");
    }
    assert_eq!(metric(admin, "portcullis_refusals_total", &["\"too_many_sessions\""]), 3);

    let ended = http(address, "DELETE", "/mcp", &[("mcp-session-id", &sessions[0])], "");
    assert!((200..300).contains(&ended.status), "{ended:?}");
    open_session(address);
    let log = stopped(&folder, gateway);
    let refused = log.entries.iter().filter(|entry| entry["code"] == "too_many_sessions").count();
    assert_eq!(refused, 3, "{:#?}", log.entries);
}

/// A24: another caller's session is as unknown as one that never was, whatever is asked of it.
#[test]
fn the_session_of_another_caller_answers_like_one_that_never_was() {
    let (folder, server) = (Folder::new(), Server::start());
    let [(ana, ana_entry), (ben, ben_entry)] = ["ana", "ben"].map(|name| {
        let made = run(&folder, &["keys", "new", name]).out;
        let key = made.lines().find_map(|line| line.strip_prefix("# key: ")).unwrap();
        let (_, entry) = made.split_once("  keys:\n").unwrap();
        (format!("Bearer {key}"), entry.to_owned())
    });
    let (_gateway, address, _) = gateway(&folder, &server, &format!("identity:\n  keys:\n{ana_entry}{ben_entry}"));
    let as_caller = |bearer: &str, method: &str, session: Option<&str>, text: &str| {
        let mut headers = LEGACY.to_vec();
        headers.push(("authorization", bearer));
        headers.extend(session.map(|session| ("mcp-session-id", session)));
        http(address, method, "/mcp", &headers, text)
    };
    let opened = as_caller(&ana, "POST", None, HELLO);
    let session = opened.header("mcp-session-id").unwrap();
    let ready = r#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#;
    assert_eq!(as_caller(&ana, "POST", Some(session), ready).status, 202);

    // One sign of the id changed: sealed like a real one, and nobody's.
    let other = if session.starts_with('A') { 'B' } else { 'A' };
    let never = format!("{other}{}", &session[1..]);
    for (method, text) in [("POST", LOOK), ("GET", ""), ("DELETE", "")] {
        let [foreign, unknown] = [session, &never].map(|session| as_caller(&ben, method, Some(session), text));
        assert_eq!(foreign.status, 404, "{method}: {foreign:?}");
        assert_eq!((foreign.status, &foreign.body), (unknown.status, &unknown.body), "{method}");
    }
    assert!(as_caller(&ana, "POST", Some(session), LOOK).body.contains("did"), "its owner does not notice");
}

/// A disk that is full, as a process sees one: a limit on the size of its files, taken away again later.
#[test]
fn a_strict_log_that_cannot_be_written_stops_traffic_until_it_can() {
    let (folder, server) = (Folder::new(), Server::start());
    folder.write("portcullis.yaml", "audit: { strict: true, path: audit }\n");
    let mut plain = portcullis(folder.path());
    plain.args(["run", "--config", "portcullis.yaml", "--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0"]);
    plain.args(["--upstream", &server.url()]);
    let mut limited = Command::new("sh");
    limited.env_clear().envs(plain.get_envs().filter_map(|(name, value)| Some((name, value?))));
    // In blocks of 512 bytes. The signal would kill; ignored, it leaves the error that a full disk gives.
    limited.args(["-c", "trap '' XFSZ; ulimit -S -f 32; exec \"$0\" \"$@\""]).arg(plain.get_program());
    limited.args(plain.get_args()).current_dir(folder.path());
    let mut gateway = Running::spawn(&mut limited);
    let (address, admin) = (gateway.address(), gateway.admin());
    let session = open_session(address);
    assert_eq!(metric(admin, "portcullis_audit_healthy", &[]), 1);

    let refused = eventually("the log to be full", || {
        let answer = in_session(address, &session, LOOK);
        (answer.status != 200).then_some(answer)
    });
    assert_eq!(refused.status, 503, "{refused:?}");
    assert_eq!(body(&refused)["error"]["data"]["code"], "unrecorded", "{refused:?}");
    let health = http(admin, "GET", "/healthz", &[], "");
    assert_eq!(health.status, 503, "{health:?}");
    assert_ne!(body(&health)["log"], "ok", "{health:?}");
    assert_eq!(metric(admin, "portcullis_audit_healthy", &[]), 0);

    let pid = gateway.pid().to_string();
    assert!(Command::new("prlimit").args(["--pid", &pid, "--fsize=unlimited:"]).status().unwrap().success());
    eventually("traffic to be let through again", || (in_session(address, &session, LOOK).status == 200).then_some(()));
    assert_eq!(http(admin, "GET", "/healthz", &[], "").status, 200);
    stopped(&folder, gateway);
}

#[test]
fn a_rotated_log_verifies_as_a_whole_and_names_what_is_wrong_in_an_old_segment() {
    let (folder, server) = (Folder::new(), Server::start());
    let (gateway, address, _) = gateway(&folder, &server, "audit: { rotate_bytes: 4096 }\n");
    let session = open_session(address);
    for _ in 0..20 {
        assert_eq!(in_session(address, &session, LOOK).status, 200);
    }
    let log = stopped(&folder, gateway);
    assert_eq!(log.calls(|intent| intent["name"] == "look").len(), 20, "every segment is read");
    let segment = |number: u32| format!("audit/audit-{number:08}.jsonl");
    assert!(folder.path().join(segment(4)).exists(), "segments of 4 KiB hold a few calls each");

    let old = folder.read(&segment(2));
    folder.write(&segment(2), &old.replacen("\"look\"", "\"took\"", 1));
    let bad = run(&folder, &["audit", "verify", "audit"]);
    assert_eq!(bad.code, 1, "{bad:?}");
    assert!(bad.out.contains("audit-00000002.jsonl"), "{}", bad.out);
    folder.write(&segment(2), &old);
    assert_eq!(run(&folder, &["audit", "verify", "audit"]).code, 0);

    std::fs::remove_file(folder.path().join(segment(1))).unwrap();
    assert_eq!(run(&folder, &["audit", "verify", "audit"]).code, 1, "the beginning is missing");
    assert_eq!(run(&folder, &["audit", "verify", "audit", "--partial"]).code, 0, "and was moved away on purpose");
}

#[test]
fn metrics_count_what_happened_and_health_says_what_can_be_relied_on() {
    let (folder, server) = (Folder::new(), Server::start());
    let (_gateway, address, admin) = gateway(&folder, &server, "{}\n");
    let session = open_session(address);
    for _ in 0..2 {
        in_session(address, &session, LOOK);
    }
    let page = http(admin, "GET", "/metrics", &[], "");
    assert_eq!(page.status, 200);
    assert!(page.header("content-type").unwrap().starts_with("application/openmetrics-text"), "{page:?}");
    assert!(page.body.ends_with("# EOF\n"), "{}", page.body);
    assert_eq!(metric(admin, "portcullis_calls_total", &["\"tools/call\"", "\"allow\""]), 2);
    assert!(!page.body.contains("look"), "names of tools are never labels");
    let health = http(admin, "GET", "/healthz", &[], "");
    assert_eq!(
        (health.status, body(&health)),
        (
            200,
            json!({
                "log": "ok",
                "servers": [{
                    "server": "server",
                    "reached": true,
                    "transports": [{ "transport": "http", "health": "healthy", "breaker": "closed" }],
                }],
            })
        )
    );
    assert_eq!(metric(admin, "portcullis_server_health", &["\"http\"", "\"healthy\""]), 1);
    let ready = http(admin, "GET", "/readyz", &[], "");
    assert_eq!((ready.status, &body(&ready)["ready"]), (200, &json!(true)), "{ready:?}");
}

#[test]
fn the_admin_listener_is_for_this_machine_only_and_pages_change_nothing() {
    let (folder, server) = (Folder::new(), Server::start());
    let (_gateway, _, admin) = gateway(&folder, &server, "{}\n");
    assert_eq!(http(admin, "GET", "/other", &[], "").status, 404);
    assert_eq!(http(admin, "POST", "/metrics", &[], "").status, 405);
    let rebound = http(admin, "GET", "/metrics", &[("host", "evil.example")], "");
    assert_eq!(rebound.status, 403, "DNS rebinding reads no metrics");
    let (json, page) = (("content-type", "application/json"), ("origin", "https://evil.example"));
    let reset = |headers: &[(&str, &str)]| http(admin, "POST", "/reset", headers, r#"{"server":"server"}"#).status;
    assert_eq!((reset(&[json, page]), reset(&[("content-type", "text/plain")])), (403, 415), "a page resets nothing");
    assert_eq!(reset(&[json]), 200);
    assert_eq!(http(admin, "POST", "/reset", &[json], "{}").status, 400);
    assert_eq!(http(admin, "GET", "/reset", &[], "").status, 405);
    let open = run(&folder, &["run", "--admin", "0.0.0.0:0", "--upstream", &server.url()]);
    assert_eq!(open.code, 2, "metrics never listen on the network: {open:?}");
}

#[test]
fn a_server_that_keeps_failing_is_left_alone_until_the_operator_says_otherwise() {
    let folder = Folder::new();
    let place = Server::start().address;
    folder.write(
        "portcullis.yaml",
        &format!(
            "upstream:\n  http: {{ url: \"http://{place}/mcp\" }}\n  \
             breaker: {{ consecutive_failures: 3, open_ms: 600000, max_open_ms: 600000 }}\n"
        ),
    );
    let args = ["--config", "portcullis.yaml", "--admin", "127.0.0.1:0"];
    let (mut gateway, address) = Running::gateway(&folder, &args);
    let admin = gateway.admin();
    let refused = eventually("the breaker to open", || {
        let answer = http(address, "POST", "/mcp", &LEGACY, HELLO);
        (body(&answer)["error"]["data"]["code"] == "circuit_open").then_some(answer)
    });
    let wait = body(&refused)["error"]["data"]["retryAfterMs"].as_u64().unwrap();
    assert!((400_000..=600_000).contains(&wait), "shortened by up to a fifth: {wait}");
    assert!(refused.header("retry-after").is_some(), "{refused:?}");
    let ready = http(admin, "GET", "/readyz", &[], "");
    assert_eq!(
        (ready.status, &body(&ready)["servers"][0]["transports"][0]["breaker"]),
        (503, &json!("open")),
        "{ready:?}"
    );
    assert_eq!(metric(admin, "portcullis_breaker_transitions_total", &["\"open\""]), 1);

    let url = format!("http://{admin}");
    let status = |args: &[&str]| run(&folder, &[&["status", "--admin", &url], args].concat());
    let shown = status(&[]);
    assert_eq!(shown.code, 1, "{shown:?}");
    assert!(shown.out.contains("server/http") && shown.out.contains("breaker open"), "{shown:?}");
    assert!(shown.out.contains("the MCP server cannot be reached"), "{shown:?}");
    let parsed: Value = serde_json::from_str(&status(&["--json"]).out).unwrap();
    assert_eq!(parsed["servers"][0]["calls"]["failed"], 3, "{parsed}");

    let _server = Server::start_at(place);
    assert_eq!(status(&["--reset", "nobody"]).code, 1);
    assert_eq!(status(&["--reset", "server/http"]).code, 0);
    let session = open_session(address);
    assert!(in_session(address, &session, LOOK).body.contains("did"));
    assert_eq!(status(&[]).code, 0);
    let log = stopped(&folder, gateway);
    let noticed = |code: &str| log.entries.iter().filter(|entry| entry["code"] == code).count();
    assert_eq!((noticed("breaker_open"), noticed("breaker_closed")), (1, 1));
}

#[test]
fn a_gateway_that_cannot_be_asked_is_said() {
    let folder = Folder::new();
    for admin in ["http://127.0.0.1:1", "https://127.0.0.1:8701", "127.0.0.1", "http://127.0.0.1:8701/x"] {
        let ended = run(&folder, &["status", "--admin", admin]);
        assert_eq!(ended.code, 2, "{admin}: {ended:?}");
    }
}

/// A gateway without its server is alive: a restart would not help, so health stays good and says what is missing.
#[test]
fn a_server_that_is_down_at_start_is_said_and_served_once_it_is_up() {
    let folder = Folder::new();
    let place = Server::start().address;
    let args = ["--upstream", &format!("http://{place}/mcp"), "--admin", "127.0.0.1:0"];
    let (mut gateway, address) = Running::gateway(&folder, &args);
    gateway.wait_for("does not answer yet");
    let admin = gateway.admin();
    let reached = || {
        let health = http(admin, "GET", "/healthz", &[], "");
        assert_eq!(health.status, 200, "{health:?}");
        body(&health)["servers"][0]["reached"].as_bool().unwrap()
    };
    assert!(!reached());
    let _server = Server::start_at(place);
    gateway.wait_for("the server answers now");
    assert!(reached());
    let session = open_session(address);
    assert!(in_session(address, &session, LOOK).body.contains("did"));
}
