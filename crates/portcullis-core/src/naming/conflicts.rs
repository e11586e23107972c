//! What operators should know about the names of several servers: the same name twice, names that read alike, names that are too long.
//! It reports; how each is resolved is said where names are shown.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use unicode_security::confusable_detection::skeleton;

use super::{Names, Offer, short};
use crate::catalogue::Catalogue;

/// Conflicts that are reported. 1,000: nobody reads more, and a hostile server could make them without end.
const MOST: usize = 1000;

/// Why names are worth a look.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ConflictKind {
    /// Several servers offer the same name.
    Same,
    /// Names that differ by case or by letters that look alike only (UTS 39).
    Alike,
    /// More than 64 characters as clients would see it, so that they see it shortened.
    Long,
}

impl ConflictKind {
    /// Stable code for findings.
    #[must_use]
    pub const fn code(self) -> &'static str {
        match self {
            Self::Same => "same_name",
            Self::Alike => "alike_names",
            Self::Long => "long_name",
        }
    }
}

/// Names that are worth a look.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Conflict {
    pub kind: ConflictKind,
    pub of: Offer,
    /// Each with the server that offers it and what clients see; `None` where it is hidden. In order of the servers.
    pub names: Vec<Named>,
}

/// A name of one server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Named {
    pub server: Arc<str>,
    pub name: String,
    pub shown: Option<String>,
}

impl fmt::Display for Conflict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let what = self.of.as_str();
        match self.kind {
            ConflictKind::Same => write!(f, "several servers offer this {what}:")?,
            ConflictKind::Alike => write!(f, "{what}s whose names read alike:")?,
            ConflictKind::Long => write!(f, "a {what} with a name over 64 characters:")?,
        }
        for (index, named) in self.names.iter().enumerate() {
            let comma = if index > 0 { "," } else { "" };
            // Escaped, since names that look alike are shown for what they are.
            write!(f, "{comma} `{}` of `{}`", named.name.escape_debug(), named.server)?;
            match &named.shown {
                Some(shown) => write!(f, " (as `{}`)", shown.escape_debug())?,
                None => f.write_str(" (hidden)")?,
            }
        }
        Ok(())
    }
}

impl Names {
    /// What operators should know, in a fixed order: by kind of thing, then of conflict, then by name. 1,000 at most.
    #[must_use]
    pub fn conflicts(&self, known: &[Arc<Catalogue>]) -> Vec<Conflict> {
        let mut conflicts = Vec::new();
        for of in [Offer::Tool, Offer::Prompt] {
            let offered: Vec<(usize, &str)> = known
                .iter()
                .enumerate()
                .take(self.servers.len())
                .flat_map(|(server, catalogue)| of.names(catalogue).map(move |name| (server, name)))
                .collect();
            conflicts.extend(groups(&offered, |name| short::shortened(name).into_owned()).filter_map(|group| {
                let several = group.iter().any(|(server, _)| Some(server) != group.first().map(|(first, _)| first));
                several.then(|| self.conflict(ConflictKind::Same, of, &group, known))
            }));
            let mut seen = Vec::new();
            for group in groups(&offered, lower_first).chain(groups(&offered, skeleton_first)) {
                let several = group.iter().any(|(_, name)| Some(name) != group.first().map(|(_, first)| first));
                if several && !seen.contains(&group) {
                    conflicts.push(self.conflict(ConflictKind::Alike, of, &group, known));
                    seen.push(group);
                }
                if conflicts.len() >= MOST {
                    break;
                }
            }
            let is_long = |(server, name): &&(usize, &str)| {
                let whole = self.servers.get(*server).map(|server| format!("{}{name}", server.prefix));
                short::is_long(name) || whole.is_some_and(|whole| short::is_long(&whole))
            };
            conflicts.extend(
                offered.iter().filter(is_long).map(|one| self.conflict(ConflictKind::Long, of, &[*one], known)),
            );
        }
        conflicts.truncate(MOST);
        conflicts
    }

    fn conflict(&self, kind: ConflictKind, of: Offer, group: &[(usize, &str)], known: &[Arc<Catalogue>]) -> Conflict {
        let named = |(server, name): &(usize, &str)| {
            Some(Named {
                server: Arc::clone(&self.servers.get(*server)?.name),
                name: (*name).to_owned(),
                shown: self.shown_name(*server, of, name, known).map(String::from),
            })
        };
        Conflict { kind, of, names: group.iter().filter_map(named).collect() }
    }
}

/// Names of one key together, ordered by key.
fn groups<'a>(
    offered: &[(usize, &'a str)],
    key: impl Fn(&str) -> String,
) -> impl Iterator<Item = Vec<(usize, &'a str)>> {
    let mut groups: BTreeMap<String, Vec<(usize, &str)>> = BTreeMap::new();
    for &(server, name) in offered {
        groups.entry(key(name)).or_default().push((server, name));
    }
    groups.into_values().filter(|group| group.len() > 1)
}

/// Finds names that differ by case. Looking alike and being another case of each other are two things: `I` looks like `l`, and is
/// another case of `i`.
fn lower_first(name: &str) -> String {
    skeleton(&name.to_lowercase()).collect()
}

/// Finds names that look alike.
fn skeleton_first(name: &str) -> String {
    skeleton(name).collect::<String>().to_lowercase()
}
