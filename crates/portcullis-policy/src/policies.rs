//! A set of policies, loaded once and then immutable: parsed, indexed, and with the weakened form of each for lists.

mod load;

pub(crate) use self::load::first_label;

use std::sync::Arc;

use cedar_policy::Effect;
use cedar_policy_core::ast::Expr;

use crate::bounded::Bounded;
use crate::index::{Index, Scope, Target};
use crate::judge::Recipe;
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
    /// By form and numbers.
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
    /// The id as the list that a call permitted by this policy alone is recorded with: the commonest outcome.
    pub(crate) alone: Arc<[Arc<str>]>,
    pub(crate) effect: Effect,
    pub(crate) reason: Option<Arc<str>>,
    pub(crate) ask: Option<Ask>,
    pub(crate) scope: Scope,
    pub(crate) full: Form,
    /// Weakened forms; `None`: says nothing while these facts are unknown.
    pub(crate) may_call: Option<Form>,
    pub(crate) may_subject: Option<Form>,
    pub(crate) file: String,
    pub(crate) line: usize,
}

/// One form of a policy.
#[derive(Clone, Debug)]
pub(crate) struct Form {
    /// Scope and conditions as one expression, which Cedar would assemble anew for every request. Without source places: those are
    /// counted references that every step of an evaluation would copy.
    pub(crate) condition: Arc<Expr>,
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

/// The policies that can apply to one kind of request.
#[derive(Debug, Default)]
pub(crate) struct Slice {
    pub(crate) rules: Vec<Rule>,
    pub(crate) needs: Needs,
    pub(crate) recipe: Recipe,
    /// Where some of them look at what differs from call to call, and others do not.
    pub(crate) parts: Option<Box<Parts>>,
}

/// The same policies in two: every one of them is in one part.
#[derive(Debug)]
pub(crate) struct Parts {
    /// Say the same of the same facts.
    pub(crate) steady: Slice,
    /// Look at the time, at what a session has called, or at something of which nothing is known.
    pub(crate) fleeting: Slice,
}

/// One of them.
#[derive(Clone, Debug)]
pub(crate) struct Rule {
    /// Into [`Policies::entries`].
    pub(crate) number: usize,
    pub(crate) effect: Effect,
    pub(crate) condition: Arc<Expr>,
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
        self.slices.get_or_insert(
            &(view, candidates),
            |known| known.0 == view && known.1 == candidates,
            || ((view, candidates.to_vec()), Arc::new(self.make_slice(view, candidates))),
        )
    }

    fn make_slice(&self, view: View, candidates: &[usize]) -> Slice {
        let mut forms = Vec::new();
        for number in candidates {
            let Some(entry) = self.entries.get(*number) else { continue };
            // What a person may lift hides nothing: only the full view has it.
            if entry.ask.is_some() && view != View::Full {
                continue;
            }
            let form = match view {
                View::Full | View::WithoutAsk => Some(&entry.full),
                View::MayCall => entry.may_call.as_ref(),
                View::MaySubject => entry.may_subject.as_ref(),
            };
            if let Some(form) = form {
                let rule = Rule { number: *number, effect: entry.effect, condition: Arc::clone(&form.condition) };
                forms.push((rule, &form.needs));
            }
        }
        let (steady, fleeting): (Vec<_>, Vec<_>) =
            forms.iter().cloned().partition(|(_, needs)| Recipe::of(needs).is_steady());
        let mixed = !steady.is_empty() && !fleeting.is_empty();
        let parts = || Box::new(Parts { steady: Slice::of(steady), fleeting: Slice::of(fleeting) });
        Slice { parts: mixed.then(parts), ..Slice::of(forms) }
    }
}

impl Slice {
    fn of(forms: Vec<(Rule, &Needs)>) -> Self {
        let mut slice = Self::default();
        for (rule, needs) in forms {
            slice.needs.merge(needs);
            slice.rules.push(rule);
        }
        slice.recipe = Recipe::of(&slice.needs);
        slice
    }
}
