//! What a session has called, while many of its calls race: real connections, served by several threads.

use std::num::NonZeroUsize;
use std::sync::{Arc, Mutex};

use portcullis_core::call::Call;
use portcullis_core::guard::{About, Decision, Guard, Phase};
use portcullis_core::refusal::{Denial, DenialCode, Manner};
use portcullis_core::tally::Tally;
use portcullis_core::upstream::Media;

use crate::settings::ServerSettings;
use crate::testing::{CannedUpstream, Client, from_server, ordinary, reply, result, start_on};
use crate::workers::Workers;

const LIMIT: u64 = 50;

/// Lets fifty calls of each tool through in one session, and none of a tool after it was marked. Keeps what it saw of those that passed.
#[derive(Debug, Default)]
struct Limit {
    seen: Mutex<Vec<(String, Option<Tally>)>>,
}

impl Limit {
    fn of_method(&self, method: &str) -> Vec<Option<Tally>> {
        let seen = self.seen.lock().unwrap();
        seen.iter().filter(|(known, _)| known == method).map(|(_, tally)| tally.clone()).collect()
    }
}

impl Guard for Limit {
    fn about(&self) -> &'static About {
        &About { code: "G000", name: "policy", phase: Phase::Policy, purpose: "test" }
    }

    fn heeds_tally(&self) -> bool {
        true
    }

    fn check(&self, call: &Call) -> Decision {
        let tally = call.context.session.as_ref().and_then(|session| session.tally.clone());
        // Whoever could come between the look and the verdict may do so now.
        std::thread::yield_now();
        let marked = call.arguments().is_some_and(|arguments| arguments.get("marked").is_some());
        if marked || tally.as_ref().is_some_and(|tally| tally.tool_calls > LIMIT) {
            return Decision::Deny(Box::new(Denial {
                code: DenialCode::Forbidden,
                guard: "policy",
                public: "no".into(),
                detail: String::new(),
                policies: Vec::new(),
                manner: Manner::Plain,
                challenge: None,
            }));
        }
        self.seen.lock().unwrap().push((call.method().to_owned(), tally));
        Decision::Pass(portcullis_core::guard::Pass::default())
    }
}

fn tool_call(id: usize, tool: &str, arguments: &str) -> String {
    format!(
        r#"{{"jsonrpc":"2.0","id":{id},"method":"tools/call","params":{{"name":"{tool}","arguments":{arguments}}}}}"#
    )
}

/// How many of these got through. Each has a connection of its own.
async fn race(client: &Client, bodies: Vec<String>) -> usize {
    let racers = bodies.into_iter().map(|body| {
        let client = client.clone();
        tokio::spawn(async move { client.post(&body).await })
    });
    let answers = futures_util::future::join_all(racers.collect::<Vec<_>>()).await;
    answers.into_iter().filter(|answer| answer.as_ref().unwrap().body.contains(r#""result""#)).count()
}

/// Refused calls race along: a number that one of them held for a moment must not be missing among those that pass.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_two_hundred_racing_calls_exactly_the_fifty_that_the_policy_lets_pass_do_and_no_two_see_the_same_count() {
    let (policy, upstream) = (Arc::new(Limit::default()), CannedUpstream::new(ordinary));
    let workers = Workers::threads(NonZeroUsize::new(4).unwrap()).unwrap();
    let running = start_on(workers, upstream, Arc::clone(&policy) as Arc<dyn Guard>, ServerSettings::default()).await;
    for round in 0..3 {
        policy.seen.lock().unwrap().clear();
        let client = running.session().await;
        let bodies = (0..300).map(|id| tool_call(id, "pay", if id % 3 == 0 { r#"{"marked":1}"# } else { "{}" }));
        assert_eq!(race(&client, bodies.collect()).await, 50, "round {round}");
        let mut numbers: Vec<u64> =
            policy.of_method("tools/call").into_iter().map(|tally| tally.unwrap().tool_calls).collect();
        numbers.sort_unstable();
        assert_eq!(numbers, (1..=LIMIT).collect::<Vec<_>>(), "round {round}");
        let others = (300..360).map(|id| tool_call(id, "look", "{}"));
        assert_eq!(race(&client, others.collect()).await, 50, "round {round}: each tool has its own count");
    }
    let sent = running.upstream.sent().iter().filter(|sent| sent.contains("tools/call")).count();
    assert_eq!(sent, 3 * 100, "what was sent is what passed");
}

#[tokio::test]
async fn what_a_session_called_is_known_in_order_to_calls_and_to_what_the_server_sends() {
    let upstream = CannedUpstream::new(|call| {
        if call.method() != "tools/call" {
            return ordinary(call);
        }
        let asks = from_server(r#"{"jsonrpc":"2.0","id":"q","method":"roots/list"}"#);
        Ok(reply(Media::EventStream, vec![asks, result(call, "{}")]))
    });
    let policy = Arc::new(Limit::default());
    let settings = ServerSettings::default();
    let running = start_on(Workers::here(), upstream, Arc::clone(&policy) as Arc<dyn Guard>, settings).await;
    let client = running.session().await;
    for (id, tool) in ["read_secret", "look", "read_secret"].into_iter().enumerate() {
        assert_eq!(client.post(&tool_call(id, tool, "{}")).await.status, 200);
        let refused = client.post(&tool_call(id, "refused", r#"{"marked":1}"#)).await;
        assert!(refused.body.contains(r#""error""#), "{refused:?}");
        client.post(r#"{"jsonrpc":"2.0","id":"q","result":{"roots":[]}}"#).await;
    }
    let told = |method: &str| -> Vec<(u64, u64, String)> {
        let told = policy.of_method(method).into_iter().flatten();
        told.map(|tally| (tally.calls, tally.tool_calls, tally.last_tools.join(" "))).collect()
    };
    let (first, second, third) = ("read_secret", "read_secret look", "read_secret look read_secret");
    assert_eq!(
        told("tools/call"),
        [(1, 1, String::new()), (2, 1, first.to_owned()), (3, 2, second.to_owned())],
        "a refused call is in no count and no list"
    );
    let asked = told("roots/list");
    let of_server = [&asked[0], &asked[2], &asked[4]];
    assert_eq!(of_server, [&(1, 1, first.to_owned()), &(2, 1, second.to_owned()), &(3, 2, third.to_owned())]);
}
