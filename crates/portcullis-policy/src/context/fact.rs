//! Cedar values, made directly. Cedar's public way (`RestrictedExpression`) builds an expression tree and evaluates it again, which took
//! half of a whole decision. Values from here are plain data: there is nothing in them to evaluate.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::{Arc, LazyLock};

use cedar_policy_core::ast::{Context, ExtensionFunction, PartialValue, Value};
use cedar_policy_core::extensions::Extensions;

use super::Unfit;

/// One value of a context.
#[derive(Clone, Debug)]
pub(super) struct Fact(Value);

/// Names and values of a record.
pub(super) type Fields<'a> = Vec<(Cow<'a, str>, Fact)>;

static DECIMAL: LazyLock<Option<&'static ExtensionFunction>> = LazyLock::new(|| constructor("decimal"));
static IP: LazyLock<Option<&'static ExtensionFunction>> = LazyLock::new(|| constructor("ip"));
static DATETIME: LazyLock<Option<&'static ExtensionFunction>> = LazyLock::new(|| constructor("datetime"));

fn constructor(name: &str) -> Option<&'static ExtensionFunction> {
    Extensions::all_available().func(&name.parse().ok()?).ok()
}

impl Fact {
    pub(super) fn string(text: &str) -> Self {
        Self(Value::from(text))
    }

    pub(super) fn long(number: i64) -> Self {
        Self(Value::from(number))
    }

    pub(super) fn bool(truth: bool) -> Self {
        Self(Value::from(truth))
    }

    /// `text` as Cedar writes decimals.
    pub(super) fn decimal(text: &str) -> Option<Self> {
        Self::extension(*DECIMAL, text)
    }

    /// `text` in RFC 3339 with milliseconds, in UTC.
    pub(super) fn datetime(text: &str) -> Option<Self> {
        Self::extension(*DATETIME, text)
    }

    /// `text` as Cedar writes addresses.
    pub(super) fn ip(text: &str) -> Option<Self> {
        Self::extension(*IP, text)
    }

    fn extension(constructor: Option<&'static ExtensionFunction>, text: &str) -> Option<Self> {
        match constructor?.call(&[Value::from(text)]).ok()? {
            PartialValue::Value(value) => Some(Self(value)),
            PartialValue::Residual(_) => None,
        }
    }

    pub(super) fn set(items: Vec<Self>) -> Self {
        Self(Value::set(items.into_iter().map(|Self(item)| item), None))
    }

    /// # Errors
    /// The same name twice.
    pub(super) fn record(fields: Fields<'_>) -> Result<Self, Unfit> {
        let count = fields.len();
        let map: BTreeMap<_, _> = fields.into_iter().map(|(name, Self(value))| (name.into(), value)).collect();
        if map.len() != count {
            return Err(Unfit::new("context", "the same name twice in one record"));
        }
        Ok(Self(Value::record_arc(Arc::new(map), None)))
    }
}

/// # Errors
/// The same name twice.
pub(super) fn context(fields: Fields<'_>) -> Result<Context, Unfit> {
    let count = fields.len();
    let map: BTreeMap<_, _> = fields.into_iter().map(|(name, Fact(value))| (name.into(), value)).collect();
    if map.len() != count {
        return Err(Unfit::new("context", "the same fact twice"));
    }
    Ok(Context::Value(Arc::new(map)))
}

#[cfg(test)]
mod tests {
    use cedar_policy::{Context, RestrictedExpression};

    use super::*;

    #[test]
    fn values_made_directly_are_what_cedar_itself_makes() {
        let ours = context(vec![
            ("text".into(), Fact::string("a\"b")),
            ("long".into(), Fact::long(-7)),
            ("truth".into(), Fact::bool(true)),
            ("money".into(), Fact::decimal("-12.5000").unwrap()),
            ("now".into(), Fact::datetime("2026-07-28T09:30:00.000Z").unwrap()),
            ("address".into(), Fact::ip("2001:db8::1").unwrap()),
            ("set".into(), Fact::set(vec![Fact::long(1), Fact::long(1), Fact::string("x")])),
            ("record".into(), Fact::record(vec![("b".into(), Fact::bool(false))]).unwrap()),
        ]);
        let text = |text: &str| RestrictedExpression::new_string(text.to_owned());
        let long = RestrictedExpression::new_long;
        let record =
            RestrictedExpression::new_record([("b".to_owned(), RestrictedExpression::new_bool(false))]).unwrap();
        let theirs = Context::from_pairs([
            ("text".to_owned(), text("a\"b")),
            ("long".to_owned(), long(-7)),
            ("truth".to_owned(), RestrictedExpression::new_bool(true)),
            ("money".to_owned(), RestrictedExpression::new_decimal("-12.5000")),
            ("now".to_owned(), RestrictedExpression::new_datetime("2026-07-28T09:30:00.000Z")),
            ("address".to_owned(), RestrictedExpression::new_ip("2001:db8::1")),
            ("set".to_owned(), RestrictedExpression::new_set([long(1), long(1), text("x")])),
            ("record".to_owned(), record),
        ]);
        assert_eq!(Context::from(ours.unwrap()).to_string(), theirs.unwrap().to_string());
        assert!(Fact::decimal("1").is_none() && Fact::ip("1.2.3").is_none() && Fact::datetime("today").is_none());
        assert!(Fact::record(vec![("a".into(), Fact::long(1)), ("a".into(), Fact::long(2))]).is_err());
    }
}
