//! `portcullis check`: what it finds, where it points, how it ends.

use crate::support::{Folder, TOOLS, run};

const POLICY: &str = "\
@id(\"protocol\")
permit (principal, action in Mcp::Action::\"protocol\", resource);

@id(\"small\")
@reason(\"too much\")
forbid (principal, action == server::Action::\"pay\", resource)
when { context.args.amount > 100 };
";

#[test]
fn a_sound_configuration_ends_with_0_and_shows_the_plan() {
    let folder = Folder::new();
    folder.write("policy.cedar", POLICY);
    folder.write("tools.json", TOOLS);
    folder.write(
        "p.yaml",
        "upstream: { http: { url: 'http://127.0.0.1:3001/mcp' } }\npolicy: policy.cedar\nguards: { outputs: shadow }\n",
    );
    let ended = run(&folder, &["check", "--config", "p.yaml", "--catalogue", "tools.json"]);
    assert_eq!(ended.code, 0, "{ended:?}");
    for text in ["ok", "127.0.0.1:8700/mcp", "http://127.0.0.1:3001/mcp", "1 permit, 1 forbid", "outputs shadow"] {
        assert!(ended.out.contains(text), "{text}: {}", ended.out);
    }
}

#[test]
fn a_wrong_configuration_ends_with_1_and_names_file_line_key_and_way_out() {
    let folder = Folder::new();
    folder.write("p.yaml", "listen: 127.0.0.1:8700\nlimits:\n  dept: 3\n");
    let ended = run(&folder, &["check", "--config", "p.yaml"]);
    assert_eq!(ended.code, 1, "{ended:?}");
    assert!(
        ended.out.starts_with("p.yaml:3:3: error[limits.dept]: unknown key `dept`\n  help: did you mean `depth`?"),
        "{}",
        ended.out
    );
}

#[test]
fn a_budget_that_no_whole_message_fits_is_found() {
    let folder = Folder::new();
    folder.write("p.yaml", "limits:\n  bytes_per_caller: 1000\n");
    let ended = run(&folder, &["check", "--config", "p.yaml"]);
    assert_eq!(ended.code, 1, "{ended:?}");
    assert!(ended.out.starts_with("p.yaml:2:3: error[limits.bytes_per_caller]"), "{}", ended.out);
}

#[test]
fn a_wrong_guard_setting_names_its_place() {
    let folder = Folder::new();
    folder.write("p.yaml", "guards:\n  argumens: off\n");
    let ended = run(&folder, &["check", "--config", "p.yaml"]);
    assert_eq!(ended.code, 1, "{ended:?}");
    assert!(ended.out.starts_with("p.yaml:2:"), "{}", ended.out);
    assert!(ended.out.contains("arguments"), "{}", ended.out);
}

#[test]
fn a_policy_about_a_field_that_the_tool_does_not_have_is_found_at_its_line() {
    let folder = Folder::new();
    folder.write("tools.json", TOOLS);
    folder.write("policy.cedar", &POLICY.replace("args.amount", "args.amuont"));
    let args = ["check", "--policy", "policy.cedar", "--catalogue", "tools.json"];
    let ended = run(&folder, &args);
    assert_eq!(ended.code, 1, "{ended:?}");
    assert!(ended.out.starts_with("policy.cedar:7:"), "{}", ended.out);
    assert!(ended.out.contains("error[small]") && ended.out.contains("amount"), "{}", ended.out);

    let json = run(&folder, &[&args[..], &["--json"]].concat());
    assert_eq!(json.code, 1);
    let findings: serde_json::Value = serde_json::from_str(&json.out).unwrap();
    assert_eq!(findings[0]["severity"], "error");
    assert_eq!(findings[0]["line"], 7);
    assert_eq!(findings[0]["key"], "small");
}

#[test]
fn a_policy_that_is_not_cedar_is_found_at_its_line() {
    let folder = Folder::new();
    folder.write("policy.cedar", "permit (principal, action, resource);\n\nforbid (principal, action resource);\n");
    let ended = run(&folder, &["check", "--policy", "policy.cedar"]);
    assert_eq!(ended.code, 1, "{ended:?}");
    assert!(ended.out.starts_with("policy.cedar:3:"), "{}", ended.out);
}

#[test]
fn a_file_that_cannot_be_read_ends_with_2() {
    let folder = Folder::new();
    folder.write("policy.cedar", POLICY);
    assert_eq!(run(&folder, &["check", "--config", "none.yaml"]).code, 2);
    assert_eq!(run(&folder, &["check", "--policy", "policy.cedar", "--catalogue", "none.json"]).code, 2);
    assert_eq!(run(&folder, &["check"]).code, 2, "nothing to check");
    let missing = run(&folder, &["check", "--policy", "none.cedar"]);
    assert_eq!(missing.code, 1, "{missing:?}");
    assert!(missing.out.contains("none.cedar: error[policy]: cannot be read"), "{missing:?}");
}

#[test]
fn an_open_port_without_a_policy_is_an_error() {
    let folder = Folder::new();
    folder.write("p.yaml", "listen: 0.0.0.0:8700\nidentity: { anonymous: true }\n");
    let ended = run(&folder, &["check", "--config", "p.yaml"]);
    assert_eq!(ended.code, 1, "{ended:?}");
    assert!(ended.out.contains("error[policy]: no policy"), "{}", ended.out);
}

#[test]
fn an_upstream_that_cannot_work_is_an_error() {
    let folder = Folder::new();
    folder.write("p.yaml", "upstream: { http: { url: 'http://example.com/mcp' } }\n");
    let ended = run(&folder, &["check", "--config", "p.yaml"]);
    assert_eq!(ended.code, 1, "{ended:?}");
    assert!(ended.out.contains("allow_plain_http"), "{}", ended.out);
}
