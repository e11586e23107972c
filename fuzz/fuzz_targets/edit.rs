//! Any message and any edits: the spliced text is the changed tree, or the edit is refused.

#![no_main]

#[path = "../../crates/portcullis-core/src/wire/tests/tree.rs"]
mod tree;

use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use portcullis_core::wire::{self, Direction, Edit, Id, Kind, Limits, Message, view_json};
use serde_json::{Value, json};

use self::tree::{tree, tree_of_tokens};

const KEYS: [&str; 6] = ["a", "b", "q\"\n", "é", "io.modelcontextprotocol/logLevel", ""];
const RAWS: [&str; 6] = ["1", " [1, 2] ", "{\"a\":1}", "\"x\"", "1,\"b\":2", "null"];

// The first byte says how many bytes of edits follow, the rest is the message.
fuzz_target!(|data: &[u8]| {
    let Some((&count, rest)) = data.split_first() else {
        return;
    };
    let Some((script, text)) = rest.split_at_checked(usize::from(count % 12)) else {
        return;
    };
    let limits = Limits::default();
    for direction in [Direction::ToServer, Direction::ToClient] {
        if let Ok(message) = Message::read(Bytes::copy_from_slice(text), direction, &limits) {
            change(&message, script, &limits);
        }
    }
});

fn change(message: &Message, script: &[u8], limits: &Limits) {
    let mut edit = message.edit();
    let mut expected = Expected::of(tree(view_json(message.bytes(), limits).expect("it was read")), message.kind());
    for pair in script.chunks(2) {
        let [what, choice] = pair else { break };
        edit = step(message, edit, &mut expected, *what, usize::from(*choice));
    }
    let was_noop = edit.is_noop();
    match edit.apply(limits) {
        Ok(edited) => {
            assert!(!was_noop || edited.bytes() == message.bytes());
            let view = view_json(edited.bytes(), limits).expect("it was read");
            assert_eq!(tree(view), tree_of_tokens(view));
            assert_eq!(tree(view), expected.finish());
            assert_eq!((edited.kind(), edited.method()), (message.kind(), message.method()));
        }
        Err(flaw) => assert!(!was_noop, "nothing to do, yet {flaw:?}"),
    }
}

fn step<'a>(message: &'a Message, edit: Edit<'a>, expected: &mut Expected, what: u8, choice: usize) -> Edit<'a> {
    let key = KEYS[choice % KEYS.len()];
    match what % 5 {
        0 => {
            let raw = RAWS[choice / KEYS.len() % RAWS.len()];
            if let Ok(value) = serde_json::from_str(raw) {
                expected.set(key, value);
            }
            edit.set_meta(key, raw)
        }
        1 => {
            expected.remove(key);
            edit.remove_meta(key)
        }
        2 => {
            expected.root["id"] = json!(choice);
            edit.set_id(&Id::number(i64::try_from(choice).unwrap_or_default()))
        }
        3 => match message.param("name") {
            Some(name) => {
                expected.root["params"]["name"] = json!("renamed");
                edit.replace(name, "\"renamed\"")
            }
            None => edit,
        },
        // Indexes mean the original array, so a second removal has no counterpart in the changed tree.
        _ => match message.result_member("tools") {
            Some(tools) if !std::mem::replace(&mut expected.filtered, true) => {
                let keep = |index: usize| index >= 8 || choice & (1 << index) != 0;
                if let Some(tools) = expected.root["result"]["tools"].as_array_mut() {
                    let mut index = 0..;
                    tools.retain(|_| keep(index.next().unwrap_or_default()));
                }
                edit.remove_elements(tools, &keep)
            }
            _ => edit,
        },
    }
}

/// The same change made to the tree.
struct Expected {
    root: Value,
    holder: &'static str,
    meta: Option<serde_json::Map<String, Value>>,
    filtered: bool,
}

impl Expected {
    fn of(root: Value, kind: Kind) -> Self {
        let holder = match kind {
            Kind::Request | Kind::Notification => "params",
            Kind::Result | Kind::Error => "result",
        };
        let meta = root.get(holder).and_then(|holder| holder.get("_meta")).and_then(Value::as_object).cloned();
        Self { root, holder, meta, filtered: false }
    }

    fn set(&mut self, key: &str, value: Value) {
        self.meta.get_or_insert_default().insert(key.to_owned(), value);
    }

    fn remove(&mut self, key: &str) {
        if let Some(meta) = &mut self.meta {
            meta.remove(key);
        }
    }

    fn finish(mut self) -> Value {
        let existed = self.root.get(self.holder).is_some_and(|holder| holder.get("_meta").is_some());
        if let Some(meta) = self.meta.filter(|meta| existed || !meta.is_empty()) {
            self.root[self.holder]["_meta"] = Value::Object(meta);
        }
        self.root
    }
}
