//! Nothing fails open: where everything is asked for, each proof that is taken away or spoiled refuses the request, with its own status, challenge
//! and record, before anything reaches the server.

use portcullis_core::clock::Timestamp;
use portcullis_core::ledger::Record;

use crate::testing::proofs::World;
use crate::testing::{Answer, CannedUpstream, Client, DenyList, INITIALIZE, Running, ordinary, start_with};

const NOW: Timestamp = Timestamp(1_000_000);

async fn gateway(world: &World) -> Running {
    start_with(CannedUpstream::new(ordinary), DenyList(&[]), world.everything()).await
}

/// A client that proves everything, for one request with [`INITIALIZE`]. `jti` is for one use.
fn complete(world: &World, running: &Running, jti: &str) -> Client {
    complete_with(world, running, &world.bound("ana"), jti)
}

fn complete_with(world: &World, running: &Running, token: &str, jti: &str) -> Client {
    let mut client = running
        .client()
        .with("authorization", &format!("DPoP {token}"))
        .with("dpop", &world.possession(token, jti, None))
        .with("x-agent-identity", &world.agent("mail"))
        .with("x-upstream-agents", &world.chain(INITIALIZE, NOW));
    for (name, value) in world.signature(INITIALIZE, NOW) {
        client = client.with(name.as_str(), &value);
    }
    client
}

