//! YAML in, a type or a finding out: the one wrapper around the YAML library, so that every complaint names file, line, column, key
//! and the way out. It knows nothing of what the keys mean.

use std::fmt;

use serde::de::{Deserialize, DeserializeOwned, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_saphyr::options::{DuplicateKeyPolicy, MergeKeyPolicy};
use serde_saphyr::{Error, Options, Spanned};

use super::suggest::nearest;
use crate::finding::Finding;

/// Reads `text` (of the file named `file`) into a type.
///
/// # Errors
/// The first thing that is wrong, with its place.
pub(crate) fn read<T: DeserializeOwned>(file: &str, text: &str) -> Result<T, Box<Finding>> {
    serde_saphyr::from_str_with_options(text, strict()).map_err(|error| Box::new(explain(file, text, &error)))
}

/// Line and column of the value of a dotted key, both counted from 1; of its nearest ancestor that is written down when the key is not.
/// Entries of a list are numbers, counted from 0.
pub(crate) fn locate(text: &str, key: &str) -> Option<(u64, u64)> {
    let root: Spanned<Node> = serde_saphyr::from_str_with_options(text, lenient()).ok()?;
    let mut node = &root;
    let mut place = None;
    for part in key.split('.') {
        let Some((found, value)) = node.value.member(part) else { break };
        place = Some((found.line(), found.column()));
        node = value;
    }
    place
}

fn strict() -> Options {
    serde_saphyr::options! {
        duplicate_keys: DuplicateKeyPolicy::Error,
        // Merge keys would let two files that read alike mean different things.
        merge_keys: MergeKeyPolicy::Error,
        // `no` is a word, not a boolean: the classic YAML trap.
        strict_booleans: true,
        reject_unsupported_tags: true,
        with_snippet: false,
    }
}

/// For finding places in a file that may be wrong in other ways.
fn lenient() -> Options {
    serde_saphyr::options! { duplicate_keys: DuplicateKeyPolicy::LastWins, with_snippet: false }
}

fn explain(file: &str, text: &str, error: &Error) -> Finding {
    let error = error.without_snippet();
    let place = error.location().map(|location| (location.line(), location.column()));
    let found = place.and_then(|place| path_to(text, place)).unwrap_or_default();
    let finding = |key: &str, text: String| Finding::error(file, key, text).at(place);
    let key = if found.path.is_empty() { "yaml".to_owned() } else { found.path.join(".") };
    match error {
        Error::SerdeUnknownField { field, expected, .. } => {
            finding(&found.beside(field), format!("unknown key `{field}`")).help(known(field, expected))
        }
        // What stands in place of a secret may be one.
        Error::SerdeUnknownVariant { expected, .. } if expected.as_slice() == SECRET => {
            finding(&key, "this is not how a secret is written".to_owned())
                .help("write `{ file: PATH }`, `{ env: VARIABLE }`, or `{ value: … }` for what is not secret")
        }
        Error::SerdeUnknownVariant { variant, expected, .. } => {
            finding(&key, format!("`{variant}` is not a value of this key")).help(known(variant, expected))
        }
        Error::SerdeMissingField { field, .. } => {
            finding(&found.beside(field), format!("`{field}` is missing")).help(format!("add `{field}: …`"))
        }
        Error::DuplicateMappingKey { key: repeated, .. } => {
            let repeated = repeated.as_deref().unwrap_or("?");
            finding(&found.beside(repeated), format!("the key `{repeated}` is written twice"))
                .help("keep one of them; which one would win is nobody's guess")
        }
        Error::SerdeInvalidType { unexpected, expected, .. }
        | Error::SerdeInvalidValue { unexpected, expected, .. } => {
            finding(&key, format!("expected {expected}, found {}", without_value(unexpected)))
        }
        Error::Unexpected { expected: "mapping start", .. } => {
            finding(&key, "expected keys of its own, found none".to_owned())
                .help("write them below it as `KEY: VALUE`, or after it as `{ KEY: VALUE }`")
        }
        Error::Unexpected { expected: "sequence start", .. } => {
            finding(&key, "expected a list".to_owned()).help("write `[ONE, TWO]`, or a line `- ONE` for each")
        }
        Error::InvalidScalar { ty, .. } => finding(&key, format!("expected {}", plain_type(ty))),
        other => custom(&key, plain(other), finding),
    }
}

/// The forms of a secret; must be those of the settings type.
const SECRET: [&str; 3] = ["value", "file", "env"];

/// A complaint of a settings type itself. Those of guards begin with the path of the key they are about.
fn custom(key: &str, text: String, finding: impl Fn(&str, String) -> Finding) -> Finding {
    let section = key.split('.').next().unwrap_or_default();
    let (key, text) = match text.split_once(": ") {
        Some((path, rest)) if path.starts_with(section) && !path.contains(char::is_whitespace) => {
            (path, rest.to_owned())
        }
        Some(_) | None => (key, text),
    };
    if text.contains("socket address") {
        return finding(key, "this is not an address with a port".to_owned())
            .help("write something like `127.0.0.1:8700`");
    }
    finding(key, text)
}

/// The kind of a value without the value, which may be a secret in the wrong place.
fn without_value(unexpected: &str) -> &str {
    unexpected.split([' ', '`', '"']).next().unwrap_or(unexpected)
}

fn plain_type(ty: &str) -> &'static str {
    match ty.chars().next() {
        Some('u') => "a whole number, 0 or more",
        Some('i') => "a whole number",
        Some('f') => "a number",
        Some('b') => "`true` or `false`",
        _ => "something else",
    }
}

