//! Connections on real sockets: load balancers, TLS, client certificates, HTTP/2, web pages.

mod http2;
mod pages;
mod proxies;
mod secure;

use portcullis_core::ledger::{Record, Refused};

use crate::settings::ServerSettings;
use crate::testing::secure::Authority;
use crate::testing::{CannedUpstream, DenyList, Running, ordinary, start_with};
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
