#![expect(clippy::disallowed_methods, reason = "one test prints how long decisions take")]

use cedar_policy::{AuthorizationError, Authorizer, Decision, PolicyId};
use portcullis_core::call::Call;
use proptest::prelude::*;
use serde_json::json;

mod remembered;

use super::*;
use crate::mentions::Needs;
use crate::testing::{call, call_in, catalogue};

const PRINCIPALS: [&str; 6] = [
    "principal",
    "principal == Mcp::Caller::\"c0\"",
    "principal in Mcp::Group::\"g0\"",
    "principal is Mcp::Caller",
    "principal is Mcp::Caller in Mcp::Group::\"g1\"",
    "principal is Mcp::Server",
];
const ACTIONS: [&str; 9] = [
    "action",
    "action == notes::Action::\"pay\"",
    "action == Mcp::Action::\"tools/call\"",
    "action in Mcp::Action::\"tools/call\"",
    "action in [Mcp::Action::\"server:notes\", Mcp::Action::\"read\"]",
    "action in Mcp::Action::\"server:other\"",
    "action in notes::Action::\"read-note\"",
    "action == Mcp::Action::\"tools/list\"",
    "action in [notes::Action::\"pay\", Mcp::Action::\"protocol\"]",
];
const RESOURCES: [&str; 3] =
    ["resource", "resource == Mcp::Server::\"notes\"", "resource is Mcp::Server in Mcp::Server::\"other\""];
/// Some of them fail on some calls, which must come out the same too.
const CONDITIONS: [&str; 29] = [
    "true",
    "context.args.recipient == \"bob\"",
    "context has args && context.args has recipient && context.args.recipient == \"eve\"",
    "context has args && context.args has to && context.args.to.iban like \"D*\"",
    "context has session && context.session.calls > 3",
    "context.session.toolCalls < 2",
    "context.now > datetime(\"2026-01-01T12:00:00Z\")",
    "context.tool has readOnly && context.tool.readOnly",
    "context has tool && !(context.tool.destructive)",
    "principal.name == \"c1\" && context.args.count + 1 > 2",
    "principal has nothing && principal.nothing",
    "principal.nothing == 1",
    "context.method like \"tools/*\" || context.args.urgent",
    "if context has args then context.args has tags && context.args.tags.contains(\"a\") else context.direction == \"to_server\"",
    "!(context has session && context.session.calls > 3 || context.name == \"pay\")",
    "action in Mcp::Action::\"tools/call\" && resource.name == \"notes\"",
    "principal has issuer && principal.issuer == \"https://i\"",
    "principal.client == \"app\"",
    "principal.scopes.contains(\"read\")",
    "principal.hasTag(\"team\") && principal.getTag(\"team\").contains(\"a\")",
    "principal.getTag(\"team\").contains(\"a\")",
    "principal has spiffe || principal.actors.contains(\"svc\")",
    "context.client has address && context.client.address.isInRange(ip(\"10.0.0.0/8\"))",
    "context.client.secure && !context.client.viaProxy",
    "context has agent && context.agent.groups.contains(\"bots\")",
    "context.agent.name == \"i:bot\" && context.agent.attributes.contains(\"team=a\")",
    "context has signature && context.signature.workload == \"w\"",
    "context.chain.verified && context.chain.length < 2",
    "context.chain.agents.contains(\"agent:a1\")",
];

fn policy(among: &'static [&'static str]) -> impl Strategy<Value = String> {
    let condition = || (any::<bool>(), 0..among.len());
    (any::<bool>(), 0..PRINCIPALS.len(), 0..ACTIONS.len(), 0..RESOURCES.len(), prop::collection::vec(condition(), 0..3))
        .prop_map(|(permit, principal, action, resource, conditions)| {
            let effect = if permit { "permit" } else { "forbid" };
            let mut text =
                format!("{effect} ({}, {}, {})", PRINCIPALS[principal], ACTIONS[action], RESOURCES[resource]);
            for (when, condition) in conditions {
                text.push_str(&format!(" {} {{ {} }}", if when { "when" } else { "unless" }, among[condition]));
            }
            text.push(';');
            text
        })
}

