//! What a decision costs: the context, the policies that can apply, the gate around them, and the filtering of lists.
//! Everything goes through the doors that traffic takes; a condition that is decided before it looks at the arguments leaves the cost of
//! building the context alone. Decisions are remembered: what is measured without saying otherwise is a call that was not seen before, so
//! each has a first argument of its own.

#![expect(clippy::unwrap_used, reason = "a benchmark that cannot be set up must stop")]

mod world; // what is judged, and by what

use std::cell::Cell;
use std::fmt::Write as _;
use std::sync::Arc;

use bytes::Bytes;
use divan::{Bencher, black_box};
use mimalloc::MiMalloc;
use portcullis_core::call::Call;
use portcullis_core::gate::{Gate, Verdict};
use portcullis_core::guard::{Decision, Guard, Sight};
use portcullis_core::wire::{Direction, Limits, Message};
use portcullis_policy::PolicyGuard;

use self::world::{World, arguments, condition, permit, policies, tools};

// The gateway's, as it is: counting would be measured too. `cargo xtask bench --rows allocations` counts.
#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

fn main() {
    divan::main();
}

/// Makes the same call again and again, with another value of its first argument each time.
fn ever_new<'a>(world: &'a World, arguments: &'a str) -> impl Fn() -> Call + 'a {
    let turn = Cell::new(0_u32);
    move || {
        turn.set(turn.get() + 1);
        world.call(&arguments.replace("bob", &format!("b{}", turn.get())))
    }
}

fn check(bencher: Bencher<'_, '_>, world: &World, guard: &PolicyGuard, arguments: &str) {
    let call = ever_new(world, arguments);
    assert!(matches!(guard.check(&call()), Decision::Pass(_)), "this call must pass");
    bencher.with_inputs(call).bench_local_refs(|call| guard.check(black_box(call)));
}

/// Building the context: every argument is mentioned, none is looked at.
#[divan::bench(args = [0, 1, 5, 20])]
fn context(bencher: Bencher<'_, '_>, mentioned: usize) {
    let world = World::new();
    let guard = world.guard(&permit(&format!("principal.name == \"ann\" || ({})", condition(mentioned))));
    check(bencher, &world, &guard, &arguments(20));
}

/// 64 KiB of structured arguments, of which the policies mention one short string.
#[divan::bench]
fn context_of_64_kib_with_one_mentioned(bencher: Bencher<'_, '_>) {
    let world = World::new();
    let guard = world.guard(&permit(&condition(1)));
    let big = vec![r#"{"x":"0123456789abcdef"}"#; 2621].join(",");
    check(bencher, &world, &guard, &format!(r#"{{"big":[{big}],"a0":"bob"}}"#));
}

/// 4 KiB of them: the longest arguments whose decision is looked for in memory, where it is not.
#[divan::bench]
fn context_of_4_kib_with_one_mentioned(bencher: Bencher<'_, '_>) {
    let world = World::new();
    let guard = world.guard(&permit(&condition(1)));
    let big = vec![r#"{"x":"0123456789abcdef"}"#; 160].join(",");
    check(bencher, &world, &guard, &format!(r#"{{"big":[{big}],"a0":"bob"}}"#));
}

/// A decision that looks at so many arguments.
#[divan::bench(args = [0, 1, 5, 20])]
fn decision(bencher: Bencher<'_, '_>, looked_at: usize) {
    let world = World::new();
    let guard = world.guard(&permit(&condition(looked_at)));
    check(bencher, &world, &guard, &arguments(20));
}

/// The same, made before.
#[divan::bench(args = [0, 1, 5, 20])]
fn decision_remembered(bencher: Bencher<'_, '_>, looked_at: usize) {
    let world = World::new();
    let guard = world.guard(&permit(&condition(looked_at)));
    let call = world.call(&arguments(20));
    assert!(matches!(guard.check(&call), Decision::Pass(_)), "this call must pass");
    bencher.bench_local(|| guard.check(black_box(&call)));
}

/// A decision about five arguments among so many policies.
#[divan::bench(args = [1, 10, 100, 1000])]
fn decision_among(bencher: Bencher<'_, '_>, count: usize) {
    let world = World::new();
    let guard = world.guard(&policies(count, &condition(5)));
    check(bencher, &world, &guard, &arguments(5));
}

/// The whole gate: a message of five arguments that was read, judged by ten policies.
#[divan::bench]
fn gate(bencher: Bencher<'_, '_>) {
    let world = World::new();
    let arguments = arguments(5);
    judge(bencher, &world, ever_new(&world, &arguments));
}

/// The same with a decision that was made before.
#[divan::bench]
fn gate_remembered(bencher: Bencher<'_, '_>) {
    let world = World::new();
    let call = world.call(&arguments(5));
    judge(bencher, &world, || call.clone());
}

fn judge(bencher: Bencher<'_, '_>, world: &World, call: impl Fn() -> Call) {
    let gate = Arc::new(Gate::new(Arc::new(world.guard(&policies(10, &condition(5)))), Vec::new()));
    bencher.with_inputs(call).bench_local_values(|call| {
        let judgement = gate.judge(call);
        assert!(matches!(judgement.verdict, Verdict::Cleared(..)), "this call must pass");
        judgement
    });
}

/// A denial, whose reason and manner are looked up as well.
#[divan::bench]
fn denial(bencher: Bencher<'_, '_>) {
    let world = World::new();
    let guard = world.guard(&permit("context.args has a0 && context.args.a0 == \"eve\""));
    let arguments = arguments(5);
    let call = ever_new(&world, &arguments);
    assert!(matches!(guard.check(&call()), Decision::Deny(_)), "this call must be denied");
    bencher.with_inputs(call).bench_local_refs(|call| guard.check(black_box(call)));
}

/// A `tools/list` answer of one hundred tools, half of them hidden.
#[divan::bench]
fn list_of_100_tools(bencher: Bencher<'_, '_>) {
    let world = World::new();
    let mut text = String::from("permit (principal, action == Mcp::Action::\"tools/list\", resource);\n");
    for n in 0..50 {
        let condition = condition(n % 5);
        let _ = writeln!(
            text,
            "permit (principal, action == notes::Action::\"tool{n}\", resource) when {{ {condition} }};"
        );
    }
    let guard = world.guard(&text);
    let asked = world.message(r#"{"jsonrpc":"2.0","id":1,"method":"tools/list"}"#.to_owned());
    let answer = format!(r#"{{"jsonrpc":"2.0","id":1,"result":{}}}"#, tools());
    let answer = Message::read(Bytes::from(answer), Direction::ToClient, &Limits::default()).unwrap();
    let mut watch = guard.watch(&asked).unwrap();
    assert!(matches!(watch.see(&answer), Sight::Replace(..)), "half of the tools must be hidden");
    bencher.bench_local(|| watch.see(black_box(&answer)));
}
