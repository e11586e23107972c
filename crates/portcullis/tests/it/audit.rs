//! `portcullis audit …` on a log that a gateway wrote.

use crate::support::{Folder, Running, Server, in_session, open_session, run};

/// A log with one session and one call in it.
fn logged() -> Folder {
    let folder = Folder::new();
    let server = Server::start();
    let (mut gateway, address) = Running::gateway(&folder, &["--upstream", &server.url()]);
    let session = open_session(address);
    let call = r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"pay","arguments":{"amount":7}}}"#;
    assert_eq!(in_session(address, &session, call).status, 200);
    gateway.signal("INT");
    assert!(gateway.end().success());
    folder
}

#[test]
fn a_decision_is_found_in_the_table_and_shown_in_full() {
    let folder = logged();
    let tail = run(&folder, &["audit", "tail", "audit"]);
    assert_eq!(tail.code, 0, "{tail:?}");
    let row = tail.out.lines().find(|line| line.contains("tools/call")).unwrap();
    let id = row
        .split_whitespace()
        .find(|word| word.len() == 16 && word.bytes().all(|byte| byte.is_ascii_hexdigit()))
        .unwrap();
    let shown = run(&folder, &["audit", "show", id, "audit"]);
    assert_eq!(shown.code, 0, "{shown:?}");
    for text in ["tools/call", "pay", "allow", "observe", "answered", "its hash matches"] {
        assert!(shown.out.contains(text), "{text}: {}", shown.out);
    }
    assert!(!shown.out.contains("\"amount\""), "arguments are not stored unless configured");
    assert_eq!(run(&folder, &["audit", "show", "0000000000000000", "audit"]).code, 1);
}

#[test]
fn a_whole_log_verifies_and_a_changed_one_names_the_entry() {
    let folder = logged();
    let good = run(&folder, &["audit", "verify", "audit"]);
    assert_eq!(good.code, 0, "{good:?}");
    let head = good.out.lines().find_map(|line| line.trim().strip_prefix("head ")).unwrap();
    assert_eq!(run(&folder, &["audit", "verify", "audit", "--expect-head", head]).code, 0);
    assert_eq!(run(&folder, &["audit", "verify", "audit", "--expect-head", "nonsense"]).code, 2);

    let name = "audit/audit-00000001.jsonl";
    folder.write(name, &folder.read(name).replacen("\"pay\"", "\"may\"", 1));
    let bad = run(&folder, &["audit", "verify", "audit"]);
    assert_eq!(bad.code, 1, "{bad:?}");
    assert!(bad.out.contains("NOT verified: changed"), "{}", bad.out);
}

#[test]
fn a_follower_sees_decisions_as_they_are_made() {
    let folder = Folder::new();
    let server = Server::start();
    let (_gateway, address) = Running::gateway(&folder, &["--upstream", &server.url()]);
    let mut follower = Running::start(&folder, &["audit", "tail", "-f", "audit"]);
    follower.wait_for("DECISION");
    open_session(address);
    follower.wait_for("initialize");
}

#[test]
fn where_there_is_no_log_it_says_so() {
    let folder = Folder::new();
    for args in [&["audit", "tail", "none"][..], &["audit", "verify", "none"], &["audit", "verify"]] {
        let ended = run(&folder, args);
        assert_eq!(ended.code, 2, "{args:?}: {ended:?}");
        assert!(ended.err.contains("no audit log"), "{args:?}: {}", ended.err);
    }
}
