//! What a client is told of the ways into this gateway, and that it is true.

use std::sync::Arc;

use http::HeaderMap;
use portcullis_core::call::Call;
use portcullis_core::catalogue::{Catalogue, Hello};
use portcullis_core::refusal::Fault;
use portcullis_core::upstream::{Media, Reply};
use portcullis_core::version::Era;
use serde_json::{Value, json};

use super::merged::{modern, request, start_merged};
use crate::settings::ServerSettings;
use crate::testing::{Answer, CannedUpstream, DenyList, Running, ordinary, reply, result, start, start_with};

const AT: &str = "/.well-known/mcp-transport";

async fn with(settings: ServerSettings) -> Running {
    start_with(CannedUpstream::new(ordinary), DenyList(&[]), settings).await
}

async fn asked(running: &Running, preference: &str) -> Answer {
    running.client().with("mcp-transport-preference", preference).ask("GET", AT, "").await
}

fn tree(answer: &Answer) -> Value {
    serde_json::from_str(&answer.body).unwrap_or_else(|error| panic!("{error}: {answer:?}"))
}

fn members(answer: &Answer, member: &str) -> Vec<Value> {
    let listed = tree(answer)["transports"].as_array().unwrap().clone();
    listed.into_iter().map(|offer| offer[member].clone()).collect()
}

/// A server that says of itself that it speaks these.
fn speaks(name: &str, era: Era, versions: &'static [&'static str]) -> Arc<CannedUpstream> {
    let server = CannedUpstream::named(name, move |call: &Call| -> Result<Reply, Fault> {
        if call.method() == "server/discover" {
            let listed = json!({ "resultType": "complete", "supportedVersions": versions, "capabilities": {} });
            return Ok(reply(Media::Json, vec![result(call, &listed.to_string())]));
        }
        ordinary(call)
    });
    let versions = versions.iter().map(ToString::to_string).collect();
    let hello = Hello { era, versions, capabilities: "{}".into(), server_info: None, instructions: None };
    *server.catalogue.lock().unwrap() = Arc::new(Catalogue::default().with_hello(hello));
    server
}

#[tokio::test]
async fn addresses_are_the_configurations_or_else_those_by_which_the_client_came() {
    let running = with(ServerSettings::default()).await;
    let answer = running.client().ask("GET", AT, "").await;
    assert_eq!(answer.status, 200);
    assert_eq!(answer.headers["content-type"], "application/json");
    assert_eq!(members(&answer, "url"), [format!("http://{}/mcp", running.addr)]);
    assert_eq!((members(&answer, "transport"), members(&answer, "path")), (vec![json!("http")], vec![json!("/mcp")]));
    assert_eq!(answer.headers["cache-control"], "private, max-age=300", "another client may come another way");

    for (public, expected) in [
        ("https://gateway.example/mcp", "https://gateway.example/mcp"),
        ("https://gateway.example/tenant/mcp", "https://gateway.example/tenant/mcp"),
        ("https://gateway.example/elsewhere", "https://gateway.example/elsewhere"),
    ] {
        let running = with(ServerSettings { public_url: Some(public.to_owned()), ..Default::default() }).await;
        let answer = running.client().ask("GET", AT, "").await;
        assert_eq!(members(&answer, "url"), [expected]);
        assert_eq!(answer.headers["cache-control"], "public, max-age=300");
    }
}

#[tokio::test]
async fn every_path_is_listed_below_the_public_address_and_nothing_of_the_servers_behind_it() {
    let servers =
        [speaks("notes", Era::Legacy, &["2025-06-18"]), speaks("mail", Era::Modern, &["2026-07-28", "1999-01-01"])];
    let settings = ServerSettings { public_url: Some("https://g.example/t/mcp".to_owned()), ..Default::default() };
    let running = start_merged(&servers, settings).await;
    let answer = running.client().ask("GET", AT, "").await;
    assert_eq!(members(&answer, "path"), ["/mcp", "/mcp/notes", "/mcp/mail"]);
    let below = ["/mcp", "/mcp/notes", "/mcp/mail"].map(|path| json!(format!("https://g.example/t{path}")));
    assert_eq!(members(&answer, "url"), below);
    let (old, new) = (["2025-03-26", "2025-06-18"], "2026-07-28");
    let all = json!([old[0], old[1], "2025-11-25", new]);
    assert_eq!(members(&answer, "protocolVersions"), [all, json!(old), json!([new])]);
}

/// What is promised here is what `server/discover` says there, at every endpoint.
#[tokio::test]
async fn it_agrees_with_server_discover() {
    let servers =
        [speaks("one", Era::Modern, &["2026-07-28"]), speaks("two", Era::Modern, &["2025-11-25", "2026-07-28"])];
    let running = start_merged(&servers, ServerSettings::default()).await;
    let listed = running.client().ask("GET", AT, "").await;
    let mut compared = 0;
    for (path, promised) in members(&listed, "path").iter().zip(members(&listed, "protocolVersions")) {
        let client = modern(&running, "server/discover", None);
        let answer = client.ask("POST", path.as_str().unwrap(), &request("server/discover", "")).await;
        let said = tree(&answer)["result"]["supportedVersions"].clone();
        assert!(said.as_array().is_some_and(|said| !said.is_empty()), "{answer:?}");
        let is_new = |version: &&Value| version.as_str() >= Some("2026");
        let news = |list: &Value| list.as_array().unwrap().iter().filter(is_new).cloned().collect::<Vec<_>>();
        assert_eq!(news(&promised), news(&said), "{path}");
        if path != "/mcp" {
            assert_eq!(promised, said, "{path}: one server's own list");
        }
        compared += 1;
    }
    assert_eq!(compared, 3);
}

