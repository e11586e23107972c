//! One decision in full: everything the log knows about a call, for a person.

use std::path::Path;

use crate::error::AuditError;
use crate::escape::escaped;
use crate::layout::Layout;
use crate::lines::{Lines, Piece};
use crate::rows::{StoredEntry, duration};
use crate::tail::segments;

/// Entries shown at most; a call has two.
const MOST: usize = 16;

/// The entries that `wanted` means: a call id (16 hexadecimal digits) or the number of an entry. A number that belongs to a call gives
/// the whole call. Empty when there is none.
///
/// # Errors
/// There is no log, or it cannot be read.
pub fn find(path: &Path, wanted: &str) -> Result<Vec<StoredEntry>, AuditError> {
    let layout = Layout::at(path)?;
    let by_call = |call: &str| scan(&layout, path, |entry| entry.call.as_deref() == Some(call));
    if wanted.len() == 16 {
        return by_call(wanted);
    }
    let Ok(seq) = wanted.parse::<u64>() else { return Ok(Vec::new()) };
    let found = scan(&layout, path, |entry| entry.seq == seq)?;
    match found.first().and_then(|entry| entry.call.as_deref()) {
        Some(call) => by_call(call),
        None => Ok(found),
    }
}

/// [`find`] as text; `None` when there is no such entry.
///
/// # Errors
/// As [`find`].
pub fn show(path: &Path, wanted: &str) -> Result<Option<String>, AuditError> {
    let found = find(path, wanted)?;
    let texts: Vec<String> = found.iter().map(entry_text).collect();
    Ok((!texts.is_empty()).then(|| texts.join("\n")))
}

fn scan(layout: &Layout, path: &Path, wanted: impl Fn(&StoredEntry) -> bool) -> Result<Vec<StoredEntry>, AuditError> {
    let mut found = Vec::new();
    let mut line = Vec::new();
    for number in segments(layout, path)? {
        let segment = layout.segment(number);
        let mut lines = Lines::open(&segment).map_err(AuditError::io("read", &segment))?;
        loop {
            match lines.next(&mut line).map_err(AuditError::io("read", &segment))? {
                Piece::End => break,
                Piece::Torn | Piece::TooLong => {}
                Piece::Whole => found.extend(StoredEntry::of(&line).filter(&wanted)),
            }
            if found.len() >= MOST {
                return Ok(found);
            }
        }
    }
    Ok(found)
}

fn entry_text(entry: &StoredEntry) -> String {
    let state = if entry.intact { "its hash matches" } else { "CHANGED: its hash does not match" };
    let mut text = format!("entry {}: {} at {} ({state})\n", entry.seq, escaped(&entry.kind), escaped(&entry.at));
    let number = |value: Option<u64>| value.map(|value| value.to_string());
    let notifications: Vec<_> =
        entry.notifications.iter().map(|(method, count)| format!("{method}: {count}")).collect();
    let rows: [(&str, Option<String>); 38] = [
        ("call", entry.call.clone()),
        ("caller", entry.caller.clone()),
        ("proof", entry.proof.clone()),
        ("peer", entry.peer.clone()),
        ("via", entry.via.clone()),
        ("agent", entry.agent.clone()),
        ("signed by", entry.signed_by.clone()),
        ("chain", (!entry.chain.is_empty()).then(|| entry.chain.join(", "))),
        ("session", entry.session.clone()),
        ("server", entry.server.clone()),
        ("version", entry.version.clone()),
        ("direction", entry.direction.clone()),
        ("method", entry.method.clone()),
        ("name", entry.name.clone()),
        ("id", entry.id.clone()),
        ("arguments blake3", entry.arguments_blake3.clone()),
        ("arguments", entry.arguments.clone()),
        ("decision", entry.decision.clone()),
        ("status", entry.status.clone()),
        ("family", entry.family.clone()),
        ("code", entry.code.clone()),
        ("detail", entry.detail.clone()),
        ("policies", (!entry.policies.is_empty()).then(|| entry.policies.join(", "))),
        ("plan", entry.plan.clone()),
        ("messages", number(entry.messages)),
        ("notifications", (!notifications.is_empty()).then(|| notifications.join(", "))),
        ("bytes", number(entry.bytes)),
        ("latency", entry.latency_us.map(duration)),
        ("http status", number(entry.http_status.map(u64::from))),
        ("result", entry.result.clone()),
        ("trace id", entry.trace_id.clone()),
        ("parent span", entry.parent_span.clone()),
        ("lost records", number(entry.lost)),
        ("format", number(entry.format.map(u64::from))),
        ("segment", number(entry.segment)),
        ("gateway", entry.gateway.clone()),
        ("previous hash", Some(entry.prev.clone())),
        ("hash", Some(entry.hash.clone())),
    ];
    for (name, value) in rows {
        if let Some(value) = value {
            text.push_str(&format!("  {name:<16}  {}\n", escaped(&value)));
        }
    }
    for (name, value) in &entry.others {
        // A text as it is, without the quotes of JSON.
        let value = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        text.push_str(&format!("  {:<16}  {}\n", escaped(name), escaped(&value)));
    }
    for attempt in &entry.attempts {
        let (transport, outcome) = (escaped(&attempt.transport), escaped(&attempt.outcome));
        let (took, why) = (duration(attempt.took_us), escaped(&attempt.why));
        let left = escaped(&attempt.left);
        text.push_str(&format!("  {:<16}  {transport} {outcome} ({took}, left: {left}) {why}\n", "attempt"));
    }
    for finding in &entry.findings {
        let (guard, code, effect) = (escaped(&finding.guard), escaped(&finding.code), escaped(&finding.effect));
        text.push_str(&format!("  {:<16}  {guard} {code} ({effect}) {}\n", "finding", escaped(&finding.detail)));
    }
    text
}
