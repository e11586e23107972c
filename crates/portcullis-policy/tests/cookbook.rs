//! Runs every example of `docs/cookbook` against its saved tools: an example that is wrong is worse than none.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test stops at the first surprise")]
#![expect(clippy::disallowed_methods, reason = "the examples are files")]

use std::path::{Path, PathBuf};
use std::sync::Arc;

use portcullis_core::catalogue::Catalogue;
use portcullis_core::wire::Limits;
use portcullis_policy::{Policies, Servers, Source, TestFile, run_tests};

fn cookbook() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/cookbook")
}

fn files(ending: &str) -> Vec<String> {
    let mut names: Vec<String> = std::fs::read_dir(cookbook())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| name.ends_with(ending))
        .collect();
    names.sort();
    names
}

fn read(name: &str) -> String {
    std::fs::read_to_string(cookbook().join(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
}

/// A saved list of tools.
fn tools(name: &str) -> Arc<Catalogue> {
    Arc::new(Catalogue::from_saved(read(name).as_bytes(), &Limits::default()).unwrap())
}

#[test]
fn every_example_is_free_of_findings_and_passes_its_tests() {
    let examples = files(".cedar");
    assert!(examples.len() >= 9, "{examples:?}");
    for example in examples {
        let test = example.replace(".cedar", ".test.yaml");
        let file: TestFile = serde_saphyr::from_str(&read(&test)).unwrap_or_else(|error| panic!("{test}: {error}"));
        let servers: Servers = file.saved().map(|(server, saved)| (server.to_owned(), tools(saved))).collect();
        assert!(!servers.is_empty(), "{test} names no saved list of tools");
        let sources: Vec<Source> =
            file.policies.iter().map(|name| Source { file: name.clone(), text: read(name) }).collect();
        let loaded = Policies::load(&sources, servers.iter().map(|(server, tools)| (server.as_str(), &**tools)));
        let (policies, findings) = loaded.unwrap_or_else(|findings| panic!("{example}: {findings:#?}"));
        assert!(findings.is_empty(), "{example}: {findings:#?}");
        let report = run_tests(&file, &Arc::new(policies), &servers);
        assert!(report.is_success(), "{example}\n{report}");
    }
}

#[test]
fn every_policy_of_an_example_decides_in_one_of_its_tests() {
    for example in files(".cedar") {
        let test = read(&example.replace(".cedar", ".test.yaml"));
        let file: TestFile = serde_saphyr::from_str(&test).unwrap();
        for line in read(&example).lines() {
            let Some(id) = line.strip_prefix("@id(\"").and_then(|rest| rest.strip_suffix("\")")) else { continue };
            assert!(
                file.tests.iter().any(|case| case.policy.as_deref() == Some(id)),
                "{example}: no test names `{id}`"
            );
        }
    }
}

#[test]
fn a_failing_case_says_what_was_expected_what_came_and_what_each_policy_said() {
    let catalogue = tools("tools.json");
    let source = Source { file: "payments.cedar".to_owned(), text: read("payments.cedar") };
    let (policies, _) = Policies::load(&[source], [("office", &*catalogue)]).unwrap();
    let text = "
server: office
tests:
  - name: too much
    tool: transfer
    arguments: { amount: 500, currency: EUR, recipient: { iban: DE02120300000000202051 } }
    expect: allow
  - name: not a time
    tool: transfer
    now: yesterday
    expect: allow
";
    let file: TestFile = serde_saphyr::from_str(text).unwrap();
    let servers = Servers::from([("office".to_owned(), catalogue)]);
    let report = run_tests(&file, &Arc::new(policies), &servers).to_string();
    for line in [
        "FAILED 1. too much",
        "expected allow, came deny",
        "forbidden: a forbid is satisfied",
        "permit `transfers` (payments.cedar:7): satisfied",
        "forbid `small-amounts` (payments.cedar:10): satisfied",
        "forbid `no-links-in-memos` (payments.cedar:27): not satisfied",
        "`now: yesterday` is not a time such as 2026-07-28T09:30:00Z",
        "0 passed, 2 failed",
    ] {
        assert!(report.contains(line), "{line}\n---\n{report}");
    }
    let misspelt = "tests:\n  - { tool: transfer, expct: allow, expect: allow }\n";
    assert!(serde_saphyr::from_str::<TestFile>(misspelt).is_err());
}

#[test]
fn the_policies_in_the_documentation_are_free_of_findings() {
    let page = std::fs::read_to_string(cookbook().join("../../docs/policy.md")).unwrap();
    let catalogue = tools("tools.json");
    let blocks: Vec<&str> = page.split("```cedar\n").skip(1).filter_map(|rest| rest.split("```").next()).collect();
    assert!(!blocks.is_empty());
    for block in blocks {
        let source = Source { file: "docs/policy.md".to_owned(), text: block.to_owned() };
        let (_, findings) = Policies::load(&[source], [("office", &*catalogue)]).unwrap();
        assert!(findings.is_empty(), "{findings:#?}");
    }
    for file in files(".cedar") {
        assert!(page.contains(&format!("cookbook/{file}")), "docs/policy.md does not mention {file}");
    }
}
