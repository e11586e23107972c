//! The decision point: one request, the policies that can apply to it, one outcome. Lists and calls both come here, so that they agree.

mod key;
mod lists;
mod principal;
mod tally;

use std::collections::HashSet;
#[cfg(test)]
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock, Weak};

use cedar_policy::{Effect, Entities, Entity, EntityUid, RestrictedExpression};
use cedar_policy_core::ast::{Context, EntityUIDEntry, Request};
use portcullis_core::catalogue::Tool;
use portcullis_core::wire::Limits;

pub(crate) use self::key::Recipe;
use self::key::{Key, Known, Share};
use self::lists::Lists;
use self::tally::{Tally, tally};
use crate::bounded::Bounded;
use crate::context::{Facts, Unfit, build};
use crate::index::{Asked, Target, What};
use crate::names::{ACTION, SERVER, tool_action_type, uid};
use crate::policies::{Parts, Policies, Slice, View};
use crate::schema::{Type, project};
use crate::visibility::Unknown;
use crate::vocabulary::Shape;

/// Kinds of request remembered with their entities and candidate policies: one per caller, action and server. 8192: a few hundred
/// callers with their usual tools.
const MOST_PREPARED: usize = 8192;
/// Tool definitions remembered with their types. 4096: far more than the servers of one gateway list.
const MOST_TYPES: usize = 4096;
/// Bytes of a schema whose types are remembered. 64 KiB: real ones have a few; a server that lists ever new giants must not fill the memory.
const MOST_SCHEMA: usize = 64 << 10;
/// Decisions remembered. 4096: with keys of at most 1 KiB they take 4 MiB, and a caller that never asks the same twice can only make
/// others' be made again, two or three times a second at ten thousand calls.
const MOST_DECISIONS: usize = 4096;
/// Policies that decided a remembered call. 16: where more agree their list would outweigh the key.
const MOST_DECIDING: usize = 16;

/// Policies with everything that can be made ahead of a call.
pub(crate) struct Judge {
    pub(crate) policies: Arc<Policies>,
    pub(crate) limits: Limits,
    prepared: Bounded<Target, Option<Arc<Prepared>>>,
    /// By the address of a definition. A weak reference lets the definition go and still keeps its address from being used again.
    types: Bounded<Weak<Tool>, Arc<Type>>,
    decisions: Bounded<Known, Outcome>,
    pub(crate) lists: Lists,
    /// The next [`Prepared::number`].
    next: AtomicU64,
    /// How often policies were asked.
    #[cfg(test)]
    evaluations: AtomicUsize,
    /// How often policies were asked what may be seen.
    #[cfg(test)]
    pub(crate) looks: AtomicUsize,
}

/// What all requests of one caller for one action have in common.
pub(crate) struct Prepared {
    /// Stands for all of the request but its context; never given twice by one judge.
    number: u64,
    principal: EntityUIDEntry,
    action: EntityUIDEntry,
    resource: EntityUIDEntry,
    entities: Entities,
    /// Numbers of the policies whose scope fits.
    pub(crate) candidates: Vec<usize>,
    pub(crate) full: Arc<Slice>,
    may_call: May,
    may_subject: May,
    /// The outcome, when no candidate looks at the context.
    fixed: OnceLock<Outcome>,
}

/// What lists ask for: the candidates in a weakened form.
#[derive(Debug, Default)]
struct May {
    slice: OnceLock<Arc<Slice>>,
    /// What they say, when none of them looks at the context.
    fixed: OnceLock<Look>,
}

/// What lists are told.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Look {
    pub(crate) visible: bool,
    /// The same item of the same list cannot look different to this caller, at this server and in this version, under this plan.
    pub(crate) lasting: bool,
}

