//! Configuration files: what they say, and what is said about them.

use std::path::{Path, PathBuf};

mod servers;

use super::{Config, ConfigError, EndpointConfig, Overrides, PolicyPath, Transport, reference};

struct Folder(tempfile::TempDir);

impl Folder {
    fn with(text: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("p.yaml"), text).unwrap();
        Self(folder)
    }

    fn path(&self) -> PathBuf {
        self.0.path().join("p.yaml")
    }
}

fn load(text: &str, overrides: &Overrides) -> Config {
    let folder = Folder::with(text);
    Config::load(Some(&folder.path()), overrides).unwrap()
}

/// Complaints as text, with the temporary folder's name left out.
fn complaints(text: &str) -> Vec<String> {
    let folder = Folder::with(text);
    let Err(ConfigError::Wrong(findings)) = Config::load(Some(&folder.path()), &logged()) else { panic!("accepted") };
    let inside = format!("{}/", folder.0.path().display());
    findings
        .iter()
        .map(|finding| anstream::adapter::strip_str(&finding.to_string()).to_string().replace(&inside, ""))
        .collect()
}

/// Tests must not depend on who runs them having a home.
fn logged() -> Overrides {
    Overrides { audit_log: Some(PathBuf::from("audit")), ..Overrides::default() }
}

#[test]
fn nothing_configured_means_the_documented_defaults() {
    let config = Config::load(None, &logged()).unwrap();
    assert_eq!(config.server.listen.to_string(), "127.0.0.1:8700");
    assert_eq!(config.server.path, "/mcp");
    assert!(config.policy.is_empty());
    assert!(config.admin.is_none());
    assert!(config.servers.is_empty() && config.endpoints.is_empty());
}

#[test]
fn the_command_line_wins_over_the_file() {
    let text =
        "listen: 127.0.0.1:1\npolicy: closed\nupstream: { name: notes, http: { url: 'http://127.0.0.1:3/mcp' } }\n";
    let overrides = Overrides {
        listen: Some("127.0.0.1:2".parse().unwrap()),
        policy: vec!["observe".to_owned()],
        command: vec!["server".to_owned(), "--fast".to_owned()],
        ..logged()
    };
    let config = load(text, &overrides);
    assert_eq!(config.server.listen.port(), 2);
    assert_eq!(config.policy, [PolicyPath::Preset("observe")]);
    let [server] = config.servers.as_slice() else { panic!("{:?}", config.servers) };
    assert_eq!((server.name.as_str(), server.ways.len()), ("notes", 1));
    let Transport::Stdio(stdio) = &server.ways[0].transport else { panic!("not stdio") };
    assert!(stdio.command == "server" && stdio.args == ["--fast"]);
}

#[test]
fn relative_paths_start_at_the_folder_of_the_file() {
    let folder = Folder::with("policy: [policies, read-only]\nupstream: { stdio: { command: ./server, cwd: work } }\n");
    let config = Config::load(Some(&folder.path()), &logged()).unwrap();
    let inside = |name: &str| folder.0.path().join(name);
    assert_eq!(config.policy, [PolicyPath::Path(inside("policies")), PolicyPath::Preset("read-only")]);
    let Transport::Stdio(stdio) = &config.servers[0].ways[0].transport else { panic!("not stdio") };
    assert_eq!(stdio.cwd, Some(inside("work")));
    assert_eq!(Path::new(&stdio.command), inside("server"));
}

