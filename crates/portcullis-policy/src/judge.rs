//! The decision point: one request, the policies that can apply to it, one outcome. Lists and calls both come here, so that they agree.

use std::collections::HashSet;
use std::sync::{Arc, OnceLock};

use cedar_policy::{
    AuthorizationError, Authorizer, Context, Decision, Effect, Entities, Entity, EntityUid, EvaluationError, Request,
    Response, RestrictedExpression,
};
use portcullis_core::caller::Caller;
use portcullis_core::catalogue::Tool;
use portcullis_core::wire::Limits;

use crate::bounded::Bounded;
use crate::context::{Facts, Unfit, build};
use crate::index::Target;
use crate::names::{ACTION, CALLER, GROUP, SERVER, server_group, tool_action_type, uid};
use crate::policies::{Policies, Slice, View};
use crate::schema::{Type, project};
use crate::visibility::Unknown;
use crate::vocabulary::{Shape, TOOLS_CALL};

/// Kinds of request remembered with their entities and candidate policies: one per caller, action and server. 8192: a few hundred
/// callers with their usual tools.
const MOST_PREPARED: usize = 8192;
/// Tool definitions remembered with their types. 4096: far more than the servers of one gateway list.
const MOST_TYPES: usize = 4096;

/// Policies with everything that can be made ahead of a call.
pub(crate) struct Judge {
    pub(crate) policies: Arc<Policies>,
    pub(crate) limits: Limits,
    authorizer: Authorizer,
    prepared: Bounded<Target, Option<Arc<Prepared>>>,
    /// By the address of a definition, which the entry keeps alive.
    types: Bounded<usize, (Arc<Tool>, Arc<Type>)>,
}

/// What all requests of one caller for one action have in common.
pub(crate) struct Prepared {
    principal: EntityUid,
    action: EntityUid,
    resource: EntityUid,
    entities: Entities,
    /// Numbers of the policies whose scope fits.
    pub(crate) candidates: Vec<usize>,
    pub(crate) full: Arc<Slice>,
    may_call: OnceLock<Arc<Slice>>,
    may_subject: OnceLock<Arc<Slice>>,
    /// What these two say, when no candidate of theirs looks at the context.
    sees_call: OnceLock<bool>,
    sees_subject: OnceLock<bool>,
    /// The outcome, when no candidate looks at the context.
    fixed: OnceLock<Outcome>,
}

