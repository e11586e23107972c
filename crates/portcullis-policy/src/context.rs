//! From a call to a Cedar context that holds only what the candidate policies mention. Nothing here trusts the caller's words to name
//! types: entities and extension values are made from the tool's schema, never from the JSON (`__entity` is just a key).

mod fact;
mod facts;
mod number;
mod proofs;
mod session;
mod values;
mod web;

use std::borrow::Cow;

use cedar_policy_core::ast::Context;
use portcullis_core::catalogue::Annotations;
use portcullis_core::wire::View;

use self::fact::{Fact, Fields};
pub(crate) use self::facts::Facts;
pub(crate) use self::number::decimal;
use crate::mentions::Needs;
use crate::schema::Type;
use crate::vocabulary::{Shape, direction_word};

/// Why a call's facts cannot be put before the policies. Names places, never values.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Unfit(pub(crate) String);

impl Unfit {
    pub(crate) fn new(place: &str, why: &str) -> Self {
        Self(format!("`{place}`: {why}"))
    }
}

/// The part of the facts that `needs` names.
///
/// # Errors
/// A mentioned fact that has no Cedar value: wrong JSON type, too precise a number, an unreadable URL, an argument the tool does not declare.
pub(crate) fn build(facts: &Facts<'_>, needs: &Needs, types: Option<&Type>) -> Result<Context, Unfit> {
    if needs.is_empty() {
        return Ok(Context::empty());
    }
    let mut pairs = Fields::new();
    let wants = |name: &str| needs.below(name);
    for (name, value) in [
        ("method", facts.method),
        ("direction", direction_word(facts.direction)),
        ("era", facts.context.version.era().as_str()),
        ("version", facts.context.version.as_str()),
    ] {
        if wants(name).is_some() {
            pairs.push((Cow::Borrowed(name), Fact::string(value)));
        }
    }
    if wants("now").is_some() {
        let now = Fact::datetime(&facts.context.now.to_string())
            .ok_or_else(|| Unfit::new("now", "outside of the times Cedar knows"))?;
        pairs.push(("now".into(), now));
    }
    if let (Some(needs), Some(session)) = (wants("session"), &facts.context.session) {
        pairs.push(("session".into(), session::record(session, needs)?));
    }
    proofs::push(&facts.context.proofs, needs, &mut pairs)?;
    subject(facts, needs, &mut pairs)?;
    if let (Some(needs), Shape::Tool) = (wants("args"), facts.shape) {
        pairs.push(("args".into(), arguments(facts.arguments, needs, types)?));
    }
    fact::context(pairs)
}

/// What the message is about.
fn subject(facts: &Facts<'_>, needs: &Needs, pairs: &mut Fields<'_>) -> Result<(), Unfit> {
    let wants = |name: &str| needs.below(name);
    if facts.shape != Shape::Plain
        && let (Some(_), Some(name)) = (wants("name"), &facts.name)
    {
        pairs.push(("name".into(), Fact::string(name)));
    }
    if wants("tool").is_some() && facts.shape == Shape::Tool {
        let Some(hints) = facts.hints else {
            return Err(Unfit::new("tool", "the server's tools are not known yet"));
        };
        pairs.push(("tool".into(), tool_record(facts.name.as_deref().unwrap_or_default(), hints)?));
    }
    if let (Some(_), Some(mode)) = (wants("mode"), facts.mode()?) {
        pairs.push(("mode".into(), Fact::string(&mode)));
    }
    if let (Some(_), Some(uri)) = (wants("uri"), facts.uri()) {
        pairs.push(("uri".into(), Fact::string(uri)));
    }
    if wants("url").is_some() || wants("host").is_some() {
        web::push(facts, needs, pairs)?;
    }
    Ok(())
}

fn tool_record(name: &str, hints: Annotations) -> Result<Fact, Unfit> {
    let mut fields = vec![("name".into(), Fact::string(name))];
    let hints = [
        ("readOnly", hints.read_only),
        ("destructive", hints.destructive),
        ("idempotent", hints.idempotent),
        ("openWorld", hints.open_world),
    ];
    fields.extend(hints.into_iter().filter_map(|(name, hint)| Some((Cow::Borrowed(name), Fact::bool(hint?)))));
    Fact::record(fields)
}

fn arguments(arguments: Option<View<'_>>, needs: &Needs, types: Option<&Type>) -> Result<Fact, Unfit> {
    let types = match types {
        Some(Type::Record(record)) => record,
        Some(Type::Opaque(opaque)) => return Err(Unfit::new("args", opaque.why())),
        Some(_) => return Err(Unfit::new("args", "the tool's schema does not describe an object")),
        None => return Err(Unfit::new("args", "the tool is not known, so its arguments have no types")),
    };
    let mut budget = values::Budget::default();
    match arguments {
        Some(arguments) => values::record(arguments, types, needs, &values::Place::root("args"), &mut budget),
        // No arguments is an empty object (the member is optional in MCP).
        None => Fact::record(Vec::new()),
    }
}
