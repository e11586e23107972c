//! The listener as an operator sets it up: TLS that renews itself, proxies in front, and mistakes that are found before anything starts.

use std::io::Write;
use std::net::SocketAddr;
use std::process::{Command, Stdio};

use crate::support::{Folder, HELLO, LEGACY, Running, Server, http, run};

/// A new certificate and key for `localhost` in the folder.
fn renew(folder: &Folder) {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    folder.write("server.pem", &made.cert.pem());
    folder.write("server.key", &made.signing_key.serialize_pem());
}

/// What curl, which trusts what the file `trusted` holds, makes of the gateway: protocol and status.
fn curl(folder: &Folder, address: SocketAddr, trusted: &str, more: &[&str]) -> Option<String> {
    let mut curl = Command::new("curl");
    curl.current_dir(folder.path()).args(["--silent", "--cacert", trusted, "--max-time", "30", "--data-binary", "@-"]);
    curl.args(["--output", "/dev/null", "--write-out", "%{http_version} %{http_code}"]).args(more);
    curl.args([
        "--header",
        "content-type: application/json",
        "--header",
        "accept: application/json, text/event-stream",
    ]);
    curl.arg(format!("https://localhost:{}/mcp", address.port()));
    let mut child = curl.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("curl starts");
    // It may be gone already.
    let _ = child.stdin.take().unwrap().write_all(HELLO.as_bytes());
    let output = child.wait_with_output().unwrap();
    output.status.success().then(|| String::from_utf8(output.stdout).unwrap())
}

#[test]
fn the_listener_speaks_both_protocols_over_tls_and_takes_a_renewed_certificate_without_a_restart() {
    let (folder, server) = (Folder::new(), Server::start());
    renew(&folder);
    folder.write("p.yaml", "tls: { certificate: server.pem, key: server.key }\n");
    let (mut gateway, address) = Running::gateway(&folder, &["--config", "p.yaml", "--upstream", &server.url()]);
    assert_eq!(curl(&folder, address, "server.pem", &["--http1.1"]).as_deref(), Some("1.1 200"));
    assert_eq!(curl(&folder, address, "server.pem", &["--http2"]).as_deref(), Some("2 200"));
    assert_eq!(curl(&folder, address, "server.pem", &["--tlsv1.1", "--tls-max", "1.1"]), None);

    folder.write("old.pem", &folder.read("server.pem"));
    renew(&folder);
    gateway.signal("HUP");
    gateway.wait_for("reloaded");
    assert_eq!(curl(&folder, address, "old.pem", &[]), None);
    assert_eq!(curl(&folder, address, "server.pem", &[]).as_deref(), Some("2 200"));

    folder.write("server.key", "not a key");
    gateway.signal("HUP");
    gateway.wait_for("the old certificates stay in force: tls.key: ");
    assert_eq!(curl(&folder, address, "server.pem", &[]).as_deref(), Some("2 200"));
}

#[test]
fn who_has_no_certificate_gets_nothing_where_one_is_required() {
    let (folder, server) = (Folder::new(), Server::start());
    renew(&folder);
    let client = rcgen::generate_simple_self_signed(["agent.example".to_owned()]).unwrap();
    folder.write("client.pem", &client.cert.pem());
    folder.write("client.key", &client.signing_key.serialize_pem());
    folder.write(
        "p.yaml",
        "tls: { certificate: server.pem, key: server.key, client_ca: client.pem, client_certificates: required }\n\
         identity: { anonymous: true }\n",
    );
    let (_gateway, address) = Running::gateway(&folder, &["--config", "p.yaml", "--upstream", &server.url()]);
    assert_eq!(curl(&folder, address, "server.pem", &[]), None);
    let shown = ["--cert", "client.pem", "--key", "client.key"];
    assert!(curl(&folder, address, "server.pem", &shown).is_some_and(|answer| answer.starts_with("2 ")));
}

#[test]
fn the_log_names_the_client_that_a_trusted_proxy_speaks_for() {
    let (folder, server) = (Folder::new(), Server::start());
    folder.write("p.yaml", "trusted_proxies: [127.0.0.1/32]\n");
    let (mut gateway, address) = Running::gateway(&folder, &["--config", "p.yaml", "--upstream", &server.url()]);
    let mut headers = LEGACY.to_vec();
    headers.push(("x-forwarded-for", "192.0.2.66, 198.51.100.9"));
    assert_eq!(http(address, "POST", "/mcp", &headers, HELLO).status, 200);
    assert_eq!(http(address, "POST", "/elsewhere", &headers, HELLO).status, 404);
    // Asked to stop, it writes the log to its end.
    gateway.signal("INT");
    assert!(gateway.end().success());
    let log = std::fs::read_dir(folder.path().join("audit")).unwrap().map(|file| file.unwrap().path());
    let log: String = log.filter_map(|file| std::fs::read_to_string(file).ok()).collect();
    let of = |kind: &str| log.lines().find(|line| line.contains(kind)).unwrap_or_else(|| panic!("{log}")).to_owned();
    assert!(of(r#""kind":"intent""#).contains(r#""peer":"198.51.100.9""#), "{log}");
    assert!(of(r#""kind":"refused""#).contains(r#""peer":"198.51.100.9","via":"127.0.0.1""#), "{log}");
}

#[test]
fn a_listener_that_contradicts_itself_is_found_at_its_key_before_anything_starts() {
    for (text, found) in [
        ("allowed_origins: ['https://*.com']\n", "p.yaml:1:1: error[allowed_origins]"),
        ("allowed_origins: ['null']\n", "p.yaml:1:1: error[allowed_origins]"),
        ("allowed_hosts: []\n", "p.yaml:1:1: error[allowed_hosts]"),
        ("trusted_proxies: [0.0.0.0/0]\n", "p.yaml:1:1: error[trusted_proxies]"),
        ("proxy_protocol: required\n", "p.yaml:1:1: error[proxy_protocol]"),
        ("tls: { certificate: a, key: b, client_ca: c }\n", "error[tls.client_ca]"),
        (
            "tls:\n  certificate: a\n  key: b\n  client_certificates: required\n",
            "p.yaml:4:3: error[tls.client_certificates]",
        ),
    ] {
        let folder = Folder::new();
        folder.write("p.yaml", text);
        let ended = run(&folder, &["check", "--config", "p.yaml"]);
        assert_eq!(ended.code, 1, "{ended:?}");
        assert!(ended.out.contains(found), "{found}: {}", ended.out);
    }
    // The files themselves are only on the machine that runs it.
    let folder = Folder::new();
    folder.write("p.yaml", "tls: { certificate: missing.pem, key: missing.key }\n");
    assert_eq!(run(&folder, &["check", "--config", "p.yaml"]).code, 0);
    let started =
        run(&folder, &["run", "--config", "p.yaml", "--upstream", "http://127.0.0.1:9/mcp", "--audit-log", "audit"]);
    assert!(
        started.code != 0 && started.err.contains("tls.certificate: ") && started.err.contains("missing.pem"),
        "{started:?}"
    );
}
