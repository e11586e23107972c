//! What each policy says of one call, for `explain`. Slow and complete, where the guard is fast and stops at the answer.

use std::sync::Arc;

use cedar_policy::Effect;
use portcullis_core::call::Call;

use crate::context::Facts;
use crate::guard::PolicyGuard;
use crate::judge::{Judge, Outcome};
use crate::policies::Ask;

/// One policy's part in the decision.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Explained {
    pub id: Arc<str>,
    pub file: String,
    /// From 1.
    pub line: usize,
    /// `permit`, or `forbid`.
    pub effect: &'static str,
    pub ask: Option<Ask>,
    pub reason: Option<Arc<str>>,
    pub verdict: Verdict,
}

/// What one policy says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Its scope is about something else.
    OutOfScope,
    /// Its conditions are not met.
    NotSatisfied,
    Satisfied,
    /// It could not be evaluated, which denies. Names places and kinds, never values.
    Error(String),
}

impl Verdict {
    /// Words for people.
    #[must_use]
    pub fn as_str(&self) -> &str {
        match self {
            Self::OutOfScope => "about something else",
            Self::NotSatisfied => "not satisfied",
            Self::Satisfied => "satisfied",
            Self::Error(error) => error,
        }
    }
}

/// Every policy of the guard, in the order of the files, as it judges the caller.
#[must_use]
pub fn explain(guard: &PolicyGuard, call: &Call) -> Vec<Explained> {
    of_principal(guard.judge(), &Facts::of_call(call))
}

/// The same for each agent of the chain that is judged too, with its name: first hop first.
#[must_use]
pub fn explain_agents(guard: &PolicyGuard, call: &Call) -> Vec<(String, Vec<Explained>)> {
    let facts = Facts::of_call(call);
    facts.agents().map(|(_, facts)| (facts.caller.name.clone(), of_principal(guard.judge(), &facts))).collect()
}

fn of_principal(judge: &Judge, facts: &Facts<'_>) -> Vec<Explained> {
    let prepared = judge.prepare(facts);
    let verdict = |number: usize| {
        let Some(prepared) = &prepared else { return Verdict::Error("a name cannot be written in Cedar".to_owned()) };
        if !prepared.candidates.contains(&number) {
            return Verdict::OutOfScope;
        }
        match judge.decide_one(prepared, number, facts) {
            Outcome::Permitted(_) | Outcome::Forbidden(_) => Verdict::Satisfied,
            Outcome::NotPermitted => Verdict::NotSatisfied,
            Outcome::Failed(failed) => {
                Verdict::Error(failed.first().map_or("not evaluable", |(_, kind)| kind).to_owned())
            }
            Outcome::Unfit(unfit) => Verdict::Error(unfit.0),
        }
    };
    let entries = judge.policies.entries.iter().enumerate();
    entries
        .map(|(number, entry)| Explained {
            id: Arc::clone(&entry.id),
            file: entry.file.clone(),
            line: entry.line,
            effect: match entry.effect {
                Effect::Permit => "permit",
                Effect::Forbid => "forbid",
            },
            ask: entry.ask,
            reason: entry.reason.clone(),
            verdict: verdict(number),
        })
        .collect()
}

#[cfg(test)]
mod tests;
