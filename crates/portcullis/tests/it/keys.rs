//! API keys from the operator's side: made, listed and revoked on the command line, taken up by a gateway that runs.

use std::os::unix::fs::PermissionsExt;
use std::process::Stdio;

use serde_json::Value;

use crate::contract::stage::Log;
use crate::support::{Answer, Ended, Folder, HELLO, LEGACY, Running, Server, http, portcullis, run};

/// What `keys new` prints where a file keeps the entry: the key alone.
fn made(ended: &Ended) -> String {
    assert_eq!(ended.code, 0, "{ended:?}");
    let key = ended.out.trim_end();
    assert!(key.starts_with("pck_") && key.len() == 68 && !key.contains('\n'), "{ended:?}");
    key.to_owned()
}

fn new(folder: &Folder, args: &[&str]) -> String {
    made(&run(folder, &[&["keys", "new", "--file", "keys.yaml"], args].concat()))
}

fn revoke(folder: &Folder, name: &str) -> Ended {
    run(folder, &["keys", "revoke", name, "--file", "keys.yaml"])
}

fn mode(folder: &Folder, name: &str) -> u32 {
    std::fs::metadata(folder.path().join(name)).unwrap().permissions().mode() & 0o777
}

/// A gateway whose callers stand in `keys.yaml`, and a question to it.
struct Stage {
    folder: Folder,
    gateway: Running,
    address: std::net::SocketAddr,
    _server: Server,
}

impl Stage {
    fn new(folder: Folder) -> Self {
        let server = Server::start();
        folder.write("p.yaml", "identity: { key_file: keys.yaml }\n");
        let (gateway, address) = Running::gateway(&folder, &["--config", "p.yaml", "--upstream", &server.url()]);
        Self { folder, gateway, address, _server: server }
    }

    fn ask(&self, key: Option<&str>) -> Answer {
        let mut headers = LEGACY.to_vec();
        headers.extend(key.map(|key| ("x-api-key", key)));
        http(self.address, "POST", "/mcp", &headers, HELLO)
    }

    fn refused(&self, key: Option<&str>, status: u16, code: &str) {
        let answer = self.ask(key);
        let body: Value = serde_json::from_str(&answer.body).unwrap_or_default();
        assert_eq!((answer.status, body["error"]["data"]["code"].as_str()), (status, Some(code)), "{answer:?}");
        assert_eq!(answer.header("www-authenticate").is_some(), status == 401, "{answer:?}");
    }
}

#[test]
fn a_key_is_made_used_and_taken_back_while_the_gateway_runs() {
    let folder = Folder::new();
    let ana = new(&folder, &["ana"]);
    let mut stage = Stage::new(folder);
    assert_eq!(stage.ask(Some(&ana)).status, 200);
    stage.refused(None, 401, "unauthenticated");

    let ben = new(&stage.folder, &["ben", "--group", "finance"]);
    stage.gateway.wait_for("key file reloaded keys=2");
    assert_eq!(stage.ask(Some(&ben)).status, 200);

    assert_eq!(revoke(&stage.folder, "ana").code, 0);
    stage.gateway.wait_for("key file reloaded keys=1");
    stage.refused(Some(&ana), 401, "unauthenticated");
    assert_eq!(stage.ask(Some(&ben)).status, 200);

    let again = new(&stage.folder, &["ana"]);
    stage.gateway.wait_for("key file reloaded keys=2");
    assert_ne!(ana, again);
    stage.refused(Some(&ana), 401, "unauthenticated");
    assert_eq!(stage.ask(Some(&again)).status, 200);

    stage.gateway.signal("INT");
    assert!(stage.gateway.end().success());
    let log = Log::of(&stage.folder);
    assert_eq!(log.entries.iter().filter(|entry| entry["code"] == "keys").count(), 3, "{:#?}", log.entries);
}

/// On a loopback listener nobody is asked for a key as long as there is none; a key file asks even when it is empty.
#[test]
fn taking_back_the_last_key_lets_nobody_in() {
    let folder = Folder::new();
    let ana = new(&folder, &["ana"]);
    let mut stage = Stage::new(folder);
    assert_eq!(stage.ask(Some(&ana)).status, 200);
    assert_eq!(revoke(&stage.folder, "ana").code, 0);
    stage.gateway.wait_for("key file reloaded keys=0");
    stage.refused(Some(&ana), 401, "unauthenticated");
    stage.refused(None, 401, "unauthenticated");
}

