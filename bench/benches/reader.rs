//! The strict reader beside what others parse JSON with, on the same inputs. The others do less: they take the last of two equal
//! keys, know nothing of JSON-RPC and, but for the last one, build a tree.

use bytes::Bytes;
use divan::counter::BytesCount;
use divan::{Bencher, black_box};
use mimalloc::MiMalloc;
use portcullis_bench::messages::{Input, inputs};
use portcullis_core::wire::{Direction, Limits, Message};
use serde::de::IgnoredAny;

// The gateway's, as it is: counting would be measured too. `cargo xtask bench --rows allocations` counts.
#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

fn main() {
    divan::main();
}

fn direction(input: &Input) -> Direction {
    if input.is_result { Direction::ToClient } else { Direction::ToServer }
}

#[divan::bench(args = inputs())]
fn portcullis(bencher: Bencher<'_, '_>, input: &Input) {
    let (bytes, limits) = (Bytes::from(input.text.clone()), Limits::default());
    // Taking a reference to shared bytes is what the gateway does with every message too.
    bencher
        .counter(BytesCount::of_str(&input.text))
        .bench(|| Message::read(black_box(&bytes).clone(), direction(input), &limits).is_ok());
}

/// What every call costs that is kept somewhere besides the pipeline.
#[divan::bench(args = inputs())]
fn portcullis_clone(bencher: Bencher<'_, '_>, input: &Input) {
    let message = Message::read(Bytes::from(input.text.clone()), direction(input), &Limits::default()).ok();
    bencher.bench(|| black_box(&message).clone());
}

#[divan::bench(args = inputs())]
fn serde_json_value(bencher: Bencher<'_, '_>, input: &Input) {
    bencher
        .counter(BytesCount::of_str(&input.text))
        .bench(|| serde_json::from_slice::<serde_json::Value>(black_box(input.text.as_bytes())).is_ok());
}

#[divan::bench(args = inputs())]
fn serde_json_ignored(bencher: Bencher<'_, '_>, input: &Input) {
    bencher
        .counter(BytesCount::of_str(&input.text))
        .bench(|| serde_json::from_slice::<IgnoredAny>(black_box(input.text.as_bytes())).is_ok());
}

#[divan::bench(args = inputs())]
fn sonic_rs_value(bencher: Bencher<'_, '_>, input: &Input) {
    bencher
        .counter(BytesCount::of_str(&input.text))
        .bench(|| sonic_rs::from_slice::<sonic_rs::Value>(black_box(input.text.as_bytes())).is_ok());
}
