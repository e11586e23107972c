//! From an HTTP request to a socket (RFC 6455 §4.1). What the server may choose is what we offered, and nothing else: no compression, whose
//! bombs and side channels nobody needs, and no subprotocol that is not MCP.

use bytes::Bytes;
use http::header::{
    CONNECTION, HeaderValue, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_EXTENSIONS, SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_PROTOCOL,
    SEC_WEBSOCKET_VERSION, UPGRADE,
};
use http::response::Parts;
use http::{Method, StatusCode};
use hyper_util::rt::TokioIo;
use portcullis_core::refusal::{Fault, FaultKind};
use portcullis_core::version::Version;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::handshake::client::generate_key;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use tokio_tungstenite::tungstenite::protocol::{Role, WebSocketConfig};

use crate::account::Account;
use crate::door::Stream;
use crate::http::exchange::Outbound;
use crate::http::site::Site;
use crate::http::{headers, reply};

/// What the SDKs know; first, because servers that choose without looking choose the first.
const SUBPROTOCOL: &str = "mcp";
/// Of the draft's `mcp.version.<v>`.
const VERSIONED: &str = "mcp.version.";
/// Those we offer: the newest of either era.
const OFFERED: [Version; 2] = [Version::LATEST_MODERN, Version::LATEST_LEGACY];

pub(super) async fn open(
    site: &Site,
    account: Account<'_>,
    framing: WebSocketConfig,
) -> Result<WebSocketStream<TokioIo<Stream>>, Fault> {
    let key = generate_key();
    let mut outbound = Outbound::new(Method::GET, Bytes::new());
    outbound.headers = site.fixed.bare();
    let ours = &mut outbound.headers;
    ours.insert(CONNECTION, HeaderValue::from_static("Upgrade"));
    ours.insert(UPGRADE, HeaderValue::from_static("websocket"));
    ours.insert(SEC_WEBSOCKET_VERSION, HeaderValue::from_static("13"));
    let unfit = |_| Fault::before_sending(FaultKind::Unreachable, "a handshake that cannot be written");
    ours.insert(SEC_WEBSOCKET_KEY, HeaderValue::try_from(&key).map_err(unfit)?);
    ours.insert(SEC_WEBSOCKET_PROTOCOL, HeaderValue::try_from(subprotocols()).map_err(unfit)?);
    if let Account::Call(call) = account {
        headers::trace(ours, &call.context.trace);
    }
    let (head, answer) = site.exchange(outbound, account).await?.into_parts();
    check(&head, &derive_accept_key(key.as_bytes()))?;
    let ended = || Fault::new(FaultKind::Died, "the connection ended with the handshake");
    let (stream, read) = answer.into_upgraded().ok_or_else(ended)?;
    Ok(WebSocketStream::from_partially_read(TokioIo::new(stream), read.into(), Role::Client, Some(framing)).await)
}

fn subprotocols() -> String {
    let versioned = OFFERED.into_iter().map(|version| format!("{VERSIONED}{version}"));
    std::iter::once(SUBPROTOCOL.to_owned()).chain(versioned).collect::<Vec<_>>().join(", ")
}

/// Whether the server agreed, to what we asked for.
fn check(head: &Parts, accept: &str) -> Result<(), Fault> {
    let (status, theirs) = (head.status, &head.headers);
    let garbage = |why: &str| Err(Fault::new(FaultKind::Garbage, format!("the WebSocket handshake failed: {why}")));
    reply::same_for_all(head)?;
    if status != StatusCode::SWITCHING_PROTOCOLS {
        return garbage(&format!("the server answered {}", status.as_u16()));
    }
    let names = |header, token: &str| {
        let values = theirs.get_all(header).iter().filter_map(|value| value.to_str().ok());
        values.flat_map(|value| value.split(',')).any(|value| value.trim().eq_ignore_ascii_case(token))
    };
    if !names(UPGRADE, "websocket") || !names(CONNECTION, "upgrade") {
        return garbage("the server upgraded to something else");
    }
    let only = |header| {
        let mut values = theirs.get_all(header).iter();
        values.next().filter(|_| values.next().is_none()).and_then(|value| value.to_str().ok())
    };
    if only(SEC_WEBSOCKET_ACCEPT) != Some(accept) {
        return garbage("the answer is not to our key");
    }
    if theirs.contains_key(SEC_WEBSOCKET_EXTENSIONS) {
        return garbage("the server chose an extension, and none was offered");
    }
    match only(SEC_WEBSOCKET_PROTOCOL) {
        Some(chosen) if subprotocols().split(", ").any(|offered| offered == chosen) => Ok(()),
        Some(_) => garbage("the server chose a subprotocol that was not offered"),
        None => garbage("the server chose no subprotocol, so it may not speak MCP"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judged(status: u16, headers: &[(&'static str, &'static str)]) -> Result<(), FaultKind> {
        let mut response = http::Response::builder().status(status);
        for (name, value) in headers {
            response = response.header(*name, *value);
        }
        check(&response.body(()).unwrap().into_parts().0, "key").map_err(|fault| fault.kind)
    }

    const GOOD: [(&str, &str); 4] = [
        ("upgrade", "WebSocket"),
        ("connection", "keep-alive, Upgrade"),
        ("sec-websocket-accept", "key"),
        ("sec-websocket-protocol", "mcp"),
    ];

    #[test]
    fn a_server_may_choose_only_what_was_offered() {
        assert_eq!(judged(101, &GOOD), Ok(()));
        for (at, value) in [(0, "h2c"), (1, "close"), (2, "other"), (3, "chat"), (3, "mcp.auth.x"), (3, "mcp, mcp")] {
            let mut headers = GOOD;
            headers[at].1 = value;
            assert_eq!(judged(101, &headers), Err(FaultKind::Garbage), "{value}");
        }
        for (at, (name, _)) in GOOD.iter().enumerate() {
            let mut headers = GOOD.to_vec();
            headers.remove(at);
            assert_eq!(judged(101, &headers), Err(FaultKind::Garbage), "without {name}");
        }
        let mut versioned = GOOD;
        versioned[3].1 = "mcp.version.2025-11-25";
        assert_eq!(judged(101, &versioned), Ok(()));
    }

    #[test]
    fn compression_is_refused_because_it_was_not_offered() {
        let mut headers = GOOD.to_vec();
        headers.push(("sec-websocket-extensions", "permessage-deflate"));
        assert_eq!(judged(101, &headers), Err(FaultKind::Garbage));
    }

    #[test]
    fn a_server_that_does_not_upgrade_says_why() {
        for (status, kind) in [
            (200, FaultKind::Garbage),
            (302, FaultKind::Garbage),
            (401, FaultKind::Unauthorized),
            (403, FaultKind::Unauthorized),
            (404, FaultKind::Garbage),
            (429, FaultKind::Throttled { retry_after_ms: None }),
            (503, FaultKind::Unreachable),
        ] {
            assert_eq!(judged(status, &GOOD), Err(kind), "{status}");
        }
        for status in [429, 503] {
            let later = FaultKind::Throttled { retry_after_ms: Some(7_000) };
            assert_eq!(judged(status, &[("retry-after", "7")]), Err(later), "{status}");
        }
    }
}
