//! What a person reads when the gateway is up: where it listens, what it guards, by which policy, where the log is, and what to paste
//! into a client. The first line is for programs too: `Portcullis listens on http://ADDRESS/PATH`,
//! or `https://` behind TLS.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use portcullis_policy::Summary;
use portcullis_upstream::Choice;

use super::{Assembly, Guarded};
use crate::config::{Config, EndpointConfig, UpstreamConfig};
use crate::exit::Failure;
use crate::out::{self, DIM, NAME, STRONG, Styled, WARN};
use crate::plan::{Chosen, describe_upstream};

/// Prints the banner.
pub(crate) fn show(config: &Config, assembly: &Assembly) -> Result<(), Failure> {
    let Some(address) = assembly.bound.as_ref().map(|bound| bound.local_addr) else {
        stdio(config, assembly);
        return Ok(());
    };
    let url = format!("{}://{address}{}", scheme(config), config.path());
    out::line(format_args!("{} listens on {}", Styled(STRONG, "Portcullis"), Styled(NAME, &url)))?;
    for (index, text) in guarded(config, &assembly.servers).iter().enumerate() {
        out::line(format_args!("  {:<8} {text}", if index == 0 { "guards" } else { "" }))?;
    }
    for (index, text) in paths(config).iter().enumerate() {
        out::line(format_args!("  {:<8} {text}", if index == 0 { "paths" } else { "" }))?;
    }
    out::line(format_args!("  policy   {}", policy(&assembly.chosen, &assembly.loaded.common.summary)))?;
    out::line(format_args!("  callers  {}", callers(config)))?;
    out::line(format_args!("  log      {}", assembly.ledger.layout().folder().display()))?;
    if let Some(admin) = assembly.admin.as_ref().and_then(|listener| listener.local_addr().ok()) {
        out::line(format_args!("  metrics  http://{admin}/metrics"))?;
    }
    out::line("")?;
    out::line(format_args!("{}", Styled(DIM, "Paste into the client's configuration:")))?;
    out::line(snippet(config, address))?;
    Ok(())
}

/// To standard error: the other output is the client's.
fn stdio(config: &Config, assembly: &Assembly) {
    guarded(config, &assembly.servers).iter().for_each(|text| out::note(format_args!("guards {text}")));
    out::note(format_args!("policy {}", policy(&assembly.chosen, &assembly.loaded.common.summary)));
    out::note(format_args!("log {}", assembly.ledger.layout().folder().display()));
}

const fn scheme(config: &Config) -> &'static str {
    if config.server.tls.is_some() { "https" } else { "http" }
}

/// One line for each server.
fn guarded(config: &Config, servers: &[Guarded]) -> Vec<String> {
    config.servers.iter().zip(servers).map(|(server, guarded)| of_server(server, guarded)).collect()
}

fn of_server(server: &UpstreamConfig, guarded: &Guarded) -> String {
    let (name, what) = (Styled(NAME, &server.name), describe_upstream(server));
    match &guarded.answer {
        Ok(catalogue) => {
            let era = guarded.upstream.era().map_or("unknown", |era| era.as_str());
            let count = catalogue.tools().len();
            let tools = if count == 1 { "tool" } else { "tools" };
            format!("{name} ({count} {tools}, {era} era): {what}")
        }
        Err(fault) => format!(
            "{name}: {what} {}",
            Styled(WARN, format!("– does not answer yet: {}", out::escaped(&fault.to_string())))
        ),
    }
}

/// What is served where, unless it is one server at one path. The paths of single servers are one line: they follow from the names.
fn paths(config: &Config) -> Vec<String> {
    let (alone, others): (Vec<_>, Vec<_>) =
        config.endpoints.iter().partition(|endpoint| endpoint.key.is_none() && endpoint.names.is_none());
    if others.is_empty() && config.servers.len() < 2 {
        return Vec::new();
    }
    let mut lines: Vec<_> = others.iter().map(|endpoint| of_path(config, endpoint)).collect();
    if let Some(first) = alone.last() {
        let parent = first.path.rsplit_once('/').map(|(parent, _)| parent).unwrap_or_default();
        lines.push(format!("{}: each of them alone, under its own names", Styled(NAME, format!("{parent}/NAME"))));
    }
    lines
}

/// One path, for a person.
pub(crate) fn of_path(config: &Config, endpoint: &EndpointConfig) -> String {
    let names: Vec<_> = config.servers_of(endpoint).map(|server| server.name.as_str()).collect();
    let how = if endpoint.names.is_some() { ", merged" } else { ", alone" };
    let chosen = if endpoint.tools.iter().all(Choice::is_all) { "" } else { ", chosen tools" };
    let own = if endpoint.policy.is_empty() { "" } else { ", policy of its own" };
    format!("{}: {}{how}{chosen}{own}", Styled(NAME, &endpoint.path), names.join(", "))
}

