//! Which parts of the context a policy can observe. What is not mentioned here never enters a context, so this analysis errs
//! towards too much: an expression it does not understand observes everything.

use std::collections::BTreeMap;

use cedar_policy::pst::{Clause, Expr, Template, Var};

/// A tree of attribute names below `context`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Needs {
    /// The value itself is observed, not only whether it is there.
    pub(crate) whole: bool,
    pub(crate) inner: BTreeMap<String, Needs>,
}

impl Needs {
    pub(crate) fn is_empty(&self) -> bool {
        !self.whole && self.inner.is_empty()
    }

    /// What is needed below `name`; everything, when this value is observed as a whole.
    pub(crate) fn below(&self, name: &str) -> Option<&Self> {
        if self.whole { Some(&EVERYTHING) } else { self.inner.get(name) }
    }

    /// Whether any of `names` can be observed.
    pub(crate) fn mentions_any(&self, names: &[&str]) -> bool {
        self.whole || names.iter().any(|name| self.inner.contains_key(*name))
    }

    /// Whether nothing but `names` can be observed.
    pub(crate) fn only(&self, names: &[&str]) -> bool {
        !self.whole && self.inner.keys().all(|name| names.contains(&name.as_str()))
    }

    pub(crate) fn merge(&mut self, other: &Self) {
        self.whole |= other.whole;
        for (name, needs) in &other.inner {
            self.inner.entry(name.clone()).or_default().merge(needs);
        }
    }

    fn mark<'a>(&mut self, path: impl IntoIterator<Item = &'a str>, whole: bool) {
        let mut node = self;
        for name in path {
            node = node.inner.entry(name.to_owned()).or_default();
        }
        node.whole |= whole;
    }

    fn read(&mut self, expr: &Expr) {
        match expr {
            Expr::Literal(_) | Expr::Slot(_) => {}
            Expr::Var(Var::Context) => self.whole = true,
            Expr::Var(Var::Principal | Var::Action | Var::Resource) => {}
            Expr::UnaryOp { expr, .. } | Expr::Like { expr, .. } => self.read(expr),
            Expr::BinaryOp { left, right, .. } => {
                self.read(left);
                self.read(right);
            }
            Expr::GetAttr { expr: base, .. } => match context_path(expr) {
                Some(path) => self.mark(path, true),
                None => self.read(base),
            },
            Expr::HasAttr { expr: base, attrs } => match context_path(base) {
                Some(path) => self.mark(path.into_iter().chain(attrs.iter().map(|name| name.as_str())), false),
                None => self.read(base),
            },
            Expr::Is { expr, in_expr, .. } => {
                self.read(expr);
                if let Some(group) = in_expr {
                    self.read(group);
                }
            }
            Expr::IfThenElse { cond, then_expr, else_expr } => {
                self.read(cond);
                self.read(then_expr);
                self.read(else_expr);
            }
            Expr::Set(items) => items.iter().for_each(|item| self.read(item)),
            Expr::Record(fields) => fields.values().for_each(|field| self.read(field)),
            // Expressions of a later Cedar: unknown, hence everything.
            _ => self.whole = true,
        }
    }
}

static EVERYTHING: Needs = Needs { whole: true, inner: BTreeMap::new() };

/// What one expression observes.
pub(crate) fn needs_of(expr: &Expr) -> Needs {
    let mut needs = Needs::default();
    needs.read(expr);
    needs
}

/// What the conditions of a policy observe.
pub(crate) fn needs_of_policy(policy: &Template) -> Needs {
    let mut needs = Needs::default();
    for clause in policy.clauses() {
        let (Clause::When(expr) | Clause::Unless(expr)) = clause;
        needs.read(expr);
    }
    needs
}

/// The names in `context.a.b.c`; `None` when the expression is anything else.
fn context_path(expr: &Expr) -> Option<Vec<&str>> {
    match expr {
        Expr::Var(Var::Context) => Some(Vec::new()),
        Expr::GetAttr { expr, attr } => {
            let mut path = context_path(expr)?;
            path.push(attr.as_str());
            Some(path)
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use cedar_policy::Policy;

    use super::*;

    fn needs(text: &str) -> Needs {
        let policy = Policy::parse(None, text).unwrap().to_pst().unwrap();
        needs_of_policy(policy.body())
    }

    #[test]
    fn only_the_paths_a_policy_names_are_needed() {
        let needs = needs(
            "permit(principal, action, resource) when { context.args.amount < 5 && context.args has to.name } unless { context.method == \"x\" };",
        );
        assert!(needs.inner["args"].inner["amount"].whole);
        assert!(!needs.inner["args"].inner["to"].inner["name"].whole);
        assert!(needs.inner["method"].whole);
        assert!(!needs.whole && !needs.inner["args"].whole && needs.inner.len() == 2);
    }

    #[test]
    fn a_context_that_is_passed_around_is_needed_whole() {
        assert!(needs("permit(principal, action, resource) when { context == {} };").whole);
        assert!(
            needs("permit(principal, action, resource) when { (if true then context else context).args has x };").whole
        );
        let args = needs("permit(principal, action, resource) when { context.args == {} };");
        assert!(args.inner["args"].whole && !args.whole);
    }
}
