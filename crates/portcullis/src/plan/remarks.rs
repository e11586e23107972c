//! What an operator should look at in what the servers offer: names that could be mistaken, and choices of tools that choose nothing. It stops nothing.

use std::sync::Arc;

use portcullis_core::naming::{Conflict, ConflictKind};

use super::{Known, shown};
use crate::config::{Config, EndpointConfig, PrefixWord, ToolPattern, nearest};
use crate::finding::Finding;

/// All of it, as far as the servers are known.
pub(crate) fn remarks(config: &Config, known: &Known) -> Vec<Finding> {
    let mut findings = conflicts(config, known);
    for endpoint in &config.endpoints {
        findings.extend(endpoint.patterns.iter().filter_map(|written| fits_nothing(config, endpoint, written, known)));
    }
    findings
}

/// A misspelt pattern hides the tool that was meant, and nobody is told by a tool that is not there. Of servers that have not answered nothing is known.
fn fits_nothing(config: &Config, endpoint: &EndpointConfig, written: &ToolPattern, known: &Known) -> Option<Finding> {
    let about: Vec<_> = written.servers.iter().filter_map(|server| known.get(*server)).collect();
    if about.is_empty() || about.iter().any(|(_, catalogue)| !catalogue.is_read()) {
        return None;
    }
    let names = || about.iter().flat_map(|(_, catalogue)| catalogue.tools()).map(|tool| tool.name.as_str());
    if names().any(|name| written.pattern.fits(name)) {
        return None;
    }
    let servers: Vec<_> = about.iter().map(|(name, _)| format!("`{name}`")).collect();
    let text = format!(
        "`{}` fits no tool of {}, so `{}` shows none for it",
        written.text.escape_debug(),
        servers.join(", "),
        endpoint.path
    );
    let own = written.text.split_once('/').map_or(written.text.as_str(), |(_, own)| own);
    let help = match nearest(own, names()) {
        Some(near) => format!("did you mean `{}`?", near.escape_debug()),
        None => "`portcullis tools` lists them; a server may also offer it later".to_owned(),
    };
    Some(config.finding(&written.key, text).warning().named("fits_nothing").help(help))
}

/// Names that clients of merged servers could mistake, once for each path where they meet first.
fn conflicts(config: &Config, known: &Known) -> Vec<Finding> {
    let mut findings: Vec<Finding> = Vec::new();
    for endpoint in &config.endpoints {
        let Some(names) = &endpoint.names else { continue };
        for (kind, text) in in_few_words(names.conflicts(&shown(endpoint, known)), config.gateway.prefix) {
            if !findings.iter().any(|finding| finding.text == text) {
                let key = endpoint.key.as_deref().unwrap_or("upstreams");
                let finding = config.finding(key, text).warning().named(kind.code());
                findings.push(finding.help(way_out(kind, config.gateway.prefix)));
            }
        }
    }
    findings
}

/// Each as a sentence. Where every name has a prefix, servers that have many names in common (two of the same kind, say) are one sentence: it is no news
/// about each name, and must not hide what is.
fn in_few_words(conflicts: Vec<Conflict>, prefix: PrefixWord) -> Vec<(ConflictKind, String)> {
    let same = |one: &Conflict, other: &Conflict| {
        let servers = |of: &Conflict| of.names.iter().map(|named| Arc::clone(&named.server)).collect::<Vec<_>>();
        let common = one.kind == ConflictKind::Same && prefix == PrefixWord::Always;
        common && (one.kind, one.of) == (other.kind, other.of) && servers(one) == servers(other)
    };
    let mut groups: Vec<Vec<Conflict>> = Vec::new();
    for conflict in conflicts {
        match groups.iter_mut().find(|group| group.first().is_some_and(|first| same(first, &conflict))) {
            Some(group) => group.push(conflict),
            None => groups.push(vec![conflict]),
        }
    }
    groups.iter().filter_map(|group| Some((group.first()?.kind, sentence(group)?))).collect()
}

fn sentence(group: &[Conflict]) -> Option<String> {
    let [first, _, ..] = group else { return group.first().map(ToString::to_string) };
    let quoted = |name: &str| format!("`{}`", name.escape_debug());
    let names = group.iter().filter_map(|conflict| Some(quoted(&conflict.names.first()?.name)));
    let (names, servers): (Vec<_>, Vec<_>) =
        (names.collect(), first.names.iter().map(|named| quoted(&named.server)).collect());
    Some(format!(
        "{} offer {} {}s of the same names: {}",
        servers.join(" and "),
        group.len(),
        first.of.as_str(),
        names.join(", ")
    ))
}

/// What an operator can do about it, if it is meant to stay.
const fn way_out(kind: ConflictKind, prefix: PrefixWord) -> &'static str {
    match (kind, prefix) {
        (ConflictKind::Same, PrefixWord::Never) => {
            "the first server keeps the name; `gateway: { prefix: always }` shows both, `endpoints` can leave one out"
        }
        (ConflictKind::Same, PrefixWord::Always | PrefixWord::OnConflict) => {
            "the prefix tells them apart; `endpoints` can leave one out"
        }
        (ConflictKind::Alike, _) => "make sure that none imitates another; `endpoints` can leave one out",
        (ConflictKind::Long, _) => {
            "clients see it shortened, always in the same way; policies and the log have its own name"
        }
    }
}
