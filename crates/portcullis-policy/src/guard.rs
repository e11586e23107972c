//! The policy guard: from a call to pass, hold or denial, and the watchers that hold its replies to the same policies.

mod watch;

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::sync::Arc;

use portcullis_core::call::Call;
use portcullis_core::guard::{About, Decision, Guard, Pass, Phase, Watch};
use portcullis_core::refusal::{Denial, DenialCode, Manner, ProofFailure};
use portcullis_core::wire::{Direction, JsonKind, Limits};

use crate::context::Facts;
use crate::judge::{Judge, Outcome, Prepared};
use crate::policies::{Ask, Entry, Policies};
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
const PER_METHOD: &[&str] = &["method", "direction", "era", "version", "client", "agent", "signature", "chain"];

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
        match self.judge.check(&facts) {
            // Judged first all the same: neither words nor time tell it from a tool that a policy hides.
            Decision::Pass(_) | Decision::Hold(_) if facts.is_by_name() && !facts.exists() => {
                let refusal = Refusal::not_permitted("no policy permits this", "the server lists no tool of this name");
                self.judge.deny(&facts, Refusal { code: DenialCode::NotListed, ..refusal })
            }
            Decision::Pass(pass) => self.judge.check_named(&facts).unwrap_or(Decision::Pass(pass)),
            refused => refused,
        }
    }

    fn heeds_tally(&self) -> bool {
        let mut entries = self.judge.policies.entries.iter();
        entries.any(|entry| entry.full.needs.below("session").is_some_and(|session| !session.is_empty()))
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
    /// The decision on one request: for its caller, and for every agent that it went through. What any of them may not do, none may.
    pub(crate) fn check(&self, facts: &Facts<'_>) -> Decision {
        let mut verdict = self.verdict(facts);
        for (at, agent) in facts.agents() {
            if matches!(verdict, Verdict::Deny(_)) {
                break;
            }
            verdict = verdict.and(at, &agent.caller.name, self.verdict(&agent));
        }
        match verdict {
            Verdict::Pass(pass) => Decision::Pass(pass),
            Verdict::Hold(_, question) => Decision::Hold(Box::new(self.denial(facts, question))),
            Verdict::Deny(refusal) => self.deny(facts, refusal),
        }
    }

    /// What is said to one of them.
    fn verdict(&self, facts: &Facts<'_>) -> Verdict {
        let Some(prepared) = self.prepare(facts) else {
            return Verdict::Deny(Refusal::unjudged("a name cannot be written in Cedar".to_owned()));
        };
        match self.decide(&prepared, facts) {
            Outcome::Permitted(policies) => {
                let repeatable = !facts.is_by_name() && !facts.answer && prepared.full.needs.only(PER_METHOD);
                Verdict::Pass(Pass { policies: Some(policies), findings: Vec::new(), repeatable })
            }
            Outcome::Forbidden(forbids) => match self.question(&prepared, facts, &forbids) {
                Some((who, question)) => Verdict::Hold(who, question),
                None => Verdict::Deny(self.forbidden(forbids)),
            },
            Outcome::NotPermitted => Verdict::Deny(self.not_permitted(&prepared, facts)),
            Outcome::Failed(failed) => {
                let list: Vec<String> =
                    failed.iter().map(|(number, kind)| format!("`{}`: {kind}", self.id(*number))).collect();
                let policies = failed.iter().map(|(number, _)| *number).collect();
                let refusal = Refusal::unjudged(format!("policies failed: {}", list.join("; ")));
                Verdict::Deny(Refusal { policies, ..refusal })
            }
            Outcome::Unfit(unfit) => {
                let public = if unfit.0.starts_with("`args") { MISFIT } else { UNJUDGED };
                Verdict::Deny(Refusal { public: public.into(), ..Refusal::unjudged(unfit.0) })
            }
        }
    }

    /// What a person must approve, where nothing but such questions stands against it.
    fn question(&self, prepared: &Prepared, facts: &Facts<'_>, forbids: &[usize]) -> Option<(Ask, Refusal)> {
        let asks: Vec<Ask> = self.entries(forbids).map(|entry| entry.ask).collect::<Option<_>>()?;
        // A hold is only for what would pass without the question.
        if !matches!(self.decide_without_ask(prepared, facts), Outcome::Permitted(_)) {
            return None;
        }
        // Where one policy asks the caller and another the operator, the operator's word is needed.
        let who = if asks.contains(&Ask::Operator) { Ask::Operator } else { Ask::Caller };
        let reason = self.entries(forbids).find_map(|entry| entry.reason.as_deref());
        let refusal = Refusal {
            code: DenialCode::ApprovalRequired,
            public: reason.map_or(Cow::Borrowed(ASKS), |reason| Cow::Owned(reason.to_owned())),
            detail: format!("ask: {}", who.as_str()),
            policies: forbids.to_vec(),
        };
        Some((who, refusal))
    }

    fn forbidden(&self, policies: Vec<usize>) -> Refusal {
        // What a person could have approved is not the reason when something else stands against it.
        let stands = self.entries(&policies).filter(|entry| entry.ask.is_none());
        let reason = { stands }.find_map(|entry| entry.reason.as_deref());
        let public = reason.map_or(Cow::Borrowed("a policy forbids this"), |reason| Cow::Owned(reason.to_owned()));
        Refusal { code: DenialCode::Forbidden, public, detail: "a forbid is satisfied".to_owned(), policies }
    }

    fn entries<'a>(&'a self, numbers: &'a [usize]) -> impl Iterator<Item = &'a Entry> {
        numbers.iter().filter_map(|number| self.policies.entries.get(*number))
    }

    fn not_permitted(&self, prepared: &Prepared, facts: &Facts<'_>) -> Refusal {
        let public = if facts.shape != Shape::Tool || self.manner(facts) != Manner::Correctable {
            "no policy permits this"
        } else if self.permits_look_at(prepared, &["args"]) {
            "no policy permits a call of this tool with these arguments"
        } else {
            "no policy permits a call of this tool now"
        };
        Refusal::not_permitted(public, "no permit is satisfied")
    }

    fn deny(&self, facts: &Facts<'_>, refusal: Refusal) -> Decision {
        Decision::Deny(Box::new(self.denial(facts, refusal)))
    }

    fn denial(&self, facts: &Facts<'_>, refusal: Refusal) -> Denial {
        let Refusal { code, public, detail, policies } = refusal;
        let policies = policies.into_iter().map(|number| self.id(number)).collect();
        Denial { code, guard: NAME, public, detail, policies, manner: self.manner(facts), challenge: None }
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
            let detail = "the prompt or resource to complete for is hidden from this caller";
            let denial = self.denial(facts, Refusal::not_permitted("no policy permits this", detail));
            Decision::Deny(Box::new(Denial { manner: Manner::Unknown, ..denial }))
        };
        (!visible).then(hidden)
    }

    /// A modern `subscriptions/listen` subscribes to resources by URI; each is judged as `resources/subscribe` (I7).
    fn check_listened(&self, facts: &Facts<'_>) -> Option<Decision> {
        let params = facts.params?;
        let unjudged = |detail: &str| Some(self.deny(facts, Refusal::unjudged(detail.to_owned())));
        // Where the specification puts them, and where a lenient server may look as well: neither place leads around the policies.
        let lists = [params.path(&["notifications", "resourceSubscriptions"]), params.get("resourceSubscriptions")];
        lists.into_iter().flatten().filter(|list| !list.is_null()).find_map(|list| {
            if list.kind() != JsonKind::Array {
                return unjudged("`resourceSubscriptions` is not an array");
            }
            list.elements().find_map(|uri| {
                let Some(uri) = uri.as_str() else { return unjudged("a resource subscription is not a string") };
                let item = Facts { listed: false, ..Facts::of_item(facts.context, "resources/subscribe", Some(uri)) };
                match self.check(&item) {
                    Decision::Pass(_) => None,
                    refused => Some(refused),
                }
            })
        })
    }
}

