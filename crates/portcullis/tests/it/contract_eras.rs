//! A client and a server of different eras: refused at once, in words that tell either what would work (A37, C24).

use serde_json::json;

use crate::contract::client::{Client, Era};
use crate::contract::eventually;
use crate::contract::stage::{Log, SIDES, Side, Stage, Transport};

pub(crate) fn a_client_of_the_other_era_is_told_which_versions_would_work(stage: &Stage) {
    let side = stage.side;
    let (other, code, method) = match side.era {
        Era::Legacy => (Era::Modern, -32600, "server/discover"),
        Era::Modern => (Era::Legacy, -32602, "initialize"),
    };
    let client = Client::unconnected(stage.address, other);
    let hello = json!({
        "protocolVersion": other.version(), "capabilities": {}, "clientInfo": { "name": "contract", "version": "1" },
    });
    let mut exchange = client.open(method, if other == Era::Legacy { hello } else { json!({}) });
    assert_eq!(exchange.response.status, 400);
    assert!(exchange.response.header("mcp-session-id").is_none(), "no session begins");
    let answer = exchange.next().unwrap();
    assert_eq!(answer["error"]["code"], code, "{answer}");
    assert_eq!(answer["id"], exchange.id);
    let supported = answer["error"]["data"]["supported"].as_array().unwrap_or_else(|| panic!("{answer}"));
    assert!(supported.contains(&json!(side.era.version())), "{answer}");
    assert!(!supported.contains(&json!(other.version())), "{answer}");

    // The same for a call: a modern client need not have asked `server/discover` before.
    if other == Era::Modern {
        let mut call = client.open_call("echo", json!({ "text": "x" }));
        assert_eq!(call.response.status, 400);
        assert_eq!(call.next().unwrap()["error"]["code"], code);
    }
    // Nothing is broken by it.
    assert_eq!(stage.client().text("echo", json!({ "text": "still" })), "still");
    eventually("the log to say what happened", || {
        Log::read(&stage.folder).entries.iter().any(|entry| entry["code"] == "era_mismatch").then_some(())
    });
}

/// A server of both eras serves clients of both at the same time, each by its own rules.
#[test]
fn a_server_of_both_eras_serves_clients_of_both() {
    // HTTP+SSE is older than the modern era, so nothing that is reached by it serves both.
    let both = |side: &Side| side.era == Era::Legacy && side.transport != Transport::HttpSse;
    for side in SIDES.into_iter().filter(both) {
        eprintln!("{side:?}");
        let stage = Stage::of_both_eras(side);
        let (legacy, modern) =
            (Client::connect(stage.address, Era::Legacy), Client::connect(stage.address, Era::Modern));
        for round in ["one", "two"] {
            for client in [&legacy, &modern] {
                let result = client.call("echo", json!({ "text": round }));
                assert_eq!(result["content"][0]["text"], round);
                // Which rules a call was served by shows in its result (C12).
                assert_eq!(result.get("resultType").is_some(), client.era == Era::Modern, "{result}");
                let roots = client.text("list_roots", json!({}));
                assert_eq!(roots, "Roots: file:///srv/test");
            }
        }
        let log = stage.finish();
        for version in [Era::Legacy.version(), Era::Modern.version()] {
            assert!(!log.calls(|intent| intent["name"] == "echo" && intent["version"] == version).is_empty());
        }
    }
}
