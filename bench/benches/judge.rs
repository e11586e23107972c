//! What a decision costs: the context, the policies that can apply, the gate around them, and the filtering of lists.
//! Everything goes through the doors that traffic takes; a condition that is decided before it looks at the arguments leaves the cost of
//! building the context alone. Decisions are remembered: what is measured without saying otherwise is a call that was not seen before, so
//! each has a first argument of its own.

#![expect(clippy::unwrap_used, reason = "a benchmark that cannot be set up must stop")]

use std::cell::Cell;
use std::fmt::Write as _;
use std::sync::Arc;

use bytes::Bytes;
use divan::{AllocProfiler, Bencher, black_box};
use portcullis_core::call::{Call, Context, Subject};
use portcullis_core::caller::{Caller, Proof};
use portcullis_core::catalogue::Catalogue;
use portcullis_core::clock::Timestamp;
use portcullis_core::gate::{Gate, Verdict};
use portcullis_core::guard::{Decision, Guard, Sight};
use portcullis_core::trace::TraceContext;
use portcullis_core::version::Version;
use portcullis_core::wire::{Direction, Limits, Message};
use portcullis_policy::{Policies, PolicyGuard, Source};

#[global_allocator]
static ALLOCATOR: AllocProfiler = AllocProfiler::system();

fn main() {
    divan::main();
}

/// A caller in one group and a server of one hundred tools with twenty arguments each.
struct World {
    context: Arc<Context>,
}

impl World {
    fn new() -> Self {
        let catalogue = Catalogue::from_saved(tools().as_bytes(), &Limits::default()).unwrap();
        let caller = Caller::new("ann", Proof::ApiKey, vec!["staff".to_owned()]);
        Self {
            context: Arc::new(Context {
                caller: Arc::new(caller),
                proofs: Arc::default(),
                version: Version::LATEST_LEGACY,
                session: None,
                server: Arc::from("notes"),
                trace: TraceContext::from_request(&[], &[], None, [1; 16], [1; 8]),
                now: Timestamp(1_767_268_800_000),
                catalogue: Arc::new(catalogue),
                param_headers: Vec::new(),
                answers: None,
            }),
        }
    }

    fn guard(&self, text: &str) -> PolicyGuard {
        let source = Source { file: "bench.cedar".to_owned(), text: text.to_owned() };
        let (policies, _) = Policies::load(&[source], [("notes", &*self.context.catalogue)]).unwrap();
        PolicyGuard::new(Arc::new(policies), Limits::default())
    }

    fn message(&self, text: String) -> Call {
        let message = Message::read(Bytes::from(text), Direction::ToServer, &Limits::default()).unwrap();
        Call { context: Arc::clone(&self.context), subject: Subject::Message(message) }
    }

    fn call(&self, arguments: &str) -> Call {
        let params = format!(r#"{{"name":"tool7","arguments":{arguments}}}"#);
        self.message(format!(r#"{{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{params}}}"#))
    }
}

fn tools() -> String {
    let arguments = (0..20)
        .map(|n| format!(r#""a{n}":{{"type":"{}"}}"#, ["string", "integer", "number"].get(n % 3).unwrap_or(&"string")));
    let arguments = arguments.collect::<Vec<_>>().join(",");
    let schema = format!(
        r#"{{"type":"object","properties":{{{arguments},"big":{{"type":"array","items":{{"type":"object","properties":{{"x":{{"type":"string"}}}}}}}}}}}}"#
    );
    let tool = |n: usize| format!(r#"{{"name":"tool{n}","description":"Tool number {n}.","inputSchema":{schema}}}"#);
    format!(r#"{{"tools":[{}]}}"#, (0..100).map(tool).collect::<Vec<_>>().join(","))
}

/// The first `count` arguments, with values.
fn arguments(count: usize) -> String {
    let value = |n: usize| [r#""bob""#, "3", "12.5"].get(n % 3).unwrap_or(&"3");
    format!("{{{}}}", (0..count).map(|n| format!(r#""a{n}":{}"#, value(n))).collect::<Vec<_>>().join(","))
}

/// Makes the same call again and again, with another value of its first argument each time.
fn ever_new<'a>(world: &'a World, arguments: &'a str) -> impl Fn() -> Call + 'a {
    let turn = Cell::new(0_u32);
    move || {
        turn.set(turn.get() + 1);
        world.call(&arguments.replace("bob", &format!("b{}", turn.get())))
    }
}

/// A condition on the first `count` arguments that their values satisfy.
fn condition(count: usize) -> String {
    let test = |n: usize| match n % 3 {
        0 => format!("context.args has a{n} && context.args.a{n} like \"b*\""),
        1 => format!("context.args has a{n} && context.args.a{n} < 9"),
        _ => format!("context.args has a{n} && context.args.a{n}.lessThan(decimal(\"100.0\"))"),
    };
    if count == 0 { "true".to_owned() } else { (0..count).map(test).collect::<Vec<_>>().join(" && ") }
}

fn permit(condition: &str) -> String {
    format!(
        "permit (principal in Mcp::Group::\"staff\", action == notes::Action::\"tool7\", resource) when {{ {condition} }};\n"
    )
}

/// `count` policies: what decides the call, and others about other tools and other callers.
fn policies(count: usize, condition: &str) -> String {
    let mut text = permit(condition);
    for n in 1..count {
        let (tool, caller) = (n % 100, n % 17);
        let _ = writeln!(
            text,
            "forbid (principal == Mcp::Caller::\"c{caller}\", action == notes::Action::\"tool{tool}\", resource) when {{ context.args has a0 && context.args.a0 == \"x{n}\" }};"
        );
    }
    text
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
