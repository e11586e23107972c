//! Holds answers of modern servers to the kinds of result that MCP has, and to what the client declared in this very request (I16).
//! Legacy answers have no kinds and pass untouched; what a result contains is judged elsewhere.

use portcullis_core::call::Call;
use portcullis_core::capabilities::{Declared, TASKS};
use portcullis_core::classify::META_CAPABILITIES;
use portcullis_core::guard::{About, Decision, Effect, Finding, Guard, Mode, Phase, Sight, Watch};
use portcullis_core::refusal::{Denial, DenialCode, Manner};
use portcullis_core::version::Era;
use portcullis_core::wire::{Direction, JsonKind, Kind, Message, View};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::registry::Configured;

static ABOUT: About = About {
    code: "G005",
    name: "results",
    phase: Phase::Content,
    purpose: "Blocks answers of modern servers that are of an unknown kind, or ask the client for what it did not declare.",
};

/// Settings of the `results` guard; it has none of its own.
#[derive(Clone, Debug, Default, Deserialize, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct ResultsSettings {}

#[derive(Debug)]
pub(crate) struct Results;

impl Configured for Results {
    const ABOUT: &'static About = &ABOUT;
    // Servers MUST NOT send any of this (C58–C60, C75), and a client that follows the specification must refuse it (D7); what is
    // left are clients that do not look, and they are why this is here.
    const DEFAULT_MODE: Mode = Mode::Enforce;
    type Settings = ResultsSettings;

    fn new(_settings: ResultsSettings) -> Self {
        Self
    }
}

impl Guard for Results {
    fn about(&self) -> &'static About {
        &ABOUT
    }

    fn check(&self, _call: &Call) -> Decision {
        Decision::pass()
    }

    fn watch(&self, call: &Call) -> Option<Box<dyn Watch>> {
        if call.era() == Era::Legacy || call.direction() != Direction::ToServer || !call.expects_response() {
            return None;
        }
        let asked = Asked::of(call.method());
        // What this very request declares; nothing is remembered from earlier ones (C75).
        let declared =
            call.message().and_then(|request| request.meta(META_CAPABILITIES)).map(Declared::of).unwrap_or_default();
        Some(Box::new(ResultsWatch { asked, declared }))
    }
}

/// Methods that differ in which kinds of result they may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Asked {
    Tool,
    /// `resources/read`, `prompts/get`.
    Item,
    Task,
    Other,
}

impl Asked {
    fn of(method: &str) -> Self {
        match method {
            "tools/call" => Self::Tool,
            "resources/read" | "prompts/get" => Self::Item,
            "tasks/get" | "tasks/update" | "tasks/cancel" => Self::Task,
            _ => Self::Other,
        }
    }
}

#[derive(Debug)]
struct ResultsWatch {
    asked: Asked,
    declared: Declared,
}

impl Watch for ResultsWatch {
    fn see(&mut self, message: &Message) -> Sight {
        if message.kind() != Kind::Result {
            return Sight::Keep;
        }
        let Some(kind) = message.result_member("resultType") else {
            // Absent means complete (D7).
            return Sight::Keep;
        };
        match kind.as_str().as_deref() {
            Some("complete") => Sight::Keep,
            Some("input_required") => self.input_required(message).map_or(Sight::Keep, cut),
            Some("task") if self.asked == Asked::Task => {
                // Examples in the extension's own documents show it, so servers that were written after them send it (C77).
                let detail = "the answer to a task method says `task`, where it must say `complete` (C77)".to_owned();
                let code = DenialCode::ResultInvalid.as_str();
                Sight::Note(Finding { guard: ABOUT.name, code, detail, effect: Effect::Noted })
            }
            Some("task") if self.asked != Asked::Tool => {
                cut("a task in answer to another method than `tools/call`".into())
            }
            Some("task") if !self.declared.tasks => {
                cut(format!("a task, although the request does not declare `{TASKS}` (C75)"))
            }
            Some("task") => Sight::Keep,
            Some(other) => cut(format!("`resultType` is `{}`", other.chars().take(64).collect::<String>())),
            None => cut("`resultType` is not a string".into()),
        }
    }
}

impl ResultsWatch {
    /// What is wrong with an `InputRequiredResult`, if anything.
    fn input_required(&self, message: &Message) -> Option<String> {
        if !matches!(self.asked, Asked::Tool | Asked::Item) {
            return Some("`input_required` in answer to a method that has no such answer (C58)".to_owned());
        }
        let present = |name: &str| message.result_member(name).filter(|value| !value.is_null());
        let Some(inputs) = present("inputRequests") else {
            return present("requestState")
                .is_none()
                .then(|| "`input_required` with neither `inputRequests` nor `requestState` (C59)".to_owned());
        };
        if inputs.kind() != JsonKind::Object {
            return Some("`inputRequests` is not an object".to_owned());
        }
        inputs.members().find_map(|(_, input)| {
            let method = input.get("method").and_then(View::as_str).unwrap_or_default();
            let lacking = match method.as_ref() {
                "elicitation/create" | "sampling/createMessage" | "roots/list" => {
                    self.declared.lacks(&method, input.get("params"))?
                }
                // C59: a client has no other answers.
                _ => "a method that is no question to a client",
            };
            Some(format!("a question to the client needs {lacking}, which the request does not declare (C59, C60)"))
        })
    }
}

fn cut(what: String) -> Sight {
    Sight::Cut(Box::new(Denial {
        code: DenialCode::ResultInvalid,
        guard: ABOUT.name,
        public: "the server's answer is of a kind MCP does not have".into(),
        detail: what,
        policies: Vec::new(),
        manner: Manner::Plain,
        challenge: None,
    }))
}