/// What requests prove, in a few ways.
fn proven() -> impl Strategy<Value = serde_json::Value> {
    let one_of = |values: serde_json::Value| prop::sample::select(values.as_array().unwrap().clone());
    let caller = one_of(json!([
        {}, {}, {"issuer": "https://i", "client": "app", "scopes": ["read", "write"]}, {"issuer": "https://j", "scopes": ["write"]},
        {"attributes": {"team": ["a", "b"]}, "actors": ["svc"]}, {"attributes": {"team": ["b"]}, "spiffe": "spiffe://x/y"},
        {"attributes": {"team=": ["a"]}},
    ]));
    let client = one_of(json!([
        {}, {"address": "10.1.2.3", "secure": true}, {"address": "::ffff:10.1.2.3", "viaProxy": true, "secure": true},
        {"address": "2001:db8::1", "host": "h"}, {"address": "11.0.0.0"},
    ]));
    let agent = one_of(json!([
        null, {"name": "i:bot", "issuer": "i", "groups": ["bots"]}, {"name": "i:bot", "issuer": "i", "attributes": {"team": ["a"]}},
    ]));
    let signature =
        one_of(json!([null, {"keyId": "k", "workload": "w"}, {"keyId": "k", "workload": "v", "ephemeral": true}]));
    let chain = one_of(json!([
        [], [{"agent": "a1"}], [{"agent": "a1", "verified": false}], [{"agent": "a2"}, {"agent": "a1"}], [{"agent": "a1"}, {"agent": "a2"}],
    ]));
    (caller, client, agent, signature, chain).prop_map(|(caller, client, agent, signature, chain)| {
        json!({"caller": caller, "client": client, "agent": agent, "signature": signature, "chain": chain})
    })
}

/// `case` with what the request proved.
fn with_proofs(mut case: serde_json::Value, proven: serde_json::Value) -> serde_json::Value {
    let serde_json::Value::Object(mut proven) = proven else { panic!("not an object") };
    let caller = proven.remove("caller").unwrap();
    case["caller"].as_object_mut().unwrap().extend(caller.as_object().unwrap().clone());
    case.as_object_mut().unwrap().extend(proven);
    case
}

fn request() -> impl Strategy<Value = Call> {
    let arguments = prop_oneof![
        Just(json!({"recipient": "bob", "count": 5, "tags": ["a", "b"], "urgent": true})),
        Just(json!({"recipient": "eve", "to": {"iban": "DE1"}, "count": i64::MAX})),
        Just(json!({"amount": 1.5, "tags": [], "urgent": false})),
    ];
    let case = (
        0..3_usize,
        prop::sample::subsequence(vec!["g0", "g1", "g2"], 0..=3),
        0..4_usize,
        arguments,
        prop::option::of(0..6_u64),
        any::<bool>(),
        proven(),
    );
    case.prop_map(|(caller, groups, what, arguments, calls, late, proven)| {
        let mut case = json!({"caller": {"name": format!("c{caller}"), "groups": groups}});
        match what {
            0 => (case["tool"], case["arguments"]) = (json!("pay"), arguments),
            1 => (case["tool"], case["arguments"]) = (json!("read-note"), json!({"path": "x"})),
            2 => case["method"] = json!("tools/list"),
            _ => case["method"] = json!("ping"),
        }
        if let Some(calls) = calls {
            case["session"] = json!({"calls": calls, "toolCalls": calls / 2});
        }
        if late {
            case["now"] = json!("2026-06-01T00:00:00Z");
        }
        call(with_proofs(case, proven))
    })
}

/// Every policy as written, with the whole context and everything about the caller: what Cedar's own authorizer says.
fn by_the_full_set(judge: &Judge, text: &str, prepared: &Prepared, call: &Call) -> Outcome {
    let facts = Facts::of_call(call);
    let everything = Needs { whole: true, inner: std::collections::BTreeMap::new() };
    let types = call.tool().map(|tool| judge.types_of(tool));
    let context = match build(&facts, &everything, types.as_deref()) {
        Ok(context) => cedar_policy::Context::from(context),
        Err(unfit) => return Outcome::Unfit(unfit),
    };
    let uid = |entry: &EntityUIDEntry| EntityUid::from(entry.uid().unwrap().clone());
    let Prepared { principal, action, resource, entities, .. } = prepared;
    let request = cedar_policy::Request::new(uid(principal), uid(action), uid(resource), context, None).unwrap();
    let response = Authorizer::new().is_authorized(&request, &text.parse().unwrap(), entities);
    let number = |id: &PolicyId| -> usize { id.to_string().strip_prefix("policy").unwrap().parse().unwrap() };
    let errors = response.diagnostics().errors();
    let failed: Vec<_> = errors
        .map(|AuthorizationError::PolicyEvaluationError(error)| {
            (number(error.policy_id()), tally::kind_of(error.inner()))
        })
        .collect();
    let mut reasons: Vec<usize> = response.diagnostics().reason().map(number).collect();
    reasons.sort_by_key(|number| judge.id(*number));
    match response.decision() {
        _ if !failed.is_empty() => Outcome::Failed(failed),
        Decision::Allow => Outcome::Permitted(reasons.iter().map(|number| judge.id(*number)).collect()),
        Decision::Deny if reasons.is_empty() => Outcome::NotPermitted,
        Decision::Deny => Outcome::Forbidden(reasons),
    }
}

