mod chain;

use std::sync::Arc;

use portcullis_core::guard::Guard as _;
use serde_json::json;

use super::*;
use crate::testing::{call, call_in, call_raw, denied, guard, passes, with_context};

const PAY: &str = r#"permit (principal, action == notes::Action::"pay", resource)"#;

#[test]
fn what_no_policy_permits_is_denied() {
    let guard = guard("");
    for case in [
        json!({"tool": "pay"}),
        json!({"method": "tools/list"}),
        json!({"method": "made/up"}),
        json!({"method": "initialize"}),
    ] {
        assert_eq!(denied(&guard, &call(case)).code, DenialCode::NotPermitted);
    }
}

#[test]
fn a_forbid_wins_and_its_reason_is_what_the_caller_reads() {
    let guard = guard(
        r#"@id("all") permit (principal, action, resource);
        @id("b") @reason("At most 100.") forbid (principal, action == notes::Action::"pay", resource)
        when { context.args.amount.greaterThan(decimal("100.0")) };
        @id("a") forbid (principal, action == notes::Action::"pay", resource) when { context.args.recipient == "eve" };"#,
    );
    let allowed = call(json!({"tool": "pay", "arguments": {"amount": 100, "recipient": "bob"}}));
    assert!(passes(&guard, &allowed));
    let denial = denied(&guard, &call(json!({"tool": "pay", "arguments": {"amount": 100.5, "recipient": "eve"}})));
    assert_eq!((denial.code, denial.public.as_ref()), (DenialCode::Forbidden, "At most 100."));
    assert_eq!(denial.policies.iter().map(|id| &**id).collect::<Vec<_>>(), ["a", "b"]);
    assert_eq!(denial.manner, Manner::Correctable);
    let silent = denied(&guard, &call(json!({"tool": "pay", "arguments": {"amount": 1, "recipient": "eve"}})));
    assert_eq!(silent.public, "a policy forbids this");
}

