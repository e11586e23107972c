use portcullis_core::catalogue::Catalogue;
use portcullis_core::wire::Limits;

use crate::testing::{catalogue, load};
use crate::{Finding, Policies, Severity, Source, preset};

/// All findings, whether the policies load or not.
fn findings(text: &str) -> Vec<Finding> {
    match load(text) {
        Ok((_, warnings)) => {
            assert!(warnings.iter().all(|finding| finding.severity == Severity::Warning));
            warnings
        }
        Err(findings) => {
            assert!(findings.iter().any(|finding| finding.severity == Severity::Error));
            findings
        }
    }
}

/// The only finding, as (severity, line, column, text).
#[track_caller]
fn only(text: &str) -> (Severity, usize, usize, String) {
    let findings = findings(text);
    let [finding] = findings.as_slice() else { panic!("{findings:#?}") };
    let help = finding.help.clone().unwrap_or_default();
    (finding.severity, finding.line, finding.column, format!("{} | {help}", finding.message))
}

fn pay(condition: &str) -> String {
    format!("@id(\"p\")\npermit (principal, action == notes::Action::\"pay\", resource)\nwhen {{ {condition} }};")
}

#[test]
fn a_field_the_tool_does_not_have_is_an_error_with_place_tool_and_suggestion() {
    let (severity, line, column, text) = only(&pay("context.args.amonut.lessThan(decimal(\"1.0\"))"));
    assert_eq!((severity, line, column), (Severity::Error, 3, 8));
    assert!(text.starts_with("the tool `pay` of `notes` has no argument `amonut` | did you mean `amount`?"), "{text}");

    let (_, _, _, text) = only(&pay("context.args has to && context.args.to.ibn == \"x\""));
    assert!(
        text.starts_with("the tool `pay` of `notes` has no argument `ibn` in `to` | did you mean `iban`?"),
        "{text}"
    );

    let (severity, _, _, text) = only(&pay("context.argz.amount == 1"));
    assert_eq!(severity, Severity::Error);
    assert!(text.contains("there is no `context.argz` | did you mean `context.args`?"), "{text}");
}

#[test]
fn an_argument_without_a_cedar_type_is_an_error_that_says_why() {
    let findings = findings(&pay("context.args.extra == \"x\""));
    let error = findings.iter().find(|finding| finding.severity == Severity::Error).unwrap();
    assert!(error.message.contains("`extra`") && error.message.contains("oneOf"), "{}", error.message);
}

#[test]
fn everything_that_a_request_proves_can_be_asked_for() {
    for condition in [
        "principal has issuer && principal.issuer == \"https://i\" && principal.scopes.contains(\"read\")",
        "principal has client && principal.client like \"app*\" && principal.actors.contains(\"svc\")",
        "principal has spiffe && principal.spiffe like \"spiffe://example.org/*\"",
        "principal.hasTag(\"team\") && principal.getTag(\"team\").containsAny([\"a\", \"b\"])",
        "context.client.secure && !context.client.viaProxy && context.client has host && context.client.host == \"h\"",
        "context.client has address && context.client.address.isInRange(ip(\"10.0.0.0/8\"))",
        "context has agent && context.agent.issuer == \"i\" && context.agent.groups.contains(\"g\")",
        "context has agent && context.agent.name == \"i:n\" && context.agent.attributes.contains(\"team=a\")",
        "context has signature && context.signature.keyId == \"k\" && context.signature.workload == \"w\"",
        "context has signature && (context.signature.sessionScoped || context.signature.ephemeral)",
        "context.chain.verified && context.chain.length < 3 && context.chain.agents.contains(\"agent:a\")",
    ] {
        assert_eq!(findings(&pay(condition)), [], "{condition}");
        let everywhere = format!("@id(\"p\") permit (principal, action, resource) when {{ {condition} }};");
        assert_eq!(findings(&everywhere), [], "{condition}");
    }
}