/// What is said to one principal.
enum Verdict {
    Pass(Pass),
    Hold(Ask, Refusal),
    Deny(Refusal),
}

impl Verdict {
    /// With what is said to the agent of entry `at`.
    fn and(self, at: usize, agent: &str, next: Self) -> Self {
        match (self, next) {
            (Self::Deny(refusal), _) => Self::Deny(refusal),
            (_, Self::Deny(refusal)) => Self::Deny(refusal.of_agent(at, agent)),
            // The operator's word covers the caller's.
            (Self::Hold(Ask::Caller, _), Self::Hold(Ask::Operator, question)) => Self::Hold(Ask::Operator, question),
            (Self::Hold(who, question), _) | (Self::Pass(_), Self::Hold(who, question)) => Self::Hold(who, question),
            (Self::Pass(one), Self::Pass(other)) => {
                let ids = [one.policies, other.policies].into_iter().flatten();
                let ids: BTreeSet<Arc<str>> =
                    ids.flat_map(|ids| ids.iter().map(Arc::clone).collect::<Vec<_>>()).collect();
                let repeatable = one.repeatable && other.repeatable;
                Self::Pass(Pass { policies: Some(ids.into_iter().collect()), findings: one.findings, repeatable })
            }
        }
    }
}

/// What is said no to, before it is known how to put that to this caller.
struct Refusal {
    code: DenialCode,
    public: Cow<'static, str>,
    detail: String,
    /// Numbers of the policies that decided.
    policies: Vec<usize>,
}

impl Refusal {
    fn not_permitted(public: &'static str, detail: &str) -> Self {
        Self { code: DenialCode::NotPermitted, public: public.into(), detail: detail.to_owned(), policies: Vec::new() }
    }

    /// The public is told of nobody, the log of whom.
    fn of_agent(self, at: usize, agent: &str) -> Self {
        let detail = format!("entry {at}, `{agent}`: {}: {}", self.code.as_str(), self.detail);
        Self { code: DenialCode::Proof(ProofFailure::ChainDenied), public: IN_CHAIN.into(), detail, ..self }
    }

    fn unjudged(detail: String) -> Self {
        Self { code: DenialCode::PolicyError, public: UNJUDGED.into(), detail, policies: Vec::new() }
    }
}

const IN_CHAIN: &str = "somebody whom this request went through may not do this";
const UNJUDGED: &str = "this could not be judged, so it is refused";
const MISFIT: &str = "an argument does not have the form that this tool declares, so the call could not be judged";
const ASKS: &str = "a person must approve this";

#[cfg(test)]
mod tests;
