//! Shapes: which members a message must, may and must not have, whichever way it travels.

use bytes::Bytes;

use super::*;

fn read(text: &str, direction: Direction) -> Result<Message, Malformed> {
    Message::read(Bytes::from(text.to_owned()), direction, &Limits::default())
}

fn to_server(text: &str) -> Message {
    read(text, Direction::ToServer).unwrap()
}

/// The refusal, which must not depend on the direction.
fn code(text: &str) -> &'static str {
    let [up, down] = [Direction::ToServer, Direction::ToClient]
        .map(|way| read(text, way).map_or_else(|flaw| flaw.code(), |_| "accepted"));
    assert_eq!(up, down, "{text}");
    up
}

fn envelope(rest: &str) -> String {
    format!(r#"{{"jsonrpc":"2.0",{rest}}}"#)
}

fn refused(rest: &str) -> &'static str {
    code(&envelope(rest))
}

#[test]
fn a_tool_call_says_what_it_is() {
    let text = r#" {"id" : "a\u0062", "jsonrpc":"2.0","params":{"arguments":{"x":[1.50]},"name":"t\/1","_meta":{"progressToken":7,"a/b":"c"}},"method":"tools\/call"} "#;
    let call = to_server(text);
    assert_eq!(
        (call.kind(), call.direction(), call.method()),
        (Kind::Request, Direction::ToServer, Some("tools/call"))
    );
    assert_eq!(call.id(), Some(&Id::string("ab")));
    assert_eq!(call.id().unwrap().raw(), r#""a\u0062""#);
    assert_eq!(call.name(), Some("t/1"));
    assert_eq!(call.arguments().unwrap().text(), r#"{"x":[1.50]}"#);
    assert_eq!(call.progress_token(), Some(Id::number(7)));
    assert_eq!(call.meta("a/b").unwrap().as_str().as_deref(), Some("c"));
    assert_eq!(call.bytes().as_ref(), text.as_bytes());
    assert!(call.result().is_none() && call.error().is_none() && call.cancelled_id().is_none());
}

#[test]
fn every_method_names_its_thing() {
    let name = |method: &str, params: &str| {
        let call = to_server(&envelope(&format!(r#""id":1,"method":"{method}","params":{params}"#)));
        call.name().map(str::to_owned)
    };
    assert_eq!(name("prompts/get", r#"{"name":"p","uri":"u"}"#).as_deref(), Some("p"));
    assert_eq!(name("resources/read", r#"{"uri":"file:///a","name":"p"}"#).as_deref(), Some("file:///a"));
    assert_eq!(name("resources/subscribe", r#"{"uri":"u"}"#).as_deref(), Some("u"));
    assert_eq!(name("tasks/get", r#"{"taskId":"t"}"#).as_deref(), Some("t"));
    assert_eq!(
        name("completion/complete", r#"{"ref":{"type":"ref/prompt","name":"p","uri":"u"}}"#).as_deref(),
        Some("p")
    );
    assert_eq!(
        name("completion/complete", r#"{"ref":{"type":"ref/resource","name":"p","uri":"u"}}"#).as_deref(),
        Some("u")
    );
    assert_eq!(name("tools/list", r#"{"name":"n"}"#), None);
    assert_eq!(name("custom/thing", r#"{"name":"n"}"#), None);
}

#[test]
fn answers_say_what_they_are() {
    let result = to_server(&envelope(r#""id":1,"result":{"a":1,"_meta":{"k":2}}"#));
    assert_eq!((result.kind(), result.method()), (Kind::Result, None));
    assert_eq!(result.result_member("a").unwrap().as_i64(), Some(1));
    assert_eq!(result.meta("k").unwrap().as_i64(), Some(2));
    let error = to_server(&envelope(r#""id":1,"error":{"code":-32601,"message":"no","data":[1]}"#));
    assert_eq!((error.kind(), error.error_code()), (Kind::Error, Some(-32601)));
    assert_eq!(error.error().unwrap().get("data").unwrap().text(), "[1]");
}

#[test]
fn only_one_object_is_a_message() {
    for text in ["1", "null", "\"{}\"", "true"] {
        assert_eq!(code(text), "not_an_object", "{text}");
    }
    assert_eq!(code(r#"[{"jsonrpc":"2.0","id":1,"method":"ping"}]"#), "batch_not_allowed");
    assert_eq!(code("{}{}"), "trailing_bytes");
    assert_eq!(code("[{]"), "syntax");
}

#[test]
fn the_version_is_two() {
    for text in [
        r#"{"id":1,"method":"ping"}"#,
        r#"{"jsonrpc":2.0,"id":1,"method":"ping"}"#,
        r#"{"jsonrpc":"1.0","id":1,"method":"ping"}"#,
        r#"{"jsonrpc":null,"id":1,"method":"ping"}"#,
        r#"{"jsonrpc":"2.0 ","id":1,"method":"ping"}"#,
        "{}",
    ] {
        assert_eq!(code(text), "wrong_json_rpc", "{text}");
    }
    assert_eq!(code(r#"{"jsonrpc":"\u0032.0","id":1,"method":"ping"}"#), "accepted");
}

/// A34.
#[test]
fn ids_are_strings_or_integers() {
    for id in ["null", "1.0", "1e3", "true", "[1]", "{\"a\":1}", "-"] {
        let expected = if id == "-" { "syntax" } else { "id_not_string_or_integer" };
        assert_eq!(refused(&format!(r#""id":{id},"method":"ping""#)), expected, "{id}");
        assert_eq!(refused(&format!(r#""id":{id},"method":"custom""#)), expected, "{id}");
        assert_eq!(refused(&format!(r#""id":{id},"result":{{}}"#)), expected, "{id}");
    }
    assert_eq!(refused(&format!(r#""id":"{}","method":"ping""#, "a".repeat(255))), "id_too_long");
    assert_eq!(refused(&format!(r#""id":"{}","method":"ping""#, "a".repeat(254))), "accepted");
    assert_eq!(refused(&format!(r#""id":[{}1],"method":"ping""#, "1,".repeat(300))), "id_not_string_or_integer");
}

/// An id-less `tools/call` is still a `tools/call`, whichever way it travels.
#[test]
fn a_known_request_without_an_id_is_refused_by_name() {
    for info in crate::wire::METHODS {
        let flaw = |rest: &str| read(&envelope(rest), Direction::ToServer).unwrap_err();
        if info.kind == crate::wire::MethodKind::Request {
            let flaw = flaw(&format!(r#""method":"{}""#, info.name));
            assert_eq!((flaw.code(), flaw.method()), ("request_without_id", Some(info.name)));
        } else {
            let flaw = flaw(&format!(r#""id":1,"method":"{}""#, info.name));
            assert_eq!((flaw.code(), flaw.method()), ("notification_with_id", Some(info.name)));
        }
    }
    let unknown = to_server(&envelope(r#""method":"custom/event","params":{}"#));
    assert_eq!((unknown.kind(), unknown.method()), (Kind::Notification, Some("custom/event")));
    assert_eq!(to_server(&envelope(r#""id":1,"method":"custom/event""#)).kind(), Kind::Request);
}

#[test]
fn a_message_is_one_thing() {
    assert_eq!(refused(r#""id":1,"method":"ping","result":{}"#), "method_in_response");
    assert_eq!(refused(r#""id":1,"method":"ping","error":{"code":1,"message":""}"#), "method_in_response");
    assert_eq!(refused(r#""id":1,"result":{},"error":{"code":1,"message":""}"#), "both_result_and_error");
    assert_eq!(refused(r#""id":1"#), "neither_method_nor_result");
    assert_eq!(refused(r#""id":1,"method":null"#), "method_not_string");
    assert_eq!(refused(r#""id":1,"method":{"a":1}"#), "method_not_string");
    assert_eq!(refused(&format!(r#""id":1,"method":"{}""#, "m".repeat(2049))), "name_too_long");
}

#[test]
fn params_and_what_is_in_them_have_their_types() {
    let call = |params: &str| refused(&format!(r#""id":1,"method":"tools/call","params":{params}"#));
    for params in ["[]", "[\"name\"]", "null", "1", "\"x\""] {
        assert_eq!(call(params), "params_not_object", "{params}");
    }
    assert_eq!(refused(r#""method":"custom","params":[1]"#), "params_not_object");
    for meta in ["null", "[]", "1"] {
        assert_eq!(call(&format!(r#"{{"name":"a","_meta":{meta}}}"#)), "meta_not_object");
        assert_eq!(refused(&format!(r#""id":1,"result":{{"_meta":{meta}}}"#)), "meta_not_object");
    }
    assert_eq!(call("{}"), "name_missing");
    assert_eq!(refused(r#""id":1,"method":"tools/call""#), "name_missing");
    assert_eq!(
        refused(r#""id":1,"method":"completion/complete","params":{"ref":{"type":"ref/odd","name":"p"}}"#),
        "name_missing"
    );
    for name in ["null", "1", "[\"a\"]", "{}"] {
        assert_eq!(call(&format!(r#"{{"name":{name}}}"#)), "name_not_string", "{name}");
    }
    assert_eq!(call(&format!(r#"{{"name":"{}"}}"#, "n".repeat(2049))), "name_too_long");
    for arguments in ["null", "[]", "\"{}\"", "1"] {
        assert_eq!(call(&format!(r#"{{"name":"a","arguments":{arguments}}}"#)), "arguments_not_object", "{arguments}");
    }
    for token in ["null", "1.5", "{}", "[1]", "true"] {
        assert_eq!(
            call(&format!(r#"{{"name":"a","_meta":{{"progressToken":{token}}}}}"#)),
            "progress_token_invalid",
            "{token}"
        );
        let progress = format!(r#""method":"notifications/progress","params":{{"progressToken":{token}}}"#);
        assert_eq!(refused(&progress), "progress_token_invalid", "{token}");
        let cancelled = format!(r#""method":"notifications/cancelled","params":{{"requestId":{token}}}"#);
        assert_eq!(refused(&cancelled), "cancelled_id_invalid", "{token}");
    }
}

#[test]
fn notifications_carry_the_ids_they_speak_of() {
    let progress =
        to_server(&envelope(r#""method":"notifications/progress","params":{"progressToken":"t","progress":0.5}"#));
    assert_eq!(progress.progress_token(), Some(Id::string("t")));
    let cancelled = to_server(&envelope(r#""method":"notifications/cancelled","params":{"requestId":"\u0072"}"#));
    assert_eq!(cancelled.cancelled_id(), Some(Id::string("r")));
    let taskless = to_server(&envelope(r#""method":"notifications/cancelled","params":{"reason":"x"}"#));
    assert_eq!(taskless.cancelled_id(), None);
}

#[test]
fn answers_are_well_formed() {
    for result in ["null", "[]", "1", "\"ok\""] {
        assert_eq!(refused(&format!(r#""id":1,"result":{result}"#)), "result_not_object", "{result}");
    }
    assert_eq!(refused(r#""id":1,"error":"no""#), "error_not_object");
    assert_eq!(refused(r#""id":1,"error":{"message":"no"}"#), "error_code_not_integer");
    assert_eq!(refused(r#""id":1,"error":{"code":"1","message":"no"}"#), "error_code_not_integer");
    assert_eq!(refused(r#""id":1,"error":{"code":1.0,"message":"no"}"#), "error_code_not_integer");
    assert_eq!(refused(r#""id":1,"error":{"code":1}"#), "error_message_not_string");
    assert_eq!(refused(r#""result":{}"#), "response_without_id");
}

/// A server that could not read a request cannot know its id; a client always knows the id it answers.
#[test]
fn only_a_server_sends_an_error_without_an_id() {
    for id in ["", r#""id":null,"#] {
        let text = envelope(&format!(r#"{id}"error":{{"code":-32700,"message":"?"}}"#));
        let from_server = read(&text, Direction::ToClient).unwrap();
        assert_eq!((from_server.kind(), from_server.id()), (Kind::Error, None));
        assert!(read(&text, Direction::ToServer).is_err());
    }
}

/// I26, CVE-2026-27896, GHSA-q382-vc8q-7jhj.
#[test]
fn lookalike_members_are_refused_where_they_matter() {
    for rest in [
        r#""id":1,"method":"ping","Method":"tools/call""#,
        r#""id":1,"method":"ping","ID":2"#,
        r#""id":1,"method":"ping","method\u0000":"tools/call""#,
        r#""id":1,"method":"ping","param\u017f":{}"#,
        r#""id":1,"method":"tools/call","params":{"name":"a","Name":"b"}"#,
        r#""id":1,"method":"tools/call","params":{"name":"a","ARGUMENTS":{}}"#,
        r#""id":1,"method":"tools/call","params":{"name":"a","tas\u212a":{}}"#,
        r#""id":1,"method":"tools/call","params":{"name":"a","_meta":{"io.modelcontextprotocol/ProtocolVersion":"x"}}"#,
        r#""id":1,"method":"completion/complete","params":{"ref":{"type":"ref/prompt","name":"a","Name":"b"}}"#,
        r#""id":1,"result":{"tools":[],"Tools":[]}"#,
    ] {
        assert_eq!(refused(rest), "case_variant_key", "{rest}");
    }
    for rest in [
        r#""id":1,"method":"tools/call","params":{"name":"a","arguments":{"Name":1,"name":2,"ID":3}}"#,
        r#""id":1,"method":"tools/call","params":{"name":"a","x":{"Method":1}},"extra":{"ID":1}"#,
        r#""id":1,"result":{"structuredContent":{"Tools":1,"tools":2}}"#,
    ] {
        assert_eq!(refused(rest), "accepted", "{rest}");
    }
}

#[test]
fn a_member_spelled_with_escapes_is_that_member() {
    let call = to_server(
        r#"{"jsonrpc":"2.0","\u0069d":1,"m\u0065thod":"tools/call","p\u0061rams":{"n\u0061me":"a","_m\u0065ta":{"k":1}}}"#,
    );
    assert_eq!((call.method(), call.name()), (Some("tools/call"), Some("a")));
    assert_eq!(call.meta("k").unwrap().as_i64(), Some(1));
    assert_eq!(refused(r#""id":1,"i\u0064":2,"method":"ping""#), "duplicate_key");
}

#[test]
fn a_message_never_shows_its_content_when_debugged() {
    let shown = format!("{:?}", to_server(&envelope(r#""id":"secret","method":"secret","params":{"secret":1}"#)));
    assert!(!shown.contains("secret"), "{shown}");
}

mod batches {
    use super::*;

    fn batch(text: &str) -> Result<Vec<Message>, Malformed> {
        read_batch(Bytes::from(text.to_owned()), Direction::ToServer, &Limits::default())
    }

    fn code(items: &[&str]) -> &'static str {
        batch(&format!("[{}]", items.join(","))).map_or_else(|flaw| flaw.code(), |_| "accepted")
    }

    const PING: &str = r#"{"jsonrpc":"2.0","id":1,"method":"ping"}"#;
    const EVENT: &str = r#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#;
    const RESULT: &str = r#"{"jsonrpc":"2.0","id":1,"result":{}}"#;

    #[test]
    fn each_item_is_a_message_over_the_same_bytes() {
        let all = Bytes::from(format!(" [ {PING} , {EVENT},{RESULT} ] "));
        let items = read_batch(all.clone(), Direction::ToServer, &Limits::default()).unwrap();
        assert_eq!(
            items.iter().map(Message::kind).collect::<Vec<_>>(),
            [Kind::Request, Kind::Notification, Kind::Result]
        );
        assert_eq!(items[0].bytes(), PING);
        assert!(all.as_ptr_range().contains(&items[0].bytes().as_ptr()));
    }

    /// A7.
    #[test]
    fn bad_batches_are_refused_whole() {
        assert_eq!(code(&[]), "batch_empty");
        assert_eq!(code(&[PING, "1"]), "not_an_object");
        assert_eq!(code(&[PING, "[]"]), "not_an_object");
        assert_eq!(code(&[PING, PING]), "batch_repeats_id");
        assert_eq!(code(&[PING, r#"{"jsonrpc":"2.0","id":"1","method":"ping"}"#, EVENT, EVENT]), "accepted");
        assert_eq!(code(&[EVENT, r#"{"jsonrpc":"2.0","method":"tools/call"}"#]), "request_without_id");
        assert_eq!(
            code(&[EVENT, r#"{"jsonrpc":"2.0","id":1,"method":"initialize","params":{}}"#]),
            "initialize_in_batch"
        );
        assert_eq!(code(&[EVENT; 64]), "accepted");
        assert_eq!(code(&[EVENT; 65]), "batch_too_long");
        assert_eq!(batch("\"x\"").unwrap_err().code(), "not_an_object");
        assert_eq!(batch("[1").unwrap_err().code(), "syntax");
    }

    #[test]
    fn an_array_is_recognised_by_its_first_byte() {
        assert!(looks_like_batch(b" \r\n\t[1"));
        assert!(!looks_like_batch(b"{[") && !looks_like_batch(b"") && !looks_like_batch(b"  "));
    }
}

mod salvaging {
    use super::*;

    fn id(text: &str) -> Option<Id> {
        salvage_id(text.as_bytes(), &Limits::default())
    }

    /// H1: every early refusal is answered with the request's id.
    #[test]
    fn a_refused_request_can_still_be_answered() {
        for rest in [
            r#""method":"tools/call""#,
            r#""method":"tools/call","params":[]"#,
            r#""method":"tools/call","params":{"name":"a","Name":"b"}"#,
            r#""method":"tools/call","params":{"name":"a","arguments":{"x":1,"x":2}}"#,
            r#""method":7"#,
            r#""method":"ping","result":{}"#,
            r#""x":1"#,
        ] {
            assert_eq!(id(&format!(r#"{{"id":"a",{rest}}}"#)), Some(Id::string("a")), "{rest}");
        }
    }

    #[test]
    fn an_ambiguous_or_unreadable_message_has_no_id() {
        for text in [
            r#"{"id":1,"id":2,"method":"ping"}"#,
            r#"{"id":1,"ID":2,"method":"ping"}"#,
            r#"{"id":1,"i\u0064":2}"#,
            r#"{"id\u0000":1,"id":2}"#,
            r#"{"id":1.0,"method":"ping"}"#,
            r#"{"id":null,"method":"ping"}"#,
            r#"{"id":1,"method":"ping""#,
            "",
            "[]",
            "1",
            r#"[{"id":1}]"#,
            r#"{"params":{"id":1}}"#,
            r#"{"id":1,"result":{}}"#,
            r#"{"id":1,"error":{}}"#,
            r#"{"method":"ping"}"#,
        ] {
            assert_eq!(id(text), None, "{text}");
        }
    }
}