#[test]
fn what_may_not_have_been_proven_must_be_asked_for_first() {
    for (condition, first) in [
        ("principal.issuer == \"https://i\"", "`principal has issuer && …`"),
        ("context.agent.name == \"i:n\"", "`context has agent && …`"),
        ("context.client.address.isLoopback()", "`context.client has address && …`"),
        ("principal.getTag(\"team\").contains(\"a\")", "`principal.hasTag(\"NAME\") && …`"),
    ] {
        let (severity, _, _, text) = only(&pay(condition));
        assert!(severity == Severity::Error && text.contains(first), "{text}");
    }
}

#[test]
fn comparing_wrong_types_is_an_error() {
    for condition in [
        "context.args.amount < 5",
        "context.args.recipient == 5",
        "context.now == \"2026\"",
        "context.args.recipient like 5",
    ] {
        let findings = findings(&pay(condition));
        assert!(
            findings.iter().any(|finding| finding.severity == Severity::Error && finding.line == 3),
            "{condition}: {findings:#?}"
        );
    }
}

#[test]
fn an_optional_argument_must_be_asked_for_first() {
    let (severity, line, _, text) = only(&pay("context.args.note == \"x\""));
    assert_eq!((severity, line), (Severity::Error, 3));
    assert!(text.ends_with("it may be absent; ask first: `context.args has note && …`"), "{text}");
}

#[test]
fn what_can_never_match_is_a_warning() {
    for (text, expected) in [
        ("permit (principal, action == notes::Action::\"payy\", resource);", "no tool `payy`"),
        ("permit (principal, action == other::Action::\"pay\", resource);", "no server is called `other`"),
        ("permit (principal, action, resource == Mcp::Server::\"note\");", "no server is called `note`"),
        ("permit (principal, action, resource) when { false };", "can never match"),
        ("permit (principal is Mcp::Group, action, resource);", "can never match"),
        ("permit (principal == Mcp::Server::\"notes\", action, resource);", "can never match"),
        ("permit (principal, action == Mcp::Action::\"ping\", resource) when { context has args };", "can never match"),
    ] {
        let findings = findings(text);
        assert!(findings.iter().any(|finding| finding.message.contains(expected)), "{text}: {findings:#?}");
        assert!(
            findings.iter().all(|finding| finding.severity == Severity::Warning && finding.line == 1),
            "{text}: {findings:#?}"
        );
    }
}

#[test]
fn an_unknown_method_is_an_error() {
    let (severity, _, _, text) = only("permit (principal, action == Mcp::Action::\"tools/cal\", resource);");
    assert_eq!(severity, Severity::Error);
    assert!(text.contains("tools/call"), "{text}");
}

#[test]
fn arguments_of_many_tools_need_a_question_first() {
    let (severity, _, _, text) = only(
        "permit (principal, action in Mcp::Action::\"tools/call\", resource) when { context.args.path like \"/a*\" };",
    );
    assert_eq!(severity, Severity::Error);
    assert!(text.contains("has no argument `path`") || text.contains("ask first"), "{text}");
}

#[test]
fn a_rule_over_all_tools_says_which_calls_it_will_deny_because_it_cannot_see() {
    let (severity, _, _, text) = only(
        "forbid (principal, action in Mcp::Action::\"tools/call\", resource) when { context has args && context.args has extra && context.args.extra == \"x\" };",
    );
    assert_eq!(severity, Severity::Warning);
    assert!(text.contains("calls of the tool `pay` of `notes` that carry `extra` will be denied"), "{text}");
}

