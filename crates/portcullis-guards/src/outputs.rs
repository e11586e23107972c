//! Validates a tool's `structuredContent` against the tool's own `outputSchema` (A48, I15), whichever way the result comes: as the answer to
//! the call, on a stream that was resumed, or as the result of a task (I23). Looks at nothing else of the answer.

use std::any::Any;
use std::sync::Arc;

use portcullis_core::call::{Call, Context, Subject};
use portcullis_core::catalogue::Tool;
use portcullis_core::guard::{About, Decision, Effect, Finding, Guard, Mode, Pass, Phase, Sight, Watch};
use portcullis_core::refusal::{Denial, DenialCode, Manner};
use portcullis_core::version::{Era, Version};
use portcullis_core::wire::{Direction, JsonKind, Kind, Message, View};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::arguments::unusable_schema;
use crate::registry::Configured;
use crate::remembered::{Bound, Memory, Remembered, made};
use crate::schema::{Cache, Compiled};

static ABOUT: About = About {
    code: "G002",
    name: "outputs",
    phase: Phase::Content,
    purpose: "Blocks tool results whose `structuredContent` does not fit the tool's own `outputSchema`.",
};

/// Settings of the `outputs` guard.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct OutputsSettings {
    /// Largest `structuredContent` that is checked, in bytes; larger ones are blocked. Default 4 MiB: the reader's own limit
    /// for a whole message, so that by itself this blocks nothing the reader let in.
    max_bytes: usize,
}

impl Default for OutputsSettings {
    fn default() -> Self {
        Self { max_bytes: 4 << 20 }
    }
}

#[derive(Debug)]
pub(crate) struct Outputs {
    settings: OutputsSettings,
    schemas: Cache,
    /// What the results of tasks must fit, for tasks of tools with a schema.
    tasks: Memory<Promise>,
}

/// Noted when the result of a task cannot be held to the schema of the tool that made it.
const UNBOUND: &str = "task_unbound";

/// What a tool says of its results.
#[derive(Clone, Debug)]
struct Promise {
    tool: Arc<str>,
    schema: Arc<Compiled>,
    version: Version,
    max_bytes: usize,
}

impl Configured for Outputs {
    const ABOUT: &'static About = &ABOUT;
    // Servers MUST keep to their own schema (A48) so conforming servers are not blocked; what is left is a server that
    // has changed or lies. Operators with servers that do not conform start with `shadow`.
    const DEFAULT_MODE: Mode = Mode::Enforce;
    type Settings = OutputsSettings;

    fn new(settings: OutputsSettings) -> Self {
        Self { settings, schemas: Cache::default(), tasks: Memory::default() }
    }
}

impl Guard for Outputs {
    fn about(&self) -> &'static About {
        &ABOUT
    }

    /// A tool whose answer could not be judged is refused before it acts, not after; the result that a notification about a task
    /// brings is judged here, since it may come in the reply to anything.
    fn check(&self, call: &Call) -> Decision {
        match (call.direction(), call.method()) {
            (Direction::ToServer, "tools/call") => {}
            (Direction::ToClient, "notifications/tasks" | "notifications/tasks/status") => return self.notified(call),
            _ => return Decision::pass(),
        }
        let Some((tool, text)) = call.tool().and_then(|tool| Some((tool, tool.output_schema.as_ref()?))) else {
            return Decision::Pass(Pass::default());
        };
        match self.schemas.compiled(text) {
            Ok(_) => Decision::Pass(Pass::default()),
            Err(unusable) => Decision::Deny(Box::new(unusable_schema(&ABOUT, &tool.name, "outputSchema", &unusable))),
        }
    }

    fn watch(&self, call: &Call) -> Option<Box<dyn Watch>> {
        // A stream that is resumed brings the answer to the request whose reply broke off, and to no other.
        let (method, name) = match &call.subject {
            Subject::Stream { request, .. } => {
                let request = request.as_ref()?;
                (request.method.as_str(), request.name.as_deref()?)
            }
            Subject::Message(_) if call.expects_response() && call.direction() == Direction::ToServer => {
                (call.method(), call.name()?)
            }
            Subject::Message(_) | Subject::Close => return None,
        };
        let (promise, brings) = match method {
            "tools/call" => {
                let tool = call.context.catalogue.tool(name)?;
                (self.promise(tool, call.context.version)?, Brings::Answer)
            }
            "tasks/result" => (self.of_task(call, name)?, Brings::Result),
            "tasks/get" => (self.of_task(call, name)?, Brings::Task),
            _ => return None,
        };
        let (tasks, context) = (Arc::clone(self.tasks.get()), Arc::clone(&call.context));
        Some(Box::new(OutputsWatch { promise, brings, tasks, context }))
    }

    fn memory(&self) -> Option<&dyn Any> {
        Some(self.tasks.get())
    }

    fn inherit(&self, memory: &dyn Any) {
        self.tasks.inherit(memory);
    }
}

