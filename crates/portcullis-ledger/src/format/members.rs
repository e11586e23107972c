//! The members of each kind of entry, in the order they are written, every text bounded and absent values left out.
//!
//! They are written straight into the batch: an entry costs no tree, no map and no text of its own.

use std::net::IpAddr;

use portcullis_core::attempt::Attempt;
use portcullis_core::guard::Finding;
use portcullis_core::ledger::{Intent, Notice, Outcome, Record, Refused};
use portcullis_core::own;

use crate::redact;
use crate::settings::Content;

/// Bytes of an ordinary text. A JSON escape takes six bytes per byte at worst, and the sum of all texts must stay below `MAX_LINE`.
pub(super) const TEXT: usize = 4096;
/// Bytes of stored arguments or of a stored result: enough to understand a call; the digest covers the whole.
const CONTENT: usize = 64 * 1024;
/// Findings per entry and bytes of each explanation.
const FINDINGS: usize = 32;
const FINDING_TEXT: usize = 1024;
/// Deciding policies per entry and bytes of each `@id`.
const POLICIES: usize = 64;
const POLICY_TEXT: usize = 256;
/// Hops of a chain per entry and bytes of each: four times as many as a chain usually may have, and two names.
const HOPS: usize = 32;
const HOP_TEXT: usize = 1024;
/// Methods of notifications per entry, one more than are counted apart, and bytes of each.
const METHODS: usize = 17;
const METHOD_TEXT: usize = 256;
/// Attempts per entry and bytes of their texts: four times as many as a server has ways, usually.
const ATTEMPTS: usize = 16;
const ATTEMPT_TEXT: usize = 512;

/// Appends members to an entry that is open.
pub(super) struct Members<'a>(pub(super) &'a mut String);

