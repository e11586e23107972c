//! Any bytes: the reader says what the slow reference says, and nothing it accepts can make an accessor panic.

#![no_main]

#[path = "../../crates/portcullis-core/src/wire/reference.rs"]
mod reference;
#[path = "../../crates/portcullis-core/src/wire/tests/tree.rs"]
mod tree;

use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use portcullis_core::wire::{
    self, Direction, Limits, Message, looks_like_batch, read_batch, salvage_id, view_json,
};

use self::{
    reference::{Bounds, Opinion},
    tree::{tree, tree_of_tokens},
};

const TIGHT: Limits = Limits {
    bytes: 1 << 16,
    depth: 6,
    keys: 20,
    members: 60,
    id: 24,
    name: 24,
    batch: 4,
};

fuzz_target!(|data: &[u8]| {
    for limits in [Limits::default(), TIGHT] {
        agree(data, &limits);
        for direction in [Direction::ToServer, Direction::ToClient] {
            read(data, direction, &limits);
        }
    }
});

fn agree(data: &[u8], limits: &Limits) {
    let bounds = Bounds {
        depth: limits.depth,
        keys: limits.keys,
        members: limits.members,
    };
    match (view_json(data, limits), reference::read(data, bounds)) {
        (_, Err(Opinion::None)) | (Err(_), Err(Opinion::Refused(_))) => {}
        (Ok(view), Ok(value)) => {
            assert_eq!(tree(view), value);
            assert_eq!(tree_of_tokens(view), value);
        }
        (Err(wire::Malformed::TooLarge { .. }), Ok(_)) => assert!(data.len() > limits.bytes),
        (ours, theirs) => panic!("{ours:?}, but the reference says {theirs:?}"),
    }
}

fn read(data: &[u8], direction: Direction, limits: &Limits) {
    let bytes = Bytes::copy_from_slice(data);
    drop(salvage_id(data, limits));
    if let Ok(messages) = read_batch(bytes.clone(), direction, limits) {
        assert!(!messages.is_empty() && messages.len() <= limits.batch);
        messages.iter().for_each(touch);
    }
    match Message::read(bytes, direction, limits) {
        Ok(message) => {
            assert_eq!(message.bytes().as_ref(), data);
            assert!(!looks_like_batch(data));
            assert!(
                view_json(data, limits).is_ok(),
                "a message is stricter than JSON"
            );
            touch(&message);
        }
        Err(flaw) => {
            assert!(wire::Malformed::ALL_CODES.contains(&flaw.code()));
            assert!(flaw.at().is_none_or(|at| at <= data.len()));
            assert!(flaw.public().len() < 120);
        }
    }
}

fn touch(message: &Message) {
    assert!(message.edit().is_noop());
    let strings = (message.name(), message.method());
    let ids = (
        message.progress_token(),
        message.cancelled_id(),
        message.id(),
    );
    let views = (
        message.arguments(),
        message.error(),
        message.error_code(),
        message.meta("a"),
    );
    drop(format!("{message:?} {strings:?} {ids:?} {views:?}"));
}
