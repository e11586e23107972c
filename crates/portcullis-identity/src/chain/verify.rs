//! Chains of others, entry by entry: how many, how large, in which order, for whom, for which request, when, and signed by whom. One
//! entry that is not good refuses the request.

use std::collections::HashMap;
use std::sync::Arc;

use http::HeaderMap;
use portcullis_core::caller::{Caller, Proof};
use portcullis_core::clock::Timestamp;
use portcullis_core::proofs::{Chain, Hop};
use portcullis_core::refusal::ProofFailure;
use portcullis_core::wire::{JsonKind, Limits, view_json};

use super::HEADER;
use super::entry::{Claims, Digest, Entry, Seal, is_name};
use super::keys::{self, SECTION, Trusted};
use super::settings::ChainSettings;
use crate::Failed;

/// `sub` of a hop whose gateway does not know its caller. Nobody in particular, so it is not the same agent when it comes twice.
pub(super) const NOBODY: &str = "anonymous";

/// Verifies incoming chains.
#[derive(Debug)]
pub struct ChainVerifier {
    gateway: Option<Arc<str>>,
    keys: Vec<Trusted>,
    agents: HashMap<String, Arc<Caller>>,
    settings: ChainSettings,
}

impl ChainVerifier {
    /// # Errors
    /// Settings that contradict themselves or keys that cannot be read; the text names the place.
    pub fn new(settings: &ChainSettings) -> Result<Self, String> {
        if settings.max_entry_bytes > settings.max_bytes {
            return Err(format!("{SECTION}.max_entry_bytes: more than {SECTION}.max_bytes"));
        }
        let mut agents = HashMap::new();
        for (at, agent) in settings.agents.iter().enumerate() {
            let place = format!("{SECTION}.agents[{at}].name");
            if !is_name(&agent.name) {
                return Err(format!("{place}: empty, too long or with control characters"));
            }
            let mut caller = caller(&agent.name, agent.groups.clone());
            caller.attributes.clone_from(&agent.attributes);
            if agents.insert(agent.name.clone(), Arc::new(caller)).is_some() {
                return Err(format!("{place}: another agent has it too"));
            }
        }
        let gateway = keys::own_name(settings)?.map(Arc::from);
        Ok(Self { gateway, keys: keys::trusted(settings)?, agents, settings: settings.clone() })
    }

    /// The chain of a request whose body has the SHA-256 `request`. No header is an empty chain, unless one is required.
    ///
    /// # Errors
    /// The first rule that an entry breaks.
    pub fn verify(&self, headers: &HeaderMap, request: [u8; 32], now: Timestamp) -> Result<Chain, Failed> {
        let entries = self.read(headers)?;
        if entries.is_empty() && self.settings.required {
            return Err(Failed::new(ProofFailure::ChainUnsigned, "no chain, and the configuration requires one"));
        }
        check_loops(&entries, self.gateway.as_deref())?;
        self.check_links(&entries, Digest(request))?;
        self.check_times(&entries, now)?;
        let verified = self.check_signatures(&entries)?;
        let hops: Vec<Hop> =
            entries.into_iter().zip(verified).map(|(entry, verified)| self.hop(entry, verified)).collect();
        Ok(Chain { hops })
    }

    fn read(&self, headers: &HeaderMap) -> Result<Vec<Entry>, Failed> {
        let malformed = |why: String| Failed::new(ProofFailure::ChainMalformed, why);
        let mut values = headers.get_all(&HEADER).iter();
        let Some(value) = values.next() else { return Ok(Vec::new()) };
        if values.next().is_some() {
            return Err(malformed("the header comes twice".to_owned()));
        }
        if value.len() > self.settings.max_bytes {
            return Err(malformed(format!("{} bytes; at most {}", value.len(), self.settings.max_bytes)));
        }
        // Entries are emitted again as they came, so what no header may hold is not let in.
        let text = value.to_str().map_err(|_| malformed("the header holds more than visible ASCII".to_owned()))?;
        let array = view_json(text.as_bytes(), &Limits::default())
            .map_err(|malformation| malformed(malformation.to_string()))?;
        if array.kind() != JsonKind::Array {
            return Err(malformed("the header is not a JSON array".to_owned()));
        }
        let mut entries = Vec::new();
        for item in array.elements() {
            let at = entries.len();
            if at >= self.settings.max_depth {
                let why = format!("more than {} entries", self.settings.max_depth);
                return Err(Failed::new(ProofFailure::ChainTooDeep, why));
            }
            if item.raw().len() > self.settings.max_entry_bytes {
                return Err(malformed(format!("entry {at}: more than {} bytes", self.settings.max_entry_bytes)));
            }
            entries.push(Entry::read(item).map_err(|failed| in_entry(at, failed))?);
        }
        Ok(entries)
    }

