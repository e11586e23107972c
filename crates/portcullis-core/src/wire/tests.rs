//! Property tests of the whole reader against the reference.

mod edits;
mod json;
mod tree;

use bytes::Bytes;
use proptest::prelude::*;
use serde_json::Value;

use self::{
    json::{any_array, any_json, any_message, hostile_bytes, mutated},
    tree::{tree, tree_of_tokens},
};
use super::{
    Direction, Kind, Known, Limits, Message,
    outline::Level,
    reference::{self, Bounds, Opinion},
    salvage_id, view_json,
};

/// Small enough that generated texts reach every bound.
const TIGHT: Limits = Limits { bytes: 1 << 16, depth: 6, keys: 7, members: 40, id: 24, name: 24, batch: 4 };

fn bounds(limits: &Limits) -> Bounds {
    Bounds { depth: limits.depth, keys: limits.keys, members: limits.members }
}

fn agrees_with_reference(bytes: &[u8], limits: &Limits) -> Result<(), TestCaseError> {
    let ours = view_json(bytes, limits);
    match (&ours, reference::read(bytes, bounds(limits))) {
        (_, Err(Opinion::None)) | (Err(_), Err(_)) => {}
        (Ok(view), Ok(value)) => {
            prop_assert_eq!(tree(*view), value.clone());
            prop_assert_eq!(tree_of_tokens(*view), value);
        }
        (ours, theirs) => prop_assert!(false, "{ours:?} but the reference says {theirs:?}"),
    }
    Ok(())
}

/// What must hold of every message that was accepted, said in terms of the tree.
fn accepted_is_sound(bytes: &[u8], direction: Direction) -> Result<(), TestCaseError> {
    let Ok(message) = Message::read(Bytes::copy_from_slice(bytes), direction, &TIGHT) else {
        return Ok(());
    };
    let Ok(value) = reference::read(bytes, bounds(&TIGHT)) else {
        return Ok(());
    };
    prop_assert_eq!(&value["jsonrpc"], "2.0");
    prop_assert_eq!(message.bytes().as_ref(), bytes);
    prop_assert_eq!(message.method(), value["method"].as_str());
    prop_assert_eq!(message.params().map(tree), value.get("params").cloned());
    prop_assert_eq!(message.result().map(tree), value.get("result").cloned());
    prop_assert_eq!(message.error().map(tree), value.get("error").cloned());
    prop_assert_eq!(
        message.arguments().map(tree),
        value.get("params").and_then(|params| params.get("arguments")).cloned()
    );
    match message.kind() {
        Kind::Request | Kind::Notification => {
            prop_assert!(value["method"].is_string() && value.get("result").is_none() && value.get("error").is_none());
            prop_assert!(value.get("params").is_none_or(Value::is_object));
            prop_assert_eq!(message.kind() == Kind::Request, value.get("id").is_some());
        }
        Kind::Result => prop_assert!(value["result"].is_object() && value.get("error").is_none()),
        Kind::Error => {
            prop_assert!(value["error"]["code"].is_number() && value.get("result").is_none())
        }
    }
    if let Some(id) = message.id() {
        let raw: Value = serde_json::from_str(id.raw()).unwrap();
        prop_assert!(raw.is_string() || raw.is_number());
        prop_assert_eq!(&raw, &value["id"]);
    }
    if let Some(params) = value["params"].as_object() {
        for key in params.keys() {
            prop_assert_eq!(message.param(key).map(tree), params.get(key).cloned());
        }
    }
    prop_assert!(message.edit().is_noop());
    Ok(())
}

/// A result with two arrays, and what has to be known for neither to be read.
fn result_of_arrays() -> impl Strategy<Value = (String, Vec<Known>)> {
    (any_array(), any_array(), any::<[bool; 2]>()).prop_map(|(one, two, known)| {
        let text = format!(
            r#"{{"jsonrpc":"2.0","id":1,"result":{{"a":{one},"b": {two} ,"c":[{one}],"_meta":{{"d":{two}}}}}}}"#
        );
        let open = Limits::default();
        let arrays = [one, two].into_iter().zip(known).filter(|(_, known)| *known);
        let known = arrays.filter_map(|(array, _)| Known::of(view_json(array.as_bytes(), &open).ok()?));
        let known = known.collect();
        (text, known)
    })
}

fn knowing_arrays_makes_no_difference(bytes: &[u8], known: &[Known], limits: &Limits) -> Result<(), TestCaseError> {
    let bytes = Bytes::copy_from_slice(bytes);
    let plain = Message::read(bytes.clone(), Direction::ToClient, limits);
    let knowing = Message::read_knowing(bytes, Direction::ToClient, limits, known);
    let outline = |message: &Message| {
        let levels = [Level::Top, Level::Result, Level::ResultMeta];
        levels.map(|level| format!("{:?}", message.outline().level(level).collect::<Vec<_>>()))
    };
    prop_assert_eq!(plain.as_ref().map(outline), knowing.as_ref().map(outline));
    prop_assert_eq!(
        plain.map(|message| (message.kind(), message.id().cloned())),
        knowing.map(|message| (message.kind(), message.id().cloned()))
    );
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn generated_json_is_read_as_the_reference_reads_it(text in any_json()) {
        agrees_with_reference(text.as_bytes(), &Limits::default())?;
        agrees_with_reference(text.as_bytes(), &TIGHT)?;
    }

    #[test]
    fn damaged_json_is_refused_exactly_when_the_reference_refuses_it(bytes in mutated(any_json())) {
        agrees_with_reference(&bytes, &TIGHT)?;
    }

    #[test]
    fn hostile_bytes_are_refused_exactly_when_the_reference_refuses_them(bytes in hostile_bytes()) {
        agrees_with_reference(&bytes, &TIGHT)?;
    }

    #[test]
    fn an_accepted_message_says_what_its_tree_says(text in any_message()) {
        accepted_is_sound(text.as_bytes(), Direction::ToServer)?;
        accepted_is_sound(text.as_bytes(), Direction::ToClient)?;
    }

    #[test]
    fn a_damaged_message_never_panics_and_stays_sound_if_accepted(bytes in mutated(any_message())) {
        accepted_is_sound(&bytes, Direction::ToServer)?;
        drop(salvage_id(&bytes, &TIGHT));
    }

    #[test]
    fn a_result_of_known_arrays_is_read_as_if_they_were_not_known((text, known) in result_of_arrays()) {
        knowing_arrays_makes_no_difference(text.as_bytes(), &known, &Limits::default())?;
        knowing_arrays_makes_no_difference(text.as_bytes(), &known, &TIGHT)?;
    }

    #[test]
    fn a_damaged_result_of_known_arrays_is_refused_as_if_they_were_not_known(
        (bytes, known) in result_of_arrays().prop_flat_map(|(text, known)| (mutated(Just(text)), Just(known)))
    ) {
        knowing_arrays_makes_no_difference(&bytes, &known, &Limits::default())?;
        knowing_arrays_makes_no_difference(&bytes, &known, &TIGHT)?;
    }

    /// H1: whatever is accepted as a request can also be answered.
    #[test]
    fn salvaging_agrees_with_reading(text in any_message()) {
        if let Ok(message) = Message::read(Bytes::from(text.clone()), Direction::ToServer, &TIGHT)
            && message.kind() == Kind::Request
        {
            prop_assert_eq!(salvage_id(text.as_bytes(), &TIGHT), message.id().cloned());
        }
    }
}
