//! The members of each kind of entry, in the order they are written, every text bounded and absent values left out.

use std::borrow::Cow;
use std::sync::Arc;

use portcullis_core::clock::Timestamp;
use portcullis_core::guard::Finding;
use portcullis_core::ledger::{Intent, Notice, Outcome, Record, Refused};
use serde::Serialize;

use super::erased::Members;
use crate::redact;
use crate::settings::Content;

/// Bytes of an ordinary text. A JSON escape takes six bytes per byte at worst, and the sum of all texts must stay below `MAX_LINE`.
const TEXT: usize = 4096;
/// Bytes of stored arguments or of a stored result: enough to understand a call; the digest covers the whole.
const CONTENT: usize = 64 * 1024;
/// Findings per entry and bytes of each explanation.
const FINDINGS: usize = 32;
const FINDING_TEXT: usize = 1024;
/// Deciding policies per entry and bytes of each `@id`.
const POLICIES: usize = 64;
const POLICY_TEXT: usize = 256;

type Text<'a> = Cow<'a, str>;

#[derive(Serialize)]
struct IntentLine<'a> {
    at: String,
    kind: &'static str,
    call: Text<'a>,
    caller: Text<'a>,
    proof: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    session: Option<Text<'a>>,
    server: Text<'a>,
    version: &'static str,
    direction: &'static str,
    method: Text<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<Text<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    arguments_sha256: Option<Text<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    arguments: Option<String>,
    bytes: u64,
    decision: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    code: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    detail: Option<Text<'a>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    policies: Vec<Text<'a>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    findings: Vec<FindingLine<'a>>,
    plan: Text<'a>,
    trace_id: Text<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    parent_span: Option<Text<'a>>,
}

#[derive(Serialize)]
struct OutcomeLine<'a> {
    at: String,
    kind: &'static str,
    call: Text<'a>,
    status: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    code: Option<Text<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    detail: Option<Text<'a>>,
    messages: u64,
    bytes: u64,
    latency_us: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    http_status: Option<u16>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    findings: Vec<FindingLine<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    result: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    trace_id: Option<Text<'a>>,
}

#[derive(Serialize)]
struct RefusedLine<'a> {
    at: String,
    kind: &'static str,
    family: &'static str,
    code: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    detail: Option<Text<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    peer: Option<Text<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    caller: Option<Text<'a>>,
    bytes: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    http_status: Option<u16>,
    #[serde(skip_serializing_if = "Option::is_none")]
    trace_id: Option<Text<'a>>,
}

#[derive(Serialize)]
struct NoticeLine<'a> {
    at: String,
    kind: &'static str,
    code: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    server: Option<Text<'a>>,
    detail: Text<'a>,
}

/// Records that are missing at this place.
#[derive(Serialize)]
pub(super) struct Gap {
    pub(super) at: String,
    pub(super) kind: &'static str,
    pub(super) lost: u64,
}

#[derive(Serialize)]
struct FindingLine<'a> {
    guard: &'static str,
    code: &'static str,
    effect: &'static str,
    #[serde(skip_serializing_if = "str::is_empty")]
    detail: Text<'a>,
}

/// Hands the members of `record` to `write`.
pub(super) fn with_record(record: &Record, content: Content, write: impl FnOnce(&dyn Members)) {
    match record {
        Record::Intent(intent) => write(&intent_line(intent, content)),
        Record::Outcome(outcome) => write(&outcome_line(outcome, content)),
        Record::Refused(refused) => write(&refused_line(refused)),
        Record::Notice(notice) => write(&notice_line(notice)),
    }
}

/// A notice that the log writes about itself.
pub(super) fn own_notice(at: Timestamp, code: &'static str, detail: &str) -> impl Serialize {
    NoticeLine { at: at.to_string(), kind: "notice", code, server: None, detail: clip(detail, TEXT) }
}

