//! What is remembered, and what must keep two decisions apart. Evaluations are counted, so that no test depends on time.

use portcullis_core::catalogue::Catalogue;
use portcullis_core::version::Version;
use serde_json::Value;

use super::super::key::MOST_ARGUMENTS;
use super::*;
use crate::testing::{TOOLS, call_raw, passes, with_context};

/// Looks at arguments, tools, versions and the presence of sessions, some of it deep and some of it wrongly.
const CONDITIONS: [&str; 19] = [
    "context.args.recipient == \"bob\"",
    "context has args && context.args has recipient && context.args.recipient like \"b*\"",
    "context.args has to",
    "context.args has to && context.args.to.iban == \"DE1\"",
    "context.args has to.name && context.args.to.name == \"x\"",
    "context.args has count && context.args.count < 2",
    "context.args has note",
    "context.args has tags && context.args.tags.contains(\"a\")",
    "context.tool has readOnly && context.tool.readOnly",
    "context has session",
    "context has session && context.session.calls > 2",
    "context.now > datetime(\"2026-01-01T12:00:00Z\") && context.args has note",
    "context.era == \"modern\" || context.name == \"pay\"",
    "principal.scopes.contains(\"read\") || principal has issuer && principal.issuer == \"https://j\"",
    "principal.hasTag(\"team\") && principal.getTag(\"team\").contains(\"a\")",
    "context.client has address && context.client.address.isInRange(ip(\"10.0.0.0/8\")) && !context.client.viaProxy",
    "context has agent && context.agent.attributes.contains(\"team=a\")",
    "context has signature && !context.signature.ephemeral",
    "context.chain.agents.contains(\"agent:a1\") && context.chain.verified",
];

/// Calls that differ in as little as possible.
fn similar() -> impl Strategy<Value = Call> {
    let one_of = |values: Value| prop::sample::select(values.as_array().unwrap().clone());
    let arguments = (
        one_of(json!(["absent", null, "bob", "eve", "", 1])),
        one_of(json!(["absent", null, 1, 1.0, 2, "1"])),
        one_of(
            json!(["absent", null, {}, {"iban": "DE1"}, {"iban": "DE1", "name": "x"}, {"iban": "DE1", "name": "y"}, "DE1", ["DE1"]]),
        ),
        one_of(json!(["absent", [], ["a"], ["a", "b"], "a"])),
        one_of(json!(["absent", null, "n"])),
    );
    (0..2_usize, any::<bool>(), arguments, prop::option::of(0..5_u64), any::<bool>(), any::<bool>(), proven()).prop_map(
        |(caller, staff, (recipient, count, to, tags, note), calls, modern, other, proven)| {
            let mut arguments = json!({"recipient": recipient, "count": count, "to": to, "tags": tags, "note": note});
            arguments.as_object_mut().unwrap().retain(|_, value| *value != "absent");
            let groups = if staff { vec!["g0"] } else { Vec::new() };
            let mut case = json!({"tool": "pay", "arguments": arguments, "caller": {"name": format!("c{caller}"), "groups": groups}});
            if let Some(calls) = calls {
                case["session"] = json!({"calls": calls});
            }
            let call = call(with_proofs(case, proven));
            with_context(&call, |context| {
                if modern {
                    context.version = Version::LATEST_MODERN;
                }
                if other {
                    context.catalogue = tools_where("destructiveHint", "readOnlyHint").into();
                }
            })
        },
    )
}

