//! Explains attributes that do not exist, in terms of the tools: which tool, which argument, what it is called there.

use portcullis_core::wire::Limits;

use super::scope::listed;
use super::{Known, Parsed};
use crate::index::Scope;
use crate::mentions::{Needs, needs_of_policy};
use crate::names::{nearest, server_group, tool_action_type};
use crate::schema::{Opaque, Type, project};
use crate::source::{Finding, Severity, Source};
use crate::vocabulary::TOOLS_CALL;

/// Facts that may stand directly below `context`.
const FACTS: [&str; 18] = [
    "method",
    "direction",
    "era",
    "version",
    "now",
    "session",
    "client",
    "agent",
    "signature",
    "chain",
    "name",
    "tool",
    "args",
    "uri",
    "url",
    "host",
    "mode",
    "context",
];

/// What a tool does not have.
enum Missing<'a> {
    Field { outer: String, name: &'a str, known: Vec<String> },
    Opaque { path: String, opaque: Opaque },
}

/// Message and way out for an attribute access that Cedar refused. `snippet` is the access as written.
pub(super) fn explain_missing(policy: &Parsed, snippet: &str, known: &Known<'_>) -> Option<(String, String)> {
    let path = path_of(snippet)?;
    let (first, rest) = path.split_first()?;
    if first != "args" {
        return outside_of_args(first, rest.is_empty());
    }
    for (server, tool, ty) in tools_in(&Scope::of(&policy.tree), known) {
        let explained = match walk(&ty, rest) {
            None => continue,
            Some(Missing::Field { outer, name, known }) => {
                let within = if outer.is_empty() { String::new() } else { format!(" in `{outer}`") };
                let names: Vec<&str> = known.iter().map(String::as_str).collect();
                let near = nearest(name, names.iter().copied());
                let guess = near.first().map(|near| format!("did you mean `{near}`? ")).unwrap_or_default();
                let message = format!("the tool `{tool}` of `{server}` has no argument `{name}`{within}");
                (message, format!("{guess}its arguments{within} are {}", listed(&names)))
            }
            Some(Missing::Opaque { path, opaque }) => (
                format!("the argument `{path}` of the tool `{tool}` of `{server}` cannot be used: {}", opaque.why()),
                "leave it out of the policy, or ask the server's author for a schema with one type".to_owned(),
            ),
        };
        return Some(explained);
    }
    let field = rest.first().map_or_else(|| "NAME".to_owned(), Clone::clone);
    Some((
        "not every action in this policy's scope has arguments".to_owned(),
        format!("name the tools in the scope, or ask first: `context has args && context.args has {field} && …`"),
    ))
}

fn outside_of_args(name: &str, top: bool) -> Option<(String, String)> {
    if FACTS.contains(&name) && !top {
        return None;
    }
    if FACTS.contains(&name) {
        return Some((
            format!("not every action in this policy's scope has `context.{name}`"),
            format!("narrow the action to those that have it, or ask first: `context has {name} && …`"),
        ));
    }
    let near = nearest(name, FACTS);
    let help = match near.first() {
        Some(near) => format!("did you mean `context.{near}`? A tool's arguments are below `context.args`"),
        None => "a tool's arguments are below `context.args`; `portcullis policy schema` shows everything there is"
            .to_owned(),
    };
    Some((format!("there is no `context.{name}`"), help))
}

/// `context.a["b"].c` → a, b, c.
fn path_of(snippet: &str) -> Option<Vec<String>> {
    let mut rest = snippet.trim().strip_prefix("context")?;
    let mut path = Vec::new();
    loop {
        rest = rest.trim_start();
        if let Some(tail) = rest.strip_prefix('.') {
            let tail = tail.trim_start();
            let end = tail.find(|letter: char| !letter.is_alphanumeric() && letter != '_').unwrap_or(tail.len());
            let (name, tail) = tail.split_at_checked(end)?;
            path.push(name.to_owned());
            rest = tail;
        } else if let Some(tail) = rest.strip_prefix("[\"") {
            let (name, tail) = tail.split_once("\"]")?;
            path.push(name.to_owned());
            rest = tail;
        } else {
            return (!path.is_empty()).then_some(path);
        }
    }
}

