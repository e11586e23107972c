//! What an operator says about call chains. Raw types mirror the file; `keys` and `verify` check them.

use std::collections::BTreeMap;
use std::path::Path;

use schemars::JsonSchema;
use serde::Deserialize;

use crate::Secret;

/// Call chains across agents and gateways (`X-Upstream-Agents`). Without a `gateway` name every request that carries a chain is refused:
/// a chain that is ignored would hide an agent from the policies.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ChainSettings {
    /// Name of this gateway in chains: what other gateways write as the audience of their entries, and what ours are signed as.
    pub gateway: Option<String>,
    /// The key table: with whose keys incoming entries are verified, and with which our own are signed.
    pub keys: Vec<ChainKey>,
    /// What is known of agents. One that is not listed has neither groups nor attributes; what it may do is up to the policies.
    pub agents: Vec<ChainAgent>,
    /// Whether a request without a chain is refused. Default false: most callers are the first in theirs.
    pub required: bool,
    /// Whether entries that are not signed (JSON objects with the same claims) are let through as *unverified*. Default false: anybody
    /// can write one. Policies see `context.chain.verified == false`, and such agents are not judged as principals.
    pub accept_unverified: bool,
    /// Entries of an incoming chain. Default 8: three or four hands are common in a delegation, and eight signed entries (500 bytes
    /// each) still fit into the 8 KiB of headers that many servers allow.
    pub max_depth: usize,
    /// Bytes of the whole header, incoming and outgoing. Default 8192: what many servers allow for all headers together.
    pub max_bytes: usize,
    /// Bytes of one entry. Default 2048: four times what one with names of usual length takes.
    pub max_entry_bytes: usize,
    /// Seconds an entry may be old. Default 600, as for signed requests: a person's approval at a gateway in between takes minutes.
    pub max_age_seconds: u64,
    /// Seconds by which the clocks of gateways may differ: an entry may come from that far in the future, or be that much older than the
    /// one before it. Default 60: they are servers with synchronized clocks.
    pub max_skew_seconds: u64,
}

impl Default for ChainSettings {
    fn default() -> Self {
        Self {
            gateway: None,
            keys: Vec::new(),
            agents: Vec::new(),
            required: false,
            accept_unverified: false,
            max_depth: 8,
            max_bytes: 8192,
            max_entry_bytes: 2048,
            max_age_seconds: 600,
            max_skew_seconds: 60,
        }
    }
}

/// One key of the table.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ChainKey {
    /// `kid` of entries made with it.
    pub key_id: String,
    /// The other gateway. `incoming`: whose entries the key verifies. `outgoing`: for whom it signs; an `ed25519` key without a `gateway`
    /// signs for all that have no key of their own.
    #[serde(default)]
    pub gateway: Option<String>,
    /// `ed25519`, which every gateway behind can verify, or `hs256`, which only holders of the shared key can.
    pub algorithm: ChainAlgorithm,
    /// Which way entries made with it travel.
    pub direction: Direction,
    /// The key itself. `ed25519`, incoming: the public key as PEM (`BEGIN PUBLIC KEY`) or its 32 bytes in base64url. `ed25519`, outgoing:
    /// the private key as PEM (`BEGIN PRIVATE KEY`, PKCS#8). `hs256`: the shared secret, at least 32 bytes, used as it is written (RFC
    /// 7518 §3.2). Secret ones only from a file or an environment variable.
    pub key: Secret,
    /// Whether signed entries *before* one made with this key count as verified although this gateway has no key for them. For shared keys
    /// between pairs of gateways, where only the next one can verify an entry: it did, and its own signature covers what it verified.
    /// Default false: believing a gateway's word about others is for the operator to decide. Incoming keys only.
    #[serde(default)]
    pub vouches: bool,
}

/// How entries are signed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ChainAlgorithm {
    /// `EdDSA` in the entry's header.
    Ed25519,
    /// `HS256` in the entry's header.
    Hs256,
}

/// Which way entries travel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Direction {
    /// To us: the key verifies.
    Incoming,
    /// From us: the key signs.
    Outgoing,
    /// Both ways; for shared keys.
    Both,
}

/// What is known of an agent.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ChainAgent {
    /// `sub` of its entries. Policies know it as `agent:NAME`.
    pub name: String,
    /// Groups it is in.
    pub groups: Vec<String>,
    /// Tags that policies read.
    pub attributes: BTreeMap<String, Vec<String>>,
}

impl ChainSettings {
    /// Relative files are those beside the configuration.
    pub fn relative_to(&mut self, folder: &Path) {
        for key in &mut self.keys {
            key.key.relative_to(folder);
        }
    }
}

impl Direction {
    pub(super) fn is_incoming(self) -> bool {
        matches!(self, Self::Incoming | Self::Both)
    }

    pub(super) fn is_outgoing(self) -> bool {
        matches!(self, Self::Outgoing | Self::Both)
    }
}
