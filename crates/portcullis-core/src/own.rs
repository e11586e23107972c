//! The few JSON-RPC texts the gateway writes itself: errors, refused tool results, and answers from what it knows of a server. Nothing else
//! may build one.

use bytes::Bytes;
use smol_str::SmolStr;

use crate::wire::Id;

/// A JSON-RPC error. `data` is raw JSON text. Without an id the member is left out, as MCP asks for unreadable requests.
#[must_use]
pub fn error(id: Option<&Id>, code: i64, message: &str, data: Option<&str>) -> Bytes {
    let mut text = String::with_capacity(96 + message.len() + data.map_or(0, str::len));
    text.push_str(r#"{"jsonrpc":"2.0""#);
    push_id(&mut text, id);
    text.push_str(r#","error":{"code":"#);
    text.push_str(&code.to_string());
    text.push_str(r#","message":"#);
    push_string(&mut text, message);
    if let Some(data) = data {
        text.push_str(r#","data":"#);
        text.push_str(data);
    }
    text.push_str("}}");
    Bytes::from(text)
}

/// The response to a request with raw JSON `result`.
#[must_use]
pub fn result(id: &Id, result: &str) -> Bytes {
    let mut text = String::with_capacity(64 + result.len());
    text.push_str(r#"{"jsonrpc":"2.0""#);
    push_id(&mut text, Some(id));
    text.push_str(r#","result":"#);
    text.push_str(result);
    text.push('}');
    Bytes::from(text)
}

/// A tool result that says no in words a model can act on (`isError: true`). `modern` adds the `resultType` that C12 asks for.
#[must_use]
pub fn refused_tool_result(id: &Id, text: &str, modern: bool) -> Bytes {
    let mut out = String::with_capacity(128 + text.len());
    out.push_str(r#"{"jsonrpc":"2.0""#);
    push_id(&mut out, Some(id));
    out.push_str(r#","result":{"#);
    if modern {
        out.push_str(r#""resultType":"complete","#);
    }
    out.push_str(r#""content":[{"type":"text","text":"#);
    push_string(&mut out, text);
    out.push_str(r#"}],"isError":true}}"#);
    Bytes::from(out)
}

/// Lower-case hexadecimal digits.
#[must_use]
pub fn hex(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len() * 2);
    push_hex(&mut text, bytes);
    text
}

/// Appends lower-case hexadecimal digits.
pub fn push_hex(text: &mut String, bytes: &[u8]) {
    // In groups, since appending character by character checks the room for each.
    for group in bytes.chunks(GROUP) {
        text.push_str(digits(group, &mut [0; GROUP * 2]));
    }
}

/// Lower-case hexadecimal digits of an id or a digest: at most 32 bytes, what follows is left out.
#[must_use]
pub fn id_hex(bytes: &[u8]) -> SmolStr {
    SmolStr::new(digits(bytes, &mut [0; GROUP * 2]))
}

/// Bytes whose digits are made together.
const GROUP: usize = 32;

/// Reckoned and not looked up, so that the compiler makes sixteen digits at once.
fn digits<'a>(group: &[u8], room: &'a mut [u8; GROUP * 2]) -> &'a str {
    let digit = |nibble: u8| nibble + b'0' + u8::from(nibble > 9) * (b'a' - b'9' - 1);
    let mut length = 0;
    for (pair, byte) in room.as_chunks_mut().0.iter_mut().zip(group) {
        *pair = [digit(byte >> 4), digit(byte & 0xF)];
        length += pair.len();
    }
    room.get(..length).and_then(|digits| str::from_utf8(digits).ok()).unwrap_or_default()
}

/// Appends decimal digits. Without the formatting machinery, which costs more than the digits.
pub fn push_number(text: &mut String, number: u64) {
    let mut digits = [0; 20];
    let (mut at, mut rest) = (digits.len(), number);
    for digit in digits.iter_mut().rev() {
        *digit = b'0' + u8::try_from(rest % 10).unwrap_or_default();
        (at, rest) = (at - 1, rest / 10);
        if rest == 0 {
            break;
        }
    }
    let written = digits.get(at..).and_then(|digits| str::from_utf8(digits).ok());
    text.push_str(written.unwrap_or_default());
}

/// A notification with raw JSON `params`.
#[must_use]
pub fn notification(method: &str, params: &str) -> Bytes {
    let mut text = String::from(r#"{"jsonrpc":"2.0","method":"#);
    push_string(&mut text, method);
    text.push_str(r#","params":"#);
    text.push_str(params);
    text.push('}');
    Bytes::from(text)
}

/// A request with raw JSON `params`.
#[must_use]
pub fn request(id: &Id, method: &str, params: &str) -> Bytes {
    let mut text = String::from(r#"{"jsonrpc":"2.0""#);
    push_id(&mut text, Some(id));
    text.push_str(r#","method":"#);
    push_string(&mut text, method);
    text.push_str(r#","params":"#);
    text.push_str(params);
    text.push('}');
    Bytes::from(text)
}

fn push_id(text: &mut String, id: Option<&Id>) {
    if let Some(id) = id {
        text.push_str(r#","id":"#);
        text.push_str(id.raw());
    }
}

/// Appends `value` as a JSON string.
pub fn push_string(text: &mut String, value: &str) {
    text.push('"');
    for character in value.chars() {
        match short_escape(character) {
            Some(escape) => text.push_str(escape),
            None if u32::from(character) < 0x20 => text.push_str(&format!("\\u{:04x}", u32::from(character))),
            None => text.push(character),
        }
    }
    text.push('"');
}

/// `value` as a JSON string.
#[must_use]
pub fn quoted(value: &str) -> String {
    let mut text = String::with_capacity(value.len() + 2);
    push_string(&mut text, value);
    text
}

/// The escapes of two characters that string literals of JSON, Cedar and most other languages share.
#[must_use]
pub const fn short_escape(character: char) -> Option<&'static str> {
    match character {
        '"' => Some("\\\""),
        '\\' => Some("\\\\"),
        '\n' => Some("\\n"),
        '\r' => Some("\\r"),
        '\t' => Some("\\t"),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::{hex, id_hex, push_number};

    #[test]
    fn a_number_has_the_digits_that_formatting_gives_it() {
        for number in [0, 1, 9, 10, 99, 100, 65_535, u64::MAX / 10, u64::MAX] {
            let mut text = String::from("before ");
            push_number(&mut text, number);
            assert_eq!(text, format!("before {number}"));
        }
    }

    #[test]
    fn digits_are_the_same_for_texts_longer_than_one_group() {
        let bytes: Vec<u8> = (0..=255).collect();
        let one_by_one: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        for length in [0, 1, 31, 32, 33, 64, 256] {
            assert_eq!(Some(hex(&bytes[..length]).as_str()), one_by_one.get(..length * 2));
            assert_eq!(Some(id_hex(&bytes[..length]).as_str()), one_by_one.get(..length.min(32) * 2));
        }
    }
}