/// The library's sentence without its ` at line …` tail; the place is printed in front already.
fn plain(error: &Error) -> String {
    let text = error.to_string();
    let first = text.lines().next().unwrap_or_default();
    first.split(" at line ").next().unwrap_or(first).to_owned()
}

fn known(word: &str, expected: &[&'static str]) -> String {
    match nearest(word, expected.iter().copied()) {
        Some(near) => format!("did you mean `{near}`?"),
        None if expected.is_empty() => "remove it; nothing is configured here".to_owned(),
        None => format!("known here: {}", expected.join(", ")),
    }
}

/// What stands at a place.
#[derive(Default)]
struct Found {
    path: Vec<String>,
    /// The place is a key, not a value.
    is_key: bool,
}

impl Found {
    /// Path of another key in the mapping that the place is in, or is.
    fn beside(&self, key: &str) -> String {
        let keep = self.path.len().saturating_sub(usize::from(self.is_key));
        let parents = self.path.iter().take(keep).map(String::as_str);
        parents.chain([key]).collect::<Vec<_>>().join(".")
    }
}

/// The key or value that starts at a place.
fn path_to(text: &str, place: (u64, u64)) -> Option<Found> {
    let root: Spanned<Node> = serde_saphyr::from_str_with_options(text, lenient()).ok()?;
    let mut found = Found::default();
    find(&root, place, &mut found).then_some(found)
}

fn find(node: &Spanned<Node>, place: (u64, u64), found: &mut Found) -> bool {
    let starts = |location: serde_saphyr::Location| (location.line(), location.column()) == place;
    match &node.value {
        Node::Map(members) => {
            for (key, value) in members {
                found.path.push(key.value.clone());
                if starts(key.referenced) {
                    found.is_key = true;
                    return true;
                }
                if find(value, place, found) || starts(value.referenced) {
                    return true;
                }
                found.path.pop();
            }
        }
        Node::Seq(items) => {
            for (index, item) in items.iter().enumerate() {
                found.path.push(index.to_string());
                if find(item, place, found) || starts(item.referenced) {
                    return true;
                }
                found.path.pop();
            }
        }
        Node::Scalar => {}
    }
    false
}

/// The shape of a document: keys and places, no values.
#[derive(Debug)]
enum Node {
    Map(Vec<(Spanned<String>, Spanned<Node>)>),
    Seq(Vec<Spanned<Node>>),
    Scalar,
}

impl Node {
    fn member(&self, name: &str) -> Option<(serde_saphyr::Location, &Spanned<Self>)> {
        match self {
            Self::Map(members) => {
                members.iter().find(|(key, _)| key.value == name).map(|(key, value)| (key.referenced, value))
            }
            Self::Seq(items) => items.get(name.parse::<usize>().ok()?).map(|item| (item.referenced, item)),
            Self::Scalar => None,
        }
    }
}

impl<'de> Deserialize<'de> for Node {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(NodeVisitor)
    }
}

struct NodeVisitor;

impl<'de> Visitor<'de> for NodeVisitor {
    type Value = Node;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any YAML value")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Node, A::Error> {
        let mut members = Vec::new();
        while let Some(member) = map.next_entry()? {
            members.push(member);
        }
        Ok(Node::Map(members))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Node, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = seq.next_element()? {
            items.push(item);
        }
        Ok(Node::Seq(items))
    }

    fn visit_bool<E>(self, _: bool) -> Result<Node, E> {
        Ok(Node::Scalar)
    }

    fn visit_i64<E>(self, _: i64) -> Result<Node, E> {
        Ok(Node::Scalar)
    }

    fn visit_u64<E>(self, _: u64) -> Result<Node, E> {
        Ok(Node::Scalar)
    }

    fn visit_i128<E>(self, _: i128) -> Result<Node, E> {
        Ok(Node::Scalar)
    }

    fn visit_u128<E>(self, _: u128) -> Result<Node, E> {
        Ok(Node::Scalar)
    }

    fn visit_f64<E>(self, _: f64) -> Result<Node, E> {
        Ok(Node::Scalar)
    }

    fn visit_str<E>(self, _: &str) -> Result<Node, E> {
        Ok(Node::Scalar)
    }

    fn visit_unit<E>(self) -> Result<Node, E> {
        Ok(Node::Scalar)
    }

    fn visit_none<E>(self) -> Result<Node, E> {
        Ok(Node::Scalar)
    }
}

#[cfg(test)]
mod tests;
