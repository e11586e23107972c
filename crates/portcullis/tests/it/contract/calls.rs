//! Cases of one question and one answer.

use serde_json::{Value, json};

use super::client::Era;
use super::stage::Stage;

/// What the reference server has to offer.
fn offered() -> Value {
    serde_json::from_str(include_str!("../../../../../fixtures/reference-server/src/catalogue.json")).unwrap()
}

pub(super) fn the_server_introduces_itself(stage: &Stage) {
    let client = stage.client();
    match stage.side.era {
        Era::Legacy => assert!(client.session.is_some()),
        Era::Modern => {
            let found = client.result("server/discover", json!({}));
            assert_eq!(found["resultType"], "complete", "{found}");
            assert!(found["capabilities"]["tools"].is_object(), "{found}");
        }
    }
}

/// Paging is the server's; a list that has a cursor is followed to its end.
pub(super) fn tools_are_listed_once_and_completely(stage: &Stage) {
    let client = stage.client();
    let (mut names, mut params) = (Vec::new(), json!({}));
    loop {
        let page = client.result("tools/list", params);
        names.extend(page["tools"].as_array().unwrap().iter().map(|tool| tool["name"].as_str().unwrap().to_owned()));
        let Some(cursor) = page.get("nextCursor") else { break };
        params = json!({ "cursor": cursor });
    }
    let offered = offered();
    let offered: Vec<_> =
        offered["tools"].as_array().unwrap().iter().map(|tool| tool["name"].as_str().unwrap()).collect();
    assert_eq!(names, offered);
}

pub(super) fn the_other_lists_come_through(stage: &Stage) {
    let client = stage.client();
    for (method, member, count) in [
        ("resources/list", "resources", 3),
        ("resources/templates/list", "resourceTemplates", 1),
        ("prompts/list", "prompts", 5),
    ] {
        let listed = client.result(method, json!({}));
        assert_eq!(listed[member].as_array().map(Vec::len), Some(count), "{method}: {listed}");
    }
}

pub(super) fn a_tool_is_called(stage: &Stage) {
    let client = stage.client();
    assert_eq!(client.text("echo", json!({ "text": "héllo \u{1F600} \"quoted\"\n" })), "héllo \u{1F600} \"quoted\"\n");
}

pub(super) fn a_structured_result_comes_whole(stage: &Stage) {
    let result = stage.client().call("add", json!({ "a": 2, "b": 3.5 }));
    assert_eq!(result["structuredContent"], json!({ "sum": 5.5 }), "{result}");
}

pub(super) fn a_tool_error_is_a_result(stage: &Stage) {
    let result = stage.client().call("test_error_handling", json!({}));
    assert_eq!(result["isError"], true, "{result}");
    assert!(result["content"][0]["text"].as_str().unwrap().contains("intentionally"), "{result}");
}

pub(super) fn content_of_every_kind_comes_through(stage: &Stage) {
    let result = stage.client().call("test_multiple_content_types", json!({}));
    let kinds: Vec<_> =
        result["content"].as_array().unwrap().iter().map(|block| block["type"].as_str().unwrap()).collect();
    assert_eq!(kinds, ["text", "image", "resource"], "{result}");
}

pub(super) fn a_large_result_comes_whole(stage: &Stage) {
    let text = stage.client().text("blob", json!({ "bytes": 3_000_000 }));
    assert_eq!(text.len(), 3_000_000);
    assert!(text.bytes().all(|byte| byte == b'x'));
}

pub(super) fn a_resource_and_a_template_are_read(stage: &Stage) {
    let client = stage.client();
    let read = client.result("resources/read", json!({ "uri": "test://static-text" }));
    assert!(read["contents"][0]["text"].as_str().unwrap().contains("static text"), "{read}");
    let read = client.result("resources/read", json!({ "uri": "test://template/42/data" }));
    assert!(read["contents"][0]["text"].as_str().unwrap().contains("\"id\":\"42\""), "{read}");
    let blob = client.result("resources/read", json!({ "uri": "test://static-binary" }));
    assert!(blob["contents"][0]["blob"].as_str().unwrap().starts_with("iVBOR"), "{blob}");
}

pub(super) fn a_resource_that_is_not_there_is_an_error(stage: &Stage) {
    let answer = stage.client().request("resources/read", json!({ "uri": "test://nothing" }));
    let code = if stage.side.era == Era::Modern { -32602 } else { -32002 };
    assert_eq!(answer["error"]["code"], code, "{answer}");
}

pub(super) fn a_prompt_is_got(stage: &Stage) {
    let params = json!({ "name": "test_prompt_with_arguments", "arguments": { "arg1": "one", "arg2": "two" } });
    let prompt = stage.client().result("prompts/get", params);
    let text = prompt["messages"][0]["content"]["text"].as_str().unwrap();
    assert!(text.contains("arg1='one', arg2='two'"), "{prompt}");
}

