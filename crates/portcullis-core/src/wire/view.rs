//! A cheap cursor over JSON that the scanner has accepted. Nothing is copied until a string with escapes is read.
//! It must never be made over text that was not scanned: it trusts the grammar and only stays within bounds.

mod search;
mod tokens;

use std::{borrow::Cow, fmt, iter::FusedIterator};

pub use self::{
    search::{Search, TooFar},
    tokens::{Token, Tokens},
};
use super::{
    Limits, Malformed,
    scan::{Mode, Span, scan},
    text,
};

/// Bytes of a string from which on searching with wide registers is worth its set-up.
const SHORT: usize = 64;

/// What a JSON value is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum JsonKind {
    Null,
    Bool,
    Number,
    String,
    Array,
    Object,
}

/// One JSON value inside a validated text.
#[derive(Clone, Copy)]
pub struct View<'a> {
    /// Exactly the value, no space around it.
    bytes: &'a [u8],
    /// Where it starts in the text that was scanned.
    at: u32,
    /// A string that is known to hold no escape.
    plain: bool,
}

/// Checks any JSON text as strictly as a message (duplicate keys, depth, counts, UTF-8, surrogates, trailing bytes).
///
/// # Errors
/// The first rule of the scan that the text breaks.
pub fn view_json<'a>(bytes: &'a [u8], limits: &Limits) -> Result<View<'a>, Malformed> {
    let outline = scan(bytes, Mode::Value, limits)?;
    Ok(View::new(bytes, outline.root))
}

impl<'a> View<'a> {
    pub(super) fn new(text: &'a [u8], span: Span) -> Self {
        Self { bytes: span.of(text), at: span.start, plain: false }
    }

    #[must_use]
    pub fn kind(self) -> JsonKind {
        match self.bytes.first() {
            Some(b'"') => JsonKind::String,
            Some(b'{') => JsonKind::Object,
            Some(b'[') => JsonKind::Array,
            Some(b't' | b'f') => JsonKind::Bool,
            Some(b'-' | b'0'..=b'9') => JsonKind::Number,
            _ => JsonKind::Null,
        }
    }

