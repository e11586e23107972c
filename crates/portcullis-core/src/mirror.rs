//! Headers that repeat what the body says (C25–C38): checked where they come in, written anew where they go out.
//! The body is the truth. Nothing here may be a ground to allow anything: mirrored values are the client's own words (C34).

mod decimal;
mod encoding;
mod schema;

use std::borrow::Cow;
use std::collections::BTreeSet;

pub use self::encoding::{BadHeaderValue, decode_value, encode_value};
pub use self::schema::{HeaderParam, HeaderParamError, ParamKind, header_params, may_annotate};

use self::decimal::Decimal;
use crate::catalogue::Tool;
use crate::refusal::Violation;
use crate::wire::{JsonKind, METHODS, Message, View};

const METHOD: &str = "mcp-method";
const NAME: &str = "mcp-name";
const PARAM_PREFIX: &str = "mcp-param-";
/// Stands for a parameter header whose name only the client knows: names of ours may be shown, names of theirs not.
const SOME_PARAM: &str = "mcp-param-*";

/// The methods whose subject `Mcp-Name` repeats (C26).
const NAMED: [&str; 6] = ["tools/call", "prompts/get", "resources/read", "tasks/get", "tasks/update", "tasks/cancel"];

/// The header fields of a request, whoever keeps them.
pub trait Headers {
    /// The first values of one field, in order: with two of them it is wrong already. The name is given in lower case.
    fn values(&self, lower_case_name: &str) -> [Option<&[u8]>; 2];
    /// All fields whose lower-case name starts so: full lower-case name and value, one pair for each value.
    fn with_prefix(&self, lower_case_prefix: &str) -> Vec<(String, &[u8])>;
}

/// Checks the mirrored headers of a modern request against its body, and gives the `Mcp-Param-*` fields to forward (E2):
/// lower-case name, exact text without outer white space.
///
/// `tool` is the tool of a `tools/call`, when the server is known to offer it. Naming a tool's headers in a refusal tells that
/// the tool exists: for a tool this caller may not see pass `None`.
///
/// # Errors
/// `HeaderMissing`, `HeaderMismatch` or `HeaderRepeated`.
pub fn check_request(
    message: &Message,
    headers: &dyn Headers,
    tool: Option<&Tool>,
) -> Result<Vec<(String, String)>, Violation> {
    let method = single(headers, METHOD)?.ok_or(Violation::HeaderMissing { header: METHOD.into() })?;
    check_method(message, method)?;
    check_name(message, single(headers, NAME)?)?;
    let given = given_params(headers)?;
    check_params(message, &given, tool)?;
    Ok(given)
}

/// Checks the headers of a modern notification: none is required, those that are there must be true (L2).
///
/// # Errors
/// `HeaderMismatch` or `HeaderRepeated`.
pub fn check_notification(message: &Message, headers: &dyn Headers) -> Result<(), Violation> {
    if let Some(method) = single(headers, METHOD)? {
        check_method(message, method)?;
    }
    if let Some(name) = single(headers, NAME)? {
        check_name(message, Some(name))?;
    }
    given_params(headers).map(drop)
}

/// Checks `Mcp-Param-*` fields, as [`check_request`] gives them, against the arguments the tool annotates (C31, C32).
///
/// # Errors
/// `HeaderMissing` or `HeaderMismatch`, naming the field.
pub fn check_params(message: &Message, given: &[(String, String)], tool: Option<&Tool>) -> Result<(), Violation> {
    for param in annotated(message, tool) {
        let name = full_name(param);
        let stated = given.iter().find(|(given, _)| *given == name).map(|(_, value)| value);
        match (body_value(message, param), stated) {
            (None, None) => {}
            (Some(_), None) => return Err(Violation::HeaderMissing { header: name.into() }),
            (None, Some(_)) => return Err(mismatch(name)),
            (Some(value), Some(stated)) => {
                let decoded = decode_value(stated.as_bytes()).ok();
                if !decoded.is_some_and(|text| says(param, value, &text)) {
                    return Err(mismatch(name));
                }
            }
        }
    }
    Ok(())
}

/// The mirrored header fields a modern HTTP server must get with this message (D1, D3), given to `field` one by one: lower-case name and
/// value. Annotated arguments are taken from the body, whatever the client sent; fields that are not ours to understand are passed on (E2).
///
/// # Errors
/// The first of `field`.
pub fn outgoing<E>(
    message: &Message,
    tool: Option<&Tool>,
    forwarded: &[(String, String)],
    mut field: impl FnMut(&str, &str) -> Result<(), E>,
) -> Result<(), E> {
    if let Some(method) = message.method() {
        // There is no encoded form of a method. One that cannot stand in a header is unknown to every server; encoded it is
        // refused there, and cannot break out of the header here.
        field(METHOD, &encode_value(method))?;
    }
    if let Some(name) = mirrored_name(message) {
        field(NAME, &encode_value(name))?;
    }
    for (name, value) in params_of(message, tool) {
        field(&name, &value)?;
    }
    let params = annotated(message, tool);
    let written_anew = |name: &str| {
        let name = name.strip_prefix(PARAM_PREFIX);
        params.iter().any(|param| name == Some(&param.header))
    };
    forwarded.iter().filter(|(name, _)| !written_anew(name)).try_for_each(|(name, value)| field(name, value))
}