/// Facts that an item of a list and the version make, and nothing else. What is not known to be among them is not.
const OF_ITEM: &[&str] = &["method", "direction", "era", "version", "name", "tool", "uri", "url", "host"];

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
            prepared: Bounded::new(MOST_PREPARED),
            types: Bounded::new(MOST_TYPES),
            decisions: Bounded::new(MOST_DECISIONS),
            lists: Lists::new(),
            next: AtomicU64::new(0),
            #[cfg(test)]
            evaluations: AtomicUsize::new(0),
            #[cfg(test)]
            looks: AtomicUsize::new(0),
        }
    }

    /// Everything about the request but its context. `None` when its names are no Cedar names.
    pub(crate) fn prepare(&self, facts: &Facts<'_>) -> Option<Arc<Prepared>> {
        let asked = self.asked(facts);
        self.prepared.get_or_insert(
            &asked,
            |known| known.asked() == asked,
            || {
                let target = Target::of(&asked);
                let prepared = self.make_prepared(&target).map(Arc::new);
                (target, prepared)
            },
        )
    }

    fn asked<'a>(&self, facts: &'a Facts<'_>) -> Asked<'a> {
        let server = &*facts.context.server;
        // A tool that a policy names is itself even when the server's list is not known: a `forbid` must not depend on that.
        let is_itself = |tool: &str| {
            let own = || (tool_action_type(server), tool.to_owned());
            facts.listed || facts.tool.is_some() || self.policies.index.names(&own())
        };
        let what = match (facts.shape, facts.name.as_deref()) {
            (Shape::Tool, Some(tool)) if is_itself(tool) => What::Tool(tool),
            (Shape::Tool, _) => What::UnknownTool,
            _ => What::Method(facts.action),
        };
        Asked { caller: facts.caller, server, what }
    }

    fn make_prepared(&self, target: &Target) -> Option<Prepared> {
        let principal = principal::entity(&target.caller)?;
        let action = uid(&target.action.0, &target.action.1)?;
        let resource = uid(SERVER, &target.server)?;
        let parents: Option<HashSet<EntityUid>> = target.parents.iter().map(|parent| uid(ACTION, parent)).collect();
        let name = ("name".to_owned(), RestrictedExpression::new_string(target.server.clone()));
        let entities = [
            principal.clone(),
            Entity::new_no_attrs(action.clone(), parents?),
            Entity::new(resource.clone(), [name].into_iter().collect(), HashSet::new()).ok()?,
        ];
        let candidates = self.policies.candidates(target);
        let full = self.policies.slice(View::Full, &candidates);
        Some(Prepared {
            number: self.next.fetch_add(1, Ordering::Relaxed),
            principal: entry(principal.uid()),
            action: entry(action),
            resource: entry(resource),
            entities: Entities::from_entities(entities, None).ok()?,
            candidates,
            full,
            may_call: May::default(),
            may_subject: May::default(),
            fixed: OnceLock::new(),
        })
    }

    /// What the policies say of these facts. An answer is judged by what is known of it: its request passed with all its facts.
    pub(crate) fn decide(&self, prepared: &Prepared, facts: &Facts<'_>) -> Outcome {
        if facts.answer {
            return self.evaluate(prepared, self.may_slice(prepared, Unknown::Subject), facts);
        }
        if prepared.full.needs.is_empty() {
            return prepared.fixed.get_or_init(|| self.evaluate(prepared, &prepared.full, facts)).clone();
        }
        self.remembered(prepared, View::Full, &prepared.full, facts)
    }

    /// The same without the policies that ask a person.
    pub(crate) fn decide_without_ask(&self, prepared: &Prepared, facts: &Facts<'_>) -> Outcome {
        let slice = self.policies.slice(View::WithoutAsk, &prepared.candidates);
        self.remembered(prepared, View::WithoutAsk, &slice, facts)
    }

    /// What was said of the same facts before. Nothing else can be said of them: the policies are those of one plan, and the key holds
    /// whatever they look at, or there is no key.
    fn remembered(&self, prepared: &Prepared, view: View, slice: &Slice, facts: &Facts<'_>) -> Outcome {
        self.known(prepared, (view, Share::All), slice, facts)
            .or_else(|| self.in_parts(prepared, view, slice, facts))
            .unwrap_or_else(|| self.evaluate(prepared, slice, facts))
    }

    /// `None`: no key holds what these policies look at.
    fn known(&self, prepared: &Prepared, which: (View, Share), slice: &Slice, facts: &Facts<'_>) -> Option<Outcome> {
        let mut key = Key::new();
        key.write(prepared.number, which, slice, facts)?;
        Some(self.decisions.get_or_keep(
            &key,
            |known| known.is(&key),
            || {
                let outcome = self.evaluate(prepared, slice, facts);
                (outcome.is_lasting().then(|| key.known(facts)), outcome)
            },
        ))
    }

    /// One policy that looks at the time does not have all the others evaluated each time. `None`: what was found has to be said by all of
    /// them together, in the order in which one context of all facts finds it; it denies either way, and the places named must not depend on
    /// what was remembered.
    fn in_parts(&self, prepared: &Prepared, view: View, slice: &Slice, facts: &Facts<'_>) -> Option<Outcome> {
        let Parts { steady, fleeting } = slice.parts.as_deref()?;
        let steady = self.known(prepared, (view, Share::Steady), steady, facts)?;
        self.joined(steady, self.evaluate(prepared, fleeting, facts))
    }

    /// What policies say that were asked in two parts.
    fn joined(&self, one: Outcome, other: Outcome) -> Option<Outcome> {
        use Outcome::{Failed, Forbidden, NotPermitted, Permitted, Unfit};
        Some(match (one, other) {
            (Failed(_) | Unfit(_), _) | (_, Failed(_) | Unfit(_)) => return None,
            (Forbidden(mut numbers), Forbidden(others)) => {
                numbers.extend(others);
                numbers.sort_by_key(|number| self.id(*number));
                Forbidden(numbers)
            }
            (Forbidden(numbers), _) | (_, Forbidden(numbers)) => Forbidden(numbers),
            (Permitted(ids), Permitted(others)) => {
                let mut ids: Vec<_> = ids.iter().chain(others.iter()).cloned().collect();
                ids.sort_unstable();
                Permitted(ids.into())
            }
            (Permitted(ids), NotPermitted) | (NotPermitted, Permitted(ids)) => Permitted(ids),
            (NotPermitted, NotPermitted) => NotPermitted,
        })
    }

    /// One policy alone, for `explain`.
    pub(crate) fn decide_one(&self, prepared: &Prepared, number: usize, facts: &Facts<'_>) -> Outcome {
        let view = if facts.answer { View::MaySubject } else { View::Full };
        self.evaluate(prepared, &self.policies.slice(view, &[number]), facts)
    }

    /// Whether the caller may see this at all, and every agent that its request went through: some call of this kind could be permitted.
    pub(crate) fn visible(&self, facts: &Facts<'_>, unknown: Unknown) -> bool {
        self.look(facts, unknown).visible && facts.agents().all(|(_, agent)| self.look(&agent, unknown).visible)
    }

    /// The same for this one principal, with how long it holds.
    pub(crate) fn look(&self, facts: &Facts<'_>, unknown: Unknown) -> Look {
        let Some(prepared) = self.prepare(facts) else { return Look { visible: false, lasting: true } };
        let slice = self.may_slice(&prepared, unknown);
        let look = || {
            #[cfg(test)]
            self.looks.fetch_add(1, Ordering::Relaxed);
            let Ok(context) = build(facts, &slice.needs, None) else { return Look { visible: false, lasting: false } };
            // A weakened policy may fail where the whole would not (its guard was weakened away); it is then left out.
            let Tally { permits, forbids, failed } = ask_cedar(&prepared, slice, context);
            let lasting = failed.is_empty() && slice.needs.only(OF_ITEM);
            Look { visible: forbids.is_empty() && !permits.is_empty(), lasting }
        };
        if slice.needs.is_empty() { *prepared.may(unknown).fixed.get_or_init(look) } else { look() }
    }

    fn may_slice<'a>(&self, prepared: &'a Prepared, unknown: Unknown) -> &'a Slice {
        prepared.may(unknown).slice.get_or_init(|| self.policies.slice(unknown.into(), &prepared.candidates))
    }

    fn evaluate(&self, prepared: &Prepared, slice: &Slice, facts: &Facts<'_>) -> Outcome {
        #[cfg(test)]
        self.evaluations.fetch_add(1, Ordering::Relaxed);
        let types = facts.tool.filter(|_| slice.needs.mentions_any(&["args"])).map(|tool| self.types_of(tool));
        match build(facts, &slice.needs, types.as_deref()) {
            Ok(context) => self.outcome(ask_cedar(prepared, slice, context)),
            Err(unfit) => Outcome::Unfit(unfit),
        }
    }

    /// Deny by default, `forbid` wins, and any failure denies: a `forbid` that is left out because it failed would be an open gate.
    fn outcome(&self, Tally { permits, mut forbids, mut failed }: Tally) -> Outcome {
        if !failed.is_empty() {
            failed.sort_by_key(|(number, _)| self.id(*number));
            return Outcome::Failed(failed);
        }
        if !forbids.is_empty() {
            forbids.sort_by_key(|number| self.id(*number));
            return Outcome::Forbidden(forbids);
        }
        match permits.as_slice() {
            [] => Outcome::NotPermitted,
            [only] => match self.policies.entries.get(*only) {
                Some(entry) => Outcome::Permitted(Arc::clone(&entry.alone)),
                None => Outcome::NotPermitted,
            },
            several => {
                let mut ids: Vec<_> = several.iter().map(|number| self.id(*number)).collect();
                ids.sort_unstable();
                Outcome::Permitted(ids.into())
            }
        }
    }

    fn types_of(&self, tool: &Arc<Tool>) -> Arc<Type> {
        let make = || Arc::new(project(tool.input_schema.as_deref(), &self.limits));
        if tool.input_schema.as_ref().is_some_and(|schema| schema.len() > MOST_SCHEMA) {
            return make();
        }
        let address = Arc::as_ptr(tool);
        self.types.get_or_insert(&address, |known| known.as_ptr() == address, || (Arc::downgrade(tool), make()))
    }

    pub(crate) fn id(&self, number: usize) -> Arc<str> {
        self.policies.entries.get(number).map_or_else(|| Arc::from("unknown"), |entry| Arc::clone(&entry.id))
    }

    /// Whether some permit that could apply looks at these facts.
    pub(crate) fn permits_look_at(&self, prepared: &Prepared, facts: &[&str]) -> bool {
        let entries = prepared.candidates.iter().filter_map(|number| self.policies.entries.get(*number));
        entries.filter(|entry| entry.effect == Effect::Permit).any(|entry| entry.full.needs.mentions_any(facts))
    }
}

impl Outcome {
    /// Whether it may be remembered. Not what could not be judged: an evaluation may fail for want of stack, which is not the call's.
    fn is_lasting(&self) -> bool {
        match self {
            Self::Permitted(ids) => ids.len() <= MOST_DECIDING,
            Self::Forbidden(numbers) => numbers.len() <= MOST_DECIDING,
            Self::NotPermitted => true,
            Self::Failed(_) | Self::Unfit(_) => false,
        }
    }
}

impl Prepared {
    const fn may(&self, unknown: Unknown) -> &May {
        match unknown {
            Unknown::Call => &self.may_call,
            Unknown::Subject => &self.may_subject,
        }
    }
}

fn entry(uid: EntityUid) -> EntityUIDEntry {
    EntityUIDEntry::known(uid.into(), None)
}

fn ask_cedar(prepared: &Prepared, slice: &Slice, context: Context) -> Tally {
    let Prepared { principal, action, resource, entities, .. } = prepared;
    let request = Request::new_unchecked(principal.clone(), action.clone(), resource.clone(), Some(context));
    tally(request, entities.as_ref(), &slice.rules)
}

impl std::fmt::Debug for Judge {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Judge").field("policies", &self.policies.entries.len()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