    /// The value's bytes as written.
    #[must_use]
    pub fn raw(self) -> &'a [u8] {
        self.bytes
    }

    /// The value's text as written.
    #[must_use]
    pub fn text(self) -> &'a str {
        simdutf8::basic::from_utf8(self.bytes).unwrap_or_default()
    }

    /// Where the value stands in the text that was scanned.
    #[must_use]
    pub fn span(self) -> Span {
        let len = u32::try_from(self.bytes.len()).unwrap_or(u32::MAX);
        Span { start: self.at, end: self.at.saturating_add(len) }
    }

    /// The string with its escapes undone; borrowed when there are none.
    #[must_use]
    pub fn as_str(self) -> Option<Cow<'a, str>> {
        self.string_body().map(|text| Body { text, plain: self.plain }.decode())
    }

    /// The text between a string's quotes, escapes and all.
    pub(super) fn string_body(self) -> Option<&'a [u8]> {
        match self.bytes {
            [b'"', body @ .., b'"'] => Some(body),
            _ => None,
        }
    }

    #[must_use]
    pub fn as_bool(self) -> Option<bool> {
        match self.bytes {
            b"true" => Some(true),
            b"false" => Some(false),
            _ => None,
        }
    }

    /// Whether this is a number of plain digits, whatever its size.
    pub(super) fn is_integer(self) -> bool {
        match self.bytes {
            [b'-', digits @ ..] | digits => !digits.is_empty() && digits.iter().all(u8::is_ascii_digit),
        }
    }

    /// The integer, when it is written as plain digits and fits; `1.0` and `1e3` are not integers here, because peers
    /// disagree about them.
    #[must_use]
    pub fn as_i64(self) -> Option<i64> {
        self.number()?.parse().ok()
    }

    /// The number as written.
    #[must_use]
    pub fn number(self) -> Option<&'a str> {
        (self.kind() == JsonKind::Number).then(|| self.text())
    }

    #[must_use]
    pub fn is_null(self) -> bool {
        self.kind() == JsonKind::Null
    }

    /// The members of an object in their order; nothing for any other value.
    #[must_use]
    pub fn members(self) -> Members<'a> {
        let is_object = self.kind() == JsonKind::Object;
        Members { cursor: self.inside(is_object) }
    }

    /// The members of an object, for those to whom a long search is not worth it: `effort` is how many bytes may be looked at, of which a
    /// string's value takes one for 32 up to its first escape.
    #[must_use]
    pub fn search(self, effort: usize) -> Search<'a> {
        let is_object = self.kind() == JsonKind::Object;
        Search::new(self.inside(is_object), effort)
    }

    /// The elements of an array in their order; nothing for any other value.
    #[must_use]
    pub fn elements(self) -> Elements<'a> {
        let is_array = self.kind() == JsonKind::Array;
        Elements { cursor: self.inside(is_array) }
    }

    /// The member of that name, by its unescaped spelling.
    #[must_use]
    pub fn get(self, name: &str) -> Option<Self> {
        let mut members = self.members();
        loop {
            let (key, value) = members.step()?;
            if key.is(name) {
                return Some(value);
            }
        }
    }

    /// Follows names from object to object.
    #[must_use]
    pub fn path(self, names: &[&str]) -> Option<Self> {
        names.iter().try_fold(self, |view, name| view.get(name))
    }

    /// Everything in this value, in order, in one pass. Walking with `members` and `elements` looks at inner text once
    /// for each level around it; this looks at every byte once.
    #[must_use]
    pub fn tokens(self) -> Tokens<'a> {
        Tokens::new(Cursor { bytes: self.bytes, pos: 0, at: self.at })
    }

    fn inside(self, applies: bool) -> Cursor<'a> {
        let bytes = if applies { self.bytes } else { &[] };
        Cursor { bytes, pos: 1, at: self.at }
    }
}

/// What stands between a string's quotes, and whether it is known to hold no escape: whoever looked for its end knows.
#[derive(Clone, Copy, Debug)]
struct Body<'a> {
    text: &'a [u8],
    plain: bool,
}

impl<'a> Body<'a> {
    fn decode(self) -> Cow<'a, str> {
        if self.plain {
            return Cow::Borrowed(simdutf8::basic::from_utf8(self.text).unwrap_or_default());
        }
        text::decode(self.text)
    }

    fn is(self, name: &str) -> bool {
        self.text == name.as_bytes() || (!self.plain && text::decode(self.text) == name)
    }
}

/// Shows what the value is, never what it says: messages carry secrets.
impl fmt::Debug for View<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "View({:?}, {} bytes at {})", self.kind(), self.bytes.len(), self.at)
    }
}

#[derive(Clone, Copy, Debug)]
struct Cursor<'a> {
    bytes: &'a [u8],
    pos: usize,
    at: u32,
}

impl<'a> Cursor<'a> {
    /// Passes space, commas and colons, and stands at something.
    fn next_byte(&mut self) -> Option<u8> {
        loop {
            let byte = *self.bytes.get(self.pos)?;
            if !matches!(byte, b' ' | b'\t' | b'\n' | b'\r' | b',' | b':') {
                return Some(byte);
            }
            self.pos += 1;
        }
    }

    /// Reads the string at the cursor.
    fn string(&mut self) -> Body<'a> {
        let start = self.pos + 1;
        let plain;
        (self.pos, plain) = string_end(self.bytes, start);
        Body { text: self.bytes.get(start..self.pos.saturating_sub(1)).unwrap_or_default(), plain }
    }

    /// Reads the value at the cursor.
    fn value(&mut self) -> View<'a> {
        let start = self.pos;
        if self.bytes.get(start) == Some(&b'"') {
            let plain = self.string().plain;
            return self.view(start, plain);
        }
        self.pos = value_end(self.bytes, start);
        self.view(start, false)
    }

    fn view(&self, start: usize, plain: bool) -> View<'a> {
        let at = self.at.saturating_add(u32::try_from(start).unwrap_or(u32::MAX));
        View { bytes: self.bytes.get(start..self.pos).unwrap_or_default(), at, plain }
    }
}

