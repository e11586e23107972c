//! One pass over the bytes: grammar, escapes, duplicate keys, depth and counts, and the offsets of the members that the
//! gateway decides by. No recursion, no tree, no number is converted; the cost is bounded by n·log n in the bytes.

mod lex;

use smallvec::SmallVec;

use super::{
    Known, Limits, Malformed, case,
    keys::Keys,
    outline::{Level, Member, Outline, Slot},
};

/// A stretch of the message, in bytes from its start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Span {
    pub start: u32,
    pub end: u32,
}

impl Span {
    /// Offsets fit because no text longer than 1 GiB is scanned.
    #[expect(clippy::cast_possible_truncation, reason = "scan_counting refuses texts of more than 1 GiB")]
    pub(super) const fn new(start: usize, end: usize) -> Self {
        Self { start: start as u32, end: end as u32 }
    }

    pub(super) fn of(self, bytes: &[u8]) -> &[u8] {
        bytes.get(self.start as usize..self.end as usize).unwrap_or_default()
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
    #[inline(always)]
    fn spend(&mut self, _: usize) {}
}

/// An open container.
#[derive(Clone, Copy)]
struct Frame {
    /// Number of keys on the stack before this object's own.
    keys_from: u32,
    /// Unescaped bytes kept before this object's own.
    arena_from: u32,
    /// Index of the current member in the outline, when this level is remembered.
    member: u32,
    /// The bracket that ends it; 0 for the outside of the whole text.
    closer: u8,
    level: Level,
    /// The level of an object opened as the value of the current member.
    below: Level,
}

struct Scanner<'a, W> {
    bytes: &'a [u8],
    limits: &'a Limits,
    mode: Mode,
    /// Arrays that need not be read once more, where they are members of the result.
    known: &'a [Known],
    frames: SmallVec<[Frame; 8]>,
    keys: Keys<'a>,
    outline: &'a mut Outline,
    work: &'a mut W,
    /// Why the scan stopped. Positions travel through the scan as plain numbers, which is twice as fast as a result of
    /// the full error type.
    flaw: Option<Malformed>,
}

/// Checks a whole text.
pub(super) fn scan(bytes: &[u8], mode: Mode, limits: &Limits) -> Result<Outline, Malformed> {
    let mut outline = Outline::default();
    scan_counting(bytes, mode, limits, &[], &mut outline, &mut Free)?;
    Ok(outline)
}

/// Checks a message of which some arrays may be known. The outline is filled where it stays: moving it costs as much as a dozen members.
pub(super) fn scan_knowing(
    bytes: &[u8],
    limits: &Limits,
    known: &[Known],
    outline: &mut Outline,
) -> Result<(), Malformed> {
    scan_counting(bytes, Mode::Message, limits, known, outline, &mut Free)
}

pub(super) fn scan_counting<W: Work>(
    bytes: &[u8],
    mode: Mode,
    limits: &Limits,
    known: &[Known],
    outline: &mut Outline,
    work: &mut W,
) -> Result<(), Malformed> {
    let most = limits.most_bytes();
    if bytes.len() > most {
        return Err(Malformed::TooLarge { limit: most });
    }
    if bytes.starts_with(&[0xEF, 0xBB, 0xBF]) {
        return Err(Malformed::ByteOrderMark);
    }
    if simdutf8::basic::from_utf8(bytes).is_err() {
        let at = simdutf8::compat::from_utf8(bytes).map_or_else(|error| error.valid_up_to(), str::len);
        return Err(Malformed::NotUtf8 { at });
    }
    let mut scanner = Scanner {
        bytes,
        limits,
        mode,
        known,
        frames: SmallVec::new(),
        keys: Keys::new(bytes),
        outline,
        work,
        flaw: None,
    };
    match scanner.run() {
        Some(root) => {
            scanner.outline.root = root;
            Ok(())
        }
        None => Err(scanner.flaw.unwrap_or(Malformed::Syntax { at: 0 })),
    }
}

