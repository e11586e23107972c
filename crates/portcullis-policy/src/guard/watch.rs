//! What a reply may show: lists without what the caller may not use, and embedded server requests only where policy lets them through.
//! Lists are edited by cutting elements out; every other byte stays as the server wrote it.

use std::borrow::Cow;
use std::sync::Arc;

use portcullis_core::call::{self, Call, Subject};
use portcullis_core::caller::Caller;
use portcullis_core::catalogue::Annotations;
use portcullis_core::guard::{Decision, Effect, Finding, Sight, Watch};
use portcullis_core::refusal::{Denial, DenialCode, Manner};
use portcullis_core::version::Era;
use portcullis_core::wire::{Direction, JsonKind, Kind, Message, View};

use super::NAME;
use crate::context::Facts;
use crate::judge::{Judge, Look};
use crate::visibility::Unknown;
use crate::vocabulary::{TOOLS_CALL, asks_client};

/// Code of `URLElicitationRequiredError`.
const URL_ELICITATION_REQUIRED: i64 = -32042;

/// The watcher a call's reply needs, if any.
pub(super) fn appoint(judge: &Arc<Judge>, call: &Call) -> Option<Box<dyn Watch>> {
    if call.direction() != Direction::ToServer {
        return None;
    }
    let lists = match &call.subject {
        // A resumed stream may bring the answer to any request made before it broke (I24).
        Subject::Stream { .. } => LISTS.as_slice(),
        Subject::Message(_) => List::of(call.method()).map(std::slice::from_ref).unwrap_or_default(),
        Subject::Close => &[],
    };
    let embedded = call.context.version.era() == Era::Modern;
    Some(Box::new(Reply { judge: Arc::clone(judge), context: Arc::clone(&call.context), lists, embedded }))
}

/// Holds one reply to the policies.
#[derive(Debug)]
struct Reply {
    judge: Arc<Judge>,
    context: Arc<call::Context>,
    /// The lists that results of this reply may be.
    lists: &'static [List],
    /// Modern replies may carry server requests inside (C58, C59, C77).
    embedded: bool,
}

/// A list method and how its items are used.
#[derive(Debug)]
struct List {
    method: &'static str,
    member: &'static str,
    /// The action that uses an item.
    action: &'static str,
    /// Member of an item that the action will name; `None` when it is not known before the call.
    name: Option<&'static str>,
}

static LISTS: [List; 4] = [
    List { method: "tools/list", member: "tools", action: TOOLS_CALL, name: Some("name") },
    List { method: "prompts/list", member: "prompts", action: "prompts/get", name: Some("name") },
    List { method: "resources/list", member: "resources", action: "resources/read", name: Some("uri") },
    List { method: "resources/templates/list", member: "resourceTemplates", action: "resources/read", name: None },
];

impl List {
    fn of(method: &str) -> Option<&'static Self> {
        LISTS.iter().find(|list| list.method == method)
    }
}

impl Watch for Reply {
    fn see(&mut self, message: &Message) -> Sight {
        if self.embedded
            && let Some(denial) = self.embedded_refusal(message)
        {
            return Sight::Cut(denial);
        }
        match message.kind() {
            Kind::Result => self.filter(message),
            Kind::Error => self.required_refusal(message).map_or(Sight::Keep, Sight::Cut),
            Kind::Request | Kind::Notification => Sight::Keep,
        }
    }
}

impl Reply {
    /// Replaces lists by the part of them that the caller may use.
    fn filter(&self, message: &Message) -> Sight {
        let mut edit = message.edit();
        let (mut hidden, mut all, mut is_list) = (0, 0, false);
        let mut anew = Vec::new();
        for list in self.lists {
            let Some(items) = message.result_member(list.member) else { continue };
            if items.kind() != JsonKind::Array {
                return Sight::Cut(garbled("the list is not an array"));
            }
            is_list = true;
            let keep = self.keep(list, items);
            all += keep.len();
            if keep.contains(&false) {
                hidden += keep.iter().filter(|keep| !**keep).count();
                let known = message.known_result_member(list.member);
                if let Some(left) = known.and_then(|known| self.judge.lists.left(known, &keep)) {
                    edit = edit.replace_by_known(items, &left);
                } else {
                    edit = edit.remove_elements(items, &|index| keep.get(index).copied().unwrap_or_default());
                    anew.extend(known.map(|known| (list.member, known, keep)));
                }
            }
        }
        // What one caller may see must not be served to another from a shared cache (C45), be it the whole list: the next caller's may
        // be shorter, and all pages must say the same (C44).
        let shared = message
            .result_member("cacheScope")
            .filter(|scope| is_list && scope.as_str().is_some_and(|scope| scope == "public"));
        if let Some(scope) = shared {
            edit = edit.replace(scope, "\"private\"");
        }
        if hidden == 0 && shared.is_none() {
            return Sight::Keep;
        }
        let detail = format!("{hidden} of {all} hidden");
        let finding = Finding { guard: NAME, code: "list_filtered", detail, effect: Effect::Replaced };
        match edit.apply(&self.judge.limits) {
            Ok(filtered) => {
                for (member, known, keep) in anew {
                    self.judge.lists.leaves(known, keep, filtered.result_member(member));
                }
                Sight::Replace(Box::new(filtered), (hidden > 0).then_some(finding))
            }
            Err(error) => Sight::Cut(garbled(&format!("the filtered list cannot be written: {error}"))),
        }
    }

