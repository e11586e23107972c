//! From every policy, what it may say when some facts are not known yet: the form that decides what a caller sees in a list.
//!
//! Soundness: whatever the full policies allow with some value of the unknown facts, the weakened ones allow. A permit loses the
//! conjuncts that look at unknown facts (if the whole was true, every kept conjunct is true on its own); a forbid that looks at
//! unknown facts anywhere is left out (it might not apply).

use std::sync::Arc;

use cedar_policy::pst::{BinaryOp, Clause, Effect, Expr, PstConstructionError, Template, UnaryOp};

use crate::mentions::needs_of;

/// Which facts are unknown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unknown {
    /// In a list: what comes only with the call. The time is among them, because the call comes later.
    Call,
    /// Also what the item is called: for resource templates, and for answers, whose request was judged with its names.
    Subject,
}

impl Unknown {
    pub(crate) const fn facts(self) -> &'static [&'static str] {
        match self {
            Self::Call => &["args", "session", "now"],
            Self::Subject => &["args", "session", "now", "name", "uri", "url", "host", "mode"],
        }
    }
}

/// The policy as far as known facts decide it; `None` when it says nothing then. `Err` when Cedar cannot express it, which the
/// caller must treat as "may allow".
pub(crate) fn may(policy: &Template, unknown: Unknown) -> Result<Option<Template>, PstConstructionError> {
    let mut kept = Vec::new();
    let mut dropped = false;
    for clause in policy.clauses() {
        let whole = match clause {
            Clause::When(expr) => Arc::clone(expr),
            Clause::Unless(expr) => not(Arc::clone(expr)),
        };
        for conjunct in conjuncts(&whole) {
            if needs_of(&conjunct).mentions_any(unknown.facts()) {
                dropped = true;
            } else {
                kept.push(Clause::When(conjunct));
            }
        }
    }
    if dropped && policy.effect == Effect::Forbid {
        return Ok(None);
    }
    bare(policy).try_with_clauses(kept).map(Some)
}

/// The policy without its conditions.
pub(crate) fn bare(policy: &Template) -> Template {
    Template::new(
        policy.id.clone(),
        policy.effect,
        policy.principal.clone(),
        policy.action.clone(),
        policy.resource.clone(),
    )
}

fn not(expr: Arc<Expr>) -> Arc<Expr> {
    Arc::new(Expr::UnaryOp { op: UnaryOp::Not, expr })
}

/// The parts that must all be true for the whole to be true. `!(a || b)` counts as `!a && !b`: if the whole is true, so is each part.
fn conjuncts(expr: &Arc<Expr>) -> Vec<Arc<Expr>> {
    match &**expr {
        Expr::BinaryOp { op: BinaryOp::And, left, right } => {
            let mut parts = conjuncts(left);
            parts.extend(conjuncts(right));
            parts
        }
        Expr::UnaryOp { op: UnaryOp::Not, expr: inner } => match &**inner {
            Expr::BinaryOp { op: BinaryOp::Or, left, right } => {
                let mut parts = conjuncts(&not(Arc::clone(left)));
                parts.extend(conjuncts(&not(Arc::clone(right))));
                parts
            }
            Expr::UnaryOp { op: UnaryOp::Not, expr: twice } => conjuncts(twice),
            _ => vec![Arc::clone(expr)],
        },
        _ => vec![Arc::clone(expr)],
    }
}
