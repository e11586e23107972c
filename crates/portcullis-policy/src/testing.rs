//! Small worlds for tests: a catalogue, policies, calls. Only for tests.

use std::sync::{Arc, LazyLock};

use portcullis_core::call::{Call, Context};
use portcullis_core::catalogue::Catalogue;
use portcullis_core::guard::{Decision, Guard as _};
use portcullis_core::refusal::Denial;
use portcullis_core::wire::Limits;
use serde_json::{Value, json};

use crate::table::{Case, TestFile, call_of};
use crate::{Finding, Policies, PolicyGuard, Source};

/// Tools of the server `notes`.
pub(crate) const TOOLS: &str = r##"{"tools":[
 {"name":"list_notes","inputSchema":{"type":"object"},"annotations":{"readOnlyHint":true}},
 {"name":"read-note","inputSchema":{"type":"object","properties":{"path":{"type":"string"}},"required":["path"]},"annotations":{"readOnlyHint":true}},
 {"name":"pay","inputSchema":{"type":"object","required":["amount","recipient"],"properties":{
   "amount":{"type":"number"},"count":{"type":"integer"},"recipient":{"type":"string"},"note":{"type":["string","null"]},
   "urgent":{"type":"boolean"},"tags":{"type":"array","items":{"type":"string"}},
   "to":{"type":"object","properties":{"name":{"type":"string"},"iban":{"type":"string"}},"required":["iban"]},
   "extra":{"oneOf":[{"type":"string"},{"type":"integer"}]}}},"annotations":{"destructiveHint":true}}
]}"##;

/// One for all: what is remembered of a tool is of this very definition.
pub(crate) fn catalogue() -> Arc<Catalogue> {
    static ONE: LazyLock<Arc<Catalogue>> =
        LazyLock::new(|| Arc::new(Catalogue::from_saved(TOOLS.as_bytes(), &Limits::default()).unwrap()));
    Arc::clone(&ONE)
}

pub(crate) fn load(text: &str) -> Result<(Policies, Vec<Finding>), Vec<Finding>> {
    let catalogue = catalogue();
    Policies::load(&[Source::new("p.cedar", text)], [("notes", &*catalogue)])
}

/// A guard over policies that have no errors.
pub(crate) fn guard(text: &str) -> PolicyGuard {
    let (policies, _) = load(text).unwrap_or_else(|findings| panic!("{findings:#?}"));
    PolicyGuard::new(Arc::new(policies), Limits::default())
}

/// A call written like a case of a test file.
pub(crate) fn call(case: Value) -> Call {
    call_in(case, Some(&catalogue()))
}

pub(crate) fn call_in(mut case: Value, catalogue: Option<&Arc<Catalogue>>) -> Call {
    case["expect"] = json!("allow");
    let case: Case = serde_json::from_value(case).unwrap();
    let file: TestFile = serde_json::from_value(json!({ "server": "notes", "tests": [] })).unwrap();
    // Whatever the case calls its server, these are its tools.
    let server = case.server.clone().unwrap_or_else(|| file.server.clone());
    let servers = catalogue.map(|catalogue| (server, Arc::clone(catalogue))).into_iter().collect();
    call_of(&file, &case, &servers).unwrap()
}

/// A `tools/call` with raw arguments.
pub(crate) fn call_raw(tool: &str, arguments: &str) -> Call {
    use bytes::Bytes;
    use portcullis_core::wire::{Direction, Message};
    let text = format!(
        r#"{{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{{"name":"{tool}","arguments":{arguments}}}}}"#
    );
    call(json!({"tool": tool}))
        .with_message(Message::read(Bytes::from(text), Direction::ToServer, &Limits::default()).unwrap())
}

pub(crate) fn with_context(call: &Call, change: impl FnOnce(&mut Context)) -> Call {
    let mut context = (*call.context).clone();
    change(&mut context);
    Call { context: Arc::new(context), subject: call.subject.clone() }
}

pub(crate) fn passes(guard: &PolicyGuard, call: &Call) -> bool {
    matches!(guard.check(call), Decision::Pass(_))
}

#[track_caller]
pub(crate) fn denied(guard: &PolicyGuard, call: &Call) -> Denial {
    match guard.check(call) {
        Decision::Deny(denial) => *denial,
        other => panic!("{other:?}"),
    }
}
