//! Binds tasks to the caller that made them (A56, C79, F12): others can neither ask about, change nor hear of them, whatever the
//! server thinks of it. What nobody is known to have made does not exist either. Ids are not secrets here and prove nothing; what a
//! task brings is judged elsewhere.

use std::any::Any;
use std::sync::Arc;

use portcullis_core::call::{Call, Context, STREAM_OPEN};
use portcullis_core::guard::{About, Decision, Effect, Finding, Guard, Mode, Pass, Phase, Sight, Watch};
use portcullis_core::refusal::{Denial, DenialCode, Manner};
use portcullis_core::version::Era;
use portcullis_core::wire::{Direction, JsonKind, Kind, Limits, Message, View};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::registry::Configured;
use crate::remembered::{Bound, Memory, Remembered, made};

static ABOUT: About = About {
    code: "G004",
    name: "tasks",
    phase: Phase::Content,
    purpose: "Keeps each task to the caller that made it.",
};

/// Noted where the owner of a task is not known or cannot be remembered: a notification about a task whose making was not seen yet.
const UNBOUND: &str = "task_unbound";
/// Noted when a server gives a task an id that another caller's task has.
const REBOUND: &str = "task_rebound";
/// Recorded when entries of `tasks/list` were removed.
const FILTERED: &str = "list_filtered";

/// Settings of the `tasks` guard; it has none of its own.
#[derive(Clone, Debug, Default, Deserialize, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct TasksSettings {}

#[derive(Debug, Default)]
pub(crate) struct Tasks {
    owners: Memory<()>,
}

impl Configured for Tasks {
    const ABOUT: &'static About = &ABOUT;
    // The specification demands the binding (A56), and nobody has a right to another's tasks.
    const DEFAULT_MODE: Mode = Mode::Enforce;
    type Settings = TasksSettings;

    fn new(_settings: TasksSettings) -> Self {
        Self::default()
    }
}

impl Guard for Tasks {
    fn about(&self) -> &'static About {
        &ABOUT
    }

    fn check(&self, call: &Call) -> Decision {
        match (call.direction(), call.method()) {
            (Direction::ToServer, "tasks/get" | "tasks/result" | "tasks/cancel" | "tasks/update")
            | (Direction::ToClient, "notifications/tasks" | "notifications/tasks/status") => {
                self.judge(call, call.name().into_iter())
            }
            (Direction::ToServer, "subscriptions/listen") => {
                let Some(message) = call.message() else { return Decision::pass() };
                // The extension says the first; the second costs nothing and leaves no way around.
                let wanted =
                    [message.param("notifications").and_then(|wanted| wanted.get("taskIds")), message.param("taskIds")];
                let ids: Vec<_> =
                    wanted.into_iter().flatten().flat_map(View::elements).filter_map(View::as_str).collect();
                self.judge(call, ids.iter().map(AsRef::as_ref))
            }
            _ => Decision::pass(),
        }
    }

    fn watch(&self, call: &Call) -> Option<Box<dyn Watch>> {
        let method = call.method();
        // A resumed stream brings answers whose requests are not known there.
        let resumed = method == STREAM_OPEN;
        if call.direction() != Direction::ToServer || !(resumed || call.expects_response()) {
            return None;
        }
        let listing = call.era() == Era::Legacy && (resumed || method == "tasks/list");
        // Asking about a task does not make one, whatever the answer looks like.
        if !listing && method.starts_with("tasks/") {
            return None;
        }
        Some(Box::new(TasksWatch {
            owners: Arc::clone(self.owners.get()),
            context: Arc::clone(&call.context),
            listing,
        }))
    }

    fn memory(&self) -> Option<&dyn Any> {
        Some(self.owners.get())
    }

    fn inherit(&self, memory: &dyn Any) {
        self.owners.inherit(memory);
    }
}

