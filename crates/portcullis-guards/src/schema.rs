//! A tool's JSON Schema, compiled once and then asked many times.
//!
//! Schemas come from servers and are as hostile as any other input: nothing is ever fetched (C48), and a schema is refused
//! before it is compiled when it could make validation costly (C49). Instances are parsed here only to be judged; the text
//! that is forwarded stays the original.

mod cache;
mod explain;
mod instance;
mod survey;

use std::collections::HashSet;
use std::fmt;

use jsonschema::{Draft, PatternOptions, Retrieve, Uri, Validator};
use portcullis_core::wire::{Limits, View, view_json};
use serde_json::Value;

pub(crate) use self::cache::Cache;
use self::instance::{Instance, Read, Unmade};

/// Bytes of one schema's text. 256 KiB: a model has to read every tool's schema, so useful ones stay far smaller.
pub(crate) const SCHEMA_BYTES: usize = 256 << 10;
/// Nesting of the schema's text. The reader's own limit for messages.
pub(crate) const SCHEMA_DEPTH: usize = 64;
/// Members of one object in a schema (so: properties of one object that the schema describes). 4096: the reader's own limit.
pub(crate) const SCHEMA_KEYS: usize = 4096;
/// Subschemas reachable from the root. 4096: as many as one object may have names; more is made to be slow.
pub(crate) const SUBSCHEMAS: usize = 4096;
/// Regular expressions in one schema. 128: each costs memory and a pass over the string.
pub(crate) const PATTERNS: usize = 128;
/// Memory of all compiled regular expressions of one schema. 32 MiB, of which each of up to 8 may take 4 MiB (enough for
/// `^.{0,1024}$`), and each of more an equal share.
pub(crate) const PATTERN_BYTES: usize = 32 << 20;
/// Subschemas that may apply one after another to the same value, through `$ref`, `allOf` and the like. 24: bounds the stack.
pub(crate) const IN_PLACE: usize = 24;
/// Subschemas on one path from the root, references followed, as far as the walk goes: what it has measured it does not walk again.
/// 192: bounds the walk's stack. (The validator puts off compiling what a reference leads to.)
pub(crate) const PATH: usize = 192;
/// Subschema evaluations that one path through an instance may cost. 65,536: sixteen times the
/// subschemas there can be, so that only references used over and over get there.
pub(crate) const WORK: u64 = 1 << 16;
/// [`WORK`] of a schema times the size of an instance (its values, and one for every 64 bytes). 134,217,728: an instance of
/// 4 MiB may still meet schemas that cost 400 on one path. A reckoning, not a measured time.
pub(crate) const BUDGET: u64 = 1 << 27;
/// Nesting of an instance. The reader's default, kept even when the reader is configured to allow more: it bounds the stack.
pub(crate) const INSTANCE_DEPTH: usize = 64;

/// Why a schema cannot be used. The text names keywords and places in the schema, never anything of a caller.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Unusable {
    /// Not JSON, or over one of the text limits above.
    Text(String),
    /// Neither an object nor a boolean.
    NotASchema,
    /// `$schema` names a dialect we do not know (C47).
    Dialect,
    /// A reference that leaves the document (C48).
    RemoteReference { keyword: &'static str },
    /// A reference inside the document that leads nowhere, or to more than one place.
    LostReference,
    /// Legal, but it would defeat the bounds: `$dynamicRef`, an embedded resource with its own `$id` or dialect.
    Unsupported { keyword: &'static str },
    /// Over one of the limits on shape above.
    TooLarge { what: &'static str, limit: u64 },
    /// A subschema that applies itself to the same value again, without end.
    Endless,
    /// The validator refuses it: not valid by its meta-schema, or a pattern that linear-time matching does not have.
    Invalid { at: String },
}

impl fmt::Display for Unusable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text(why) => write!(f, "the schema's text is refused: {why}"),
            Self::NotASchema => f.write_str("the schema is neither an object nor a boolean"),
            Self::Dialect => f.write_str("`$schema` names an unknown dialect"),
            Self::RemoteReference { keyword } => write!(f, "`{keyword}` leaves the document; nothing is ever fetched"),
            Self::LostReference => f.write_str("a reference leads nowhere, or to more than one place"),
            Self::Unsupported { keyword } => write!(f, "`{keyword}` is not supported here"),
            Self::TooLarge { what, limit } => write!(f, "more than {limit} {what}"),
            Self::Endless => f.write_str("a subschema applies itself to the same value without end"),
            Self::Invalid { at } => write!(f, "not valid at `{at}`"),
        }
    }
}

/// A schema ready for use.
#[derive(Debug)]
pub(crate) struct Compiled {
    validator: Validator<Read>,
    /// Deepest instance whose errors may be spelled out: finding errors, unlike finding out *whether*, is not memoised.
    explain_depth: usize,
    work: u64,
    /// Property names the schema itself names: the only names that may appear in a text we write.
    names: HashSet<Box<str>>,
}

