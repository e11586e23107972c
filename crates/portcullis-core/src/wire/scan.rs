//! One pass over the bytes: grammar, escapes, duplicate keys, depth and counts, and the offsets of the members that the
//! gateway decides by. No recursion, no tree, no number is converted; the cost is bounded by n·log n in the bytes.

use smallvec::SmallVec;

use super::{Limits, Malformed, case, keys::Keys, text};

/// A stretch of the message, in bytes from its start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Span {
    pub start: u32,
    pub end: u32,
}

impl Span {
    pub(super) fn of(self, bytes: &[u8]) -> &[u8] {
        bytes
            .get(self.start as usize..self.end as usize)
            .unwrap_or_default()
    }
}

/// Which object a member belongs to. Members of all other objects are checked but not remembered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Level {
    Other,
    Top,
    Params,
    ParamsMeta,
    Result,
    ResultMeta,
    Error,
}

impl Level {
    /// The level of an object that is the value of `key` in an object of this level.
    fn below(self, key: &[u8]) -> Self {
        match (self, key) {
            (Self::Top, b"params") => Self::Params,
            (Self::Top, b"result") => Self::Result,
            (Self::Top, b"error") => Self::Error,
            (Self::Params, b"_meta") => Self::ParamsMeta,
            (Self::Result, b"_meta") => Self::ResultMeta,
            _ => Self::Other,
        }
    }
}

/// One remembered member. `key` is the text between the quotes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Member {
    pub(super) level: Level,
    pub(super) escaped: bool,
    pub(super) key: Span,
    pub(super) value: Span,
}

/// What the scan remembers.
#[derive(Clone, Debug, Default)]
pub(super) struct Outline {
    pub(super) root: Span,
    pub(super) members: SmallVec<[Member; 12]>,
}

impl Outline {
    /// The member of that name, by its unescaped spelling.
    pub(super) fn member(&self, bytes: &[u8], level: Level, name: &str) -> Option<&Member> {
        self.level(level).find(|member| {
            let key = member.key.of(bytes);
            if member.escaped {
                text::decode(key) == name
            } else {
                key == name.as_bytes()
            }
        })
    }

    pub(super) fn level(&self, level: Level) -> impl Iterator<Item = &Member> {
        self.members
            .iter()
            .filter(move |member| member.level == level)
    }
}

/// How much of the rules applies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mode {
    /// Any JSON value; no members are remembered.
    Value,
    /// One JSON-RPC message.
    Message,
    /// A message that was refused already: only its own top level has to be unambiguous.
    Salvage,
}

/// Counts work in tests; free of cost otherwise.
pub(super) trait Work {
    fn spend(&mut self, units: usize);
}

/// Counts nothing.
pub(super) struct Free;

impl Work for Free {
    fn spend(&mut self, _: usize) {}
}

#[derive(Clone, Copy)]
struct Frame {
    is_object: bool,
    level: Level,
    /// The level of an object opened as the value of the current member.
    below: Level,
    /// Index of the current member in the outline, when this level is remembered.
    member: usize,
    /// Number of keys on the stack before this object's own.
    keys_from: usize,
    /// Unescaped bytes kept before this object's own.
    arena_from: usize,
}

struct Scanner<'a, W> {
    bytes: &'a [u8],
    at: usize,
    limits: &'a Limits,
    mode: Mode,
    values: usize,
    frames: SmallVec<[Frame; 8]>,
    keys: Keys<'a>,
    members: SmallVec<[Member; 12]>,
    work: &'a mut W,
}

/// Checks a whole text.
pub(super) fn scan(bytes: &[u8], mode: Mode, limits: &Limits) -> Result<Outline, Malformed> {
    scan_counting(bytes, mode, limits, &mut Free)
}

pub(super) fn scan_counting<W: Work>(
    bytes: &[u8],
    mode: Mode,
    limits: &Limits,
    work: &mut W,
) -> Result<Outline, Malformed> {
    let most = limits.most_bytes();
    if bytes.len() > most {
        return Err(Malformed::TooLarge { limit: most });
    }
    if bytes.starts_with(&[0xEF, 0xBB, 0xBF]) {
        return Err(Malformed::ByteOrderMark);
    }
    if simdutf8::basic::from_utf8(bytes).is_err() {
        let at =
            simdutf8::compat::from_utf8(bytes).map_or_else(|error| error.valid_up_to(), str::len);
        return Err(Malformed::NotUtf8 { at });
    }
    let mut scanner = Scanner {
        bytes,
        at: 0,
        limits,
        mode,
        values: 0,
        frames: SmallVec::new(),
        keys: Keys::new(bytes),
        members: SmallVec::new(),
        work,
    };
    let root = scanner.run()?;
    Ok(Outline {
        root,
        members: scanner.members,
    })
}

