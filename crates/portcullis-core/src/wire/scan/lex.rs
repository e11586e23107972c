//! The words of JSON: space, strings, numbers, literals. Positions in, positions out; nothing is kept.

use crate::wire::text;

/// Where a word stops being JSON.
#[derive(Clone, Copy, Debug)]
pub(super) enum Flaw {
    Syntax(u32),
    LoneSurrogate(u32),
}

type Read = Result<usize, Flaw>;

#[cold]
#[expect(clippy::cast_possible_truncation, reason = "no text longer than 1 GiB is scanned")]
fn syntax(at: usize) -> Flaw {
    Flaw::Syntax(at as u32)
}

#[cold]
#[expect(clippy::cast_possible_truncation, reason = "no text longer than 1 GiB is scanned")]
fn lone(at: usize) -> Flaw {
    Flaw::LoneSurrogate(at as u32)
}

/// The byte at a position; 0, which no JSON outside strings contains, after the end.
#[inline(always)]
pub(super) fn byte(bytes: &[u8], at: usize) -> u8 {
    bytes.get(at).copied().unwrap_or(0)
}

#[inline(always)]
pub(super) fn space(bytes: &[u8], mut at: usize) -> usize {
    while let b' ' | b'\t' | b'\n' | b'\r' = byte(bytes, at) {
        at += 1;
    }
    at
}

/// The position of the first quote, backslash or control character.
#[inline(always)]
pub(super) fn plain_end(bytes: &[u8], at: usize) -> usize {
    at + text::plain_prefix(bytes.get(at..).unwrap_or_default())
}

/// Goes on from the first special character of a string to after its closing quote.
pub(super) fn rest_of_string(bytes: &[u8], mut at: usize) -> Read {
    loop {
        match byte(bytes, at) {
            b'"' => return Ok(at + 1),
            b'\\' => at = escape(bytes, at)?,
            _ => return Err(syntax(at)),
        }
        at = plain_end(bytes, at);
    }
}

#[inline]
fn escape(bytes: &[u8], start: usize) -> Read {
    match byte(bytes, start + 1) {
        b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't' => return Ok(start + 2),
        b'u' => {}
        _ => return Err(syntax(start + 1)),
    }
    let after = start + 6;
    match digits4(bytes, start + 2)? {
        0xD800..0xDC00 => {
            if (byte(bytes, after), byte(bytes, after + 1)) != (b'\\', b'u') {
                return Err(lone(start));
            }
            match digits4(bytes, after + 2)? {
                0xDC00..0xE000 => Ok(after + 6),
                _ => Err(lone(start)),
            }
        }
        0xDC00..0xE000 => Err(lone(start)),
        _ => Ok(after),
    }
}

fn digits4(bytes: &[u8], at: usize) -> Result<u16, Flaw> {
    let rest = bytes.get(at..).unwrap_or_default();
    rest.first_chunk::<4>().and_then(|digits| text::hex4(*digits)).ok_or_else(|| syntax(at))
}

/// The JSON number grammar. The value is never computed: large integers pass through exactly as written.
#[inline]
pub(super) fn number(bytes: &[u8], mut at: usize) -> Read {
    if byte(bytes, at) == b'-' {
        at += 1;
    }
    at = if byte(bytes, at) == b'0' { at + 1 } else { digits(bytes, at)? };
    if byte(bytes, at) == b'.' {
        at = digits(bytes, at + 1)?;
    }
    if let b'e' | b'E' = byte(bytes, at) {
        at += 1;
        if let b'+' | b'-' = byte(bytes, at) {
            at += 1;
        }
        at = digits(bytes, at)?;
    }
    Ok(at)
}

#[inline(always)]
fn digits(bytes: &[u8], start: usize) -> Read {
    let mut at = start;
    while byte(bytes, at).is_ascii_digit() {
        at += 1;
    }
    if at == start { Err(syntax(at)) } else { Ok(at) }
}

/// `true`, `false` or `null`.
#[inline]
pub(super) fn word(bytes: &[u8], at: usize) -> Read {
    match bytes.get(at..).unwrap_or_default() {
        [b't', b'r', b'u', b'e', ..] | [b'n', b'u', b'l', b'l', ..] => Ok(at + 4),
        [b'f', b'a', b'l', b's', b'e', ..] => Ok(at + 5),
        _ => Err(syntax(at)),
    }
}
