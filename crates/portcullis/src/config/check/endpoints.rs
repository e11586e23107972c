//! The paths: those that are there by themselves, and those that the file adds. Each gets its servers and how these are told apart.

use std::path::Path;
use std::sync::Arc;

use portcullis_core::naming::Names;
use portcullis_upstream::{Choice, Pattern};

use super::Complaints;
use crate::config::file::{EndpointFile, GatewaySettings};
use crate::config::{EndpointConfig, PolicyPath, ToolPattern, UpstreamConfig, nearest};

/// What the endpoints are made of.
pub(super) struct Parts<'a> {
    /// The one that leads to everything.
    pub(super) path: &'a str,
    /// The one of WebSocket connections, if they are taken.
    pub(super) websocket: Option<&'a str>,
    pub(super) gateway: &'a GatewaySettings,
    pub(super) servers: &'a [UpstreamConfig],
    pub(super) folder: &'a Path,
}

/// Every path that is served; the first is the one that clients are told of.
pub(super) fn endpoints(
    parts: &Parts<'_>,
    written: &[EndpointFile],
    complaints: &mut Complaints<'_>,
) -> Vec<EndpointConfig> {
    let mut endpoints = Vec::new();
    if !parts.gateway.only_endpoints {
        endpoints.extend(by_themselves(parts, complaints));
    } else if written.is_empty() {
        complaints.add(
            "gateway.only_endpoints",
            "there are no `endpoints`, so nothing would be served",
            "add some, or remove the key",
        );
    }
    for (index, written) in written.iter().enumerate() {
        let key = format!("endpoints.{index}");
        let Some(endpoint) = endpoint(parts, written, &key, complaints) else { continue };
        match endpoints.iter().find(|other: &&EndpointConfig| other.path == endpoint.path) {
            None => endpoints.push(endpoint),
            Some(other) => {
                let whose = match &other.key {
                    Some(key) => format!("that of `{key}`"),
                    None => "there by itself".to_owned(),
                };
                complaints.add(
                    &format!("{key}.path"),
                    format!("the path `{}` is {whose}", endpoint.path),
                    "choose another path, or serve only your own with `gateway: { only_endpoints: true }`",
                );
            }
        }
    }
    if let Some(endpoint) = endpoints.iter().find(|endpoint| parts.websocket == Some(&endpoint.path)) {
        let whose = endpoint.key.as_ref().map(|key| format!("that of `{key}`")).unwrap_or_else(|| {
            let names = endpoint.servers.iter().filter_map(|index| parts.servers.get(*index));
            format!(
                "that of the server `{}`",
                names.map(|server| server.name.as_str()).collect::<Vec<_>>().join("`, `")
            )
        });
        complaints.add(
            "websocket.path",
            format!("the path `{}` is {whose} too", endpoint.path),
            "choose another path for WebSocket connections",
        );
    }
    endpoints
}

/// All servers at `path`, and each at `path/NAME`.
fn by_themselves(parts: &Parts<'_>, complaints: &mut Complaints<'_>) -> Vec<EndpointConfig> {
    let all: Vec<usize> = (0..parts.servers.len()).collect();
    let at = |path: String, servers: Vec<usize>, names| EndpointConfig {
        path,
        tools: servers.iter().map(|_| Choice::default()).collect(),
        servers,
        names,
        patterns: Vec::new(),
        policy: Vec::new(),
        missing: None,
        key: None,
    };
    let mut endpoints = Vec::with_capacity(all.len() + 1);
    if !all.is_empty() {
        let names = (all.len() > 1).then(|| names(parts, &all, "upstreams", complaints));
        let Some(names) = names.map_or(Some(None), |names| names.map(Some)) else { return endpoints };
        endpoints.push(at(parts.path.to_owned(), all.clone(), names));
    }
    for index in all {
        let name = parts.servers.get(index).map(|server| server.name.as_str()).unwrap_or_default();
        endpoints.push(at(format!("{}/{name}", parts.path.trim_end_matches('/')), vec![index], None));
    }
    endpoints
}

fn endpoint(
    parts: &Parts<'_>,
    written: &EndpointFile,
    key: &str,
    complaints: &mut Complaints<'_>,
) -> Option<EndpointConfig> {
    if let Err(why) = super::check_path(&written.path) {
        complaints.add(&format!("{key}.path"), why, "write something like `/mcp/office`");
        return None;
    }
    let servers = chosen(parts.servers, written, key, complaints)?;
    // A tag that one server has today may be another's tomorrow, and no name changes by that.
    let alone = match written.upstreams.0.as_slice() {
        [] => parts.servers.len() == 1,
        [one] => !one.starts_with(TAG),
        _ => false,
    };
    let names = if alone { None } else { Some(names(parts, &servers, &format!("{key}.upstreams"), complaints)?) };
    let patterns = patterns(parts.servers, &servers, &written.tools.0, key, complaints);
    Some(EndpointConfig {
        path: written.path.clone(),
        tools: servers.iter().map(|server| choice(*server, &patterns)).collect(),
        patterns,
        servers,
        names,
        policy: written.policy.0.iter().map(|text| PolicyPath::new(text, parts.folder)).collect(),
        missing: written.missing,
        key: Some(key.to_owned()),
    })
}

