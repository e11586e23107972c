//! Names of the Cedar world: entity types, entity ids, string literals. No decision is made here.

use std::fmt::Write as _;
use std::str::FromStr as _;

use cedar_policy::{EntityId, EntityTypeName, EntityUid};
use portcullis_core::own::short_escape;

/// Namespace of everything that is not a tool.
pub(crate) const MCP: &str = "Mcp";
/// Type of the caller.
pub(crate) const CALLER: &str = "Mcp::Caller";
/// Type of a caller's group.
pub(crate) const GROUP: &str = "Mcp::Group";
/// Type of an upstream server.
pub(crate) const SERVER: &str = "Mcp::Server";
/// Type of actions that are methods or groups of methods.
pub(crate) const ACTION: &str = "Mcp::Action";

/// Words Cedar keeps for itself, and names of its types that would make a schema ambiguous.
const RESERVED: &[&str] = &[
    "true",
    "false",
    "if",
    "then",
    "else",
    "in",
    "is",
    "like",
    "has",
    "__cedar",
    "namespace",
    "entity",
    "action",
    "type",
    "Bool",
    "Boolean",
    "Long",
    "String",
    "Set",
    "Record",
    "Entity",
    "Extension",
    "ipaddr",
    "decimal",
    "datetime",
    "duration",
    "permit",
    "forbid",
    "when",
    "unless",
    "principal",
    "resource",
    "context",
    "Action",
    MCP,
];

/// Whether an upstream may have this name: it becomes a Cedar namespace, so it is an ASCII identifier that Cedar does not keep
/// for itself. At most 64 characters: it stands in front of every tool in policies and in the log.
#[must_use]
pub fn is_server_name(name: &str) -> bool {
    let mut letters = name.chars();
    letters.next().is_some_and(|first| first.is_ascii_alphabetic() || first == '_')
        && letters.all(|letter| letter.is_ascii_alphanumeric() || letter == '_')
        && name.len() <= 64
        && !RESERVED.contains(&name)
        && EntityTypeName::from_str(&tool_action_type(name)).is_ok()
}

/// Type of the tool actions of one server.
pub(crate) fn tool_action_type(server: &str) -> String {
    format!("{server}::Action")
}

/// Id of the action group that holds all tools of one server.
pub(crate) fn server_group(server: &str) -> String {
    format!("server:{server}")
}

/// `None` when `ty` is not the name of a Cedar type.
pub(crate) fn uid(ty: &str, id: &str) -> Option<EntityUid> {
    let ty = EntityTypeName::from_str(ty).ok()?;
    Some(EntityUid::from_type_name_and_id(ty, EntityId::new(id)))
}

/// `text` as a Cedar string literal, safe in one line of source whatever it holds.
pub(crate) fn quote(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    out.push('"');
    for letter in text.chars() {
        match short_escape(letter) {
            Some(escape) => out.push_str(escape),
            // What is invisible or turns text around must not reach a reader's eye unescaped.
            None if letter.is_control()
                || matches!(letter, '\u{200B}'..='\u{200F}' | '\u{2028}'..='\u{202E}' | '\u{2060}'..='\u{206F}' | '\u{FEFF}') =>
            {
                let _ = write!(out, "\\u{{{:x}}}", u32::from(letter));
            }
            None => out.push(letter),
        }
    }
    out.push('"');
    out
}

/// Up to three of `known` that `wanted` may have been meant to be, nearest first.
pub(crate) fn nearest<'a>(wanted: &str, known: impl IntoIterator<Item = &'a str>) -> Vec<&'a str> {
    let mut close: Vec<(usize, &str)> = known
        .into_iter()
        .filter_map(|name| {
            let distance = distance(wanted, name);
            (distance <= (wanted.len().max(name.len()) / 3).max(1)).then_some((distance, name))
        })
        .collect();
    close.sort_unstable();
    close.truncate(3);
    close.into_iter().map(|(_, name)| name).collect()
}

/// Edit distance without regard to ASCII case; names longer than 64 bytes are never near to anything.
fn distance(left: &str, right: &str) -> usize {
    if left.len() > 64 || right.len() > 64 {
        return usize::MAX;
    }
    let right: Vec<u8> = right.bytes().map(|byte| byte.to_ascii_lowercase()).collect();
    let mut row: Vec<usize> = (0..=right.len()).collect();
    for (index, byte) in left.bytes().map(|byte| byte.to_ascii_lowercase()).enumerate() {
        let mut diagonal = index;
        let mut last = index + 1;
        if let Some(first) = row.first_mut() {
            *first = last;
        }
        for (cell, other) in row.iter_mut().skip(1).zip(&right) {
            let substituted = diagonal + usize::from(byte != *other);
            diagonal = *cell;
            last = substituted.min(*cell + 1).min(last + 1);
            *cell = last;
        }
    }
    row.last().copied().unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_name_is_an_identifier_that_cedar_leaves_free() {
        for good in ["notes", "a", "_x9", "GitHub"] {
            assert!(is_server_name(good), "{good}");
        }
        for bad in ["", "9a", "a-b", "a.b", "Mcp", "true", "String", "ä", "a b", "__cedar"] {
            assert!(!is_server_name(bad), "{bad}");
        }
    }

    #[test]
    fn near_names_are_suggested_nearest_first() {
        assert_eq!(nearest("amonut", ["Amont", "recipient", "amount"]), ["Amont", "amount"]);
        assert!(nearest("zzz", ["amount"]).is_empty());
    }
}
