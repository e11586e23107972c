//! Member names that one parser reads as a protocol member and the next does not.
//! Case-insensitive decoders also fold `ſ` (U+017F) and `K` (U+212A), and some cut a key at NUL; a key that only such a
//! decoder takes for a protocol member is refused, never corrected (I26).

use smallvec::SmallVec;

use super::outline::Level;

const ENVELOPE: &[&str] = &["jsonrpc", "id", "method", "params", "result", "error"];

const PARAMS: &[&str] = &[
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
];

/// What filters and watchers look for in a result; a second spelling would slip past them to a lax client.
const RESULT: &[&str] = &[
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
];

const ERROR: &[&str] = &["code", "message", "data"];

const META: &[&str] = &[
    "progressToken",
    "io.modelcontextprotocol/protocolVersion",
    "io.modelcontextprotocol/clientCapabilities",
    "io.modelcontextprotocol/clientInfo",
    "io.modelcontextprotocol/serverInfo",
    "io.modelcontextprotocol/logLevel",
    "io.modelcontextprotocol/subscriptionId",
    "io.modelcontextprotocol/related-task",
    "io.modelcontextprotocol/tasks",
];

const REFERENCE: &[&str] = &["type", "name", "uri"];

const RESERVED: &[u8] = b"io.modelcontextprotocol/";

/// Longest folded name that can still equal a known one; what is longer is compared no further.
const LONGEST: usize = 64;

/// Whether `key` (unescaped) is a look-alike of a member that matters at this level.
pub(super) fn is_variant(level: Level, key: &[u8]) -> bool {
    match level {
        Level::Other => false,
        Level::Top => is_variant_of(ENVELOPE, key),
        Level::Params => is_variant_of(PARAMS, key),
        Level::Result => is_variant_of(RESULT, key),
        Level::Error => is_variant_of(ERROR, key),
        Level::ParamsMeta | Level::ResultMeta => is_variant_of(META, key) || is_reserved_variant(key),
    }
}

/// The same for the object that `completion/complete` points with.
pub(super) fn is_reference_variant(key: &[u8]) -> bool {
    is_variant_of(REFERENCE, key)
}

/// Whether a lax reader could take `key` for the message's id.
pub(super) fn is_id_variant(key: &[u8]) -> bool {
    is_variant_of(&["id"], key)
}

fn is_variant_of(known: &[&str], key: &[u8]) -> bool {
    if !is_plain(key) {
        return reads_as(known, key);
    }
    // Every member of every message comes here: nearly all are of another length than every name, or are the name itself.
    let mut alike = false;
    for name in known.iter().filter(|name| name.len() == key.len()) {
        if name.as_bytes() == key {
            return false;
        }
        alike |= name.as_bytes().eq_ignore_ascii_case(key);
    }
    alike
}

/// Whether every decoder reads the same text, letter case aside.
fn is_plain(key: &[u8]) -> bool {
    key.iter().all(|byte| matches!(byte, 1..=0x7F))
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
