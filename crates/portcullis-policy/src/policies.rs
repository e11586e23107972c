//! A set of policies, loaded once and then immutable: parsed, indexed, and with the weakened form of each for lists.

mod load;

pub(crate) use self::load::first_label;

use std::collections::HashMap;
use std::sync::{Arc, OnceLock};

use cedar_policy::{Effect, Policy, PolicyId, PolicySet};

use crate::bounded::Bounded;
use crate::index::{Index, Scope, Target};
use crate::mentions::Needs;
use crate::visibility::Unknown;

/// Slices kept by the policies in them. 4096: one per kind of caller and action; when full, they are made again as needed.
const MOST_SLICES: usize = 4096;

/// Parsed, checked and indexed policies of one plan.
#[derive(Debug)]
pub struct Policies {
    pub(crate) entries: Vec<Entry>,
    pub(crate) index: Index,
    digest: String,
    files: usize,
    slices: Bounded<(View, Vec<usize>), Arc<Slice>>,
}

/// Who must say yes when an `@ask` policy is the only reason against a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Ask {
    Operator,
    Caller,
}

impl Ask {
    /// The word in `@ask("…")`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Operator => "operator",
            Self::Caller => "caller",
        }
    }
}

/// How many policies of which kind there are.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Summary {
    pub files: usize,
    pub permits: usize,
    /// Without those that ask.
    pub forbids: usize,
    /// `forbid` policies with `@ask`.
    pub asks: usize,
}

/// One policy.
#[derive(Debug)]
pub(crate) struct Entry {
    pub(crate) id: Arc<str>,
    pub(crate) policy: Policy,
    pub(crate) effect: Effect,
    pub(crate) reason: Option<Arc<str>>,
    pub(crate) ask: Option<Ask>,
    pub(crate) scope: Scope,
    pub(crate) needs: Needs,
    /// Weakened forms; `None`: says nothing while these facts are unknown.
    pub(crate) may_call: Option<Weakened>,
    pub(crate) may_subject: Option<Weakened>,
    pub(crate) file: String,
    pub(crate) line: usize,
}

#[derive(Debug)]
pub(crate) struct Weakened {
    pub(crate) policy: Policy,
    pub(crate) needs: Needs,
}

/// Which form of the policies is meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum View {
    /// As written.
    Full,
    /// As written, without `@ask` policies.
    WithoutAsk,
    /// Before the call: see [`Unknown::Call`].
    MayCall,
    /// Before even the name is known: see [`Unknown::Subject`].
    MaySubject,
}

impl From<Unknown> for View {
    fn from(unknown: Unknown) -> Self {
        match unknown {
            Unknown::Call => Self::MayCall,
            Unknown::Subject => Self::MaySubject,
        }
    }
}

/// The policies that can apply to one kind of request, as Cedar takes them.
#[derive(Debug)]
pub(crate) struct Slice {
    /// Numbers into [`Policies::entries`].
    pub(crate) members: Vec<usize>,
    pub(crate) set: PolicySet,
    pub(crate) needs: Needs,
    pub(crate) by_id: HashMap<PolicyId, usize>,
    /// A policy is missing: nothing may be decided with this.
    pub(crate) broken: bool,
    /// Ids of single permits, ready to be handed out: the commonest outcome.
    pub(crate) reasons: HashMap<usize, OnceLock<Arc<[Arc<str>]>>>,
}

impl Policies {
    /// SHA-256 over the texts, in hex: names the policy set in the log.
    #[must_use]
    pub fn digest(&self) -> String {
        self.digest.clone()
    }

    #[must_use]
    pub fn summary(&self) -> Summary {
        let mut summary = Summary { files: self.files, ..Summary::default() };
        for entry in &self.entries {
            match (entry.effect, entry.ask) {
                (Effect::Permit, _) => summary.permits += 1,
                (Effect::Forbid, None) => summary.forbids += 1,
                (Effect::Forbid, Some(_)) => summary.asks += 1,
            }
        }
        summary
    }

    /// Numbers of the policies whose scope fits, ascending.
    pub(crate) fn candidates(&self, target: &Target) -> Vec<usize> {
        let fits = |at: &usize| self.entries.get(*at).is_some_and(|entry| entry.scope.fits(target));
        self.index.near(target).into_iter().filter(fits).collect()
    }

    /// The slice of these policies in this form.
    pub(crate) fn slice(&self, view: View, candidates: &[usize]) -> Arc<Slice> {
        let key = (view, candidates.to_vec());
        self.slices.get_or_insert(key, |(view, members)| Arc::new(self.make_slice(*view, members)))
    }

    /// A slice of its own, shared with nobody.
    #[cfg(test)]
    pub(crate) fn slice_anew(&self, view: View, members: &[usize]) -> Arc<Slice> {
        Arc::new(self.make_slice(view, members))
    }

    fn make_slice(&self, view: View, candidates: &[usize]) -> Slice {
        let mut slice = Slice {
            members: Vec::new(),
            set: PolicySet::new(),
            needs: Needs::default(),
            by_id: HashMap::new(),
            broken: false,
            reasons: HashMap::new(),
        };
        for at in candidates {
            let Some(entry) = self.entries.get(*at) else { continue };
            // What a person may lift hides nothing: only the full view has it.
            if entry.ask.is_some() && view != View::Full {
                continue;
            }
            let (policy, needs) = match (view, &entry.may_call, &entry.may_subject) {
                (View::Full | View::WithoutAsk, ..) => (&entry.policy, &entry.needs),
                (View::MayCall, Some(may), _) | (View::MaySubject, _, Some(may)) => (&may.policy, &may.needs),
                (View::MayCall | View::MaySubject, ..) => continue,
            };
            // Ids are unique, so this cannot fail. If it did, the policy left out could be the one that denies.
            slice.broken |= slice.set.add(policy.clone()).is_err();
            if !slice.broken {
                slice.members.push(*at);
                slice.by_id.insert(policy.id().clone(), *at);
                slice.reasons.insert(*at, OnceLock::new());
                slice.needs.merge(needs);
            }
        }
        slice
    }
}
