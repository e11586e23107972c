//! The policy guard: from a call to pass, hold or denial, and the watchers that hold its replies to the same policies.

mod watch;

use std::borrow::Cow;
use std::sync::Arc;

use portcullis_core::call::Call;
use portcullis_core::catalogue::Tool;
use portcullis_core::guard::{About, Decision, Guard, Pass, Phase, Watch};
use portcullis_core::refusal::{Denial, DenialCode, Manner};
use portcullis_core::wire::{Direction, Limits};

use crate::context::Facts;
use crate::judge::{Judge, Outcome, Prepared};
use crate::policies::{Ask, Policies};
use crate::visibility::Unknown;
use crate::vocabulary::Shape;

static ABOUT: About = About {
    code: "G000",
    name: NAME,
    phase: Phase::Policy,
    purpose: "stops what no policy permits or a policy forbids",
};

const NAME: &str = "policy";

/// Facts that are the same for every message of one method in one exchange.
const PER_METHOD: &[&str] = &["method", "direction", "era", "version"];

/// The decision point as a guard. One per plan.
#[derive(Debug)]
pub struct PolicyGuard {
    judge: Arc<Judge>,
}

impl PolicyGuard {
    /// `limits` bound tools' schemas and the messages that list filtering writes.
    #[must_use]
    pub fn new(policies: Arc<Policies>, limits: Limits) -> Self {
        Self { judge: Arc::new(Judge::new(policies, limits)) }
    }

    pub(crate) fn judge(&self) -> &Arc<Judge> {
        &self.judge
    }
}

impl Guard for PolicyGuard {
    fn about(&self) -> &'static About {
        &ABOUT
    }

    fn check(&self, call: &Call) -> Decision {
        let facts = Facts::of_call(call);
        match self.judge.check(&facts, call.tool()) {
            // Judged first all the same: neither words nor time tell it from a tool that a policy hides.
            Decision::Pass(_) | Decision::Hold(_) if facts.is_by_name() && !facts.exists() => {
                let detail = "the server lists no tool of this name".to_owned();
                self.judge.deny(&facts, DenialCode::NotListed, "no policy permits this".into(), detail, &[])
            }
            Decision::Pass(pass) => self.judge.check_named(&facts).unwrap_or(Decision::Pass(pass)),
            refused => refused,
        }
    }

    fn watch(&self, call: &Call) -> Option<Box<dyn Watch>> {
        watch::appoint(&self.judge, call)
    }

    /// What lists show is what some call could use; what a server may be told is what some request of its could get.
    fn never_permits(&self, call: &Call, method: &str) -> bool {
        !self.judge.visible(&Facts::of_embedded(&call.context, method, None), Unknown::Subject)
    }
}

impl Judge {
    /// The decision on one request.
    pub(crate) fn check(&self, facts: &Facts<'_>, tool: Option<&Arc<Tool>>) -> Decision {
        let Some(prepared) = self.prepare(facts) else {
            return self.deny(
                facts,
                DenialCode::PolicyError,
                UNJUDGED.into(),
                "a name cannot be written in Cedar".to_owned(),
                &[],
            );
        };
        match self.decide(&prepared, facts, tool) {
            Outcome::Permitted(policies) => {
                let repeatable = !facts.is_by_name() && !facts.answer && prepared.full.needs.only(PER_METHOD);
                Decision::Pass(Pass { policies: Some(policies), findings: Vec::new(), repeatable })
            }
            Outcome::Forbidden(forbids) => self.forbidden(&prepared, facts, tool, &forbids),
            Outcome::NotPermitted => {
                let public = self.not_permitted(&prepared, facts);
                self.deny(facts, DenialCode::NotPermitted, public, "no permit is satisfied".to_owned(), &[])
            }
            Outcome::Failed(failed) => {
                let list: Vec<String> =
                    failed.iter().map(|(number, kind)| format!("`{}`: {kind}", self.id(*number))).collect();
                let numbers: Vec<usize> = failed.iter().map(|(number, _)| *number).collect();
                self.deny(
                    facts,
                    DenialCode::PolicyError,
                    UNJUDGED.into(),
                    format!("policies failed: {}", list.join("; ")),
                    &numbers,
                )
            }
            Outcome::Unfit(unfit) => {
                let public = if unfit.0.starts_with("`args") { MISFIT } else { UNJUDGED };
                self.deny(facts, DenialCode::PolicyError, public.into(), unfit.0, &[])
            }
        }
    }