impl Tasks {
    fn judge<'a>(&self, call: &Call, ids: impl Iterator<Item = &'a str>) -> Decision {
        let caller = call.context.caller.owner();
        let mut unbound = 0_u32;
        for id in ids {
            match self.owners.get().of(&call.context.server, id) {
                Some((owner, ())) if *owner == *caller => {}
                Some(_) => {
                    return Decision::Deny(Box::new(not_owner(call.method(), "the task is another caller's (A56)")));
                }
                // Asked the server, its words would differ from ours, and tell that another caller's task exists.
                None if call.direction() == Direction::ToServer => {
                    let why = "nobody is known to have made the task";
                    return Decision::Deny(Box::new(not_owner(call.method(), why)));
                }
                // The server may speak of a task before its answer has told us whose it is.
                None => unbound += 1,
            }
        }
        let noted = (unbound > 0).then(|| {
            let detail = format!("{}: {unbound} tasks of which nobody is known to be the owner", call.method());
            Finding { guard: ABOUT.name, code: UNBOUND, detail, effect: Effect::Noted }
        });
        Decision::Pass(Pass { findings: noted.into_iter().collect(), ..Pass::default() })
    }
}

/// Reads like a task that does not exist: whether it does is the owner's business too.
fn not_owner(method: &str, why: &str) -> Denial {
    Denial {
        code: DenialCode::NotOwner,
        guard: ABOUT.name,
        public: "unknown task".into(),
        detail: format!("{method}: {why}"),
        policies: Vec::new(),
        manner: Manner::Unknown,
        challenge: None,
    }
}

#[derive(Debug)]
struct TasksWatch {
    owners: Arc<Remembered<()>>,
    context: Arc<Context>,
    /// Whether this may bring an answer to `tasks/list`.
    listing: bool,
}

impl Watch for TasksWatch {
    fn see(&mut self, message: &Message) -> Sight {
        if message.kind() != Kind::Result {
            return Sight::Keep;
        }
        if let Some(tasks) = self.listed(message) {
            return self.filter(message, tasks);
        }
        let Some(id) = made(message, self.context.version.era()).and_then(View::as_str) else { return Sight::Keep };
        let owner = self.context.caller.owner().into();
        let (code, detail) = match self.owners.bind(&self.context.server, &id, &owner, ()) {
            Bound::New => return Sight::Keep,
            Bound::TakenOver => (REBOUND, "the server gave a new task the id of another caller's task"),
            Bound::NotKept => (UNBOUND, "no room to remember the task's owner, or its id is too long to be asked for"),
        };
        Sight::Note(Finding { guard: ABOUT.name, code, detail: detail.to_owned(), effect: Effect::Noted })
    }
}

impl TasksWatch {
    fn listed<'a>(&self, message: &'a Message) -> Option<View<'a>> {
        message.result_member("tasks").filter(|tasks| self.listing && tasks.kind() == JsonKind::Array)
    }

    /// Leaves the caller's own tasks in the list. Unknown ones go too: the list would tell their ids.
    fn filter(&self, message: &Message, tasks: View<'_>) -> Sight {
        let caller = self.context.caller.owner();
        let own = |task: View<'_>| {
            let id = task.get("taskId").and_then(View::as_str)?;
            self.owners.of(&self.context.server, &id).filter(|(owner, ())| **owner == *caller)
        };
        let kept: Vec<bool> = tasks.elements().map(|task| own(task).is_some()).collect();
        let dropped = kept.iter().filter(|kept| !**kept).count();
        if dropped == 0 {
            return Sight::Keep;
        }
        let detail = format!("{dropped} of {} tasks are not known to be this caller's", kept.len());
        let finding = Finding { guard: ABOUT.name, code: FILTERED, detail, effect: Effect::Replaced };
        let keep = |index: usize| kept.get(index).copied().unwrap_or(false);
        // The message was within the limits and only gets shorter.
        match message.edit().remove_elements(tasks, &keep).apply(&Limits { bytes: usize::MAX, ..Limits::default() }) {
            Ok(edited) => Sight::Replace(Box::new(edited), Some(finding)),
            Err(malformed) => Sight::Cut(Box::new(Denial {
                public: "the server's list of tasks cannot be used".into(),
                manner: Manner::Plain,
                challenge: None,
                ..not_owner("tasks/list", &format!("cannot drop tasks: {malformed}"))
            })),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reload_forgets_nothing() {
        let (before, after) = (Tasks::default(), Tasks::default());
        before.owners.get().bind("s", "t", &Arc::from("ada"), ());
        after.inherit(before.memory().unwrap());
        // Replies still under way are watched by the guard of the plan before.
        before.owners.get().bind("s", "late", &Arc::from("ada"), ());
        for id in ["t", "late"] {
            assert_eq!(after.owners.get().of("s", id), Some((Arc::from("ada"), ())));
        }
    }
}
