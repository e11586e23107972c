//! Cases in which something arrives before the answer, or without a question.

use serde_json::{Value, json};

use super::client::{Client, Era, subscription};
use super::eventually;
use super::stage::Stage;
use super::wire::Response;

/// Notifications arrive before the result, in order. That they arrive *when they happen* is seen without a clock: the server will not
/// go on before its call is cancelled, and the first notification is here already.
pub(super) fn progress_arrives_when_it_happens(stage: &Stage) {
    let client = stage.client();
    let mut exchange = client.open_watched("steps", "slow", json!({ "steps": 5, "step_ms": 20 }));
    let mut seen = Vec::new();
    let response = loop {
        let message = exchange.next().expect("a response before the end");
        if message.get("id").is_some() {
            break message;
        }
        assert_eq!(message["method"], "notifications/progress", "{message}");
        assert_eq!(message["params"]["progressToken"], "steps", "{message}");
        seen.push(message["params"]["progress"].as_f64().unwrap());
    };
    assert_eq!(seen, [1.0, 2.0, 3.0, 4.0, 5.0]);
    assert_eq!(response["result"]["content"][0]["text"], "5 steps done");
    assert!(exchange.next().is_none(), "nothing follows the response");

    let mut waiting = client.open_watched("now", "wait_for_cancel", json!({}));
    assert_eq!(waiting.next().unwrap()["params"]["progressToken"], "now");
    waiting.cancel();
}

/// A number is as good a token as a string, and keeps its type.
pub(super) fn progress_tokens_keep_their_type(stage: &Stage) {
    let client = stage.client();
    for token in [json!(7), json!("7"), json!(9_007_199_254_740_993_i64)] {
        let params =
            json!({ "name": "slow", "arguments": { "steps": 1, "step_ms": 1 }, "_meta": { "progressToken": token } });
        let mut exchange = client.open("tools/call", params);
        assert_eq!(exchange.next().unwrap()["params"]["progressToken"], token);
        exchange.last();
    }
}

/// A modern log message belongs to its request (C73); a legacy one may come on either stream, but only on one (A10).
pub(super) fn log_messages_arrive_once_and_in_order(stage: &Stage) {
    let client = stage.client();
    let expected = ["Tool execution started", "Tool processing data", "Tool execution completed"];
    let mut params = json!({ "name": "test_tool_with_logging", "arguments": {} });
    let mut standing = None;
    match stage.side.era {
        Era::Legacy => {
            standing = Some(client.listen(json!({})));
            client.result("logging/setLevel", json!({ "level": "debug" }));
        }
        Era::Modern => params["_meta"]["io.modelcontextprotocol/logLevel"] = json!("debug"),
    }
    let mut exchange = client.open("tools/call", params);
    let mut said = Vec::new();
    while let Some(message) = exchange.next() {
        if message["method"] == "notifications/message" {
            said.push(message["params"]["data"].clone());
        }
    }
    while let Some(stream) = standing.as_mut().filter(|_| said.len() < expected.len()) {
        said.push(next_of(stream, "notifications/message")["params"]["data"].clone());
    }
    assert_eq!(said, expected);
}

/// Legacy: `notifications/cancelled`. Modern: the stream is closed, and only that.
pub(super) fn a_cancelled_call_ends_at_the_server(stage: &Stage) {
    let client = stage.client();
    let before = client.number("cancellations");
    let mut exchange = client.open_watched("cancel", "wait_for_cancel", json!({}));
    assert_eq!(exchange.next().unwrap()["method"], "notifications/progress", "the call is running");
    exchange.cancel();
    eventually("the server to hear of it", || (client.number("cancellations") > before).then_some(()));
}

/// A17: in the legacy era a closed stream cancels nothing.
pub(super) fn a_closed_legacy_stream_cancels_nothing(stage: &Stage) {
    if stage.side.era == Era::Modern {
        return;
    }
    let client = stage.client();
    let mut exchange = client.open_watched("left", "wait_for_cancel", json!({ "max_ms": 400 }));
    assert_eq!(exchange.next().unwrap()["method"], "notifications/progress");
    let before = client.number("cancellations");
    exchange.response.hang_up();
    // Longer than the tool waits: had the server been told, it would have counted.
    client.text("slow", json!({ "steps": 1, "step_ms": 600 }));
    assert_eq!(client.number("cancellations"), before);
}