impl Outputs {
    fn promise(&self, tool: &Tool, version: Version) -> Option<Promise> {
        // Unusable schemas were denied before; in shadow mode there is nothing to hold the answer against.
        let schema = self.schemas.compiled(tool.output_schema.as_ref()?).ok()?;
        Some(Promise { tool: tool.name.as_str().into(), schema, version, max_bytes: self.settings.max_bytes })
    }

    /// Whoever asks: whose the task is, is judged elsewhere.
    fn of_task(&self, call: &Call, id: &str) -> Option<Promise> {
        self.tasks.get().of(&call.context.server, id).map(|(_, promise)| promise)
    }

    fn notified(&self, call: &Call) -> Decision {
        let judged = call
            .name()
            .and_then(|id| self.of_task(call, id))
            .zip(call.message())
            .and_then(|(promise, message)| promise.refuses(message.param("result")?, true));
        match judged {
            Some(denial) => Decision::Deny(denial),
            // The next one may be about another task.
            None => Decision::Pass(Pass::default()),
        }
    }
}

/// What the answer that is watched brings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Brings {
    /// The result of the call, or a task in its place.
    Answer,
    /// The result of a task, as its call would have brought it (A53).
    Result,
    /// A task, which holds its result once it has one (C77).
    Task,
}

#[derive(Debug)]
struct OutputsWatch {
    promise: Promise,
    brings: Brings,
    tasks: Arc<Remembered<Promise>>,
    context: Arc<Context>,
}

impl Watch for OutputsWatch {
    fn see(&mut self, message: &Message) -> Sight {
        let Some(result) = message.result().filter(|_| message.kind() == Kind::Result) else {
            return Sight::Keep;
        };
        let refused = match self.brings {
            Brings::Answer => {
                if let Some(id) = made(message, self.context.version.era()).and_then(View::as_str) {
                    return self.remember(&id, result);
                }
                self.promise.refuses(result, false)
            }
            Brings::Result => self.promise.refuses(result, true),
            Brings::Task => result.get("result").and_then(|result| self.promise.refuses(result, true)),
        };
        refused.map_or(Sight::Keep, Sight::Cut)
    }
}

impl OutputsWatch {
    /// A task in place of the result. What stands beside it must fit all the same: a client could take that for the result.
    fn remember(&self, id: &str, answer: View<'_>) -> Sight {
        let owner = self.context.caller.owner().into();
        let bound = self.tasks.bind(&self.context.server, id, &owner, self.promise.clone());
        if let Some(denial) = self.promise.refuses(answer, false) {
            return Sight::Cut(denial);
        }
        match bound {
            Bound::New | Bound::TakenOver => Sight::Keep,
            Bound::NotKept => {
                let detail = "no room to remember what the task's result must fit".to_owned();
                Sight::Note(Finding { guard: ABOUT.name, code: UNBOUND, detail, effect: Effect::Noted })
            }
        }
    }
}

impl Promise {
    /// `last`: nothing comes after this result, so that it must have what the schema speaks of.
    fn refuses(&self, result: View<'_>, last: bool) -> Option<Box<Denial>> {
        let what = self.judge(result, last).err()?;
        Some(Box::new(Denial {
            code: DenialCode::OutputInvalid,
            guard: ABOUT.name,
            public: "the tool's answer does not fit its own output schema".into(),
            detail: format!("tool `{}`: {what}", self.tool),
            policies: Vec::new(),
            manner: Manner::Plain,
            challenge: None,
        }))
    }

