//! Member names that one parser reads as a protocol member and the next does not.
//! Case-insensitive decoders also fold `ſ` (U+017F) and `K` (U+212A), and some cut a key at NUL; a key that only such a
//! decoder takes for a protocol member is refused, never corrected (I26).

use smallvec::SmallVec;

use super::scan::Level;

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

/// Longest folded name that can still equal a known one; what is longer is compared no further.
const LONGEST: usize = 64;

/// Whether `key` (unescaped) is a look-alike of a member that matters at this level.
pub(super) fn is_variant(level: Level, key: &[u8]) -> bool {
    let known = match level {
        Level::Other => return false,
        Level::Top => ENVELOPE,
        Level::Params => PARAMS,
        Level::Result => RESULT,
        Level::Error => ERROR,
        Level::ParamsMeta | Level::ResultMeta => META,
    };
    is_variant_of(known, key)
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
    if known.iter().any(|name| name.as_bytes() == key) {
        return false;
    }
    if key.iter().all(|byte| (1..0x80).contains(byte)) {
        return known
            .iter()
            .any(|name| name.as_bytes().eq_ignore_ascii_case(key));
    }
    folded(key).is_some_and(|key| {
        known
            .iter()
            .any(|name| name.as_bytes().eq_ignore_ascii_case(&key))
    })
}

/// The key as a lax decoder sees it; `None` when it is longer than any known name.
fn folded(key: &[u8]) -> Option<SmallVec<[u8; LONGEST]>> {
    let mut out = SmallVec::new();
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
        if out.len() == LONGEST {
            return None;
        }
        out.push(plain);
    }
    Some(out)
}
