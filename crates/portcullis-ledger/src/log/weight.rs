//! About how much memory a waiting record holds. Exactness does not matter; that large texts count does.

use std::ops::Deref;

use portcullis_core::attempt::{Attempt, Attempts};
use portcullis_core::guard::Finding;
use portcullis_core::ledger::Record;

/// The record itself, its box and its place in two queues.
const BASE: usize = 512;

pub(super) fn of(record: &Record) -> usize {
    let texts = match record {
        Record::Intent(intent) => {
            let fixed = intent.call.len() + intent.caller.len() + intent.method.len() + intent.trace_id.len();
            let short = sum([&intent.name, &intent.id, &intent.arguments_blake3, &intent.parent_span]);
            let long = sum([&intent.arguments, &intent.detail, &intent.agent]);
            let chain: usize = intent.chain.iter().map(|hop| size_of::<String>() + hop.len()).sum();
            fixed + short + long + chain + intent.policies.len() * size_of::<usize>() * 2 + findings(&intent.findings)
        }
        Record::Outcome(outcome) => {
            let ids = outcome.call.len() + sum([&outcome.trace_id]);
            ids + sum([&outcome.code, &outcome.detail, &outcome.result])
                + findings(&outcome.findings)
                + attempts(&outcome.attempts)
        }
        Record::Refused(refused) => {
            sum([&refused.detail, &refused.peer, &refused.via, &refused.caller, &refused.trace_id])
        }
        Record::Notice(notice) => notice.detail.len(),
    };
    BASE.saturating_add(texts)
}

fn sum<T: Deref<Target = str>, const N: usize>(texts: [&Option<T>; N]) -> usize {
    texts.into_iter().flatten().map(|text| text.len()).sum()
}

fn findings(findings: &[Finding]) -> usize {
    findings.iter().map(|finding| size_of::<Finding>() + finding.detail.len()).sum()
}

fn attempts(attempts: &Attempts) -> usize {
    let all = attempts.iter().flat_map(|attempts| attempts.iter());
    all.map(|attempt| size_of::<Attempt>() + attempt.why.len()).sum()
}