    fn forbidden(
        &self,
        prepared: &Prepared,
        facts: &Facts<'_>,
        tool: Option<&Arc<Tool>>,
        forbids: &[usize],
    ) -> Decision {
        let entries: Vec<_> = forbids.iter().filter_map(|number| self.policies.entries.get(*number)).collect();
        let asks: Vec<Ask> = entries.iter().filter_map(|entry| entry.ask).collect();
        let only_asks = asks.len() == entries.len();
        // A hold is only for what would pass without the question.
        if only_asks && matches!(self.decide_without_ask(prepared, facts, tool), Outcome::Permitted(_)) {
            // Where one policy asks the caller and another the operator, the operator's word is needed.
            let who = if asks.contains(&Ask::Operator) { Ask::Operator } else { Ask::Caller };
            let reason = entries.iter().find_map(|entry| entry.reason.as_deref());
            let public = reason.map_or(Cow::Borrowed(ASKS), |reason| Cow::Owned(reason.to_owned()));
            let detail = format!("ask: {}", who.as_str());
            return Decision::Hold(Box::new(self.denial(facts, DenialCode::ApprovalRequired, public, detail, forbids)));
        }
        // What a person could have approved is not the reason when something else stands against it.
        let reason = entries.iter().filter(|entry| entry.ask.is_none()).find_map(|entry| entry.reason.as_deref());
        let public = reason.map_or(Cow::Borrowed("a policy forbids this"), |reason| Cow::Owned(reason.to_owned()));
        self.deny(facts, DenialCode::Forbidden, public, "a forbid is satisfied".to_owned(), forbids)
    }

    fn not_permitted(&self, prepared: &Prepared, facts: &Facts<'_>) -> Cow<'static, str> {
        let public = if facts.shape != Shape::Tool || self.manner(facts) != Manner::Correctable {
            "no policy permits this"
        } else if self.permits_look_at(prepared, &["args"]) {
            "no policy permits a call of this tool with these arguments"
        } else {
            "no policy permits a call of this tool now"
        };
        public.into()
    }

    fn deny(
        &self,
        facts: &Facts<'_>,
        code: DenialCode,
        public: Cow<'static, str>,
        detail: String,
        policies: &[usize],
    ) -> Decision {
        Decision::Deny(Box::new(self.denial(facts, code, public, detail, policies)))
    }

    fn denial(
        &self,
        facts: &Facts<'_>,
        code: DenialCode,
        public: Cow<'static, str>,
        detail: String,
        policies: &[usize],
    ) -> Denial {
        let policies = policies.iter().map(|number| self.id(*number)).collect();
        Denial { code, guard: NAME, public, detail, policies, manner: self.manner(facts) }
    }

    /// What the caller may never use does not exist for it: the same rule that keeps it out of lists.
    fn manner(&self, facts: &Facts<'_>) -> Manner {
        if facts.answer || facts.direction != Direction::ToServer {
            return Manner::Plain;
        }
        let hides =
            matches!(facts.action, "prompts/get" | "resources/read" | "resources/subscribe" | "resources/unsubscribe");
        match facts.shape {
            Shape::Tool if self.visible(facts, Unknown::Call) && facts.exists() => Manner::Correctable,
            Shape::Tool => Manner::Unknown,
            _ if hides && !self.visible(facts, Unknown::Call) => Manner::Unknown,
            _ => Manner::Plain,
        }
    }

    /// Methods that name things which have an action of their own do not lead around that action.
    fn check_named(&self, facts: &Facts<'_>) -> Option<Decision> {
        match facts.action {
            "subscriptions/listen" => self.check_listened(facts),
            "completion/complete" => self.check_completed(facts),
            _ => None,
        }
    }

    /// Completions tell what a prompt or a resource takes; of a hidden one they tell nothing (I6).
    fn check_completed(&self, facts: &Facts<'_>) -> Option<Decision> {
        let visible = if facts.completes_resource {
            // The reference is a template, not a URI yet.
            self.visible(&Facts::of_item(facts.context, "resources/read", None), Unknown::Subject)
        } else {
            self.visible(&Facts::of_item(facts.context, "prompts/get", facts.name.clone()), Unknown::Call)
        };
        let hidden = || {
            let detail = "the prompt or resource to complete for is hidden from this caller".to_owned();
            let denial = self.denial(facts, DenialCode::NotPermitted, "no policy permits this".into(), detail, &[]);
            Decision::Deny(Box::new(Denial { manner: Manner::Unknown, ..denial }))
        };
        (!visible).then(hidden)
    }

    /// A modern `subscriptions/listen` subscribes to resources by URI; each is judged as `resources/subscribe` (I7).
    fn check_listened(&self, facts: &Facts<'_>) -> Option<Decision> {
        let params = facts.params?;
        let wanted =
            params.path(&["notifications", "resourceSubscriptions"]).or_else(|| params.get("resourceSubscriptions"))?;
        wanted.elements().find_map(|uri| {
            let Some(uri) = uri.as_str() else {
                let detail = "a resource subscription is not a string".to_owned();
                return Some(self.deny(facts, DenialCode::PolicyError, UNJUDGED.into(), detail, &[]));
            };
            let item = Facts { listed: false, ..Facts::of_item(facts.context, "resources/subscribe", Some(uri)) };
            match self.check(&item, None) {
                Decision::Pass(_) => None,
                refused => Some(refused),
            }
        })
    }
}

const UNJUDGED: &str = "this could not be judged, so it is refused";
const MISFIT: &str = "an argument does not have the form that this tool declares, so the call could not be judged";
const ASKS: &str = "a person must approve this";

#[cfg(test)]
mod tests;
