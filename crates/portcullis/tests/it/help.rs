//! The command line teaches: every command explains itself, mistakes end with 2.

use crate::support::{Folder, run};

const COMMANDS: [&[&str]; 22] = [
    &["run"],
    &["demo"],
    &["check"],
    &["explain"],
    &["policy"],
    &["policy", "show"],
    &["policy", "init"],
    &["policy", "schema"],
    &["policy", "test"],
    &["catalogue"],
    &["catalogue", "save"],
    &["audit"],
    &["audit", "tail"],
    &["audit", "verify"],
    &["audit", "show"],
    &["keys"],
    &["keys", "new"],
    &["keys", "list"],
    &["keys", "revoke"],
    &["sign"],
    &["config"],
    &["config", "schema"],
];

#[test]
fn every_command_has_help_that_says_what_it_does() {
    let folder = Folder::new();
    for command in COMMANDS {
        let mut args = command.to_vec();
        args.push("--help");
        let help = run(&folder, &args);
        assert_eq!(help.code, 0, "{command:?}: {}", help.err);
        assert!(help.out.contains("Usage: portcullis"), "{command:?}: {}", help.out);
        assert!(help.err.is_empty(), "{command:?}: {}", help.err);
    }
}

#[test]
fn the_first_help_shows_how_to_begin() {
    let help = run(&Folder::new(), &["--help"]);
    for text in
        ["portcullis demo", "portcullis run -- npx", "--upstream http://", "policy init", "audit tail", "Exit codes"]
    {
        assert!(help.out.contains(text), "{text}: {}", help.out);
    }
}

#[test]
fn the_help_of_keys_shows_how_to_make_list_and_take_back_one() {
    for (command, texts) in [
        ("new", &["--file keys.yaml", "--expires 90d", "--server notes", "X-API-Key", "Mcp::Caller::"][..]),
        ("list", &["--config portcullis.yaml", "--json"]),
        ("revoke", &["revoke ana --file keys.yaml", "within seconds"]),
    ] {
        let help = run(&Folder::new(), &["keys", command, "--help"]);
        assert!(texts.iter().all(|text| help.out.contains(text)), "{command}: {}", help.out);
    }
}

#[test]
fn a_mistake_on_the_command_line_ends_with_2_and_a_hint() {
    let folder = Folder::new();
    for args in [&["rnu"][..], &["run", "--lissten", "x"], &["policy", "show"], &["run", "--listen", "nowhere"]] {
        let ended = run(&folder, args);
        assert_eq!(ended.code, 2, "{args:?}");
        assert!(ended.err.contains("error:"), "{args:?}: {}", ended.err);
    }
    assert_eq!(run(&folder, &[]).code, 2);
    assert_eq!(run(&folder, &["--version"]).code, 0);
}

#[test]
fn two_servers_at_once_are_refused() {
    let ended = run(&Folder::new(), &["run", "--upstream", "http://127.0.0.1:1/mcp", "--", "server"]);
    assert_eq!(ended.code, 2, "{}", ended.err);
}
