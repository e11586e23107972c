//! Streaming is real: an event passes when it arrives, a slow reader slows the server, and who hangs up is told apart by era.

use std::time::Duration;

use portcullis_core::refusal::{Fault, FaultKind, Manner};
use portcullis_core::upstream::{Arrived, Media};

use crate::settings::ServerSettings;
use crate::testing::{
    CannedUpstream, DenyList, Feed, Running, fed, from_server, next_event, ordinary, reply, start, start_with,
};

const CALL: &str = r#"{"jsonrpc":"2.0","id":7,"method":"tools/call","params":{"name":"slow"}}"#;

/// A gateway whose `tools/call` and GET replies the test feeds.
async fn fed_gateway(settings: ServerSettings, media: Media) -> (Running, tokio::sync::mpsc::UnboundedReceiver<Feed>) {
    let (hold, held) = tokio::sync::mpsc::unbounded_channel();
    let upstream = CannedUpstream::new(move |call| {
        if !["tools/call", "tools/list", "stream/open"].contains(&call.method()) {
            return ordinary(call);
        }
        let (feed, reply) = fed(media);
        hold.send(feed).unwrap();
        Ok(reply)
    });
    (start_with(upstream, DenyList(&[]), settings).await, held)
}

fn progress(step: usize) -> Arrived {
    from_server(format!(
        r#"{{"jsonrpc":"2.0","method":"notifications/progress","params":{{"progressToken":1,"progress":{step}}}}}"#
    ))
}

