//! Client certificates through real handshakes: who they name, and which tokens they hold.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, channel};

use aws_lc_rs::digest::{SHA256, digest};
use portcullis_core::call::Context;

use crate::identify::CertificateCaller;
use crate::testing::proofs::{World, encode};
use crate::testing::secure::{Authority, Issued, connect};
use crate::testing::{Answer, CannedUpstream, DenyList, INITIALIZE, Running, collect, ordinary, send, start_with};
use crate::tls::ClientCertificates;

/// A gateway for agents with certificates and for tokens, which tells what it knows of each call.
async fn gateway(world: &World, authority: &Authority) -> (Running, Receiver<Arc<Context>>) {
    let mut settings = world.tokens();
    settings.tls = Some(authority.settings(ClientCertificates::Optional));
    let spiffe = Some("spiffe://example.org/*".to_owned());
    settings.identity.certificates =
        vec![CertificateCaller { spiffe, groups: vec!["agents".into()], ..CertificateCaller::default() }];
    let (told, heard) = channel();
    let upstream = CannedUpstream::new(move |call| {
        told.send(Arc::clone(&call.context)).unwrap();
        ordinary(call)
    });
    (start_with(upstream, DenyList(&[]), settings).await, heard)
}

async fn ask(running: &Running, authority: &Authority, shows: Option<&Issued>, token: Option<&str>) -> Answer {
    let client = match token {
        Some(token) => running.client().with("authorization", &format!("Bearer {token}")),
        None => running.client(),
    };
    let stream = connect(running.addr, authority.client(shows, "http/1.1")).await.unwrap();
    collect(send(stream, client.request("POST", INITIALIZE)).await.unwrap()).await
}

#[tokio::test]
async fn a_certificate_names_its_caller_and_a_bound_token_is_good_on_its_connection_alone() {
    let (world, authority) = (World::new(), Authority::new());
    let (running, heard) = gateway(&world, &authority).await;
    let (agent, other) = (authority.agent(2100), authority.agent(2100));

    assert_eq!(ask(&running, &authority, Some(&agent), None).await.status, 200);
    let context = heard.recv().unwrap();
    assert_eq!(context.caller.name, "spiffe://example.org/agent");
    assert_eq!(context.caller.spiffe.as_deref(), Some("spiffe://example.org/agent"));
    assert_eq!(context.caller.attributes["certificate_subject"], ["CN=agent"]);
    assert!(context.proofs.client.secure);

    let thumbprint = encode(digest(&SHA256, &agent.chain[0]).as_ref());
    let bound = world.access("ana", 2000, &format!(r#","cnf":{{"x5t#S256":"{thumbprint}"}}"#));
    assert_eq!(ask(&running, &authority, Some(&agent), Some(&bound)).await.status, 200);
    assert_eq!(heard.recv().unwrap().caller.name, "acme:ana", "the token is whose it is, whoever shows it");
    for shows in [None, Some(&other)] {
        assert_eq!(ask(&running, &authority, shows, Some(&bound)).await.status, 401);
    }
    assert_eq!(running.ledger.counted("denial", "certificate_required"), 2);

    assert_eq!(ask(&running, &authority, None, None).await.status, 401, "nothing is shown");
    let stranger = authority.issue(Vec::new(), 2100);
    assert_eq!(ask(&running, &authority, Some(&stranger), None).await.status, 401, "no rule is about it");
    assert!(heard.try_recv().is_err(), "none of these reached the server");
}