/// Errors come in no particular order.
fn sorted(outcome: Outcome) -> Outcome {
    match outcome {
        Outcome::Failed(mut failed) => {
            failed.sort_unstable();
            Outcome::Failed(failed)
        }
        other => other,
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_slice_decides_like_cedar_with_the_full_set(policies in prop::collection::vec(policy(&CONDITIONS), 0..8), calls in prop::collection::vec(request(), 1..4)) {
        let text = policies.join("\n");
        let judge = Judge::new(Arc::new(Policies::unchecked(&text)), Limits::default());
        for call in calls {
            let facts = Facts::of_call(&call);
            let prepared = judge.prepare(&facts).unwrap();
            let sliced = judge.decide(&prepared, &facts);
            prop_assert_eq!(sorted(sliced), sorted(by_the_full_set(&judge, &text, &prepared, &call)));
        }
    }

    #[test]
    fn whatever_is_permitted_with_some_arguments_is_visible(policies in prop::collection::vec(policy(&CONDITIONS), 1..8), calls in prop::collection::vec(request(), 1..6)) {
        let judge = Judge::new(Arc::new(Policies::unchecked(&policies.join("\n"))), Limits::default());
        for call in calls {
            let facts = Facts::of_call(&call);
            let prepared = judge.prepare(&facts).unwrap();
            if matches!(judge.decide(&prepared, &facts), Outcome::Permitted(_)) {
                prop_assert!(judge.look(&facts, Unknown::Call).visible);
                prop_assert!(judge.look(&facts, Unknown::Subject).visible);
            }
            // And through a chain, when everybody in it may.
            if matches!(judge.check(&facts), portcullis_core::guard::Decision::Pass(_)) {
                prop_assert!(judge.visible(&facts, Unknown::Call));
                prop_assert!(judge.visible(&facts, Unknown::Subject));
            }
        }
    }
}

#[test]
fn a_thousand_policies_cost_what_the_relevant_few_cost() {
    let mut text = String::from("permit (principal, action, resource);\n");
    for number in 0..1000 {
        text.push_str(&format!(
            "forbid (principal == Mcp::Caller::\"c{number}\", action == notes::Action::\"pay\", resource) when {{ context.args.a{number} == 1 }};\n\
             forbid (principal, action == notes::Action::\"tool{number}\", resource);\n"
        ));
    }
    let judge = Judge::new(Arc::new(Policies::unchecked(&text)), Limits::default());
    let look = |case: serde_json::Value| {
        let call = call(case);
        let prepared = judge.prepare(&Facts::of_call(&call)).unwrap();
        (prepared.full.rules.len(), prepared.full.needs.inner.len())
    };
    assert_eq!(judge.policies.entries.len(), 2001);
    assert_eq!(look(json!({"tool": "list_notes"})), (1, 0));
    assert_eq!(look(json!({"method": "tools/list"})), (1, 0));
    assert_eq!(look(json!({"tool": "pay", "caller": {"name": "c7"}})), (2, 1));
    assert_eq!(look(json!({"tool": "tool9"})), (2, 0));
}

#[test]
fn one_caller_never_gets_what_was_remembered_for_another() {
    let judge = Judge::new(
        Arc::new(Policies::unchecked(
            "permit (principal in Mcp::Group::\"g0\", action, resource) when { principal.proof == \"api_key\" };",
        )),
        Limits::default(),
    );
    let decide = |case: serde_json::Value| {
        let call = call(case);
        let facts = Facts::of_call(&call);
        let prepared = judge.prepare(&facts).unwrap();
        matches!(judge.decide(&prepared, &facts), Outcome::Permitted(_))
    };
    for _ in 0..2 {
        assert!(decide(json!({"method": "ping", "caller": {"name": "a", "groups": ["g0"]}})));
        assert!(!decide(json!({"method": "ping", "caller": {"name": "a", "groups": ["g1"]}})));
        assert!(!decide(json!({"method": "ping"})));
        assert!(!decide(json!({"method": "ping", "caller": {"name": "anonymous"}})));
    }
}

#[test]
fn the_memory_of_prepared_requests_is_bounded() {
    let bounded = Bounded::new(64);
    for number in 0..100_000_u32 {
        let value = bounded.get_or_insert(&number, |known| *known == number, || (number, number));
        assert_eq!(value, number);
    }
    assert!(bounded.len() <= 64);
}

#[test]
fn what_was_remembered_under_the_same_hash_for_another_key_is_not_given_out() {
    let bounded = Bounded::new(64);
    let same_hash = ();
    for key in ["a", "b", "a"] {
        assert_eq!(bounded.get_or_insert(&same_hash, |known| *known == key, || (key, key)), key);
    }
    let remembered = bounded.get_or_insert(&same_hash, |known| *known == "a", || ("made", "made"));
    assert_eq!(remembered, "a");
}

#[test]
fn types_of_a_definition_that_is_gone_are_never_those_of_another() {
    let judge = Judge::new(Arc::new(Policies::unchecked("permit (principal, action, resource);")), Limits::default());
    for number in 0..200 {
        let tools = json!([{"name": "t", "inputSchema": {"type": "object", "properties": {format!("p{number}"): {"type": "string"}}}}]);
        let catalogue =
            portcullis_core::catalogue::Catalogue::from_saved(tools.to_string().as_bytes(), &Limits::default());
        let tool = Arc::clone(catalogue.unwrap().tool("t").unwrap());
        for _ in 0..2 {
            let Type::Record(record) = &*judge.types_of(&tool) else { panic!("not a record") };
            assert!(record.fields.keys().eq([&format!("p{number}")]));
        }
    }
}

/// Best time of a few calls, in µs: short batches, so that other processes do not get in between.
fn best(mut work: impl FnMut()) -> f64 {
    let mut best = f64::MAX;
    for _ in 0..3000 {
        let start = std::time::Instant::now();
        for _ in 0..10 {
            work();
        }
        best = best.min(start.elapsed().as_secs_f64() / 10.0);
    }
    best * 1e6
}

/// `cargo test --release -p portcullis-policy -- --ignored --nocapture costs`: time per decision.
#[test]
#[ignore = "prints times; decides nothing"]
fn costs() {
    let text = r#"@id("pay") permit (principal in Mcp::Group::"g0", action == notes::Action::"pay", resource)
        when { context.args.amount.lessThan(decimal("100.0")) && context.args.recipient like "b*" && context.args has count && context.args.count < 9
               && context.args has urgent && !context.args.urgent && context.args has tags && context.args.tags.contains("a") };
        permit (principal, action == Mcp::Action::"ping", resource);
        permit (principal, action == notes::Action::"read-note", resource) when { context.args.path like "a*" };
        forbid (principal, action in Mcp::Action::"tools/call", resource) when { context.tool has destructive && context.tool.name == "x" };"#;
    let judge = Judge::new(Arc::new(Policies::unchecked(text)), Limits::default());
    let arguments = json!({"amount": 12.5, "recipient": "bob", "count": 3, "urgent": false, "tags": ["a", "b"]});
    let caller = json!({"name": "c", "groups": ["g0"]});
    let pay = call_in(json!({"tool": "pay", "arguments": arguments, "caller": caller}), Some(&catalogue()));
    let read = call(json!({"tool": "read-note", "arguments": {"path": "abc"}}));
    for (name, call) in [("5 arguments", pay), ("1 argument", read), ("ping", call(json!({"method": "ping"})))] {
        let facts = Facts::of_call(&call);
        let prepared = judge.prepare(&facts).unwrap();
        let types = facts.tool.map(|tool| judge.types_of(tool));
        let make = || judge.evaluate(&prepared, &prepared.full, &facts);
        let context = || build(&facts, &prepared.full.needs, types.as_deref()).unwrap();
        let ready = context();
        println!(
            "{name}: remembered {:.2} µs, of it facts {:.2}, prepare {:.2}; made {:.2}, of it context {:.2}, Cedar {:.2}",
            best(|| assert!(matches!(judge.check(&Facts::of_call(&call)), portcullis_core::guard::Decision::Pass(_)))),
            best(|| assert!(Facts::of_call(&call).params.is_some())),
            best(|| assert!(judge.prepare(&facts).is_some())),
            best(|| assert!(matches!(make(), Outcome::Permitted(_)))),
            best(|| drop(context())),
            best(|| assert!(!ask_cedar(&prepared, &prepared.full, ready.clone()).permits.is_empty())),
        );
    }
}