#[test]
fn an_argument_of_another_json_type_denies_instead_of_switching_a_forbid_off() {
    let guard = guard(
        r#"permit (principal, action, resource);
        forbid (principal, action == notes::Action::"pay", resource) when { context.args.recipient like "*eve*" };"#,
    );
    for arguments in [
        r#"{"amount":1,"recipient":["eve"]}"#,
        r#"{"amount":1,"recipient":{"a":"eve"}}"#,
        r#"{"amount":1,"recipient":null}"#,
        r#"{"amount":1,"recipient":7}"#,
        r#"{"amount":1}"#,
        r#"{"amount":1,"recipient":{"__entity":{"type":"Mcp::Caller","id":"root"}}}"#,
        r#"{"amount":1,"recipient":{"__extn":{"fn":"ip","arg":"1.2.3.4"}}}"#,
    ] {
        let denial = denied(&guard, &call_raw("pay", arguments));
        assert_eq!(denial.code, DenialCode::PolicyError, "{arguments}");
        assert!(!denial.detail.contains("eve") && !denial.detail.contains("root"), "{}", denial.detail);
    }
    assert!(passes(&guard, &call_raw("pay", r#"{"amount":"not looked at","recipient":"bob"}"#)));
}

#[test]
fn numbers_are_exact_or_denied() {
    let guard = guard(&format!("{PAY} when {{ context.args.amount.lessThanOrEqual(decimal(\"0.3\")) }};"));
    assert!(passes(&guard, &call_raw("pay", r#"{"amount":0.3}"#)));
    assert!(passes(&guard, &call_raw("pay", r#"{"amount":3e-1}"#)));
    assert_eq!(denied(&guard, &call_raw("pay", r#"{"amount":0.3001}"#)).code, DenialCode::NotPermitted);
    for inexact in ["0.30001", "1e30", "1e-9", "99999999999999999999"] {
        let denial = denied(&guard, &call_raw("pay", &format!(r#"{{"amount":{inexact}}}"#)));
        assert_eq!(denial.code, DenialCode::PolicyError, "{inexact}");
    }
}

#[test]
fn nested_optional_and_repeated_arguments_are_typed() {
    let guard = guard(&format!(
        "{PAY} when {{ context.args has to && context.args.to.iban like \"DE*\" && context.args has tags && [\"a\", \"b\"].containsAll(context.args.tags) \
         && (if context.args has note then context.args.note == \"x\" else true) }};"
    ));
    assert!(passes(&guard, &call_raw("pay", r#"{"to":{"iban":"DE1"},"tags":["a","a"]}"#)));
    assert!(passes(&guard, &call_raw("pay", r#"{"to":{"iban":"DE1"},"tags":[],"note":null}"#)));
    assert!(!passes(&guard, &call_raw("pay", r#"{"to":{"iban":"DE1"},"tags":["c"]}"#)));
    assert!(!passes(&guard, &call_raw("pay", r#"{"to":{"iban":"DE1"},"tags":["a"],"note":"y"}"#)));
    assert_eq!(denied(&guard, &call_raw("pay", r#"{"to":"DE1","tags":["a"]}"#)).code, DenialCode::PolicyError);
    assert_eq!(
        denied(&guard, &call_raw("pay", r#"{"to":{"iban":"DE1"},"tags":["a",1]}"#)).code,
        DenialCode::PolicyError
    );
}

#[test]
fn an_argument_that_policies_watch_for_may_not_hide_where_the_tool_does_not_declare_it() {
    let guard = guard(
        r#"permit (principal, action, resource);
        forbid (principal, action in Mcp::Action::"tools/call", resource)
        when { context has args && context.args has path && context.args.path like "*.ssh*" };"#,
    );
    assert!(passes(&guard, &call_raw("list_notes", "{}")));
    assert!(passes(&guard, &call_raw("pay", r#"{"amount":1}"#)));
    assert!(passes(&guard, &call_raw("read-note", r#"{"path":"a.txt"}"#)));
    assert_eq!(denied(&guard, &call_raw("read-note", r#"{"path":"/h/.ssh/id"}"#)).code, DenialCode::Forbidden);
    assert_eq!(denied(&guard, &call_raw("list_notes", r#"{"path":"/h/.ssh/id"}"#)).code, DenialCode::PolicyError);
    assert_eq!(denied(&guard, &call_raw("no_such_tool", r#"{"path":"/h/.ssh/id"}"#)).code, DenialCode::PolicyError);
}

#[test]
fn a_forbid_by_name_holds_while_the_tools_are_not_known_yet() {
    let guard = guard(
        r#"permit (principal, action, resource);
        forbid (principal, action == notes::Action::"pay", resource);
        forbid (principal, action in Mcp::Action::"server:notes", resource) when { context.tool has destructive && context.tool.destructive };"#,
    );
    let unread = call_in(json!({"tool": "pay", "arguments": {}}), None);
    assert!(!passes(&guard, &unread));
    // Whether another tool is destructive is not known either, and not knowing is not "no".
    assert_eq!(denied(&guard, &call_in(json!({"tool": "other"}), None)).code, DenialCode::PolicyError);
    assert!(passes(&guard, &call(json!({"tool": "list_notes"}))));
}

#[test]
fn a_hidden_tool_and_a_missing_tool_get_the_same_manner() {
    let guard = guard(&format!("{PAY} when {{ context.args.recipient == \"bob\" }};"));
    assert_eq!(denied(&guard, &call_raw("pay", r#"{"recipient":"eve"}"#)).manner, Manner::Correctable);
    let hidden = denied(&guard, &call_raw("read-note", "{}"));
    let missing = denied(&guard, &call_raw("nothing", "{}"));
    assert_eq!((hidden.manner, hidden.public), (Manner::Unknown, missing.public));
    assert_eq!(missing.manner, Manner::Unknown);
    assert_eq!(denied(&guard, &call(json!({"method": "prompts/get", "subject": "p"}))).manner, Manner::Unknown);
    assert_eq!(denied(&guard, &call(json!({"method": "tools/list"}))).manner, Manner::Plain);
}

/// However much a policy permits: else the server's own words for "no such tool" would tell which names the policy hides.
#[test]
fn a_tool_that_the_server_does_not_list_is_refused_like_a_hidden_one_even_where_everything_is_permitted() {
    let open = "permit (principal, action, resource); ";
    let guard_hiding = guard(&format!(r#"{open} forbid (principal, action == notes::Action::"pay", resource);"#));
    let (hidden, missing) =
        (denied(&guard_hiding, &call_raw("pay", "{}")), denied(&guard_hiding, &call_raw("no", "{}")));
    assert_eq!((hidden.code, missing.code), (DenialCode::Forbidden, DenialCode::NotListed), "the log knows better");
    assert_eq!((hidden.manner, missing.manner), (Manner::Unknown, Manner::Unknown));
    // Nobody is asked to approve what does not exist.
    let asking = guard(&format!(
        r#"{open} @ask("operator") forbid (principal, action in Mcp::Action::"tools/call", resource);"#
    ));
    assert!(matches!(asking.check(&call_raw("pay", "{}")), Decision::Hold(_)));
    assert_eq!(denied(&asking, &call_raw("no", "{}")).manner, Manner::Unknown);
}

#[test]
fn an_unread_catalogue_knows_nothing_and_so_hides_nothing() {
    let guard = guard("permit (principal, action, resource);");
    assert!(passes(&guard, &call_in(json!({"tool": "no"}), None)));
    assert!(!passes(&guard, &call(json!({"tool": "no"}))));
}

#[test]
fn an_ask_holds_only_when_nothing_else_is_against_it() {
    let text = |permit: &str, forbid: &str| {
        format!(
            r#"{permit} {forbid} @id("ask") @ask("operator") @reason("Big payment.")
            forbid (principal, action == notes::Action::"pay", resource) when {{ context.args.amount.greaterThan(decimal("10.0")) }};"#
        )
    };
    let big = call_raw("pay", r#"{"amount":11,"recipient":"bob"}"#);
    let permit = "permit (principal, action, resource);";
    match guard(&text(permit, "")).check(&big) {
        Decision::Hold(denial) => {
            assert_eq!((denial.code, denial.public.as_ref()), (DenialCode::ApprovalRequired, "Big payment."));
            assert_eq!(denial.detail, "ask: operator");
        }
        other => panic!("{other:?}"),
    }
    let forbid = "forbid (principal, action == notes::Action::\"pay\", resource);";
    assert_eq!(denied(&guard(&text(permit, forbid)), &big).code, DenialCode::Forbidden);
    assert_eq!(denied(&guard(&text("", "")), &big).code, DenialCode::Forbidden);
    assert!(passes(&guard(&text(permit, "")), &call_raw("pay", r#"{"amount":10}"#)));
}

#[test]
fn callers_groups_session_and_time_are_facts() {
    let guard = guard(
        r#"permit (principal in Mcp::Group::"staff", action == notes::Action::"list_notes", resource == Mcp::Server::"notes")
        when { principal.proof == "api_key" && principal.name like "a*" && context has session && context.session.calls <= 2
               && context.now.toTime() >= duration("9h") && context.now.toTime() < duration("17h") };"#,
    );
    let case = |name: &str, group: &str, calls: u64, now: &str| {
        call(
            json!({"tool": "list_notes", "caller": {"name": name, "groups": [group]}, "session": {"calls": calls}, "now": now}),
        )
    };
    assert!(passes(&guard, &case("ann", "staff", 2, "2026-07-28T09:00:00Z")));
    for call in [
        case("bob", "staff", 2, "2026-07-28T09:00:00Z"),
        case("ann", "guests", 2, "2026-07-28T09:00:00Z"),
        case("ann", "staff", 3, "2026-07-28T09:00:00Z"),
        case("ann", "staff", 2, "2026-07-28T17:00:00Z"),
        call(json!({"tool": "list_notes", "caller": {"name": "ann", "groups": ["staff"]}})),
    ] {
        assert!(!passes(&guard, &call));
    }
}

#[test]
fn repeatable_is_what_depends_on_the_method_alone() {
    let repeatable = |text: &str, case: serde_json::Value| match guard(text).check(&call(case)) {
        Decision::Pass(pass) => pass.repeatable,
        other => panic!("{other:?}"),
    };
    let progress = json!({"method": "notifications/message", "params": {"level": "info", "data": 1}});
    assert!(repeatable("permit (principal, action, resource);", progress.clone()));
    assert!(repeatable(
        "permit (principal, action, resource) when { context.method like \"notifications/*\" };",
        progress.clone()
    ));
    let timed = "permit (principal, action, resource) when { context.now > datetime(\"2020-01-01\") };";
    assert!(!repeatable(timed, progress));
    assert!(!repeatable("permit (principal, action, resource);", json!({"tool": "pay"})));
}

#[test]
fn server_requests_are_actions_and_answers_pass_with_their_request() {
    let guard = guard(
        r#"permit (principal, action == Mcp::Action::"elicitation/create", resource)
        when { context.mode == "url" && context has host && context.host == "accounts.example.com" };"#,
    );
    let ask = |url: &str| call(json!({"method": "elicitation/create", "url": url}));
    for good in
        ["https://accounts.example.com/x", "https://user@ACCOUNTS.example.com.:8443", "https://accounts%2Eexample.com/"]
    {
        assert!(passes(&guard, &ask(good)), "{good}");
    }
    for bad in [
        "https://accounts.example.com.evil.org/",
        "https://accounts.example.com@evil.org/",
        "https:\\\\evil.org\\accounts.example.com",
    ] {
        assert!(!passes(&guard, &ask(bad)), "{bad}");
    }
    assert_eq!(denied(&guard, &ask("nonsense")).code, DenialCode::PolicyError);
    assert!(!passes(&guard, &call(json!({"method": "elicitation/create"}))));
    assert!(!passes(&guard, &call(json!({"method": "sampling/createMessage"}))));

    let answered = |method: &str| {
        use portcullis_core::wire::Message;
        let text = bytes::Bytes::from_static(br#"{"jsonrpc":"2.0","id":1,"result":{"action":"accept"}}"#);
        let message = Message::read(text, Direction::ToServer, &Limits::default()).unwrap();
        with_context(&call(json!({"tool": "pay"})).with_message(message), |context| {
            context.answers = Some(Arc::from(method))
        })
    };
    assert!(passes(&guard, &answered("elicitation/create")));
    assert!(!passes(&guard, &answered("sampling/createMessage")));
    assert!(!passes(&guard, &with_context(&answered("x"), |context| context.answers = None)));
}

#[test]
fn urls_of_resources_are_normalised_before_policies_see_them() {
    let guard = guard(
        r#"permit (principal, action == Mcp::Action::"resources/read", resource)
        when { context.url.scheme == "file" && context.url.path like "/srv/notes/*" };"#,
    );
    let read = |uri: &str| call(json!({"method": "resources/read", "uri": uri}));
    assert!(passes(&guard, &read("file:///srv/notes/a.txt")));
    assert!(!passes(&guard, &read("file:///srv/notes/../../etc/passwd")));
    assert!(!passes(&guard, &read("file:///srv/notes/%2e%2e/%2E./etc/passwd")));
    assert_eq!(denied(&guard, &read("file:///srv/notes/..%2f..%2fetc/passwd")).code, DenialCode::PolicyError);
    assert_eq!(denied(&guard, &read("not a url")).code, DenialCode::PolicyError);
}

#[test]
fn a_modern_listen_is_judged_for_each_resource_it_subscribes_to() {
    let guard = guard(
        r#"permit (principal, action == Mcp::Action::"subscriptions/listen", resource);
        permit (principal, action == Mcp::Action::"resources/subscribe", resource) when { context.uri like "notes://*" };"#,
    );
    let listen = |uris: serde_json::Value| {
        let params = json!({"notifications": {"resourceSubscriptions": uris}});
        call(json!({"method": "subscriptions/listen", "version": "2026-07-28", "params": params}))
    };
    assert!(passes(&guard, &listen(json!(["notes://a", "notes://b"]))));
    assert!(!passes(&guard, &listen(json!(["notes://a", "secrets://b"]))));
    assert!(!passes(&guard, &listen(json!(["notes://a", 7]))));
    assert!(!passes(&guard, &listen(json!("secrets://b"))), "a lenient server may take one URI for a list");
    assert!(!passes(&guard, &listen(json!({"0": "secrets://b"}))));
    let beside =
        json!({"notifications": {"resourceSubscriptions": ["notes://a"]}, "resourceSubscriptions": ["secrets://b"]});
    assert!(!passes(
        &guard,
        &call(json!({"method": "subscriptions/listen", "version": "2026-07-28", "params": beside}))
    ));
}

#[test]
fn an_overflow_in_a_policy_denies_and_the_log_names_the_policy_but_no_value() {
    let guard = guard(&format!("@id(\"sum\") {PAY} when {{ context.args has count && context.args.count + 1 > 0 }};"));
    let denial = denied(&guard, &call_raw("pay", r#"{"count":9223372036854775807}"#));
    assert_eq!(denial.code, DenialCode::PolicyError);
    assert_eq!(denial.detail, "policies failed: `sum`: integer overflow");
}

#[test]
fn completion_of_a_hidden_prompt_is_refused_like_the_prompt_i6() {
    let guard = guard(
        r#"permit (principal, action == Mcp::Action::"completion/complete", resource);
        permit (principal, action == Mcp::Action::"prompts/get", resource) when { context.name == "open" };"#,
    );
    let complete = |reference: serde_json::Value| {
        call(
            json!({"method": "completion/complete", "params": {"ref": reference, "argument": {"name": "a", "value": ""}}}),
        )
    };
    assert!(passes(&guard, &complete(json!({"type": "ref/prompt", "name": "open"}))));
    assert_eq!(denied(&guard, &complete(json!({"type": "ref/prompt", "name": "secret"}))).manner, Manner::Unknown);
    assert!(!passes(&guard, &complete(json!({"type": "ref/resource", "uri": "file:///{x}"}))));
}

/// I1: what the server need not be told that the client can do. Anything that some request could get must not be among it.
#[test]
fn a_question_is_ruled_out_only_if_no_params_could_make_it_pass() {
    let never = |text: &str, method: &str| guard(text).never_permits(&call(json!({"tool": "pay"})), method);
    let open = "permit (principal, action, resource);";
    assert!(!never(open, "sampling/createMessage"));
    assert!(never("permit (principal, action in Mcp::Action::\"tools/call\", resource);", "sampling/createMessage"));
    let no_sampling =
        format!(r#"{open} forbid (principal, action == Mcp::Action::"sampling/createMessage", resource);"#);
    assert!(never(&no_sampling, "sampling/createMessage") && !never(&no_sampling, "roots/list"));
    let some_hosts = format!(
        r#"{open} forbid (principal, action == Mcp::Action::"elicitation/create", resource)
        unless {{ context.mode == "url" && context has host && context.host == "accounts.example.com" }};"#
    );
    assert!(!never(&some_hosts, "elicitation/create"));
    let busy = format!(
        r#"{open} forbid (principal, action == Mcp::Action::"roots/list", resource) when {{ context has session && context.session.calls > 5 }};"#
    );
    assert!(!never(&busy, "roots/list"), "not yet");
}
