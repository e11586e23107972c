//! Several servers behind one gateway: what is served where, what is merged, what a server that is down does to the others, and what the
//! commands say of all of them.

use serde_json::{Value, json};
use sha2::Digest as _;

use crate::support::{Answer, Ended, Folder, HELLO, LEGACY, Running, Server, TOOLS, http, run};

const LIST: &str = r#"{"jsonrpc":"2.0","id":1,"method":"tools/list"}"#;

fn call(tool: &str) -> String {
    json!({ "jsonrpc": "2.0", "id": 2, "method": "tools/call", "params": { "name": tool, "arguments": { "amount": 1 } } }).to_string()
}

/// A legacy client at one path.
pub(crate) struct Client {
    address: std::net::SocketAddr,
    path: &'static str,
    session: String,
}

impl Client {
    pub(crate) fn open(address: std::net::SocketAddr, path: &'static str) -> Self {
        let answer = http(address, "POST", path, &LEGACY, HELLO);
        assert_eq!(answer.status, 200, "{path}: {answer:?}");
        let session = answer.header("mcp-session-id").expect("a session").to_owned();
        let client = Self { address, path, session };
        assert_eq!(client.say(r#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#).status, 202);
        client
    }

    fn say(&self, text: &str) -> Answer {
        let mut headers = LEGACY.to_vec();
        headers.extend([("mcp-session-id", self.session.as_str()), ("mcp-protocol-version", "2025-11-25")]);
        http(self.address, "POST", self.path, &headers, text)
    }

    pub(crate) fn ask(&self, text: &str) -> Value {
        let answer = self.say(text);
        // An answer may come as an event stream.
        let json = answer.body.lines().filter_map(|line| line.strip_prefix("data: ")).next_back();
        let json = json.unwrap_or(&answer.body);
        serde_json::from_str(json).unwrap_or_else(|error| panic!("{}: {error}: {answer:?}", self.path))
    }

    pub(crate) fn tools(&self) -> Vec<String> {
        let listed = self.ask(LIST);
        let tools = listed["result"]["tools"].as_array().unwrap_or_else(|| panic!("{}: {listed}", self.path));
        tools.iter().map(|tool| tool["name"].as_str().unwrap().to_owned()).collect()
    }
}

/// Two servers with the same tools, and the endpoints of the tests.
fn file(notes: &Server, shop: &Server, more: &str) -> String {
    format!(
        "upstreams:\n\
         - {{ name: notes, tags: [office], http: {{ url: '{}' }} }}\n\
         - {{ name: shop, http: {{ url: '{}' }} }}\n\
         policy: observe\n{more}",
        notes.url(),
        shop.url()
    )
}

#[test]
fn all_servers_are_merged_at_the_path_and_each_is_itself_at_its_own() {
    let (folder, notes, shop) = (Folder::new(), Server::start(), Server::start());
    folder.write("p.yaml", &file(&notes, &shop, ""));
    let (mut gateway, address) = Running::gateway(&folder, &["--config", "p.yaml"]);
    let snippet = gateway.wait_for("mcpServers");
    let said = gateway.said.join("\n");
    assert!(snippet.contains(r#""portcullis""#) && snippet.contains("/mcp\""), "{snippet}");
    for text in
        ["notes (2 tools, legacy era)", "shop (2 tools, legacy era)", "/mcp: notes, shop, merged", "/mcp/NAME: each"]
    {
        assert!(said.contains(text), "{text}\n{said}");
    }
    let all = Client::open(address, "/mcp");
    assert_eq!(all.tools(), ["notes__look", "notes__pay", "shop__look", "shop__pay"]);
    let done = all.ask(&call("shop__pay"));
    assert!(done["result"]["content"][0]["text"].as_str().unwrap().contains("did \"pay\""), "{done}");
    let own = Client::open(address, "/mcp/shop");
    assert_eq!(own.tools(), ["look", "pay"]);
    assert_eq!(own.ask(&call("pay"))["result"], done["result"]);
    assert_eq!(all.ask(&call("pay"))["error"]["code"], -32602, "a name without its server is nobody's");
    assert_eq!(http(address, "POST", "/mcp/nobody", &LEGACY, HELLO).status, 404);
}

#[test]
fn an_endpoint_shows_only_what_it_chooses_and_judges_by_its_own_policy() {
    let (folder, notes, shop) = (Folder::new(), Server::start(), Server::start());
    let endpoints = "endpoints:\n\
        - { path: /office, upstreams: 'tag:office', tools: look }\n\
        - { path: /buy, upstreams: shop, policy: buy.cedar }\n\
        - { path: /both, tools: ['shop/pay', 'notes/*'] }\n";
    let permit = "@id(\"all\") permit (principal, action, resource);\n";
    let forbid = format!(
        "{permit}@id(\"stop\") @reason(\"not here\") forbid (principal, action == shop::Action::\"pay\", resource) when {{ context.args.amount > 0 }};"
    );
    folder.write("buy.cedar", &forbid);
    folder.write("p.yaml", &file(&notes, &shop, endpoints));
    let (mut gateway, address) = Running::gateway(&folder, &["--config", "p.yaml"]);
    let office = Client::open(address, "/office");
    assert_eq!(office.tools(), ["notes__look"]);
    assert_eq!(office.ask(&call("notes__pay"))["error"]["code"], -32602);
    assert_eq!(Client::open(address, "/both").tools(), ["notes__look", "notes__pay", "shop__pay"]);
    let buy = Client::open(address, "/buy");
    let refused = buy.ask(&call("pay"));
    assert!(refused.to_string().contains("not here"), "{refused}");
    let elsewhere = Client::open(address, "/mcp/shop");
    assert!(elsewhere.ask(&call("pay")).to_string().contains("did"), "another path, another policy");

    folder.write("buy.cedar", permit);
    gateway.signal("HUP");
    gateway.wait_for("reloaded plan=");
    assert!(buy.ask(&call("pay")).to_string().contains("did"), "its own policy is read again too");
    folder.write("buy.cedar", &forbid);
    folder.write("p.yaml", &file(&notes, &shop, &endpoints.replace("shop/pay", "shop/look")));
    gateway.signal("HUP");
    gateway.wait_for("the old plan stays in force");
    assert!(buy.ask(&call("pay")).to_string().contains("did"), "half of a change is no change");
}

#[test]
fn a_server_that_is_down_keeps_nobody_from_the_others_and_joins_when_it_is_up() {
    let (folder, notes) = (Folder::new(), Server::start());
    let place = Server::start().address;
    let text = format!(
        "upstreams:\n- {{ name: notes, http: {{ url: '{}' }} }}\n- {{ name: shop, http: {{ url: 'http://{place}/mcp' }} }}\nadmin: {{ listen: '127.0.0.1:0' }}\n",
        notes.url()
    );
    folder.write("p.yaml", &text);
    let (mut gateway, address) = Running::gateway(&folder, &["--config", "p.yaml"]);
    gateway.wait_for("shop: ");
    assert!(gateway.said.last().unwrap().contains("does not answer yet"), "{:?}", gateway.said);
    let admin = gateway.admin();
    let health = http(admin, "GET", "/healthz", &[], "");
    let health: Value = serde_json::from_str(&health.body).unwrap_or_else(|error| panic!("{error}: {health:?}"));
    let reached = |at: usize| (health["servers"][at]["server"].clone(), health["servers"][at]["reached"].clone());
    assert_eq!((reached(0), reached(1)), ((json!("notes"), json!(true)), (json!("shop"), json!(false))), "{health}");
    assert_eq!(health["servers"][0]["transports"][0]["transport"], "http", "of one server and of several alike");
    let all = Client::open(address, "/mcp");
    let listed = all.ask(LIST);
    assert_eq!(listed["result"]["tools"].as_array().unwrap().len(), 2, "{listed}");
    assert_eq!(listed["result"]["_meta"]["io.portcullis/unavailable"][0]["server"], "shop", "{listed}");
    assert!(all.ask(&call("notes__look")).to_string().contains("did"));
    let failed = all.ask(&call("shop__look"));
    assert!(failed.get("error").is_some(), "{failed}");
    let shop = Server::start_at(place);
    gateway.wait_for("the server answers now");
    assert_eq!(Client::open(address, "/mcp").tools().len(), 4);
    drop(shop);
}

#[test]
fn with_all_servers_down_it_starts_and_recovers() {
    let folder = Folder::new();
    let (one, other) = (Server::start().address, Server::start().address);
    let entry = |name: &str, at| format!("- {{ name: {name}, http: {{ url: 'http://{at}/mcp' }} }}\n");
    folder.write("p.yaml", &format!("upstreams:\n{}{}", entry("a", one), entry("b", other)));
    let (mut gateway, address) = Running::gateway(&folder, &["--config", "p.yaml"]);
    gateway.wait_for("b: ");
    let _servers = (Server::start_at(one), Server::start_at(other));
    gateway.wait_for("the server answers now");
    gateway.wait_for("the server answers now");
    assert_eq!(Client::open(address, "/mcp").tools(), ["a__look", "a__pay", "b__look", "b__pay"]);
}

/// Two servers that nobody contacts.
fn offline(more: &str) -> String {
    format!(
        "upstreams:\n- {{ name: notes, http: {{ url: 'http://127.0.0.1:1/mcp' }} }}\n- {{ name: shop, http: {{ url: 'http://127.0.0.1:2/mcp' }} }}\n{more}"
    )
}

#[test]
fn check_holds_policies_against_the_tools_of_each_server_and_names_conflicts() {
    let folder = Folder::new();
    folder.write("tools.json", TOOLS);
    folder.write("alike.json", &TOOLS.replace("pay", "Pay"));
    folder.write("p.yaml", &offline("policy: policy.cedar\n"));
    let policy =
        "@id(\"a\") permit (principal, action == shop::Action::\"pay\", resource) when { context.args.amount < 5 };";
    folder.write("policy.cedar", policy);
    let check = |lists: &[&str]| -> Ended {
        let lists = lists.iter().flat_map(|list| ["--catalogue", list]);
        run(&folder, &["check", "--config", "p.yaml"].into_iter().chain(lists).collect::<Vec<_>>())
    };
    let both = check(&["notes=tools.json", "shop=tools.json"]);
    assert_eq!(both.code, 0, "{both:?}");
    for text in [
        "warning[same_name]: `notes` and `shop` offer 2 tools of the same names: `look`, `pay`",
        "1 warning",
        "/mcp: notes, shop, merged",
        "checked against the tools",
    ] {
        assert!(both.out.contains(text), "{text}\n{}", both.out);
    }
    let alike = check(&["notes=alike.json", "shop=tools.json"]);
    assert!(alike.out.contains("warning[alike_names]") && alike.out.contains("`Pay` of `notes`"), "{alike:?}");
    let one = check(&["notes=tools.json"]);
    assert!(one.code == 0 && one.out.contains("the tool `pay` of `shop` was not checked"), "{one:?}");
    assert!(one.out.contains("checked against the tools of some servers"), "{one:?}");
    let unnamed = check(&["tools.json"]);
    assert!(unnamed.code == 2 && unnamed.err.contains("is the list of which server?"), "{unnamed:?}");
    let strange = check(&["shpo=tools.json"]);
    assert!(strange.code == 2 && strange.err.contains("did you mean `shop`?"), "{strange:?}");

    folder.write("policy.cedar", &policy.replace("amount", "amuont"));
    let wrong = check(&["notes=tools.json", "shop=tools.json"]);
    assert!(wrong.code == 1 && wrong.out.contains("the tool `pay` of `shop` has no argument `amuont`"), "{wrong:?}");
}

#[test]
fn explain_judges_for_the_server_and_by_the_path_that_is_meant() {
    let folder = Folder::new();
    folder.write("tools.json", TOOLS);
    let endpoints = "policy: observe\nendpoints:\n- { path: /look, tools: look }\n- { path: /no, upstreams: shop, policy: closed }\n";
    folder.write("p.yaml", &offline(endpoints));
    folder.write("call.json", &call("pay"));
    let explain = |more: &[&str]| {
        let lists = ["--catalogue", "notes=tools.json", "--catalogue", "shop=tools.json"];
        run(&folder, &[&["explain", "call.json", "--config", "p.yaml"], &lists[..], more].concat())
    };
    let unsaid = explain(&[]);
    assert!(unsaid.code == 2 && unsaid.err.contains("which server") && unsaid.err.contains("--server"), "{unsaid:?}");
    assert_eq!(explain(&["--server", "shop"]).code, 0);
    assert_eq!(explain(&["--server", "shop", "--endpoint", "/no"]).code, 1);
    assert_eq!(explain(&["--server", "shop", "--endpoint", "/look"]).code, 1, "not shown, not callable");
    let astray = explain(&["--server", "notes", "--endpoint", "/no"]);
    assert!(astray.code == 2 && astray.err.contains("`/no` does not lead to `notes`"), "{astray:?}");
    assert_eq!(explain(&["--endpoint", "/no"]).code, 1, "one server's path needs no name of it");
}

#[test]
fn explain_finds_the_server_by_the_names_that_clients_see() {
    let folder = Folder::new();
    let long = "a".repeat(70);
    let tools = TOOLS.replace("look", &long);
    folder.write("tools.json", &tools);
    folder.write("shown.json", &tools);
    let policy = "permit (principal, action, resource);\n\
        @id(\"own\") forbid (principal, action == shop::Action::\"pay\", resource);";
    folder.write("policy.cedar", policy);
    folder.write("p.yaml", &offline("policy: policy.cedar\nendpoints:\n- { path: /few, tools: 'shop/pay' }\n"));
    let explain = |message: Value, more: &[&str]| {
        folder.write("m.json", &message.to_string());
        let lists = ["--catalogue", "notes=tools.json", "--catalogue", "shop=tools.json"];
        run(&folder, &[&["explain", "m.json", "--config", "p.yaml"], &lists[..], more].concat())
    };
    let request =
        |method: &str, params: Value| json!({ "jsonrpc": "2.0", "id": 1, "method": method, "params": params });
    let tool = |name: &str| request("tools/call", json!({ "name": name, "arguments": { "amount": 1 } }));
    let refused = explain(tool("shop__pay"), &[]);
    assert_eq!(refused.code, 1, "{refused:?}");
    for text in ["of `shop__pay`", "request `tools/call` of `pay`, id 1 of the server `shop`", "forbid `own`"] {
        assert!(refused.out.contains(text), "{text}\n{}", refused.out);
    }
    let cleared = explain(tool("notes__pay"), &[]);
    assert!(cleared.code == 0 && cleared.out.contains("of the server `notes`"), "{cleared:?}");
    // As the page says: the first 51 characters and 12 digits of the digest of the whole.
    let whole = format!("notes__{long}");
    let digest = sha2::Sha256::digest(whole.as_bytes()).iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    let short = format!("{}_{}", &whole[..51], &digest[..12]);
    let shortened = explain(tool(&short), &[]);
    assert!(shortened.out.contains(&format!("of `{long}`")) && shortened.code == 0, "{short}: {shortened:?}");
    let resource = explain(request("resources/read", json!({ "uri": "notes+file:///a" })), &[]);
    assert!(resource.code == 0 && resource.out.contains("of `file:///a`, id 1 of the server `notes`"), "{resource:?}");

    let elsewhere = explain(tool("notes__pay"), &["--endpoint", "/few"]);
    assert_eq!(elsewhere.code, 1, "not shown there, not callable: {elsewhere:?}");
    let true_name = explain(tool("notes__pay"), &["--server", "notes"]);
    assert!(true_name.code == 1 && true_name.out.contains("not in the catalogue"), "{true_name:?}");
    for nobodys in [tool("pay"), tool("mail__pay"), request("tools/list", json!({}))] {
        let unsaid = explain(nobodys, &[]);
        assert!(unsaid.code == 2 && unsaid.err.contains("which server"), "{unsaid:?}");
    }
}

#[test]
fn a_choice_of_tools_that_chooses_nothing_is_said_by_check_and_tools_and_at_the_start() {
    let (folder, notes, shop) = (Folder::new(), Server::start(), Server::start());
    let endpoints = "endpoints:\n- { path: /a, tools: ['notes/loook', 'p*'] }\n- { path: /b, tools: ['refund'] }\n";
    let file = file(&notes, &shop, endpoints);
    folder.write("p.yaml", &file);
    folder.write("tools.json", TOOLS);
    let lists = ["--catalogue", "notes=tools.json", "--catalogue", "shop=tools.json"];
    let check = |lists: &[&str]| run(&folder, &[&["check", "--config", "p.yaml"], lists].concat());
    let said = [
        "p.yaml:6:23: warning[fits_nothing]: `notes/loook` fits no tool of `notes`, so `/a` shows none for it",
        "did you mean `look`?",
        "warning[fits_nothing]: `refund` fits no tool of `notes`, `shop`, so `/b` shows none for it",
    ];
    let checked = check(&lists);
    assert_eq!(checked.code, 0, "{checked:?}");
    let listed = run(&folder, &["tools", "--config", "p.yaml"]);
    for text in said {
        assert!(checked.out.contains(text), "{text}\n{}", checked.out);
        assert!(listed.out.contains(text), "{text}\n{}", listed.out);
    }
    assert!(!checked.out.contains("`p*`"), "{}", checked.out);
    let document: Value = serde_json::from_str(&run(&folder, &["tools", "--config", "p.yaml", "--json"]).out).unwrap();
    let keys: Vec<_> = document["findings"].as_array().unwrap().iter().map(|finding| &finding["key"]).collect();
    assert_eq!(keys.iter().filter(|key| **key == "fits_nothing").count(), 2, "{keys:?}");
    let partly = check(&lists[..2]);
    assert!(partly.out.contains("`notes/loook`") && !partly.out.contains("`refund`"), "{}", partly.out);
    let (mut gateway, _) = Running::gateway(&folder, &["--config", "p.yaml"]);
    gateway.wait_for("mcpServers");
    assert!(gateway.said.iter().any(|line| line.contains("`refund` fits no tool")), "{:#?}", gateway.said);
}

#[test]
fn tools_lists_what_every_server_offers_and_says_which_does_not_answer() {
    let (folder, notes, shop) = (Folder::new(), Server::start(), Server::start());
    folder.write("p.yaml", &file(&notes, &shop, ""));
    let all = run(&folder, &["tools", "--config", "p.yaml"]);
    assert_eq!(all.code, 0, "{all:?}");
    for text in ["notes (2 tools, legacy era)", "read-only as notes__look", "as shop__pay", "warning[same_name]"] {
        assert!(all.out.contains(text), "{text}\n{}", all.out);
    }
    let one = run(&folder, &["tools", "--config", "p.yaml", "--server", "shop", "--json"]);
    assert_eq!(one.code, 0, "{one:?}");
    let document: Value = serde_json::from_str(&one.out).unwrap();
    assert_eq!(document["servers"].as_array().unwrap().len(), 1);
    assert_eq!(document["servers"][0]["tools"][1]["shown"], "shop__pay");
    assert_eq!(document["servers"][0]["tools"][1]["definition"]["name"], "pay");
    let saved = run(&folder, &["catalogue", "save", "--config", "p.yaml"]);
    assert!(saved.code == 2 && saved.err.contains("--server NAME"), "{saved:?}");
    assert_eq!(run(&folder, &["catalogue", "save", "--config", "p.yaml", "--server", "shop"]).code, 0);
    let schema = run(&folder, &["policy", "schema", "--config", "p.yaml"]).out;
    assert!(schema.contains("\nnamespace notes {") && schema.contains("\nnamespace shop {"), "{schema}");
    drop(shop);
    let partly = run(&folder, &["tools", "--config", "p.yaml"]);
    assert!(
        partly.code == 1 && partly.out.contains("notes__pay") && partly.out.contains("cannot be reached"),
        "{partly:?}"
    );
}

/// docs/gateway.md: every configuration on the page is whole and passes the check.
#[test]
fn the_configurations_on_the_page_about_many_servers_pass_the_check() {
    let page = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/gateway.md");
    let page = std::fs::read_to_string(page).unwrap();
    let configurations: Vec<&str> =
        page.split("```yaml\n").skip(1).map(|rest| rest.split("\n```").next().unwrap()).collect();
    assert!(configurations.len() >= 3);
    let folder = Folder::new();
    for configuration in configurations {
        folder.write("p.yaml", configuration);
        // A secret of the page's.
        let output = crate::support::portcullis(folder.path())
            .args(["check", "--config", "p.yaml"])
            .env("NOTES_TOKEN", "t")
            .output()
            .unwrap();
        let out = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success() && out.starts_with("ok\n"), "{configuration}\n{out}\n{output:?}");
    }
}

#[test]
fn a_server_with_several_ways_is_served_by_the_first_that_works() {
    let (folder, notes) = (Folder::new(), Server::start());
    let dead = Server::start().address;
    let text = format!(
        "upstream:\n  name: notes\n  transports:\n  - http: {{ url: 'http://{dead}/mcp' }}\n  - http: {{ urls: ['{}', 'http://{dead}/mcp'] }}\n",
        notes.url()
    );
    folder.write("p.yaml", &text);
    let (_gateway, address) = Running::gateway(&folder, &["--config", "p.yaml"]);
    let client = Client::open(address, "/mcp");
    for _ in 0..4 {
        assert!(client.ask(&call("pay")).to_string().contains("did"));
    }
    let wrong = text.replace("  transports:", "  fallback: { order: [stdio] }\n  transports:");
    folder.write("p.yaml", &wrong);
    let ended = run(&folder, &["check", "--config", "p.yaml"]);
    assert!(ended.code == 1 && ended.out.contains("p.yaml:3:15: error[upstream.fallback.order]"), "{ended:?}");
}

/// An address that nobody listens on.
fn nobody() -> String {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    format!("http://{}/mcp", listener.local_addr().unwrap())
}

#[test]
fn a_server_that_one_way_does_not_lead_to_is_reached_by_the_next_and_the_log_tells_of_both() {
    let (folder, server) = (Folder::new(), Server::start());
    let ways = format!("[{{ http: {{ url: '{}' }} }}, {{ http: {{ url: '{}' }} }}]", nobody(), server.url());
    folder.write("p.yaml", &format!("upstream: {{ name: notes, transports: {ways} }}\npolicy: observe\n"));
    let (mut gateway, address) = Running::gateway(&folder, &["--config", "p.yaml"]);
    let client = Client::open(address, "/mcp");
    assert!(client.ask(&call("pay"))["result"].is_object());
    gateway.signal("INT");
    assert!(gateway.end().success());
    let log = folder.read("audit/audit-00000001.jsonl");
    let opened = log.lines().find(|line| line.contains("\"attempts\"")).unwrap_or_else(|| panic!("no attempts: {log}"));
    let entry: Value = serde_json::from_str(opened).unwrap();
    let told = |at: usize, member: &str| entry["attempts"][at][member].clone();
    assert_eq!(
        (told(0, "transport"), told(0, "outcome"), told(0, "left")),
        (json!("http"), json!("upstream_unreachable"), json!("never"))
    );
    assert_eq!((told(1, "transport"), told(1, "outcome")), (json!("http-2"), json!("answered")));
    let shown = run(&folder, &["audit", "show", entry["call"].as_str().unwrap(), "audit"]);
    assert!(shown.out.contains("http upstream_unreachable") && shown.out.contains("http-2 answered"), "{}", shown.out);
    assert_eq!(run(&folder, &["audit", "verify", "audit"]).code, 0);
}

#[test]
fn replicas_answer_for_each_other_and_what_was_tried_is_told_where_the_operator_says_so() {
    let (folder, server) = (Folder::new(), Server::start());
    let one = |urls: &str, more: &str| format!("upstream: {{ http: {{ urls: [{urls}] }} }}\npolicy: observe\n{more}");
    folder.write("p.yaml", &one(&format!("'{}', '{}'", nobody(), server.url()), ""));
    let (_gateway, address) = Running::gateway(&folder, &["--config", "p.yaml"]);
    for _ in 0..3 {
        assert!(Client::open(address, "/mcp").ask(&call("pay"))["result"].is_object());
    }
    for (more, told) in [("", false), ("errors: attempts\n", true)] {
        let folder = Folder::new();
        folder.write("p.yaml", &one(&format!("'{}', '{}'", nobody(), nobody()), more));
        let (_gateway, address) = Running::gateway(&folder, &["--config", "p.yaml"]);
        let answer = http(address, "POST", "/mcp", &LEGACY, HELLO);
        let error: Value = serde_json::from_str(&answer.body).unwrap_or_else(|error| panic!("{error}: {answer:?}"));
        let attempts = error["error"]["data"]["attempts"].as_array().map(Vec::len);
        assert_eq!(attempts, told.then_some(2), "{error}");
        assert!(!answer.body.contains("127.0.0.1"), "{error}");
    }
}

/// What carried a session has ended and does not come back: the session goes on over the next transport, without its client.
#[test]
fn a_merged_session_whose_child_died_goes_on_over_the_next_transport() {
    let folder = Folder::new();
    let server = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/stdio_server.py");
    let (server, down) = (server.display(), folder.path().join("down"));
    let first = format!("[-c, 'test ! -e {} && exec python3 {server}']", down.display());
    let ways = format!(
        "[{{ stdio: {{ command: sh, args: {first} }} }}, {{ stdio: {{ command: python3, args: ['{server}'] }} }}]"
    );
    folder.write(
        "p.yaml",
        &format!("upstreams: [{{ name: notes, tags: [t], transports: {ways} }}]\npolicy: observe\nendpoints: [{{ path: /all, upstreams: 'tag:t' }}]\n"),
    );
    let (mut gateway, address) = Running::gateway(&folder, &["--config", "p.yaml"]);
    let (merged, alone) = (Client::open(address, "/all"), Client::open(address, "/mcp/notes"));
    let pid = |client: &Client, tool: &str| {
        let told = client.ask(&call(tool));
        let text = told["result"]["content"][0]["text"].as_str().unwrap_or_else(|| panic!("{told}")).to_owned();
        text.split_once("pid=").unwrap().1.split(' ').next().unwrap().parse::<u32>().unwrap()
    };
    let before = [pid(&merged, "notes__pid"), pid(&alone, "pid")];
    std::fs::write(&down, "").unwrap();
    for child in before {
        assert!(std::process::Command::new("kill").arg("-9").arg(child.to_string()).status().unwrap().success());
    }
    crate::contract::eventually("both children to be gone", || {
        let alive = before.iter().any(|child| crate::support::descendants(gateway.pid()).contains(child));
        (!alive).then_some(())
    });
    let after = pid(&merged, "notes__pid");
    assert!(!before.contains(&after));
    assert_eq!(pid(&merged, "notes__pid"), after, "where it stays");
    let lost = alone.say(&call("pid"));
    assert_eq!(lost.status, 404, "at the path of one server the client is told: {lost:?}");
    assert!(pid(&Client::open(address, "/mcp/notes"), "pid") > 0);
    gateway.signal("INT");
    assert!(gateway.end().success());
    let log = folder.read("audit/audit-00000001.jsonl");
    assert!(log.contains(r#""transport":"stdio-2""#), "the log tells of both ways: {log}");
}