/// The known tools a scope fits, with the types of their arguments.
fn tools_in(scope: &Scope, known: &Known<'_>) -> Vec<(String, String, Type)> {
    let mut tools = Vec::new();
    for (server, catalogue) in known {
        let parents = [TOOLS_CALL.to_owned(), server_group(server)];
        for tool in catalogue.tools() {
            if scope.fits_action(&(tool_action_type(server), tool.name.clone()), &parents) {
                let ty = project(tool.input_schema.as_deref(), &Limits::default());
                tools.push(((*server).to_owned(), tool.name.clone(), ty));
            }
        }
    }
    tools
}

/// The first step of the path that the type does not have.
fn walk<'a>(ty: &Type, path: &'a [String]) -> Option<Missing<'a>> {
    let mut ty = ty;
    let mut done: Vec<&str> = Vec::new();
    for name in path {
        match ty {
            Type::Record(record) => match record.fields.get(name) {
                Some(field) => ty = &field.ty,
                None => {
                    let known = record.fields.keys().cloned().collect();
                    return Some(Missing::Field { outer: done.join("."), name, known });
                }
            },
            Type::Opaque(opaque) => return Some(Missing::Opaque { path: done.join("."), opaque: *opaque }),
            _ => return None,
        }
        done.push(name);
    }
    match ty {
        Type::Opaque(opaque) => Some(Missing::Opaque { path: done.join("."), opaque: *opaque }),
        _ => None,
    }
}

/// `context.args has note && …` for an access to `context.args.note`, where `message` says that `note` may be absent; Cedar's place for it
/// may be that of the whole path, `context.args.note.text`.
pub(super) fn has_guard(snippet: &str, message: &str) -> String {
    let named = message.split('`').nth(1).and_then(|path| path.rsplit('.').next());
    let mut base = String::new();
    for part in snippet.trim().split('.') {
        if !base.is_empty() && Some(part) == named {
            return format!("{base} has {part} && …");
        }
        if !base.is_empty() {
            base.push('.');
        }
        base.push_str(part);
    }
    match base.rsplit_once('.') {
        Some((base, name)) => format!("{base} has {name} && …"),
        None => "context has NAME && …".to_owned(),
    }
}

/// Policies over many tools may ask `has` for an argument that one of them has in a form Cedar cannot express. Such calls are denied.
pub(super) fn warn_opaque(sources: &[Source], parsed: &[Parsed], known: &Known<'_>, findings: &mut Vec<Finding>) {
    for policy in parsed {
        let needs = needs_of_policy(&policy.tree);
        let (Some(args), Some(source)) = (needs.below("args"), sources.get(policy.file)) else { continue };
        for (server, tool, ty) in tools_in(&Scope::of(&policy.tree), known) {
            if let Some((path, opaque)) = first_opaque(&ty, args, "") {
                let message = format!(
                    "calls of the tool `{tool}` of `{server}` that carry `{path}` will be denied: {}",
                    opaque.why()
                );
                let help = "a policy mentions the argument and cannot see it; leave the tool out of the scope if that is not wanted";
                findings.push(source.finding(Severity::Warning, policy.start, Some(&policy.id), message).help(help));
            }
        }
    }
}

fn first_opaque(ty: &Type, needs: &Needs, place: &str) -> Option<(String, Opaque)> {
    match ty {
        Type::Opaque(opaque) => {
            Some((if place.is_empty() { "arguments".to_owned() } else { place.to_owned() }, *opaque))
        }
        Type::Record(record) => record.fields.iter().find_map(|(name, field)| {
            let inner = if place.is_empty() { name.clone() } else { format!("{place}.{name}") };
            first_opaque(&field.ty, needs.below(name)?, &inner)
        }),
        Type::Bool | Type::Long | Type::Decimal | Type::String | Type::Set(_) => None,
    }
}
