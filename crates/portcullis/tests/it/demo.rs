//! The demo tells its story and checks itself.

use crate::support::{Folder, Running, in_session, open_session, portcullis, run};

/// Ports, times and hashes differ from run to run.
fn normalised(text: &str) -> String {
    let mut out = String::new();
    for word in text.split_inclusive(char::is_whitespace) {
        if word.trim_end().parse::<u64>().is_ok() || word.contains("127.0.0.1:") {
            out.push('N');
            out.extend(word.chars().rev().find(|last| last.is_whitespace()));
        } else {
            out.push_str(word);
        }
    }
    out
}

#[test]
fn the_demo_shows_all_its_scenes_and_ends_well() {
    let folder = Folder::new();
    let ended = run(&folder, &["demo"]);
    assert_eq!(ended.code, 0, "{}\n{}", ended.out, ended.err);
    let told = normalised(&ended.out);
    let scenes = [
        "client  →  Portcullis N  →  notes-and-payments N",
        "1. The caller sees only what it may use",
        "✓ N of the server's N tools: add_note, archive_notes, list_notes, send_payment",
        "2. An allowed call",
        "✓ Saved as note 1.",
        "3. The same tool, allowed or refused by its arguments",
        "✗ Payments above N EUR need a person: ask the finance team.",
        "seen by the server: N",
        "4. What the caller does not see it cannot call",
        "delete_everything {}\n   ✗ unknown tool",
        "no_such_tool {}\n   ✗ unknown tool",
        "5. A streamed call, passed on as it happens",
        "ms progress N of N\n",
        "✓ All notes are archived.",
        "6. Every decision is in the log, and the log proves itself",
        "small-payments-only",
        "verified: N entries in N segment",
    ];
    let mut rest = told.as_str();
    for scene in scenes {
        let at = rest.find(scene).unwrap_or_else(|| panic!("`{scene}` is missing or out of order:\n{told}"));
        rest = &rest[at + scene.len()..];
    }
    assert!(!ended.out.contains('\u{1b}'), "no colours where nobody sees them");
}

#[test]
fn the_demo_leaves_nothing_behind() {
    let folder = Folder::new();
    let ended = portcullis(folder.path()).env("TMPDIR", folder.path()).arg("demo").output().unwrap();
    assert!(ended.status.success());
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
}

#[test]
fn the_demo_stays_up_when_asked_and_serves_other_clients() {
    let folder = Folder::new();
    let mut demo = Running::start(&folder, &["demo", "--stay", "--listen", "127.0.0.1:0"]);
    let line = demo.wait_for("Staying up at http://");
    let address = line.split("http://").nth(1).unwrap().split('/').next().unwrap().parse().unwrap();
    let snippet = demo.wait_for("mcpServers");
    assert!(snippet.contains(&format!("http://{address}/mcp")), "{snippet}");
    let session = open_session(address);
    let call = r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"list_notes","arguments":{}}}"#;
    let answer = in_session(address, &session, call);
    assert!(answer.body.contains("Order more coffee."), "{answer:?}");
    demo.signal("INT");
    assert!(demo.end().success());
}