pub(super) fn a_watched_resource_says_that_it_changed(stage: &Stage) {
    let client = stage.client();
    let uri = "test://watched-resource";
    if stage.side.era == Era::Legacy {
        client.result("resources/subscribe", json!({ "uri": uri }));
    }
    let update = heard(&client, json!({ "resourceSubscriptions": [uri] }), "notifications/resources/updated", || {
        client.text("touch", json!({ "uri": uri }));
        false
    });
    let update = update.expect("an update of its own");
    assert_eq!(update["params"]["uri"], uri, "{update}");
    if stage.side.era == Era::Modern {
        assert!(subscription(&update).is_u64(), "{update}");
    }
}

pub(super) fn changed_lists_are_announced(stage: &Stage) {
    let client = stage.client();
    for (tool, wanted, method) in [
        ("test_trigger_tool_change", "toolsListChanged", "notifications/tools/list_changed"),
        ("test_trigger_prompt_change", "promptsListChanged", "notifications/prompts/list_changed"),
    ] {
        heard(&client, json!({ wanted: true }), method, || {
            // The server may say it in the answer's stream (legacy), and then says it nowhere else (A10).
            let mut exchange = client.open_call(tool, json!({}));
            let mut said = false;
            while let Some(message) = exchange.next() {
                said |= message["method"] == method;
            }
            said
        });
    }
}

/// What a standing stream brings after `cause`; nothing when `cause` heard it itself. The SDK's server acknowledges a subscription a
/// moment before it serves it, so a cause in between is heard by nobody, with and without us; the client tries again.
fn heard(client: &Client, wanted: Value, method: &str, mut cause: impl FnMut() -> bool) -> Option<Value> {
    eventually(method, || {
        let mut stream = client.listen(wanted.clone());
        if cause() {
            return Some(None);
        }
        let message = stream.message_soon();
        stream.hang_up();
        message.filter(|message| message["method"] == method).map(Some)
    })
}

/// Two calls of one client at the same time: each gets its own progress and its own answer.
pub(super) fn two_calls_at_once_do_not_mix(stage: &Stage) {
    let client = stage.client();
    let one = client.open_watched("one", "slow", json!({ "steps": 20, "step_ms": 5 }));
    let two = client.open_watched("two", "slow", json!({ "steps": 10, "step_ms": 5 }));
    for (mut exchange, token, steps) in [(two, "two", 10), (one, "one", 20)] {
        let mut progress = 0;
        let response = loop {
            let message = exchange.next().expect("a response");
            if message.get("id").is_some() {
                break message;
            }
            assert_eq!(message["params"]["progressToken"], token, "{message}");
            progress += 1;
        };
        assert_eq!(response["id"], exchange.id);
        assert_eq!(response["result"]["content"][0]["text"], format!("{steps} steps done"));
        assert_eq!(progress, steps);
    }
}

/// Two clients with the same ids and tokens, at the same time. Over modern stdio they share one child (I7).
pub(super) fn clients_with_equal_ids_do_not_hear_each_other(stage: &Stage) {
    let clients = [stage.client(), stage.client()];
    let texts = ["for the first", "for the second"];
    let open = |client: &Client, steps: u64| {
        let arguments = json!({ "steps": steps, "step_ms": 10 });
        let params = json!({ "name": "slow", "arguments": arguments, "_meta": { "progressToken": "same" } });
        // Leaked on purpose: the exchange must outlive this closure, and a test's memory is short.
        client.open_as(json!(4242), "tools/call", params).response
    };
    let streams = [open(&clients[0], 10), open(&clients[1], 15)];
    for (client, text) in clients.iter().zip(texts) {
        let echo = json!({ "name": "echo", "arguments": { "text": text } });
        assert_eq!(client.open_as(json!(4243), "tools/call", echo).last()["result"]["content"][0]["text"], text);
    }
    for (mut stream, steps) in streams.into_iter().zip([10, 15]) {
        let messages: Vec<Value> = std::iter::from_fn(|| stream.message()).collect();
        let (response, progress) = messages.split_last().unwrap();
        assert_eq!(response["id"], 4242, "{response}");
        assert_eq!(response["result"]["content"][0]["text"], format!("{steps} steps done"));
        assert_eq!(progress.len(), steps, "{progress:#?}");
        assert!(progress.iter().all(|message| message["params"]["progressToken"] == "same"
            && message["params"]["total"].as_f64() == u32::try_from(steps).ok().map(f64::from)));
    }
}

