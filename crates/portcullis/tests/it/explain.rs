//! `portcullis explain`: every step of a saved message, without a gateway.

use crate::support::{Ended, Folder, TOOLS, run};

const POLICY: &str = "\
@id(\"payments\")
permit (principal in Mcp::Group::\"finance\", action == server::Action::\"pay\", resource);

@id(\"small\")
@reason(\"Ask the finance team.\")
forbid (principal, action == server::Action::\"pay\", resource)
when { context.args.amount > 100 };
";

fn explain(message: &str, more: &[&str]) -> Ended {
    let folder = Folder::new();
    folder.write("policy.cedar", POLICY);
    folder.write("tools.json", TOOLS);
    folder.write("message.json", message);
    let mut args = vec!["explain", "message.json", "--policy", "policy.cedar", "--catalogue", "tools.json"];
    args.extend_from_slice(more);
    run(&folder, &args)
}

fn pay(amount: &str) -> String {
    format!(
        r#"{{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{{"name":"pay","arguments":{{"amount":{amount}}}}}}}"#
    )
}

#[test]
fn a_permitted_call_is_cleared_and_says_by_which_policy() {
    let ended = explain(&pay("20"), &["--caller", "ana", "--group", "finance"]);
    assert_eq!(ended.code, 0, "{ended:?}");
    for text in [
        "request `tools/call` of `pay`, id 1",
        "legacy (2025-11-25)",
        "caller `ana`",
        "permitted by payments",
        "not satisfied",
        "cleared:",
    ] {
        assert!(ended.out.contains(text), "{text}: {}", ended.out);
    }
}

#[test]
fn a_refused_call_shows_what_the_caller_reads_and_which_policy_decided() {
    let ended = explain(&pay("2000"), &["--caller", "ana", "--group", "finance"]);
    assert_eq!(ended.code, 1, "{ended:?}");
    for text in
        ["deny, forbidden", "forbid `small`", "policy.cedar:4: satisfied", "Ask the finance team.", "as a tool result"]
    {
        assert!(ended.out.contains(text), "{text}: {}", ended.out);
    }
}

#[test]
fn arguments_that_the_tool_does_not_take_are_refused() {
    let ended = explain(&pay("\"lots\""), &["--caller", "ana", "--group", "finance"]);
    assert_eq!(ended.code, 1, "{ended:?}");
    assert!(ended.out.contains("arguments (content, enforce)"), "{}", ended.out);
}

#[test]
fn a_caller_outside_the_group_finds_no_such_tool() {
    let ended = explain(&pay("20"), &["--caller", "bob"]);
    assert_eq!(ended.code, 1, "{ended:?}");
    assert!(ended.out.contains("as if it did not exist"), "{}", ended.out);
}

#[test]
fn a_malformed_message_is_refused_by_the_reader_with_its_code() {
    let ended = explain(r#"{"jsonrpc":"2.0","id":1,"method":"ping","id":2}"#, &[]);
    assert_eq!(ended.code, 1, "{ended:?}");
    assert!(ended.out.contains("duplicate_key"), "{}", ended.out);
}

#[test]
fn the_modern_era_is_recognised_by_what_the_message_says() {
    let meta = r#""_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientCapabilities":{}}"#;
    let message = format!(r#"{{"jsonrpc":"2.0","id":1,"method":"tools/list","params":{{{meta}}}}}"#);
    let ended = explain(&message, &[]);
    assert!(ended.out.contains("modern (2026-07-28)"), "{}", ended.out);
}

#[test]
fn what_cannot_be_read_ends_with_2() {
    let folder = Folder::new();
    assert_eq!(run(&folder, &["explain", "none.json"]).code, 2);
    folder.write("m.json", "{}");
    assert_eq!(run(&folder, &["explain", "m.json", "--protocol", "1999-01-01"]).code, 1, "the reader comes first");
    folder.write("m.json", &pay("1"));
    assert_eq!(run(&folder, &["explain", "m.json", "--protocol", "1999-01-01"]).code, 2);
}
