//! Several servers: what a file may say of them, where they are served, and what is said of contradictions.

use super::*;

/// Two servers and a third with two ways; `more` follows.
fn three(more: &str) -> String {
    format!(
        "upstreams:\n\
         - {{ name: notes, tags: [office], http: {{ url: 'http://127.0.0.1:1/mcp' }} }}\n\
         - {{ name: shop, tags: [office, money], stdio: {{ command: ./shop }} }}\n\
         - name: web\n  transports:\n  - http: {{ url: 'http://127.0.0.1:2/mcp' }}\n  - stdio: {{ command: web }}\n\
         {more}"
    )
}

fn two(more: &str) -> String {
    format!(
        "upstreams:\n- {{ name: notes, http: {{ url: 'http://127.0.0.1:1/mcp' }} }}\n- {{ name: shop, http: {{ url: 'http://127.0.0.1:2/mcp' }} }}\n{more}"
    )
}

/// Path, names of the servers, and whether they are merged.
fn paths(config: &Config) -> Vec<(&str, Vec<&str>, bool)> {
    let of = |endpoint: &EndpointConfig| endpoint.names.is_some();
    config
        .endpoints
        .iter()
        .map(|endpoint| {
            let names = config.servers_of(endpoint).map(|server| server.name.as_str()).collect();
            (endpoint.path.as_str(), names, of(endpoint))
        })
        .collect()
}

#[test]
fn one_server_is_itself_at_the_path_and_at_its_own() {
    for text in [
        "upstream: { http: { url: 'http://127.0.0.1:1/mcp' } }\n",
        "upstreams: [{ name: server, http: { url: 'http://127.0.0.1:1/mcp' } }]\n",
    ] {
        let config = load(text, &logged());
        assert_eq!(paths(&config), [("/mcp", vec!["server"], false), ("/mcp/server", vec!["server"], false)], "{text}");
    }
}

#[test]
fn several_servers_are_merged_at_the_path_and_each_is_alone_at_its_own() {
    let config = load(&three("path: /\n"), &logged());
    assert_eq!(
        paths(&config),
        [
            ("/", vec!["notes", "shop", "web"], true),
            ("/notes", vec!["notes"], false),
            ("/shop", vec!["shop"], false),
            ("/web", vec!["web"], false)
        ]
    );
    let web = config.server("web").unwrap();
    let keys: Vec<&str> = web.ways.iter().map(|way| way.key.as_str()).collect();
    assert_eq!(keys, ["upstreams.2.transports.0.http", "upstreams.2.transports.1.stdio"]);
    let Transport::Stdio(stdio) = &config.server("shop").unwrap().ways[0].transport else { panic!("not stdio") };
    assert!(Path::new(&stdio.command).is_absolute(), "paths start at the file in a list too: {}", stdio.command);
}

#[test]
fn endpoints_choose_servers_by_name_and_tag_tools_by_pattern_and_a_policy() {
    let text = three(
        "endpoints:\n\
         - { path: /office, upstreams: 'tag:office', tools: ['read_*', 'shop/pay'], policy: read-only }\n\
         - { path: /money, upstreams: 'tag:money' }\n\
         - { path: /pair, upstreams: [web, notes] }\n\
         - { path: /one, upstreams: shop }\n\
         - { path: /all }\n",
    );
    let config = load(&text, &logged());
    let of = |path: &str| config.endpoints.iter().find(|endpoint| endpoint.path == path).unwrap();
    assert_eq!(
        paths(&config)[4..],
        [
            ("/office", vec!["notes", "shop"], true),
            // Whose tag it is may change, and no name changes by that.
            ("/money", vec!["shop"], true),
            // The order of servers is one for the whole file.
            ("/pair", vec!["notes", "web"], true),
            ("/one", vec!["shop"], false),
            ("/all", vec!["notes", "shop", "web"], true),
        ]
    );
    let office = of("/office");
    assert_eq!(office.policy, [PolicyPath::Preset("read-only")]);
    let shows = |index: usize, tool: &str| office.tools[index].has(tool);
    assert!(shows(0, "read_note") && !shows(0, "pay"), "another server's pattern is not this one's");
    assert!(shows(1, "read_cart") && shows(1, "pay") && !shows(1, "refund"));
    assert!(of("/one").tools[0].is_all());
}

#[test]
fn with_only_endpoints_nothing_is_served_that_is_not_written() {
    let config =
        load(&two("gateway: { only_endpoints: true }\nendpoints: [{ path: /mcp, upstreams: shop }]\n"), &logged());
    assert_eq!(paths(&config), [("/mcp", vec!["shop"], false)]);
    let found = complaints(&two("gateway: { only_endpoints: true }\n"));
    assert!(found[0].contains("error[gateway.only_endpoints]: there are no `endpoints`"), "{found:#?}");
}

#[test]
fn the_command_line_names_one_server_in_place_of_the_files() {
    let overrides = Overrides { upstream: Some("http://127.0.0.1:9/mcp".to_owned()), ..logged() };
    let config = load(&two(""), &overrides);
    assert_eq!(paths(&config), [("/mcp", vec!["server"], false), ("/mcp/server", vec!["server"], false)]);
}

