//! Cases about the life of a legacy session.

use std::net::SocketAddr;

use serde_json::json;

use super::client::{Client, Era};
use super::eventually;
use super::stage::Stage;
use super::wire::send;

/// A24, and field notes: the server's own session ends, too.
pub(super) fn a_closed_session_is_gone_on_both_sides(stage: &Stage) {
    if stage.side.era == Era::Modern {
        return;
    }
    let before = stage.children();
    let client = stage.client();
    client.text("echo", json!({ "text": "alive" }));
    let own = stage.side.transport.is_http().then(|| upstream_session(&client));
    let children: Vec<_> = stage.children().into_iter().filter(|pid| !before.contains(pid)).collect();
    assert!((200..300).contains(&client.delete()), "DELETE");

    let after = client.send_raw("ping", None, &[], r#"{"jsonrpc":"2.0","id":1,"method":"ping"}"#);
    assert_eq!(after.status, 404, "a client that sees 404 initializes again");
    match (own, stage.server) {
        (Some(session), Some(server)) => {
            eventually("the server to forget the session", || (!knows(server, &client, &session)).then_some(()))
        }
        _ => {
            assert!(!children.is_empty(), "a session has a child of its own");
            eventually("the child to go", || {
                let alive = stage.children();
                children.iter().all(|pid| !alive.contains(pid)).then_some(())
            });
        }
    }
}

/// The client's session id is not the server's, and never reaches it.
pub(super) fn each_side_has_a_session_of_its_own(stage: &Stage) {
    if stage.side.era == Era::Modern || !stage.side.transport.is_http() {
        return;
    }
    let (one, two) = (stage.client(), stage.client());
    let (first, second) = (upstream_session(&one), upstream_session(&two));
    assert_ne!(first, second);
    assert_ne!(Some(&first), one.session.as_ref());
}

/// What is open in a session ends with it.
pub(super) fn a_closed_session_closes_its_streams(stage: &Stage) {
    if stage.side.era == Era::Modern {
        return;
    }
    let client = stage.client();
    let mut stream = client.listen(json!({}));
    let mut exchange = client.open_watched("t", "wait_for_cancel", json!({}));
    assert_eq!(exchange.next().unwrap()["method"], "notifications/progress");
    client.delete();
    while stream.message().is_some() {}
    while exchange.next().is_some() {}
}

/// A session survives what happens to another one.
pub(super) fn sessions_end_alone(stage: &Stage) {
    let (one, two) = (stage.client(), stage.client());
    if stage.side.era == Era::Legacy {
        one.delete();
    }
    assert_eq!(two.text("echo", json!({ "text": "still here" })), "still here");
}

/// A modern request's session id is ignored, never looked up and never echoed (C1, C22b).
pub(super) fn a_modern_request_has_no_session(stage: &Stage) {
    if stage.side.era == Era::Legacy {
        return;
    }
    let client = stage.client();
    let params = client.params(json!({}));
    let body = json!({ "jsonrpc": "2.0", "id": 5, "method": "tools/list", "params": params }).to_string();
    let response = client.send_raw("tools/list", None, &[("mcp-session-id", "somebody-elses")], &body);
    assert_eq!(response.status, 200);
    assert!(response.header("mcp-session-id").is_none());
}

/// Whether the server itself still knows a session of its own.
pub(crate) fn knows(server: SocketAddr, client: &Client, session: &str) -> bool {
    let mut headers = client.headers("ping", None);
    headers.retain(|(name, _)| name != "mcp-session-id");
    headers.push(("mcp-session-id".to_owned(), session.to_owned()));
    let response = send(server, "POST", &headers, br#"{"jsonrpc":"2.0","id":1,"method":"ping"}"#);
    assert!([200, 404].contains(&response.status), "{}", response.status);
    response.status == 200
}

/// The session id under which the gateway speaks to the server.
pub(crate) fn upstream_session(client: &Client) -> String {
    let seen = client.call("headers_seen", json!({}));
    let headers = seen["structuredContent"]["headers"].as_array().unwrap();
    let session = headers.iter().find(|pair| pair[0] == "mcp-session-id");
    session.unwrap_or_else(|| panic!("no session: {seen}"))[1].as_str().unwrap().to_owned()
}