/// Before a tag, where servers are chosen.
const TAG: &str = "tag:";

/// The servers an endpoint chooses, in their own order, each once. `None` when there is nothing to serve, which was said then.
fn chosen(
    servers: &[UpstreamConfig],
    written: &EndpointFile,
    key: &str,
    complaints: &mut Complaints<'_>,
) -> Option<Vec<usize>> {
    if written.upstreams.0.is_empty() {
        return (!servers.is_empty()).then(|| (0..servers.len()).collect());
    }
    let mut all_known = true;
    for (index, word) in written.upstreams.0.iter().enumerate() {
        if servers.iter().any(|server| server.is_called(word)) {
            continue;
        }
        all_known = false;
        let key = format!("{key}.upstreams.{index}");
        match word.strip_prefix(TAG) {
            Some(tag) => {
                let known: Vec<&str> = servers.iter().flat_map(|server| &server.tags).map(String::as_str).collect();
                complaints.add(&key, format!("no server has the tag `{tag}`"), help(tag, &known, "the tags are"));
            }
            None => {
                let known: Vec<&str> = servers.iter().map(|server| server.name.as_str()).collect();
                complaints.add(&key, format!("no server is called `{word}`"), help(word, &known, "the servers are"));
            }
        }
    }
    let fits = |server: &UpstreamConfig| written.upstreams.0.iter().any(|word| server.is_called(word));
    let chosen = servers.iter().enumerate().filter(|(_, server)| fits(server)).map(|(index, _)| index);
    all_known.then(|| chosen.collect())
}

impl UpstreamConfig {
    /// Whether `word` means this server: its name, or a tag of its.
    fn is_called(&self, word: &str) -> bool {
        match word.strip_prefix(TAG) {
            Some(tag) => self.tags.iter().any(|own| own == tag),
            None => self.name == word,
        }
    }
}

fn help(word: &str, known: &[&str], list: &str) -> String {
    match nearest(word, known.iter().copied()) {
        Some(near) => format!("did you mean `{near}`?"),
        None if known.is_empty() => "there are none".to_owned(),
        None => format!("{list} {}", known.join(", ")),
    }
}

/// What chooses tools, and for which of the servers: `NAME/…` for one, anything else for all.
fn patterns(
    all: &[UpstreamConfig],
    servers: &[usize],
    written: &[String],
    key: &str,
    complaints: &mut Complaints<'_>,
) -> Vec<ToolPattern> {
    for (index, text) in written.iter().enumerate().filter(|(_, text)| text.is_empty()) {
        complaints.add(
            &format!("{key}.tools.{index}"),
            format!("`{text}` is no pattern"),
            "write a tool's name, with `*` for any characters",
        );
    }
    let name = |index: &usize| all.get(*index).map(|server| server.name.as_str()).unwrap_or_default();
    let whose = |text: &'_ str| {
        let (first, rest) = text.split_once('/')?;
        let server = servers.iter().find(|index| name(index) == first)?;
        Some((vec![*server], rest.to_owned()))
    };
    let of = |(index, text): (usize, &String)| {
        let (servers, own) = whose(text).unwrap_or_else(|| (servers.to_vec(), text.clone()));
        let key = format!("{key}.tools.{index}");
        ToolPattern { text: text.clone(), key, pattern: Pattern::new(&own), servers }
    };
    written.iter().enumerate().map(of).collect()
}

/// The tools that one server shows.
fn choice(server: usize, patterns: &[ToolPattern]) -> Choice {
    if patterns.is_empty() {
        return Choice::default();
    }
    Choice::of(patterns.iter().filter(|own| own.servers.contains(&server)).map(|own| own.pattern.clone()))
}

/// How several servers are told apart. `None` when they cannot be, which was said then.
fn names(parts: &Parts<'_>, servers: &[usize], key: &str, complaints: &mut Complaints<'_>) -> Option<Names> {
    let own = |index: &usize| parts.servers.get(*index).map(|server| Arc::from(server.name.as_str()));
    let made =
        Names::new(servers.iter().filter_map(own).collect(), &parts.gateway.separator, parts.gateway.prefix.meant());
    match made {
        Ok(names) => Some(names),
        Err(why) => {
            let (key, help) = if why.contains("separator `") {
                ("gateway.separator", "remove the key to get `__`")
            } else {
                (key, "rename one of the servers, or serve them at paths of their own")
            };
            // The same servers are merged at more than one path.
            if !complaints.has(&why) {
                complaints.add(key, why, help);
            }
            None
        }
    }
}
