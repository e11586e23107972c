//! Chains: what any agent that a request went through may not do, the request may not do.

use bytes::Bytes;
use portcullis_core::guard::Sight;
use portcullis_core::wire::Message;

use super::*;

const AGENTS: &str = r#"
    @id("everybody") permit (principal, action, resource);
    @id("readers-read") forbid (principal in Mcp::Group::"readers", action in Mcp::Action::"tools/call", resource)
    unless { context.tool has readOnly && context.tool.readOnly };"#;

fn through(tool: &str, chain: serde_json::Value) -> Call {
    call(json!({"tool": tool, "caller": {"name": "gateway"}, "chain": chain}))
}

#[test]
fn what_an_agent_of_the_chain_may_not_do_nobody_does_through_it() {
    let guard = guard(AGENTS);
    let chain = json!([{"agent": "planner"}, {"agent": "reader", "groups": ["readers"]}]);
    assert!(passes(&guard, &through("pay", json!([]))));
    assert!(passes(&guard, &through("pay", json!([{"agent": "planner"}]))));
    assert!(passes(&guard, &through("read-note", chain.clone())));
    let denial = denied(&guard, &through("pay", chain));
    assert_eq!(denial.code, DenialCode::Proof(ProofFailure::ChainDenied));
    assert_eq!(denial.public, "somebody whom this request went through may not do this", "nobody is named");
    assert_eq!(denial.detail, "entry 1, `agent:reader`: forbidden: a forbid is satisfied");
    assert_eq!(denial.policies.iter().map(|id| &**id).collect::<Vec<_>>(), ["readers-read"]);
    assert_eq!(denial.challenge, None, "more proof would not help (F18)");
}

