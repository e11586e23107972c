//! The HTTP upstream against servers whose every byte is scripted: good ones first, then the hostile list.

mod account;
mod eras;
mod hostile;
mod lines;
mod peer;
mod socket;

use std::sync::Arc;

use portcullis_core::clock::{FixedClock, Timestamp};
use portcullis_core::refusal::{Fault, FaultKind};
use portcullis_core::upstream::{Reply, Upstream};
use portcullis_core::wire::Limits;

use super::HttpUpstream;
use crate::settings::{EraSetting, HttpSettings, SettingsError};
use crate::testing::{Canned, legacy, modern, modern_call};

/// 2026-07-28.
pub(super) const NOW: Timestamp = Timestamp(1_785_231_000_000);
pub(super) const CALL: &str = r#"{"jsonrpc":"2.0","id":7,"method":"tools/call","params":{"name":"echo"}}"#;
pub(super) const INITIALIZE: &str = r#"{"jsonrpc":"2.0","id":0,"method":"initialize","params":{"protocolVersion":"2025-11-25","capabilities":{},"clientInfo":{"name":"c","version":"1"}}}"#;

pub(super) fn settings(url: &str, era: EraSetting) -> HttpSettings {
    HttpSettings { era, first_byte_timeout_ms: 20_000, ..HttpSettings::of_url(url.to_owned()) }
}

/// As the binary makes it, at a time that stands still.
pub(super) fn made(settings: &HttpSettings, limits: Limits) -> Result<Arc<HttpUpstream>, SettingsError> {
    HttpUpstream::new("srv".into(), settings, limits, Arc::new(FixedClock::at(NOW)), None)
}

pub(super) fn upstream(url: &str, era: EraSetting) -> Arc<HttpUpstream> {
    made(&settings(url, era), Limits::default()).unwrap()
}

/// A modern call to a server that answers every request with these bytes.
pub(super) async fn modern_against(answer: String) -> Result<Reply, Fault> {
    let server = Canned::bytes(answer).await;
    upstream(&server.url, EraSetting::Modern).send(modern().say(&modern_call("7"))).await
}

pub(super) fn kind<T>(outcome: Result<T, Fault>) -> FaultKind {
    outcome.map(|_| ()).unwrap_err().kind
}

/// A server whose `initialize` gives session `sid` and version `version`; `otherwise` answers everything else.
pub(super) async fn with_session(
    version: &'static str,
    otherwise: impl Fn(&crate::testing::Heard) -> String + Send + Sync + 'static,
) -> (Canned, Arc<HttpUpstream>) {
    use tokio::io::AsyncWriteExt;
    let otherwise = Arc::new(otherwise);
    let server = Canned::scripted(move |heard, mut socket| {
        let otherwise = Arc::clone(&otherwise);
        async move {
            let answer = if heard.body.contains("\"initialize\"") {
                let body = format!(r#"{{"jsonrpc":"2.0","id":{},"result":{{"protocolVersion":"{version}","capabilities":{{"tools":{{}}}}}}}}"#, crate::testing::id_of(&heard.body));
                crate::testing::json(200, &body).replacen("content-type", "mcp-session-id: sid\r\ncontent-type", 1)
            } else {
                otherwise(&heard)
            };
            socket.write_all(answer.as_bytes()).await.ok()?;
            if answer.contains("content-length") {
                return Some(socket);
            }
            let _ = socket.shutdown().await;
            None
        }
    })
    .await;
    let upstream = upstream(&server.url, EraSetting::Legacy);
    let opened = crate::testing::all(upstream.send(legacy(1).say(INITIALIZE)).await.unwrap()).await;
    assert!(opened[0].is_ok());
    (server, upstream)
}
