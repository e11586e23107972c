//! The seam towards the record: an intent before forwarding, an outcome exactly once, whatever happens in between.

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use smol_str::SmolStr;

use crate::attempt::Attempts;
use crate::clock::{Clock, Timestamp};
use crate::guard::{Effect, Finding};

/// Why nothing could be recorded. In strict mode the pipeline refuses the call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unwritable(pub String);

impl fmt::Display for Unwritable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the audit log cannot be written: {}", self.0)
    }
}

impl std::error::Error for Unwritable {}

/// Where records go. Never blocks and never waits for a disk: writing happens off the request path.
pub trait Ledger: Send + Sync + fmt::Debug {
    /// Queues one record.
    ///
    /// # Errors
    /// Only in strict mode: the log cannot be written, or its bounded queue is full. Otherwise a lost record is counted and the
    /// gap itself is recorded as soon as there is room.
    fn append(&self, record: Record) -> Result<(), Unwritable>;

    /// Counts one event under a stable code: every refusal, every guard finding. Codes come from our own tables only.
    fn count(&self, family: &'static str, code: &'static str);

    /// Whether arguments and results are to be stored; off unless configured.
    fn keeps_content(&self) -> bool {
        false
    }
}

/// One entry of the log.
#[derive(Clone, Debug)]
pub enum Record {
    /// A message was judged and, if cleared, is about to be forwarded.
    Intent(Box<Intent>),
    /// What became of it.
    Outcome(Box<Outcome>),
    /// Something that never became a call: unreadable bytes, a wrong header, an unknown session.
    Refused(Box<Refused>),
    /// A fact about the gateway itself: started, plan loaded, upstream restarted, stderr line of a child.
    Notice(Box<Notice>),
}

/// Who wanted what, and what was decided.
#[derive(Clone, Debug, Default)]
pub struct Intent {
    /// Ties intent and outcome together: 16 hexadecimal digits, unique in the process (the span id of this hop).
    pub call: SmolStr,
    pub at: Timestamp,
    pub caller: SmolStr,
    pub proof: &'static str,
    /// Network address of the client, as far as trusted proxies tell.
    pub peer: Option<IpAddr>,
    /// The program that acted for the caller (`X-Agent-Identity`).
    pub agent: Option<String>,
    /// Id of the key that the request was signed with.
    pub signed_by: Option<Arc<str>>,
    /// The hands it went through, first hop first: `AGENT via GATEWAY`, and whether that is only asserted.
    pub chain: Vec<String>,
    /// Short digest of the session, never its id.
    pub session: Option<Arc<str>>,
    pub server: Arc<str>,
    /// Protocol revision.
    pub version: &'static str,
    /// `to_server` or `to_client`.
    pub direction: &'static str,
    pub method: SmolStr,
    /// Tool, prompt, resource URI or task that the method names; bounded by the reader's name limit.
    pub name: Option<SmolStr>,
    /// JSON text of the request id, absent for notifications.
    pub id: Option<SmolStr>,
    /// BLAKE3 (256 bits) of the exact bytes of `params.arguments`, hexadecimal; absent where the method has none.
    pub arguments_blake3: Option<SmolStr>,
    /// Only when the operator asked for it.
    pub arguments: Option<String>,
    pub bytes: u64,
    /// `allow`, `deny` or `ask`.
    pub decision: &'static str,
    /// Stable code of the denial.
    pub code: Option<&'static str>,
    /// Private reason; goes here and nowhere else.
    pub detail: Option<String>,
    /// `@id`s of the policies that decided.
    pub policies: Vec<Arc<str>>,
    pub findings: Vec<Finding>,
    /// Digest of the plan (configuration and policies) in force.
    pub plan: Arc<str>,
    pub trace_id: SmolStr,
    pub parent_span: Option<SmolStr>,
}

/// What became of a call.
#[derive(Clone, Debug, Default)]
pub struct Outcome {
    pub call: SmolStr,
    pub at: Timestamp,
    pub status: Status,
    /// Code of the refusal, fault or JSON-RPC error, if any.
    pub code: Option<String>,
    pub detail: Option<String>,
    /// Messages that reached the client, the response included.
    pub messages: u64,
    /// Bytes that reached the client.
    pub bytes: u64,
    pub latency: Duration,
    /// HTTP status that was sent, if one was.
    pub http_status: Option<u16>,
    pub findings: Vec<Finding>,
    /// Only when the operator asked for it.
    pub result: Option<String>,
    /// The intent's, so that every entry of a trace can be found.
    pub trace_id: Option<SmolStr>,
    /// How many notifications of the server were passed on, by method: they have no entries of their own.
    pub notifications: Vec<(String, u64)>,
    /// What was tried, in order, where the server can be reached in more than one way.
    pub attempts: Attempts,
}

/// Different findings of one reply. 31, so that the log, which writes 32, has room for the one that counts the rest.
const MOST_FINDINGS: usize = 31;
/// Methods of notifications that are counted apart; a server could invent them without end, so the rest are counted as `other`.
const MOST_METHODS: usize = 16;
/// Bytes of such a method. 256: the longest that MCP has is under 40.
const METHOD_BYTES: usize = 256;

/// How a call ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Status {
    /// The server's own answer was delivered (even if it is a tool error).
    Answered,
    /// A notification or response was accepted by the server.
    Accepted,
    /// We said no.
    Denied,
    /// A person must approve first.
    Held,
    /// A watcher blocked the answer.
    Cut,
    /// The server or the gateway failed; the client got an error with its id.
    Failed,
    /// The client went away first; the call was cancelled or ran on unseen.
    #[default]
    Abandoned,
    /// A standing stream ended.
    Ended,
}

