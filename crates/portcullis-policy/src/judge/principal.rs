//! The caller as an entity: what policies can ask about who calls. Everything here stands in the key that it is remembered by.

use std::collections::HashSet;

use cedar_policy::{Entity, EntityUid, RestrictedExpression};
use portcullis_core::caller::Caller;

use crate::names::{CALLER, GROUP, uid};

/// `None` when it cannot be written in Cedar.
pub(super) fn entity(caller: &Caller) -> Option<Entity> {
    // Taken apart, so that what a caller has more one day is not forgotten here.
    let Caller { name, proof, groups, issuer, client, scopes, spiffe, attributes, actors } = caller;
    let parents: Option<HashSet<EntityUid>> = groups.iter().map(|group| uid(GROUP, group)).collect();
    let optional = [("issuer", issuer), ("client", client), ("spiffe", spiffe)];
    let mut attrs = vec![
        ("name".to_owned(), text(name)),
        ("proof".to_owned(), text(proof.as_str())),
        ("scopes".to_owned(), texts(scopes)),
        ("actors".to_owned(), texts(actors)),
    ];
    attrs.extend(optional.into_iter().filter_map(|(name, value)| Some((name.to_owned(), text(value.as_deref()?)))));
    let tags = attributes.iter().map(|(name, values)| (name.clone(), texts(values)));
    Entity::new_with_tags(uid(CALLER, name)?, attrs, parents?, tags).ok()
}

fn text(text: &str) -> RestrictedExpression {
    RestrictedExpression::new_string(text.to_owned())
}

fn texts(values: &[String]) -> RestrictedExpression {
    RestrictedExpression::new_set(values.iter().map(|value| text(value)))
}