fn policy(chosen: &Chosen, summary: &Summary) -> String {
    let names: Vec<_> = chosen.paths.iter().map(ToString::to_string).collect();
    let names = names.join(", ");
    if chosen.by_default {
        return format!(
            "{names}: {}",
            Styled(WARN, "everything is permitted and recorded; choose another with --policy")
        );
    }
    let Summary { permits, forbids, asks, .. } = summary;
    let mut counts = vec![format!("{permits} permit"), format!("{forbids} forbid")];
    if *asks > 0 {
        counts.push(format!("{asks} ask"));
    }
    format!("{names} ({})", counts.join(", "))
}

fn callers(config: &Config) -> String {
    let identity = &config.server.identity;
    let open = identity.lets_anonymous_in(config.server.listen.ip().is_loopback());
    let managed = identity.key_file.as_ref().map(|file| format!(" ({})", file.display())).unwrap_or_default();
    let mut ways = Vec::new();
    match identity.all_keys().count() {
        0 => {}
        1 => ways.push(format!("1 key{managed}")),
        count => ways.push(format!("{count} keys{managed}")),
    }
    if let Some(oauth) = &identity.oauth {
        let names: Vec<_> = oauth.issuers.iter().map(|issuer| issuer.name.as_str()).collect();
        ways.push(format!("tokens of {}", names.join(", ")));
    }
    if !identity.certificates.is_empty() {
        ways.push("client certificates".to_owned());
    }
    let mut text = match (ways.is_empty(), open) {
        (true, false) => format!("nobody yet: `portcullis keys new` makes a key{managed}"),
        (true, true) => format!("everyone who reaches the address (no keys configured{managed})"),
        (false, false) => ways.join(", "),
        (false, true) => format!("{}, and anonymous callers", ways.join(", ")),
    };
    for (required, only) in [
        (identity.signatures.required, "; signed requests only"),
        (identity.chains.required, "; with call chains only"),
    ] {
        text.push_str(if required { only } else { "" });
    }
    text
}

/// The entry of `mcpServers` that most clients take.
pub(crate) fn snippet(config: &Config, address: SocketAddr) -> String {
    let here = || format!("{}://{}{}", scheme(config), reachable(address), config.path());
    let url = config.server.public_url.clone().unwrap_or_else(here);
    let mut entry = serde_json::json!({ "type": "http", "url": url });
    let identity = &config.server.identity;
    // Clients get tokens by themselves.
    let asks_for_keys =
        identity.oauth.is_none() && !identity.lets_anonymous_in(config.server.listen.ip().is_loopback());
    if let Some(entry) = entry.as_object_mut().filter(|_| asks_for_keys) {
        entry.insert("headers".to_owned(), serde_json::json!({ "Authorization": "Bearer YOUR-KEY" }));
    }
    let mut servers = serde_json::Map::new();
    // For several the name of what stands in front of them.
    let name = match config.servers.as_slice() {
        [] => &config.server_name,
        [one] => &one.name,
        [_, _, ..] => "portcullis",
    };
    servers.insert(name.to_owned(), entry);
    serde_json::json!({ "mcpServers": servers }).to_string()
}

/// A listener on every address is reached on this machine's own.
fn reachable(address: SocketAddr) -> SocketAddr {
    let ip = match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => IpAddr::V4(Ipv4Addr::LOCALHOST),
        IpAddr::V6(ip) if ip.is_unspecified() => IpAddr::V6(Ipv6Addr::LOCALHOST),
        ip => ip,
    };
    SocketAddr::new(ip, address.port())
}

#[cfg(test)]
mod tests {
    use super::{Config, callers, snippet};
    use crate::config::Overrides;

    #[test]
    fn the_banner_says_who_may_call() {
        let said = |identity: &str| {
            let folder = tempfile::tempdir().unwrap();
            let file = folder.path().join("p.yaml");
            std::fs::write(&file, format!("public_url: https://gateway.example/mcp\nidentity: {identity}\n")).unwrap();
            callers(&Config::load(Some(&file), &Overrides::default()).unwrap())
        };
        let key = format!("keys: [{{ name: ana, sha256: {} }}]", "a".repeat(64));
        let oauth = "oauth: { issuers: [{ name: acme, issuer: https://issuer.example }] }";
        assert_eq!(said("{}"), "everyone who reaches the address (no keys configured)");
        assert_eq!(said(&format!("{{ {key} }}")), "1 key");
        assert_eq!(said(&format!("{{ {oauth} }}")), "tokens of acme");
        assert_eq!(
            said(&format!("{{ anonymous: true, {key}, {oauth} }}")),
            "1 key, tokens of acme, and anonymous callers"
        );
    }

    #[test]
    fn the_snippet_is_json_that_clients_take_and_names_a_reachable_address() {
        let overrides = Overrides { listen: Some("0.0.0.0:1".parse().unwrap()), ..Overrides::default() };
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "identity: { anonymous: true }\n").unwrap();
        let config = Config::load(Some(file.path()), &overrides).unwrap();
        let text = snippet(&config, config.server.listen);
        assert_eq!(text, r#"{"mcpServers":{"server":{"type":"http","url":"http://127.0.0.1:1/mcp"}}}"#);
    }
}