impl Status {
    /// Lower-case word used in the log.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Answered => "answered",
            Self::Accepted => "accepted",
            Self::Denied => "denied",
            Self::Held => "held",
            Self::Cut => "cut",
            Self::Failed => "failed",
            Self::Abandoned => "abandoned",
            Self::Ended => "ended",
        }
    }
}

/// Something refused before it became a call.
#[derive(Clone, Debug, Default)]
pub struct Refused {
    pub at: Timestamp,
    /// `malformed`, `violation`, `denial` or `fault`.
    pub family: &'static str,
    pub code: &'static str,
    pub detail: Option<String>,
    /// Network address of the client, as far as trusted proxies tell.
    pub peer: Option<String>,
    /// Network address of the trusted proxy that spoke for it.
    pub via: Option<String>,
    pub caller: Option<String>,
    pub bytes: u64,
    pub http_status: Option<u16>,
    pub trace_id: Option<String>,
}

/// A fact about the gateway itself.
#[derive(Clone, Debug, Default)]
pub struct Notice {
    pub at: Timestamp,
    /// Stable code: `started`, `stopped`, `plan`, `child_started`, `child_exited`, `child_stderr`, `era`, …
    pub code: &'static str,
    /// Upstream server concerned.
    pub server: Option<Arc<str>>,
    pub detail: String,
}

/// An open entry. Closing it writes the outcome; dropping it unclosed writes `abandoned`, so no path can forget it.
#[derive(Debug)]
pub struct Entry {
    ledger: Arc<dyn Ledger>,
    clock: Arc<dyn Clock>,
    opened: Duration,
    outcome: Option<Box<Outcome>>,
    /// How often each finding of the outcome came again.
    repeats: Vec<u64>,
    /// Findings for which there was no room.
    left_out: u64,
}

impl Entry {
    /// Writes the intent.
    ///
    /// # Errors
    /// In strict mode, when the log cannot be written: the call must then be refused.
    pub fn open(ledger: Arc<dyn Ledger>, clock: Arc<dyn Clock>, intent: Intent) -> Result<Self, Unwritable> {
        let trace_id = Some(intent.trace_id.clone());
        let outcome = Outcome { call: intent.call.clone(), trace_id, ..Outcome::default() };
        let opened = clock.elapsed();
        ledger.append(Record::Intent(Box::new(intent)))?;
        Ok(Self { ledger, clock, opened, outcome: Some(Box::new(outcome)), repeats: Vec::new(), left_out: 0 })
    }

    /// Facts gathered while the reply passes.
    pub fn outcome(&mut self) -> Option<&mut Outcome> {
        self.outcome.as_deref_mut()
    }

    /// Counts one message that reached the client.
    pub fn delivered(&mut self, bytes: usize) {
        if let Some(outcome) = self.outcome.as_deref_mut() {
            outcome.messages = outcome.messages.saturating_add(1);
            outcome.bytes = outcome.bytes.saturating_add(bytes as u64);
        }
    }

    /// Adds what a guard or watcher noticed. The same again is counted, not kept, and only so many different ones are kept: a server
    /// that is refused without end must not fill our memory.
    pub fn found(&mut self, finding: Finding) {
        let Some(outcome) = self.outcome.as_deref_mut() else { return };
        let known = outcome.findings.iter().position(|known| *known == finding);
        if let Some(repeats) = known.and_then(|at| self.repeats.get_mut(at)) {
            *repeats = repeats.saturating_add(1);
        } else if outcome.findings.len() < MOST_FINDINGS {
            outcome.findings.push(finding);
            self.repeats.push(0);
        } else {
            self.left_out = self.left_out.saturating_add(1);
        }
    }

    /// Counts one notification of the server that was passed on.
    pub fn notified(&mut self, method: &str) {
        let Some(outcome) = self.outcome.as_deref_mut() else { return };
        let counts = &mut outcome.notifications;
        let room = counts.len() < MOST_METHODS || counts.iter().any(|(known, _)| known == method);
        let method = if room && method.len() <= METHOD_BYTES { method } else { "other" };
        match counts.iter_mut().find(|(known, _)| known == method) {
            Some((_, count)) => *count = count.saturating_add(1),
            None => counts.push((method.to_owned(), 1)),
        }
    }

    /// Notes what was tried. What is known later says all that was known before.
    pub fn attempted(&mut self, attempts: Attempts) {
        if let (Some(outcome), Some(attempts)) = (self.outcome.as_deref_mut(), attempts) {
            outcome.attempts = Some(attempts);
        }
    }

    /// Writes the outcome. The first close counts; later ones do nothing.
    pub fn close(&mut self, status: Status, code: Option<String>, detail: Option<String>) {
        let Some(mut outcome) = self.outcome.take() else { return };
        outcome.at = self.clock.now();
        outcome.latency = self.clock.elapsed().saturating_sub(self.opened);
        outcome.status = status;
        outcome.code = code.or(outcome.code);
        outcome.detail = detail.or(outcome.detail);
        for (finding, repeats) in outcome.findings.iter_mut().zip(&self.repeats).filter(|(_, repeats)| **repeats > 0) {
            finding.detail.push_str(&format!(" (and {repeats} times more)"));
        }
        if self.left_out > 0 {
            let detail = format!("{} more that differ from these", self.left_out);
            outcome.findings.push(Finding { guard: "gateway", code: "more_findings", detail, effect: Effect::Noted });
        }
        // An unwritable outcome cannot un-send the answer; the ledger itself counts the loss.
        let _lost = self.ledger.append(Record::Outcome(outcome));
    }

    /// Whether the outcome is already written.
    #[must_use]
    pub const fn is_closed(&self) -> bool {
        self.outcome.is_none()
    }
}

impl Drop for Entry {
    fn drop(&mut self) {
        self.close(Status::Abandoned, None, None);
    }
}

#[cfg(test)]
mod tests;
