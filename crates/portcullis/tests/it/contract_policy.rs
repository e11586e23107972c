//! What a policy says is true for every place of the matrix: lists and calls agree, and a refused caller reads the policy's own words.

use serde_json::{Value, json};

use crate::contract::client::{Client, Era};
use crate::contract::stage::{Log, SIDES, Side, Stage};
use crate::contract::{Case, cases, each, on_every_side, play};

const POLICY: &str = r#"
@id("all") permit (principal, action, resource);
@id("hidden") forbid (principal, action == server::Action::"delete_note", resource);
@id("no-swordfish") @reason("The word swordfish is not for echoing; choose another.")
forbid (principal, action == server::Action::"echo", resource) when { context.args.text == "swordfish" };
@id("no-sampling") @reason("This gateway does not lend out its model.")
forbid (principal, action == Mcp::Action::"sampling/createMessage", resource);
@id("no-secrets") forbid (principal, action == Mcp::Action::"resources/read", resource) when { context.uri like "test://static-b*" };
"#;

const CASES: &[Case] = cases! {
    self::{
        a_hidden_tool_is_neither_listed_nor_callable_and_answers_like_one_that_does_not_exist,
        a_call_refused_for_its_arguments_reads_the_policys_reason,
        a_refused_resource_answers_like_one_that_does_not_exist_or_says_no,
        sampling_that_a_policy_forbids_never_reaches_the_client,
    },
};

on_every_side!(under_policy);

fn under_policy(side: Side) {
    let log = play(Stage::under_policy(side, POLICY), CASES);
    only_what_the_server_lists_reaches_it(&log);
    the_log_names_the_policy_that_decided(&log);
}

/// Status and body of a call, with the id taken out.
fn called(client: &Client, tool: &str) -> (u16, Value) {
    let mut exchange = client.open_call(tool, json!({ "path": "a" }));
    let mut answer = exchange.next().unwrap();
    answer["id"] = Value::Null;
    (exchange.response.status, answer)
}

fn a_hidden_tool_is_neither_listed_nor_callable_and_answers_like_one_that_does_not_exist(stage: &Stage) {
    let client = &stage.client();
    let listed = client.result("tools/list", json!({}));
    let names: Vec<_> = listed["tools"].as_array().unwrap().iter().map(|tool| tool["name"].as_str().unwrap()).collect();
    assert!(names.contains(&"read_note") && !names.contains(&"delete_note"), "{names:?}");
    if stage.side.era == Era::Modern {
        assert_eq!(listed["cacheScope"], "private", "what one caller sees is not everybody's (C45)");
    }
    let (hidden, missing) = (called(client, "delete_note"), called(client, "no_such_tool"));
    assert_eq!(hidden, missing);
    assert_eq!(missing.1["error"]["message"], "unknown tool", "our words, not the server's");
}

fn only_what_the_server_lists_reaches_it(log: &Log) {
    let calls = log.calls(|intent| intent["name"] == "no_such_tool");
    assert!(!calls.is_empty());
    for (intent, outcome) in calls {
        assert_eq!((&intent["decision"], &intent["code"]), (&json!("deny"), &json!("not_listed")), "{intent}");
        assert_eq!(outcome["status"], "denied", "it never left: {outcome}");
    }
}

fn a_call_refused_for_its_arguments_reads_the_policys_reason(stage: &Stage) {
    let client = &stage.client();
    let refused = client.call("echo", json!({ "text": "swordfish" }));
    assert_eq!(refused["isError"], true, "{refused}");
    assert_eq!(refused["content"][0]["text"], "The word swordfish is not for echoing; choose another.");
    if stage.side.era == Era::Modern {
        assert_eq!(refused["resultType"], "complete", "{refused}");
    }
    assert_eq!(client.text("echo", json!({ "text": "marlin" })), "marlin", "only the arguments were wrong");
}

fn a_refused_resource_answers_like_one_that_does_not_exist_or_says_no(stage: &Stage) {
    let client = &stage.client();
    let refused = client.request("resources/read", json!({ "uri": "test://static-binary" }));
    assert!(refused["error"]["code"].is_i64(), "{refused}");
    assert!(client.request("resources/read", json!({ "uri": "test://static-text" })).get("result").is_some());
}

/// Server-to-client requests are judged in both eras: a request of its own, or one inside `input_required`.
fn sampling_that_a_policy_forbids_never_reaches_the_client(stage: &Stage) {
    let client = &stage.client();
    let (tool, arguments) = match stage.side.era {
        Era::Legacy => ("test_sampling", json!({ "prompt": "hello" })),
        Era::Modern => ("test_input_required_result_sampling", json!({})),
    };
    let params = json!({ "name": tool, "arguments": arguments });
    let answer =
        client.request_answering("tools/call", params, &mut |method, _| panic!("the client was asked for `{method}`"));
    match stage.side.era {
        Era::Legacy => {
            let text = answer["result"]["content"][0]["text"].as_str().unwrap();
            assert!(text.contains("does not lend out its model"), "the server hears why: {answer}");
        }
        Era::Modern => {
            assert!(answer["error"]["message"].as_str().unwrap().contains("does not lend out"), "{answer}")
        }
    }
}

fn the_log_names_the_policy_that_decided(log: &Log) {
    let calls = log.calls(|intent| intent["name"] == "echo" && intent["decision"] == "deny");
    let [(intent, outcome)] = calls.as_slice() else { panic!("{calls:#?}") };
    assert_eq!(intent["policies"], json!(["no-swordfish"]), "{intent}");
    assert_eq!(outcome["status"], "denied", "{outcome}");
    assert!(intent.get("arguments").is_none(), "arguments are other people's data: {intent}");
}

/// The preset as it is delivered: what a server marks read-only is listed and called, the rest does not exist.
#[test]
fn the_read_only_preset_shows_and_calls_only_what_reads() {
    each(SIDES, |side| {
        let stage = Stage::with(side, &["--policy", "read-only"]);
        let client = stage.client();
        let listed = client.result("tools/list", json!({}));
        let tools = listed["tools"].as_array().unwrap();
        assert!(tools.iter().all(|tool| tool["annotations"]["readOnlyHint"] == true), "{listed}");
        assert!(tools.iter().any(|tool| tool["name"] == "echo") && tools.iter().all(|tool| tool["name"] != "counter"));
        assert_eq!(client.text("echo", json!({ "text": "read" })), "read");
        assert_eq!(called(&client, "counter"), called(&client, "no_such_tool"));
        assert!(client.result("resources/read", json!({ "uri": "test://static-text" }))["contents"].is_array());
        stage.finish();
    });
}
