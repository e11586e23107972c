//! What may be configured, and what of it a handshake carries.

use std::sync::Arc;

use portcullis_core::clock::{FixedClock, Timestamp};
use portcullis_core::refusal::FaultKind;
use portcullis_core::upstream::Upstream;
use portcullis_core::wire::Limits;

use super::{PipeUpstream, Server, StderrSink, WebSocketSettings, WebSockets, made, open, settings};
use crate::settings::{EraSetting, Secret, SettingsError};
use crate::testing::{Canned, legacy};

fn refused(settings: &WebSocketSettings) -> Option<SettingsError> {
    let clock = Arc::new(FixedClock::at(Timestamp(0)));
    let sink = StderrSink::new(|_, _| {});
    PipeUpstream::<WebSockets>::new("srv".into(), settings, Limits::default(), clock, sink).err()
}

#[test]
fn only_web_sockets_are_spoken_and_plain_ones_only_to_this_machine() {
    assert_eq!(refused(&settings("wss://mcp.example/mcp", EraSetting::Auto)), None);
    assert_eq!(refused(&settings("ws://[::1]:3000/mcp", EraSetting::Auto)), None);
    let plain = SettingsError::Plain { scheme: "ws", host: "mcp.example".into() };
    assert_eq!(
        plain.to_string(),
        "`url`: plain `ws` to `mcp.example` would show every message to the network; use `wss`, or set `allow_plain_ws: true`"
    );
    assert_eq!(refused(&settings("ws://mcp.example/mcp", EraSetting::Auto)), Some(plain));
    let allowed = WebSocketSettings { allow_plain_ws: true, ..settings("ws://mcp.example/mcp", EraSetting::Auto) };
    assert_eq!(refused(&allowed), None);
    for url in ["https://mcp.example/mcp", "mcp.example", "wss://a@mcp.example/", "wss://mcp.example/#a"] {
        assert!(matches!(refused(&settings(url, EraSetting::Auto)), Some(SettingsError::BadUrl { .. })), "{url}");
    }
}

#[test]
fn limits_of_nothing_are_refused_and_pings_can_be_switched_off() {
    let good = settings("wss://mcp.example/mcp", EraSetting::Auto);
    for (key, settings) in [
        ("max_sockets", WebSocketSettings { max_sockets: 0, ..good.clone() }),
        ("pong_within_ms", WebSocketSettings { pong_within_ms: 0, ..good.clone() }),
        ("connect_timeout_ms", WebSocketSettings { connect_timeout_ms: 0, ..good.clone() }),
        ("stall_timeout_ms", WebSocketSettings { stall_timeout_ms: 0, ..good.clone() }),
    ] {
        assert_eq!(refused(&settings), Some(SettingsError::Zero { key }));
    }
    assert_eq!(refused(&WebSocketSettings { ping_every_ms: 0, ..good }), None);
}

/// A shared socket is opened once, on one token; with a token of one caller's it would carry everybody's messages.
#[test]
fn a_grant_for_each_caller_needs_a_socket_for_each_caller() {
    let credentials = r#"{"grant":"token_exchange","issuer":"https://login.example","client_id":"gateway","client_secret":{"value":"s"}}"#;
    let mut settings = settings("wss://mcp.example/mcp", EraSetting::Legacy);
    settings.credentials = Some(serde_json::from_str(credentials).unwrap());
    assert_eq!(refused(&settings), None);
    for era in [EraSetting::Auto, EraSetting::Modern] {
        settings.era = era;
        assert!(refused(&settings).unwrap().to_string().starts_with("`credentials.grant`"), "{era:?}");
    }
}

#[tokio::test]
async fn a_handshake_carries_what_is_configured_and_offers_no_compression() {
    let server = Server::echo(false).await;
    let mut settings = settings(&server.url, EraSetting::Legacy);
    settings.headers.insert("authorization".into(), Secret::Value("Bearer t".into()));
    open(&made(&settings, Limits::default()), 1).await;
    let handshakes = server.handshakes.lock().unwrap();
    let field = |name: &str| {
        let fields: Vec<_> =
            handshakes[0].iter().filter(|(key, _)| key == name).map(|(_, value)| value.as_str()).collect();
        fields.join("; ")
    };
    assert_eq!(field("authorization"), "Bearer t");
    assert_eq!(field("sec-websocket-protocol"), "mcp, mcp.version.2026-07-28, mcp.version.2025-11-25");
    assert_eq!(field("sec-websocket-version"), "13");
    assert_eq!(field("sec-websocket-extensions"), "");
    assert!(field("traceparent").starts_with("00-01010101"), "{}", field("traceparent"));
    assert_eq!(field("origin"), "", "we are no browser");
    assert_eq!(format!("ws://{}/mcp/ws", field("host")), server.url);
}

#[test]
fn the_handshakes_own_fields_cannot_be_configured() {
    for name in ["Sec-WebSocket-Protocol", "sec-websocket-key", "upgrade", "connection", "host", "mcp-session-id"] {
        let mut settings = settings("wss://mcp.example/mcp", EraSetting::Auto);
        settings.headers.insert(name.into(), Secret::Value("x".into()));
        assert_eq!(refused(&settings), Some(SettingsError::ReservedHeader { name: name.into() }));
    }
}

#[tokio::test]
async fn a_server_that_refuses_our_credentials_is_told_apart_and_nothing_left() {
    let server = Canned::bytes("HTTP/1.1 401 Unauthorized\r\ncontent-length: 0\r\n\r\n").await;
    let url = server.url.replacen("http", "ws", 1);
    let upstream = made(&settings(&url, EraSetting::Legacy), Limits::default());
    let fault = upstream.send(legacy(1).say(super::INITIALIZE)).await.unwrap_err();
    assert_eq!((fault.kind, fault.never_left), (FaultKind::Unauthorized, true));
}
