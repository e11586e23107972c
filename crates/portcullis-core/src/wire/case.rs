//! Member names that one parser reads as a protocol member and the next does not.
//! Case-insensitive decoders also fold `ſ` (U+017F) and `K` (U+212A), and some cut a key at NUL; a key that only such a
//! decoder takes for a protocol member is refused, never corrected (I26).

use smallvec::SmallVec;

use super::outline::Level;

const ENVELOPE: Names<6> = Names::new(["jsonrpc", "id", "method", "params", "result", "error"]);

const PARAMS: Names<17> = Names::new([
    "name",
    "arguments",
    "_meta",
    "uri",
    "cursor",
    "task",
    "taskId",
    "ref",
    "argument",
    "protocolVersion",
    "capabilities",
    "clientInfo",
    "requestId",
    "progressToken",
    "inputResponses",
    "requestState",
    "level",
]);

/// What filters and watchers look for in a result; a second spelling would slip past them to a lax client.
const RESULT: Names<25> = Names::new([
    "_meta",
    "content",
    "structuredContent",
    "isError",
    "resultType",
    "inputRequests",
    "requestState",
    "nextCursor",
    "tools",
    "resources",
    "resourceTemplates",
    "prompts",
    "contents",
    "messages",
    "completion",
    "instructions",
    "capabilities",
    "serverInfo",
    "protocolVersion",
    "supportedVersions",
    "task",
    "tasks",
    "taskId",
    "ttlMs",
    "cacheScope",
]);

const ERROR: Names<3> = Names::new(["code", "message", "data"]);

const META: Names<9> = Names::new([
    "progressToken",
    "io.modelcontextprotocol/protocolVersion",
    "io.modelcontextprotocol/clientCapabilities",
    "io.modelcontextprotocol/clientInfo",
    "io.modelcontextprotocol/serverInfo",
    "io.modelcontextprotocol/logLevel",
    "io.modelcontextprotocol/subscriptionId",
    "io.modelcontextprotocol/related-task",
    "io.modelcontextprotocol/tasks",
]);

const ID: Names<1> = Names::new(["id"]);

const REFERENCE: Names<3> = Names::new(["type", "name", "uri"]);

const RESERVED: &[u8] = b"io.modelcontextprotocol/";

/// Longest folded name that can still equal a known one; what is longer is compared no further.
const LONGEST: usize = 64;

/// Whether `key` (unescaped) is a look-alike of a member that matters at this level.
pub(super) fn is_variant(level: Level, key: &[u8]) -> bool {
    match level {
        Level::Other => false,
        Level::Top => ENVELOPE.have_variant(key),
        Level::Params => PARAMS.have_variant(key),
        Level::Result => RESULT.have_variant(key),
        Level::Error => ERROR.have_variant(key),
        Level::ParamsMeta | Level::ResultMeta => META.have_variant(key) || is_reserved_variant(key),
    }
}

/// The same for the object that `completion/complete` points with.
pub(super) fn is_reference_variant(key: &[u8]) -> bool {
    REFERENCE.have_variant(key)
}

/// Whether a lax reader could take `key` for the message's id.
pub(super) fn is_id_variant(key: &[u8]) -> bool {
    ID.have_variant(key)
}

/// Names that matter somewhere.
struct Names<const N: usize> {
    names: [&'static str; N],
    /// Length and first letter of each. Every member of every message comes here, and nearly all differ in these from every name; they are
    /// compared many at once.
    signs: [u16; N],
}

impl<const N: usize> Names<N> {
    const fn new(names: [&'static str; N]) -> Self {
        let mut signs = [0; N];
        let (mut rest, mut left) = (names.as_slice(), signs.as_mut_slice());
        while let ([name, names @ ..], [place, places @ ..]) = (rest, left) {
            *place = sign(name.as_bytes());
            (rest, left) = (names, places);
        }
        Self { names, signs }
    }

    fn have_variant(&self, key: &[u8]) -> bool {
        if !is_plain(key) {
            return reads_as(&self.names, key);
        }
        let looked_for = sign(key);
        if !self.signs.iter().fold(false, |found, sign| found | (*sign == looked_for)) {
            return false;
        }
        let mut alike = false;
        for name in self.names.iter().filter(|name| name.len() == key.len()) {
            if name.as_bytes() == key {
                return false;
            }
            alike |= name.as_bytes().eq_ignore_ascii_case(key);
        }
        alike
    }
}

/// What two plain spellings of one name have in common: the length, of which the lowest eight bits, and the first letter.
#[expect(clippy::cast_possible_truncation, reason = "a longer name with the same sign is compared")]
const fn sign(name: &[u8]) -> u16 {
    let first = match name.first() {
        Some(first) => first.to_ascii_lowercase(),
        None => 0,
    };
    u16::from_le_bytes([name.len() as u8, first])
}

/// Whether every decoder reads the same text, letter case aside.
fn is_plain(key: &[u8]) -> bool {
    let (words, rest) = key.as_chunks::<8>();
    let plain_word = |word: &[u8; 8]| {
        let word = u64::from_le_bytes(*word);
        // A zero borrows, and no plain byte does.
        (word | word.wrapping_sub(u64::from_le_bytes([1; 8]))) & u64::from_le_bytes([0x80; 8]) == 0
    };
    words.iter().all(plain_word) && rest.iter().all(|byte| matches!(byte, 1..=0x7F))
}

/// Whether `key` is one of `known`, or a lax reader could take it for one.
pub(crate) fn reads_as(known: &[&str], key: &[u8]) -> bool {
    let alike = |key: &[u8]| known.iter().any(|name| name.as_bytes().eq_ignore_ascii_case(key));
    if is_plain(key) {
        return alike(key);
    }
    let folded = Folded::of(key);
    folded.is_whole && alike(&folded.start)
}

/// Reserved keys are reserved whatever follows their prefix, so any second spelling of the prefix is refused.
fn is_reserved_variant(key: &[u8]) -> bool {
    // Cheap for the common case: only these can fold to the prefix's first letter.
    if key.starts_with(RESERVED) || !matches!(key.first(), Some(b'i' | b'I' | 0)) {
        return false;
    }
    let folded = Folded::of(key);
    folded.start.get(..RESERVED.len()).is_some_and(|start| start.eq_ignore_ascii_case(RESERVED))
}

/// A key as a lax decoder sees it, letter case aside.
struct Folded {
    start: SmallVec<[u8; LONGEST]>,
    /// Whether nothing was cut off.
    is_whole: bool,
}

impl Folded {
    fn of(key: &[u8]) -> Self {
        let mut start = SmallVec::new();
        let mut rest = key;
        while let Some((&byte, tail)) = rest.split_first() {
            rest = tail;
            let plain = match (byte, tail) {
                (0, _) => continue,
                (0xC5, [0xBF, tail @ ..]) => {
                    rest = tail;
                    b's'
                }
                (0xE2, [0x84, 0xAA, tail @ ..]) => {
                    rest = tail;
                    b'k'
                }
                _ => byte,
            };
            if start.len() == LONGEST {
                return Self { start, is_whole: false };
            }
            start.push(plain);
        }
        Self { start, is_whole: true }
    }
}

#[cfg(test)]
mod tests;
