//! Validates policies against the schema generated from the tools, and says in the operator's words what is wrong. A stub of explanation
//! is worse than none: every finding names the place and the way out.

mod arguments;
mod scope;

use cedar_policy::pst::Template;
use cedar_policy::{Policy, PolicySet, Schema, ValidationError, ValidationMode, ValidationWarning, Validator};
use miette::Diagnostic;
use portcullis_core::catalogue::Catalogue;

use crate::policies::{Ask, Form, first_label};
use crate::schema::schema_source;
use crate::source::{Finding, Severity, Source};

/// One policy after parsing.
#[derive(Debug)]
pub(crate) struct Parsed {
    /// Number of its source.
    pub(crate) file: usize,
    /// Byte offset in its source.
    pub(crate) start: Option<usize>,
    pub(crate) id: String,
    pub(crate) ask: Option<Ask>,
    pub(crate) tree: Template,
    pub(crate) full: Form,
    pub(crate) policy: Policy,
}

/// The servers there are, each with its tools; an unread catalogue is a server that could not be asked. None at all: nobody said which there are.
pub(crate) type Known<'a> = [(&'a str, &'a Catalogue)];

/// Everything that is wrong or odd.
pub(crate) fn check(sources: &[Source], parsed: &[Parsed], known: &Known<'_>) -> Vec<Finding> {
    let mut findings = Vec::new();
    let scopes = scope::look(sources, parsed, known, &mut findings);
    let text = schema_source(known.iter().copied(), &scopes.placeholders);
    let schema = match Schema::from_cedarschema_str(&text) {
        Ok((schema, _)) => schema,
        Err(error) => {
            let whole = Source::new("schema", "");
            let finding =
                whole.finding(Severity::Error, None, None, format!("the tools have no Cedar schema: {error}"));
            findings.push(finding.help("this is a defect of the gateway; please report it with the saved tool list"));
            return findings;
        }
    };
    let mut set = PolicySet::new();
    for (policy, skip) in parsed.iter().zip(&scopes.unchecked) {
        if !skip {
            // Duplicate ids were reported before.
            let _ = set.add(policy.policy.clone());
        }
    }
    let result = Validator::new(schema).validate(&set, ValidationMode::Strict);
    for error in result.validation_errors() {
        findings.extend(of_error(error, sources, parsed, known));
    }
    arguments::warn_opaque(sources, parsed, known, &mut findings);
    for warning in result.validation_warnings() {
        // Who has read an error or why the policy cannot see an argument learns nothing from "its condition is always false".
        let id = warning.policy_id().to_string();
        let explained = findings.iter().any(|finding| finding.key.as_ref() == Some(&id));
        if !(explained && is_never(warning)) {
            findings.extend(of_warning(warning, sources, parsed));
        }
    }
    findings
}

fn of_error(error: &ValidationError, sources: &[Source], parsed: &[Parsed], known: &Known<'_>) -> Option<Finding> {
    let policy = parsed.iter().find(|policy| error.policy_id().to_string() == policy.id)?;
    let source = sources.get(policy.file)?;
    let place = first_label(error);
    let offset = place.map(|(offset, _)| offset).or(policy.start);
    let snippet = place.and_then(|(offset, len)| source.text.get(offset..offset + len)).unwrap_or_default();
    if let ValidationError::UnsafeAttributeAccess(_) = error
        && let Some((message, help)) = arguments::explain_missing(policy, snippet, known)
    {
        return Some(source.finding(Severity::Error, offset, Some(&policy.id), message).help(help));
    }
    let mut finding = source.finding(Severity::Error, offset, Some(&policy.id), without_prefix(&error.to_string()));
    finding.help = match error {
        ValidationError::UnsafeOptionalAttributeAccess(_) => {
            Some(format!("it may be absent; ask first: `{}`", arguments::has_guard(snippet, &without_prefix(&error.to_string()))))
        }
        ValidationError::UnsafeTagAccess(_) => {
            Some("not everybody has it; ask first: `principal.hasTag(\"NAME\") && …`".to_owned())
        }
        ValidationError::UnrecognizedActionId(_) => Some(scope::action_help(snippet)),
        ValidationError::UnrecognizedEntityType(_) => {
            Some("callers are `Mcp::Caller`, groups `Mcp::Group`, servers `Mcp::Server`".to_owned())
        }
        ValidationError::UnexpectedType(_) | ValidationError::IncompatibleTypes(_) => error.help().map(|help| help.to_string()).or_else(|| {
            Some("`portcullis policy schema` shows every type; JSON numbers are `decimal(\"1.5\")` here, integers are plain".to_owned())
        }),
        _ => error.help().map(|help| help.to_string()),
    };
    Some(finding)
}

const fn is_never(warning: &ValidationWarning) -> bool {
    matches!(warning, ValidationWarning::ImpossiblePolicy(_) | ValidationWarning::InvalidActionApplication(_))
}

fn of_warning(warning: &ValidationWarning, sources: &[Source], parsed: &[Parsed]) -> Option<Finding> {
    let policy = parsed.iter().find(|policy| warning.policy_id().to_string() == policy.id)?;
    let source = sources.get(policy.file)?;
    let offset = first_label(warning).map(|(offset, _)| offset).or(policy.start);
    let (message, help) = match warning {
        ValidationWarning::ImpossiblePolicy(_) => (
            "the policy can never match: its condition is always false".to_owned(),
            Some("remove it, or see which part cannot be true"),
        ),
        ValidationWarning::InvalidActionApplication(_) => (
            "the policy can never match: no caller does this to a server".to_owned(),
            Some("the principal is an `Mcp::Caller`, the resource an `Mcp::Server`"),
        ),
        other => (without_prefix(&other.to_string()), None),
    };
    let mut finding = source.finding(Severity::Warning, offset, Some(&policy.id), message);
    finding.help = help.map(str::to_owned).or_else(|| warning.help().map(|help| help.to_string()));
    Some(finding)
}

/// Cedar starts every message with the policy's id, which a finding carries anyway.
fn without_prefix(message: &str) -> String {
    message
        .strip_prefix("for policy `")
        .and_then(|rest| rest.split_once("`, "))
        .map_or(message, |(_, rest)| rest)
        .to_owned()
}

#[cfg(test)]
mod tests;
