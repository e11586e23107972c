use std::collections::VecDeque;
use std::sync::Mutex;

use portcullis_core::attempt::{ANSWERED, Attempt};
use portcullis_core::upstream::Media;
use portcullis_core::wire::{Limits, view_json};
use tokio::time::Instant;

use super::*;
use crate::answers::one;
use crate::health::{HealthBoard, Terms};
use crate::lazy::Lazy;
use crate::settings::{BreakerSettings, HealthSettings, LazySettings, ToolBreakerSettings, ToolOrder};
use crate::testing::scripted::{Act, Scripted};
use crate::testing::{Facts, Fake, all, legacy, modern, modern_call, said, text};

mod executions;

const INITIALIZE: &str = r#"{"jsonrpc":"2.0","id":0,"method":"initialize","params":{"protocolVersion":"2025-11-25","capabilities":{},"clientInfo":{"name":"c","version":"1"}}}"#;

/// Opens after two failures in a row, for exactly a second.
pub(crate) fn way(word: &str, upstream: Arc<dyn Upstream>) -> Way {
    way_with(word, upstream, &quick())
}

fn quick() -> BreakerSettings {
    BreakerSettings { consecutive_failures: 2, open_ms: 1_000, jitter_percent: 0, ..BreakerSettings::default() }
}

fn way_with(word: &str, upstream: Arc<dyn Upstream>, settings: &BreakerSettings) -> Way {
    let terms = Terms {
        breaker: settings.rules().unwrap(),
        tools: settings.tool_rules().unwrap(),
        health: HealthSettings::default().thresholds().unwrap(),
    };
    let board = HealthBoard::new(Arc::new(|_| {}));
    let track = board.track(&"srv".into(), word, terms);
    Way::new(word.into(), Breaker::new(upstream, track))
}

/// One that knows no sessions.
fn scripted(word: &str, acts: impl IntoIterator<Item = Act>) -> (Arc<Scripted>, Way) {
    let server = Scripted::new(acts);
    let way = way(word, Arc::clone(&server) as Arc<dyn Upstream>);
    (server, way)
}

fn over(ways: Vec<Way>, settings: &FallbackSettings) -> Arc<Fallback> {
    Fallback::new(ways, settings, &[]).unwrap()
}

fn idempotent() -> FallbackSettings {
    FallbackSettings { repeat: Repeat::Idempotent, ..FallbackSettings::default() }
}