#[test]
fn a_key_file_that_is_broken_or_gone_changes_nothing_and_says_so() {
    let folder = Folder::new();
    let ana = new(&folder, &["ana"]);
    let mut stage = Stage::new(folder);
    let good = stage.folder.read("keys.yaml");
    stage.folder.write("keys.yaml", "- name: [\n");
    stage.gateway.wait_for("the old keys stay in force");
    assert_eq!(stage.ask(Some(&ana)).status, 200);
    stage.refused(None, 401, "unauthenticated");
    std::fs::remove_file(stage.folder.path().join("keys.yaml")).unwrap();
    stage.gateway.wait_for("the old keys stay in force: cannot be read");
    assert_eq!(stage.ask(Some(&ana)).status, 200);

    stage.folder.write("keys.yaml", &good);
    let ben = new(&stage.folder, &["ben"]);
    stage.gateway.wait_for("key file reloaded keys=2");
    assert_eq!(stage.ask(Some(&ben)).status, 200);

    // Taking back a key does not wait for the rest of the configuration to be right.
    stage.folder.write("p.yaml", "identity: { key_file: elsewhere.yaml }\npolicy: missing.cedar\n");
    stage.gateway.signal("HUP");
    stage.gateway.wait_for("the old plan stays in force");
    assert_eq!(revoke(&stage.folder, "ben").code, 0);
    stage.gateway.wait_for("key file reloaded keys=1");
    stage.refused(Some(&ben), 401, "unauthenticated");
}

#[test]
fn sighup_reads_the_key_file_too() {
    let folder = Folder::new();
    let ana = new(&folder, &["ana"]);
    let mut stage = Stage::new(folder);
    stage.folder.write("other.yaml", "");
    let ben = made(&run(&stage.folder, &["keys", "new", "ben", "--file", "other.yaml"]));
    stage.folder.write("p.yaml", "identity: { key_file: other.yaml }\n");
    stage.gateway.signal("HUP");
    stage.gateway.wait_for("reloaded plan=");
    stage.refused(Some(&ana), 401, "unauthenticated");
    assert_eq!(stage.ask(Some(&ben)).status, 200);
    assert_eq!(run(&stage.folder, &["keys", "revoke", "ben", "--config", "p.yaml"]).code, 0);
    stage.gateway.wait_for("key file reloaded keys=0");
    stage.refused(Some(&ben), 401, "unauthenticated");
}

#[test]
fn an_expired_key_and_a_key_for_another_server_are_refused_each_with_its_code() {
    let folder = Folder::new();
    let old = new(&folder, &["old", "--expires", "2099-12-31"]);
    folder.write("keys.yaml", &folder.read("keys.yaml").replace("2099-12-31", "2020-12-31"));
    let there = new(&folder, &["there", "--server", "mail"]);
    let here = new(&folder, &["here", "--server", "mail", "--server", "server", "--expires", "1d"]);
    let stage = Stage::new(folder);
    stage.refused(Some(&old), 401, "key_expired");
    stage.refused(Some(&there), 403, "key_elsewhere");
    assert_eq!(stage.ask(Some(&here)).status, 200);
}

#[test]
fn a_list_tells_who_may_call_and_never_the_whole_hash() {
    let folder = Folder::new();
    folder.write(
        "p.yaml",
        &run(&folder, &["keys", "new", "inline"]).out.replace("identity:", "identity:\n  key_file: keys.yaml"),
    );
    assert_eq!(run(&folder, &["keys", "list", "--config", "p.yaml"]).code, 2, "the key file is not there yet");
    let args = ["keys", "new", "ana", "--group", "finance", "--expires", "2099-12-31", "--config", "p.yaml"];
    made(&run(&folder, &args));
    new(&folder, &["old", "--server", "notes", "--expires", "2099-01-01"]);
    folder.write("keys.yaml", &folder.read("keys.yaml").replace("2099-01-01", "2020-01-01"));

    let list = run(&folder, &["keys", "list", "--config", "p.yaml"]);
    let lines: Vec<Vec<_>> = list.out.lines().map(|line| line.split_whitespace().collect()).collect();
    assert_eq!(lines[0], ["NAME", "GROUPS", "SERVERS", "EXPIRES", "STATE", "SHA-256", "FILE"], "{list:?}");
    assert_eq!(lines[1][..5], ["inline", "-", "all", "never", "valid"]);
    assert_eq!(lines[2][..5], ["ana", "finance", "all", "2099-12-31", "valid"]);
    assert_eq!(lines[3][..5], ["old", "-", "notes", "2020-01-01", "expired"]);

    let json = run(&folder, &["keys", "list", "--json", "--file", "keys.yaml"]);
    let rows: Vec<Value> = serde_json::from_str(&json.out).unwrap();
    assert_eq!(rows.len(), 2);
    assert_eq!((&rows[0]["name"], &rows[0]["groups"][0]), (&"ana".into(), &"finance".into()), "{rows:#?}");
    assert_eq!((&rows[1]["state"], &rows[1]["servers"][0]), (&"expired".into(), &"notes".into()), "{rows:#?}");
    let text = folder.read("keys.yaml");
    for hash in text.lines().filter_map(|line| line.trim().strip_prefix("sha256: ")) {
        assert!(json.out.contains(&hash[..12]) && list.out.contains(&hash[..12]));
        assert!(!json.out.contains(&hash[..16]) && !list.out.contains(&hash[..16]));
    }
}

