//! A server that lost a session is asked again for what lasts, as the client asked; the client hears of what does not come back.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, Weak};

use futures_util::StreamExt;
use http_body_util::BodyExt;
use portcullis_core::call::{Call, SessionKey, Subject};
use portcullis_core::refusal::{Fault, FaultKind, Manner};
use portcullis_core::upstream::{Media, Renewals, Reply};

use super::merged::start_merged;
use crate::settings::ServerSettings;
use crate::testing::{
    CannedUpstream, Client, DenyList, Running, from_server, next_event, ordinary, plan, reply, result,
};

/// A merged endpoint of two servers and one client's session there.
struct Stage {
    running: Running,
    servers: [Arc<CannedUpstream>; 2],
    client: Client,
    key: SessionKey,
}

impl Stage {
    /// `notes` answers by the script.
    async fn set(script: impl Fn(&Call) -> Result<Reply, Fault> + Send + Sync + 'static) -> Self {
        let key = Arc::new(Mutex::new(None));
        let seen = Arc::clone(&key);
        let notes = CannedUpstream::named("notes", move |call| {
            *seen.lock().unwrap() = call.context.session.as_ref().map(|session| session.key);
            match call.subject {
                Subject::Stream { .. } => Ok(Reply::new(Media::EventStream, futures_util::stream::pending().boxed())),
                _ => script(call),
            }
        });
        let servers = [notes, CannedUpstream::named("mail", ordinary)];
        let running = start_merged(&servers, ServerSettings::default()).await;
        let client = running.session().await;
        let key = key.lock().unwrap().unwrap();
        Self { running, servers, client, key }
    }

