//! What several servers can do together, and which of them a request that goes to all is for.

use crate::catalogue::Listed;
use crate::own::quoted;
use crate::wire::{JsonKind, View};

/// Capabilities whose members belong to whoever made them up: nothing is known of how two declarations add up.
const FOREIGN: [&str; 2] = ["experimental", "extensions"];

/// `ServerCapabilities` of all: what one server can do, they can do together. Booleans are or-ed; of anything else that differs the first
/// server's counts.
pub(super) fn united(declared: &[View<'_>]) -> String {
    object(
        declared,
        |key, values| {
            if FOREIGN.contains(&key) { object(values, |_, values| first(values)) } else { value(values) }
        },
    )
}

/// Whether a server of these capabilities is asked when `method` goes to all of an endpoint's. One that declares nothing of the kind would
/// answer with an error, and clients would take it for unavailable.
#[must_use]
pub fn is_for(method: &str, capabilities: View<'_>) -> bool {
    let declared = match (Listed::of_method(method), method) {
        (Some(list), _) => capabilities.get(list.capability()),
        (None, "tasks/list") => capabilities.path(&["tasks", "list"]),
        (None, "logging/setLevel") => capabilities.get("logging"),
        (None, _) => return true,
    };
    declared.is_some_and(|declared| !declared.is_null())
}

/// The members of all objects, in the order in which they occur first.
pub(super) fn object(objects: &[View<'_>], unite: impl Fn(&str, &[View<'_>]) -> String) -> String {
    let mut members: Vec<(String, Vec<View<'_>>)> = Vec::new();
    for (key, value) in objects.iter().flat_map(|object| object.members()) {
        if value.is_null() {
            continue;
        }
        match members.iter_mut().find(|(known, _)| *known == key) {
            Some((_, values)) => values.push(value),
            None => members.push((key.into_owned(), vec![value])),
        }
    }
    let members: Vec<String> =
        members.iter().map(|(key, values)| format!("{}:{}", quoted(key), unite(key, values))).collect();
    format!("{{{}}}", members.join(","))
}

/// As deep as the reader lets objects be.
fn value(values: &[View<'_>]) -> String {
    let all = |kind: JsonKind| values.iter().all(|value| value.kind() == kind);
    if all(JsonKind::Object) {
        object(values, |_, values| value(values))
    } else if all(JsonKind::Bool) {
        values.iter().any(|value| value.as_bool() == Some(true)).to_string()
    } else {
        first(values)
    }
}

fn first(values: &[View<'_>]) -> String {
    values.first().map(|value| value.text()).unwrap_or_default().to_owned()
}