fn intent_line(intent: &Intent, content: Content) -> IntentLine<'_> {
    let arguments = intent.arguments.as_deref().filter(|_| content != Content::None);
    IntentLine {
        at: intent.at.to_string(),
        kind: "intent",
        call: clip(&intent.call, TEXT),
        caller: clip(&intent.caller, TEXT),
        proof: intent.proof,
        session: shared(intent.session.as_ref()),
        server: clip(&intent.server, TEXT),
        version: intent.version,
        direction: intent.direction,
        method: clip(&intent.method, TEXT),
        name: intent.name.as_deref().map(|name| clip(&redact::name(name), TEXT).into_owned()),
        id: text(intent.id.as_ref()),
        arguments_sha256: text(intent.arguments_sha256.as_ref()),
        arguments: arguments.map(stored),
        bytes: intent.bytes,
        decision: intent.decision,
        code: intent.code,
        detail: text(intent.detail.as_ref()),
        policies: intent.policies.iter().take(POLICIES).map(|policy| clip(policy, POLICY_TEXT)).collect(),
        findings: findings(&intent.findings),
        plan: clip(&intent.plan, TEXT),
        trace_id: clip(&intent.trace_id, TEXT),
        parent_span: text(intent.parent_span.as_ref()),
    }
}

fn outcome_line(outcome: &Outcome, content: Content) -> OutcomeLine<'_> {
    let result = outcome.result.as_deref().filter(|_| content == Content::Full);
    OutcomeLine {
        at: outcome.at.to_string(),
        kind: "outcome",
        call: clip(&outcome.call, TEXT),
        status: outcome.status.as_str(),
        code: text(outcome.code.as_ref()),
        detail: text(outcome.detail.as_ref()),
        messages: outcome.messages,
        bytes: outcome.bytes,
        latency_us: u64::try_from(outcome.latency.as_micros()).unwrap_or(u64::MAX),
        http_status: outcome.http_status,
        findings: findings(&outcome.findings),
        result: result.map(stored),
        trace_id: text(outcome.trace_id.as_ref()),
    }
}

fn refused_line(refused: &Refused) -> RefusedLine<'_> {
    RefusedLine {
        at: refused.at.to_string(),
        kind: "refused",
        family: refused.family,
        code: refused.code,
        detail: text(refused.detail.as_ref()),
        peer: text(refused.peer.as_ref()),
        caller: text(refused.caller.as_ref()),
        bytes: refused.bytes,
        http_status: refused.http_status,
        trace_id: text(refused.trace_id.as_ref()),
    }
}

fn notice_line(notice: &Notice) -> NoticeLine<'_> {
    NoticeLine {
        at: notice.at.to_string(),
        kind: "notice",
        code: notice.code,
        server: shared(notice.server.as_ref()),
        detail: clip(redact::line(&notice.detail), TEXT),
    }
}

fn findings(findings: &[Finding]) -> Vec<FindingLine<'_>> {
    let line = |finding: &'_ Finding| (finding.guard, finding.code, finding.effect.as_str());
    let lines = findings.iter().take(FINDINGS).map(|finding| {
        let (guard, code, effect) = line(finding);
        FindingLine { guard, code, effect, detail: clip(&finding.detail, FINDING_TEXT) }
    });
    lines.collect()
}

fn stored(json: &str) -> String {
    clip(&redact::json(json), CONTENT).into_owned()
}

fn text(text: Option<&String>) -> Option<Text<'_>> {
    text.map(|text| clip(text, TEXT))
}

fn shared(text: Option<&Arc<str>>) -> Option<Text<'_>> {
    text.map(|text| clip(text, TEXT))
}

/// Cut at a character boundary; a cut shows as `…`.
fn clip(text: &str, limit: usize) -> Text<'_> {
    if text.len() <= limit {
        return Cow::Borrowed(text);
    }
    let mut cut = text.get(..text.floor_char_boundary(limit)).unwrap_or_default().to_owned();
    cut.push('…');
    Cow::Owned(cut)
}
