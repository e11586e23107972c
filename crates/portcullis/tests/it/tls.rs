//! A real TLS handshake with the server behind the gateway: certificates are checked, against names too.

use crate::chaos::Mortal;
use crate::support::{Folder, HELLO, LEGACY, Running, http, in_session, open_session, portcullis};

/// A server whose certificate names `host`, signed by itself; and where it is.
fn server(folder: &Folder, host: &str) -> (Mortal, String) {
    let made = rcgen::generate_simple_self_signed([host.to_owned()]).unwrap();
    let certificate = folder.write("server.pem", &made.cert.pem());
    let key = folder.write("server.key", &made.signing_key.serialize_pem());
    let server = Mortal::start(folder.path().join("done"), 0, &[certificate, key]);
    let url = format!("https://localhost:{}/mcp", server.port);
    (server, url)
}

/// A gateway that trusts the certificates in `roots`, and nothing else.
fn gateway(folder: &Folder, roots: &str, url: &str) -> (Running, std::net::SocketAddr) {
    let mut command = portcullis(folder.path());
    command.env("SSL_CERT_FILE", folder.path().join(roots));
    command.args(["run", "--listen", "127.0.0.1:0", "--audit-log", "audit", "--upstream", url]);
    let mut running = Running::spawn(&mut command);
    let address = running.address();
    (running, address)
}

#[test]
fn a_server_behind_tls_is_reached_when_its_certificate_is_trusted() {
    let folder = Folder::new();
    let (_server, url) = server(&folder, "localhost");
    let (_running, address) = gateway(&folder, "server.pem", &url);
    let session = open_session(address);
    let call =
        r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"work","arguments":{"call":"it over TLS"}}}"#;
    let answer = in_session(address, &session, call);
    assert!(answer.body.contains("did it over TLS"), "{answer:?}");
}

#[test]
fn a_certificate_that_is_not_trusted_or_names_another_host_reaches_nobody() {
    for (host, roots) in [("localhost", "other.pem"), ("elsewhere.example", "server.pem")] {
        let folder = Folder::new();
        let other = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        folder.write("other.pem", &other.cert.pem());
        let (_server, url) = server(&folder, host);
        let (_running, address) = gateway(&folder, roots, &url);
        let answer = http(address, "POST", "/mcp", &LEGACY, HELLO);
        assert!(answer.body.contains("upstream_unreachable") && answer.body.contains(r#""id":0"#), "{answer:?}");
        assert!(answer.header("mcp-session-id").is_none());
    }
}
