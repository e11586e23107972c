//! How much of a message the reader is willing to look at.
//! Every limit is checked while scanning, so a refused message never costs more than its limit.

/// Bounds on one message. Each default is far above honest traffic and far below what hurts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of the whole text. 4 MiB: tool results with an inlined image reach 1–3 MiB; what is larger belongs in a
    /// resource. Values above 1 GiB act as 1 GiB, because offsets are 32 bit.
    pub bytes: usize,
    /// Nested arrays and objects, the envelope included. 64: JSON Schemas in `tools/list` reach about 20, and recursive
    /// parsers behind the gateway start to fail at 100–128.
    pub depth: usize,
    /// Members of one object. 4096: the largest honest objects (maps in structured results) hold hundreds.
    pub keys: usize,
    /// JSON values in the whole message, containers included. 262,144: at 4 MiB that is 16 bytes for each value;
    /// denser text is made to be expensive for whoever builds a tree from it.
    pub members: usize,
    /// Bytes of an id or progress token, as written. 256: honest ids are counters and UUIDs; ids are kept in memory while
    /// a call runs.
    pub id: usize,
    /// Bytes of a method, tool name, prompt name, task id or URI, as written. 2048: names have at most 128 characters
    /// (C52), URIs follow the customary limit of browsers and proxies.
    pub name: usize,
    /// Messages in one batch. 64: batches exist in 2025-03-26 only (A7) and each item is judged alone.
    pub batch: usize,
}

/// The largest text whose offsets fit the scanner's 32 bits with room for its flags.
const MOST_BYTES: usize = 1 << 30;

impl Limits {
    /// The byte limit in force: what was asked for, but never more than 1 GiB.
    pub(super) fn most_bytes(&self) -> usize {
        self.bytes.min(MOST_BYTES)
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self { bytes: 4 << 20, depth: 64, keys: 4096, members: 1 << 18, id: 256, name: 2048, batch: 64 }
    }
}