#[test]
fn a_key_file_is_private_when_made_and_keeps_permissions_and_links_when_changed() {
    let folder = Folder::new();
    new(&folder, &["ana"]);
    assert_eq!(mode(&folder, "keys.yaml"), 0o600);
    let place = folder.path().join("keys.yaml");
    std::fs::set_permissions(&place, std::fs::Permissions::from_mode(0o640)).unwrap();
    std::os::unix::fs::symlink(&place, folder.path().join("link.yaml")).unwrap();
    made(&run(&folder, &["keys", "new", "ben", "--file", "link.yaml"]));
    assert_eq!(run(&folder, &["keys", "revoke", "ana", "--file", "link.yaml"]).code, 0);
    assert_eq!(mode(&folder, "keys.yaml"), 0o640);
    assert!(std::fs::symlink_metadata(folder.path().join("link.yaml")).unwrap().is_symlink());
    assert!(folder.read("keys.yaml").contains("\"ben\"") && !folder.read("keys.yaml").contains("\"ana\""));
    let left: Vec<_> = std::fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert!(!left.iter().any(|name| name.to_string_lossy().ends_with(".new")), "{left:?}");
}

#[test]
fn commands_at_the_same_time_lose_no_key() {
    let folder = Folder::new();
    let children: Vec<_> = (0..8)
        .map(|number| {
            let name = format!("caller{number}");
            let mut command = portcullis(folder.path());
            command.args(["keys", "new", &name, "--file", "keys.yaml"]);
            command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
        })
        .collect();
    for mut child in children {
        assert!(child.wait().unwrap().success());
    }
    let list = run(&folder, &["keys", "list", "--json", "--file", "keys.yaml"]);
    assert_eq!(serde_json::from_str::<Vec<Value>>(&list.out).unwrap().len(), 8, "{list:?}");
}

#[test]
fn what_cannot_be_done_leaves_the_file_as_it_is_and_tells_the_way_out() {
    let folder = Folder::new();
    new(&folder, &["ana"]);
    let entry = run(&folder, &["keys", "new", "inline"]).out;
    folder.write("p.yaml", &entry.replace("identity:", "identity:\n  key_file: keys.yaml"));
    folder.write("bare.yaml", "{}\n");
    let [ana, ben] = ["0", "1"].map(|digit| digit.repeat(64));
    folder.write("flow.yaml", &format!("[ {{ name: ana, sha256: {ana} }}, {{ name: ben, sha256: {ben} }} ]\n"));
    folder.write("bad.yaml", "- name: ana\n  sha256: abc\n  colour: red\n");
    let before = ["keys.yaml", "flow.yaml", "bad.yaml", "p.yaml"].map(|name| (name, folder.read(name)));
    for (args, text, help) in [
        (&["new", "ana", "--file", "keys.yaml"][..], "a key of `ana` already", "revoke it first"),
        (&["new", "inline", "--config", "p.yaml"], "a key of `inline` already", "revoke it first"),
        (&["new", "a:b", "--file", "keys.yaml"], "`a:b` cannot be the name", "without `:`"),
        (&["new", "anonymous", "--file", "keys.yaml"], "`anonymous` cannot be", "other than"),
        (&["new", "b", "--server", "my-server"], "`my-server` cannot be", "upstream.name"),
        (&["new", "b", "--expires", "yesterday"], "neither a date", "90d"),
        (&["new", "b", "--expires", "2020-01-01"], "over already", "90d"),
        (&["new", "b", "--config", "bare.yaml"], "names no key file", "key_file: keys.yaml"),
        (&["new", "b", "--file", "no/such/keys.yaml"], "cannot open", "folder must exist"),
        (&["new", "b", "--file", "flow.yaml"], "not written as one entry after another", "by hand"),
        (&["new", "b", "--file", "bad.yaml"], "bad.yaml:3:3: ", "known here"),
        (&["revoke", "anna", "--file", "keys.yaml"], "no key of `anna`", "did you mean `ana`?"),
        (&["revoke", "inline", "--config", "p.yaml"], "stands in `p.yaml` itself", "SIGHUP"),
        (&["revoke", "ana", "--file", "missing.yaml"], "cannot open `missing.yaml`", "makes one"),
        (&["revoke", "ana", "--file", "flow.yaml"], "not written as one entry after another", "by hand"),
        (&["revoke", "ana"], "which keys?", "--file FILE"),
        (&["list"], "which keys?", "--config FILE"),
        (&["list", "--file", "missing.yaml"], "missing.yaml: ", "makes it"),
    ] {
        let ended = run(&folder, &[&["keys"], args].concat());
        assert_eq!((ended.code, ended.out.as_str()), (2, ""), "{args:?}: {ended:?}");
        assert!(ended.err.contains(text) && ended.err.contains(help), "{args:?}: {}", ended.err);
    }
    for (name, text) in before {
        assert_eq!(folder.read(name), text, "{name}");
    }
    for made in ["missing.yaml", "no"] {
        assert!(!folder.path().join(made).exists(), "{made}");
    }
}