/// The position after the closing quote of a string whose inside starts at `pos`, and whether there is no escape in it.
fn string_end(bytes: &[u8], mut pos: usize) -> (usize, bool) {
    let mut plain = true;
    loop {
        let rest = bytes.get(pos..).unwrap_or_default();
        pos += match rest.split_at_checked(SHORT) {
            Some((short, long)) => match text::plain_prefix(short) {
                // Control characters cannot stand in scanned text, so only two bytes are looked for.
                SHORT => SHORT + memchr::memchr2(b'"', b'\\', long).unwrap_or(long.len()),
                plain => plain,
            },
            None => text::plain_prefix(rest),
        };
        match bytes.get(pos) {
            Some(b'"') => return (pos + 1, plain),
            Some(b'\\') => (pos, plain) = (pos + 2, false),
            Some(_) => pos += 1,
            None => return (bytes.len(), plain),
        }
    }
}

/// The position after the value that starts at `pos`.
fn value_end(bytes: &[u8], mut pos: usize) -> usize {
    let mut depth = 0_usize;
    loop {
        match bytes.get(pos) {
            Some(b'"') => pos = string_end(bytes, pos + 1).0,
            Some(b'{' | b'[') => {
                depth += 1;
                pos += 1;
                continue;
            }
            Some(b'}' | b']') => {
                depth = depth.saturating_sub(1);
                pos += 1;
            }
            Some(b' ' | b'\t' | b'\n' | b'\r' | b',' | b':') if depth > 0 => {
                pos += 1;
                continue;
            }
            Some(_) => pos = scalar_end(bytes, pos),
            None => return bytes.len(),
        }
        if depth == 0 {
            return pos.min(bytes.len());
        }
    }
}

/// The position after a number or a word.
fn scalar_end(bytes: &[u8], pos: usize) -> usize {
    let rest = bytes.get(pos..).unwrap_or_default();
    let ends = |byte: &u8| matches!(byte, b',' | b']' | b'}' | b' ' | b'\t' | b'\n' | b'\r' | b':' | b'"');
    // At least one byte, so that no caller can stand still.
    pos + rest.iter().position(ends).unwrap_or(rest.len()).max(1)
}

/// Iterator over an object's members.
#[derive(Clone, Debug)]
pub struct Members<'a> {
    cursor: Cursor<'a>,
}

impl<'a> Members<'a> {
    /// The next member's key, and where the member stands with its key.
    pub(super) fn next_span(&mut self) -> Option<(Cow<'a, str>, Span)> {
        self.cursor.next_byte()?;
        let start = self.cursor.view(self.cursor.pos, false).span().start;
        let (key, value) = self.step()?;
        Some((key.decode(), Span { start, end: value.span().end }))
    }

    fn step(&mut self) -> Option<(Body<'a>, View<'a>)> {
        if self.cursor.next_byte()? != b'"' {
            return None;
        }
        let key = self.cursor.string();
        self.cursor.next_byte()?;
        Some((key, self.cursor.value()))
    }
}

impl<'a> Iterator for Members<'a> {
    type Item = (Cow<'a, str>, View<'a>);

    fn next(&mut self) -> Option<Self::Item> {
        self.step().map(|(key, value)| (key.decode(), value))
    }
}

impl FusedIterator for Members<'_> {}

/// Iterator over an array's elements.
#[derive(Clone, Debug)]
pub struct Elements<'a> {
    cursor: Cursor<'a>,
}

impl<'a> Iterator for Elements<'a> {
    type Item = View<'a>;

    fn next(&mut self) -> Option<Self::Item> {
        match self.cursor.next_byte()? {
            b']' => None,
            _ => Some(self.cursor.value()),
        }
    }
}

impl FusedIterator for Elements<'_> {}

#[cfg(test)]
mod tests;
