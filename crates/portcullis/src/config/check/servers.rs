//! The servers: from the command line, from the short form for one, or from the list.

use std::path::Path;

use portcullis_upstream::StdioSettings;

use super::Complaints;
use crate::config::file::UpstreamFile;
use crate::config::{Care, DEFAULT_SERVER_NAME, Overrides, Transport, UpstreamConfig, Way};

/// The servers, and the name of the one there is or would be.
pub(super) fn servers(
    one: Option<UpstreamFile>,
    several: Option<Vec<UpstreamFile>>,
    folder: &Path,
    overrides: &Overrides,
    complaints: &mut Complaints<'_>,
) -> (String, Vec<UpstreamConfig>) {
    if one.is_some() && several.is_some() {
        complaints.add(
            "upstreams",
            "both `upstream` and `upstreams` are given",
            "keep one: `upstream` is the short form for a single server; in `upstreams` it is one entry with a `name`",
        );
        return (DEFAULT_SERVER_NAME.to_owned(), Vec::new());
    }
    let given = from_command_line(overrides);
    if let (None, Some(several)) = (&given, several) {
        return (DEFAULT_SERVER_NAME.to_owned(), listed(several, folder, overrides, complaints));
    }
    let named = overrides.name.clone().or_else(|| one.as_ref().and_then(|one| one.name.clone()));
    let name = named.unwrap_or_else(|| DEFAULT_SERVER_NAME.to_owned());
    check_name(&name, "upstream", complaints);
    let server = match given {
        Some(transport) => {
            let key = "upstream".to_owned();
            // Where and how it is reached is new; how much it may fail and hold is not.
            let care = one.map(|one| one.care()).unwrap_or_default();
            let ways = vec![Way { key: key.clone(), transport }];
            Some(UpstreamConfig { name: name.clone(), key, tags: Vec::new(), ways, catalogue_ttl_ms: None, care })
        }
        None => one.and_then(|one| entry(one, &name, "upstream", folder, complaints)),
    };
    (name, server.into_iter().collect())
}

/// Most servers. 256: each has connections, a catalogue and a line in the banner; who has more runs several gateways.
const MOST_SERVERS: usize = 256;

fn listed(
    several: Vec<UpstreamFile>,
    folder: &Path,
    overrides: &Overrides,
    complaints: &mut Complaints<'_>,
) -> Vec<UpstreamConfig> {
    if several.is_empty() || several.len() > MOST_SERVERS {
        let text = format!("`upstreams` takes 1 to {MOST_SERVERS} servers");
        complaints.add("upstreams", text, "each is an entry with a `name` and one way to reach it, such as `http`");
        return Vec::new();
    }
    if overrides.name.is_some() {
        complaints.add(
            "upstreams",
            "`--name` names one server, and the file has a list of them",
            "leave `--name` out: each entry has its own `name`",
        );
    }
    let mut servers: Vec<UpstreamConfig> = Vec::with_capacity(several.len());
    for (index, written) in several.into_iter().enumerate() {
        let key = format!("upstreams.{index}");
        let Some(name) = written.name.clone() else {
            complaints.add(
                &key,
                "`name` is missing",
                "add `name: …`: policies, the log and the path of the server refer to it",
            );
            continue;
        };
        check_name(&name, &key, complaints);
        if let Some(first) = servers.iter().find(|server| server.name == name) {
            complaints.add(
                &format!("{key}.name"),
                format!("`{name}` is the name of `{}` too", first.key),
                "give every server a name of its own; several addresses of one server belong into one entry",
            );
            continue;
        }
        servers.extend(entry(written, &name, &key, folder, complaints));
    }
    servers
}

fn check_name(name: &str, key: &str, complaints: &mut Complaints<'_>) {
    if !portcullis_policy::is_server_name(name) {
        complaints.add(
            &format!("{key}.name"),
            format!("`{name}` cannot be the name of a server"),
            "use letters, digits and `_`, not starting with a digit, and no word of Cedar itself: policies refer to it",
        );
    }
}

impl UpstreamFile {
    fn care(&self) -> Care {
        Care {
            breaker: self.breaker.clone(),
            health: self.health.clone(),
            limits: self.limits.clone(),
            fallback: self.fallback.clone(),
        }
    }
}

fn from_command_line(overrides: &Overrides) -> Option<Transport> {
    if let Some(url) = &overrides.upstream {
        return Some(Transport::of_url(url));
    }
    let (command, args) = overrides.command.split_first()?;
    Some(Transport::Stdio(Box::new(StdioSettings::of_command(command.clone(), args.to_vec()))))
}

fn entry(
    written: UpstreamFile,
    name: &str,
    key: &str,
    folder: &Path,
    complaints: &mut Complaints<'_>,
) -> Option<UpstreamConfig> {
    let care = written.care();
    let UpstreamFile { tags, http, stdio, websocket, http_sse, transports, catalogue_ttl_ms, .. } = written;
    if let Some(index) = tags.iter().position(|tag| tag.is_empty() || tag.contains(char::is_whitespace)) {
        complaints.add(&format!("{key}.tags.{index}"), "a tag is one word", "remove it, or write it without spaces");
    }
    let alone = [
        http.map(Box::new).map(Transport::Http),
        stdio.map(Box::new).map(Transport::Stdio),
        websocket.map(Box::new).map(Transport::WebSocket),
        http_sse.map(Box::new).map(Transport::HttpSse),
    ];
    let alone: Vec<Transport> = alone.into_iter().flatten().collect();
    let mut ways = match (alone.len(), transports) {
        (1, None) => alone
            .into_iter()
            .map(|transport| Way { key: format!("{key}.{}", transport.word()), transport })
            .collect::<Vec<_>>(),
        (0, Some(several)) if !several.is_empty() => several
            .into_iter()
            .enumerate()
            .map(|(index, transport)| Way { key: format!("{key}.transports.{index}.{}", transport.word()), transport })
            .collect(),
        (0, _) => {
            complaints.add(
                key,
                "none of `http`, `stdio`, `websocket` and `http_sse` is given",
                "add `http: { url: … }` or `stdio: { command: … }`",
            );
            return None;
        }
        (_, transports) => {
            let also = transports.is_some().then(|| "`transports`".to_owned());
            let words: Vec<_> = alone.iter().map(|way| format!("`{}`", way.word())).chain(also).collect();
            complaints.add(
                key,
                format!("both {} are given", words.join(" and ")),
                "keep one; several ways to the same server are a list, the preferred one first: `transports: [{ http: { … } }, { stdio: { … } }]`",
            );
            return None;
        }
    };
    ways.iter_mut().for_each(|way| way.transport.relative_to(folder));
    Some(UpstreamConfig { name: name.to_owned(), key: key.to_owned(), tags, ways, catalogue_ttl_ms, care })
}
