//! Connections on real sockets: load balancers, TLS, client certificates, HTTP/2, web pages.

mod http2;
mod pages;
mod proxies;
mod secure;

use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use hyper_util::rt::TokioIo;
use hyper_util::server::graceful::GracefulShutdown;
use portcullis_core::ledger::{Record, Refused};
use portcullis_core::upstream::Media;
use tokio::net::TcpStream;
use tokio::sync::mpsc;

use super::http1;
use crate::peer::Peer;
use crate::settings::ServerSettings;
use crate::testing::secure::Authority;
use crate::testing::{CannedUpstream, DenyList, Running, collect, fed, ordinary, start_with};
use crate::tls::ClientCertificates;

const PING: &str = r#"{"jsonrpc":"2.0","id":7,"method":"ping"}"#;

async fn start(settings: ServerSettings) -> Running {
    start_with(CannedUpstream::new(ordinary), DenyList(&[]), settings).await
}

/// A gateway behind TLS.
async fn secure(authority: &Authority, client_certificates: ClientCertificates) -> Running {
    start(ServerSettings { tls: Some(authority.settings(client_certificates)), ..ServerSettings::default() }).await
}

impl Running {
    /// Waits for the entry of a refusal, and gives the last of them.
    async fn refused(&self, code: &'static str, times: usize) -> Refused {
        self.counted("violation", code, times).await;
        let records = self.ledger.records.lock().unwrap();
        let found = records.iter().rev().find_map(|record| match record {
            Record::Refused(refused) if refused.code == code => Some((**refused).clone()),
            _ => None,
        });
        found.unwrap()
    }
}

#[tokio::test]
async fn a_request_with_a_body_runs_the_task_of_its_connection_once() {
    let running = start(ServerSettings::default()).await;
    let client = running.session().await;
    let (near, far) = tokio::io::duplex(1 << 16);
    let peer = Peer::new(&running.gateway.proxies, running.addr, None);
    let runs = Arc::new(AtomicUsize::new(0));
    let (gateway, counted) = (Arc::clone(&running.gateway), Arc::clone(&runs));
    tokio::spawn(async move {
        let mut served = pin!(http1(gateway, far, peer, GracefulShutdown::new().watcher()));
        poll_fn(|cx| {
            counted.fetch_add(1, Ordering::Relaxed);
            served.as_mut().poll(cx)
        })
        .await;
    });
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(near)).await.unwrap();
    tokio::spawn(connection);
    for _ in 0..3 {
        runs.store(0, Ordering::Relaxed);
        sender.ready().await.unwrap();
        let answer = collect(sender.send_request(client.request("POST", PING)).await.unwrap()).await;
        assert_eq!(answer.status, 200, "{answer:?}");
        // Whatever would run it again has time to.
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(runs.load(Ordering::Relaxed), 1);
}

/// That a body was taken wakes nobody; that its sender leaves must.
#[tokio::test]
async fn c8_a_client_that_leaves_before_its_answer_begins_is_noticed_at_once() {
    let (hand, mut feeds) = mpsc::unbounded_channel();
    let upstream = CannedUpstream::new(move |call| {
        if call.method() != "tools/call" {
            return ordinary(call);
        }
        let (feed, reply) = fed(Media::Json);
        hand.send(feed).unwrap();
        Ok(reply)
    });
    let running = start_with(upstream, DenyList(&[]), ServerSettings::default()).await;
    let call = r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"slow","arguments":{},"_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientCapabilities":{},"io.modelcontextprotocol/clientInfo":{"name":"t","version":"1"}}}}"#;
    let client = running
        .client()
        .with("mcp-protocol-version", "2026-07-28")
        .with("mcp-method", "tools/call")
        .with("mcp-name", "slow");
    let socket = TcpStream::connect(running.addr).await.unwrap();
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(socket)).await.unwrap();
    let connected = tokio::spawn(connection);
    let asked = tokio::spawn(sender.send_request(client.request("POST", call)));
    let feed = feeds.recv().await.unwrap();
    connected.abort();
    // Long before anything is written to it.
    tokio::time::timeout(Duration::from_secs(5), feed.closed()).await.unwrap();
    assert_eq!(running.outcomes(1).await, ["abandoned"]);
    assert!(asked.await.unwrap().is_err());
}
