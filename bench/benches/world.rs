//! What is judged in the benchmarks, and by what: one caller, one server, policies about its tools' arguments.

use std::fmt::Write as _;
use std::sync::Arc;

use bytes::Bytes;
use portcullis_core::call::{Call, Context, Subject};
use portcullis_core::caller::{Caller, Proof};
use portcullis_core::catalogue::Catalogue;
use portcullis_core::clock::Timestamp;
use portcullis_core::trace::TraceContext;
use portcullis_core::version::Version;
use portcullis_core::wire::{Direction, Limits, Message};
use portcullis_policy::{Policies, PolicyGuard, Source};

/// A caller in one group and a server of one hundred tools with twenty arguments each.
pub(crate) struct World {
    context: Arc<Context>,
}

impl World {
    pub(crate) fn new() -> Self {
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
                catalogue: Arc::new(catalogue).into(),
                param_headers: Vec::new(),
                transports: Vec::new(),
                answers: None,
            }),
        }
    }

    pub(crate) fn guard(&self, text: &str) -> PolicyGuard {
        let source = Source { file: "bench.cedar".to_owned(), text: text.to_owned() };
        let (policies, _) = Policies::load(&[source], [("notes", &*self.context.catalogue)]).unwrap();
        PolicyGuard::new(Arc::new(policies), Limits::default())
    }

    pub(crate) fn message(&self, text: String) -> Call {
        let message = Message::read(Bytes::from(text), Direction::ToServer, &Limits::default()).unwrap();
        Call { context: Arc::clone(&self.context), subject: Subject::Message(message) }
    }

    pub(crate) fn call(&self, arguments: &str) -> Call {
        let params = format!(r#"{{"name":"tool7","arguments":{arguments}}}"#);
        self.message(format!(r#"{{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{params}}}"#))
    }
}

pub(crate) fn tools() -> String {
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
pub(crate) fn arguments(count: usize) -> String {
    let value = |n: usize| [r#""bob""#, "3", "12.5"].get(n % 3).unwrap_or(&"3");
    format!("{{{}}}", (0..count).map(|n| format!(r#""a{n}":{}"#, value(n))).collect::<Vec<_>>().join(","))
}

/// A condition on the first `count` arguments that their values satisfy.
pub(crate) fn condition(count: usize) -> String {
    let test = |n: usize| match n % 3 {
        0 => format!("context.args has a{n} && context.args.a{n} like \"b*\""),
        1 => format!("context.args has a{n} && context.args.a{n} < 9"),
        _ => format!("context.args has a{n} && context.args.a{n}.lessThan(decimal(\"100.0\"))"),
    };
    if count == 0 { "true".to_owned() } else { (0..count).map(test).collect::<Vec<_>>().join(" && ") }
}

pub(crate) fn permit(condition: &str) -> String {
    format!(
        "permit (principal in Mcp::Group::\"staff\", action == notes::Action::\"tool7\", resource) when {{ {condition} }};\n"
    )
}

/// `count` policies: what decides the call, and others about other tools and other callers.
pub(crate) fn policies(count: usize, condition: &str) -> String {
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
