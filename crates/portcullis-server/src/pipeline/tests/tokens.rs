//! Access tokens from the outside: what a client is asked for, what its token opens, and when that ends.

use std::time::Duration;

use portcullis_core::upstream::Media;

use crate::settings::ServerSettings;
use crate::testing::proofs::{ISSUER, PUBLIC_URL, World};
use crate::testing::{
    Answer, CannedUpstream, Client, DenyList, INITIALIZE, Running, api_key, fed, next_event, ordinary, start_with,
};

const CALL: &str = r#"{"jsonrpc":"2.0","id":7,"method":"tools/call","params":{"name":"pay"}}"#;
const LIST: &str = r#"{"jsonrpc":"2.0","id":8,"method":"tools/list"}"#;
const METADATA: &str = "https://gateway.example/.well-known/oauth-protected-resource/mcp";

async fn gateway(settings: ServerSettings) -> Running {
    start_with(CannedUpstream::new(ordinary), DenyList(&[]), settings).await
}

fn with_token(running: &Running, token: &str) -> Client {
    running.client().with("authorization", &format!("Bearer {token}"))
}

fn challenge(answer: &Answer) -> &str {
    answer.headers["www-authenticate"].to_str().unwrap()
}

async fn opened(client: &Client) -> Client {
    let answer = client.post(INITIALIZE).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    client.with("mcp-session-id", answer.headers["mcp-session-id"].to_str().unwrap())
}

