//! What a line does that HTTP leaves to its clients.

use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use portcullis_core::call::Subject;
use portcullis_core::refusal::{Fault, FaultKind};
use portcullis_core::upstream::{Arrived, Media};

use crate::testing::parent::Parent;
use crate::testing::{CannedUpstream, INITIALIZE, ordinary, reply, result, start};

const CALL: &str = r#"{"jsonrpc":"2.0","id":5,"method":"tools/call","params":{"name":"t","arguments":{}}}"#;

/// A20: the server ends the stream on purpose, and wants to be asked again.
#[tokio::test]
async fn a_reply_that_breaks_off_is_asked_for_again_where_it_broke_off() {
    let call = Mutex::new(None);
    let upstream = CannedUpstream::new(move |asked| match (&asked.subject, asked.name()) {
        (Subject::Message(_), Some("t")) => {
            *call.lock().unwrap() = Some(asked.clone());
            let retry = Some(Duration::from_millis(1));
            let primes = Arrived { message: None, event_id: Some("e1".into()), retry };
            Ok(reply(Media::EventStream, vec![primes]))
        }
        (Subject::Stream { last_event_id: Some(id), request: Some(request) }, _) => {
            assert_eq!((id.as_str(), request.method.as_str()), ("e1", "tools/call"));
            let asked = call.lock().unwrap().clone().unwrap();
            Ok(reply(Media::EventStream, vec![result(&asked, r#"{"late":true}"#)]))
        }
        _ => ordinary(asked),
    });
    let running = start(upstream).await;
    let mut parent = Parent::of(&running);
    parent.ask(INITIALIZE).await;
    assert!(parent.ask(CALL).await.contains(r#""late":true"#));
}

#[tokio::test(start_paused = true)]
async fn a_reply_whose_rest_never_comes_is_an_error_with_its_id_after_a_few_tries() {
    let tries = std::sync::Arc::new(AtomicUsize::new(0));
    let counted = std::sync::Arc::clone(&tries);
    let upstream = CannedUpstream::new(move |asked| match (&asked.subject, asked.name()) {
        (Subject::Message(_), Some("t")) => {
            let primes = Arrived { message: None, event_id: Some("e1".into()), retry: None };
            Ok(reply(Media::EventStream, vec![primes]))
        }
        (Subject::Stream { request: Some(_), .. }, _) => {
            counted.fetch_add(1, Ordering::Relaxed);
            Ok(reply(Media::EventStream, Vec::new()))
        }
        _ => ordinary(asked),
    });
    let running = start(upstream).await;
    let mut parent = Parent::of(&running);
    parent.ask(INITIALIZE).await;
    let lost = parent.ask(CALL).await;
    assert!(lost.contains(r#""id":5"#) && lost.contains("error"), "{lost}");
    assert_eq!(tries.load(Ordering::Relaxed), 5);
}

/// A11: a server without a standing stream is asked for one once.
#[tokio::test(start_paused = true)]
async fn a_server_that_never_talks_by_itself_is_not_asked_again() {
    let asked = std::sync::Arc::new(AtomicUsize::new(0));
    let counted = std::sync::Arc::clone(&asked);
    let upstream = CannedUpstream::new(move |call| match &call.subject {
        Subject::Stream { .. } => {
            counted.fetch_add(1, Ordering::Relaxed);
            Err(Fault::new(FaultKind::NoStream, "405"))
        }
        _ => ordinary(call),
    });
    let running = start(upstream).await;
    let mut parent = Parent::of(&running);
    parent.ask(INITIALIZE).await;
    parent.say(r#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#).await;
    parent.ask(CALL).await;
    tokio::time::sleep(Duration::from_secs(600)).await;
    assert_eq!(asked.load(Ordering::Relaxed), 1);
}