impl<W: Work> Scanner<'_, W> {
    /// `None` from here on down means that `flaw` says why.
    fn run(&mut self) -> Option<Span> {
        let below = if self.mode == Mode::Value { Level::Other } else { Level::Top };
        let mut frame = Frame { keys_from: 0, arena_from: 0, member: 0, closer: 0, level: Level::Other, below };
        let mut values = 0_usize;
        let start = lex::space(self.bytes, 0);
        let mut at = start;
        loop {
            if frame.closer == b'}' {
                at = self.key(&mut frame, at)?;
            }
            values += 1;
            if values > self.limits.members {
                return self.fail(Malformed::TooManyMembers { limit: self.limits.members });
            }
            let first = lex::byte(self.bytes, at);
            at = match first {
                b'"' => self.string(at + 1)?.0,
                b'{' | b'[' => {
                    if frame.level == Level::Result
                        && let Some((end, inside)) = self.pass_known(at, values)
                    {
                        values += inside;
                        end
                    } else if self.frames.len() >= self.limits.depth {
                        return self.fail(Malformed::TooDeep { limit: self.limits.depth });
                    } else {
                        // The closing bracket stands two after the opening one in ASCII.
                        let closer = first + 2;
                        let inside = lex::space(self.bytes, at + 1);
                        if lex::byte(self.bytes, inside) != closer {
                            frame = self.open(frame, closer);
                            at = inside;
                            continue;
                        }
                        inside + 1
                    }
                }
                b'-' | b'0'..=b'9' => self.lexed(lex::number(self.bytes, at))?,
                _ => self.lexed(lex::word(self.bytes, at))?,
            };
            // A value has ended: go on to the next one, out of every container that ends here.
            loop {
                if frame.closer == 0 {
                    return self.finish(start, at);
                }
                if frame.level != Level::Other {
                    self.outline.end(frame.member as usize, Span::new(at, at).end);
                }
                // Hardly any sender writes space here.
                let mut next = lex::byte(self.bytes, at);
                if next <= b' ' {
                    at = lex::space(self.bytes, at);
                    next = lex::byte(self.bytes, at);
                }
                if next == b',' {
                    at = lex::space(self.bytes, at + 1);
                    break;
                }
                if next != frame.closer {
                    return self.fail(Malformed::Syntax { at });
                }
                frame = self.close(frame)?;
                at += 1;
            }
        }
    }

    /// Where a known array that stands here ends, and how many values are in it. It adds no key and no member that anybody looks up.
    fn pass_known(&mut self, at: usize, values: usize) -> Option<(usize, usize)> {
        let (depth, all) = (self.frames.len(), self.known);
        let found = |known: &Known| Some((known.clone(), known.at(self.bytes, at, depth, values, self.limits)?));
        let (known, passed) = all.iter().find_map(found)?;
        self.outline.known = Some((known, Span::new(at, at).start));
        Some(passed)
    }

    fn finish(&mut self, start: usize, end: usize) -> Option<Span> {
        let at = lex::space(self.bytes, end);
        self.work.spend(at);
        if at < self.bytes.len() {
            return self.fail(Malformed::TrailingBytes { at });
        }
        Some(Span::new(start, end))
    }

    /// Puts the open container aside and gives the one inside it.
    #[inline(always)]
    fn open(&mut self, outer: Frame, closer: u8) -> Frame {
        let level = if closer == b'}' { outer.below } else { Level::Other };
        self.frames.push(outer);
        let (keys_from, arena_from) = self.keys.mark();
        Frame { keys_from, arena_from, member: 0, closer, level, below: Level::Other }
    }

    /// Checks what can only be checked at the end of an object, and gives the container around it.
    #[inline(always)]
    fn close(&mut self, frame: Frame) -> Option<Frame> {
        if frame.closer == b'}' {
            let forgiving = self.mode == Mode::Salvage && frame.level != Level::Top;
            if !forgiving && let Some(at) = self.keys.duplicate(frame.keys_from, self.work) {
                return self.fail(Malformed::DuplicateKey { at });
            }
            self.keys.rewind(frame.keys_from, frame.arena_from);
        }
        self.frames.pop()
    }

    /// Reads a key and its colon, and gives where the member's value starts.
    #[inline(always)]
    fn key(&mut self, frame: &mut Frame, at: usize) -> Option<usize> {
        if lex::byte(self.bytes, at) != b'"' {
            return self.fail(Malformed::Syntax { at });
        }
        let (after, escaped) = self.string(at + 1)?;
        let key = Span::new(at + 1, after - 1);
        let spelled = key.of(self.bytes);
        let count = self.keys.push(key, spelled, escaped);
        let mut colon = after;
        if lex::byte(self.bytes, colon) != b':' {
            colon = lex::space(self.bytes, after);
            if lex::byte(self.bytes, colon) != b':' {
                return self.fail(Malformed::Syntax { at: colon });
            }
        }
        let value = lex::space(self.bytes, colon + 1);
        if (count - frame.keys_from) as usize > self.limits.keys {
            return self.fail(Malformed::TooManyKeys { limit: self.limits.keys });
        }
        if frame.level != Level::Other {
            let level = frame.level;
            let text = if escaped { self.keys.last() } else { spelled };
            let slot = Slot::of(level, text);
            if slot.is_none() && self.mode == Mode::Message {
                self.work.spend(text.len());
                if case::is_variant(level, text) {
                    return self.fail(Malformed::CaseVariantKey { at: at + 1 });
                }
            }
            frame.below = slot.map_or(Level::Other, Slot::below);
            frame.member = Span::new(self.outline.len(), 0).start;
            self.outline.push(Member { level, escaped, key, value: Span::new(value, value) }, slot);
        }
        Some(value)
    }

    /// Reads from after the opening quote to after the closing one; true when there was an escape.
    #[inline(always)]
    fn string(&mut self, at: usize) -> Option<(usize, bool)> {
        let end = lex::plain_end(self.bytes, at);
        if lex::byte(self.bytes, end) == b'"' {
            return Some((end + 1, false));
        }
        let end = self.lexed(lex::rest_of_string(self.bytes, end))?;
        Some((end, true))
    }

    #[inline(always)]
    fn lexed(&mut self, read: Result<usize, lex::Flaw>) -> Option<usize> {
        match read {
            Ok(at) => Some(at),
            Err(lex::Flaw::Syntax(at)) => self.fail(Malformed::Syntax { at: at as usize }),
            Err(lex::Flaw::LoneSurrogate(at)) => self.fail(Malformed::LoneSurrogate { at: at as usize }),
        }
    }

    #[cold]
    fn fail<T>(&mut self, flaw: Malformed) -> Option<T> {
        self.flaw = Some(flaw);
        None
    }
}

#[cfg(test)]
mod tests;