/// The tools of the test server, written otherwise in one place.
fn tools_where(is: &str, becomes: &str) -> Arc<Catalogue> {
    assert!(TOOLS.contains(is));
    Arc::new(Catalogue::from_saved(TOOLS.replace(is, becomes).as_bytes(), &Limits::default()).unwrap())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 128, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn what_is_remembered_is_what_would_be_said(
        policies in prop::collection::vec(policy(&CONDITIONS), 1..6),
        calls in prop::collection::vec(prop_oneof![3 => similar(), 1 => request()], 1..24),
    ) {
        let judge = Judge::new(Arc::new(Policies::unchecked(&policies.join("\n"))), Limits::default());
        for call in calls.iter().chain(&calls) {
            let facts = Facts::of_call(call);
            let prepared = judge.prepare(&facts).unwrap();
            prop_assert_eq!(judge.decide(&prepared, &facts), judge.evaluate(&prepared, &prepared.full, &facts));
            let without = judge.policies.slice(View::WithoutAsk, &prepared.candidates);
            prop_assert_eq!(judge.decide_without_ask(&prepared, &facts), judge.evaluate(&prepared, &without, &facts));
        }
    }
}

fn judge_of(conditions: &str) -> Judge {
    let text = format!("permit (principal, action, resource) when {{ {conditions} }};");
    Judge::new(Arc::new(Policies::unchecked(&text)), Limits::default())
}

/// How many of these calls, in this order, had the policies evaluated.
fn evaluated(judge: &Judge, calls: &[Call]) -> usize {
    let before = judge.evaluations.load(Ordering::Relaxed);
    for call in calls {
        let facts = Facts::of_call(call);
        drop(judge.decide(&judge.prepare(&facts).unwrap(), &facts));
    }
    judge.evaluations.load(Ordering::Relaxed) - before
}

fn pay(arguments: &str) -> Call {
    call_raw("pay", arguments)
}

#[test]
fn calls_that_differ_only_in_what_no_policy_mentions_share_one_decision() {
    let judge = judge_of("context.args.recipient == \"bob\" && context.args.to.iban == \"DE1\"");
    let calls = [
        r#"{"recipient":"bob","to":{"iban":"DE1"}}"#,
        r#"{"recipient":"bob","to":{"iban":"DE1"},"note":"x"}"#,
        r#"{"count":7,"recipient":"bob","to":{"name":"n","iban":"DE1"}}"#,
        r#"{ "recipient" : "bob" , "to" : { "iban" : "DE1" } }"#,
    ];
    let calls: Vec<_> =
        calls.map(pay).into_iter().chain([with_context(&pay(calls[0]), |context| context.now.0 += 1)]).collect();
    assert_eq!(evaluated(&judge, &calls), 1);
    assert_eq!(judge.decisions.len(), 1);
}

/// Each is decided twice, in turns, and evaluated once.
#[track_caller]
fn are_kept_apart(conditions: &str, calls: &[Call]) {
    let judge = judge_of(conditions);
    assert_eq!(evaluated(&judge, calls), calls.len(), "a call took another's decision");
    assert_eq!(evaluated(&judge, calls), 0, "a decision was not remembered");
}