pub(super) fn a_completion_is_offered(stage: &Stage) {
    let params = json!({
        "ref": { "type": "ref/prompt", "name": "test_prompt_with_arguments" },
        "argument": { "name": "arg1", "value": "par" },
    });
    let completed = stage.client().result("completion/complete", params);
    assert_eq!(completed["completion"]["values"], json!(["paris", "park", "party"]), "{completed}");
}

/// Legacy only: the modern era has no ping (C20).
pub(super) fn ping_is_answered(stage: &Stage) {
    let answer = stage.client().request("ping", json!({}));
    match stage.side.era {
        Era::Legacy => assert_eq!(answer["result"], json!({}), "{answer}"),
        Era::Modern => assert_eq!(answer["error"]["code"], -32601, "{answer}"),
    }
}

pub(super) fn an_unknown_tool_is_an_error_with_the_id(stage: &Stage) {
    let client = stage.client();
    let exchange = client.open_as(json!("as given"), "tools/call", json!({ "name": "no_such_tool", "arguments": {} }));
    let answer = exchange.last();
    assert_eq!(answer["error"]["code"], -32602, "{answer}");
    assert_eq!(answer["id"], "as given");
}

pub(super) fn an_unknown_method_is_an_error_with_the_id(stage: &Stage) {
    let client = stage.client();
    let exchange = client.open("vendor/unheard-of", json!({}));
    let modern = stage.side.era == Era::Modern;
    assert_eq!(exchange.response.status, if modern { 404 } else { 200 });
    let answer = exchange.last();
    assert_eq!(answer["error"]["code"], -32601, "{answer}");
}

/// Ids come back as they were, in type and in value.
pub(super) fn ids_of_every_kind_come_back(stage: &Stage) {
    let client = stage.client();
    for id in [json!("text"), json!("7"), json!(0), json!(-3), json!(9_007_199_254_740_993_i64), json!("é\u{1F600}")] {
        let answer =
            client.open_as(id.clone(), "tools/call", json!({ "name": "echo", "arguments": { "text": "id" } })).last();
        assert_eq!(answer["id"], id);
        assert_eq!(answer["result"]["content"][0]["text"], "id", "{answer}");
    }
}

/// C51: what a schema says, in whatever keywords, is the server's to say. (Bytes and numbers are compared in `bytes.rs`.)
pub(super) fn schemas_keep_every_keyword(stage: &Stage) {
    let listed = stage.client().result("tools/list", json!({}));
    let schema = |tools: &Value| {
        let tool = tools.as_array().unwrap().iter().find(|tool| tool["name"] == "json_schema_2020_12_tool");
        tool.unwrap()["inputSchema"].clone()
    };
    assert_eq!(schema(&listed["tools"]), schema(&offered()["tools"]));
}

/// A mirrored argument goes up as a header again (D3).
pub(super) fn a_mirrored_argument_reaches_the_server(stage: &Stage) {
    let client = stage.client();
    let params = client.params(json!({ "name": "test_custom_header", "arguments": { "value": "eu-west" } }));
    let body = json!({ "jsonrpc": "2.0", "id": 70, "method": "tools/call", "params": params }).to_string();
    let more: &[(&str, &str)] = if stage.side.era == Era::Modern { &[("mcp-param-value", "eu-west")] } else { &[] };
    let mut response = client.send_raw("tools/call", Some("test_custom_header"), more, &body);
    let answer = response.message().unwrap();
    assert_eq!(answer["result"]["content"][0]["text"], "eu-west", "{answer}");
}

/// An answer that breaks the tool's own `outputSchema` is cut, with the id.
pub(super) fn an_answer_that_breaks_its_schema_is_cut(stage: &Stage) {
    let answer = stage.client().request("tools/call", json!({ "name": "bad_output", "arguments": {} }));
    assert_eq!(answer["error"]["data"]["code"], "output_invalid", "{answer}");
}

/// Arguments that do not fit the tool's own schema never reach the server.
pub(super) fn arguments_that_break_their_schema_are_refused(stage: &Stage) {
    let answer = stage.client().request("tools/call", json!({ "name": "echo", "arguments": { "text": 7 } }));
    assert!(answer["result"]["isError"] == true || answer["error"]["code"] == -32602, "{answer}");
}

/// Tasks of the modern extension: made, polled, done (C75–C80).
pub(super) fn a_task_is_made_and_polled_to_its_end(stage: &Stage) {
    if stage.side.era == Era::Legacy {
        return;
    }
    let client = stage.client();
    let made = client.call("slow_compute", json!({ "seconds": 0.2 }));
    assert_eq!(made["resultType"], "task", "{made}");
    let id = made["taskId"].as_str().unwrap().to_owned();
    let done = super::eventually("the task to end", || {
        let task = client.result("tasks/get", json!({ "taskId": id }));
        (task["status"] != "working").then_some(task)
    });
    assert_eq!(done["status"], "completed", "{done}");
    assert!(done["result"]["content"][0]["text"].as_str().unwrap().contains("slow_compute done"), "{done}");
}