#[test]
fn no_agent_lends_the_caller_what_it_may_not_do_itself() {
    let guard = guard(r#"permit (principal == Mcp::Caller::"agent:planner", action, resource);"#);
    let denial = denied(&guard, &through("pay", json!([{"agent": "planner"}])));
    assert_eq!((denial.code, denial.detail.as_str()), (DenialCode::NotPermitted, "no permit is satisfied"));
}

#[test]
fn nobody_permitted_an_agent_that_no_policy_knows() {
    let guard = guard(r#"permit (principal == Mcp::Caller::"gateway", action, resource);"#);
    assert!(passes(&guard, &through("pay", json!([]))));
    assert_eq!(
        denied(&guard, &through("pay", json!([{"agent": "x"}]))).code,
        DenialCode::Proof(ProofFailure::ChainDenied)
    );
}

#[test]
fn each_agent_is_judged_with_its_own_groups_and_tags() {
    let guard = guard(
        r#"permit (principal == Mcp::Caller::"gateway", action, resource);
        permit (principal in Mcp::Group::"robots", action, resource)
        when { principal.proof == "chain" && principal.hasTag("team") && principal.getTag("team").contains("office") };"#,
    );
    let agent = |groups: &[&str], team: &str| json!([{"agent": "a", "groups": groups, "attributes": {"team": [team]}}]);
    assert!(passes(&guard, &through("pay", agent(&["robots"], "office"))));
    assert!(!passes(&guard, &through("pay", agent(&["robots"], "lab"))));
    assert!(!passes(&guard, &through("pay", agent(&[], "office"))));
    assert!(!passes(&guard, &through("pay", json!([{"agent": "a", "groups": ["robots"]}]))));
    assert!(passes(&guard, &through("pay", agent(&["robots"], "office"))), "as before");
}

#[test]
fn an_agent_that_is_not_verified_is_no_principal_but_policies_see_it() {
    let loose = guard(r#"permit (principal == Mcp::Caller::"gateway", action, resource);"#);
    let chain = json!([{"agent": "stranger", "verified": false}]);
    assert!(passes(&loose, &through("pay", chain.clone())));
    let strict = guard(
        r#"permit (principal == Mcp::Caller::"gateway", action, resource);
        @id("signed") forbid (principal, action, resource) unless { context.chain.verified };"#,
    );
    let denial = denied(&strict, &through("pay", chain));
    assert_eq!(denial.code, DenialCode::Forbidden);
    assert!(passes(&strict, &through("pay", json!([]))), "no chain is a verified one");
}

#[test]
fn what_an_agent_may_never_use_is_hidden_like_what_does_not_exist() {
    let guard = guard(
        r#"permit (principal == Mcp::Caller::"gateway", action, resource);
        permit (principal == Mcp::Caller::"agent:a", action == notes::Action::"read-note", resource);
        permit (principal == Mcp::Caller::"agent:a", action == notes::Action::"pay", resource)
        when { context.args.recipient == "bob" };
        permit (principal, action == Mcp::Action::"tools/list", resource);"#,
    );
    let chain = json!([{"agent": "a"}]);
    assert_eq!(denied(&guard, &through("list_notes", chain.clone())).manner, Manner::Unknown);
    assert_eq!(denied(&guard, &through("nothing", chain.clone())).manner, Manner::Unknown);
    assert!(passes(&guard, &through("read-note", chain.clone())));
    // Visible, and refused for its arguments only.
    let eve = json!({"tool": "pay", "arguments": {"recipient": "eve", "amount": 1}, "caller": {"name": "gateway"}, "chain": chain});
    assert_eq!(denied(&guard, &call(eve)).manner, Manner::Correctable);

    let list = |chain: &serde_json::Value| {
        let asked = call(json!({"method": "tools/list", "caller": {"name": "gateway"}, "chain": chain}));
        let reply = r#"{"jsonrpc":"2.0","id":1,"result":{"tools":[{"name":"list_notes"},{"name":"read-note"},{"name":"pay"}]}}"#;
        let reply = Message::read(Bytes::from_static(reply.as_bytes()), Direction::ToClient, &Limits::default());
        match guard.watch(&asked).unwrap().see(&reply.unwrap()) {
            Sight::Keep => "all".to_owned(),
            Sight::Replace(message, _) => String::from_utf8(message.bytes().to_vec()).unwrap(),
            other => panic!("{other:?}"),
        }
    };
    let shown = r#"{"jsonrpc":"2.0","id":1,"result":{"tools":[{"name":"read-note"},{"name":"pay"}]}}"#;
    let none = r#"{"jsonrpc":"2.0","id":1,"result":{"tools":[]}}"#;
    // In turns: nobody is shown what was remembered for another chain.
    for _ in 0..2 {
        assert_eq!(list(&json!([])), "all");
        assert_eq!(list(&chain), shown);
        assert_eq!(list(&json!([{"agent": "a"}, {"agent": "b"}])), none);
        assert_eq!(list(&json!([{"agent": "a", "verified": false}])), "all");
    }
}

#[test]
fn a_question_about_an_agent_holds_the_call_and_the_operators_word_goes_first() {
    let guard = guard(
        r#"permit (principal, action, resource);
        @ask("caller") forbid (principal in Mcp::Group::"new", action, resource);
        @ask("operator") forbid (principal in Mcp::Group::"odd", action, resource);
        forbid (principal in Mcp::Group::"bad", action, resource);"#,
    );
    let (new, odd, bad) = (
        json!({"agent": "n", "groups": ["new"]}),
        json!({"agent": "o", "groups": ["odd"]}),
        json!({"agent": "b", "groups": ["bad"]}),
    );
    let asks = |chain: serde_json::Value| match guard.check(&through("pay", chain)) {
        Decision::Hold(denial) => denial.detail,
        other => panic!("{other:?}"),
    };
    assert_eq!(asks(json!([new])), "ask: caller");
    assert_eq!(asks(json!([new, odd])), "ask: operator");
    assert_eq!(asks(json!([odd, new])), "ask: operator");
    assert_eq!(
        denied(&guard, &through("pay", json!([new, bad, odd]))).code,
        DenialCode::Proof(ProofFailure::ChainDenied)
    );
}

#[test]
fn the_log_names_the_policies_that_permitted_each_of_them() {
    let guard = guard(
        r#"@id("b") permit (principal == Mcp::Caller::"gateway", action, resource);
        @id("a") permit (principal == Mcp::Caller::"agent:a", action, resource);
        @id("all") permit (principal, action == notes::Action::"pay", resource);"#,
    );
    match guard.check(&through("pay", json!([{"agent": "a"}]))) {
        Decision::Pass(pass) => {
            assert_eq!(pass.policies.unwrap().iter().map(|id| &**id).collect::<Vec<_>>(), ["a", "all", "b"]);
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn no_other_method_leads_around_an_agents_limits() {
    let guard = guard(
        r#"permit (principal, action, resource);
        forbid (principal == Mcp::Caller::"agent:a", action, resource)
        when { action == Mcp::Action::"resources/subscribe" || action == Mcp::Action::"prompts/get" || action == Mcp::Action::"sampling/createMessage" };"#,
    );
    for mut case in [
        json!({"method": "subscriptions/listen", "params": {"notifications": {"resourceSubscriptions": ["file:///x"]}}}),
        json!({"method": "completion/complete", "params": {"ref": {"type": "ref/prompt", "name": "p"}, "argument": {}}}),
        json!({"method": "sampling/createMessage"}),
    ] {
        assert!(passes(&guard, &call(case.clone())), "{case}");
        case["chain"] = json!([{"agent": "a"}]);
        assert!(!passes(&guard, &call(case.clone())), "{case}");
        let never = guard.never_permits(&call(case), "sampling/createMessage");
        assert!(never, "the server is not told of what no request of its could get");
    }
}
