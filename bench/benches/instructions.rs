//! Instructions, not time: the same number on a busy machine and on an idle one, so that a change of one percent can be seen. Needs
//! valgrind, and `gungraun-runner` in the version of the library.

#![expect(unused_qualifications, clippy::exit, reason = "written by the macros of gungraun")]

use bytes::Bytes;
use gungraun::prelude::*;
use portcullis_bench::messages::{small, structured_call};
use portcullis_core::wire::{Direction, Limits, Malformed, Message};
use std::hint::black_box;

#[library_benchmark]
#[bench::call_200(Bytes::from(small().text))]
#[bench::structured_64k(Bytes::from(structured_call().text))]
fn read(bytes: Bytes) -> Result<Message, Malformed> {
    Message::read(black_box(bytes), Direction::ToServer, &Limits::default())
}

library_benchmark_group!(name = reader, benchmarks = read);

main!(library_benchmark_groups = reader);
