//! `portcullis policy …` and `portcullis catalogue save`, from saved tools and from a running server.

use crate::support::{Folder, Server, TOOLS, run};

#[test]
fn presets_are_printed_as_they_are_used() {
    let folder = Folder::new();
    for preset in ["observe", "read-only", "closed"] {
        let shown = run(&folder, &["policy", "show", preset]);
        assert_eq!(shown.code, 0);
        assert!(shown.out.contains(preset), "{}", shown.out);
        folder.write("copy.cedar", &shown.out);
        assert_eq!(run(&folder, &["check", "--policy", "copy.cedar"]).code, 0, "{preset} is ordinary Cedar");
    }
    assert_eq!(run(&folder, &["policy", "show", "open"]).code, 2);
}

#[test]
fn a_first_policy_names_every_tool_and_passes_the_check() {
    let folder = Folder::new();
    folder.write("tools.json", TOOLS);
    let made = run(&folder, &["policy", "init", "--catalogue", "tools.json", "-o", "policy.cedar"]);
    assert_eq!(made.code, 0, "{made:?}");
    let text = folder.read("policy.cedar");
    assert!(text.contains("server::Action::\"pay\"") && text.contains("server::Action::\"look\""), "{text}");
    let checked = run(&folder, &["check", "--policy", "policy.cedar", "--catalogue", "tools.json"]);
    assert_eq!(checked.code, 0, "{checked:?}");
    let again = run(&folder, &["policy", "init", "--catalogue", "tools.json", "-o", "policy.cedar"]);
    assert_eq!(again.code, 2, "an existing file is never overwritten: {again:?}");
}

#[test]
fn the_schema_holds_the_tools_arguments() {
    let folder = Folder::new();
    folder.write("tools.json", TOOLS);
    let schema = run(&folder, &["policy", "schema", "--catalogue", "tools.json", "--name", "bank"]);
    assert_eq!(schema.code, 0, "{schema:?}");
    assert!(schema.out.contains("namespace bank") && schema.out.contains("amount"), "{}", schema.out);
}

#[test]
fn a_running_server_is_asked_for_its_tools() {
    let folder = Folder::new();
    let server = Server::start();
    let saved = run(&folder, &["catalogue", "save", "--upstream", &server.url(), "-o", "tools.json"]);
    assert_eq!(saved.code, 0, "{saved:?}");
    let text = folder.read("tools.json");
    assert!(text.contains("\"pay\"") && text.contains("\"look\""), "{text}");
    let nobody = run(&folder, &["catalogue", "save", "--upstream", "http://127.0.0.1:9/mcp"]);
    assert_eq!(nobody.code, 1, "{nobody:?}");
    assert_eq!(run(&folder, &["catalogue", "save"]).code, 2, "nobody to ask");
}

#[test]
fn table_tests_pass_fail_and_say_why() {
    let folder = Folder::new();
    folder.write("tools.json", TOOLS);
    folder.write(
        "policy.cedar",
        "@id(\"pay\") permit (principal, action == server::Action::\"pay\", resource) when { context.args.amount <= 100 };",
    );
    let case = |amount: u32, expect: &str| {
        format!(
            "policies: [policy.cedar]\ncatalogue: tools.json\ntests:\n  - name: paying\n    caller: {{ name: ana }}\n    tool: pay\n    arguments: {{ amount: {amount} }}\n    expect: {expect}\n"
        )
    };
    folder.write("good.yaml", &case(20, "allow"));
    folder.write("bad.yaml", &case(200, "allow"));
    let good = run(&folder, &["policy", "test", "good.yaml"]);
    assert_eq!(good.code, 0, "{good:?}");
    let bad = run(&folder, &["policy", "test", "good.yaml", "bad.yaml"]);
    assert_eq!(bad.code, 1, "{bad:?}");
    assert!(bad.out.contains("FAILED 1. paying") && bad.out.contains("expected allow, came deny"), "{}", bad.out);
    folder.write("wrong.yaml", "policies: [policy.cedar]\ntests:\n  - tool: pay\n    expects: allow\n");
    let wrong = run(&folder, &["policy", "test", "wrong.yaml"]);
    assert_eq!(wrong.code, 2, "{wrong:?}");
    assert!(wrong.err.contains("wrong.yaml:4:5: error[tests.0.expects]: unknown key"), "{}", wrong.err);
}