    /// Which items the caller may see, and every agent that its request went through.
    fn keep(&self, list: &List, items: View<'_>) -> Arc<[bool]> {
        let of = |caller: &Arc<Caller>| {
            let look = || items.elements().map(|item| self.look(list, caller, item));
            self.judge.lists.visible(&self.context, caller, list.method, items.raw(), look)
        };
        let both =
            |keep: Arc<[bool]>, (_, agent)| keep.iter().zip(&*of(agent)).map(|(one, other)| *one && *other).collect();
        self.context.proofs.chain.agents().fold(of(&self.context.caller), both)
    }

    /// Whether this one may see the item. What cannot be named cannot be judged and is not shown.
    fn look(&self, list: &List, caller: &Arc<Caller>, item: View<'_>) -> Look {
        let Some(member) = list.name else {
            let facts = Facts { caller, ..Facts::of_item(&self.context, list.action, None) };
            return self.judge.look(&facts, Unknown::Subject);
        };
        let (mut name, mut hints) = (None, Annotations::default());
        // One pass: looking each member up would scan the schemas once per name.
        for (key, value) in item.members() {
            if key == member {
                name = Some(value);
            } else if key == "annotations" {
                hints = Annotations::from_view(value);
            }
        }
        // A name that no call could carry (its quotes aside) is not worth remembering a decision for.
        let most = self.judge.limits.name.saturating_add(2);
        let Some(name) = name.filter(|name| name.raw().len() <= most).and_then(View::as_str) else {
            return Look { visible: false, lasting: true };
        };
        let mut facts = Facts { caller, ..Facts::of_item(&self.context, list.action, Some(name)) };
        facts.hints = (list.action == TOOLS_CALL).then_some(hints);
        self.judge.look(&facts, Unknown::Call)
    }

    /// Judges every member of every `inputRequests` in the message as the server request it is.
    fn embedded_refusal(&self, message: &Message) -> Option<Box<Denial>> {
        let names = ["inputRequests", "task"];
        let places = [message.result_members(names), message.param_members(names)];
        let holders = places.into_iter().flat_map(|[own, task]| [own, task.and_then(|task| task.get("inputRequests"))]);
        holders.flatten().find_map(|requests| {
            if requests.kind() != JsonKind::Object {
                return Some(garbled("`inputRequests` is not an object"));
            }
            requests.members().find_map(|(_, request)| self.refuses(request))
        })
    }

    /// An error may send the user to URLs as well (2025-11-25, `URLElicitationRequiredError`, I21): each is an elicitation.
    fn required_refusal(&self, message: &Message) -> Option<Box<Denial>> {
        if message.error_code() != Some(URL_ELICITATION_REQUIRED) {
            return None;
        }
        let wanted = message.error()?.path(&["data", "elicitations"])?;
        if wanted.kind() != JsonKind::Array {
            return Some(garbled("`elicitations` is not an array"));
        }
        wanted.elements().find_map(|params| {
            // Without this, leaving `mode` out would make a URL pass for a form (A45: each must be in url mode).
            if params.get("mode").and_then(View::as_str).is_none_or(|mode| mode != "url") {
                return Some(garbled("an elicitation in an error is not in url mode"));
            }
            self.refuses_as("elicitation/create", Some(params))
        })
    }

    fn refuses(&self, request: View<'_>) -> Option<Box<Denial>> {
        let method = request.get("method").and_then(View::as_str).unwrap_or(Cow::Borrowed(""));
        if !asks_client(&method) {
            return Some(garbled("`inputRequests` holds something that is no server request"));
        }
        self.refuses_as(&method, request.get("params"))
    }

    fn refuses_as(&self, method: &str, params: Option<View<'_>>) -> Option<Box<Denial>> {
        match self.judge.check(&Facts::of_embedded(&self.context, method, params)) {
            Decision::Pass(_) => None,
            // Nobody can approve in the middle of a reply: the tool's call could be held, its answer cannot.
            Decision::Hold(denial) | Decision::Deny(denial) => Some(denial),
        }
    }
}

fn garbled(detail: &str) -> Box<Denial> {
    Box::new(Denial {
        code: DenialCode::PolicyError,
        guard: NAME,
        public: Cow::Borrowed("the server's answer could not be judged, so it is withheld"),
        detail: detail.to_owned(),
        policies: Vec::new(),
        manner: Manner::Plain,
        challenge: None,
    })
}

#[cfg(test)]
mod tests;