#[test]
fn policies_of_the_command_line_are_those_of_every_path() {
    let overrides = Overrides { policy: vec!["closed".to_owned()], ..logged() };
    let config = load(&two("endpoints: [{ path: /a, policy: observe }]\n"), &overrides);
    assert!(config.endpoints.iter().all(|endpoint| endpoint.policy.is_empty()));
}

#[test]
fn what_contradicts_itself_names_its_place_and_the_way_out() {
    let one = "http: { url: 'http://127.0.0.1:1/mcp' }";
    for (text, place, says) in [
        (
            format!("upstream: {{ {one} }}\nupstreams: [{{ name: a, {one} }}]\n"),
            "p.yaml:2:1: error[upstreams]",
            "both `upstream` and `upstreams`",
        ),
        (format!("upstreams:\n- {{ {one} }}\n"), "p.yaml:2:3: error[upstreams.0]", "`name` is missing"),
        (
            format!("upstreams:\n- {{ name: a, {one} }}\n- {{ name: a, {one} }}\n"),
            "p.yaml:3:5: error[upstreams.1.name]",
            "is the name of `upstreams.0` too",
        ),
        (
            format!("upstreams:\n- {{ name: true, {one} }}\n"),
            "p.yaml:2:5: error[upstreams.0.name]",
            "cannot be the name",
        ),
        ("upstreams: []\n".to_owned(), "p.yaml:1:1: error[upstreams]", "1 to 256"),
        (
            "upstreams:\n- { name: a }\n".to_owned(),
            "p.yaml:2:3: error[upstreams.0]",
            "none of `http`, `stdio`, `websocket` and `http_sse`",
        ),
        (
            format!("upstreams:\n- {{ name: a, {one}, transports: [{{ stdio: {{ command: a }} }}] }}\n"),
            "p.yaml:2:3: error[upstreams.0]",
            "both `http` and `transports`",
        ),
        (
            "upstream: { transports: [{ htp: { url: x } }] }\n".to_owned(),
            "p.yaml:1:28: error[upstream.transports.0",
            "did you mean `http`?",
        ),
        (
            format!("upstreams:\n- {{ name: a, {one} }}\n- {{ name: A, {one} }}\n"),
            "p.yaml:1:1: error[upstreams]",
            "cannot be told apart",
        ),
        (two("gateway: { separator: ' ' }\n"), "p.yaml:4:12: error[gateway.separator]", "cannot stand in names"),
        (two("gateway: { deadline_ms: 0 }\n"), "p.yaml:4:12: error[gateway.deadline_ms]", "is not between"),
        (two("endpoints: [{ path: mcp }]\n"), "p.yaml:4:15: error[endpoints.0.path]", "is not a path"),
        (two("endpoints: [{ path: /.well-known/mcp }]\n"), "p.yaml:4:15: error[endpoints.0.path]", "metadata"),
        (two("endpoints: [{ path: /mcp/shop }]\n"), "p.yaml:4:15: error[endpoints.0.path]", "is there by itself"),
        (
            two("endpoints: [{ path: /a }, { path: /a }]\n"),
            "p.yaml:4:29: error[endpoints.1.path]",
            "is that of `endpoints.0`",
        ),
        (
            two("endpoints: [{ path: /a, upstreams: [shpo] }]\n"),
            "p.yaml:4:37: error[endpoints.0.upstreams.0]",
            "did you mean `shop`?",
        ),
        (
            two("endpoints: [{ path: /a, upstreams: ['tag:x'] }]\n"),
            "p.yaml:4:37: error[endpoints.0.upstreams.0]",
            "no server has the tag `x`",
        ),
        (two("endpoints: [{ path: /a, tools: [''] }]\n"), "p.yaml:4:33: error[endpoints.0.tools.0]", "is no pattern"),
    ] {
        let found = complaints(&text);
        assert_eq!(found.len(), 1, "{text}\n{found:#?}");
        assert!(found[0].starts_with(place) && found[0].contains(says), "{text}\n{found:#?}");
    }
}

#[test]
fn websocket_connections_need_a_path_that_is_nobody_elses() {
    let upstream = "upstream: { name: ws, http: { url: 'http://127.0.0.1:1/mcp' } }\n";
    let found = complaints(&format!("{upstream}websocket: {{ enabled: true }}\n"));
    assert!(
        found[0].contains("error[websocket.path]: the path `/mcp/ws` is that of the server `ws` too"),
        "{found:#?}"
    );
    let elsewhere = load(&format!("{upstream}websocket: {{ enabled: true, path: /socket }}\n"), &logged());
    assert_eq!(elsewhere.endpoints.len(), 2);
}

#[test]
fn a_name_on_the_command_line_is_for_one_server() {
    let folder = Folder::with(&two(""));
    let overrides = Overrides { name: Some("a".to_owned()), ..logged() };
    let Err(ConfigError::Wrong(found)) = Config::load(Some(&folder.path()), &overrides) else { panic!("accepted") };
    assert!(found[0].text.contains("`--name` names one server"), "{found:?}");
}
