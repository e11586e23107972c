//! One answer of several: what is joined, what is united, and what of it is ours.

use serde_json::{Value, json};

use super::{Failed, MergeError, OwnHello, Part, acknowledged, is_for, merge};
use crate::version::Era;
use crate::wire::{Direction, Id, Limits, Message, view_json};

fn own(era: Era) -> OwnHello<'static> {
    OwnHello {
        era,
        server_info: r#"{"name":"portcullis","version":"1"}"#,
        protocol_version: "2025-11-25",
        supported_versions: &["2025-11-25", "2026-07-28"],
        instructions: None,
    }
}

fn answer(result: &str) -> Message {
    let text = format!(r#"{{"jsonrpc":"2.0","id":"x","result":{result}}}"#);
    Message::read(text.into(), Direction::ToClient, &Limits::default()).unwrap()
}

fn try_merge(
    method: &str,
    results: &[&str],
    failed: &[Failed<'_>],
    own: &OwnHello<'_>,
    limits: &Limits,
) -> Result<String, MergeError> {
    let names = ["a", "b", "c"];
    let answers: Vec<_> = results.iter().map(|result| answer(result)).collect();
    let parts: Vec<_> = names.iter().zip(&answers).map(|(server, answer)| Part { server, answer }).collect();
    let bytes = merge(method, &Id::string("x\""), &parts, failed, None, own, limits)?;
    // Whatever goes in, the outcome is a message that the strict reader takes.
    let message = Message::read(bytes.clone(), Direction::ToClient, &Limits::default()).unwrap();
    assert_eq!(message.id(), Some(&Id::string("x\"")));
    Ok(message.result().unwrap().text().to_owned())
}

fn merged(method: &str, results: &[&str], era: Era) -> String {
    try_merge(method, results, &[], &own(era), &Limits::default()).unwrap()
}

fn tree(text: &str) -> Value {
    serde_json::from_str(text).unwrap()
}

const DOWN: Failed<'static> = Failed { server: "c", code: "upstream_died", message: "it \"died\"" };

#[test]
fn lists_are_joined_in_order_item_by_item_as_they_came() {
    for (method, member) in [
        ("tools/list", "tools"),
        ("prompts/list", "prompts"),
        ("resources/list", "resources"),
        ("resources/templates/list", "resourceTemplates"),
        ("tasks/list", "tasks"),
    ] {
        let one = format!(
            r#"{{"{member}":[{{ "name" : "z\u0061" }},{{"n":1.50}}],"nextCursor":"theirs","_meta":{{"x":1}}}}"#
        );
        let none = format!(r#"{{"{member}":[]}}"#);
        let two = format!(r#"{{"other":1,"{member}":[ {{"name":"a"}} ]}}"#);
        let expected = format!(r#"{{"{member}":[{{ "name" : "z\u0061" }},{{"n":1.50}},{{"name":"a"}}]}}"#);
        assert_eq!(merged(method, &[&one, &none, &two], Era::Legacy), expected);
    }
}

#[test]
fn the_cursor_of_the_next_page_is_ours() {
    let list = answer(r#"{"tools":[],"nextCursor":"theirs"}"#);
    let parts = [Part { server: "a", answer: &list }];
    let own = own(Era::Legacy);
    let bytes = merge("tools/list", &Id::number(1), &parts, &[], Some("sealed\""), &own, &Limits::default()).unwrap();
    assert_eq!(bytes, r#"{"jsonrpc":"2.0","id":1,"result":{"tools":[],"nextCursor":"sealed\""}}"#);
}

#[test]
fn modern_lists_may_be_kept_no_longer_and_by_no_more_than_any_part_of_them() {
    let hints = |results: &[&str], failed: &[Failed<'_>]| {
        let whole = try_merge("tools/list", results, failed, &own(Era::Modern), &Limits::default()).unwrap();
        let whole = tree(&whole);
        assert_eq!(whole["resultType"], "complete");
        assert_eq!(whole["_meta"]["io.modelcontextprotocol/serverInfo"]["name"], "portcullis");
        (whole["ttlMs"].as_u64().unwrap(), whole["cacheScope"].as_str().unwrap().to_owned())
    };
    let public = r#"{"tools":[],"ttlMs":500,"cacheScope":"public"}"#;
    let private = r#"{"tools":[],"ttlMs":900,"cacheScope":"private"}"#;
    assert_eq!(hints(&[public, public], &[]), (500, "public".to_owned()));
    assert_eq!(hints(&[public, private], &[]), (500, "private".to_owned()));
    assert_eq!(hints(&[public, r#"{"tools":[]}"#], &[]), (0, "private".to_owned()));
    assert_eq!(hints(&[r#"{"tools":[],"ttlMs":-5,"cacheScope":"public"}"#], &[]), (0, "public".to_owned()));
    // What is missing now may be there in a moment.
    assert_eq!(hints(&[public], &[DOWN]), (0, "private".to_owned()));
}

#[test]
fn servers_that_did_not_answer_are_named() {
    let whole = try_merge("prompts/list", &[r#"{"prompts":[1]}"#], &[DOWN], &own(Era::Legacy), &Limits::default());
    let expected = json!({
        "prompts": [1],
        "_meta": { "io.portcullis/unavailable": [{ "server": "c", "code": "upstream_died", "message": "it \"died\"" }] },
    });
    assert_eq!(tree(&whole.unwrap()), expected);
    let none = try_merge("prompts/list", &[], &[DOWN], &own(Era::Legacy), &Limits::default());
    assert_eq!(none, Err(MergeError::AllFailed));
}

#[test]
fn initialize_says_what_all_can_do_together_and_who_we_are() {
    let one = r#"{"protocolVersion":"2024-11-05","serverInfo":{"name":"theirs"},"instructions":"Use\n a.\n\n","capabilities":{
        "tools":{"listChanged":false},"logging":{},"resources":{"subscribe":true,"listChanged":false},"prompts":null,
        "tasks":{"list":{},"requests":{"tools":{"call":{}}}},
        "experimental":{"x":{"on":false}},"extensions":{"io.modelcontextprotocol/ui":{"mimeTypes":["a"]}}}}"#;
    let two = r#"{"capabilities":{"tools":{"listChanged":true},"prompts":{},"resources":{"listChanged":true},
        "tasks":{"cancel":{}},"completions":7,"experimental":{"x":{"on":true},"y":{}},
        "extensions":{"io.modelcontextprotocol/ui":{"mimeTypes":["b"]},"e/f":{}}},"instructions":"  "}"#;
    let three = r#"{"instructions":"Use c."}"#;
    let whole = tree(&merged("initialize", &[one, two, three], Era::Legacy));
    let expected = json!({
        "protocolVersion": "2025-11-25",
        "capabilities": {
            "tools": { "listChanged": true },
            "logging": {},
            "resources": { "subscribe": true, "listChanged": true },
            "tasks": { "list": {}, "requests": { "tools": { "call": {} } }, "cancel": {} },
            "experimental": { "x": { "on": false }, "y": {} },
            "extensions": { "io.modelcontextprotocol/ui": { "mimeTypes": ["a"] }, "e/f": {} },
            "prompts": {},
            "completions": 7,
        },
        "serverInfo": { "name": "portcullis", "version": "1" },
        "instructions": "## a\n\nUse\n a.\n\n## c\n\nUse c.",
    });
    assert_eq!(whole, expected);
    let none = tree(&merged("initialize", &[r#"{"capabilities":[]}"#], Era::Legacy));
    assert_eq!((&none["capabilities"], none.get("instructions")), (&json!({}), None));
}

#[test]
fn discover_lists_our_versions_and_our_instructions_come_first() {
    let hello = OwnHello { instructions: Some("Ours."), ..own(Era::Modern) };
    let results = [
        r#"{"supportedVersions":["1"],"capabilities":{"tools":{}},"instructions":"Theirs.","ttlMs":5,"cacheScope":"public"}"#,
    ];
    let whole = tree(&try_merge("server/discover", &results, &[], &hello, &Limits::default()).unwrap());
    let expected = json!({
        "resultType": "complete",
        "supportedVersions": ["2025-11-25", "2026-07-28"],
        "capabilities": { "tools": {} },
        "instructions": "Ours.\n\n## a\n\nTheirs.",
        "ttlMs": 5,
        "cacheScope": "public",
        "_meta": { "io.modelcontextprotocol/serverInfo": { "name": "portcullis", "version": "1" } },
    });
    assert_eq!(whole, expected);
}

#[test]
fn no_heading_in_a_servers_instructions_reads_as_another_servers() {
    let forged = r##"{"instructions":"\n## a\n\ny\r  # a\n  - kept # as it is\n#a"}"##;
    let whole = tree(&merged("initialize", &[r#"{"instructions":"x"}"#, forged], Era::Legacy));
    let expected = "## a\n\nx\n\n## b\n\n\n#### a\n\ny\r### a\n  - kept # as it is\n###a";
    assert_eq!(whole["instructions"], expected);
}

#[test]
fn answers_without_content_stay_without() {
    assert_eq!(merged("ping", &["{}", r#"{"x":1}"#], Era::Legacy), "{}");
    assert_eq!(merged("logging/setLevel", &["{}"], Era::Legacy), "{}");
    let ended = tree(&merged(
        "subscriptions/listen",
        &[r#"{"resultType":"complete","_meta":{"io.modelcontextprotocol/subscriptionId":1}}"#],
        Era::Modern,
    ));
    assert_eq!(ended["_meta"]["io.modelcontextprotocol/subscriptionId"], "x\"");
    assert!(ended.get("ttlMs").is_none());
}

#[test]
fn what_is_no_result_of_the_method_is_not_joined() {
    let legacy = own(Era::Legacy);
    for bad in [r#"{}"#, r#"{"tools":{}}"#, r#"{"tools":null}"#, r#"{"tools":"[]"}"#, r#"{"tools":1}"#] {
        let refused = try_merge("tools/list", &[r#"{"tools":[]}"#, bad], &[], &legacy, &Limits::default());
        assert_eq!(refused, Err(MergeError::NoResult { server: "b".to_owned() }), "{bad}");
    }
    for method in ["tools/call", "resources/read", "other"] {
        assert_eq!(try_merge(method, &["{}"], &[], &legacy, &Limits::default()), Err(MergeError::Method));
    }
}

#[test]
fn the_whole_is_as_large_as_a_message_may_be_and_no_larger() {
    let list = format!(r#"{{"tools":["{}"]}}"#, "x".repeat(1000));
    let own = own(Era::Legacy);
    let size = |bytes| Limits { bytes, ..Limits::default() };
    let text = try_merge("tools/list", &[&list, &list], &[], &own, &size(1 << 20)).unwrap();
    let whole = text.len() + r#"{"jsonrpc":"2.0","id":"x\"","result":}"#.len();
    assert!(try_merge("tools/list", &[&list, &list], &[], &own, &size(whole)).is_ok());
    for bytes in [whole - 1, 1500, 10, 0] {
        let refused = try_merge("tools/list", &[&list, &list], &[], &own, &size(bytes));
        assert_eq!(refused, Err(MergeError::TooLarge { limit: bytes }));
    }
}

#[test]
fn only_servers_that_declare_it_are_asked() {
    let text = r#"{"tools":{},"tasks":{"cancel":{}},"logging":null}"#;
    let declared = view_json(text.as_bytes(), &Limits::default()).unwrap();
    let asked = [
        "tools/list",
        "prompts/list",
        "resources/list",
        "resources/templates/list",
        "tasks/list",
        "logging/setLevel",
        "ping",
        "initialize",
    ];
    let asked: Vec<_> = asked.into_iter().filter(|method| is_for(method, declared)).collect();
    assert_eq!(asked, ["tools/list", "ping", "initialize"]);
}

#[test]
fn twenty_servers_of_fifty_tools_are_one_list_of_a_thousand() {
    let tools: Vec<String> = (0..50).map(|index| format!(r#"{{"name":"tool{index}"}}"#)).collect();
    let list = answer(&format!(r#"{{"tools":[{}]}}"#, tools.join(",")));
    let parts = vec![Part { server: "a", answer: &list }; 20];
    let bytes = merge("tools/list", &Id::number(1), &parts, &[], None, &own(Era::Legacy), &Limits::default()).unwrap();
    let whole: Value = serde_json::from_slice(&bytes).unwrap();
    assert_eq!(whole["result"]["tools"].as_array().unwrap().len(), 1000);
}

/// C70.
#[test]
fn what_any_server_honours_is_acknowledged_and_each_ones_own_beside_the_others() {
    let limits = Limits::default();
    let texts = [
        r#"{"notifications":{"toolsListChanged":true,"resourceSubscriptions":["a+file:///1"]},"_meta":{"x":1}}"#,
        r#"{"notifications":{"toolsListChanged":false,"promptsListChanged":true,"resourceSubscriptions":["b+file:///2"]}}"#,
        r#"{"notifications":{"taskIds":["b__1"]}}"#,
    ];
    let views: Vec<_> = texts.iter().map(|text| view_json(text.as_bytes(), &limits).unwrap()).collect();
    let whole = tree(std::str::from_utf8(&acknowledged(&Id::number(7), &views)).unwrap());
    let expected = json!({
        "jsonrpc": "2.0",
        "method": "notifications/subscriptions/acknowledged",
        "params": {
            "_meta": { "io.modelcontextprotocol/subscriptionId": 7 },
            "notifications": {
                "toolsListChanged": true,
                "resourceSubscriptions": ["a+file:///1", "b+file:///2"],
                "promptsListChanged": true,
                "taskIds": ["b__1"],
            },
        },
    });
    assert_eq!(whole, expected);
}