/// The `Mcp-Param-*` fields that say of this message what its body says: what a client would have sent where there are headers (J15).
#[must_use]
pub fn params_of(message: &Message, tool: Option<&Tool>) -> Vec<(String, String)> {
    let field = |param: &HeaderParam| {
        let text = spoken(param, body_value(message, param)?)?;
        Some((full_name(param), encode_value(&text).into_owned()))
    };
    annotated(message, tool).iter().filter_map(field).collect()
}

fn check_method(message: &Message, stated: &[u8]) -> Result<(), Violation> {
    if message.method().is_some_and(|method| method.as_bytes() == stated) { Ok(()) } else { Err(mismatch(METHOD)) }
}

fn check_name(message: &Message, stated: Option<&[u8]>) -> Result<(), Violation> {
    let Some(stated) = stated else {
        return match mirrored_name(message) {
            Some(_) => Err(Violation::HeaderMissing { header: NAME.into() }),
            None => Ok(()),
        };
    };
    let text = decode_value(stated).map_err(|_| mismatch(NAME))?;
    let method = message.method().unwrap_or_default();
    // What an unknown method calls its name is for its own extension to say.
    let known = METHODS.iter().any(|info| info.name == method);
    if known && message.name() != Some(text.as_ref()) { Err(mismatch(NAME)) } else { Ok(()) }
}

fn mirrored_name(message: &Message) -> Option<&str> {
    message.method().filter(|method| NAMED.contains(method)).and_then(|_| message.name())
}

/// All `Mcp-Param-*` fields. A repeated one is refused even where nobody here knows it: the next hop may read the other value.
fn given_params(headers: &dyn Headers) -> Result<Vec<(String, String)>, Violation> {
    let mut seen = BTreeSet::new();
    let mut fields = Vec::new();
    for (name, value) in headers.with_prefix(PARAM_PREFIX) {
        if !seen.insert(name.clone()) {
            return Err(Violation::HeaderRepeated { header: SOME_PARAM });
        }
        let value = encoding::plain_text(trim(value)).ok_or_else(|| mismatch(SOME_PARAM))?;
        fields.push((name, value.to_owned()));
    }
    Ok(fields)
}

/// The one value of a field, without outer white space.
fn single<'a>(headers: &'a dyn Headers, name: &'static str) -> Result<Option<&'a [u8]>, Violation> {
    match headers.values(name) {
        [value, None] => Ok(value.map(trim)),
        [_, Some(_)] => Err(Violation::HeaderRepeated { header: name }),
    }
}

/// Without optional white space around it (RFC 9110 §5.5): spaces and tabs, nothing else.
fn trim(mut value: &[u8]) -> &[u8] {
    while let [b' ' | b'\t', rest @ ..] | [rest @ .., b' ' | b'\t'] = value {
        value = rest;
    }
    value
}

fn annotated<'a>(message: &Message, tool: Option<&'a Tool>) -> &'a [HeaderParam] {
    let tool = tool.filter(|_| message.method() == Some("tools/call"));
    tool.map(|tool| tool.header_params.as_slice()).unwrap_or_default()
}

fn full_name(param: &HeaderParam) -> String {
    format!("{PARAM_PREFIX}{}", param.header)
}

/// The argument a header repeats; null counts as absent.
fn body_value<'a>(message: &'a Message, param: &HeaderParam) -> Option<View<'a>> {
    let arguments = message.arguments()?;
    param.path.iter().try_fold(arguments, |view, name| view.get(name)).filter(|value| !value.is_null())
}

/// Whether `text` says what the argument says. Arguments that are no scalar cannot be said in a header.
fn says(param: &HeaderParam, value: View<'_>, text: &str) -> bool {
    match value.kind() {
        JsonKind::String => value.as_str().is_some_and(|value| value == text),
        JsonKind::Bool => value.text() == text,
        JsonKind::Number => {
            let same_number =
                || Decimal::parse(value.text()).is_some_and(|number| Decimal::parse(text) == Some(number));
            value.text() == text || (param.kind == ParamKind::Integer && same_number())
        }
        JsonKind::Null | JsonKind::Array | JsonKind::Object => false,
    }
}

/// The argument as header text, before encoding.
fn spoken<'a>(param: &HeaderParam, value: View<'a>) -> Option<Cow<'a, str>> {
    match value.kind() {
        JsonKind::String => value.as_str(),
        JsonKind::Bool => Some(value.text().into()),
        JsonKind::Number => {
            let plain = Decimal::parse(value.text()).filter(|_| param.kind == ParamKind::Integer);
            let plain = plain.and_then(|number| number.as_integer());
            Some(plain.map_or_else(|| value.text().into(), Cow::Owned))
        }
        JsonKind::Null | JsonKind::Array | JsonKind::Object => None,
    }
}

fn mismatch(header: impl Into<Cow<'static, str>>) -> Violation {
    Violation::HeaderMismatch { header: header.into() }
}

#[cfg(test)]
mod tests;
