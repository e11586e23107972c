use bytes::Bytes;
use portcullis_core::caller::Caller;
use portcullis_core::guard::Guard as _;
use portcullis_core::version::Version;
use portcullis_core::wire::{Known, Limits};
use serde_json::json;

use super::*;
use crate::guard::PolicyGuard;
use crate::testing::{call, guard, with_context};

fn see(guard: &PolicyGuard, case: serde_json::Value, reply: &str) -> Sight {
    let message = Message::read(Bytes::from(reply.to_owned()), Direction::ToClient, &Limits::default()).unwrap();
    match guard.watch(&call(case)) {
        Some(mut watch) => watch.see(&message),
        None => Sight::Keep,
    }
}

#[track_caller]
fn replaced(sight: Sight) -> (String, String) {
    match sight {
        Sight::Replace(message, Some(finding)) => {
            (String::from_utf8(message.bytes().to_vec()).unwrap(), finding.detail)
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_list_loses_what_the_caller_may_not_use_and_nothing_else_changes() {
    let guard = guard(
        r#"permit (principal, action == Mcp::Action::"tools/list", resource);
        permit (principal, action in Mcp::Action::"tools/call", resource) when { context.tool has readOnly && context.tool.readOnly };
        permit (principal, action == notes::Action::"pay", resource) when { context.args.recipient == "bob" };
        forbid (principal, action in Mcp::Action::"tools/call", resource) when { context has session && context.session.calls > 5 };"#,
    );
    let reply = concat!(
        r#"{ "jsonrpc":"2.0","id":1, "result" : {"x":1e2,"tools" : [ {"name":"drop"} , {"name":"pay","big":12345678901234567890},"#,
        r#"{"annotations":{"readOnlyHint":true},"name":"r\u0065ad-note"}, {"name":"write","annotations":{"readOnlyHint":false}}, {"title":"nameless"} ],"nextCursor":"abc"}}"#
    );
    let (text, detail) = replaced(see(&guard, json!({"method": "tools/list"}), reply));
    assert_eq!(
        text,
        concat!(
            r#"{ "jsonrpc":"2.0","id":1, "result" : {"x":1e2,"tools" : [ {"name":"pay","big":12345678901234567890},"#,
            r#"{"annotations":{"readOnlyHint":true},"name":"r\u0065ad-note"} ],"nextCursor":"abc"}}"#
        )
    );
    assert_eq!(detail, "3 of 5 hidden");
    let all = r#"{"jsonrpc":"2.0","id":1,"result":{"tools":[{"name":"pay"}]}}"#;
    assert!(matches!(see(&guard, json!({"method": "tools/list"}), all), Sight::Keep));
    let garbage = r#"{"jsonrpc":"2.0","id":1,"result":{"tools":{"name":"drop"}}}"#;
    assert!(matches!(see(&guard, json!({"method": "tools/list"}), garbage), Sight::Cut(_)));
}

#[test]
fn prompts_resources_and_templates_are_filtered_too() {
    let guard = guard(
        r#"permit (principal, action == Mcp::Action::"prompts/get", resource) when { context.name == "hello" };
        permit (principal, action == Mcp::Action::"resources/read", resource) when { context.url.scheme == "notes" };"#,
    );
    let (text, _) = replaced(see(
        &guard,
        json!({"method": "prompts/list"}),
        r#"{"jsonrpc":"2.0","id":1,"result":{"prompts":[{"name":"hello"},{"name":"x"}]}}"#,
    ));
    assert_eq!(text, r#"{"jsonrpc":"2.0","id":1,"result":{"prompts":[{"name":"hello"}]}}"#);
    let resources =
        r#"{"jsonrpc":"2.0","id":1,"result":{"resources":[{"uri":"file:///x"},{"uri":"notes://a"},{"uri":"no url"}]}}"#;
    let (text, _) = replaced(see(&guard, json!({"method": "resources/list"}), resources));
    assert_eq!(text, r#"{"jsonrpc":"2.0","id":1,"result":{"resources":[{"uri":"notes://a"}]}}"#);
    // A template has no URI yet: what some URI could be permitted for is shown.
    let templates =
        r#"{"jsonrpc":"2.0","id":1,"result":{"resourceTemplates":[{"uriTemplate":"file:///{x}","name":"f"}]}}"#;
    assert!(matches!(see(&guard, json!({"method": "resources/templates/list"}), templates), Sight::Keep));
    let closed = crate::testing::guard("");
    assert!(matches!(see(&closed, json!({"method": "resources/templates/list"}), templates), Sight::Replace(..)));
}

#[test]
fn a_filtered_modern_list_is_no_longer_public_c45() {
    let guard = guard("");
    let modern = |scope: &str| {
        format!(
            r#"{{"jsonrpc":"2.0","id":1,"result":{{"resultType":"complete","cacheScope":"{scope}","tools":[{{"name":"a"}}]}}}}"#
        )
    };
    let case = json!({"method": "tools/list", "version": "2026-07-28"});
    let expected = r#"{"jsonrpc":"2.0","id":1,"result":{"resultType":"complete","cacheScope":"private","tools":[]}}"#;
    assert_eq!(replaced(see(&guard, case.clone(), &modern("public"))).0, expected);
    assert_eq!(replaced(see(&guard, case.clone(), &modern("private"))).0, expected);

    // A whole list is one caller's view as well, and so is each page of it (C44).
    let open = crate::testing::guard("permit (principal, action, resource);");
    match see(&open, case.clone(), &modern("public")) {
        Sight::Replace(message, None) => assert_eq!(message.bytes(), modern("private").as_bytes()),
        other => panic!("{other:?}"),
    }
    assert!(matches!(see(&open, case, &modern("private")), Sight::Keep));
}

#[test]
fn an_item_whose_name_no_call_could_carry_is_not_shown_and_not_remembered() {
    let open = guard("permit (principal, action, resource);");
    let list = |name: &str| format!(r#"{{"jsonrpc":"2.0","id":1,"result":{{"tools":[{{"name":"{name}"}}]}}}}"#);
    let most = Limits::default().name;
    assert!(matches!(see(&open, json!({"method": "tools/list"}), &list(&"a".repeat(most))), Sight::Keep));
    let (text, _) = replaced(see(&open, json!({"method": "tools/list"}), &list(&"a".repeat(most + 1))));
    assert_eq!(text, r#"{"jsonrpc":"2.0","id":1,"result":{"tools":[]}}"#);
}

#[test]
fn embedded_server_requests_are_judged_like_real_ones_c58_c59() {
    let guard = guard(
        r#"permit (principal, action == notes::Action::"pay", resource);
        permit (principal, action == Mcp::Action::"elicitation/create", resource) when { context.mode == "form" };
        @reason("No sampling here.") forbid (principal, action == Mcp::Action::"sampling/createMessage", resource);"#,
    );
    let reply = |requests: &str| {
        format!(r#"{{"jsonrpc":"2.0","id":1,"result":{{"resultType":"input_required","inputRequests":{requests}}}}}"#)
    };
    let look = |requests: &str| see(&guard, json!({"tool": "pay", "version": "2026-07-28"}), &reply(requests));
    assert!(matches!(look(r#"{"a":{"method":"elicitation/create","params":{"message":"?"}}}"#), Sight::Keep));
    for refused in [
        r#"{"a":{"method":"elicitation/create","params":{"message":"?"}},"b":{"method":"sampling/createMessage","params":{}}}"#,
        r#"{"a":{"method":"elicitation/create","params":{"mode":"url","url":"https://x.example/"}}}"#,
        r#"{"a":{"method":"roots/list"}}"#,
        r#"{"a":{"method":"tools/call","params":{"name":"pay"}}}"#,
        r#"{"a":{}}"#,
        r"[1]",
    ] {
        assert!(matches!(look(refused), Sight::Cut(_)), "{refused}");
    }
    match look(r#"{"b":{"method":"sampling/createMessage"}}"#) {
        Sight::Cut(denial) => assert_eq!(denial.public, "No sampling here."),
        other => panic!("{other:?}"),
    }
    for params in [
        r#"{"taskId":"t","inputRequests":{"a":{"method":"roots/list"}}}"#,
        r#"{"taskId":"t","input\u0052equests":{"a":{"method":"roots/list"}}}"#,
        r#"{"task":{"inputRequests":{"a":{"method":"roots/list"}}}}"#,
    ] {
        let task = format!(r#"{{"jsonrpc":"2.0","method":"notifications/tasks","params":{params}}}"#);
        assert!(
            matches!(see(&guard, json!({"tool": "pay", "version": "2026-07-28"}), &task), Sight::Cut(_)),
            "{params}"
        );
    }
}

#[test]
fn what_a_list_hides_cannot_be_called() {
    let guard = guard(
        r#"permit (principal, action, resource);
        forbid (principal, action in Mcp::Action::"tools/call", resource) when { context.tool has destructive && context.tool.destructive };"#,
    );
    let saved = format!(r#"{{"jsonrpc":"2.0","id":1,"result":{}}}"#, crate::testing::TOOLS.replace('\n', ""));
    let (text, _) = replaced(see(&guard, json!({"method": "tools/list"}), &saved));
    for tool in ["list_notes", "read-note", "pay"] {
        let callable = crate::testing::passes(&guard, &call(json!({"tool": tool})));
        assert_eq!(text.contains(&format!("\"name\":\"{tool}\"")), callable, "{tool}");
    }
}

#[test]
fn a_list_that_arrives_on_a_resumed_stream_is_filtered_too_i24() {
    let guard = guard(r#"permit (principal, action == Mcp::Action::"stream/open", resource);"#);
    let reply = r#"{"jsonrpc":"2.0","id":7,"result":{"tools":[{"name":"pay"}]}}"#;
    assert_eq!(
        replaced(see(&guard, json!({"method": "stream/open"}), reply)).0,
        r#"{"jsonrpc":"2.0","id":7,"result":{"tools":[]}}"#
    );
    let result = r#"{"jsonrpc":"2.0","id":8,"result":{"content":[]}}"#;
    assert!(matches!(see(&guard, json!({"method": "stream/open"}), result), Sight::Keep));
}

#[test]
fn what_a_person_may_approve_is_listed() {
    let guard = guard(
        r#"permit (principal, action, resource);
        @ask("operator") forbid (principal, action == notes::Action::"pay", resource);"#,
    );
    let reply = r#"{"jsonrpc":"2.0","id":1,"result":{"tools":[{"name":"pay"}]}}"#;
    assert!(matches!(see(&guard, json!({"method": "tools/list"}), reply), Sight::Keep));
    match guard.check(&call(json!({"tool": "pay"}))) {
        Decision::Hold(denial) => assert_eq!(denial.manner, Manner::Correctable),
        other => panic!("{other:?}"),
    }
}

#[test]
fn an_error_that_sends_the_user_to_a_url_is_judged_as_an_elicitation_i21() {
    let guard = guard(
        r#"permit (principal, action == notes::Action::"pay", resource);
        permit (principal, action == Mcp::Action::"elicitation/create", resource) when { context has host && context.host == "good.example" };"#,
    );
    let error = |code: i64, url: &str| {
        let data = format!(r#"{{"elicitations":[{{"mode":"url","elicitationId":"1","url":"{url}","message":"?"}}]}}"#);
        format!(r#"{{"jsonrpc":"2.0","id":1,"error":{{"code":{code},"message":"x","data":{data}}}}}"#)
    };
    let look = |code, url| see(&guard, json!({"tool": "pay"}), &error(code, url));
    assert!(matches!(look(-32042, "https://good.example/"), Sight::Keep));
    assert!(matches!(look(-32042, "https://evil.example/"), Sight::Cut(_)));
    assert!(matches!(look(-32042, "nothing"), Sight::Cut(_)));
    let formless = error(-32042, "https://evil.example/").replace(r#""mode":"url","#, "");
    let forms = crate::testing::guard("permit (principal, action, resource);");
    assert!(matches!(see(&forms, json!({"tool": "pay"}), &formless), Sight::Cut(_)));
    assert!(matches!(look(-32602, "https://evil.example/"), Sight::Keep));
}

const TOOL_LIST: &str = r#"{"jsonrpc":"2.0","id":1,"result":{"tools":[{"name":"pay"},{"name":"read-note","annotations":{"readOnlyHint":true}}]}}"#;

fn looks(guard: &PolicyGuard) -> usize {
    guard.judge().looks.load(std::sync::atomic::Ordering::Relaxed)
}

#[test]
fn the_very_same_list_is_judged_once_for_each_caller_and_version() {
    let guard = guard(
        r#"@id("bob-pays") permit (principal == Mcp::Caller::"bob", action == notes::Action::"pay", resource) when { context.era == "legacy" && context.args.recipient == "eve" };
        permit (principal, action in Mcp::Action::"tools/call", resource) when { context.tool has readOnly && context.tool.readOnly };"#,
    );
    let listing = |caller: &str, version: Version| {
        with_context(&call(json!({"method": "tools/list"})), |context| {
            context.caller = Arc::new(Caller { name: caller.to_owned(), ..Caller::anonymous() });
            context.version = version;
        })
    };
    let shown = |call: &Call, reply: &str| {
        let message = Message::read(Bytes::from(reply.to_owned()), Direction::ToClient, &Limits::default()).unwrap();
        match guard.watch(call).unwrap().see(&message) {
            Sight::Keep => reply.to_owned(),
            sight => replaced(sight).0,
        }
    };
    let legacy = Version::parse("2025-11-25").unwrap();
    let modern = Version::parse("2026-07-28").unwrap();
    let without_pay = TOOL_LIST.replace(r#"{"name":"pay"},"#, "");
    for (caller, version, expected) in [
        ("bob", legacy, TOOL_LIST),
        ("eve", legacy, &without_pay),
        ("bob", modern, &without_pay),
        ("bob", legacy, TOOL_LIST),
    ] {
        assert_eq!(shown(&listing(caller, version), TOOL_LIST), expected, "{caller} {version:?}");
    }
    let before = looks(&guard);
    // The id is not part of the list.
    let again = TOOL_LIST.replace(r#""id":1"#, r#""id":22"#);
    assert_eq!(shown(&listing("bob", legacy), &again), again);
    assert_eq!(looks(&guard), before, "nothing was judged again");
    // The least difference makes it another list, be it far from both ends.
    let hinted = r#"{"name":"read-note","annotations":{"readOnlyHint":true}}"#;
    let filler = format!(r#",{{"name":"read-note","description":"{}"}}"#, "x".repeat(2000));
    let long = TOOL_LIST.replace(hinted, &format!("{hinted}{filler}{filler},{hinted}{filler}{filler}"));
    let honest = shown(&listing("eve", legacy), &long);
    let (start, end) = long.rsplit_once("true").unwrap();
    let less = shown(&listing("eve", legacy), &format!("{start}null{end}"));
    assert_eq!((honest.matches("true").count(), less.matches("true").count()), (2, 1));
}

#[test]
fn what_could_not_be_judged_is_judged_anew_in_the_next_list() {
    // An overflow, which no check of policies finds.
    let guard = guard(
        r#"permit (principal, action in Mcp::Action::"tools/call", resource)
        when { context.tool has readOnly && context.tool.readOnly && 9223372036854775807 + 1 > 0 };"#,
    );
    let mut all = 0;
    for _ in 0..2 {
        see(&guard, json!({"method": "tools/list"}), TOOL_LIST);
        all += 2;
        assert_eq!(looks(&guard), all);
    }
}

#[test]
fn a_list_too_long_to_be_remembered_is_filtered_all_the_same() {
    let guard =
        guard(r#"permit (principal, action in Mcp::Action::"tools/call", resource) when { context.name == "pay" };"#);
    let long =
        TOOL_LIST.replace(r#"{"name":"pay"}"#, &format!(r#"{{"name":"pay","description":"{}"}}"#, "x".repeat(200_000)));
    let before = looks(&guard);
    for _ in 0..2 {
        let (text, _) = replaced(see(&guard, json!({"method": "tools/list"}), &long));
        assert!(text.contains(r#""name":"pay""#) && !text.contains("read-note"));
    }
    assert_eq!(looks(&guard) - before, 4, "each time anew");
}

/// The list of tools in `reply` has come before.
fn known_tools(reply: &str) -> Known {
    let message = Message::read(Bytes::from(reply.to_owned()), Direction::ToClient, &Limits::default()).unwrap();
    Known::of(message.result_member("tools").unwrap()).unwrap()
}

#[test]
fn what_is_left_of_a_list_that_came_before_is_made_once_for_all_who_see_the_same_of_it() {
    let policies = r#"permit (principal == Mcp::Caller::"bob", action in Mcp::Action::"tools/call", resource) when { context.name == "pay" };
        permit (principal, action in Mcp::Action::"tools/call", resource) when { context.tool has readOnly && context.tool.readOnly };
        forbid (principal == Mcp::Caller::"bob", action in Mcp::Action::"tools/call", resource) when { context.tool has readOnly && context.tool.readOnly };"#;
    let guard = guard(policies);
    let shown = |caller: &str, known: &Known, reply: &str| {
        let listing = with_context(&call(json!({"method": "tools/list"})), |context| {
            context.caller = Arc::new(Caller { name: caller.to_owned(), ..Caller::anonymous() });
        });
        let reply = Bytes::from(reply.to_owned());
        let known = std::slice::from_ref(known);
        let message = Message::read_knowing(reply, Direction::ToClient, &Limits::default(), known).unwrap();
        let anew = crate::testing::guard(policies).watch(&listing).unwrap().see(&message);
        match (guard.watch(&listing).unwrap().see(&message), anew) {
            (Sight::Replace(shown, found), Sight::Replace(anew, found_anew)) => {
                assert_eq!((shown.bytes(), found), (anew.bytes(), found_anew));
                shown
            }
            other => panic!("{other:?}"),
        }
    };
    let tools = known_tools(TOOL_LIST);
    let again = TOOL_LIST.replace(r#""id":1"#, r#""id":22"#).replace(r#"]}}"#, r#"],"nextCursor":"c"}}"#);
    let left = |message: &Message| message.known_result_member("tools").cloned();
    assert!(left(&shown("eve", &tools, TOOL_LIST)).is_none(), "made");
    let for_eve = left(&shown("eve", &tools, &again)).unwrap();
    assert!(left(&shown("ann", &tools, &again)).unwrap().is(&for_eve), "she sees the same");
    // Another caller, who sees something else of it.
    assert!(left(&shown("bob", &tools, TOOL_LIST)).is_none());
    let for_bob = left(&shown("bob", &tools, &again)).unwrap();
    assert_eq!(for_bob.text(), r#"[{"name":"pay"}]"#);
    // Another list, of which the same places are seen.
    let other = TOOL_LIST.replace("read-note", "other");
    assert!(left(&shown("eve", &known_tools(&other), &other)).is_none());
    assert!(left(&shown("eve", &known_tools(TOOL_LIST), TOOL_LIST)).is_none(), "known anew after it was forgotten");
}