    /// Each entry follows from the one before it, was made for who comes next, and the last for us and this request. What an entry that
    /// is not signed leaves out cannot be checked; what it says is.
    fn check_links(&self, entries: &[Entry], request: Digest) -> Result<(), Failed> {
        let broken = |at: usize, why: &str| Err(in_entry(at, Failed::new(ProofFailure::ChainLink, why)));
        let mut before: Option<&Entry> = None;
        for (at, entry) in entries.iter().enumerate() {
            let next = entries.get(at + 1);
            let Claims { audience, request: made_for, previous, .. } = &entry.claims;
            match (before, previous) {
                (None, Some(_)) => return broken(at, "the first, but it follows another"),
                (Some(_), None) if entry.seal.is_some() => return broken(at, "not the first, but it follows none"),
                (Some(before), Some(previous)) if Digest::of(before.raw.as_bytes()) != *previous => {
                    return broken(at, "does not follow the one before it");
                }
                _ => {}
            }
            let follower = next.map(|next| next.claims.gateway.as_str()).or(self.gateway.as_deref());
            if audience.is_some() && audience.as_deref() != follower {
                return broken(at, "made for another gateway than the next one");
            }
            // The bodies of earlier hops were others; their entries are held by the links.
            if next.is_none() && made_for.is_some_and(|made_for| made_for != request) {
                return broken(at, "made for another request");
            }
            before = Some(entry);
        }
        Ok(())
    }

    fn check_times(&self, entries: &[Entry], now: Timestamp) -> Result<(), Failed> {
        let stale = |at: usize, why: &str| Err(in_entry(at, Failed::new(ProofFailure::ChainStale, why)));
        let age = self.settings.max_age_seconds.saturating_mul(1000);
        let skew = self.settings.max_skew_seconds.saturating_mul(1000);
        let mut latest = Timestamp::default();
        for (at, entry) in entries.iter().enumerate() {
            let Some(made) = entry.claims.at() else { continue };
            // `iat` has whole seconds: an entry made now may look up to one second old, never too young.
            if now.0.saturating_sub(made.0) > age {
                return stale(at, "too old");
            }
            if made.0 > now.0.saturating_add(skew) {
                return stale(at, "made in the future");
            }
            if made.0.saturating_add(skew) < latest.0 {
                return stale(at, "made before the one it follows");
            }
            latest = latest.max(made);
        }
        Ok(())
    }

    /// Which entries are verified. Backwards, because an entry may be one that a later gateway vouches for.
    fn check_signatures(&self, entries: &[Entry]) -> Result<Vec<bool>, Failed> {
        let mut vouched = false;
        let mut verified = Vec::with_capacity(entries.len());
        for (at, entry) in entries.iter().enumerate().rev() {
            let failed = |failure, why: &str| in_entry(at, Failed::new(failure, why));
            let Some(Seal { algorithm, key_id, signature }) = &entry.seal else {
                if !self.settings.accept_unverified {
                    return Err(failed(ProofFailure::ChainUnsigned, "not signed"));
                }
                verified.push(false);
                continue;
            };
            match self.keys.iter().find(|key| key.is_for(&entry.claims.gateway, *algorithm, key_id)) {
                Some(key) if key.verifies(entry, signature) => vouched |= key.vouches,
                Some(_) => return Err(failed(ProofFailure::ChainInvalid, "the signature does not verify")),
                None if vouched => {}
                None => return Err(failed(ProofFailure::ChainKey, "no such key of that gateway")),
            }
            verified.push(true);
        }
        verified.reverse();
        Ok(verified)
    }

    fn hop(&self, entry: Entry, verified: bool) -> Hop {
        let at = entry.claims.at().unwrap_or_default();
        let Claims { agent, gateway, target, .. } = entry.claims;
        // What is only asserted gets a name and nothing else.
        let known = self.agents.get(&agent).filter(|_| verified);
        Hop {
            agent: known.map_or_else(|| Arc::new(caller(&agent, Vec::new())), Arc::clone),
            gateway: gateway.into(),
            target: target.unwrap_or_default().into(),
            at,
            verified,
            raw: entry.raw.into(),
        }
    }
}

impl Claims {
    fn at(&self) -> Option<Timestamp> {
        self.seconds.map(|seconds| Timestamp(seconds.saturating_mul(1000)))
    }
}

fn caller(agent: &str, groups: Vec<String>) -> Caller {
    Caller::new(format!("agent:{agent}"), Proof::Chain, groups)
}

fn check_loops(entries: &[Entry], own: Option<&str>) -> Result<(), Failed> {
    for (at, entry) in entries.iter().enumerate() {
        let looped = |why: &str| Err(in_entry(at, Failed::new(ProofFailure::ChainLoop, why)));
        let Claims { agent, gateway, .. } = &entry.claims;
        if own == Some(gateway) {
            return looped("this gateway made it");
        }
        let earlier = entries.get(..at).unwrap_or_default();
        if earlier.iter().any(|other| other.claims.gateway == *gateway) {
            return looped("the gateway was there before");
        }
        if agent != NOBODY && earlier.iter().any(|other| other.claims.agent == *agent) {
            return looped("the agent was there before");
        }
    }
    Ok(())
}

fn in_entry(at: usize, failed: Failed) -> Failed {
    Failed { detail: format!("entry {at}: {}", failed.detail), ..failed }
}
