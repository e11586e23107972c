//! The inside of JSON strings: finding their end, undoing escapes.
//! Only validated text is unescaped here; nothing in this file decides whether text is acceptable.

use std::borrow::Cow;

const LANES: u64 = u64::from_ne_bytes([0x01; 8]);
const HIGH: u64 = u64::from_ne_bytes([0x80; 8]);

/// Bytes before the first quote, backslash or control character; the length of `text` when there is none.
#[inline]
pub(super) fn plain_prefix(text: &[u8]) -> usize {
    let mut rest = text;
    // Most strings end within a few words; only longer ones pay for a call that looks at vectors.
    let mut words = 0;
    while let Some((word, tail)) = rest.split_first_chunk::<8>() {
        let hits = special_lanes(u64::from_le_bytes(*word));
        if hits != 0 {
            return text.len() - rest.len() + (hits.trailing_zeros() / 8) as usize;
        }
        rest = tail;
        words += 1;
        if words == 8 {
            rest = skip_plain(rest);
        }
    }
    let odd = rest.iter().position(|&byte| is_special(byte)).unwrap_or(rest.len());
    text.len() - rest.len() + odd
}

/// Goes to the end of a long string, where its vectorised search finds that nothing special comes before.
fn skip_plain(rest: &[u8]) -> &[u8] {
    let (plain, tail) = rest.split_at(memchr::memchr2(b'"', b'\\', rest).unwrap_or(rest.len()));
    // One comparison for each vector; the position of a control character, which ends the reading, may be found slowly.
    let least = plain.iter().fold(u8::MAX, |least, &byte| least.min(byte));
    if least < 0x20 { rest } else { tail }
}

const fn is_special(byte: u8) -> bool {
    (byte == b'"') | (byte == b'\\') | (byte < 0x20)
}

/// A high bit in the lowest lane that holds a special byte; higher lanes may carry false hits, which nobody reads.
const fn special_lanes(word: u64) -> u64 {
    // With its second bit turned over a quote is 0x20, just above the control characters, which stay below it; what stood in between goes above.
    let quote_or_control = (word ^ (LANES * 0x02)).wrapping_sub(LANES * 0x21);
    let slash = (word ^ (LANES * b'\\' as u64)).wrapping_sub(LANES);
    // All that is looked for is ASCII, so a byte with its high bit set is none of it.
    (quote_or_control | slash) & !word & HIGH
}

/// Value of four hexadecimal digits.
pub(super) fn hex4(digits: [u8; 4]) -> Option<u16> {
    digits.iter().try_fold(0_u16, |sum, &digit| {
        let value = char::from(digit).to_digit(16)?;
        Some((sum << 4) | u16::try_from(value).ok()?)
    })
}

/// The text of a validated string, given without its quotes.
pub(super) fn decode(raw: &[u8]) -> Cow<'_, str> {
    if memchr::memchr(b'\\', raw).is_none() {
        return Cow::Borrowed(simdutf8::basic::from_utf8(raw).unwrap_or_default());
    }
    let mut out = Vec::with_capacity(raw.len());
    unescape(raw, &mut out);
    Cow::Owned(String::from_utf8(out).unwrap_or_default())
}

/// Appends the unescaped bytes of a validated string to `out`. Text that was not validated loses its broken escapes.
pub(super) fn unescape(raw: &[u8], out: &mut Vec<u8>) {
    let mut rest = raw;
    while let Some(at) = memchr::memchr(b'\\', rest) {
        let (plain, escape) = rest.split_at(at);
        out.extend_from_slice(plain);
        rest = match escape {
            [_, b'u', tail @ ..] => unescape_unicode(tail, out),
            [_, simple, tail @ ..] => {
                out.push(match simple {
                    b'b' => 0x08,
                    b'f' => 0x0C,
                    b'n' => b'\n',
                    b'r' => b'\r',
                    b't' => b'\t',
                    other => *other,
                });
                tail
            }
            _ => &[],
        };
    }
    out.extend_from_slice(rest);
}

/// Takes what follows `\u`, and the second half of a surrogate pair with it.
fn unescape_unicode<'a>(text: &'a [u8], out: &mut Vec<u8>) -> &'a [u8] {
    let Some((digits, rest)) = text.split_first_chunk::<4>() else {
        return &[];
    };
    let unit = u32::from(hex4(*digits).unwrap_or(0xFFFD));
    let (code, rest) = match rest {
        [b'\\', b'u', a, b, c, d, tail @ ..] if (0xD800..0xDC00).contains(&unit) => {
            let low = u32::from(hex4([*a, *b, *c, *d]).unwrap_or(0xDC00));
            (0x1_0000 + ((unit - 0xD800) << 10) + (low & 0x3FF), tail)
        }
        _ => (unit, rest),
    };
    let letter = char::from_u32(code).unwrap_or(char::REPLACEMENT_CHARACTER);
    out.extend_from_slice(letter.encode_utf8(&mut [0; 4]).as_bytes());
    rest
}