/// What the policies say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// Ids of the satisfied permits, sorted.
    Permitted(Arc<[Arc<str>]>),
    /// Numbers of the satisfied forbids, sorted by id.
    Forbidden(Vec<usize>),
    NotPermitted,
    /// Policies that could not be evaluated, with the kind of error.
    Failed(Vec<(usize, &'static str)>),
    Unfit(Unfit),
}

impl Judge {
    pub(crate) fn new(policies: Arc<Policies>, limits: Limits) -> Self {
        Self {
            policies,
            limits,
            authorizer: Authorizer::new(),
            prepared: Bounded::new(MOST_PREPARED),
            types: Bounded::new(MOST_TYPES),
        }
    }

    /// Everything about the request but its context. `None` when its names are no Cedar names.
    pub(crate) fn prepare(&self, facts: &Facts<'_>) -> Option<Arc<Prepared>> {
        let target = self.target(facts);
        self.prepared.get_or_insert(target, |target| self.make_prepared(target).map(Arc::new))
    }

    fn target(&self, facts: &Facts<'_>) -> Target {
        let Caller { name, proof, groups } = &*facts.context.caller;
        let server = &facts.context.server;
        let own = |tool: &str| (tool_action_type(server), tool.to_owned());
        // A tool that a policy names is itself even when the server's list is not known: a `forbid` must not depend on that.
        let is_itself = |tool: &str| {
            facts.listed || facts.context.catalogue.tool(tool).is_some() || self.policies.index.names(&own(tool))
        };
        let (action, parents) = match (facts.shape, &facts.name) {
            (Shape::Tool, Some(tool)) if is_itself(tool) => {
                (own(tool), vec![TOOLS_CALL.to_owned(), server_group(server)])
            }
            (Shape::Tool, _) => ((ACTION.to_owned(), TOOLS_CALL.to_owned()), vec![server_group(server)]),
            _ => {
                let parents = crate::vocabulary::groups(facts.action).into_iter().map(str::to_owned).collect();
                ((ACTION.to_owned(), facts.action.to_owned()), parents)
            }
        };
        Target {
            caller: name.clone(),
            proof: proof.as_str(),
            groups: groups.clone(),
            action,
            parents,
            server: server.to_string(),
        }
    }

    fn make_prepared(&self, target: &Target) -> Option<Prepared> {
        let text = |text: &str| RestrictedExpression::new_string(text.to_owned());
        let name = |name: &str| ("name".to_owned(), text(name));
        let principal = uid(CALLER, &target.caller)?;
        let action = uid(&target.action.0, &target.action.1)?;
        let resource = uid(SERVER, &target.server)?;
        let groups: Option<HashSet<EntityUid>> = target.groups.iter().map(|group| uid(GROUP, group)).collect();
        let parents: Option<HashSet<EntityUid>> = target.parents.iter().map(|parent| uid(ACTION, parent)).collect();
        let caller = [name(&target.caller), ("proof".to_owned(), text(target.proof))];
        let entities = [
            Entity::new(principal.clone(), caller.into_iter().collect(), groups?).ok()?,
            Entity::new_no_attrs(action.clone(), parents?),
            Entity::new(resource.clone(), [name(&target.server)].into_iter().collect(), HashSet::new()).ok()?,
        ];
        let candidates = self.policies.candidates(target);
        let full = self.policies.slice(View::Full, &candidates);
        Some(Prepared {
            principal,
            action,
            resource,
            entities: Entities::from_entities(entities, None).ok()?,
            candidates,
            full,
            may_call: OnceLock::new(),
            may_subject: OnceLock::new(),
            sees_call: OnceLock::new(),
            sees_subject: OnceLock::new(),
            fixed: OnceLock::new(),
        })
    }

    pub(crate) fn may_slice<'a>(&self, prepared: &'a Prepared, unknown: Unknown) -> &'a Arc<Slice> {
        let cell = match unknown {
            Unknown::Call => &prepared.may_call,
            Unknown::Subject => &prepared.may_subject,
        };
        cell.get_or_init(|| self.policies.slice(unknown.into(), &prepared.candidates))
    }

    /// What the policies say of these facts. An answer is judged by what is known of it: its request passed with all its facts.
    pub(crate) fn decide(&self, prepared: &Prepared, facts: &Facts<'_>, tool: Option<&Arc<Tool>>) -> Outcome {
        if facts.answer {
            return self.evaluate(prepared, self.may_slice(prepared, Unknown::Subject), facts, tool);
        }
        if prepared.full.needs.is_empty() {
            return prepared.fixed.get_or_init(|| self.evaluate(prepared, &prepared.full, facts, tool)).clone();
        }
        self.evaluate(prepared, &prepared.full, facts, tool)
    }

    /// The same without the policies that ask a person.
    pub(crate) fn decide_without_ask(
        &self,
        prepared: &Prepared,
        facts: &Facts<'_>,
        tool: Option<&Arc<Tool>>,
    ) -> Outcome {
        let slice = self.policies.slice(View::WithoutAsk, &prepared.candidates);
        self.evaluate(prepared, &slice, facts, tool)
    }

    /// Whether the caller may see this at all: some call of this kind could be permitted.
    pub(crate) fn visible(&self, facts: &Facts<'_>, unknown: Unknown) -> bool {
        let Some(prepared) = self.prepare(facts) else { return false };
        let slice = self.may_slice(&prepared, unknown);
        let sees = || {
            let Ok(context) = build(facts, &slice.needs, None) else { return false };
            // A weakened policy may fail where the whole would not (its guard was weakened away); Cedar then leaves it out, and so do we.
            self.ask_cedar(&prepared, slice, context).is_some_and(|response| response.decision() == Decision::Allow)
        };
        if !slice.needs.is_empty() {
            return sees();
        }
        let cell = match unknown {
            Unknown::Call => &prepared.sees_call,
            Unknown::Subject => &prepared.sees_subject,
        };
        *cell.get_or_init(sees)
    }

    fn evaluate(&self, prepared: &Prepared, slice: &Slice, facts: &Facts<'_>, tool: Option<&Arc<Tool>>) -> Outcome {
        let types = tool.filter(|_| slice.needs.mentions_any(&["args"])).map(|tool| self.types_of(tool));
        match build(facts, &slice.needs, types.as_deref()) {
            Ok(context) => self.outcome(prepared, slice, context),
            Err(unfit) => Outcome::Unfit(unfit),
        }
    }

    fn outcome(&self, prepared: &Prepared, slice: &Slice, context: Context) -> Outcome {
        let Some(response) = self.ask_cedar(prepared, slice, context) else {
            return Outcome::Unfit(Unfit::new("context", "Cedar does not take these facts"));
        };
        let diagnostics = response.diagnostics();
        // Cedar leaves a policy out that fails; a `forbid` left out would be an open gate, so any failure denies.
        let mut failed: Vec<_> = diagnostics
            .errors()
            .map(|error| {
                let AuthorizationError::PolicyEvaluationError(error) = error;
                (slice.by_id.get(error.policy_id()).copied().unwrap_or(usize::MAX), kind_of(error.inner()))
            })
            .collect();
        if !failed.is_empty() {
            failed.sort_by_key(|(number, _)| self.id(*number));
            return Outcome::Failed(failed);
        }
        let mut reasons: Vec<usize> = diagnostics.reason().filter_map(|id| slice.by_id.get(id)).copied().collect();
        reasons.sort_by_key(|number| self.id(*number));
        match (response.decision(), reasons.as_slice()) {
            (Decision::Allow, [only]) => match slice.reasons.get(only) {
                Some(cell) => Outcome::Permitted(Arc::clone(cell.get_or_init(|| self.ids(&reasons)))),
                None => Outcome::Permitted(self.ids(&reasons)),
            },
            (Decision::Allow, _) => Outcome::Permitted(self.ids(&reasons)),
            (Decision::Deny, []) => Outcome::NotPermitted,
            (Decision::Deny, _) => Outcome::Forbidden(reasons),
        }
    }

    /// `None` cannot happen without a schema; it denies all the same.
    fn ask_cedar(&self, prepared: &Prepared, slice: &Slice, context: Context) -> Option<Response> {
        let (principal, action, resource) =
            (prepared.principal.clone(), prepared.action.clone(), prepared.resource.clone());
        if slice.broken {
            return None;
        }
        let request = Request::new(principal, action, resource, context, None).ok()?;
        Some(self.authorizer.is_authorized(&request, &slice.set, &prepared.entities))
    }

    /// One policy alone, for `explain`.
    pub(crate) fn decide_one(
        &self,
        prepared: &Prepared,
        number: usize,
        facts: &Facts<'_>,
        tool: Option<&Arc<Tool>>,
    ) -> Outcome {
        let view = if facts.answer { View::MaySubject } else { View::Full };
        let slice = self.policies.slice(view, &[number]);
        self.evaluate(prepared, &slice, facts, tool)
    }

    fn types_of(&self, tool: &Arc<Tool>) -> Arc<Type> {
        let address = Arc::as_ptr(tool) as usize;
        let (_, ty) = self.types.get_or_insert(address, |_| {
            (Arc::clone(tool), Arc::new(project(tool.input_schema.as_deref(), &self.limits)))
        });
        ty
    }

    pub(crate) fn id(&self, number: usize) -> Arc<str> {
        self.policies.entries.get(number).map_or_else(|| Arc::from("unknown"), |entry| Arc::clone(&entry.id))
    }

    fn ids(&self, numbers: &[usize]) -> Arc<[Arc<str>]> {
        numbers.iter().map(|number| self.id(*number)).collect()
    }

    /// Whether some permit that could apply looks at these facts.
    pub(crate) fn permits_look_at(&self, prepared: &Prepared, facts: &[&str]) -> bool {
        let entries = prepared.candidates.iter().filter_map(|number| self.policies.entries.get(*number));
        entries.filter(|entry| entry.effect == Effect::Permit).any(|entry| entry.needs.mentions_any(facts))
    }
}

impl std::fmt::Debug for Judge {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Judge").field("policies", &self.policies.entries.len()).finish_non_exhaustive()
    }
}

/// Cedar's own messages may quote values, and the log must not hold any.
const fn kind_of(error: &EvaluationError) -> &'static str {
    match error {
        EvaluationError::EntityDoesNotExist(_) => "an entity does not exist",
        EvaluationError::EntityAttrDoesNotExist(_) => "an entity does not have the attribute",
        EvaluationError::RecordAttrDoesNotExist(_) => "a mentioned value is absent",
        EvaluationError::FailedExtensionFunctionLookup(_) => "an extension function does not exist",
        EvaluationError::TypeError(_) => "values of the wrong type",
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

#[cfg(test)]
mod tests;
