use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::{PING, secure, start};
use crate::settings::ServerSettings;
use crate::testing::secure::{Authority, Issued, as_http2, connect, http2};
use crate::testing::{INITIALIZE, Running, collect, send};
use crate::tls::ClientCertificates;

/// The status that a client with this certificate gets over HTTP/1.1; `None` if it gets no answer at all.
async fn status(running: &Running, authority: &Authority, shows: Option<&Issued>) -> Option<u16> {
    let stream = connect(running.addr, authority.client(shows, "http/1.1")).await.ok()?;
    let response = send(stream, running.client().request("POST", INITIALIZE)).await.ok()?;
    Some(collect(response).await.status)
}

#[tokio::test]
async fn clients_over_tls_are_served_by_http_1_and_by_http_2_as_they_choose() {
    let authority = Authority::new();
    let running = secure(&authority, ClientCertificates::Off).await;
    assert_eq!(status(&running, &authority, None).await, Some(200));
    let mut sender = http2(running.addr, &authority).await;
    let request = as_http2(running.client().request("POST", INITIALIZE));
    assert_eq!(collect(sender.send_request(request).await.unwrap()).await.status, 200);
    assert_eq!(running.outcomes(2).await, ["answered", "answered"]);
}

#[tokio::test]
async fn a_client_that_does_not_speak_tls_gets_nothing_and_is_counted() {
    let authority = Authority::new();
    let running = secure(&authority, ClientCertificates::Off).await;
    let mut socket = TcpStream::connect(running.addr).await.unwrap();
    socket.write_all(b"POST /mcp HTTP/1.1\r\nhost: localhost\r\n\r\n").await.unwrap();
    let mut answer = Vec::new();
    let _reset = socket.read_to_end(&mut answer).await;
    assert!(!answer.starts_with(b"HTTP"), "{answer:?}");
    running.refused("handshake_failed", 1).await;
    // Who speaks neither of our protocols cannot be served either.
    assert!(connect(running.addr, authority.client(None, "spdy/3")).await.is_err());
    running.refused("handshake_failed", 2).await;
}

#[tokio::test]
async fn where_certificates_are_required_only_a_good_one_of_the_right_authority_gets_in() {
    let authority = Authority::new();
    let running = secure(&authority, ClientCertificates::Required).await;
    assert_eq!(status(&running, &authority, Some(&authority.agent(2100))).await, Some(200));
    let cases = [
        (None, "no certificates"),
        // Of the same name, with another key.
        (Some(Authority::new().agent(2100)), "BadSignature"),
        (Some(authority.agent(2021)), "xpired"),
    ];
    for (failures, (shows, why)) in cases.into_iter().enumerate() {
        assert_eq!(status(&running, &authority, shows.as_ref()).await, None, "{why}");
        let refused = running.refused("handshake_failed", failures + 1).await;
        let detail = refused.detail.unwrap();
        assert!(detail.contains(why), "{why}: {detail}");
    }
}

#[tokio::test]
async fn where_certificates_are_optional_a_wrong_one_is_not_taken_for_none() {
    let authority = Authority::new();
    let running = secure(&authority, ClientCertificates::Optional).await;
    assert_eq!(status(&running, &authority, None).await, Some(200));
    assert_eq!(status(&running, &authority, Some(&authority.agent(2100))).await, Some(200));
    assert_eq!(status(&running, &authority, Some(&Authority::new().agent(2100))).await, None);
    assert_eq!(status(&running, &authority, Some(&authority.agent(2021))).await, None);
    running.refused("handshake_failed", 2).await;
}

#[tokio::test]
async fn a_renewed_certificate_is_shown_to_the_next_client_and_a_bad_one_to_nobody() {
    let authority = Authority::new();
    let running = secure(&authority, ClientCertificates::Off).await;
    let shown = async || {
        let stream = connect(running.addr, authority.client(None, "http/1.1")).await.unwrap();
        stream.get_ref().1.peer_certificates().unwrap()[0].clone()
    };
    let first = shown().await;
    authority.renew();
    running.gateway.refresh_tls(false);
    let second = shown().await;
    assert_ne!(first, second);
    authority.write("server.pem", "not a certificate");
    running.gateway.refresh_tls(false);
    assert_eq!(shown().await, second);
    let records = format!("{:?}", running.ledger.records.lock().unwrap());
    assert!(records.contains(r#"code: "tls_kept""#) && records.contains("server.pem"), "{records}");
}

#[tokio::test]
async fn a_handshake_that_does_not_go_on_ends_in_time_and_stops_nobody_else() {
    let authority = Authority::new();
    let mut settings = ServerSettings { tls: Some(authority.settings(ClientCertificates::Off)), ..Default::default() };
    settings.timeouts.handshake_seconds = 1;
    let running = start(settings).await;
    let mut stuck = Vec::new();
    for begins in [&b""[..], b"\x16\x03\x01\x02\x00\x01"] {
        let mut socket = TcpStream::connect(running.addr).await.unwrap();
        socket.write_all(begins).await.unwrap();
        stuck.push(socket);
    }
    assert_eq!(status(&running, &authority, None).await, Some(200), "while two are stuck");
    for socket in &mut stuck {
        assert_eq!(socket.read_to_end(&mut Vec::new()).await.unwrap_or(0), 0);
    }
    running.refused("handshake_timed_out", 2).await;
}

#[tokio::test]
async fn a_connection_that_closes_without_a_word_is_nobodys_fault() {
    let authority = Authority::new();
    let running = secure(&authority, ClientCertificates::Off).await;
    drop(TcpStream::connect(running.addr).await.unwrap());
    assert_eq!(status(&running, &authority, None).await, Some(200));
    assert_eq!(running.ledger.counted("violation", "handshake_failed"), 0);
    assert_eq!(running.ledger.counted("violation", "handshake_timed_out"), 0);
}

#[tokio::test]
async fn a_client_that_shakes_hands_and_says_nothing_more_ends_in_time() {
    let authority = Authority::new();
    let mut settings = ServerSettings { tls: Some(authority.settings(ClientCertificates::Off)), ..Default::default() };
    settings.timeouts.header_seconds = 1;
    let running = start(settings).await;
    for protocol in ["http/1.1", "h2"] {
        let mut stream = connect(running.addr, authority.client(None, protocol)).await.unwrap();
        let _closed = stream.read_to_end(&mut Vec::new()).await;
    }
    running.refused("headers_timed_out", 2).await;
    let plain = running.client().request("POST", PING);
    assert!(send(TcpStream::connect(running.addr).await.unwrap(), plain).await.is_err());
}
