//! Values as trees, read through the cursor only, for comparing with the reference. Shared with the fuzz targets.

use serde_json::Value;

use crate::wire::{JsonKind, Token, View};

/// The value as a tree, read through the cursor only.
pub(crate) fn tree(view: View<'_>) -> Value {
    match view.kind() {
        JsonKind::Null => Value::Null,
        JsonKind::Bool => view.as_bool().unwrap().into(),
        // A number too large for a float stands for itself; the reference has no opinion on those.
        JsonKind::Number => serde_json::from_str(view.number().unwrap()).unwrap_or_else(|_| view.text().into()),
        JsonKind::String => view.as_str().unwrap().into(),
        JsonKind::Array => view.elements().map(tree).collect(),
        JsonKind::Object => Value::Object(view.members().map(|(key, value)| (key.into_owned(), tree(value))).collect()),
    }
}

/// The same through the flat iterator.
pub(crate) fn tree_of_tokens(view: View<'_>) -> Value {
    let mut open: Vec<(Value, Option<String>)> = Vec::new();
    let mut key: Option<String> = None;
    for token in view.tokens() {
        let done = match token {
            Token::Key(name) => {
                key = Some(name.into_owned());
                continue;
            }
            Token::Open(kind) => {
                let empty =
                    if kind == JsonKind::Object { Value::Object(serde_json::Map::new()) } else { Value::Array(vec![]) };
                open.push((empty, key.take()));
                continue;
            }
            Token::Scalar(scalar) => (tree(scalar), key.take()),
            Token::Close => open.pop().unwrap(),
        };
        match (open.last_mut(), done) {
            (None, (value, _)) => return value,
            (Some((Value::Object(members), _)), (value, Some(key))) => drop(members.insert(key, value)),
            (Some((Value::Array(items), _)), (value, None)) => items.push(value),
            (parent, done) => panic!("{done:?} cannot go into {parent:?}"),
        }
    }
    panic!("the value never closed")
}
