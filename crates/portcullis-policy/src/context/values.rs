//! Argument values as Cedar values, by the tool's declared types. Only mentioned members are looked at; what does not fit its type is an
//! error, because a policy that cannot see a value must not be able to overlook it.

use portcullis_core::wire::{JsonKind, View};

use super::{Fact, Unfit, decimal};
use crate::mentions::Needs;
use crate::schema::{Field, Record, Type};

/// Values of one call that may enter a context. 4096: a policy looks at a handful; building 4096 takes about a millisecond.
const MOST_VALUES: usize = 4096;

/// How many values may still be made.
#[derive(Debug)]
pub(super) struct Budget(usize);

impl Default for Budget {
    fn default() -> Self {
        Self(MOST_VALUES)
    }
}

impl Budget {
    fn spend(&mut self, place: &Place<'_>) -> Result<(), Unfit> {
        self.0 = self.0.checked_sub(1).ok_or_else(|| place.unfit("more values than a policy may look at"))?;
        Ok(())
    }
}

/// Where in the arguments we are, for the log.
#[derive(Debug)]
pub(super) struct Place<'a> {
    outer: Option<&'a Place<'a>>,
    name: &'a str,
}

impl<'a> Place<'a> {
    pub(super) fn root(name: &'a str) -> Self {
        Self { outer: None, name }
    }

    fn inside(&'a self, name: &'a str) -> Self {
        Self { outer: Some(self), name }
    }

    fn path(&self) -> String {
        match self.outer {
            Some(outer) => format!("{}.{}", outer.path(), self.name),
            None => self.name.to_owned(),
        }
    }

    fn unfit(&self, why: &str) -> Unfit {
        Unfit::new(&self.path(), why)
    }
}

/// An object. Members nobody mentions are not read; a mentioned member that the tool does not declare is an error when it is there.
pub(super) fn record(
    view: View<'_>,
    ty: &Record,
    needs: &Needs,
    place: &Place<'_>,
    budget: &mut Budget,
) -> Result<Fact, Unfit> {
    if view.kind() != JsonKind::Object {
        return Err(place.unfit("not an object"));
    }
    budget.spend(place)?;
    let most = if needs.whole { usize::MAX } else { needs.inner.len() };
    let mut fields = Vec::with_capacity(most.min(ty.fields.len()));
    let mut found = 0;
    // One pass over the members whatever is needed: looking each name up would scan the object once per name. It ends with the last
    // that is mentioned, because the reader lets no name occur twice.
    let mut members = view.members();
    while found < most
        && let Some((name, value)) = members.next()
    {
        let Some(below) = needs.below(&name) else { continue };
        found += 1;
        let Some(Field { ty, nullable, .. }) = ty.fields.get(name.as_ref()) else {
            // A name that no policy knows is the client's own text, which stays out of the log.
            return Err(if needs.whole {
                place.unfit("it has a member that the tool does not declare")
            } else {
                place.inside(&name).unfit("a policy mentions it and the tool does not declare it")
            });
        };
        if value.is_null() && *nullable {
            continue;
        }
        let value = value_of(value, ty, below, place.inside(&name), budget)?;
        fields.push((name, value));
    }
    Fact::record(fields)
}

fn value_of(view: View<'_>, ty: &Type, needs: &Needs, place: Place<'_>, budget: &mut Budget) -> Result<Fact, Unfit> {
    budget.spend(&place)?;
    match ty {
        Type::Bool => view.as_bool().map(Fact::bool).ok_or_else(|| place.unfit("not a boolean")),
        Type::Long => view.as_i64().map(Fact::long).ok_or_else(|| place.unfit("not an integer of 64 bits")),
        Type::Decimal => {
            let number = view.number().ok_or_else(|| place.unfit("not a number"))?;
            let text = decimal(number).ok_or_else(|| place.unfit("not exact with four digits after the point"))?;
            Fact::decimal(&text).ok_or_else(|| place.unfit("not a decimal"))
        }
        Type::String => view.as_str().map(|text| Fact::string(&text)).ok_or_else(|| place.unfit("not a string")),
        Type::Set(item) => {
            if view.kind() != JsonKind::Array {
                return Err(place.unfit("not an array"));
            }
            // Asked only whether it is there: its elements stay out.
            let elements = if needs.whole { Some(view.elements()) } else { None };
            let items: Result<Vec<_>, _> = elements
                .into_iter()
                .flatten()
                .map(|element| value_of(element, item, needs, place.inside("[]"), budget))
                .collect();
            Ok(Fact::set(items?))
        }
        Type::Record(ty) => record(view, ty, needs, &place, budget),
        Type::Opaque(opaque) => Err(place.unfit(opaque.why())),
    }
}
