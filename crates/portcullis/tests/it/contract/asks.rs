//! Cases in which the server needs something of the client: a request of its own (legacy), or an answer that asks (modern).

use serde_json::{Value, json};

use super::client::{Era, obliging};
use super::stage::Stage;

/// Calls a tool and notes what was asked for on the way.
fn noting(stage: &Stage, tool: &str, arguments: Value) -> (Value, Vec<(String, Value)>) {
    let mut asked = Vec::new();
    let params = json!({ "name": tool, "arguments": arguments });
    let response = stage.client().request_answering("tools/call", params, &mut |method, params| {
        asked.push((method.to_owned(), params.clone()));
        obliging(method, params)
    });
    (response, asked)
}

fn text(response: &Value) -> &str {
    response["result"]["content"][0]["text"].as_str().unwrap_or_else(|| panic!("no text: {response}"))
}

pub(super) fn sampling_goes_to_the_client_and_back(stage: &Stage) {
    let (tool, arguments) = match stage.side.era {
        Era::Legacy => ("test_sampling", json!({ "prompt": "say something" })),
        Era::Modern => ("test_input_required_result_sampling", json!({})),
    };
    let (response, asked) = noting(stage, tool, arguments);
    assert!(text(&response).contains("a model said so"), "{response}");
    assert_eq!(asked.len(), 1);
    assert_eq!(asked[0].0, "sampling/createMessage");
    assert!(asked[0].1["messages"].is_array(), "{asked:?}");
}

pub(super) fn elicitation_goes_to_the_client_and_back(stage: &Stage) {
    let (tool, arguments) = match stage.side.era {
        Era::Legacy => ("test_elicitation", json!({ "message": "who are you?" })),
        Era::Modern => ("test_input_required_result_elicitation", json!({})),
    };
    let (response, asked) = noting(stage, tool, arguments);
    assert!(text(&response).contains("ada"), "{response}");
    assert_eq!(asked[0].0, "elicitation/create");
}

pub(super) fn a_page_to_open_is_asked_for_by_its_address(stage: &Stage) {
    let (response, asked) = noting(stage, "elicit_url", json!({ "url": "https://example.com/sign-in" }));
    assert!(text(&response).contains("action=accept"), "{response}");
    assert_eq!(asked[0].1["url"], "https://example.com/sign-in");
}

/// A person may say no; that is an answer like any other.
pub(super) fn a_declined_question_reaches_the_server(stage: &Stage) {
    let params = json!({ "name": "elicit_url", "arguments": { "url": "https://example.com/" } });
    let response = stage.client().request_answering("tools/call", params, &mut |_, _| json!({ "action": "decline" }));
    assert!(text(&response).contains("action=decline"), "{response}");
}

pub(super) fn roots_go_to_the_server(stage: &Stage) {
    let (response, asked) = noting(stage, "list_roots", json!({}));
    assert_eq!(text(&response), "Roots: file:///srv/test");
    assert_eq!(asked[0].0, "roots/list");
}

/// Several questions at once, and several rounds with the server's sealed state (modern only).
pub(super) fn rounds_keep_the_servers_state(stage: &Stage) {
    if stage.side.era == Era::Legacy {
        return;
    }
    let (response, asked) = noting(stage, "test_input_required_result_multiple_inputs", json!({}));
    assert_eq!(text(&response), "All inputs received");
    assert_eq!(asked.len(), 3);
    let (response, asked) = noting(stage, "test_input_required_result_multi_round", json!({}));
    assert_eq!(text(&response), "Multi-round flow complete");
    assert_eq!(asked.len(), 2);
}

pub(super) fn altered_state_is_refused_by_the_server(stage: &Stage) {
    if stage.side.era == Era::Legacy {
        return;
    }
    let params = json!({
        "name": "test_input_required_result_tampered_state", "arguments": {},
        "requestState": "altered", "inputResponses": { "confirm": { "action": "accept", "content": { "ok": true } } },
    });
    let response = stage.client().request("tools/call", params);
    assert_eq!(response["error"]["code"], -32602, "{response}");
}

/// A prompt can ask, too.
pub(super) fn a_prompt_that_asks_gets_its_answer(stage: &Stage) {
    if stage.side.era == Era::Legacy {
        return;
    }
    let response = stage.client().result("prompts/get", json!({ "name": "test_input_required_result_prompt" }));
    assert_eq!(response["messages"][0]["content"]["text"], "Use this context: ada");
}

/// Two calls ask at the same time; each answer reaches the call that asked.
pub(super) fn answers_reach_the_call_that_asked(stage: &Stage) {
    let client = stage.client();
    std::thread::scope(|scope| {
        for host in ["one", "two", "three"] {
            let client = &client;
            scope.spawn(move || {
                let url = format!("https://{host}.example.com/");
                let params = json!({ "name": "elicit_url", "arguments": { "url": url } });
                let response = client.request_answering("tools/call", params, &mut obliging);
                assert!(text(&response).contains("action=accept"), "{response}");
            });
        }
    });
}
