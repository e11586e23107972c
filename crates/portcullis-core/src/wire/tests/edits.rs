//! Splices against the same change made to a tree.

use bytes::Bytes;
use proptest::{collection::vec, prelude::*, sample::select};
use serde_json::{Map, Value, json};

use super::tree::tree;
use crate::wire::{Direction, Id, Limits, Message, view_json};

#[derive(Clone, Debug)]
enum Change {
    Set(&'static str, &'static str),
    Remove(&'static str),
    Name(&'static str),
    Number(i64),
    Keep(u32),
}

fn change() -> impl Strategy<Value = Change> {
    let keys = || select(vec!["other", "a", "b/c", "q\"uote", "é", "io.modelcontextprotocol/logLevel"]);
    let raws = select(vec!["1", "\"x\"", "null", "{\"deep\":[1, 2]}", "[]", "12345678901234567890123"]);
    prop_oneof![
        4 => (keys(), raws).prop_map(|(key, raw)| Change::Set(key, raw)),
        4 => keys().prop_map(Change::Remove),
        1 => Just(Change::Set("progressToken", "\"t\"")),
        1 => Just(Change::Remove("progressToken")),
        1 => select(vec!["renamed", "r\"2"]).prop_map(Change::Name),
        1 => any::<i64>().prop_map(Change::Number),
        2 => any::<u32>().prop_map(Change::Keep),
    ]
}

fn meta() -> impl Strategy<Value = String> {
    let members =
        vec!["\"progressToken\" : 7", "\"a\":{\"a\":1}", " \"b\\/c\":[1,2] ", "\"other\":\"\\u0061\"", "\"\\u00e9\":0"];
    prop_oneof![
        Just(String::new()),
        proptest::sample::subsequence(members, 0..=5)
            .prop_shuffle()
            .prop_map(|m| format!("\"_meta\" :{{ {} }}", m.join(", "))),
    ]
}

fn request() -> impl Strategy<Value = String> {
    let items = vec(select(vec!["1", " 2 ", "{\"x\":[3]}", "\"]\""]), 0..6).prop_map(|items| items.join(" ,"));
    (meta(), items, any::<bool>()).prop_map(|(meta, items, first)| {
        let comma = if meta.is_empty() { "" } else { "," };
        let rest = format!("\"name\":\"n\",\"arguments\":{{\"items\":[ {items} ]}}");
        let params = if first { format!("{meta}{comma}{rest}") } else { format!("{rest}{comma}{meta}") };
        format!("{{\"jsonrpc\":\"2.0\", \"id\": \"i\",\"params\": {{{params}}} ,\"method\":\"tools/call\"}}")
    })
}

fn meta_of(root: &mut Value, holder: &str) -> Option<Map<String, Value>> {
    root.get(holder).and_then(|holder| holder.get("_meta")).and_then(Value::as_object).cloned()
}

fn changed_tree(mut root: Value, changes: &[Change], holder: &str) -> Value {
    let before = meta_of(&mut root, holder);
    let mut meta = before.clone().unwrap_or_default();
    for change in changes {
        match change {
            Change::Set(key, raw) => drop(meta.insert((*key).to_owned(), serde_json::from_str(raw).unwrap())),
            Change::Remove(key) => drop(meta.remove(*key)),
            Change::Name(name) => root[holder]["name"] = json!(name),
            Change::Number(id) => root["id"] = json!(id),
            Change::Keep(bits) => {
                let items = root[holder]["arguments"]["items"].as_array_mut().unwrap();
                let mut index = 0;
                items.retain(|_| {
                    index += 1;
                    bits & (1 << (index - 1)) != 0
                });
            }
        }
    }
    if before.is_some() || !meta.is_empty() {
        root[holder]["_meta"] = Value::Object(meta);
    }
    root
}

/// At most one change of a kind that names the same place: two would be refused as overlapping.
fn without_overlaps(changes: Vec<Change>) -> Vec<Change> {
    let mut seen = std::collections::HashSet::new();
    let keep = |change: &Change| match change {
        Change::Set(..) | Change::Remove(_) => true,
        other => seen.insert(std::mem::discriminant(other)),
    };
    changes.into_iter().filter(keep).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn an_edited_request_is_the_edited_tree(text in request(), changes in vec(change(), 0..6).prop_map(without_overlaps)) {
        let limits = Limits::default();
        let message = Message::read(Bytes::from(text.clone()), Direction::ToServer, &limits).unwrap();
        let mut edit = message.edit();
        for change in &changes {
            edit = match change {
                Change::Set(key, raw) => edit.set_meta(key, raw),
                Change::Remove(key) => edit.remove_meta(key),
                Change::Name(name) => edit.replace(message.name_view().unwrap(), &json!(name).to_string()),
                Change::Number(id) => edit.set_id(&Id::number(*id)),
                Change::Keep(bits) => {
                    let items = message.arguments().unwrap().get("items").unwrap();
                    edit.remove_elements(items, &|index| bits & (1 << index) != 0)
                }
            };
        }
        let noop = edit.is_noop();
        let edited = edit.apply(&limits).unwrap();
        let before = tree(view_json(text.as_bytes(), &limits).unwrap());
        let after = tree(view_json(edited.bytes(), &limits).unwrap());
        prop_assert_eq!(after, changed_tree(before, &changes, "params"));
        prop_assert_eq!(noop, edited.bytes() == message.bytes());
    }

    #[test]
    fn an_edited_result_is_the_edited_tree(meta in meta(), changes in vec(change(), 0..6)) {
        let limits = Limits::default();
        let text = format!("{{\"jsonrpc\":\"2.0\",\"id\":1,\"result\": {{ {meta} }}}}");
        let message = Message::read(Bytes::from(text.clone()), Direction::ToClient, &limits).unwrap();
        let changes: Vec<Change> =
            changes.into_iter().filter(|change| matches!(change, Change::Set(..) | Change::Remove(_))).collect();
        let mut edit = message.edit();
        for change in &changes {
            edit = match change {
                Change::Set(key, raw) => edit.set_meta(key, raw),
                Change::Remove(key) => edit.remove_meta(key),
                _ => edit,
            };
        }
        let edited = edit.apply(&limits).unwrap();
        let before = tree(view_json(text.as_bytes(), &limits).unwrap());
        let after = tree(view_json(edited.bytes(), &limits).unwrap());
        prop_assert_eq!(after, changed_tree(before, &changes, "result"));
    }
}