#[test]
fn syntax_errors_templates_duplicates_and_annotations_are_found_with_their_place() {
    let (severity, line, ..) = only("permit (principal, action, resource);\npermit (principal, action, resource");
    assert_eq!((severity, line), (Severity::Error, 2));
    assert!(only("permit (principal == ?principal, action, resource);").3.contains("templates"));
    let (_, line, _, text) =
        only("@id(\"a\") permit (principal, action, resource);\n@id(\"a\") forbid (principal, action, resource);");
    assert!(line == 2 && text.contains("already taken in p.cedar:1"), "{text}");
    assert!(only("@ask(\"operator\") permit (principal, action, resource);").3.contains("`@ask` on a `permit`"));
    assert!(
        only("@ask(\"boss\") forbid (principal, action, resource);").3.contains("takes \"operator\" or \"caller\"")
    );
    assert!(only("@resaon(\"x\") forbid (principal, action, resource);").3.contains("did you mean `@reason`?"));
    assert!(only("@id(\"\") forbid (principal, action, resource);").3.contains("`@id` must have"));
}

#[test]
fn without_a_catalogue_tools_are_not_checked_and_a_warning_says_so() {
    let text = pay("context.args.amonut == 1");
    let (_, warnings) = Policies::load(&[Source::new("p.cedar", text)], None).unwrap();
    assert_eq!(warnings.len(), 1);
    assert!(warnings[0].message.contains("was not checked"), "{warnings:?}");
    // What needs no tools is still checked.
    let wrong = Source::new("p.cedar", "permit (principal, action, resource) when { context.moment == 1 };");
    assert!(Policies::load(&[wrong], None).is_err());
}