#[tokio::test]
async fn of_several_wishes_the_first_that_can_be_granted_is_the_answer_and_else_there_is_none() {
    let running = start(CannedUpstream::new(ordinary)).await;
    for wish in ["http", "carrier-pigeon, HTTP", "Streamable-HTTP"] {
        let answer = asked(&running, wish).await;
        assert_eq!((answer.status, members(&answer, "transport")), (200, vec![json!("http")]), "{wish}");
        assert!(answer.headers["vary"].to_str().unwrap().contains("mcp-transport-preference"));
    }
    let none = asked(&running, "carrier-pigeon, smoke").await;
    assert_eq!((none.status, members(&none, "transport")), (406, vec![json!("http")]), "with what there is");
    assert_eq!(asked(&running, ";;").await.status, 200, "what cannot be read is no wish");
}

/// And an upgrade there is one.
#[tokio::test]
async fn websockets_are_offered_where_they_are_served() {
    let mut settings = ServerSettings { public_url: Some("https://g.example/t/mcp".to_owned()), ..Default::default() };
    settings.websocket.enabled = true;
    let servers = [speaks("notes", Era::Modern, &["2026-07-28"]), speaks("mail", Era::Modern, &["2026-07-28"])];
    let running = start_merged(&servers, settings).await;
    let all = running.client().ask("GET", AT, "").await;
    let (https, wss) = (["/mcp", "/mcp/notes", "/mcp/mail"], ["/mcp/ws", "/mcp/notes", "/mcp/mail"]);
    let pairs = https.into_iter().zip(wss);
    let urls = pairs.flat_map(|(http, ws)| [format!("https://g.example/t{http}"), format!("wss://g.example/t{ws}")]);
    assert_eq!(members(&all, "url"), urls.collect::<Vec<_>>());
    let best = asked(&running, "smoke, websocket, http").await;
    assert_eq!((best.status, members(&best, "url")), (200, vec![json!("wss://g.example/t/mcp/ws")]));
    for path in wss {
        let upgrade = running
            .client()
            .with("connection", "upgrade")
            .with("upgrade", "websocket")
            .with("sec-websocket-version", "13")
            .with("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ==")
            .with("sec-websocket-protocol", "mcp");
        assert_eq!(upgrade.ask("GET", path, "").await.status, 101, "{path}");
    }
}

#[tokio::test]
async fn who_has_it_already_is_not_sent_it_again() {
    let running = start(CannedUpstream::new(ordinary)).await;
    let first = running.client().ask("GET", AT, "").await;
    let tag = first.headers["etag"].to_str().unwrap().to_owned();
    for known in [tag.clone(), format!("W/{tag}"), format!("\"x\", {tag}"), "*".to_owned()] {
        let answer = running.client().with("if-none-match", &known).ask("GET", AT, "").await;
        assert_eq!((answer.status, answer.body.as_str()), (304, ""), "{known}");
        assert_eq!(answer.headers["etag"].to_str().unwrap(), tag);
    }
    assert_eq!(running.client().with("if-none-match", "\"x\"").ask("GET", AT, "").await.status, 200);
    let head = running.client().ask("HEAD", AT, "").await;
    assert_eq!((head.status, head.body.as_str()), (200, ""));
    assert_eq!(head.headers["content-length"].to_str().unwrap(), first.body.len().to_string());
    let post = running.client().ask("POST", AT, "{}").await;
    assert_eq!((post.status, post.headers["allow"].to_str().unwrap()), (405, "GET, HEAD"));
}

/// A3, A4: as for everything else here; a page of a foreign origin learns nothing, not even that there is a gateway.
#[tokio::test]
async fn it_is_for_our_own_hosts_and_origins_and_may_be_switched_off() {
    let running = start(CannedUpstream::new(ordinary)).await;
    assert_eq!(running.client().with("host", "evil.example").ask("GET", AT, "").await.status, 403);
    let page = running.client().with("origin", "https://evil.example").ask("GET", AT, "").await;
    assert_eq!(page.status, 403);
    let is_told = |headers: &HeaderMap| headers.contains_key("access-control-allow-origin");
    assert!(!is_told(&page.headers));
    let own = running.client().with("origin", &format!("http://{}", running.addr)).ask("GET", AT, "").await;
    assert!(own.status == 200 && is_told(&own.headers), "{own:?}");

    let off = with(ServerSettings { discovery: false, ..Default::default() }).await;
    assert_eq!(off.client().ask("GET", AT, "").await.status, 404);
}