#[test]
fn each_transport_has_its_key_and_a_socket_starts_at_the_folder_too() {
    for (key, text) in [
        ("http", "http: { url: 'http://localhost/mcp', socket: mcp.sock }"),
        ("stdio", "stdio: { command: x }"),
        ("websocket", "websocket: { url: 'wss://mcp.example/mcp' }"),
        ("http_sse", "http_sse: { url: 'https://mcp.example/sse' }"),
    ] {
        let folder = Folder::with(&format!("upstream: {{ {text} }}\n"));
        let config = Config::load(Some(&folder.path()), &logged()).unwrap();
        let way = &config.servers[0].ways[0];
        assert_eq!((way.transport.word(), way.key.as_str()), (key, format!("upstream.{key}").as_str()));
        if let Transport::Http(http) = &way.transport {
            assert_eq!(http.socket, Some(folder.0.path().join("mcp.sock")));
        }
    }
    let overrides = Overrides { upstream: Some("ws://127.0.0.1:3/mcp".into()), ..logged() };
    assert_eq!(load("{}", &overrides).servers[0].ways[0].transport.word(), "websocket");
    let several = "upstreams: [{ name: a, transports: [{ websocket: { url: 'wss://a.example/' } }, { http_sse: { url: 'https://a.example/' } }] }]";
    let ways = load(several, &logged()).servers[0].ways.iter().map(|way| way.transport.word()).collect::<Vec<_>>();
    assert_eq!(ways, ["websocket", "http_sse"]);
}

#[test]
fn everything_that_is_wrong_is_said_at_once_with_its_place() {
    let found = complaints(
        "path: mcp\n\
         upstream:\n  name: my-server\n  http: { url: 'http://127.0.0.1:3/mcp' }\n  stdio: { command: x }\n\
         admin:\n  listen: 0.0.0.0:9\n\
         identity:\n  keys:\n    - { name: ana, sha256: abc }\n",
    );
    assert!(found.iter().any(|text| text.starts_with("p.yaml:1:1: error[path]: `mcp` is not a path")), "{found:#?}");
    assert!(found.iter().any(|text| text.starts_with("p.yaml:3:3: error[upstream.name]: `my-server`")), "{found:#?}");
    assert!(
        found.iter().any(|text| text.starts_with("p.yaml:2:1: error[upstream]: both `http` and `stdio`")),
        "{found:#?}"
    );
    assert!(found.iter().any(|text| text.starts_with("p.yaml:7:3: error[admin.listen]: ")), "{found:#?}");
    assert!(found.iter().any(|text| text.contains("error[identity.keys.0]: `sha256` of `ana`")), "{found:#?}");
    assert!(found.iter().all(|text| text.contains("\n  help: ")), "every complaint has a way out: {found:#?}");
}

#[test]
fn an_open_port_without_callers_is_refused() {
    let found = complaints("listen: 0.0.0.0:8700\n");
    assert!(found[0].contains("error[identity]: nobody may call"), "{found:#?}");
}

#[test]
fn a_key_that_this_build_does_not_have_is_an_error() {
    let found = complaints("uptream: {}\n");
    assert_eq!(found, ["p.yaml:1:1: error[uptream]: unknown key `uptream`\n  help: did you mean `upstream`?"]);
}

#[test]
fn every_key_of_the_file_is_described_in_the_reference() {
    let page = reference::markdown();
    let schema = reference::schema();
    for key in schema["properties"].as_object().unwrap().keys() {
        assert!(page.contains(&format!("## `{key}`")), "{key}");
    }
    for line in page.lines().filter(|line| line.trim_start().starts_with("- **`")) {
        let (_, about) = line.split_once("): ").unwrap_or_default();
        assert!(!about.trim().is_empty(), "no description: {line}");
    }
}

#[test]
fn times_that_no_clock_can_wait_and_waits_of_nothing_are_found() {
    let none = complaints("timeouts: { header_seconds: 0, keep_alive_seconds: 0, drain_seconds: 0 }\n");
    assert_eq!(none.len(), 2, "a drain may wait for nobody: {none:#?}");
    assert!(none[0].contains("p.yaml:1:") && none[0].contains("error[timeouts.header_seconds]"), "{none:#?}");
    let endless = complaints("sessions: { idle_seconds: 18446744073709551615 }\n");
    assert!(endless[0].contains("31536000 seconds (a year)"), "{endless:#?}");
}
