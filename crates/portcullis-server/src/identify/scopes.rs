//! The scope map: which scopes a token must have for an operation (F9, F15, F16). Decides nothing about callers without tokens, who cannot
//! get scopes.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use portcullis_core::call::{Call, Subject};
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

    /// All scopes of the operation, if the caller's token lacks one of them: a client that asks for these has to ask once. What is resumed is
    /// the operation that broke off, too (F13).
    pub(super) fn lacking(&self, call: &Call) -> Option<Vec<String>> {
        let caller = &call.context.caller;
        if caller.proof != Proof::Token || (self.everything.is_empty() && self.methods.is_empty()) {
            return None;
        }
        let mut needed: BTreeSet<&String> = self.everything.iter().collect();
        needed.extend(self.of(call.method(), call.name()));
        if let Subject::Stream { request: Some(request), .. } = &call.subject {
            needed.extend(self.of(&request.method, request.name.as_deref()));
        }
        // Sorted by whoever made the caller.
        let lacks = needed.iter().any(|scope| caller.scopes.binary_search(scope).is_err());
        lacks.then(|| needed.into_iter().cloned().collect())
    }

    fn of(&self, method: &str, name: Option<&str>) -> impl Iterator<Item = &String> {
        let needed = self.methods.get(method);
        let named = needed.zip(name).and_then(|(needed, name)| needed.named.get(name));
        needed.map(|needed| &needed.always).into_iter().flatten().chain(named.into_iter().flatten())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::sync::Arc;

    use portcullis_core::call::{Call, Context, Interrupted, Subject};
    use portcullis_core::caller::{Caller, Proof};
    use portcullis_core::catalogue::Snapshot;
    use portcullis_core::clock::Timestamp;
    use portcullis_core::trace::TraceContext;
    use portcullis_core::version::Version;
    use portcullis_core::wire::Id;

    use super::ScopeMap;

    /// The resumption of a stream, or of the reply to a call of `tool`.
    fn resumed(proof: Proof, scopes: &[&str], tool: Option<&str>) -> Call {
        let mut caller = Caller::new("acme:ana", proof, Vec::new());
        caller.scopes = scopes.iter().map(|scope| (*scope).to_owned()).collect();
        let context = Context {
            caller: Arc::new(caller),
            proofs: Arc::default(),
            version: Version::LATEST_LEGACY,
            session: None,
            server: "server".into(),
            trace: TraceContext::from_request(&[], &[], None, [1; 16], [1; 8]),
            now: Timestamp(0),
            catalogue: Snapshot::default(),
            param_headers: Vec::new(),
            transports: Vec::new(),
            answers: None,
        };
        let request = tool.map(|tool| {
            let (id, method) = (Id::from_text("1").unwrap(), "tools/call".to_owned());
            Box::new(Interrupted { id, method, name: Some(tool.to_owned()) })
        });
        Call { context: Arc::new(context), subject: Subject::Stream { last_event_id: None, request } }
    }

    #[test]
    fn f13_a_reply_is_resumed_with_the_scopes_of_the_call_that_it_answers() {
        let scopes = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>();
        let written: BTreeMap<_, _> =
            [("*".to_owned(), scopes(&["mcp"])), ("tools/call:pay".to_owned(), scopes(&["pay"]))].into();
        let map = ScopeMap::new(&written);
        assert_eq!(map.lacking(&resumed(Proof::Token, &["mcp"], None)), None);
        assert_eq!(map.lacking(&resumed(Proof::Token, &["mcp"], Some("look"))), None);
        assert_eq!(map.lacking(&resumed(Proof::Token, &["mcp"], Some("pay"))), Some(scopes(&["mcp", "pay"])));
        assert_eq!(map.lacking(&resumed(Proof::Token, &["mcp", "pay"], Some("pay"))), None);
        assert_eq!(map.lacking(&resumed(Proof::ApiKey, &[], Some("pay"))), None, "nobody gives a key scopes");
    }
}
