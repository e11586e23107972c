//! The scope map: which scopes a token must have for an operation (F9, F15, F16). Decides nothing about callers without tokens, who cannot
//! get scopes.

use std::collections::{BTreeMap, HashMap};

use portcullis_core::call::Call;
use portcullis_core::caller::Proof;

/// Key for everything.
const EVERYTHING: &str = "*";

/// Scopes by operation.
#[derive(Debug, Default)]
pub(super) struct ScopeMap {
    everything: Vec<String>,
    methods: HashMap<String, Needed>,
}

/// What one method needs.
#[derive(Debug, Default)]
struct Needed {
    always: Vec<String>,
    /// And, beside that, for what it names.
    named: HashMap<String, Vec<String>>,
}

impl ScopeMap {
    /// From keys such as `*`, `tools/call` and `tools/call:NAME`.
    pub(super) fn new(written: &BTreeMap<String, Vec<String>>) -> Self {
        let mut map = Self::default();
        for (key, scopes) in written {
            // No method has a colon; what is named may.
            match key.split_once(':') {
                None if key == EVERYTHING => map.everything.clone_from(scopes),
                None => map.methods.entry(key.clone()).or_default().always.clone_from(scopes),
                Some((method, name)) => {
                    let needed = map.methods.entry(method.to_owned()).or_default();
                    needed.named.insert(name.to_owned(), scopes.clone());
                }
            }
        }
        map
    }

    /// What every request needs: all that can be said before a message is read.
    pub(super) fn everything(&self) -> &[String] {
        &self.everything
    }

    /// All scopes of the operation, if the caller's token lacks one of them: a client that asks for these has to ask once.
    pub(super) fn lacking(&self, call: &Call) -> Option<Vec<String>> {
        let caller = &call.context.caller;
        if caller.proof != Proof::Token || (self.everything.is_empty() && self.methods.is_empty()) {
            return None;
        }
        let method = self.methods.get(call.method());
        let named = method.zip(call.name()).and_then(|(method, name)| method.named.get(name.as_ref()));
        let always = method.map(|method| &method.always);
        let mut needed: Vec<&String> =
            self.everything.iter().chain(always.into_iter().flatten()).chain(named.into_iter().flatten()).collect();
        // Sorted by whoever made the caller.
        if needed.iter().all(|scope| caller.scopes.binary_search(scope).is_ok()) {
            return None;
        }
        needed.sort_unstable();
        needed.dedup();
        Some(needed.into_iter().cloned().collect())
    }
}