/// Why an instance was refused. The text never holds anything of the instance: neither values nor names the schema does not know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Mismatch {
    /// Does not fit; what is expected and where.
    Misfit(String),
    /// Over [`INSTANCE_DEPTH`] or the guard's own byte limit, or holds a number that no double can hold.
    Unjudgeable(String),
}

impl fmt::Display for Mismatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (Self::Misfit(text) | Self::Unjudgeable(text)) = self;
        f.write_str(text)
    }
}

/// Refuses to fetch. Set explicitly because another crate of the build could switch the validator's own fetching on.
struct NothingIsFetched;

impl Retrieve for NothingIsFetched {
    fn retrieve(&self, _uri: &Uri<String>) -> Result<Value, Box<dyn std::error::Error + Send + Sync>> {
        Err("nothing is fetched".into())
    }
}

impl Compiled {
    /// Checks every bound, then compiles.
    pub(crate) fn new(text: &[u8]) -> Result<Self, Unusable> {
        let limits = Limits { bytes: SCHEMA_BYTES, depth: SCHEMA_DEPTH, keys: SCHEMA_KEYS, ..Limits::default() };
        view_json(text, &limits).map_err(|malformed| Unusable::Text(malformed.to_string()))?;
        let schema: Value = serde_json::from_slice(text).map_err(|error| Unusable::Text(error.to_string()))?;
        let draft = dialect(&schema)?;
        let survey = survey::survey(&schema)?;
        let share = PATTERN_BYTES / survey.patterns.max(8);
        let validator = jsonschema::options_for::<Read>()
            .with_draft(draft)
            .with_retriever(NothingIsFetched)
            // Linear time in the input, whatever the pattern; look-around is refused when compiling.
            .with_pattern_options(PatternOptions::regex().size_limit(share).dfa_size_limit(share))
            // `format` is an annotation unless a schema's vocabulary says otherwise (2020-12 validation, 7.2.1); servers disagree
            // about the finer points of almost every format, so asserting it would refuse honest calls.
            .should_validate_formats(false)
            .build(&schema)
            .map_err(|error| Unusable::Invalid { at: error.instance_path().as_str().chars().take(120).collect() })?;
        Ok(Self { validator, explain_depth: survey.explain_depth, work: survey.work, names: survey.names })
    }

    /// Judges one instance by its exact text. `most` is the guard's own limit in bytes.
    pub(crate) fn check(&self, instance: View<'_>, most: usize) -> Result<(), Mismatch> {
        if instance.raw().len() > most {
            return Err(Mismatch::Unjudgeable(format!("larger than {most} bytes, so it cannot be checked")));
        }
        let bytes = instance.raw().len();
        // Only judged, never forwarded: that a large number is a double here reaches nobody.
        let instance = Instance::of(instance, INSTANCE_DEPTH).map_err(|unmade| {
            Mismatch::Unjudgeable(match unmade {
                Unmade::TooDeep => format!("nested deeper than {INSTANCE_DEPTH}, so it cannot be checked"),
                Unmade::Number => "holds a number too large to be checked".to_owned(),
            })
        })?;
        let size = instance.values.saturating_add(bytes as u64 / 64);
        if size.saturating_mul(self.work) > BUDGET {
            return Err(Mismatch::Unjudgeable("too large for so large a schema, so it cannot be checked".to_owned()));
        }
        if self.validator.is_valid(instance.root()) {
            return Ok(());
        }
        let text = if instance.depth > self.explain_depth {
            "does not fit the schema".to_owned()
        } else {
            explain::explain(&self.validator, &self.names, instance.root(), bytes)
        };
        Err(Mismatch::Misfit(text))
    }
}

/// 2020-12 unless the schema says otherwise (C47).
fn dialect(schema: &Value) -> Result<Draft, Unusable> {
    if !schema.is_object() && !schema.is_boolean() {
        return Err(Unusable::NotASchema);
    }
    let Some(declared) = schema.get("$schema") else {
        return Ok(Draft::Draft202012);
    };
    match declared.as_str().map(|uri| uri.strip_suffix('#').unwrap_or(uri)) {
        Some("https://json-schema.org/draft/2020-12/schema") => Ok(Draft::Draft202012),
        Some("https://json-schema.org/draft/2019-09/schema") => Ok(Draft::Draft201909),
        Some("http://json-schema.org/draft-07/schema" | "https://json-schema.org/draft-07/schema") => Ok(Draft::Draft7),
        Some("http://json-schema.org/draft-06/schema") => Ok(Draft::Draft6),
        Some("http://json-schema.org/draft-04/schema") => Ok(Draft::Draft4),
        _ => Err(Unusable::Dialect),
    }
}

#[cfg(test)]
mod tests;