#[test]
fn each_server_has_its_own_tools_group_and_resource() {
    let (office, shop) =
        (catalogue(), r#"[{"name":"pay","inputSchema":{"type":"object","properties":{"cart":{"type":"string"}}}}]"#);
    let shop = Catalogue::from_saved(shop.as_bytes(), &Limits::default()).unwrap();
    let down = Catalogue::default();
    let servers = [("notes", &*office), ("shop", &shop), ("down", &down)];
    let said = |text: &str| {
        let found =
            Policies::load(&[Source::new("p.cedar", text)], servers).map_or_else(|found| found, |(_, found)| found);
        found.into_iter().map(|finding| (finding.severity, finding.message)).collect::<Vec<_>>()
    };
    assert_eq!(
        said("permit (principal, action in Mcp::Action::\"server:shop\", resource == Mcp::Server::\"shop\");"),
        []
    );
    assert_eq!(
        said(
            "permit (principal, action == shop::Action::\"pay\", resource) when { context.args has cart && context.args.cart == \"1\" };"
        ),
        []
    );
    // The same tool name, and still not the other server's arguments.
    let other =
        said("permit (principal, action == notes::Action::\"pay\", resource) when { context.args.cart == \"1\" };");
    assert!(
        matches!(other.as_slice(), [(Severity::Error, text)] if text.contains("the tool `pay` of `notes` has no argument `cart`")),
        "{other:?}"
    );
    let elsewhere = said("permit (principal, action == shop::Action::\"pay\", resource == Mcp::Server::\"notes\");");
    assert!(
        elsewhere.iter().any(|(_, text)| text.contains("these tools are not of the server `notes`")),
        "{elsewhere:?}"
    );
    // A server that could not be asked is a server; what is said of its tools is not checked, and what is said of a stranger's is odd.
    let unread = said(
        "permit (principal, action == down::Action::\"go\", resource == Mcp::Server::\"down\") when { context.args.x == 1 };",
    );
    assert!(matches!(unread.as_slice(), [(Severity::Warning, text)] if text.contains("was not checked")), "{unread:?}");
    let stranger = said("permit (principal, action == shpo::Action::\"pay\", resource);");
    assert!(
        matches!(stranger.as_slice(), [(Severity::Warning, text)] if text.contains("no server is called `shpo`")),
        "{stranger:?}"
    );
}

#[test]
fn a_new_policy_file_for_several_servers_keeps_their_tools_apart() {
    let tools = Catalogue::from_saved(br#"[{"name":"pay"}]"#, &Limits::default()).unwrap();
    let text = crate::init_text("closed", [("office", &tools), ("shop", &tools)]).unwrap();
    for line in [
        "// @id(\"office.pay\")",
        "// @id(\"shop.pay\")",
        "// All of them at once: `action in Mcp::Action::\"server:shop\"`.",
    ] {
        assert!(text.contains(line), "{line}\n{text}");
    }
    let schema = crate::schema_text([("office", &tools), ("shop", &tools)]);
    let _ = cedar_policy::Schema::from_cedarschema_str(&schema).unwrap_or_else(|error| panic!("{error}\n{schema}"));
    assert!(schema.contains("\nnamespace office {") && schema.contains("\nnamespace shop {"), "{schema}");
}

#[test]
fn no_files_at_all_is_an_error() {
    assert!(Policies::load(&[], None).is_err());
}

#[test]
fn presets_are_clean_with_and_without_tools() {
    let catalogue = catalogue();
    for name in crate::PRESETS {
        let source = [Source::new(format!("preset:{name}"), preset(name).unwrap())];
        let with = Policies::load(&source, [("notes", &*catalogue)]).unwrap();
        let without = Policies::load(&source, None).unwrap();
        assert_eq!((with.1, without.1), (Vec::new(), Vec::new()), "{name}");
    }
    assert!(preset("open").is_none());
}

#[test]
fn derived_ids_name_file_and_number_and_the_digest_only_the_texts() {
    let text = "permit (principal, action, resource);\n@id(\"x\") forbid (principal, action == Mcp::Action::\"ping\", resource);";
    let load = |file: &str, text: &str| Policies::load(&[Source::new(file, text)], None).unwrap().0;
    let policies = load("a.cedar", text);
    assert_eq!(policies.entries.iter().map(|entry| &*entry.id).collect::<Vec<_>>(), ["a.cedar:1", "x"]);
    assert_eq!(policies.digest(), load("b.cedar", text).digest());
    assert_ne!(policies.digest(), load("a.cedar", "").digest());
    assert_eq!(policies.digest().len(), 64);
    let summary = policies.summary();
    assert_eq!((summary.permits, summary.forbids, summary.asks, summary.files), (1, 1, 0, 1));
}

#[test]
fn the_schema_and_a_new_policy_file_are_valid_cedar_whatever_tools_are_called() {
    let odd = r#"[{"name":"a/b \"c\"\n*/ // x","inputSchema":{"type":"object","properties":{"my-prop":{"type":"string"},"if":{"type":"integer"},
        "__entity":{"type":"string"},"\u202eq":{"type":"boolean"},"n":{"type":"number"}},"required":["n","if"]}},
        {"name":"1tool","inputSchema":{"type":"object","properties":{"x":{"type":"array","items":{"type":"object","properties":{"y":{"type":"string"}}}}}}},
        {"name":"opaque","inputSchema":{"oneOf":[{"type":"object"},{"type":"object"}]}},{"name":"none"}]"#;
    let catalogue = Catalogue::from_saved(odd.as_bytes(), &Limits::default()).unwrap();
    let schema = crate::schema_text([("odd", &catalogue)]);
    let _ = cedar_policy::Schema::from_cedarschema_str(&schema).unwrap_or_else(|error| panic!("{error}\n{schema}"));
    let text = crate::init_text("observe", [("odd", &catalogue)]).unwrap();
    // Taking the slashes away from the examples gives policies without findings.
    let (_, examples) = text.split_once("// The 4 tools").unwrap();
    let policy_lines: Vec<&str> = examples
        .lines()
        .filter_map(|line| line.strip_prefix("// "))
        .filter(|line| line.starts_with("@id(") || line.starts_with("permit (") || line.starts_with("when {"))
        .collect();
    let source = [Source::new("new.cedar", policy_lines.join("\n"))];
    let (policies, warnings) =
        Policies::load(&source, [("odd", &catalogue)]).unwrap_or_else(|findings| panic!("{findings:#?}\n{text}"));
    assert_eq!((policies.summary().permits, warnings), (4, Vec::new()));
    assert!(crate::init_text("nope", [("odd", &catalogue)]).is_none());
}
