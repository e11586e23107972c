//! Counts what policies say. Cedar evaluates each of them; putting the answers together is ours, because Cedar's authorizer assembles every
//! condition anew for every request and copies the ids and annotations of all policies into its answer. A property test holds the two equal.

use cedar_policy::{Effect, EvaluationError};
use cedar_policy_core::ast::{Literal, Request, SlotEnv, ValueKind};
use cedar_policy_core::entities::Entities;
use cedar_policy_core::evaluator::Evaluator;
use cedar_policy_core::extensions::Extensions;

use crate::policies::Rule;

/// Numbers of policies, ascending.
#[derive(Debug, Default)]
pub(super) struct Tally {
    /// Satisfied permits.
    pub(super) permits: Vec<usize>,
    /// Satisfied forbids.
    pub(super) forbids: Vec<usize>,
    /// Policies that could not be evaluated, with the kind of error.
    pub(super) failed: Vec<(usize, &'static str)>,
}

/// Every policy is evaluated: one that fails must be heard of even where another has decided.
pub(super) fn tally(request: Request, entities: &Entities, rules: &[Rule]) -> Tally {
    let evaluator = Evaluator::new(request, entities, Extensions::all_available());
    let no_slots = SlotEnv::new();
    let mut tally = Tally::default();
    for Rule { number, effect, condition } in rules {
        let answer = evaluator.interpret(condition, &no_slots);
        let answer = answer.as_ref().map(|value| value.value_kind());
        match (answer, effect) {
            (Ok(ValueKind::Lit(Literal::Bool(true))), Effect::Permit) => tally.permits.push(*number),
            (Ok(ValueKind::Lit(Literal::Bool(true))), Effect::Forbid) => tally.forbids.push(*number),
            (Ok(ValueKind::Lit(Literal::Bool(false))), _) => {}
            (Ok(_), _) => tally.failed.push((*number, WRONG_TYPE)),
            (Err(error), _) => tally.failed.push((*number, kind_of(error))),
        }
    }
    tally
}

const WRONG_TYPE: &str = "values of the wrong type";

/// Cedar's own messages may quote values, and the log must not hold any.
pub(super) const fn kind_of(error: &EvaluationError) -> &'static str {
    match error {
        EvaluationError::EntityDoesNotExist(_) => "an entity does not exist",
        EvaluationError::EntityAttrDoesNotExist(_) => "an entity does not have the attribute",
        EvaluationError::RecordAttrDoesNotExist(_) => "a mentioned value is absent",
        EvaluationError::FailedExtensionFunctionLookup(_) => "an extension function does not exist",
        EvaluationError::TypeError(_) => WRONG_TYPE,
        EvaluationError::WrongNumArguments(_) => "an extension function has the wrong number of arguments",
        EvaluationError::IntegerOverflow(_) => "integer overflow",
        EvaluationError::UnlinkedSlot(_) => "a template that was not linked",
        EvaluationError::FailedExtensionFunctionExecution(_) => "an extension function failed",
        EvaluationError::NonValue(_) => "a value is unknown",
        EvaluationError::RecursionLimit(_) => "the condition nests too deep",
        #[expect(unreachable_patterns, reason = "variants exist only with features this build does not use")]
        _ => "not evaluable",
    }
}
