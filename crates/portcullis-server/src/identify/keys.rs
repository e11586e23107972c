//! API keys: found by digest, refused after their end and at servers they are not for. Knows neither headers nor files.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use aws_lc_rs::digest::{SHA256, digest};
use portcullis_core::caller::{Caller, Proof};
use portcullis_core::clock::Timestamp;
use portcullis_core::refusal::ProofFailure;

use super::Known;
use crate::settings::ApiKey;

/// Letters of a caller's name or a group; long enough for a mail address or a path of an organisation.
const LONGEST_NAME: usize = 128;

/// All keys, by SHA-256. What is compared are digests: whoever presents a key cannot steer its digest towards another's, so that the time
/// a search takes tells nothing of any key, whatever the map does inside.
#[derive(Debug)]
pub(crate) struct KeyTable {
    keys: HashMap<[u8; 32], Key>,
}

/// One key, without the key.
#[derive(Debug)]
pub(crate) struct Key {
    pub(crate) known: Arc<Known>,
    /// The first moment at which it opens nothing any more.
    pub(crate) expires: Option<Timestamp>,
}

impl KeyTable {
    /// `known` gives what stands for a caller that may reach these servers.
    ///
    /// # Errors
    /// The first of [`key_problems`].
    pub(crate) fn new<'a>(
        keys: impl Iterator<Item = &'a ApiKey> + Clone,
        mut known: impl FnMut(Caller, &[String]) -> Arc<Known>,
    ) -> Result<Self, String> {
        if let Some(problem) = key_problems(keys.clone()).first() {
            return Err(problem.text.clone());
        }
        let entry = |key: &ApiKey| {
            let known = known(Caller::new(&key.name, Proof::ApiKey, key.groups.clone()), &key.servers);
            let expires = key.expires.as_ref().map(super::Expiry::at);
            Some((parse_hash(&key.sha256)?, Key { known, expires }))
        };
        Ok(Self { keys: keys.filter_map(entry).collect() })
    }

    /// Whose key this is; `None` when it is nobody's.
    ///
    /// # Errors
    /// A key that is over, or is for none of `servers`; with what the log shall say.
    pub(crate) fn find(
        &self,
        presented: &str,
        servers: &[Arc<str>],
        now: Timestamp,
    ) -> Result<Option<&Key>, (ProofFailure, String)> {
        let Some(key) = self.keys.get(digest(&SHA256, presented.as_bytes()).as_ref()) else { return Ok(None) };
        let name = &key.known.caller.name;
        if let Some(end) = key.expires.filter(|end| now >= *end) {
            return Err((ProofFailure::KeyExpired, format!("the key of `{name}` ended at {end}")));
        }
        if !servers.iter().any(|server| key.known.reaches(server)) {
            let asked = servers.join("`, `");
            return Err((ProofFailure::KeyElsewhere, format!("the key of `{name}` is not for `{asked}`")));
        }
        Ok(Some(key))
    }
}

/// What is wrong with one key of a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyProblem {
    /// Which key, counted from 0.
    pub index: usize,
    pub text: String,
    /// The way out.
    pub help: &'static str,
}

/// Everything that is wrong with keys, whichever places they were gathered from.
pub fn key_problems<'a>(keys: impl IntoIterator<Item = &'a ApiKey>) -> Vec<KeyProblem> {
    let (mut names, mut hashes) = (HashSet::new(), HashSet::new());
    let mut problems = Vec::new();
    for (index, key) in keys.into_iter().enumerate() {
        let name = key.name.escape_debug();
        let mut add = |text, help| problems.push(KeyProblem { index, text, help });
        // `ISSUER:SUBJECT`, `cert:…` and the like must never be a key's.
        if !is_word(&key.name) || key.name.contains(':') || key.name == Caller::anonymous().name {
            let text = format!("`{name}` cannot be the name of a caller");
            add(text, "use 1 to 128 printable letters without `:`, other than `anonymous`");
        }
        for word in key.groups.iter().filter(|word| !is_word(word)) {
            let text = format!("`{}` cannot be the name of a group (of `{name}`)", word.escape_debug());
            add(text, "use 1 to 128 printable letters");
        }
        if !names.insert(&key.name) {
            add(format!("the name `{name}` is given twice"), "one caller, one name: rename one of them");
        }
        let hash = parse_hash(&key.sha256);
        if hash.is_none() {
            let text = format!("`sha256` of `{name}` must be 64 hexadecimal digits");
            add(text, "`portcullis keys new` makes a key and its entry");
        }
        if hash.is_some_and(|hash| !hashes.insert(hash)) {
            let text = format!("`{name}` has the key of another entry");
            add(text, "make a key of its own with `portcullis keys new`");
        }
    }
    problems
}

fn is_word(text: &str) -> bool {
    !text.is_empty() && text.chars().count() <= LONGEST_NAME && !text.chars().any(char::is_control)
}

fn parse_hash(text: &str) -> Option<[u8; 32]> {
    if text.len() != 64 || !text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return None;
    }
    let mut hash = [0; 32];
    for (byte, at) in hash.iter_mut().zip((0..64).step_by(2)) {
        *byte = u8::from_str_radix(text.get(at..at + 2)?, 16).ok()?;
    }
    Some(hash)
}

#[cfg(test)]
mod tests;
