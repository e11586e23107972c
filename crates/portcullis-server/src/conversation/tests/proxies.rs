use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::{PING, start};
use crate::proxy_protocol::ProxyProtocol;
use crate::settings::ServerSettings;
use crate::testing::secure::{Authority, secured};
use crate::testing::{INITIALIZE, Running, collect, send};
use crate::tls::ClientCertificates;

const HEADER: &[u8] = b"PROXY TCP4 203.0.113.9 192.0.2.1 51000 443\r\n";

fn behind(proxies: &[&str], proxy_protocol: ProxyProtocol) -> ServerSettings {
    let trusted_proxies = proxies.iter().map(|network| (*network).to_owned()).collect();
    ServerSettings { trusted_proxies, proxy_protocol, ..ServerSettings::default() }
}

/// A connection that begins with these bytes.
async fn begin(running: &Running, preface: &[u8]) -> TcpStream {
    let mut socket = TcpStream::connect(running.addr).await.unwrap();
    socket.write_all(preface).await.unwrap();
    socket
}

#[tokio::test]
async fn behind_a_load_balancer_the_log_names_the_client_of_the_header() {
    let running = start(behind(&["127.0.0.0/8"], ProxyProtocol::Required)).await;
    let socket = begin(&running, HEADER).await;
    assert_eq!(collect(send(socket, running.client().request("POST", INITIALIZE)).await.unwrap()).await.status, 200);
    let socket = begin(&running, HEADER).await;
    let lost = running.client().with("accept", "text/html").request("POST", PING);
    assert_eq!(collect(send(socket, lost).await.unwrap()).await.status, 406);
    assert_eq!(running.refused("not_acceptable", 1).await.peer.as_deref(), Some("203.0.113.9"));
}

#[tokio::test]
async fn tls_may_follow_the_header() {
    let authority = Authority::new();
    let tls = Some(authority.settings(ClientCertificates::Off));
    let running = start(ServerSettings { tls, ..behind(&["127.0.0.1"], ProxyProtocol::Required) }).await;
    let socket = begin(&running, HEADER).await;
    let stream = secured(socket, authority.client(None, "http/1.1")).await.unwrap();
    assert_eq!(collect(send(stream, running.client().request("POST", INITIALIZE)).await.unwrap()).await.status, 200);
}

#[tokio::test]
async fn a_connection_without_the_required_header_is_refused_and_so_is_a_stranger_with_one() {
    for (proxies, preface, code) in [
        ("127.0.0.1", &b"POST /mcp HTTP/1.1\r\nhost: localhost\r\n\r\n"[..], "proxy_header_invalid"),
        ("127.0.0.1", b"PROXY TCP4 1.1.1.1 2.2.2.2 1\r\n", "proxy_header_invalid"),
        ("127.0.0.1", b"PROXY TC", "handshake_timed_out"),
        ("127.0.0.1", b"", "handshake_timed_out"),
        ("192.0.2.0/24", HEADER, "proxy_untrusted"),
    ] {
        let mut settings = behind(&[proxies], ProxyProtocol::Required);
        settings.timeouts.handshake_seconds = 1;
        let running = start(settings).await;
        let mut socket = begin(&running, preface).await;
        let mut answer = Vec::new();
        let _reset = socket.read_to_end(&mut answer).await;
        assert!(answer.is_empty(), "{code}");
        assert_eq!(running.refused(code, 1).await.peer.as_deref(), Some("127.0.0.1"), "{code}");
    }
}

#[tokio::test]
async fn where_none_is_expected_a_header_is_not_http() {
    let running = start(behind(&["127.0.0.1"], ProxyProtocol::Off)).await;
    let _socket = begin(&running, HEADER).await;
    running.refused("not_http", 1).await;
}

#[tokio::test]
async fn only_a_trusted_proxy_says_who_asks_and_for_which_host() {
    let hosts = Some(vec!["public.example".to_owned()]);
    for (proxies, status, peer, via) in [
        (&["127.0.0.1"][..], 406, "198.51.100.9", Some("127.0.0.1")),
        (&["192.0.2.0/24"], 403, "127.0.0.1", None),
        (&[], 403, "127.0.0.1", None),
    ] {
        let settings = ServerSettings { allowed_hosts: hosts.clone(), ..behind(proxies, ProxyProtocol::Off) };
        let running = start(settings).await;
        let client =
            running.client().with("x-forwarded-for", "198.51.100.9").with("x-forwarded-host", "public.example");
        let answer = client.with("accept", "text/html").post(PING).await;
        assert_eq!(answer.status, status, "{proxies:?} {answer:?}");
        let code = if status == 403 { "host_refused" } else { "not_acceptable" };
        let refused = running.refused(code, 1).await;
        assert_eq!((refused.peer.as_deref(), refused.via.as_deref()), (Some(peer), via), "{proxies:?}");
    }
}

#[tokio::test]
async fn forwarding_headers_that_cannot_be_read_are_a_400_from_a_trusted_proxy_and_nothing_from_others() {
    let running = start(behind(&["127.0.0.1"], ProxyProtocol::Off)).await;
    let garbled = running.client().with("forwarded", "for=\"198.51.100.9");
    let answer = garbled.post(INITIALIZE).await;
    assert_eq!(answer.status, 400, "{answer:?}");
    assert!(answer.body.contains("forwarded_invalid") && !answer.body.contains("198.51"), "{answer:?}");
    running.counted("denial", "forwarded_invalid", 1).await;
    let running = start(ServerSettings::default()).await;
    let ignored = running.client().with("forwarded", "for=\"198.51.100.9").post(INITIALIZE).await;
    assert_eq!(ignored.status, 200, "{ignored:?}");
}
