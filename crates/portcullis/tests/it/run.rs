//! `portcullis run`: what it says, what it refuses, how it reloads and how it ends.

use crate::support::{Folder, HELLO, Running, Server, http, in_session, open_session, run};

const LOOK: &str = r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"look","arguments":{}}}"#;
const PAY: &str =
    r#"{"jsonrpc":"2.0","id":2,"method":"tools/call","params":{"name":"pay","arguments":{"amount":2000}}}"#;

#[test]
fn it_says_where_it_listens_what_it_guards_by_which_policy_and_where_the_log_is() {
    let folder = Folder::new();
    let server = Server::start();
    let (mut gateway, address) = Running::gateway(&folder, &["--upstream", &server.url()]);
    let snippet = gateway.wait_for("mcpServers");
    let said = gateway.said.join("\n");
    assert!(said.contains("server (2 tools, legacy era)"), "{said}");
    assert!(said.contains("preset `observe`: everything is permitted and recorded"), "{said}");
    assert!(said.contains(&folder.path().join("audit").display().to_string()), "{said}");
    let snippet: serde_json::Value = serde_json::from_str(&snippet).unwrap();
    assert_eq!(snippet["mcpServers"]["server"]["url"], format!("http://{address}/mcp"));
}

#[test]
fn a_call_passes_and_ctrl_c_drains_and_leaves_a_log_that_verifies() {
    let folder = Folder::new();
    let server = Server::start();
    let (mut gateway, address) = Running::gateway(&folder, &["--upstream", &server.url()]);
    let session = open_session(address);
    let answer = in_session(address, &session, LOOK);
    assert_eq!(answer.status, 200, "{answer:?}");
    assert!(answer.body.contains("did"), "{answer:?}");
    gateway.signal("INT");
    assert!(gateway.end().success(), "{:#?}", gateway.said);
    assert!(gateway.said.iter().any(|line| line.contains("the log is complete")), "{:#?}", gateway.said);
    let verified = run(&folder, &["audit", "verify", "audit"]);
    assert_eq!(verified.code, 0, "{verified:?}");
    let tail = run(&folder, &["audit", "tail", "audit"]);
    assert!(tail.out.contains("tools/call") && tail.out.contains("look"), "{}", tail.out);
}

#[test]
fn sigterm_drains_too() {
    let folder = Folder::new();
    let server = Server::start();
    let (mut gateway, _) = Running::gateway(&folder, &["--upstream", &server.url()]);
    gateway.signal("TERM");
    assert!(gateway.end().success(), "{:#?}", gateway.said);
}

#[test]
fn an_open_port_without_a_policy_refuses_to_start_and_says_the_way_out() {
    let folder = Folder::new();
    folder.write("p.yaml", "identity: { anonymous: true }\n");
    let ended =
        run(&folder, &["run", "--config", "p.yaml", "--listen", "0.0.0.0:0", "--upstream", "http://127.0.0.1:9/mcp"]);
    assert_eq!(ended.code, 2, "{ended:?}");
    assert!(ended.err.contains("no policy") && ended.err.contains("--policy"), "{}", ended.err);
}

#[test]
fn without_a_server_it_says_how_to_name_one() {
    let ended = run(&Folder::new(), &["run"]);
    assert_eq!(ended.code, 2, "{ended:?}");
    assert!(ended.err.contains("no server to guard") && ended.err.contains("--upstream"), "{}", ended.err);
}

#[test]
fn a_policy_that_does_not_fit_the_servers_tools_refuses_to_start() {
    let folder = Folder::new();
    let server = Server::start();
    folder.write(
        "policy.cedar",
        "@id(\"x\") permit (principal, action == server::Action::\"pay\", resource) when { context.args.amuont < 5 };",
    );
    let ended =
        run(&folder, &["run", "--listen", "127.0.0.1:0", "--policy", "policy.cedar", "--upstream", &server.url()]);
    assert_eq!(ended.code, 2, "{ended:?}");
    assert!(ended.err.contains("policy.cedar:1:") && ended.err.contains("error[x]"), "{}", ended.err);
}