#[test]
fn every_spelling_of_a_mentioned_argument_is_judged_by_itself() {
    let calls = [
        "{}",
        r#"{"recipient":"bob"}"#,
        r#"{"recipient":"bo\u0062"}"#,
        r#"{"recipient":"eve"}"#,
        r#"{"recipient":""}"#,
    ];
    are_kept_apart("context.args has recipient && context.args.recipient == \"bob\"", &calls.map(pay));
    let calls = [r#"{"amount":1}"#, r#"{"amount":1.0}"#, r#"{"amount":1e0}"#, r#"{"amount":-1}"#, "{}"];
    are_kept_apart("context.args has amount && context.args.amount.lessThan(decimal(\"5.0\"))", &calls.map(pay));
    let calls = [r#"{"note":null}"#, r#"{"note":"null"}"#, r#"{"note":""}"#, "{}"];
    are_kept_apart("context.args has note && context.args.note == \"\"", &calls.map(pay));
    let calls = [r#"{"to":{"iban":"DE1"}}"#, r#"{"to":{"iban":"DE2"}}"#, r#"{"to":{}}"#, "{}"];
    are_kept_apart("context.args has to.iban && context.args.to.iban == \"DE1\"", &calls.map(pay));
    let calls = [r#"{"tags":["a","b"]}"#, r#"{"tags":["a\",\"b"]}"#, r#"{"tags":[]}"#, r#"{"tags":["ab"]}"#];
    are_kept_apart("context.args.tags.contains(\"a\")", &calls.map(pay));
}

#[test]
fn the_end_of_one_value_is_never_the_start_of_the_next() {
    let calls = [
        r#"{"recipient":"b","note":"c"}"#,
        r#"{"recipient":"bc","note":""}"#,
        r#"{"recipient":"","note":"bc"}"#,
        r#"{"note":"b","recipient":"c"}"#,
        r#"{"to":{"name":"b"},"recipient":"c"}"#,
        r#"{"recipient":"b\",\"note\":\"c"}"#,
        r#"{"recipient":"b"}"#,
        r#"{"note":"b"}"#,
    ];
    are_kept_apart("context.args has recipient && context.args has note && context.args has to.name", &calls.map(pay));
}

#[test]
fn who_calls_and_in_which_groups_keeps_decisions_apart() {
    let by = |caller: Value| call(json!({"tool": "pay", "arguments": {"recipient": "bob"}, "caller": caller}));
    let calls = [
        by(json!({"name": "a", "groups": ["g0"]})),
        by(json!({"name": "a", "groups": ["g1"]})),
        by(json!({"name": "a", "groups": ["g0", "g1"]})),
        by(json!({"name": "a"})),
        by(json!({"name": "b", "groups": ["g0"]})),
        call(json!({"tool": "pay", "arguments": {"recipient": "bob"}})),
    ];
    are_kept_apart("context.args.recipient == \"bob\" && principal in Mcp::Group::\"g0\"", &calls);
}

/// Same name, other facts: nothing prepared or decided for one is ever another's.
#[test]
fn everything_a_policy_can_ask_about_the_caller_keeps_decisions_apart() {
    let by = |extra: Value| {
        let mut caller = json!({"name": "a"});
        caller.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
        call(json!({"tool": "pay", "arguments": {"recipient": "bob"}, "caller": caller}))
    };
    let calls = [
        json!({}),
        json!({"proof": "certificate"}),
        json!({"proof": "token"}),
        json!({"issuer": "https://i"}),
        json!({"issuer": "https://j"}),
        json!({"client": "https://i"}),
        json!({"scopes": ["read"]}),
        json!({"scopes": ["read", "write"]}),
        json!({"actors": ["read"]}),
        json!({"groups": ["read"]}),
        json!({"spiffe": "spiffe://x/y"}),
        json!({"attributes": {"team": ["a"]}}),
        json!({"attributes": {"team": ["a", "b"]}}),
        json!({"attributes": {"team": []}}),
        json!({"attributes": {"teama": []}}),
    ];
    are_kept_apart("context.args.recipient == \"bob\"", &calls.clone().map(by));
    // And where no fact of the call is looked at, which remembers the outcome with the entity.
    let judge = Judge::new(
        Arc::new(Policies::unchecked(
            "permit (principal, action, resource) when { principal.scopes.contains(\"write\") || principal.hasTag(\"teama\") };",
        )),
        Limits::default(),
    );
    let permitted = |call: &Call| {
        let facts = Facts::of_call(call);
        matches!(judge.decide(&judge.prepare(&facts).unwrap(), &facts), Outcome::Permitted(_))
    };
    let calls = calls.map(by);
    for _ in 0..2 {
        let said: Vec<usize> = (0..calls.len()).filter(|at| permitted(&calls[*at])).collect();
        assert_eq!(said, [7, 14]);
    }
}

#[test]
fn what_the_request_proved_keeps_decisions_apart_where_it_is_mentioned() {
    let with = |fact: &str, values: Value| -> Vec<Call> {
        let one = |value: &Value| call(json!({"tool": "pay", fact: value}));
        values.as_array().unwrap().iter().map(one).collect()
    };
    let clients = json!([
        {}, {"secure": true}, {"viaProxy": true}, {"host": "h"}, {"host": ""}, {"address": "10.0.0.1"}, {"address": "10.0.0.2"},
        {"address": "::1"}, {"address": "10.0.0.1", "host": "h"},
    ]);
    let clients = with("client", clients);
    are_kept_apart("context.client.secure", &clients);
    let agents = json!([
        null, {"name": "n", "issuer": "i"}, {"name": "n", "issuer": "j"}, {"name": "ni", "issuer": ""}, {"name": "n", "issuer": "i", "groups": ["g"]},
        {"name": "n", "issuer": "i", "groups": ["g", "h"]}, {"name": "n", "issuer": "i", "attributes": {"g": []}},
        {"name": "n", "issuer": "i", "attributes": {"g": ["h"]}}, {"name": "n", "issuer": "i", "attributes": {"g": [], "h": []}},
    ]);
    are_kept_apart("context has agent && context.agent.name == \"n\"", &with("agent", agents));
    let signatures = json!([
        null, {"keyId": "k", "workload": "w"}, {"keyId": "kw", "workload": ""}, {"keyId": "k", "workload": "w", "ephemeral": true},
        {"keyId": "k", "workload": "w", "sessionScoped": true},
    ]);
    are_kept_apart("context has signature && context.signature.ephemeral", &with("signature", signatures));
    let chains = json!([
        [], [{"agent": "a"}], [{"agent": "a", "verified": false}], [{"agent": "a"}, {"agent": "b"}], [{"agent": "b"}, {"agent": "a"}],
        [{"agent": "ab"}],
    ]);
    are_kept_apart("context.chain.verified", &with("chain", chains));
    assert_eq!(evaluated(&judge_of("context.name == \"pay\""), &clients), 1, "nobody mentioned it");
}

#[test]
fn an_ipv4_address_is_one_however_the_socket_shows_it() {
    let judge = judge_of("context.client.address.isInRange(ip(\"10.0.0.0/8\"))");
    let from = |address: &str| call(json!({"tool": "pay", "client": {"address": address}}));
    let said = |address: &str| {
        let call = from(address);
        let facts = Facts::of_call(&call);
        judge.decide(&judge.prepare(&facts).unwrap(), &facts)
    };
    for inside in ["10.1.2.3", "::ffff:10.1.2.3", "::ffff:a01:203"] {
        assert!(matches!(said(inside), Outcome::Permitted(_)), "{inside}");
    }
    for outside in
        ["11.1.2.3", "::ffff:11.1.2.3", "::10.1.2.3", "2001:db8::10", "::", "::1", "fe80::1", "64:ff9b::a01:203"]
    {
        assert_eq!(said(outside), Outcome::NotPermitted, "{outside}");
    }
    assert_eq!(evaluated(&judge, &[from("10.1.2.3"), from("::ffff:10.1.2.3")]), 0, "the same address");
}

#[test]
fn the_server_and_the_tool_keep_decisions_apart() {
    let read = call(json!({"tool": "read-note", "arguments": {"recipient": "bob"}}));
    let elsewhere = with_context(&pay("{}"), |context| context.server = Arc::from("other"));
    let unknown = |name: &str| call(json!({"tool": name}));
    are_kept_apart(
        "context has name && context.name == \"pay\"",
        &[pay("{}"), read, elsewhere, unknown("x"), unknown("y")],
    );
    let read = |uri: &str| call(json!({"method": "resources/read", "uri": uri}));
    are_kept_apart("context.host == \"a\"", &[read("https://a/x"), read("https://a.b/x"), read("https://b/")]);
}

#[test]
fn a_tool_that_was_defined_anew_is_judged_anew() {
    let old = pay(r#"{"count":1}"#);
    let new =
        |is: &str, becomes: &str| with_context(&old, |context| context.catalogue = tools_where(is, becomes).into());
    let calls = [old.clone(), new(r#""count":{"type":"integer"}"#, r#""count":{"type":"number"}"#)];
    let judge = judge_of("context.args has count && context.args.count < 2");
    let said = calls.each_ref().map(|call| {
        let facts = Facts::of_call(call);
        judge.decide(&judge.prepare(&facts).unwrap(), &facts)
    });
    assert!(matches!(said, [Outcome::Permitted(_), Outcome::Failed(_)]), "{said:?}");
    let conditions = "context.tool has destructive && context.tool.destructive";
    are_kept_apart(
        conditions,
        &[old.clone(), new("\"destructiveHint\":true", "\"destructiveHint\":false"), new("destructiveHint", "x")],
    );
}

#[test]
fn a_definition_at_the_address_of_one_that_is_gone_gets_no_decision_of_it() {
    let judge = judge_of("context.args has count");
    for _ in 0..200 {
        let call = with_context(&pay(r#"{"count":1}"#), |context| context.catalogue = tools_where("pay", "pay").into());
        assert_eq!(evaluated(&judge, &[call.clone(), call.clone()]), 1);
        // Nothing else gets its address while somebody points at it: what remembers types, and what remembers decisions.
        assert_eq!(Arc::weak_count(call.tool().unwrap()), 2);
    }
}

#[test]
fn versions_keep_decisions_apart_where_they_are_mentioned() {
    let modern = with_context(&pay("{}"), |context| context.version = Version::LATEST_MODERN);
    are_kept_apart("context.era == \"legacy\"", &[pay("{}"), modern.clone()]);
    assert_eq!(evaluated(&judge_of("context.method == \"tools/call\""), &[pay("{}"), modern]), 1);
}

#[test]
fn time_and_the_counts_of_a_session_are_looked_at_every_time() {
    let counted = call(json!({"tool": "pay", "session": {"calls": 1}}));
    for (conditions, call) in [
        ("context.now > datetime(\"2020-01-01T00:00:00Z\")", pay("{}")),
        ("context has now", pay("{}")),
        ("context == {}", pay("{}")),
        ("context has something", pay("{}")),
        ("context has session && context.session.calls < 5", counted.clone()),
        ("context has session.calls", counted.clone()),
        ("context has session && context.session == {}", counted.clone()),
    ] {
        let judge = judge_of(conditions);
        assert_eq!(evaluated(&judge, &[call.clone(), call.clone(), call]), 3, "{conditions}");
        assert_eq!(judge.decisions.len(), 0, "{conditions}");
    }
}

#[test]
fn without_a_session_a_limit_on_its_counts_does_not_stand_in_the_way() {
    let guard = crate::testing::guard(
        "permit (principal, action, resource);
         forbid (principal, action in Mcp::Action::\"tools/call\", resource) when { context has session && context.session.toolCalls > 1 };",
    );
    let in_session = |calls: u64| call(json!({"tool": "pay", "session": {"calls": calls}}));
    assert!(passes(&guard, &pay("{}")));
    assert!(passes(&guard, &in_session(1)));
    assert!(!passes(&guard, &in_session(2)));
    assert!(passes(&guard, &pay("{}")));
    assert_eq!(evaluated(guard.judge(), &[pay("{}"), pay("{}")]), 0);
    are_kept_apart("context has session", &[pay("{}"), in_session(1)]);
    assert_eq!(evaluated(&judge_of("context has session"), &[in_session(1), in_session(2)]), 1);
}

#[test]
fn what_one_policy_looks_at_each_time_does_not_have_the_others_asked_again() {
    let judge = Judge::new(
        Arc::new(Policies::unchecked(
            "@id(\"bob\") permit (principal, action, resource) when { context.args has recipient && context.args.recipient == \"bob\" };
             @id(\"late\") permit (principal, action, resource) when { context.args has count && context.now > datetime(\"2020-01-01T00:00:00Z\") };
             forbid (principal, action, resource) when { context.args has note && context.args.note == \"n\" };
             forbid (principal, action, resource) when { context has session && context.session.calls > 2 };",
        )),
        Limits::default(),
    );
    let pay = |arguments: Value, calls: u64| {
        call(json!({"tool": "pay", "arguments": arguments, "session": {"calls": calls}, "now": "2026-01-01T00:00:00Z"}))
    };
    let said = |arguments: Value, calls: u64| {
        let call = pay(arguments, calls);
        let facts = Facts::of_call(&call);
        judge.decide(&judge.prepare(&facts).unwrap(), &facts)
    };
    let permitted = |ids: &[&str]| Outcome::Permitted(ids.iter().copied().map(Arc::from).collect());
    for _ in 0..2 {
        assert_eq!(said(json!({"recipient": "bob"}), 1), permitted(&["bob"]));
        assert_eq!(said(json!({"count": 1}), 1), permitted(&["late"]));
        assert_eq!(said(json!({"recipient": "bob", "count": 1}), 1), permitted(&["bob", "late"]));
        assert_eq!(said(json!({}), 1), Outcome::NotPermitted);
        assert_eq!(said(json!({"recipient": "bob", "note": "n"}), 1), Outcome::Forbidden(vec![2]));
        assert_eq!(said(json!({"recipient": "bob"}), 3), Outcome::Forbidden(vec![3]));
        assert_eq!(said(json!({"recipient": "bob", "note": "n"}), 3), Outcome::Forbidden(vec![2, 3]));
    }
    let calls = [1, 2, 3].map(|calls| pay(json!({"recipient": "eve"}), calls));
    assert_eq!(evaluated(&judge, &calls), 1 + 3, "the steady ones once, the others each time");
    assert_eq!(evaluated(&judge, &calls), 3);
}

#[test]
fn what_could_not_be_judged_is_not_remembered() {
    for (conditions, arguments) in [
        ("context.args.recipient == \"bob\"", "{}"),
        ("context.args.count + 9223372036854775807 > 0", r#"{"count":1}"#),
        ("context.args.count > 0", r#"{"count":"1"}"#),
        ("context.args has nothing", r#"{"nothing":1}"#),
    ] {
        let judge = judge_of(conditions);
        assert_eq!(evaluated(&judge, &[pay(arguments), pay(arguments)]), 2, "{conditions}");
    }
}

#[test]
fn long_values_and_what_stands_behind_long_arguments_are_judged_every_time() {
    let judge = judge_of("context.args has recipient && context.args.recipient == \"bob\"");
    let long = pay(&format!(r#"{{"recipient":"{}"}}"#, "b".repeat(1024)));
    let behind = pay(&format!(r#"{{"note":[{}0],"recipient":"bob"}}"#, "0,".repeat(2048)));
    let missing = pay(&format!(r#"{{"note":[{}0]}}"#, "0,".repeat(2048)));
    assert_eq!(evaluated(&judge, &[long.clone(), long, behind.clone(), behind, missing.clone(), missing]), 6);
    assert_eq!(judge.decisions.len(), 0);
}

#[test]
fn what_stands_in_front_of_long_arguments_is_remembered() {
    let judge = judge_of("context.args has recipient && context.args.recipient == \"bob\"");
    let before = |note: usize| pay(&format!(r#"{{"recipient":"bob","note":"{}"}}"#, "b".repeat(note)));
    assert_eq!(evaluated(&judge, &[before(1), before(4096), before(70_000)]), 1);
}

#[test]
fn what_stands_behind_a_long_text_is_remembered() {
    let judge = judge_of("context.args has recipient && context.args.recipient == \"bob\"");
    let behind = |note: usize| pay(&format!(r#"{{"note":"{}","recipient":"bob"}}"#, "b".repeat(note)));
    let missing = |note: usize| pay(&format!(r#"{{"note":"{}"}}"#, "b".repeat(note)));
    assert_eq!(evaluated(&judge, &[behind(1), missing(1), behind(64 << 10), missing(64 << 10), behind(9)]), 2);
    assert_eq!(evaluated(&judge, &[behind(1 << 20), behind(1 << 20)]), 2);
}

#[test]
fn arguments_that_are_cut_off_where_the_search_ends_are_not_taken_for_others() {
    let judge = judge_of("context.args has recipient && context.args.recipient == \"bob\"");
    let ends = MOST_ARGUMENTS - 60..MOST_ARGUMENTS + 10;
    let list =
        |bytes: usize| format!("[{}{}]", "0,".repeat(bytes / 2), if bytes.is_multiple_of(2) { "0" } else { "10" });
    let string = |bytes: usize| format!("\"{}\"", "b".repeat(bytes));
    for note in ends.clone().map(list).chain(ends.flat_map(|end| [32 * end, 32 * end + 17].map(string))) {
        for rest in [
            "",
            r#","recipient":"bob""#,
            r#","recipient":"bob","count":1"#,
            r#","recipient":"bobby""#,
            r#","recipient":null"#,
        ] {
            let call = pay(&format!(r#"{{"note":{note}{rest}}}"#));
            let facts = Facts::of_call(&call);
            let prepared = judge.prepare(&facts).unwrap();
            let said = judge.evaluate(&prepared, &prepared.full, &facts);
            assert_eq!(
                [judge.decide(&prepared, &facts), judge.decide(&prepared, &facts)],
                [said.clone(), said],
                "{rest}"
            );
        }
    }
    assert!(judge.decisions.len() > 0);
}

#[test]
fn a_flood_of_new_arguments_leaves_the_memory_bounded() {
    let judge = judge_of("context.args has recipient && context.args.recipient == \"bob\"");
    let template = pay("{}");
    for number in 0..20_000 {
        let text = format!(
            r#"{{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{{"name":"pay","arguments":{{"recipient":"b{number}"}}}}}}"#
        );
        let message = portcullis_core::wire::Message::read(
            text.into(),
            portcullis_core::wire::Direction::ToServer,
            &Limits::default(),
        );
        assert_eq!(evaluated(&judge, &[template.with_message(message.unwrap())]), 1);
    }
    assert!((1..=MOST_DECISIONS).contains(&judge.decisions.len()));
    assert_eq!(evaluated(&judge, &[pay(r#"{"recipient":"bob"}"#), pay(r#"{"recipient":"bob"}"#)]), 1);
}

#[test]
fn a_list_of_deciding_policies_that_is_long_is_not_kept() {
    let text = "permit (principal, action, resource) when { context.name == \"pay\" };\n";
    let judge = |count: usize| Judge::new(Arc::new(Policies::unchecked(&text.repeat(count))), Limits::default());
    assert_eq!(evaluated(&judge(MOST_DECIDING), &[pay("{}"), pay("{}")]), 1);
    assert_eq!(evaluated(&judge(MOST_DECIDING + 1), &[pay("{}"), pay("{}")]), 2);
}

#[test]
fn a_question_is_answered_from_memory_with_and_without_it() {
    let judge = Judge::new(
        Arc::new(Policies::unchecked(
            "permit (principal, action, resource);
             @ask(\"operator\") forbid (principal, action, resource) when { context.name == \"pay\" };",
        )),
        Limits::default(),
    );
    let call = pay("{}");
    let facts = Facts::of_call(&call);
    let prepared = judge.prepare(&facts).unwrap();
    for _ in 0..2 {
        assert_eq!(judge.decide(&prepared, &facts), Outcome::Forbidden(vec![1]));
        assert!(matches!(judge.decide_without_ask(&prepared, &facts), Outcome::Permitted(_)));
    }
    assert_eq!(judge.evaluations.load(Ordering::Relaxed), 2, "each view once");
}