/// Offsets fit because no text longer than 1 GiB is scanned.
#[expect(
    clippy::cast_possible_truncation,
    reason = "scan_counting refuses texts of more than 1 GiB"
)]
const fn offset(at: usize) -> u32 {
    at as u32
}

impl<W: Work> Scanner<'_, W> {
    fn run(&mut self) -> Result<Span, Malformed> {
        self.skip_space();
        let start = offset(self.at);
        loop {
            if self.value()? {
                continue;
            }
            if !self.after_value()? {
                break;
            }
        }
        let end = offset(self.at);
        self.skip_space();
        self.work.spend(self.at);
        if self.at < self.bytes.len() {
            return Err(Malformed::TrailingBytes { at: self.at });
        }
        Ok(Span { start, end })
    }

    /// Reads one value, or the opening of a container with something in it (then true: the next value follows).
    fn value(&mut self) -> Result<bool, Malformed> {
        self.values += 1;
        if self.values > self.limits.members {
            return Err(Malformed::TooManyMembers {
                limit: self.limits.members,
            });
        }
        match self.peek() {
            Some(b'"') => {
                self.at += 1;
                self.string()?;
            }
            Some(b'{') => return self.open(true),
            Some(b'[') => return self.open(false),
            Some(b'-' | b'0'..=b'9') => self.number()?,
            Some(b't') => self.word(b"true")?,
            Some(b'f') => self.word(b"false")?,
            Some(b'n') => self.word(b"null")?,
            _ => return Err(self.syntax()),
        }
        Ok(false)
    }

    fn open(&mut self, is_object: bool) -> Result<bool, Malformed> {
        if self.frames.len() >= self.limits.depth {
            return Err(Malformed::TooDeep {
                limit: self.limits.depth,
            });
        }
        let level = match self.frames.last() {
            _ if !is_object => Level::Other,
            Some(parent) => parent.below,
            None if self.mode == Mode::Value => Level::Other,
            None => Level::Top,
        };
        self.at += 1;
        self.skip_space();
        if self.peek() == Some(if is_object { b'}' } else { b']' }) {
            self.at += 1;
            return Ok(false);
        }
        let (keys_from, arena_from) = self.keys.mark();
        self.frames.push(Frame {
            is_object,
            level,
            below: Level::Other,
            member: 0,
            keys_from,
            arena_from,
        });
        if is_object {
            self.key()?;
        }
        Ok(true)
    }

    /// What follows a value: the next value of its container (then true), or the end of containers up to the root.
    fn after_value(&mut self) -> Result<bool, Malformed> {
        loop {
            let Some(&frame) = self.frames.last() else {
                return Ok(false);
            };
            if frame.level != Level::Other
                && let Some(member) = self.members.get_mut(frame.member)
            {
                member.value.end = offset(self.at);
            }
            self.skip_space();
            match (self.peek(), frame.is_object) {
                (Some(b','), true) => {
                    self.at += 1;
                    self.skip_space();
                    self.key()?;
                    return Ok(true);
                }
                (Some(b','), false) => {
                    self.at += 1;
                    self.skip_space();
                    return Ok(true);
                }
                (Some(b'}'), true) => self.close_object(frame)?,
                (Some(b']'), false) => {}
                _ => return Err(self.syntax()),
            }
            self.at += 1;
            self.frames.pop();
        }
    }

    fn close_object(&mut self, frame: Frame) -> Result<(), Malformed> {
        let forgiving = self.mode == Mode::Salvage && frame.level != Level::Top;
        let twice = if forgiving {
            None
        } else {
            self.keys.duplicate(frame.keys_from, self.work)
        };
        self.keys.rewind(frame.keys_from, frame.arena_from);
        twice.map_or(Ok(()), |at| Err(Malformed::DuplicateKey { at }))
    }

    /// Reads a key and its colon, and stands at the member's value.
    fn key(&mut self) -> Result<(), Malformed> {
        if self.peek() != Some(b'"') {
            return Err(self.syntax());
        }
        self.at += 1;
        let start = self.at;
        let escaped = self.string()?;
        let end = self.at - 1;
        let span = Span {
            start: offset(start),
            end: offset(end),
        };
        self.keys.push(span, escaped);
        self.skip_space();
        if self.peek() != Some(b':') {
            return Err(self.syntax());
        }
        self.at += 1;
        self.skip_space();
        let value = Span {
            start: offset(self.at),
            end: offset(self.at),
        };
        let Some(frame) = self.frames.last_mut() else {
            return Ok(());
        };
        if self.keys.len() - frame.keys_from > self.limits.keys {
            return Err(Malformed::TooManyKeys {
                limit: self.limits.keys,
            });
        }
        if frame.level != Level::Other {
            let key = self.keys.last();
            if self.mode == Mode::Message && case::is_variant(frame.level, key) {
                return Err(Malformed::CaseVariantKey { at: start });
            }
            frame.below = frame.level.below(key);
            frame.member = self.members.len();
            self.members.push(Member {
                level: frame.level,
                escaped,
                key: span,
                value,
            });
        }
        Ok(())
    }

    /// Reads to the closing quote; true when there was an escape.
    fn string(&mut self) -> Result<bool, Malformed> {
        let mut escaped = false;
        loop {
            let rest = self.bytes.get(self.at..).unwrap_or_default();
            self.at += text::plain_prefix(rest);
            match self.peek() {
                Some(b'"') => {
                    self.at += 1;
                    return Ok(escaped);
                }
                Some(b'\\') => {
                    escaped = true;
                    self.escape()?;
                }
                _ => return Err(self.syntax()),
            }
        }
    }

    fn escape(&mut self) -> Result<(), Malformed> {
        let start = self.at;
        self.at += 1;
        match self.peek() {
            Some(b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't') => {
                self.at += 1;
                return Ok(());
            }
            Some(b'u') => self.at += 1,
            _ => return Err(self.syntax()),
        }
        match self.four_digits()? {
            0xD800..0xDC00 => {
                if !self
                    .bytes
                    .get(self.at..)
                    .unwrap_or_default()
                    .starts_with(b"\\u")
                {
                    return Err(Malformed::LoneSurrogate { at: start });
                }
                self.at += 2;
                match self.four_digits()? {
                    0xDC00..0xE000 => Ok(()),
                    _ => Err(Malformed::LoneSurrogate { at: start }),
                }
            }
            0xDC00..0xE000 => Err(Malformed::LoneSurrogate { at: start }),
            _ => Ok(()),
        }
    }

    fn four_digits(&mut self) -> Result<u16, Malformed> {
        let rest = self.bytes.get(self.at..).unwrap_or_default();
        let unit = rest
            .first_chunk::<4>()
            .and_then(|digits| text::hex4(*digits))
            .ok_or_else(|| self.syntax())?;
        self.at += 4;
        Ok(unit)
    }

    /// The JSON number grammar. The value is never computed: large integers pass through exactly as written.
    fn number(&mut self) -> Result<(), Malformed> {
        if self.peek() == Some(b'-') {
            self.at += 1;
        }
        match self.peek() {
            Some(b'0') => self.at += 1,
            _ => self.digits()?,
        }
        if self.peek() == Some(b'.') {
            self.at += 1;
            self.digits()?;
        }
        if let Some(b'e' | b'E') = self.peek() {
            self.at += 1;
            if let Some(b'+' | b'-') = self.peek() {
                self.at += 1;
            }
            self.digits()?;
        }
        Ok(())
    }

    fn digits(&mut self) -> Result<(), Malformed> {
        let start = self.at;
        while let Some(b'0'..=b'9') = self.peek() {
            self.at += 1;
        }
        if self.at == start {
            Err(self.syntax())
        } else {
            Ok(())
        }
    }

    fn word(&mut self, word: &[u8]) -> Result<(), Malformed> {
        if !self
            .bytes
            .get(self.at..)
            .unwrap_or_default()
            .starts_with(word)
        {
            return Err(self.syntax());
        }
        self.at += word.len();
        Ok(())
    }

    fn skip_space(&mut self) {
        while let Some(b' ' | b'\t' | b'\n' | b'\r') = self.peek() {
            self.at += 1;
        }
    }

    fn peek(&self) -> Option<u8> {
        self.bytes.get(self.at).copied()
    }

    fn syntax(&self) -> Malformed {
        Malformed::Syntax { at: self.at }
    }
}

#[cfg(test)]
mod tests;
