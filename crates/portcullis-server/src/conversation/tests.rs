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

use super::http1;
use crate::peer::Peer;
use crate::settings::ServerSettings;
use crate::testing::secure::Authority;
use crate::testing::{CannedUpstream, DenyList, Running, collect, ordinary, start_with};
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
