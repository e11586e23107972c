//! Entries read back, and the table a person follows. Every foreign text is escaped before it is shown.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::Value;

use crate::escape::clipped;
use crate::format::Frame;

mod join;

pub(crate) use join::Join;

#[cfg(test)]
mod tests;

/// One entry as it stands in the log; members that its kind does not have are `None` or empty.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct StoredEntry {
    pub seq: u64,
    pub prev: String,
    pub hash: String,
    pub at: String,
    pub kind: String,
    pub call: Option<String>,
    pub caller: Option<String>,
    pub proof: Option<String>,
    pub agent: Option<String>,
    pub signed_by: Option<String>,
    pub chain: Vec<String>,
    pub session: Option<String>,
    pub server: Option<String>,
    pub version: Option<String>,
    pub direction: Option<String>,
    pub method: Option<String>,
    pub name: Option<String>,
    pub id: Option<String>,
    pub arguments_blake3: Option<String>,
    pub arguments: Option<String>,
    pub bytes: Option<u64>,
    pub decision: Option<String>,
    pub code: Option<String>,
    pub detail: Option<String>,
    pub policies: Vec<String>,
    pub findings: Vec<StoredFinding>,
    pub plan: Option<String>,
    pub trace_id: Option<String>,
    pub parent_span: Option<String>,
    pub status: Option<String>,
    pub messages: Option<u64>,
    /// Of the server, passed on; how many by method.
    pub notifications: BTreeMap<String, u64>,
    /// What was tried, in order, where there was a choice.
    pub attempts: Vec<StoredAttempt>,
    pub latency_us: Option<u64>,
    pub http_status: Option<u16>,
    pub result: Option<String>,
    pub family: Option<String>,
    pub peer: Option<String>,
    pub via: Option<String>,
    pub lost: Option<u64>,
    pub format: Option<u32>,
    pub segment: Option<u64>,
    pub gateway: Option<String>,
    /// What another version of the gateway wrote and this one does not.
    #[serde(flatten)]
    pub others: BTreeMap<String, Value>,
    /// Whether the line is what its own hash says. The chain is another matter: that takes `verify`.
    #[serde(skip)]
    pub intact: bool,
}

/// Something a guard noticed, as stored.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct StoredFinding {
    pub guard: String,
    pub code: String,
    pub effect: String,
    pub detail: String,
}

/// One way that was tried, as stored.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct StoredAttempt {
    pub transport: String,
    pub outcome: String,
    /// `perhaps` or `never`: whether the call may have reached the server.
    pub left: String,
    pub took_us: u64,
    pub why: String,
}

impl StoredEntry {
    /// Reads one line; `None` when it is no entry.
    pub(crate) fn of(line: &[u8]) -> Option<Self> {
        let mut entry: Self = serde_json::from_slice(line).ok()?;
        entry.intact = Frame::of(line).is_some_and(|frame| frame.is_intact(line));
        Some(entry)
    }
}

/// What a row of the table is about.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum RowKind {
    /// A judged message, with its outcome if it has one yet.
    #[default]
    Call,
    /// Something that never became a call.
    Refused,
    /// A fact about the gateway or the log.
    Notice,
    /// A line that is no entry.
    Damaged,
}

/// One line of the table.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Row {
    pub kind: RowKind,
    /// Number of the entry that completed the row.
    pub seq: u64,
    pub at: String,
    pub caller: Option<String>,
    pub method: Option<String>,
    pub name: Option<String>,
    pub decision: Option<String>,
    /// `open` while the outcome is missing.
    pub status: Option<String>,
    pub code: Option<String>,
    pub latency_us: Option<u64>,
    pub policies: Vec<String>,
    pub call: Option<String>,
    pub detail: Option<String>,
}

/// Widths in characters: time, caller, method, name, decision, status, latency, call id; what decided comes last and is not padded.
const WIDTHS: [usize; 8] = [12, 14, 24, 24, 8, 9, 9, 16];
/// Width of the last column.
const LAST: usize = 60;

/// Names of the columns.
#[must_use]
pub fn table_header() -> String {
    let names = ["TIME", "CALLER", "METHOD", "NAME", "DECISION", "STATUS", "LATENCY", "CALL"];
    line(names.map(str::to_owned), "CODE / POLICIES")
}

/// One row, without a line feed. Safe to print whatever the log holds.
#[must_use]
pub fn table_row(row: &Row) -> String {
    let time = time_of_day(&row.at);
    match row.kind {
        RowKind::Call | RowKind::Refused => {
            let or_dash = |text: Option<&str>| text.filter(|text| !text.is_empty()).unwrap_or("-").to_owned();
            let cells = [
                time,
                or_dash(row.caller.as_deref()),
                or_dash(row.method.as_deref()),
                or_dash(row.name.as_deref()),
                or_dash(row.decision.as_deref()),
                or_dash(row.status.as_deref()),
                row.latency_us.map_or_else(|| "-".to_owned(), duration),
                or_dash(row.call.as_deref()),
            ];
            let mut last: Vec<&str> = row.code.iter().map(String::as_str).collect();
            last.extend(row.policies.iter().map(String::as_str));
            line(cells, &last.join(" "))
        }
        RowKind::Notice | RowKind::Damaged => {
            let code = clipped(row.code.as_deref().unwrap_or_default(), 20);
            let detail = clipped(row.detail.as_deref().unwrap_or_default(), 140);
            let width = WIDTHS[0];
            format!("{time:width$}  -- {code}: {detail}")
        }
    }
}

fn line(cells: [String; 8], last: &str) -> String {
    let padded = cells.iter().zip(WIDTHS).map(|(cell, width)| format!("{:width$}", clipped(cell, width)));
    let mut line = padded.collect::<Vec<_>>().join("  ");
    line.push_str("  ");
    line.push_str(&clipped(last, LAST));
    line.trim_end().to_owned()
}

/// `09:30:00.000` out of an RFC 3339 time.
fn time_of_day(at: &str) -> String {
    let time = at.split_once('T').map_or(at, |(_, time)| time);
    clipped(time.trim_end_matches('Z'), WIDTHS[0])
}

pub(crate) fn duration(micros: u64) -> String {
    match micros {
        0..1_000 => format!("{micros} µs"),
        1_000..10_000_000 => format!("{}.{} ms", micros / 1_000, micros / 100 % 10),
        _ => format!("{}.{} s", micros / 1_000_000, micros / 100_000 % 10),
    }
}
