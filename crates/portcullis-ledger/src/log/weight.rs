//! About how much memory a waiting record holds. Exactness does not matter; that large texts count does.

use portcullis_core::attempt::{Attempt, Attempts};
use portcullis_core::guard::Finding;
use portcullis_core::ledger::Record;

/// The record itself, its box and its place in two queues.
const BASE: usize = 512;

pub(super) fn of(record: &Record) -> usize {
    let texts = match record {
        Record::Intent(intent) => {
            let fixed = intent.call.len() + intent.caller.len() + intent.method.len() + intent.trace_id.len();
            let optional = [
                &intent.name,
                &intent.id,
                &intent.arguments_blake3,
                &intent.arguments,
                &intent.detail,
                &intent.parent_span,
                &intent.agent,
            ];
            let chain: usize = intent.chain.iter().map(|hop| size_of::<String>() + hop.len()).sum();
            fixed + chain + sum(optional) + intent.policies.len() * size_of::<usize>() * 2 + findings(&intent.findings)
        }
        Record::Outcome(outcome) => {
            let texts = [&outcome.code, &outcome.detail, &outcome.result, &outcome.trace_id];
            outcome.call.len() + sum(texts) + findings(&outcome.findings) + attempts(&outcome.attempts)
        }
        Record::Refused(refused) => {
            sum([&refused.detail, &refused.peer, &refused.via, &refused.caller, &refused.trace_id])
        }
        Record::Notice(notice) => notice.detail.len(),
    };
    BASE.saturating_add(texts)
}

fn sum<const N: usize>(texts: [&Option<String>; N]) -> usize {
    texts.into_iter().flatten().map(String::len).sum()
}

fn findings(findings: &[Finding]) -> usize {
    findings.iter().map(|finding| size_of::<Finding>() + finding.detail.len()).sum()
}

fn attempts(attempts: &Attempts) -> usize {
    let all = attempts.iter().flat_map(|attempts| attempts.iter());
    all.map(|attempt| size_of::<Attempt>() + attempt.why.len()).sum()
}