#[test]
fn sighup_reloads_policies_and_keeps_the_old_ones_when_the_new_are_wrong() {
    let folder = Folder::new();
    let server = Server::start();
    let only_look = "@id(\"all\") permit (principal, action, resource);\n\
        @id(\"nopay\") @reason(\"not today\") forbid (principal, action == server::Action::\"pay\", resource) when { context.args.amount > 100 };";
    folder.write("policy.cedar", "@id(\"all\") permit (principal, action, resource);");
    let (mut gateway, address) = Running::gateway(&folder, &["--policy", "policy.cedar", "--upstream", &server.url()]);
    let session = open_session(address);
    assert!(in_session(address, &session, PAY).body.contains("did"), "permitted at first");

    folder.write("policy.cedar", only_look);
    gateway.signal("HUP");
    gateway.wait_for("reloaded plan=");
    assert!(in_session(address, &session, PAY).body.contains("not today"), "an old session is judged by the new plan");

    folder.write("policy.cedar", "permit (principal, action");
    gateway.signal("HUP");
    gateway.wait_for("the old plan stays in force");
    assert!(in_session(address, &session, PAY).body.contains("not today"), "the old plan stays");
    assert!(in_session(address, &session, LOOK).body.contains("did"));
}

#[test]
fn two_gateways_do_not_share_a_log() {
    let folder = Folder::new();
    let server = Server::start();
    let (_first, _) = Running::gateway(&folder, &["--upstream", &server.url()]);
    let second = run(&folder, &["run", "--listen", "127.0.0.1:0", "--audit-log", "audit", "--upstream", &server.url()]);
    assert_eq!(second.code, 1, "{second:?}");
    assert!(second.err.contains("another process is writing"), "{}", second.err);
}

#[test]
fn a_port_in_use_is_said_with_the_way_out() {
    let folder = Folder::new();
    let server = Server::start();
    let taken = server.address.to_string();
    let ended = run(&folder, &["run", "--listen", &taken, "--upstream", &server.url()]);
    assert_eq!(ended.code, 1, "{ended:?}");
    assert!(ended.err.contains("cannot listen on") && ended.err.contains("--listen"), "{}", ended.err);
}

#[test]
fn a_caller_with_a_key_gets_in_and_one_without_does_not() {
    let folder = Folder::new();
    let server = Server::start();
    let made = run(&folder, &["keys", "new", "ana"]);
    let key = made.out.lines().find_map(|line| line.strip_prefix("# key: ")).unwrap().to_owned();
    folder.write("p.yaml", &made.out);
    let (mut gateway, address) = Running::gateway(&folder, &["--config", "p.yaml", "--upstream", &server.url()]);
    let snippet = gateway.wait_for("mcpServers");
    assert!(snippet.contains("Bearer"), "{snippet}");
    let mut headers = crate::support::LEGACY.to_vec();
    assert_eq!(http(address, "POST", "/mcp", &headers, HELLO).status, 401);
    let bearer = format!("Bearer {key}");
    headers.push(("authorization", &bearer));
    assert_eq!(http(address, "POST", "/mcp", &headers, HELLO).status, 200);
}

#[test]
fn a_key_that_was_taken_back_is_refused_after_sighup() {
    let folder = Folder::new();
    let server = Server::start();
    let made = run(&folder, &["keys", "new", "ana"]).out;
    let key = made.lines().find_map(|line| line.strip_prefix("# key: ")).unwrap().to_owned();
    folder.write("p.yaml", &made);
    let (mut gateway, address) = Running::gateway(&folder, &["--config", "p.yaml", "--upstream", &server.url()]);
    let status = || {
        let bearer = format!("Bearer {key}");
        let mut headers = crate::support::LEGACY.to_vec();
        headers.push(("authorization", &bearer));
        http(address, "POST", "/mcp", &headers, r#"{"jsonrpc":"2.0","id":1,"method":"ping"}"#).status
    };
    assert_ne!(status(), 401);
    folder.write("p.yaml", &run(&folder, &["keys", "new", "bob"]).out);
    gateway.signal("HUP");
    gateway.wait_for("reloaded plan=");
    assert_eq!(status(), 401);
}

#[test]
fn it_serves_on_when_nobody_reads_what_it_says() {
    let folder = Folder::new();
    let server = Server::start();
    let place = Server::start().address;
    let mut command = crate::support::portcullis(folder.path());
    let listen = place.to_string();
    command.args(["run", "--listen", &listen, "--audit-log", "audit", "--upstream", &server.url()]);
    let mut gateway =
        command.stdout(std::process::Stdio::piped()).stderr(std::process::Stdio::piped()).spawn().unwrap();
    // Both ends are closed before anything is said.
    drop((gateway.stdout.take(), gateway.stderr.take()));
    let deadline = std::time::Instant::now() + crate::support::PATIENCE;
    while std::net::TcpStream::connect(place).is_err() {
        assert!(std::time::Instant::now() < deadline && gateway.try_wait().unwrap().is_none());
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    let session = open_session(place);
    assert!(in_session(place, &session, LOOK).body.contains("did"));
    gateway.kill().unwrap();
    gateway.wait().unwrap();
}
