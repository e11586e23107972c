//! Says what an instance should have been, and where. Shows the schema's own words only: never a value of the instance, and
//! of its names only those that the schema names too.

use std::collections::HashSet;
use std::fmt::Write;

use jsonschema::error::{TypeKind, ValidationErrorKind};
use jsonschema::{ValidationError, Validator};
use serde_json::Value;

use super::instance::{Place, Read};

/// Errors spelled out. 3: enough for a model to correct a call, which then meets the next ones.
const ERRORS: usize = 3;
/// Characters of one error. 240: a path and an enumeration of ordinary length.
const ERROR_CHARS: usize = 240;
/// Above this instance size, in bytes, only the first error is looked for. 32 KiB: collecting all of them visits everything.
const COLLECT_BYTES: usize = 32 << 10;

/// `"; "`-separated errors such as `/amount: must be <= 500 (maximum)`.
pub(super) fn explain(
    validator: &Validator<Read>,
    names: &HashSet<Box<str>>,
    value: Place<'_>,
    bytes: usize,
) -> String {
    let mut text = String::new();
    if bytes > COLLECT_BYTES {
        if let Err(error) = validator.validate(value) {
            push(&mut text, names, &error);
        }
        return text;
    }
    let mut errors = validator.iter_errors(value);
    for error in errors.by_ref().take(ERRORS) {
        push(&mut text, names, &error);
    }
    match errors.count() {
        0 => {}
        more => text.push_str(&format!("; and {more} more")),
    }
    text
}

fn push(text: &mut String, names: &HashSet<Box<str>>, error: &ValidationError<'_>) {
    if !text.is_empty() {
        text.push_str("; ");
    }
    let line = format!(
        "{}: {} ({})",
        place(error.instance_path().as_str(), names),
        expected(error.kind()),
        error.kind().keyword()
    );
    let mut chars = line.chars();
    text.extend(chars.by_ref().take(ERROR_CHARS));
    if chars.next().is_some() {
        text.push('…');
    }
}

/// The JSON pointer with names that the schema does not know as `*`: a caller's own names can be as private as its values.
fn place(pointer: &str, names: &HashSet<Box<str>>) -> String {
    let mut out = String::new();
    for segment in pointer.split('/').skip(1) {
        let name = segment.replace("~1", "/").replace("~0", "~");
        let is_index = !name.is_empty() && name.len() < 8 && name.bytes().all(|byte| byte.is_ascii_digit());
        out.push('/');
        out.push_str(if is_index || names.contains(name.as_str()) { segment } else { "*" });
    }
    if out.is_empty() { "/".to_owned() } else { out }
}

/// What the schema asks for, in its own words.
fn expected(kind: &ValidationErrorKind) -> String {
    match kind {
        ValidationErrorKind::Maximum { limit } => format!("must be <= {limit}"),
        ValidationErrorKind::Minimum { limit } => format!("must be >= {limit}"),
        ValidationErrorKind::ExclusiveMaximum { limit } => format!("must be < {limit}"),
        ValidationErrorKind::ExclusiveMinimum { limit } => format!("must be > {limit}"),
        ValidationErrorKind::MultipleOf { multiple_of } => format!("must be a multiple of {multiple_of}"),
        ValidationErrorKind::MaxLength { limit } => format!("must have at most {limit} characters"),
        ValidationErrorKind::MinLength { limit } => format!("must have at least {limit} characters"),
        ValidationErrorKind::MaxItems { limit } => format!("must have at most {limit} items"),
        ValidationErrorKind::MinItems { limit } => format!("must have at least {limit} items"),
        ValidationErrorKind::AdditionalItems { limit } => format!("must have at most {limit} items"),
        ValidationErrorKind::MaxProperties { limit } => format!("must have at most {limit} properties"),
        ValidationErrorKind::MinProperties { limit } => format!("must have at least {limit} properties"),
        ValidationErrorKind::UniqueItems => "must not have the same item twice".to_owned(),
        ValidationErrorKind::Contains => "must have an item that fits".to_owned(),
        ValidationErrorKind::Required { property } => format!("must have the property {property}"),
        ValidationErrorKind::AdditionalProperties { .. } | ValidationErrorKind::UnevaluatedProperties { .. } => {
            "must not have properties that the schema does not name".to_owned()
        }
        ValidationErrorKind::UnevaluatedItems { .. } => {
            "must not have items that the schema does not describe".to_owned()
        }
        ValidationErrorKind::PropertyNames { error } => format!("every property name {}", expected(error.kind())),
        ValidationErrorKind::Type { kind } => format!("must be {}", types(kind)),
        ValidationErrorKind::Enum { options } => match options.as_array() {
            Some(options) => format!("must be one of {}", joined(options.iter().map(Value::to_string), ", ")),
            None => "must be one of the values the schema lists".to_owned(),
        },
        ValidationErrorKind::Constant { expected_value } => format!("must be {expected_value}"),
        ValidationErrorKind::Pattern { pattern } => format!("must match `{pattern}`"),
        ValidationErrorKind::FalseSchema => "must not be there".to_owned(),
        ValidationErrorKind::Not { .. } => "must not fit the excluded schema".to_owned(),
        ValidationErrorKind::AnyOf { context } | ValidationErrorKind::OneOfNotValid { context } => {
            alternatives(context)
        }
        ValidationErrorKind::OneOfMultipleValid { .. } => {
            "must fit exactly one of the alternatives, but fits several".to_owned()
        }
        _ => "does not fit".to_owned(),
    }
}

fn types(kind: &TypeKind) -> String {
    match kind {
        TypeKind::Single(one) => one.to_string(),
        TypeKind::Multiple(set) => joined(set.iter().map(|one| one.to_string()), " or "),
    }
}

/// `must be integer or null` where every alternative only asks for a type; the commonest use of `anyOf` by far.
fn alternatives(context: &[Vec<ValidationError<'static>>]) -> String {
    let only_type = |errors: &Vec<ValidationError<'static>>| match errors.as_slice() {
        [error] => match error.kind() {
            ValidationErrorKind::Type { kind } => Some(types(kind)),
            _ => None,
        },
        _ => None,
    };
    match context.iter().map(only_type).collect::<Option<Vec<_>>>() {
        Some(types) if !types.is_empty() => format!("must be {}", joined(types.into_iter(), " or ")),
        _ => "must fit one of the alternatives".to_owned(),
    }
}

/// Stops once long enough to be cut anyway.
fn joined(words: impl Iterator<Item = String>, between: &str) -> String {
    let mut out = String::new();
    for word in words {
        if !out.is_empty() {
            out.push_str(between);
        }
        let _ = write!(out, "{word}");
        if out.len() > 4 * ERROR_CHARS {
            break;
        }
    }
    out
}