#[tokio::test]
async fn f14_who_shows_nothing_is_told_where_to_get_a_token_and_who_shows_a_bad_one_that_it_is_bad() {
    let world = World::new();
    let mut settings = world.tokens();
    settings.identity.oauth.as_mut().unwrap().scopes = [("*".to_owned(), vec!["mcp".to_owned()])].into();
    let running = gateway(settings).await;
    let nothing = running.client().post(INITIALIZE).await;
    assert_eq!(nothing.status, 401);
    assert_eq!(challenge(&nothing), format!(r#"Bearer scope="mcp",resource_metadata="{METADATA}""#));
    let bad = with_token(&running, "nonsense").post(INITIALIZE).await;
    assert_eq!(bad.status, 401);
    assert_eq!(challenge(&bad), format!(r#"Bearer error="invalid_token",scope="mcp",resource_metadata="{METADATA}""#));
    let query = running.client().ask("POST", "/mcp?access_token=a", INITIALIZE).await;
    assert_eq!(query.status, 400, "F4");
    assert!(challenge(&query).starts_with(r#"Bearer error="invalid_request""#));
}

/// F6, F7, F10.
#[tokio::test]
async fn the_metadata_is_public_and_says_what_the_configuration_says() {
    let world = World::new();
    let running = gateway(world.tokens()).await;
    let page = running.client().with("origin", "https://page.example");
    for path in ["/.well-known/oauth-protected-resource", "/.well-known/oauth-protected-resource/mcp"] {
        let answer = page.ask("GET", path, "").await;
        assert_eq!(answer.status, 200, "{path}");
        assert_eq!(answer.headers["access-control-allow-origin"], "*");
        assert!(answer.body.contains(&format!(r#""resource":"{PUBLIC_URL}""#)), "{}", answer.body);
        assert!(answer.body.contains(r#""authorization_servers":["https://issuer.example"]"#), "{}", answer.body);
    }
    let path = "/.well-known/oauth-protected-resource/mcp";
    assert_eq!(page.with("host", "evil.example").ask("GET", path, "").await.status, 403, "under our hosts only");
    let without = gateway(ServerSettings::default()).await;
    assert_eq!(without.client().ask("GET", path, "").await.status, 404, "no tokens are taken");
}

#[tokio::test]
async fn f15_one_challenge_names_every_scope_of_the_operation() {
    let world = World::new();
    let mut settings = world.tokens();
    let scopes = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>();
    settings.identity.keys = vec![api_key("ci")];
    settings.identity.oauth.as_mut().unwrap().scopes = [
        ("*".to_owned(), scopes(&["mcp"])),
        ("tools/call".to_owned(), scopes(&["tools"])),
        ("tools/call:pay".to_owned(), scopes(&["pay", "mcp"])),
    ]
    .into();
    let running = gateway(settings).await;
    let some = opened(&with_token(&running, &world.access("ana", 2000, r#","scope":"mcp tools""#))).await;
    assert_eq!(some.post(LIST).await.status, 200);
    let lacking = some.post(CALL).await;
    assert_eq!(lacking.status, 403, "{lacking:?}");
    assert_eq!(
        challenge(&lacking),
        format!(r#"Bearer error="insufficient_scope",scope="mcp pay tools",resource_metadata="{METADATA}""#)
    );
    assert_eq!(running.ledger.counted("denial", "insufficient_scope"), 1);
    assert!(running.ledger.is_balanced(), "it was a call, and has its entry");
    let all = world.access("ana", 2000, r#","scope":"pay tools mcp""#);
    let all = some.without("authorization").with("authorization", &format!("Bearer {all}"));
    assert_eq!(all.post(CALL).await.status, 200, "F12: more scope, same owner, same session");
    let key = opened(&running.client().with("x-api-key", "ci")).await;
    assert_eq!(key.post(CALL).await.status, 200, "who has no token cannot get scopes");
    let poor = with_token(&running, &world.access("ben", 2000, "")).post(INITIALIZE).await;
    assert_eq!(poor.status, 403, "everything needs `mcp`");
}

/// F2, F12, A27.
#[tokio::test]
async fn a_session_needs_a_good_token_of_its_owner_with_every_request() {
    let world = World::new();
    let running = gateway(world.tokens()).await;
    let ana = opened(&with_token(&running, &world.access("ana", 1010, ""))).await;
    let as_other = |token: String| ana.without("authorization").with("authorization", &format!("Bearer {token}"));
    assert_eq!(ana.post(LIST).await.status, 200);
    assert_eq!(ana.without("authorization").post(LIST).await.status, 401, "a session id proves nothing");
    assert_eq!(as_other(world.access("ben", 1010, "")).post(LIST).await.status, 404);
    let terminal =
        format!(r#"{{"iss":"{ISSUER}","aud":"{PUBLIC_URL}","sub":"ana","client_id":"terminal","exp":1010}}"#);
    assert_eq!(as_other(world.token("at+jwt", &terminal)).post(LIST).await.status, 404, "another client's hands");
    running.clock.advance(Duration::from_secs(10));
    let expired = ana.post(LIST).await;
    assert_eq!(expired.status, 401);
    assert_eq!(running.ledger.counted("denial", "token_expired"), 1);
    assert_eq!(as_other(world.access("ana", 1020, "")).post(LIST).await.status, 200, "a new token of the same owner");
}

#[tokio::test]
async fn a_standing_stream_ends_with_its_token_and_a_call_does_not() {
    let world = World::new();
    let (hold, mut held) = tokio::sync::mpsc::unbounded_channel();
    let upstream = CannedUpstream::new(move |call| {
        if !["tools/call", "stream/open"].contains(&call.method()) {
            return ordinary(call);
        }
        let (feed, reply) = fed(Media::EventStream);
        hold.send(feed).unwrap();
        Ok(reply)
    });
    let running = start_with(upstream, DenyList(&[]), world.tokens()).await;
    let ana = opened(&with_token(&running, &world.access("ana", 1010, ""))).await;
    let mut call = ana.open("POST", CALL).await;
    let feed = held.recv().await.unwrap();
    // All but its last milliseconds.
    running.clock.advance(Duration::from_millis(9_950));
    let mut stream = ana.open("GET", "").await;
    assert_eq!(stream.status(), 200);
    let _server = held.recv().await.unwrap();
    assert_eq!(next_event(stream.body_mut()).await, None, "nobody would ask again");
    running.clock.advance(Duration::from_millis(100));
    let answer = crate::testing::from_server(r#"{"jsonrpc":"2.0","id":7,"result":{}}"#);
    feed.send(Ok(answer)).await.unwrap();
    assert!(next_event(call.body_mut()).await.unwrap().contains("result"), "it was asked for in time");
    assert_eq!(ana.get().await.status, 401);
}

#[tokio::test]
async fn keys_and_tokens_come_in_the_same_header_and_are_told_apart() {
    let world = World::new();
    let mut settings = world.tokens();
    settings.identity.keys = vec![api_key("ci")];
    let running = gateway(settings).await;
    assert_eq!(with_token(&running, "ci").post(INITIALIZE).await.status, 200);
    assert_eq!(with_token(&running, &world.access("ana", 2000, "")).post(INITIALIZE).await.status, 200);
    assert_eq!(running.client().with("x-api-key", &world.access("ana", 2000, "")).post(INITIALIZE).await.status, 401);
    assert_eq!(running.client().with("authorization", "DPoP ci").post(INITIALIZE).await.status, 401);
}

/// RFC 9449 §8.
#[tokio::test]
async fn a_client_learns_the_nonce_from_a_refusal_and_the_next_one_from_every_answer() {
    let world = World::new();
    let mut settings = world.tokens();
    settings.identity.dpop = Some(portcullis_identity::dpop::DpopSettings { nonces: true, ..Default::default() });
    let running = gateway(settings).await;
    let token = world.bound("ana");
    let client = running.client().with("authorization", &format!("DPoP {token}"));
    let refused = client.with("dpop", &world.possession(&token, "1", None)).post(INITIALIZE).await;
    assert_eq!(refused.status, 401);
    assert!(challenge(&refused).starts_with(r#"DPoP error="use_dpop_nonce""#), "{}", challenge(&refused));
    let nonce = refused.headers["dpop-nonce"].to_str().unwrap();
    let answer = client.with("dpop", &world.possession(&token, "2", Some(nonce))).post(INITIALIZE).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    assert_eq!(answer.headers["dpop-nonce"], nonce);
}