/// A modern call of a tool that the server declares read-only, or of which it says nothing.
pub(crate) fn call(read_only: bool) -> Cleared {
    let tools = format!(r#"[{{"name":"echo","inputSchema":{{}},"annotations":{{"readOnlyHint":{read_only}}}}}]"#);
    let catalogue = Catalogue::from_tools(view_json(tools.as_bytes(), &Limits::default()).unwrap().elements()).unwrap();
    Facts { catalogue: Arc::new(catalogue), ..modern() }.say(&modern_call("1"))
}

/// What came of it: the text of the last message, or what failed; and what was tried.
async fn outcome(fallback: &Fallback, cleared: Cleared) -> (Result<String, Fault>, Vec<(String, &'static str)>) {
    let tried = |attempts: Option<Box<[Attempt]>>| {
        let attempts = attempts.unwrap_or_default().into_vec().into_iter();
        attempts.map(|attempt| (attempt.transport.to_string(), attempt.outcome)).collect::<Vec<_>>()
    };
    match fallback.send(cleared).await {
        Err(fault) => {
            let attempts = tried(fault.attempts.clone());
            (Err(fault), attempts)
        }
        Ok(mut reply) => {
            let attempts = tried(reply.attempts.take());
            match all(reply).await.pop() {
                Some(Err(fault)) => {
                    let attempts = tried(fault.attempts.clone());
                    (Err(fault), attempts)
                }
                last => {
                    let last = last.filter(|last| last.as_ref().is_ok_and(|arrived| arrived.message.is_some()));
                    (Ok(last.map(|last| text(&last)).unwrap_or_default()), attempts)
                }
            }
        }
    }
}

fn tried(expected: &[(&str, &'static str)]) -> Vec<(String, &'static str)> {
    expected.iter().map(|(word, outcome)| ((*word).to_owned(), *outcome)).collect()
}

/// Fails before anything left.
fn unreachable(kind: FaultKind) -> Arc<Fake> {
    Fake::new(Ok(Catalogue::default()), move |_| Err(Fault::before_sending(kind.clone(), "as the test says")))
}

/// Answers everything with its own name.
fn named(name: &'static str) -> Arc<Fake> {
    Fake::new(Ok(Catalogue::default()), move |call| {
        let Some(id) = call.message().and_then(Message::id).filter(|_| call.expects_response()) else {
            return Ok(accepted());
        };
        Ok(one(said(&format!(r#"{{"jsonrpc":"2.0","id":{},"result":{{"by":"{name}"}}}}"#, id.raw()))))
    })
}

async fn by(fallback: &Fallback, cleared: Cleared) -> String {
    let (answer, _) = outcome(fallback, cleared).await;
    let answer = answer.unwrap();
    let by = answer.split_once(r#""by":""#).unwrap().1;
    by.split('"').next().unwrap().to_owned()
}

#[tokio::test(start_paused = true)]
async fn what_never_left_goes_to_the_next_way_and_the_history_says_so() {
    let (down, up) = (unreachable(FaultKind::Unreachable), named("second"));
    let fallback = over(vec![way("http", down.clone()), way("stdio", up.clone())], &FallbackSettings::default());
    let (answer, attempts) = outcome(&fallback, call(false)).await;
    assert!(answer.unwrap().contains("second"));
    assert_eq!(attempts, tried(&[("http", "upstream_unreachable"), ("stdio", ANSWERED)]));

    // After two failures the breaker is open, and the first is not even asked.
    outcome(&fallback, call(false)).await.0.unwrap();
    let (_, attempts) = outcome(&fallback, call(false)).await;
    assert_eq!(attempts, tried(&[("http", "circuit_open"), ("stdio", ANSWERED)]));
    assert_eq!((down.heard().len(), up.heard().len()), (2, 3));
}

#[tokio::test(start_paused = true)]
async fn the_first_way_that_answers_leaves_no_history() {
    let fallback = over(vec![way("http", named("first")), way("stdio", named("second"))], &FallbackSettings::default());
    let (answer, attempts) = outcome(&fallback, call(false)).await;
    assert!(answer.unwrap().contains("first") && attempts.is_empty());
}

#[tokio::test(start_paused = true)]
async fn what_may_have_left_is_repeated_only_where_settings_and_the_tool_both_allow_it() {
    let failures = || {
        [
            Act::Fails(FaultKind::TimedOut),
            Act::Fails(FaultKind::Throttled { retry_after_ms: None }),
            Act::Fails(FaultKind::Unauthorized),
            Act::Breaks(FaultKind::Died),
            Act::Stops { resumable: false },
        ]
    };
    for at in 0..failures().len() {
        for (settings, read_only, repeated) in [
            (FallbackSettings::default(), false, false),
            (FallbackSettings::default(), true, false),
            (idempotent(), false, false),
            (idempotent(), true, true),
        ] {
            let act = failures().into_iter().nth(at).unwrap();
            let case = format!("{act:?} {settings:?} {read_only}");
            let ((_, first), (second, other)) = (scripted("http", [act]), scripted("stdio", []));
            let fallback = over(vec![first, other], &settings);
            let (answer, attempts) = outcome(&fallback, call(read_only)).await;
            assert_eq!(second.sent(), usize::from(repeated), "{case}");
            match answer {
                Ok(text) if repeated => assert!(text.contains("result") && attempts.len() == 2, "{case}"),
                // What ends without an answer is told by whoever waits for it.
                Ok(text) => assert!(text.is_empty() || at == 4, "{case}"),
                Err(fault) => assert!(!repeated && !fault.never_left && attempts.len() == 1, "{case}"),
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn nothing_goes_elsewhere_once_something_was_passed_on() {
    let progress = r#"{"jsonrpc":"2.0","method":"notifications/progress","params":{"progressToken":"t","progress":1}}"#;
    let first = Fake::new(Ok(Catalogue::default()), move |_| {
        let mut reply = one(said(progress));
        let broken = futures_util::stream::iter([Err(Fault::new(FaultKind::Died, "in the middle"))]);
        reply.media = Media::EventStream;
        reply.arrivals = Box::pin(futures_util::StreamExt::chain(reply.arrivals, broken));
        Ok(reply)
    });
    let second = named("second");
    let fallback = over(vec![way("http", first), way("stdio", second.clone())], &idempotent());
    let (answer, attempts) = outcome(&fallback, call(true)).await;
    assert_eq!(answer.unwrap_err().kind, FaultKind::Died);
    assert_eq!((attempts, second.heard().len()), (tried(&[("http", "upstream_died")]), 0));
}

#[tokio::test(start_paused = true)]
async fn whether_it_may_have_left_is_not_forgotten_over_what_came_after_it() {
    let (_, first) = scripted("http", [Act::Fails(FaultKind::TimedOut)]);
    let fallback = over(vec![first, way("stdio", unreachable(FaultKind::Unreachable))], &idempotent());
    let fault = outcome(&fallback, call(true)).await.0.unwrap_err();
    assert_eq!((&fault.kind, fault.never_left), (&FaultKind::TimedOut, false), "{fault:?}");

    let (_, second) = scripted("stdio", [Act::Fails(FaultKind::Died)]);
    let fallback = over(vec![way("http", unreachable(FaultKind::Unreachable)), second], &FallbackSettings::default());
    let (answer, attempts) = outcome(&fallback, call(false)).await;
    let fault = answer.unwrap_err();
    assert_eq!((&fault.kind, fault.never_left), (&FaultKind::Died, false));
    assert_eq!(attempts, tried(&[("http", "upstream_unreachable"), ("stdio", "upstream_died")]));
}

/// Of several reasons the one that says most; nothing left, so the client may call again.
#[tokio::test(start_paused = true)]
async fn of_several_failures_the_one_that_says_most_is_told() {
    let open = |retry_after_ms| FaultKind::CircuitOpen { retry_after_ms };
    let legacy = FaultKind::EraMismatch { served: Era::Legacy };
    let table = [
        (open(500), FaultKind::Unreachable, FaultKind::Unreachable),
        (FaultKind::Unreachable, open(500), FaultKind::Unreachable),
        (open(500), open(200), open(200)),
        (open(200), open(500), open(200)),
        (FaultKind::Unreachable, legacy.clone(), legacy.clone()),
        (legacy.clone(), FaultKind::Unreachable, legacy),
        (FaultKind::Unreachable, FaultKind::Overloaded, FaultKind::Unreachable),
    ];
    for (first, second, told) in table {
        let case = format!("{first:?} {second:?}");
        let ways = vec![way("http", unreachable(first)), way("stdio", unreachable(second))];
        let fault = outcome(&over(ways, &FallbackSettings::default()), call(false)).await.0.unwrap_err();
        assert_eq!((fault.kind, fault.never_left), (told, true), "{case}");
    }
}

#[tokio::test(start_paused = true)]
async fn what_no_other_way_can_better_ends_the_search() {
    for kind in [FaultKind::TooLarge, FaultKind::Busy, FaultKind::ShuttingDown, FaultKind::NoStream] {
        let second = named("second");
        let ways = vec![way("http", unreachable(kind.clone())), way("stdio", second.clone())];
        let fault = outcome(&over(ways, &idempotent()), call(true)).await.0.unwrap_err();
        assert_eq!((fault.kind, second.heard().len()), (kind, 0));
    }
}

/// One deadline for all ways together, and what hangs at it may have arrived.
#[tokio::test(start_paused = true)]
async fn the_deadline_is_for_the_whole_chain() {
    let slow = named("second");
    let (_, hangs) = scripted("http", [Act::Hangs]);
    let settings = FallbackSettings { deadline_ms: 700, ..idempotent() };
    let fallback = over(vec![hangs, way("stdio", slow.clone())], &settings);
    let begun = Instant::now();
    let fault = outcome(&fallback, call(true)).await.0.unwrap_err();
    assert_eq!((begun.elapsed(), fault.kind), (Duration::from_millis(700), FaultKind::TimedOut));
    assert!(!fault.never_left && slow.heard().is_empty(), "no time was left for another way");
}

/// What has left and could not go elsewhere is the transport's to end: a long call is no failure to find a way.
#[tokio::test(start_paused = true)]
async fn the_deadline_ends_no_call_that_is_under_way_and_could_not_go_elsewhere() {
    let settings = |repeat| FallbackSettings { deadline_ms: 700, repeat, ..FallbackSettings::default() };
    let long = || Act::Late(Duration::from_secs(60));
    // Not repeatable, on any way; repeatable, on the last; in a session, on its own.
    for (repeat, first, second) in
        [(Repeat::Never, long(), Act::Answers), (Repeat::Idempotent, Act::Fails(FaultKind::Died), long())]
    {
        let ways = vec![scripted("http", [first]).1, scripted("stdio", [second]).1];
        let begun = Instant::now();
        let answer = outcome(&over(ways, &settings(repeat)), call(true)).await.0;
        assert!(answer.unwrap().contains("result"));
        assert_eq!(begun.elapsed(), Duration::from_secs(60), "{repeat:?}");
    }
    let (_, way) = scripted("http", [Act::Answers, long()]);
    let (_, other) = scripted("stdio", []);
    let fallback = over(vec![way, other], &settings(Repeat::Never));
    fallback.send(legacy(1).say(INITIALIZE)).await.unwrap();
    let ask = r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"echo"}}"#;
    assert!(outcome(&fallback, legacy(1).say(ask)).await.0.is_ok());
}

#[tokio::test(start_paused = true)]
async fn the_deadline_ends_what_has_not_left_and_what_could_go_elsewhere() {
    for (act, read_only) in [(Act::Connects, false), (Act::Connects, true), (Act::Hangs, true)] {
        let (_, stuck) = scripted("http", [act]);
        let (untried, other) = scripted("stdio", []);
        let settings = FallbackSettings { deadline_ms: 700, ..idempotent() };
        let begun = Instant::now();
        let fault = outcome(&over(vec![stuck, other], &settings), call(read_only)).await.0.unwrap_err();
        assert_eq!((fault.kind, untried.sent()), (FaultKind::TimedOut, 0));
        assert_eq!(begun.elapsed(), Duration::from_millis(700));
    }
}

#[tokio::test(start_paused = true)]
async fn a_legacy_session_stays_on_the_way_that_opened_it() {
    let (first, second) = (named("first"), named("second"));
    let (gone, opening) = scripted("websocket", [Act::Fails(FaultKind::Died)]);
    let ways = vec![opening, way("http", first.clone()), way("stdio", second.clone())];
    let fallback = over(ways, &FallbackSettings::default());
    // To open a session carries out nothing: it goes on although it may have arrived.
    assert_eq!(by(&fallback, legacy(1).say(INITIALIZE)).await, "first");
    assert_eq!(gone.sent(), 1);
    let ask = r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"echo"}}"#;
    assert_eq!(by(&fallback, legacy(1).say(ask)).await, "first", "though the first way answers again");
    let told = fallback.send(legacy(1).say(r#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#)).await;
    assert_eq!(told.unwrap().media, Media::Accepted);
    assert!(second.heard().is_empty());

    let unknown = outcome(&fallback, legacy(2).say(ask)).await.0.unwrap_err();
    assert_eq!((unknown.kind, unknown.never_left), (FaultKind::SessionLost, true));

    fallback.forget(SessionKey(1)).await;
    assert_eq!(first.news().last().unwrap(), "forget");
    assert_eq!(outcome(&fallback, legacy(1).say(ask)).await.0.unwrap_err().kind, FaultKind::SessionLost);
    let closed = fallback.send(legacy(1).clear(Subject::Close)).await.unwrap();
    assert_eq!((closed.media, first.news().len()), (Media::Accepted, 0), "what is gone is closed");
}

#[tokio::test(start_paused = true)]
async fn a_session_whose_server_cannot_be_reached_is_lost_at_once_and_begins_anew_on_another() {
    let acts = Mutex::new(VecDeque::from([
        Ok(one(said(r#"{"jsonrpc":"2.0","id":0,"result":{"by":"first"}}"#))),
        Err(Fault::new(FaultKind::TimedOut, "as the test says")),
    ]));
    let refused = || Err(Fault::before_sending(FaultKind::Unreachable, "as the test says"));
    let first = Fake::new(Ok(Catalogue::default()), move |_| acts.lock().unwrap().pop_front().unwrap_or_else(refused));
    let fallback = over(vec![way("http", first), way("stdio", named("second"))], &FallbackSettings::default());
    by(&fallback, legacy(1).say(INITIALIZE)).await;
    let ask = || legacy(1).say(r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"echo"}}"#);
    let slow = outcome(&fallback, ask()).await.0.unwrap_err();
    assert_eq!((slow.kind, slow.never_left), (FaultKind::TimedOut, false), "a server that fails may know the session");
    let lost = outcome(&fallback, ask()).await.0.unwrap_err();
    assert_eq!((lost.kind, lost.never_left), (FaultKind::SessionLost, true));
    by(&fallback, legacy(1).say(INITIALIZE)).await;
    assert_eq!(by(&fallback, ask()).await, "second");
}

/// What carried a session has ended: nothing of it is left there, so nobody need find out that the way is shut.
#[tokio::test(start_paused = true)]
async fn a_session_whose_transport_died_is_opened_by_the_next_call_over_the_first_that_works() {
    let answers = |call: &Call, name: &str| match call.message().and_then(Message::id).map(|id| id.raw().to_owned()) {
        Some(id) => Ok(one(said(&format!(
            r#"{{"jsonrpc":"2.0","id":{id},"result":{{"by":"{name}","protocolVersion":"2025-11-25","capabilities":{{}}}}}}"#
        )))),
        None => Ok(accepted()),
    };
    let server = |name: &'static str| Fake::new(Ok(Catalogue::default()), move |call| answers(call, name));
    let died = Arc::new(Mutex::new(false));
    let shared = Arc::clone(&died);
    let child = Fake::new(Ok(Catalogue::default()), move |call| match (*shared.lock().unwrap(), opens(call)) {
        (false, _) => answers(call, "child"),
        (true, true) => Err(Fault::new(FaultKind::Died, "it does not start again")),
        (true, false) => Err(Fault::before_sending(FaultKind::SessionLost, "it has ended")),
    });
    let (next, last) = (server("next"), server("last"));
    let ways = vec![way("stdio", child.clone()), way("http", next.clone()), way("websocket", last.clone())];
    let fallback = over(ways, &FallbackSettings::default());
    let lazy = Lazy::new(fallback, &LazySettings::default(), Limits::default()).unwrap();
    let say = async |text: &str| text_of(all(lazy.send(legacy(1).say(text)).await.unwrap()).await);
    say(INITIALIZE).await;
    let ask = r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"echo"}}"#;
    assert!(say(ask).await.contains("child"));
    *died.lock().unwrap() = true;
    assert!(say(ask).await.contains("next"), "what had not left goes again");
    assert!(say(ask).await.contains("next") && last.heard().is_empty());
    assert_eq!(next.heard().iter().filter(|heard| *heard == "initialize").count(), 1);
}

fn text_of(items: Vec<Result<portcullis_core::upstream::Arrived, Fault>>) -> String {
    items.first().map(text).unwrap_or_default()
}

/// One failure is for the client to see; a way that is shut is left, and the session begins anew on another.
#[tokio::test(start_paused = true)]
async fn a_session_whose_way_is_shut_is_lost_and_begins_anew_on_another() {
    let broken = Arc::new(Mutex::new(false));
    let shared = Arc::clone(&broken);
    let flaky = Fake::new(Ok(Catalogue::default()), move |_| match *shared.lock().unwrap() {
        true => Err(Fault::new(FaultKind::TimedOut, "as the test says")),
        false => Ok(one(said(r#"{"jsonrpc":"2.0","id":0,"result":{"by":"flaky"}}"#))),
    });
    let tools = Some(ToolBreakerSettings { consecutive_failures: 1, most: 8 });
    let first = way_with("http", flaky.clone(), &BreakerSettings { tools, ..quick() });
    let fallback = over(vec![first, way("stdio", named("second"))], &FallbackSettings::default());
    assert_eq!(by(&fallback, legacy(1).say(INITIALIZE)).await, "flaky");
    *broken.lock().unwrap() = true;
    let ask = |tool: &str| {
        legacy(1).say(&format!(r#"{{"jsonrpc":"2.0","id":0,"method":"tools/call","params":{{"name":"{tool}"}}}}"#))
    };
    assert_eq!(outcome(&fallback, ask("a")).await.0.unwrap_err().kind, FaultKind::TimedOut);
    // The breaker of the tool is open now, that of the way is not.
    let refused = outcome(&fallback, ask("a")).await.0.unwrap_err();
    assert!(matches!(refused.kind, FaultKind::CircuitOpen { .. }), "{refused:?}");
    assert_eq!(outcome(&fallback, ask("b")).await.0.unwrap_err().kind, FaultKind::TimedOut);
    let (lost, attempts) = outcome(&fallback, ask("c")).await;
    let lost = lost.unwrap_err();
    assert_eq!(
        (lost.kind, lost.never_left, attempts),
        (FaultKind::SessionLost, true, tried(&[("http", "circuit_open")]))
    );
    tokio::task::yield_now().await;
    assert_eq!(flaky.heard().last().unwrap(), "forget");
    assert_eq!(by(&fallback, legacy(1).say(INITIALIZE)).await, "second");
    assert_eq!(by(&fallback, ask("c")).await, "second");
}

#[tokio::test(start_paused = true)]
async fn a_session_with_nowhere_else_to_go_is_not_lost() {
    let one = FaultKind::Unreachable;
    let (first, second) = (way("http", named("first")), way("stdio", unreachable(one.clone())));
    let fallback = over(vec![first.clone(), second], &FallbackSettings::default());
    by(&fallback, legacy(1).say(INITIALIZE)).await;
    for way in &fallback.inner.ways {
        while !way.breaker.is_shut() {
            let leave = way.breaker.track().admit(None).unwrap();
            let failed = crate::breaker::Outcome::Failed { retry_after: None };
            way.breaker.track().settle(leave, failed, failed, None);
        }
    }
    let ask = legacy(1).say(r#"{"jsonrpc":"2.0","id":1,"method":"ping"}"#);
    let fault = outcome(&fallback, ask).await.0.unwrap_err();
    assert!(matches!(fault.kind, FaultKind::CircuitOpen { .. }), "{fault:?}");
}

/// The gateway's order, the server's, whether the tool has one, whether clients have a say, what this one wishes, and what is tried first.
type Row<'a> = (&'a [&'a str], &'a [&'a str], bool, bool, &'a [&'a str], &'a str);

/// Tool before client before server before gateway before list.
#[tokio::test(start_paused = true)]
async fn the_order_is_the_tools_the_clients_the_servers_the_gateways_or_as_listed() {
    let words = ["http", "http-2", "stdio", "websocket"];
    let list = |words: &[&str]| words.iter().map(ToString::to_string).collect::<Vec<_>>();
    let tools = || vec![ToolOrder { tools: list(&["ec*"]), order: list(&["http-2"]) }];
    let table: [Row<'_>; 10] = [
        (&[], &[], false, false, &[], "http"),
        (&["stdio"], &[], false, false, &[], "stdio"),
        // What the gateway's order names and this server lacks is passed over.
        (&["sse", "websocket"], &[], false, false, &[], "websocket"),
        (&["stdio"], &["websocket", "http"], false, false, &[], "websocket"),
        (&["stdio"], &["http-2"], false, false, &[], "http-2"),
        (&["stdio"], &["websocket"], true, false, &[], "http-2"),
        (&[], &["stdio"], false, false, &["websocket"], "stdio"),
        (&[], &["stdio"], false, true, &["websocket"], "websocket"),
        (&[], &["stdio"], false, true, &["carrier-pigeon"], "stdio"),
        (&[], &["stdio"], true, true, &["websocket"], "http-2"),
    ];
    for (common, order, of_tool, clients_choose, wished, expected) in table {
        let tools = if of_tool { tools() } else { Vec::new() };
        let settings = FallbackSettings { order: list(order), tools, clients_choose, ..FallbackSettings::default() };
        let ways = words.map(|word| way(word, named(word))).into();
        let fallback = Fallback::new(ways, &settings, &list(common)).unwrap();
        let transports = wished.iter().map(|word| Arc::from(*word)).collect();
        let cleared = Facts { transports, ..modern() }.say(&modern_call("1"));
        assert_eq!(by(&fallback, cleared).await, expected, "{common:?} {settings:?} {wished:?}");
    }
    let ways = || words.map(|word| way(word, named(word))).to_vec();
    let unknown = FallbackSettings { order: list(&["htp"]), ..FallbackSettings::default() };
    let error = Fallback::new(ways(), &unknown, &[]).unwrap_err();
    assert_eq!(
        error.to_string(),
        "`order`: this server has no transport `htp`; it has `http`, `http-2`, `stdio`, `websocket`"
    );
    let tools = vec![ToolOrder { tools: list(&["*"]), order: list(&["sse"]) }];
    let unknown = FallbackSettings { tools, ..FallbackSettings::default() };
    assert!(Fallback::new(ways(), &unknown, &[]).unwrap_err().to_string().starts_with("`tools`:"));
    let never = FallbackSettings { deadline_ms: 0, ..FallbackSettings::default() };
    assert!(Fallback::new(ways(), &never, &[]).is_err());
    assert!(Fallback::new(Vec::new(), &FallbackSettings::default(), &[]).is_err());
}

#[tokio::test(start_paused = true)]
async fn what_the_server_offers_is_what_the_way_says_that_was_asked_last() {
    let offers = |name: &str| {
        let tools = format!(r#"[{{"name":"{name}","inputSchema":{{}}}}]"#);
        Catalogue::from_tools(view_json(tools.as_bytes(), &Limits::default()).unwrap().elements()).unwrap()
    };
    let down = || Fault::new(FaultKind::Died, "as the test says");
    let one = Fake::new(Ok(offers("one")), |_| Err(Fault::new(FaultKind::Died, "nobody calls")));
    let two = Fake::new(Ok(offers("two")), |_| Err(Fault::new(FaultKind::Died, "nobody calls")));
    let fallback = over(vec![way("http", one.clone()), way("stdio", two.clone())], &FallbackSettings::default());
    assert!(!fallback.catalogue().is_read());
    assert!(fallback.refresh().await.unwrap().tool("one").is_some() && two.heard().is_empty());
    one.offer(Err(down()));
    tokio::time::advance(Duration::from_secs(1)).await;
    assert!(fallback.refresh().await.unwrap().tool("two").is_some());
    assert!(fallback.catalogue().tool("two").is_some());
    two.offer(Err(down()));
    assert_eq!(fallback.refresh().await.unwrap_err().kind, FaultKind::Died);
    fallback.shut_down().await;
    assert_eq!((one.news().last().unwrap().as_str(), two.news().last().unwrap().as_str()), ("shut_down", "shut_down"));
}
