//! Who opens a WebSocket, from outside: tokens in the header and among the subprotocols, certificates, what is refused before there is a socket,
//! and when a socket that was opened is closed again.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use futures_util::{SinkExt, StreamExt};
use rustls::pki_types::{PrivateKeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::handshake::client::Response;
use tokio_tungstenite::tungstenite::{Error, Message};
use tokio_tungstenite::{WebSocketStream, client_async};

use crate::contract::stage::Log;
use crate::identity::Issuer;
use crate::support::{Folder, HELLO, PATIENCE, Running, Server, portcullis};

const METADATA: &str = "https://gateway.example/.well-known/oauth-protected-resource/mcp";
const LIST: &str = r#"{"jsonrpc":"2.0","id":1,"method":"tools/list"}"#;

/// A gateway for sockets, with `more` in its configuration.
fn gateway(folder: &Folder, server: &Server, more: &str) -> (Running, SocketAddr) {
    let file = format!(
        "public_url: https://gateway.example/mcp\npolicy: observe\nwebsocket: {{ enabled: true }}\n\
         upstream: {{ http: {{ url: '{}' }} }}\n{more}",
        server.url()
    );
    folder.write("sockets.yaml", &file);
    let mut command = portcullis(folder.path());
    command.args(["run", "--listen", "127.0.0.1:0", "--audit-log", "audit", "--config", "sockets.yaml"]);
    // Whatever can be logged is.
    let mut running = Running::spawn(command.env("PORTCULLIS_LOG", "trace"));
    let address = running.address();
    (running, address)
}

const TOKENS: &str = "\
identity:
  oauth:
    clock_skew_seconds: 0
    issuers: [{ name: acme, issuer: 'https://issuer.example', keys: { file: keys.json, algorithms: [ES256] } }]
    scopes: { '*': [mcp] }
";

/// A socket to the gateway, or what was answered instead.
async fn shake<S: AsyncRead + AsyncWrite + Unpin>(
    stream: S,
    host: &str,
    headers: &[(&'static str, String)],
) -> Result<(WebSocketStream<S>, Response), Response> {
    let mut request = format!("ws://{host}/mcp/ws").into_client_request().unwrap();
    for (name, value) in headers {
        request.headers_mut().append(*name, value.parse().unwrap());
    }
    match tokio::time::timeout(PATIENCE, client_async(request, stream)).await.expect("a handshake is answered") {
        Ok(opened) => Ok(opened),
        Err(Error::Http(response)) => {
            let (head, body) = response.into_parts();
            Err(Response::from_parts(head, body))
        }
        Err(error) => panic!("{error}"),
    }
}

async fn open(
    address: SocketAddr,
    headers: &[(&'static str, String)],
) -> Result<(WebSocketStream<TcpStream>, Response), Response> {
    shake(TcpStream::connect(address).await.unwrap(), &address.to_string(), headers).await
}

async fn hear<S: AsyncRead + AsyncWrite + Unpin>(socket: &mut WebSocketStream<S>) -> Message {
    loop {
        let frame = tokio::time::timeout(PATIENCE, socket.next()).await.expect("something is said");
        match frame.expect("closed without a close frame").unwrap() {
            Message::Ping(_) | Message::Pong(_) => {}
            frame => return frame,
        }
    }
}

/// A session, and its list of tools.
async fn used<S: AsyncRead + AsyncWrite + Unpin>(socket: &mut WebSocketStream<S>) {
    for (say, answered) in [(HELLO, "protocolVersion"), (LIST, "look")] {
        socket.send(Message::text(say)).await.unwrap();
        let heard = hear(socket).await;
        assert!(heard.to_text().unwrap().contains(answered), "{heard:?}");
    }
}

fn block_on<T>(work: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(work)
}

/// Stops the gateway. Whatever it wrote anywhere, and said.
fn everything_of(mut gateway: Running, folder: &Folder) -> String {
    gateway.signal("INT");
    assert!(gateway.end().success(), "{:#?}", gateway.said);
    let mut all = gateway.said.join("\n");
    let written = |path: &Path| String::from_utf8_lossy(&std::fs::read(path).unwrap()).into_owned();
    for file in std::fs::read_dir(folder.path().join("audit")).unwrap() {
        all.push_str(&written(&file.unwrap().path()));
    }
    all
}

/// J6, J14.
#[test]
fn a_token_opens_a_socket_by_header_or_as_a_subprotocol_and_is_never_sent_back_or_written_down() {
    let (issuer, server) = (Issuer::new(), Server::start());
    let (gateway, address) = gateway(&issuer.folder, &server, TOKENS);
    let token = issuer.token(600, "mcp");
    block_on(async {
        for headers in [
            vec![("authorization", format!("Bearer {token}")), ("sec-websocket-protocol", "mcp".to_owned())],
            vec![("sec-websocket-protocol", format!("mcp.auth.{token}, mcp"))],
        ] {
            let (mut socket, response) = open(address, &headers).await.unwrap();
            assert_eq!(response.headers()["sec-websocket-protocol"], "mcp");
            assert!(!format!("{response:?}").contains(&token), "{response:?}");
            used(&mut socket).await;
            // What the gateway says when it is told something it cannot read is no place for it, either.
            socket.send(Message::text("{")).await.unwrap();
            assert!(!hear(&mut socket).await.to_text().unwrap().contains(&token));
        }
        // Refused with a good token in it: nothing that we speak beside it.
        let spoiled = [("sec-websocket-protocol", format!("mcp.auth.{token}, graphql-ws"))];
        let refused = open(address, &spoiled).await.unwrap_err();
        assert_eq!(refused.status(), 400);
        assert!(!String::from_utf8_lossy(refused.body().as_ref().unwrap()).contains(&token), "{refused:?}");
    });
    let all = everything_of(gateway, &issuer.folder);
    assert!(
        all.contains("acme:ana") && all.contains("subprotocol_unknown"),
        "there is something to look through: {all}"
    );
    for part in token.split('.') {
        assert!(!all.contains(part), "a part of the token was written down: {all}");
    }
}

#[test]
fn without_a_good_token_there_is_no_socket_but_401_and_the_challenge() {
    let (issuer, server) = (Issuer::new(), Server::start());
    let (gateway, address) = gateway(&issuer.folder, &server, TOKENS);
    let bearer = |token: &str| vec![("authorization", format!("Bearer {token}"))];
    let offered = |token: &str| vec![("sec-websocket-protocol", format!("mcp, mcp.auth.{token}"))];
    let (expired, foreign) = (issuer.token(-120, "mcp"), Issuer::new().token(600, "mcp"));
    let (narrow, good) = (issuer.token(600, "other"), issuer.token(600, "mcp"));
    let asks = |error: &str| format!(r#"Bearer {error}scope="mcp",resource_metadata="{METADATA}""#);
    let invalid = asks(r#"error="invalid_token","#);
    block_on(async {
        for (headers, status, challenge) in [
            (vec![], 401, asks("")),
            (bearer("opaque"), 401, invalid.clone()),
            (offered("opaque"), 401, invalid.clone()),
            (bearer(&expired), 401, invalid.clone()),
            (offered(&expired), 401, invalid.clone()),
            (bearer(&foreign), 401, invalid.clone()),
            (offered(&foreign), 401, invalid),
            ([bearer(&good), offered(&good)].concat(), 400, asks(r#"error="invalid_request","#)),
        ] {
            let refused = open(address, &headers).await.map(|_| ()).unwrap_err();
            let said = refused.headers().get("www-authenticate").map(|value| value.to_str().unwrap());
            assert_eq!(
                (refused.status().as_u16(), said),
                (status, Some(challenge.as_str())),
                "{headers:?} {refused:?}"
            );
        }
        // Which scopes are needed is a matter of each message.
        let (mut socket, _) = open(address, &bearer(&narrow)).await.unwrap();
        socket.send(Message::text(HELLO)).await.unwrap();
        let heard = hear(&mut socket).await;
        assert!(heard.to_text().unwrap().contains(r#""code":"insufficient_scope""#), "{heard:?}");
    });
    let all = everything_of(gateway, &issuer.folder);
    for token in [&expired, &foreign, &narrow, &good] {
        assert!(!all.contains(token.split('.').nth(2).unwrap()), "{all}");
    }
    let log = Log::of(&issuer.folder);
    for code in ["unauthenticated", "token_expired", "insufficient_scope", "credentials_malformed"] {
        assert!(log.entries.iter().any(|entry| entry["code"] == code), "{code} is in the log: {all}");
    }
    let calls = log.calls(|_| true);
    assert!(calls.iter().all(|(_, outcome)| outcome["code"] == "insufficient_scope"), "{calls:#?}");
}

/// J13.
#[test]
fn a_token_that_expires_takes_its_socket_with_it_though_nothing_is_said() {
    let (issuer, server) = (Issuer::new(), Server::start());
    let (gateway, address) = gateway(&issuer.folder, &server, TOKENS);
    block_on(async {
        for (short, kind) in [(true, "authorization"), (true, "sec-websocket-protocol"), (false, "authorization")] {
            // Time enough for a handshake on a busy machine.
            let token = issuer.token(if short { 8 } else { 600 }, "mcp");
            let value =
                if kind == "authorization" { format!("Bearer {token}") } else { format!("mcp, mcp.auth.{token}") };
            let (mut socket, _) = open(address, &[(kind, value)]).await.unwrap();
            if short {
                match hear(&mut socket).await {
                    Message::Close(Some(close)) => assert_eq!(u16::from(close.code), 1008, "{close:?}"),
                    other => panic!("{other:?}"),
                }
            } else {
                used(&mut socket).await;
            }
        }
    });
    assert!(everything_of(gateway, &issuer.folder).contains("tools/list"));
}

/// TLS to the gateway, whose certificate is in `server`, with the certificate that is shown if there is one.
async fn secured(
    address: SocketAddr,
    server: &rcgen::CertifiedKey<rcgen::KeyPair>,
    shown: Option<&rcgen::CertifiedKey<rcgen::KeyPair>>,
) -> tokio_rustls::client::TlsStream<TcpStream> {
    let mut roots = RootCertStore::empty();
    roots.add(server.cert.der().clone()).unwrap();
    let config = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots);
    let config = match shown {
        None => config.with_no_client_auth(),
        Some(shown) => {
            let key = PrivateKeyDer::try_from(shown.signing_key.serialize_der()).unwrap();
            config.with_client_auth_cert(vec![shown.cert.der().clone()], key).unwrap()
        }
    };
    let stream = TcpStream::connect(address).await.unwrap();
    TlsConnector::from(Arc::new(config)).connect(ServerName::try_from("localhost").unwrap(), stream).await.unwrap()
}

#[test]
fn a_certificate_names_who_opens_a_socket_over_tls_and_nobody_does_without_one() {
    let (folder, behind) = (Folder::new(), Server::start());
    let made = |name: &str| rcgen::generate_simple_self_signed([name.to_owned()]).unwrap();
    let (server, agent, stranger) = (made("localhost"), made("agent.example"), made("stranger.example"));
    folder.write("server.pem", &server.cert.pem());
    folder.write("server.key", &server.signing_key.serialize_pem());
    folder.write("clients.pem", &format!("{}{}", agent.cert.pem(), stranger.cert.pem()));
    let more = "tls: { certificate: server.pem, key: server.key, client_ca: clients.pem, client_certificates: optional }\n\
                identity: { certificates: [{ dns: agent.example }] }\n";
    let (gateway, address) = gateway(&folder, &behind, more);
    let host = format!("localhost:{}", address.port());
    block_on(async {
        let (mut socket, _) = shake(secured(address, &server, Some(&agent)).await, &host, &[]).await.unwrap();
        used(&mut socket).await;
        // Nothing shown; and a good certificate of somebody whom no rule is about.
        for shown in [None, Some(&stranger)] {
            let refused = shake(secured(address, &server, shown).await, &host, &[]).await.map(|_| ()).unwrap_err();
            assert_eq!(refused.status(), 401, "{refused:?}");
        }
    });
    everything_of(gateway, &folder);
    let log = Log::of(&folder);
    let listed = log.calls(|intent| intent["method"] == "tools/list");
    assert_eq!(listed.len(), 1, "{listed:#?}");
    assert_eq!(listed[0].0["caller"], "cert:dns:agent.example", "{listed:#?}");
}
