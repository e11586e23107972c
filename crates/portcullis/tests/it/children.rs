//! A server that is our child: `portcullis run -- COMMAND`. It serves, it is heard, and it never outlives the gateway.

use std::net::SocketAddr;

use crate::support::{Folder, Running, in_session, open_session, run};

const PID: &str = r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"pid","arguments":{}}}"#;

fn gateway(folder: &Folder) -> (Running, SocketAddr) {
    folder.write("server.py", include_str!("stdio_server.py"));
    Running::gateway(folder, &["--", "python3", "server.py"])
}

/// What the child says of itself.
fn child(address: SocketAddr) -> (u32, String) {
    let session = open_session(address);
    let answer = in_session(address, &session, PID);
    let text = answer.body.split("pid=").nth(1).unwrap_or_else(|| panic!("{answer:?}"));
    let (pid, rest) = text.split_once(" env=").unwrap();
    (pid.parse().unwrap(), rest.split('"').next().unwrap().to_owned())
}

/// A process that is gone, or a zombie waiting for whoever adopted it.
fn is_gone(pid: u32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.is_empty() || stat.rsplit(')').next().unwrap().trim_start().starts_with('Z')
}

#[test]
fn a_stdio_server_is_served_with_a_clean_environment_and_its_stderr_is_logged_under_its_name() {
    let folder = Folder::new();
    let (mut gateway, address) = gateway(&folder);
    let (_, environment) = child(address);
    assert!(!environment.contains("NO_COLOR"), "only what a program needs to run: {environment}");
    gateway.signal("INT");
    assert!(gateway.end().success());
    let said = gateway.said.join("\n");
    assert!(said.contains("server (2 tools, legacy era): python3 server.py"), "{said}");
    assert!(said.lines().any(|line| line.contains("hello from the child") && line.contains("server")), "{said}");
    let log = run(&folder, &["audit", "tail", "-n", "100", "audit"]).out;
    assert!(log.contains("child_stderr") && log.contains("hello from the child"), "{log}");
}

#[test]
fn children_are_gone_after_a_drain() {
    let folder = Folder::new();
    let (mut gateway, address) = gateway(&folder);
    let (pid, _) = child(address);
    assert!(!is_gone(pid));
    gateway.signal("INT");
    assert!(gateway.end().success());
    assert!(is_gone(pid), "the child outlived the gateway");
}

#[test]
fn a_program_that_does_not_exist_is_a_typing_error_told_at_start() {
    let folder = Folder::new();
    let ended = run(&folder, &["run", "--listen", "127.0.0.1:0", "--audit-log", "audit", "--", "no-such-program"]);
    assert_eq!(ended.code, 2, "{ended:?}");
    assert!(ended.err.contains("`no-such-program` cannot be started: no such program in `PATH`"), "{ended:?}");
}

#[test]
fn a_server_that_cannot_start_is_said_and_the_gateway_stays_up() {
    let folder = Folder::new();
    let (mut gateway, _) = Running::gateway(&folder, &["--", "false"]);
    let said = gateway.wait_for("does not answer yet");
    assert!(said.contains("false"), "{said}");
    gateway.signal("INT");
    assert!(gateway.end().success());
}

const WAIT: &str = r#"{"jsonrpc":"2.0","id":7,"method":"tools/call","params":{"name":"wait","arguments":{}}}"#;

#[test]
fn a_drain_lets_an_open_call_finish() {
    let folder = Folder::new();
    let (mut gateway, address) = gateway(&folder);
    let session = open_session(address);
    let call = std::thread::spawn(move || in_session(address, &session, WAIT));
    gateway.wait_for("waiting for go");
    gateway.signal("INT");
    gateway.wait_for("stopping: open calls may finish");
    folder.write("go", "");
    let answer = call.join().unwrap();
    assert_eq!(answer.status, 200, "{answer:?}");
    assert!(answer.body.contains("gone"), "{answer:?}");
    assert!(gateway.end().success());
}

#[test]
fn a_second_ctrl_c_stops_at_once_with_the_log_whole_and_no_child_left() {
    let folder = Folder::new();
    folder.write("p.yaml", "timeouts: { drain_seconds: 3600 }\n");
    folder.write("server.py", include_str!("stdio_server.py"));
    let (mut gateway, address) = Running::gateway(&folder, &["--config", "p.yaml", "--", "python3", "server.py"]);
    let (pid, _) = child(address);
    let session = open_session(address);
    let call = std::thread::spawn(move || {
        // However it ends, it ends.
        let _ = std::panic::catch_unwind(|| in_session(address, &session, WAIT));
    });
    gateway.wait_for("waiting for go");
    gateway.signal("INT");
    gateway.wait_for("stopping: open calls may finish");
    gateway.signal("INT");
    gateway.end();
    call.join().unwrap();
    assert!(is_gone(pid));
    let verified = run(&folder, &["audit", "verify", "audit"]);
    assert_eq!(verified.code, 0, "{verified:?}");
}