impl Members<'_> {
    fn key(&mut self, key: &'static str) {
        self.0.push_str(",\"");
        self.0.push_str(key);
        self.0.push_str("\":");
    }

    /// A text of our own tables: bounded, and free of what JSON escapes.
    pub(super) fn word(&mut self, key: &'static str, word: &'static str) {
        self.key(key);
        push_quoted(self.0, word);
    }

    pub(super) fn text(&mut self, key: &'static str, text: &str, limit: usize) {
        self.key(key);
        push_clipped(self.0, text, limit);
    }

    fn text_if(&mut self, key: &'static str, text: Option<&str>) {
        if let Some(text) = text {
            self.text(key, text, TEXT);
        }
    }

    fn texts(&mut self, key: &'static str, texts: &[impl AsRef<str>], most: usize, limit: usize) {
        if texts.is_empty() {
            return;
        }
        self.key(key);
        let mut opens = '[';
        for text in texts.iter().take(most) {
            self.0.push(opens);
            opens = ',';
            push_clipped(self.0, text.as_ref(), limit);
        }
        self.0.push(']');
    }

    pub(super) fn number(&mut self, key: &'static str, number: u64) {
        self.key(key);
        own::push_number(self.0, number);
    }

    /// Digits, dots and colons need no escape.
    fn address(&mut self, address: IpAddr) {
        match address {
            IpAddr::V4(address) => {
                let mut before = '"';
                for octet in address.octets() {
                    self.0.push(before);
                    before = '.';
                    own::push_number(self.0, octet.into());
                }
                self.0.push('"');
            }
            IpAddr::V6(address) => push_quoted(self.0, &address.to_string()),
        }
    }

    fn findings(&mut self, findings: &[Finding]) {
        if findings.is_empty() {
            return;
        }
        self.key("findings");
        let mut opens = '[';
        for finding in findings.iter().take(FINDINGS) {
            self.0.push(opens);
            opens = ',';
            self.0.push_str("{\"guard\":");
            push_quoted(self.0, finding.guard);
            self.word("code", finding.code);
            self.word("effect", finding.effect.as_str());
            if !finding.detail.is_empty() {
                self.text("detail", &finding.detail, FINDING_TEXT);
            }
            self.0.push('}');
        }
        self.0.push(']');
    }

    fn attempts(&mut self, attempts: &[Attempt]) {
        self.key("attempts");
        let mut opens = '[';
        for attempt in attempts.iter().take(ATTEMPTS) {
            self.0.push(opens);
            opens = ',';
            self.0.push_str("{\"transport\":");
            push_clipped(self.0, &attempt.transport, ATTEMPT_TEXT);
            self.word("outcome", attempt.outcome);
            self.word("left", if attempt.left { "perhaps" } else { "never" });
            self.number("took_us", u64::try_from(attempt.took.as_micros()).unwrap_or(u64::MAX));
            if !attempt.why.is_empty() {
                self.text("why", redact::line(&attempt.why), ATTEMPT_TEXT);
            }
            self.0.push('}');
        }
        self.0.push(']');
    }

    pub(super) fn record(&mut self, record: &Record, content: Content) {
        match record {
            Record::Intent(intent) => self.intent(intent, content),
            Record::Outcome(outcome) => self.outcome(outcome, content),
            Record::Refused(refused) => self.refused(refused),
            Record::Notice(notice) => self.notice(notice),
        }
    }

    fn intent(&mut self, intent: &Intent, content: Content) {
        self.text("call", &intent.call, TEXT);
        self.text("caller", &intent.caller, TEXT);
        self.word("proof", intent.proof);
        if let Some(peer) = intent.peer {
            self.key("peer");
            self.address(peer);
        }
        self.text_if("agent", intent.agent.as_deref());
        self.text_if("signed_by", intent.signed_by.as_deref());
        self.texts("chain", &intent.chain, HOPS, HOP_TEXT);
        self.text_if("session", intent.session.as_deref());
        self.text("server", &intent.server, TEXT);
        self.word("version", intent.version);
        self.word("direction", intent.direction);
        self.text("method", &intent.method, TEXT);
        if let Some(name) = &intent.name {
            self.text("name", &redact::name(name), TEXT);
        }
        self.text_if("id", intent.id.as_deref());
        self.text_if("arguments_blake3", intent.arguments_blake3.as_deref());
        if let Some(arguments) = intent.arguments.as_deref().filter(|_| content != Content::None) {
            self.text("arguments", &redact::json(arguments), CONTENT);
        }
        self.number("bytes", intent.bytes);
        self.word("decision", intent.decision);
        self.text_if("code", intent.code);
        self.text_if("detail", intent.detail.as_deref());
        self.texts("policies", &intent.policies, POLICIES, POLICY_TEXT);
        self.findings(&intent.findings);
        self.text("plan", &intent.plan, TEXT);
        self.text("trace_id", &intent.trace_id, TEXT);
        self.text_if("parent_span", intent.parent_span.as_deref());
    }

    fn outcome(&mut self, outcome: &Outcome, content: Content) {
        self.text("call", &outcome.call, TEXT);
        self.word("status", outcome.status.as_str());
        self.text_if("code", outcome.code.as_deref());
        self.text_if("detail", outcome.detail.as_deref());
        self.number("messages", outcome.messages);
        self.number("bytes", outcome.bytes);
        self.number("latency_us", u64::try_from(outcome.latency.as_micros()).unwrap_or(u64::MAX));
        if let Some(status) = outcome.http_status {
            self.number("http_status", status.into());
        }
        self.findings(&outcome.findings);
        if let Some(result) = outcome.result.as_deref().filter(|_| content == Content::Full) {
            self.text("result", &redact::json(result), CONTENT);
        }
        self.text_if("trace_id", outcome.trace_id.as_deref());
        if !outcome.notifications.is_empty() {
            self.key("notifications");
            let mut opens = '{';
            for (method, count) in outcome.notifications.iter().take(METHODS) {
                self.0.push(opens);
                opens = ',';
                push_clipped(self.0, method, METHOD_TEXT);
                self.0.push(':');
                own::push_number(self.0, *count);
            }
            self.0.push('}');
        }
        if let Some(attempts) = outcome.attempts.as_deref().filter(|attempts| !attempts.is_empty()) {
            self.attempts(attempts);
        }
    }

    fn refused(&mut self, refused: &Refused) {
        self.word("family", refused.family);
        self.word("code", refused.code);
        self.text_if("detail", refused.detail.as_deref());
        self.text_if("peer", refused.peer.as_deref());
        self.text_if("via", refused.via.as_deref());
        self.text_if("caller", refused.caller.as_deref());
        self.number("bytes", refused.bytes);
        if let Some(status) = refused.http_status {
            self.number("http_status", status.into());
        }
        self.text_if("trace_id", refused.trace_id.as_deref());
    }

    fn notice(&mut self, notice: &Notice) {
        self.word("code", notice.code);
        self.text_if("server", notice.server.as_deref());
        self.text("detail", redact::line(&notice.detail), TEXT);
    }
}

/// Cut at a character boundary; a cut shows as `…`.
fn push_clipped(out: &mut String, text: &str, limit: usize) {
    if text.len() <= limit {
        return push_quoted(out, text);
    }
    push_quoted(out, text.get(..text.floor_char_boundary(limit)).unwrap_or_default());
    out.pop();
    out.push_str("…\"");
}

/// A JSON string. Nearly every text needs no escape, so that is looked at first, all bytes at once.
fn push_quoted(out: &mut String, text: &str) {
    if text.bytes().fold(false, |found, byte| found | (byte < 0x20) | (byte == b'"') | (byte == b'\\')) {
        return own::push_string(out, text);
    }
    out.push('"');
    out.push_str(text);
    out.push('"');
}
