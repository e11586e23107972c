use std::sync::Arc;

use portcullis_core::attempt::ANSWERED;
use portcullis_core::call::SessionKey;
use portcullis_core::refusal::FaultKind;
use portcullis_core::upstream::Upstream;
use tokio::sync::oneshot;

use crate::fallback::Fallback;
use crate::fallback::tests::{call, way};
use crate::settings::FallbackSettings;
use crate::testing::scripted::{Act, Scripted};
use crate::testing::{all, legacy};

struct Replicas {
    servers: Vec<Arc<Scripted>>,
    face: Arc<Fallback>,
}

fn replicas(acts: impl IntoIterator<Item = Vec<Act>>) -> Replicas {
    let servers: Vec<_> = acts.into_iter().map(Scripted::new).collect();
    let ways = servers
        .iter()
        .enumerate()
        .map(|(at, server)| way(&format!("http/{}", at + 1), Arc::clone(server) as Arc<dyn Upstream>));
    let face = Fallback::replicas(ways.collect(), &FallbackSettings::default()).unwrap();
    Replicas { servers, face }
}

impl Replicas {
    fn sent(&self) -> Vec<usize> {
        self.servers.iter().map(|server| server.sent()).collect()
    }
}

#[tokio::test(start_paused = true)]
async fn a_call_goes_to_the_replica_with_the_least_under_way() {
    let (release, waits) = oneshot::channel();
    let held = replicas([vec![Act::Waits(waits)], vec![], vec![]]);
    let long = held.face.send(call(false)).await.unwrap();
    for _ in 0..6 {
        all(held.face.send(call(false)).await.unwrap()).await;
    }
    assert_eq!(held.sent(), [1, 3, 3], "the busy one is spared, the idle ones share");
    release.send(()).unwrap();
    all(long).await;
    for _ in 0..3 {
        all(held.face.send(call(false)).await.unwrap()).await;
    }
    assert_eq!(held.sent(), [2, 4, 4], "an ended reply counts no more");
}

#[tokio::test(start_paused = true)]
async fn only_what_never_left_goes_to_another_replica() {
    let failing = replicas([vec![Act::Fails(FaultKind::Died)], vec![]]);
    // Even of what is harmless nothing is sent twice.
    let fault = failing.face.send(call(true)).await.unwrap_err();
    assert_eq!((fault.kind, failing.sent()), (FaultKind::Died, vec![1, 0]));

    let shut = replicas([vec![], vec![]]);
    shut.servers[0].next(Act::Fails(FaultKind::Died));
    shut.servers[0].next(Act::Fails(FaultKind::Died));
    let mut failed = 0;
    for _ in 0..4 {
        failed += usize::from(shut.face.send(call(false)).await.is_err());
    }
    assert_eq!((failed, shut.sent()), (2, vec![2, 2]));
    // Its breaker is open: it comes last, and nobody has to wait for it.
    for _ in 0..3 {
        assert!(shut.face.send(call(false)).await.unwrap().attempts.is_none());
    }
    assert_eq!(shut.sent(), [2, 5]);
}

#[tokio::test(start_paused = true)]
async fn what_a_replica_refuses_another_answers_and_the_history_names_both() {
    let down = crate::testing::Fake::new(Ok(Default::default()), |_| {
        Err(portcullis_core::refusal::Fault::before_sending(FaultKind::Unreachable, "as the test says"))
    });
    let up = Scripted::new([]);
    let inner = Fallback::replicas(vec![way("http/1", down), way("http/2", up.clone())], &FallbackSettings::default());
    let face = Fallback::new(vec![way("http", inner.unwrap())], &Default::default(), &[]).unwrap();
    let attempts = face.send(call(false)).await.unwrap().attempts.unwrap();
    let told: Vec<_> = attempts.iter().map(|attempt| (&*attempt.transport, attempt.outcome, attempt.left)).collect();
    assert_eq!(told, [("http/1", "upstream_unreachable", false), ("http/2", ANSWERED, true)]);
    assert_eq!(up.sent(), 1);
}

#[tokio::test(start_paused = true)]
async fn legacy_sessions_are_spread_and_stay_where_they_are() {
    let several = replicas([vec![], vec![], vec![]]);
    let initialize = r#"{"jsonrpc":"2.0","id":1,"method":"initialize","params":{"protocolVersion":"2025-11-25","capabilities":{},"clientInfo":{"name":"c","version":"1"}}}"#;
    for session in 0..3 {
        all(several.face.send(legacy(session).say(initialize)).await.unwrap()).await;
    }
    assert_eq!(several.sent(), [1, 1, 1]);
    for _ in 0..4 {
        all(several.face.send(legacy(1).say(r#"{"jsonrpc":"2.0","id":1,"method":"ping"}"#)).await.unwrap()).await;
    }
    assert_eq!(several.sent(), [1, 5, 1]);
    several.face.forget(SessionKey(1)).await;
    let lost = several.face.send(legacy(1).say(r#"{"jsonrpc":"2.0","id":1,"method":"ping"}"#)).await.unwrap_err();
    assert_eq!(lost.kind, FaultKind::SessionLost);
}