    async fn ask(&self, method: &str, params: &str) -> String {
        self.client.post(&format!(r#"{{"jsonrpc":"2.0","id":5,"method":"{method}","params":{{{params}}}}}"#)).await.body
    }

    async fn subscribe(&self, uri: &str) -> String {
        self.ask("resources/subscribe", &format!(r#""uri":"notes+file:///{uri}""#)).await
    }

    fn listener(&self) -> Weak<dyn Renewals> {
        self.servers[0].listener.lock().unwrap().clone().unwrap()
    }

    /// The server lost the session, and was told of it anew.
    fn loses(&self) {
        self.listener().upgrade().unwrap().renewed(self.key, "notes");
    }

    fn awaits(&self) -> bool {
        self.listener().upgrade().unwrap().awaits(self.key, "notes")
    }

    /// What the server has heard since the last time, without what opened the session.
    fn news(&self) -> Vec<String> {
        self.servers[0].sent.lock().unwrap().drain(..).map(|sent| String::from_utf8(sent.to_vec()).unwrap()).collect()
    }

    /// Once nothing is asked for again any more.
    async fn settled(&self) {
        self.running.gateway.tasks.close();
        self.running.gateway.tasks.wait().await;
        self.running.gateway.tasks.reopen();
    }
}

#[tokio::test]
async fn what_a_server_agreed_to_is_asked_again_once_in_its_words_and_recorded() {
    let stage = Stage::set(|call| match call.name() {
        Some("file:///no") => {
            let id = call.message().unwrap().id().unwrap().raw();
            let text = format!(r#"{{"jsonrpc":"2.0","id":{id},"error":{{"code":-32002,"message":"no"}}}}"#);
            Ok(reply(Media::Json, vec![from_server(text)]))
        }
        _ => ordinary(call),
    })
    .await;
    assert!(!stage.awaits());
    stage.ask("logging/setLevel", r#""level":"error""#).await;
    stage.ask("logging/setLevel", r#""level":"warning""#).await;
    assert!(!stage.awaits(), "for words to the log alone no session is opened");
    for uri in ["a", "b", "a", "no", "c"] {
        stage.subscribe(uri).await;
    }
    stage.ask("resources/unsubscribe", r#""uri":"notes+file:///b""#).await;
    assert!(stage.awaits());
    stage.news();
    let recorded = stage.running.ledger.outcomes().len();
    stage.loses();
    stage.settled().await;
    let asked = stage.news();
    assert_eq!(asked.len(), 3, "{asked:?}");
    for (asked, expected) in asked.iter().zip([
        r#""method":"logging/setLevel","params":{"level":"warning"}"#,
        r#""method":"resources/subscribe","params":{"uri":"file:///a"}"#,
        r#""method":"resources/subscribe","params":{"uri":"file:///c"}"#,
    ]) {
        assert!(asked.contains(expected), "{asked}");
    }
    assert!(stage.servers[1].sent().iter().all(|sent| !sent.contains("subscribe")), "and nobody else");
    assert_eq!(stage.running.outcomes(recorded + 3).await[recorded..], ["answered"; 3]);
    assert!(stage.running.ledger.is_balanced());
    stage.loses();
    stage.settled().await;
    assert_eq!(stage.news().len(), 3, "and so the next time");
}

#[tokio::test]
async fn each_is_judged_by_the_plan_in_force_and_the_client_hears_what_is_lost() {
    let stage = Stage::set(ordinary).await;
    stage.ask("logging/setLevel", r#""level":"info""#).await;
    stage.subscribe("a").await;
    stage.news();
    stage.running.gateway.reload(&plan(Arc::new(DenyList(&[("resources/subscribe", Manner::Plain)]))));
    let mut stream = stage.client.open("GET", "").await.into_body();
    stage.loses();
    let told = next_event(&mut stream).await.unwrap();
    for text in [
        "notifications/message",
        r#""level":"warning","logger":"portcullis""#,
        r#""server":"notes""#,
        r#""resources":["notes+file:///a"],"logLevel":false"#,
    ] {
        assert!(told.contains(text), "{text}: {told}");
    }
    stage.settled().await;
    let asked = stage.news();
    assert!(asked.len() == 1 && asked[0].contains("logging/setLevel"), "{asked:?}");
    assert!(!stage.awaits(), "what is refused is not asked for again");
    assert_eq!(stage.running.ledger.outcomes().last(), Some(&"denied"));
}

#[tokio::test]
async fn a_server_that_fails_is_not_asked_for_the_rest_and_later_for_all() {
    let fails = Arc::new(AtomicBool::new(false));
    let failing = Arc::clone(&fails);
    let stage = Stage::set(move |call| {
        if failing.load(Ordering::SeqCst) {
            return Err(Fault::before_sending(FaultKind::Unreachable, "x"));
        }
        ordinary(call)
    })
    .await;
    stage.ask("logging/setLevel", r#""level":"info""#).await;
    stage.subscribe("a").await;
    stage.subscribe("b").await;
    let mut stream = stage.client.open("GET", "").await.into_body();
    stage.news();
    fails.store(true, Ordering::SeqCst);
    stage.loses();
    let told = next_event(&mut stream).await.unwrap();
    assert!(told.contains(r#""resources":["notes+file:///a","notes+file:///b"],"logLevel":true"#), "{told}");
    stage.settled().await;
    assert_eq!(stage.news().len(), 1);
    fails.store(false, Ordering::SeqCst);
    stage.loses();
    stage.settled().await;
    assert_eq!(stage.news().len(), 3, "it may come back");
}

#[tokio::test]
async fn a_server_that_loses_the_session_whenever_it_is_asked_is_left_alone_after_three_times() {
    let lost = Arc::new(Mutex::new(None::<(Weak<dyn Renewals>, SessionKey)>));
    let loses = Arc::clone(&lost);
    let stage = Stage::set(move |call| {
        // As the upstream says it that opens the session anew.
        if let Some((listener, key)) = &*loses.lock().unwrap() {
            listener.upgrade().unwrap().renewed(*key, "notes");
        }
        ordinary(call)
    })
    .await;
    stage.ask("logging/setLevel", r#""level":"info""#).await;
    stage.subscribe("a").await;
    let mut stream = stage.client.open("GET", "").await.into_body();
    stage.news();
    *lost.lock().unwrap() = Some((stage.listener(), stage.key));
    stage.loses();
    let told = next_event(&mut stream).await.unwrap();
    assert!(told.contains("goes on losing"), "{told}");
    stage.settled().await;
    assert_eq!(stage.news().len(), 3 * 2);
}

#[tokio::test]
async fn a_caller_whose_proof_has_ended_is_asked_for_nothing_in_its_place() {
    let stage = Stage::set(ordinary).await;
    stage.subscribe("a").await;
    stage.news();
    let session = stage.running.gateway.sessions.known(stage.key).unwrap();
    let (_, by, _) = session.awaited().of(0).unwrap();
    let call = Call { context: by.context, subject: Subject::Close };
    session.proves(&call, Some(call.context.now));
    stage.loses();
    stage.settled().await;
    assert!(stage.news().is_empty());
    assert!(stage.awaits(), "until it is proven again");
}

#[tokio::test]
async fn who_wants_no_warnings_hears_none() {
    let stage = Stage::set(|call| match call.method() {
        "resources/subscribe" if call.message().unwrap().id().unwrap().raw().contains("renewal") => {
            Err(Fault::new(FaultKind::TimedOut, "x"))
        }
        "resources/subscribe" => Ok(reply(Media::Json, vec![result(call, "{}")])),
        _ => ordinary(call),
    })
    .await;
    stage.subscribe("a").await;
    let stream = stage.client.open("GET", "").await.into_body();
    stage.loses();
    stage.settled().await;
    // Which ends the stream.
    stage.running.gateway.reload(&plan(Arc::new(DenyList(&[]))));
    assert_eq!(stream.collect().await.unwrap().to_bytes().as_ref(), b"");
}
