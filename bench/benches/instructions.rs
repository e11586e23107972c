//! Instructions, not time: the same number on a busy machine and on an idle one, so that a change of one percent can be seen. Needs
//! valgrind, and `gungraun-runner` in the version of the library.

#![expect(unused_qualifications, clippy::exit, reason = "written by the macros of gungraun")]
#![expect(clippy::unwrap_used, reason = "a benchmark that cannot be set up must stop")]

mod world; // what is judged, and by what

use std::hint::black_box;
use std::sync::Arc;

use bytes::Bytes;
use gungraun::prelude::*;
use portcullis_bench::messages::{small, structured_call};
use portcullis_core::call::Call;
use portcullis_core::gate::{Gate, Judgement, Verdict};
use portcullis_core::wire::{Direction, Limits, Malformed, Message};

use self::world::{World, arguments, condition, policies};

#[library_benchmark]
#[bench::call_200(Bytes::from(small().text))]
#[bench::structured_64k(Bytes::from(structured_call().text))]
fn read(bytes: Bytes) -> Result<Message, Malformed> {
    Message::read(black_box(bytes), Direction::ToServer, &Limits::default())
}

library_benchmark_group!(name = reader, benchmarks = read);

/// The gate with so many policies, and a call of five arguments. `before`: another call was judged, so that what a plan prepares once is there; with
/// the same first argument its decision is remembered, with another one it is made.
fn gate(count: usize, before: &str) -> (Arc<Gate>, Call) {
    let world = World::new();
    let gate = Arc::new(Gate::new(Arc::new(world.guard(&policies(count, &condition(5)))), Vec::new()));
    let earlier = gate.judge(world.call(&arguments(5).replace("bob", before)));
    assert!(matches!(earlier.verdict, Verdict::Cleared(..)), "this call must pass");
    (gate, world.call(&arguments(5)))
}

#[library_benchmark]
#[bench::anew_among_10(gate(10, "ben"))]
#[bench::anew_among_1000(gate(1000, "ben"))]
#[bench::remembered(gate(10, "bob"))]
fn judge((gate, call): (Arc<Gate>, Call)) -> (Judgement, Arc<Gate>) {
    (gate.judge(black_box(call)), gate)
}

library_benchmark_group!(name = judging, benchmarks = judge);

main!(library_benchmark_groups = reader, judging);