fn done() -> Arrived {
    from_server(r#"{"jsonrpc":"2.0","id":7,"result":{}}"#)
}

#[tokio::test]
async fn each_event_reaches_the_client_before_the_next_one_is_sent() {
    let (running, mut held) = fed_gateway(ServerSettings::default(), Media::EventStream).await;
    let client = running.session().await;
    let mut open = client.open("POST", CALL).await;
    assert_eq!(open.headers()["content-type"], "text/event-stream");
    assert_eq!(open.headers()["x-accel-buffering"], "no");
    let feed = held.recv().await.unwrap();
    for step in 0..5 {
        feed.send(Ok(progress(step))).await.unwrap();
        let event = next_event(open.body_mut()).await.unwrap();
        assert!(event.contains(&format!(r#""progress":{step}"#)), "{event}");
    }
    feed.send(Ok(done())).await.unwrap();
    assert!(next_event(open.body_mut()).await.unwrap().contains(r#""result""#));
    assert!(next_event(open.body_mut()).await.is_none(), "A16: the stream ends after the response");
    assert_eq!(running.outcomes(2).await[1], "answered");
}

#[tokio::test]
async fn events_that_are_there_already_go_together_and_each_is_judged_alone() {
    let refused = r#"{"jsonrpc":"2.0","method":"notifications/message","params":{"level":"info","data":"no"}}"#;
    let upstream = CannedUpstream::new(move |call| {
        if call.method() != "tools/call" {
            return ordinary(call);
        }
        let events = vec![progress(0), progress(1), from_server(refused), progress(2), done()];
        Ok(reply(Media::EventStream, events))
    });
    let deny = DenyList(&[("notifications/message", Manner::Plain)]);
    let running = start_with(upstream, deny, ServerSettings::default()).await;
    let client = running.session().await;
    let mut open = client.open("POST", CALL).await;
    let together = next_event(open.body_mut()).await.unwrap();
    let events: Vec<&str> = together.split_terminator("\n\n").collect();
    assert_eq!(events.len(), 4, "{together}");
    for (event, expected) in events.iter().zip([r#""progress":0"#, r#""progress":1"#, r#""progress":2"#, r#""result""#])
    {
        assert!(event.starts_with("data: ") && event.contains(expected), "{together}");
    }
    assert!(next_event(open.body_mut()).await.is_none());
    assert_eq!(running.outcomes(2).await[1], "answered");
    let told: u64 = events.iter().map(|event| event.len() as u64 - 6).sum();
    assert_eq!(running.ledger.delivered()[1], (4, told), "each was counted");
}

#[tokio::test]
async fn a_slow_reader_slows_the_server_instead_of_growing_memory() {
    let (running, mut held) = fed_gateway(ServerSettings::default(), Media::EventStream).await;
    let client = running.session().await;
    let open = client.open("POST", CALL).await;
    let feed = held.recv().await.unwrap();
    let filler = "x".repeat(64 * 1024);
    let mut accepted = 0;
    // Nobody reads `open`: sockets and the bounded feed fill up, then sending must stall.
    loop {
        let event = from_server(format!(
            r#"{{"jsonrpc":"2.0","method":"notifications/message","params":{{"data":"{filler}"}}}}"#
        ));
        match tokio::time::timeout(Duration::from_millis(500), feed.send(Ok(event))).await {
            Ok(sent) => sent.unwrap(),
            Err(_stalled) => break,
        }
        accepted += 1;
        assert!(accepted < 2000, "over 128 MB went somewhere");
    }
    drop(open);
}

#[tokio::test]
async fn a17_a_closed_legacy_stream_does_not_cancel_and_the_outcome_is_still_recorded() {
    let (running, mut held) = fed_gateway(ServerSettings::default(), Media::EventStream).await;
    let client = running.session().await;
    let mut open = client.open("POST", CALL).await;
    let feed = held.recv().await.unwrap();
    feed.send(Ok(progress(1))).await.unwrap();
    next_event(open.body_mut()).await.unwrap();
    drop(open);
    // The client is gone, yet the server can finish.
    for step in 2..20 {
        feed.send(Ok(progress(step))).await.unwrap();
    }
    feed.send(Ok(done())).await.unwrap();
    assert_eq!(running.outcomes(2).await[1], "answered");
}

#[tokio::test]
async fn a15_a18_event_ids_are_sealed_and_bring_the_client_back_to_its_stream() {
    let (running, mut held) = fed_gateway(ServerSettings::default(), Media::EventStream).await;
    let client = running.session().await;
    let mut open = client.open("POST", CALL).await;
    let feed = held.recv().await.unwrap();
    let priming =
        Arrived { event_id: Some("stream-1/0".into()), retry: Some(Duration::from_millis(500)), message: None };
    feed.send(Ok(priming)).await.unwrap();
    let event = next_event(open.body_mut()).await.unwrap();
    assert!(event.contains("retry: 500\n") && event.ends_with("data: \n\n"), "A14: {event}");
    let id = event.lines().find_map(|line| line.strip_prefix("id: ")).unwrap().to_owned();
    assert!(!id.contains("stream-1"), "opaque");
    drop(feed);
    assert!(next_event(open.body_mut()).await.is_none(), "A15: the server may close after an event id");
    assert_eq!(running.outcomes(2).await[1], "ended");

    let stranger = running.session().await.with("last-event-id", &id).get().await;
    assert_eq!(stranger.status, 404, "A19: {stranger:?}");
    let mut resumed = client.with("last-event-id", &id).open("GET", "").await;
    let feed = held.recv().await.unwrap();
    feed.send(Ok(done())).await.unwrap();
    assert!(
        next_event(resumed.body_mut()).await.unwrap().contains(r#""id":7"#),
        "A12: a resumed stream carries the response"
    );
}

/// Otherwise a server could bring any answer past what is known of the request it belongs to (I23).
#[tokio::test]
async fn a18_a_resumed_stream_carries_the_answer_to_the_request_that_broke_off_and_no_other() {
    let (running, mut held) = fed_gateway(ServerSettings::default(), Media::EventStream).await;
    let client = running.session().await;
    let mut open = client.open("POST", r#"{"jsonrpc":"2.0","id":7,"method":"tools/list"}"#).await;
    let event = |id: &str| Arrived { event_id: Some(id.into()), ..Arrived::default() };
    let sealed = |event: String| event.lines().find_map(|line| line.strip_prefix("id: ")).unwrap().to_owned();
    let feed = held.recv().await.unwrap();
    feed.send(Ok(event("e1"))).await.unwrap();
    let mut id = sealed(next_event(open.body_mut()).await.unwrap());
    drop(feed);
    // An event id that was given on a resumed stream stands for the same request.
    for next in ["e2", "e3"] {
        let mut resumed = client.with("last-event-id", &id).open("GET", "").await;
        let feed = held.recv().await.unwrap();
        feed.send(Ok(event(next))).await.unwrap();
        id = sealed(next_event(resumed.body_mut()).await.unwrap());
    }
    let mut resumed = client.with("last-event-id", &id).open("GET", "").await;
    let feed = held.recv().await.unwrap();
    feed.send(Ok(from_server(r#"{"jsonrpc":"2.0","id":8,"result":{}}"#))).await.unwrap();
    feed.send(Ok(from_server(r#"{"jsonrpc":"2.0","id":7,"result":{"tools":[]}}"#))).await.unwrap();
    let answer = next_event(resumed.body_mut()).await.unwrap();
    assert!(answer.contains(r#""id":7"#), "{answer}");
    assert_eq!(running.ledger.counted("gateway", "upstream_answer_unmatched"), 1);
    assert_eq!(running.upstream.observed.lock().unwrap().len(), 1, "what a client is shown here it can call");
}

#[tokio::test]
async fn a12_a_standing_stream_carries_no_responses() {
    let (running, mut held) = fed_gateway(ServerSettings::default(), Media::EventStream).await;
    let client = running.session().await;
    let mut open = client.open("GET", "").await;
    let feed = held.recv().await.unwrap();
    feed.send(Ok(done())).await.unwrap();
    feed.send(Ok(from_server(r#"{"jsonrpc":"2.0","method":"notifications/tools/list_changed"}"#))).await.unwrap();
    let event = next_event(open.body_mut()).await.unwrap();
    assert!(event.contains("list_changed"), "{event}");
}

#[tokio::test]
async fn a_reload_ends_standing_streams_so_that_none_outlives_its_plan_and_leaves_calls_alone() {
    let (running, mut held) = fed_gateway(ServerSettings::default(), Media::EventStream).await;
    let client = running.session().await;
    let mut standing = client.open("GET", "").await;
    let mut call = client.open("POST", CALL).await;
    let (_standing_feed, feed) = (held.recv().await.unwrap(), held.recv().await.unwrap());
    running.gateway.reload_identity(&running.gateway.settings.identity).unwrap();
    assert!(next_event(standing.body_mut()).await.is_none());
    feed.send(Ok(done())).await.unwrap();
    assert!(next_event(call.body_mut()).await.unwrap().contains(r#""id":7,"result""#));
    let again = client.open("GET", "").await;
    assert_eq!(again.status(), 200);
}

#[tokio::test]
async fn c7_a_quiet_stream_is_kept_open_with_comments() {
    let mut settings = ServerSettings::default();
    settings.timeouts.keep_alive_seconds = 1;
    let (running, _held) = fed_gateway(settings, Media::EventStream).await;
    let client = running.session().await;
    let mut open = client.open("GET", "").await;
    assert_eq!(next_event(open.body_mut()).await.unwrap(), ": keep-alive\n\n");
}

#[tokio::test]
async fn a_server_without_media_types_answers_json_unless_something_comes_first() {
    let (running, mut held) = fed_gateway(ServerSettings::default(), Media::Unframed).await;
    let client = running.session().await;
    let (answer, ()) = tokio::join!(client.post(CALL), async {
        let feed = held.recv().await.unwrap();
        feed.send(Ok(done())).await.unwrap();
    });
    assert_eq!(answer.headers["content-type"], "application/json");
    let (running, mut held) = fed_gateway(ServerSettings::default(), Media::Unframed).await;
    let client = running.session().await;
    let (answer, ()) = tokio::join!(client.post(CALL), async {
        let feed = held.recv().await.unwrap();
        feed.send(Ok(progress(1))).await.unwrap();
        feed.send(Ok(done())).await.unwrap();
    });
    assert_eq!(answer.headers["content-type"], "text/event-stream");
    assert!(answer.body.contains("progress") && answer.body.contains("result"), "{answer:?}");
}

#[tokio::test]
async fn a_server_that_dies_in_mid_stream_leaves_the_client_an_error_with_its_id() {
    let (running, mut held) = fed_gateway(ServerSettings::default(), Media::EventStream).await;
    let client = running.session().await;
    for broken in [None, Some(Fault::new(FaultKind::Garbage, "half an event"))] {
        let mut open = client.open("POST", CALL).await;
        let feed = held.recv().await.unwrap();
        feed.send(Ok(progress(1))).await.unwrap();
        next_event(open.body_mut()).await.unwrap();
        if let Some(fault) = broken.clone() {
            feed.send(Err(fault)).await.unwrap();
        }
        drop(feed);
        let last = next_event(open.body_mut()).await.unwrap();
        assert!(last.contains(r#""id":7"#) && last.contains(r#""code":-32603"#), "{last}");
        assert!(next_event(open.body_mut()).await.is_none());
    }
    assert_eq!(running.outcomes(3).await[1..], ["failed", "failed"]);
}

#[tokio::test]
async fn a_flood_of_server_requests_is_refused_not_kept() {
    let running = start(CannedUpstream::new(|call| match call.method() {
        "tools/call" => {
            let flood = (0..1000).map(|id| {
                from_server(format!(r#"{{"jsonrpc":"2.0","id":{id},"method":"elicitation/create","params":{{}}}}"#))
            });
            Ok(reply(Media::EventStream, flood.chain([done()]).collect()))
        }
        _ => ordinary(call),
    }))
    .await;
    let client = running.session().await;
    let answer = client.post(CALL).await;
    assert_eq!(answer.body.matches("elicitation/create").count(), 256);
    assert!(answer.body.contains(r#""id":7,"result""#));
    assert_eq!(running.ledger.counted("gateway", "upstream_overloaded"), 744);
}

#[tokio::test]
async fn refused_server_requests_take_no_place_among_those_that_wait() {
    let policy = DenyList(&[("sampling/createMessage", Manner::Plain)]);
    let upstream = CannedUpstream::new(|call| match call.method() {
        "tools/call" => {
            let refused = (0..300).map(|id| {
                from_server(format!(r#"{{"jsonrpc":"2.0","id":{id},"method":"sampling/createMessage","params":{{}}}}"#))
            });
            let asked = from_server(r#"{"jsonrpc":"2.0","id":"e","method":"elicitation/create","params":{}}"#);
            Ok(reply(Media::EventStream, refused.chain([asked, done()]).collect()))
        }
        _ => ordinary(call),
    });
    let running = start_with(upstream, policy, ServerSettings::default()).await;
    let answer = running.session().await.post(CALL).await;
    assert!(answer.body.contains("elicitation/create") && !answer.body.contains("sampling"), "{answer:?}");
}

#[tokio::test]
async fn a44_b13_what_the_client_did_not_declare_is_refused_to_the_server_and_not_shown_to_the_client() {
    let running = start(CannedUpstream::new(|call| match call.method() {
        "tools/call" => {
            let url = from_server(
                r#"{"jsonrpc":"2.0","id":"u","method":"elicitation/create","params":{"mode":"url","url":"https://a.example"}}"#,
            );
            let tools = from_server(
                r#"{"jsonrpc":"2.0","id":"s","method":"sampling/createMessage","params":{"messages":[],"tools":[]}}"#,
            );
            let form = from_server(r#"{"jsonrpc":"2.0","id":"f","method":"elicitation/create","params":{}}"#);
            Ok(reply(Media::EventStream, vec![url, tools, form, done()]))
        }
        _ => ordinary(call),
    }))
    .await;
    let answer = running.session().await.post(CALL).await;
    assert!(answer.body.contains(r#""id":"f""#) && answer.body.contains(r#""id":7"#), "{answer:?}");
    assert!(!answer.body.contains("a.example") && !answer.body.contains("sampling"), "{answer:?}");
    let refused = |id: &str| {
        running.upstream.sent().iter().any(|sent| sent.contains(&format!(r#""id":"{id}","error":{{"code":-32602"#)))
    };
    while !(refused("u") && refused("s")) {
        tokio::task::yield_now().await;
    }
}
