//! The text form of mirrored values: plain where plain is safe, Base64 between fixed marks where it is not (C29).

use std::borrow::Cow;
use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

/// The marks are case-sensitive; any other spelling is part of a plain value.
const OPEN: &str = "=?base64?";
const CLOSE: &str = "?=";

/// Why a header value says nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BadHeaderValue {
    /// Bytes other than visible ASCII, space and tab.
    Characters,
    /// Between the marks there is no padded Base64 of the standard alphabet, or the marks share a character.
    Base64,
    /// The decoded bytes are not UTF-8.
    NotUtf8,
}

impl fmt::Display for BadHeaderValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Characters => "the header value has characters other than visible ASCII, space and tab",
            Self::Base64 => "the encoded header value is not padded Base64",
            Self::NotUtf8 => "the encoded header value is not UTF-8",
        })
    }
}

impl std::error::Error for BadHeaderValue {}

/// The header form of `value`: itself, or Base64 between marks where it has unsafe characters, outer white space, or looks
/// encoded already. Readable by anyone: not a way to hide a value (C35).
#[must_use]
pub fn encode_value(value: &str) -> Cow<'_, str> {
    let outer_space = value.starts_with([' ', '\t']) || value.ends_with([' ', '\t']);
    if plain_text(value.as_bytes()).is_some() && !outer_space && !looks_encoded(value) {
        return Cow::Borrowed(value);
    }
    Cow::Owned(format!("{OPEN}{}{CLOSE}", STANDARD.encode(value)))
}

/// What a header value says. Outer white space must be gone already (C28).
///
/// # Errors
/// Characters that no header value may have, or marks around something that is not Base64 of UTF-8 text (C30).
pub fn decode_value(value: &[u8]) -> Result<Cow<'_, str>, BadHeaderValue> {
    let text = plain_text(value).ok_or(BadHeaderValue::Characters)?;
    if !looks_encoded(text) {
        return Ok(Cow::Borrowed(text));
    }
    let payload = text.strip_prefix(OPEN).and_then(|rest| rest.strip_suffix(CLOSE)).ok_or(BadHeaderValue::Base64)?;
    let bytes = STANDARD.decode(payload).map_err(|_| BadHeaderValue::Base64)?;
    String::from_utf8(bytes).map(Cow::Owned).map_err(|_| BadHeaderValue::NotUtf8)
}

/// The specification's own words: starts with the one and ends with the other. `=?base64?=` does both with a shared `?`; peers
/// disagree about what it says, so it is always written encoded and never read.
fn looks_encoded(text: &str) -> bool {
    text.starts_with(OPEN) && text.ends_with(CLOSE)
}

/// The value as text, if all of it may stand in a header field (RFC 9110 §5.5 without the obsolete bytes above 0x7F).
pub(super) fn plain_text(value: &[u8]) -> Option<&str> {
    let plain = value.iter().all(|byte| matches!(byte, 0x20..=0x7E | b'\t'));
    std::str::from_utf8(value).ok().filter(|_| plain)
}

#[cfg(test)]
mod tests;
