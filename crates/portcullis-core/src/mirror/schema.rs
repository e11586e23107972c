//! `x-mcp-header` annotations in a tool's `inputSchema` (C36–C38). One invalid annotation makes the whole tool invalid for
//! modern clients (D4), so nothing here skips what it does not like.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;
use std::rc::Rc;

use memchr::memmem;

use crate::wire::{JsonKind, Token, View};

const ANNOTATION: &str = "x-mcp-header";

/// Most characters of a place in an error. Keys are the server's and may be as long as its message; the log needs the start.
const MOST_PLACE: usize = 200;

/// One argument that clients repeat as `Mcp-Param-*`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HeaderParam {
    /// The name after `mcp-param-`, in lower case: how header fields are compared.
    pub header: String,
    /// The same as the server spelled it.
    pub spelled: String,
    /// Names of members from `arguments` to the value; at least one.
    pub path: Vec<String>,
    pub kind: ParamKind,
}

/// The types an annotated argument may have (C37).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ParamKind {
    String,
    Integer,
    Boolean,
}

/// Why a tool's annotations are invalid. `at` is the way to the annotated schema, keys joined by `/`, cut after 200 characters;
/// for the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HeaderParamError {
    /// The annotation is not a string.
    NotText { at: String },
    /// The name is empty (C36).
    Empty { at: String },
    /// The name has characters that no header name has (C36).
    NotAToken { at: String },
    /// Two annotations differ at most by letter case (C36).
    Repeated { at: String },
    /// The property's `type` is not exactly one of string, integer, boolean (C37).
    NotPrimitive { at: String },
    /// The annotation is not on a property that `properties` alone lead to from the root (C38).
    Unreachable { at: String },
}

impl fmt::Display for HeaderParamError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (at, sentence) = match self {
            Self::NotText { at } => (at, "is not a string"),
            Self::Empty { at } => (at, "is empty"),
            Self::NotAToken { at } => (at, "is not a header name"),
            Self::Repeated { at } => (at, "is used twice"),
            Self::NotPrimitive { at } => (at, "is on a property that is not of type string, integer or boolean"),
            Self::Unreachable { at } => (at, "is not on a property reached by `properties` alone"),
        };
        write!(f, "`{ANNOTATION}` at `/{at}` {sentence}")
    }
}

impl std::error::Error for HeaderParamError {}

/// What an object in the schema is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Role {
    Schema,
    /// Its keys are names and its values schemas.
    Names,
}

struct Place<'a> {
    view: View<'a>,
    role: Role,
    /// Whether `properties` alone lead here.
    reachable: bool,
    way: Option<Rc<Step<'a>>>,
}

/// One key on the way from the root. Linked, so that neither a long key nor a long way is copied for everything below it.
struct Step<'a> {
    key: Cow<'a, str>,
    is_name: bool,
    above: Option<Rc<Step<'a>>>,
}

/// Whether any definition in this text could have annotations: their name stands there, or something that may be a letter of it is escaped.
#[must_use]
pub fn may_annotate(text: View<'_>) -> bool {
    memmem::find(text.raw(), ANNOTATION.as_bytes()).is_some() || memmem::find(text.raw(), br"\u00").is_some()
}

/// The annotated arguments of an `inputSchema`, ordered by header name.
///
/// # Errors
/// The first invalid annotation found: the tool must not be offered to modern clients.
pub fn header_params(input_schema: View<'_>) -> Result<Vec<HeaderParam>, HeaderParamError> {
    // Almost no schema has annotations, and looking at every byte once is cheap.
    let annotated = |token: Token<'_>| matches!(token, Token::Key(key) if key == ANNOTATION);
    if !may_annotate(input_schema) || !input_schema.tokens().any(annotated) {
        return Ok(Vec::new());
    }
    let mut found = BTreeMap::new();
    let mut open = vec![Place { view: input_schema, role: Role::Schema, reachable: true, way: None }];
    while let Some(place) = open.pop() {
        for (key, value) in place.view.members() {
            match (place.role, key.as_ref()) {
                (Role::Schema, ANNOTATION) => {
                    let param = read_annotation(&place, value)?;
                    if found.insert(param.header.clone(), param).is_some() {
                        return Err(HeaderParamError::Repeated { at: place.at() });
                    }
                }
                // What stands under these is data, not schema.
                (Role::Schema, "default" | "const" | "enum" | "examples") => {}
                _ => push_below(&mut open, &place, key, value),
            }
        }
    }
    Ok(found.into_values().collect())
}

fn push_below<'a>(open: &mut Vec<Place<'a>>, above: &Place<'a>, key: Cow<'a, str>, value: View<'a>) {
    let is_name = above.role == Role::Names;
    let (role, reachable) = match key.as_ref() {
        _ if is_name => (Role::Schema, above.reachable),
        "properties" => (Role::Names, above.reachable),
        "patternProperties" | "$defs" | "definitions" | "dependentSchemas" => (Role::Names, false),
        // Keywords we do not know may hold schemas too.
        _ => (Role::Schema, false),
    };
    let way = Some(Rc::new(Step { key, is_name, above: above.way.clone() }));
    let mut views = vec![value];
    while let Some(view) = views.pop() {
        match view.kind() {
            JsonKind::Object => open.push(Place { view, role, reachable, way: way.clone() }),
            JsonKind::Array => views.extend(view.elements()),
            _ => {}
        }
    }
}

impl<'a> Place<'a> {
    /// The steps from the root.
    fn steps(&self) -> Vec<&Step<'a>> {
        let mut steps: Vec<_> = std::iter::successors(self.way.as_deref(), |step| step.above.as_deref()).collect();
        steps.reverse();
        steps
    }

    fn at(&self) -> String {
        let keys = self.steps().into_iter().enumerate().flat_map(|(index, step)| {
            let slash = (index > 0).then_some('/');
            slash.into_iter().chain(step.key.chars())
        });
        keys.take(MOST_PLACE).collect()
    }

    /// The way of an argument, if this is the schema of one.
    fn path(&self) -> Option<Vec<String>> {
        let names = self.steps().into_iter().filter(|step| step.is_name);
        let path: Vec<String> = names.map(|step| step.key.clone().into_owned()).collect();
        (self.reachable && !path.is_empty()).then_some(path)
    }
}

fn read_annotation(place: &Place<'_>, value: View<'_>) -> Result<HeaderParam, HeaderParamError> {
    let at = || place.at();
    let path = place.path().ok_or_else(|| HeaderParamError::Unreachable { at: at() })?;
    let spelled = value.as_str().ok_or_else(|| HeaderParamError::NotText { at: at() })?.into_owned();
    if spelled.is_empty() {
        return Err(HeaderParamError::Empty { at: at() });
    }
    if !spelled.bytes().all(is_token_byte) {
        return Err(HeaderParamError::NotAToken { at: at() });
    }
    let kind = place.view.get("type").and_then(View::as_str);
    let kind = match kind.as_deref() {
        Some("string") => ParamKind::String,
        Some("integer") => ParamKind::Integer,
        Some("boolean") => ParamKind::Boolean,
        _ => return Err(HeaderParamError::NotPrimitive { at: at() }),
    };
    Ok(HeaderParam { header: spelled.to_ascii_lowercase(), spelled, path, kind })
}

/// `tchar` of RFC 9110 §5.6.2.
const fn is_token_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric()
        || matches!(
            byte,
            b'!' | b'#' | b'$' | b'%' | b'&' | b'\'' | b'*' | b'+' | b'-' | b'.' | b'^' | b'_' | b'`' | b'|' | b'~'
        )
}

#[cfg(test)]
mod tests;