    fn judge(&self, result: View<'_>, last: bool) -> Result<(), String> {
        if result.get("isError").and_then(View::as_bool) == Some(true) {
            return Ok(());
        }
        let Some(content) = result.get("structuredContent") else {
            return if !last && self.may_be_absent(result) {
                Ok(())
            } else {
                Err("no `structuredContent`, although the tool has an `outputSchema`".to_owned())
            };
        };
        // Any JSON value since 2026-07-28 (C50), an object before (A48).
        if self.version.era() == Era::Legacy && content.kind() != JsonKind::Object {
            return Err("`structuredContent` is not an object".to_owned());
        }
        self.schema.check(content, self.max_bytes).map_err(|mismatch| format!("`structuredContent`: {mismatch}"))
    }

    /// Answers that are not the tool's final one, and revisions that do not know `structuredContent`.
    fn may_be_absent(&self, result: View<'_>) -> bool {
        match self.version.era() {
            // Absent means complete.
            Era::Modern => {
                result.get("resultType").is_some_and(|kind| kind.as_str().is_none_or(|kind| kind != "complete"))
            }
            Era::Legacy => self.version < Version::V2025_06_18 || result.get("task").is_some(),
        }
    }
}

#[cfg(test)]
mod tests {
    use portcullis_core::call::Interrupted;
    use portcullis_core::caller::Caller;
    use portcullis_core::catalogue::Catalogue;
    use portcullis_core::clock::Timestamp;
    use portcullis_core::trace::TraceContext;
    use portcullis_core::wire::{Id, Limits};

    use super::*;

    /// A client that comes back to a broken stream with `Last-Event-ID`.
    fn resumed(method: &str, name: &str) -> Call {
        let tools = r#"[{"name":"weather","inputSchema":{},"outputSchema":{"type":"object","required":["celsius"]}}]"#;
        let context = Context {
            caller: Arc::new(Caller::anonymous()),
            proofs: Arc::default(),
            version: Version::V2025_11_25,
            session: None,
            server: "server".into(),
            trace: TraceContext { trace_id: [1; 16], parent: None, span: [1; 8], flags: 0, state: None, given: false },
            now: Timestamp(0),
            catalogue: Arc::new(Catalogue::from_saved(tools.as_bytes(), &Limits::default()).unwrap()).into(),
            param_headers: Vec::new(),
            transports: Vec::new(),
            answers: None,
        };
        let request = Interrupted { id: Id::number(1), method: method.to_owned(), name: Some(name.to_owned()) };
        let subject = Subject::Stream { last_event_id: Some("e".to_owned()), request: Some(Box::new(request)) };
        Call { context: Arc::new(context), subject }
    }

    fn sight(guard: &Outputs, call: &Call, result: &str) -> Option<Sight> {
        let text = format!(r#"{{"jsonrpc":"2.0","id":1,"result":{result}}}"#);
        let message = Message::read(text.into(), Direction::ToClient, &Limits::default()).unwrap();
        guard.watch(call).map(|mut watch| watch.see(&message))
    }

    #[test]
    fn i23_an_answer_on_a_resumed_stream_is_held_to_the_schema_like_the_direct_one() {
        let guard = Outputs::new(OutputsSettings::default());
        let (good, bad) = (r#"{"structuredContent":{"celsius":1}}"#, r#"{"structuredContent":{}}"#);
        let call = resumed("tools/call", "weather");
        assert!(matches!(sight(&guard, &call, good), Some(Sight::Keep)));
        assert!(matches!(sight(&guard, &call, bad), Some(Sight::Cut(_))));
        // A task that was made there is remembered, and its result can break off as well.
        assert!(sight(&guard, &resumed("tasks/result", "t"), bad).is_none());
        assert!(matches!(sight(&guard, &call, r#"{"task":{"taskId":"t"}}"#), Some(Sight::Keep)));
        assert!(matches!(sight(&guard, &resumed("tasks/result", "t"), bad), Some(Sight::Cut(_))));
        assert!(matches!(sight(&guard, &resumed("tasks/result", "t"), good), Some(Sight::Keep)));
    }
}