/// The code a client reads.
fn code(answer: &Answer) -> &str {
    answer.body.split(r#""data":{"code":""#).nth(1).and_then(|rest| rest.split('"').next()).unwrap_or_default()
}

fn changed(client: &Client, name: &str, value: &str) -> Client {
    client.without(name).with(name, value)
}

#[tokio::test]
async fn a_request_that_proves_everything_passes_and_its_call_knows_all_of_it() {
    let world = World::new();
    let (told, heard) = std::sync::mpsc::channel();
    let upstream = CannedUpstream::new(move |call| {
        told.send(call.context.clone()).unwrap();
        ordinary(call)
    });
    let running = start_with(upstream, DenyList(&[]), world.everything()).await;
    let answer = complete(&world, &running, "1").post(INITIALIZE).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    let context = heard.recv().unwrap();
    assert_eq!(context.caller.name, "acme:ana");
    assert_eq!(context.caller.client.as_deref(), Some("editor"));
    let proofs = &context.proofs;
    assert_eq!(proofs.client.address, Some("127.0.0.1".parse().unwrap()));
    assert_eq!(proofs.agent.as_ref().unwrap().name, "agents:mail");
    assert_eq!(&*proofs.signature.as_ref().unwrap().workload, "spiffe://prod.example/ci");
    assert_eq!(proofs.chain.hops[0].agent.name, "agent:planner");
    assert!(proofs.chain.is_verified());
    assert_eq!(proofs.token.as_ref().unwrap().expires, Timestamp(2_000_000));
    let records = running.ledger.records.lock().unwrap();
    let intent =
        records.iter().find_map(|record| if let Record::Intent(intent) = record { Some(intent) } else { None });
    let intent = intent.expect("the call has its entry");
    assert_eq!(intent.agent.as_deref(), Some("agents:mail"));
    assert_eq!(intent.signed_by.as_deref(), Some("ci"));
    assert_eq!(intent.chain, ["agent:planner via edge"]);
}

#[tokio::test]
async fn each_proof_that_is_taken_away_or_spoiled_refuses_with_its_own_status_and_code() {
    let world = World::new();
    let running = gateway(&world).await;
    let good = |jti: &str| complete(&world, &running, jti);
    let other = INITIALIZE.replace("\"t\"", "\"u\"");
    let stale = Timestamp(NOW.0 - 700_000);
    let signed = |jti: &str, body: &str, now| {
        let signature = world.signature(body, now);
        signature.into_iter().fold(good(jti), |client, (name, value)| changed(&client, name.as_str(), &value))
    };
    let token = world.bound("ana");
    let (signed_part, signature) = token.rsplit_once('.').unwrap();
    let first = if signature.starts_with('A') { 'B' } else { 'A' };
    let spoiled = format!("{signed_part}.{first}{}", signature.get(1..).unwrap());
    let bearer = format!("Bearer {token}");
    let free = world.access("ana", 2000, "");
    for (client, status, expected) in [
        (good("a").without("authorization"), 401, "unauthenticated"),
        (changed(&good("b"), "authorization", "Basic YTpi"), 401, "unauthenticated"),
        (changed(&good("c"), "authorization", "DPoP"), 400, "credentials_malformed"),
        (good("d").with("x-api-key", "key"), 400, "credentials_malformed"),
        (changed(&good("e"), "authorization", &format!("DPoP {spoiled}")), 401, "token_signature"),
        (changed(&good("f"), "authorization", &bearer), 401, "dpop_required"),
        (changed(&good("g"), "authorization", &format!("Bearer {free}")), 401, "dpop_required"),
        (good("h").without("dpop"), 401, "dpop_required"),
        (changed(&good("i"), "dpop", &world.possession(&free, "i", None)), 401, "dpop_invalid"),
        (changed(&good("j"), "x-agent-identity", &world.access("mail", 2000, "")), 401, "agent_invalid"),
        (good("k").with("x-agent-identity", &world.agent("mail")), 401, "agent_invalid"),
        (good("l").without("signature").without("signature-input"), 401, "signature_required"),
        (good("m").without("signature"), 400, "signature_malformed"),
        (good("n").without("content-digest"), 400, "signature_malformed"),
        (signed("s1", &other, NOW), 400, "digest_mismatch"),
        (signed("s2", INITIALIZE, stale), 401, "signature_stale"),
        (good("o").without("x-upstream-agents"), 403, "chain_unsigned"),
        (changed(&good("p"), "x-upstream-agents", "[]"), 403, "chain_unsigned"),
        (changed(&good("q"), "x-upstream-agents", "planner"), 400, "chain_malformed"),
        (changed(&good("r"), "x-upstream-agents", &world.chain(&other, NOW)), 403, "chain_link"),
        (changed(&good("t"), "x-upstream-agents", &world.chain(INITIALIZE, stale)), 403, "chain_stale"),
    ] {
        let before = running.ledger.counted("denial", expected);
        let answer = client.post(INITIALIZE).await;
        assert_eq!((answer.status, code(&answer)), (status, expected), "{answer:?}");
        assert_eq!(
            answer.headers.contains_key("www-authenticate"),
            status == 401 || expected == "credentials_malformed"
        );
        assert_eq!(running.ledger.counted("denial", expected), before + 1, "{expected} is counted");
        let recorded = running.ledger.records.lock().unwrap().iter().any(|record| {
            matches!(record, Record::Refused(refused) if refused.code == expected && refused.http_status == Some(status))
        });
        assert!(recorded, "{expected} is in the record");
    }
    assert_eq!(running.upstream.sent(), Vec::<String>::new());
    assert_eq!(good("z").post(INITIALIZE).await.status, 200);
}

#[tokio::test]
async fn what_was_used_once_is_refused_the_second_time() {
    let world = World::new();
    let running = gateway(&world).await;
    let token = world.bound("ana");
    let client = complete_with(&world, &running, &token, "1");
    assert_eq!(client.post(INITIALIZE).await.status, 200);
    let again = client.post(INITIALIZE).await;
    assert_eq!((again.status, code(&again)), (401, "dpop_replayed"));
    let fresh = changed(&client, "dpop", &world.possession(&token, "2", None)).post(INITIALIZE).await;
    assert_eq!((fresh.status, code(&fresh)), (401, "signature_replayed"));
}

/// A chain that is ignored would hide an agent from the policies.
#[tokio::test]
async fn a_chain_is_refused_where_none_is_configured() {
    let world = World::new();
    let running = start_with(CannedUpstream::new(ordinary), DenyList(&[]), Default::default()).await;
    let client = running.client();
    assert_eq!(client.post(INITIALIZE).await.status, 200);
    let answer = client.with("x-upstream-agents", &world.chain(INITIALIZE, NOW)).post(INITIALIZE).await;
    assert_eq!((answer.status, code(&answer)), (403, "chain_link"), "{answer:?}");
    let agent = client.with("x-agent-identity", "anybody").post(INITIALIZE).await;
    assert_eq!(agent.status, 200, "nobody reads it, and it goes nowhere");
}

#[tokio::test]
async fn a_full_memory_refuses_signed_requests_instead_of_forgetting() {
    let world = World::new();
    let mut settings = world.everything();
    settings.limits.used_proofs = 1;
    let running = start_with(CannedUpstream::new(ordinary), DenyList(&[]), settings).await;
    assert_eq!(complete(&world, &running, "1").post(INITIALIZE).await.status, 200);
    let answer = complete(&world, &running, "2").post(INITIALIZE).await;
    assert_eq!((answer.status, code(&answer)), (503, "replay_unknown"));
    assert_eq!(answer.headers["retry-after"], "5");
}