/// Two clients subscribed under one id get each their own updates, under their own id.
pub(super) fn subscriptions_of_two_clients_do_not_mix(stage: &Stage) {
    if stage.side.era == Era::Legacy {
        return;
    }
    let (one, two) = (stage.client(), stage.client());
    eventually("each subscription to hear its own", || {
        let mut first = one.listen(json!({ "resourceSubscriptions": ["test://watched-resource"] }));
        let mut second = two.listen(json!({ "toolsListChanged": true }));
        one.text("touch", json!({ "uri": "test://watched-resource" }));
        two.text("test_trigger_tool_change", json!({}));
        let (ours, theirs) = (first.message_soon(), second.message_soon());
        first.hang_up();
        second.hang_up();
        let (ours, theirs) = (ours?, theirs?);
        assert_eq!(ours["method"], "notifications/resources/updated");
        assert_eq!(theirs["method"], "notifications/tools/list_changed", "the other's update is not ours");
        Some(())
    });
}

/// Thousands of notifications in one go: all of them, in their order, and then the answer.
pub(super) fn a_flood_arrives_whole_and_in_order(stage: &Stage) {
    const COUNT: u64 = 3000;
    let client = stage.client();
    let mut exchange = client.open_watched("flood", "flood", json!({ "count": COUNT }));
    for step in 1..=COUNT {
        let message = exchange.next().unwrap();
        assert_eq!(message["params"]["message"], format!("{step} of {COUNT}"), "{message}");
    }
    assert_eq!(exchange.last()["result"]["content"][0]["text"], format!("{COUNT} notifications sent"));
}

/// A client whose standing stream broke opens it again, and hears what happens then. A server that has not yet noticed the break may
/// tell the broken stream, as it may without us between; so the client tries again.
pub(super) fn a_standing_stream_can_be_opened_again(stage: &Stage) {
    let client = stage.client();
    let uri = "test://watched-resource";
    if stage.side.era == Era::Legacy {
        client.result("resources/subscribe", json!({ "uri": uri }));
    }
    for _ in 0..3 {
        eventually("an update on a stream opened again", || {
            let mut stream = client.listen(json!({ "resourceSubscriptions": [uri] }));
            client.text("touch", json!({ "uri": uri }));
            let update = stream.message_soon();
            stream.hang_up();
            update.filter(|update| update["method"] == "notifications/resources/updated")
        });
    }
}

pub(super) fn an_unwatched_resource_says_nothing_more(stage: &Stage) {
    if stage.side.era == Era::Modern {
        return;
    }
    let client = stage.client();
    let params = json!({ "uri": "test://watched-resource" });
    client.result("resources/subscribe", params.clone());
    client.result("resources/unsubscribe", params.clone());
    assert_eq!(client.text("touch", params), "0 subscribers told");
}

/// A subscription that its client closed is closed at the server, too: nothing piles up behind the gateway.
pub(super) fn a_closed_subscription_is_closed_at_the_server(stage: &Stage) {
    if stage.side.era == Era::Legacy {
        return;
    }
    let client = stage.client();
    let uri = "test://watched-resource";
    let told = || client.text("touch", json!({ "uri": uri }));
    let streams: Vec<_> = (0..3).map(|_| client.listen(json!({ "resourceSubscriptions": [uri] }))).collect();
    eventually("the server to serve a subscriber", || (!told().starts_with('0')).then_some(()));
    streams.into_iter().for_each(Response::hang_up);
    eventually("the server to have no subscriber", || told().starts_with("0 ").then_some(()));
}

fn next_of(stream: &mut Response, method: &str) -> Value {
    loop {
        let message = stream.message().unwrap_or_else(|| panic!("the stream ended before `{method}`"));
        if message["method"] == method {
            return message;
        }
    }
}
