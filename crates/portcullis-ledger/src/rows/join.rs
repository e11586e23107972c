//! Brings intent and outcome together again; bounded, because an outcome may never come.

use std::collections::{HashMap, VecDeque};

use super::{Row, RowKind, StoredEntry};

/// Intents that may wait for their outcome; beyond it the oldest is shown as `open`.
pub(super) const OPEN: usize = 4096;

/// Intents without their outcome so far.
#[derive(Debug, Default)]
pub(crate) struct Join {
    open: HashMap<String, StoredEntry>,
    /// Call ids as they came; ids of finished calls stay until they reach the front.
    pub(super) order: VecDeque<String>,
}

impl Join {
    /// The rows that `entry` completes.
    pub(crate) fn push(&mut self, mut entry: StoredEntry) -> Option<Row> {
        match entry.kind.as_str() {
            "intent" => {
                let call = entry.call.clone().unwrap_or_default();
                self.order.push_back(call.clone());
                let twin = self.open.insert(call, entry);
                twin.map(|intent| row(Some(intent), None)).or_else(|| self.overflow())
            }
            "outcome" => {
                let intent = entry.call.as_ref().and_then(|call| self.open.remove(call));
                self.forget_finished();
                Some(row(intent, Some(entry)))
            }
            "refused" => Some(Row {
                kind: RowKind::Refused,
                decision: Some("refused".to_owned()),
                caller: entry.caller.take().or_else(|| entry.peer.take()),
                status: entry.http_status.map(|status| status.to_string()),
                ..plain(entry)
            }),
            "gap" => {
                let detail = entry.lost.map(|lost| format!("{lost} records could not be written"));
                Some(Row { kind: RowKind::Notice, code: Some("gap".to_owned()), detail, ..plain(entry) })
            }
            "segment" => None,
            _ => Some(Row { kind: RowKind::Notice, ..plain(entry) }),
        }
    }

    /// Calls without an outcome so far, oldest first.
    pub(crate) fn open(&self) -> Vec<Row> {
        let mut rows: Vec<Row> = self.open.values().map(|intent| row(Some(intent.clone()), None)).collect();
        rows.sort_by_key(|row| row.seq);
        rows
    }

    fn overflow(&mut self) -> Option<Row> {
        while self.open.len() > OPEN || self.order.len() > 2 * OPEN {
            let oldest = self.order.pop_front()?;
            if let Some(intent) = self.open.remove(&oldest) {
                return Some(row(Some(intent), None));
            }
        }
        None
    }

    fn forget_finished(&mut self) {
        while self.order.front().is_some_and(|call| !self.open.contains_key(call)) {
            self.order.pop_front();
        }
    }
}

fn plain(entry: StoredEntry) -> Row {
    Row { seq: entry.seq, at: entry.at, code: entry.code, detail: entry.detail, ..Row::default() }
}

fn row(intent: Option<StoredEntry>, outcome: Option<StoredEntry>) -> Row {
    let (intent, ended) = (intent.unwrap_or_default(), outcome.is_some());
    let outcome = outcome.unwrap_or_default();
    Row {
        kind: RowKind::Call,
        seq: if ended { outcome.seq } else { intent.seq },
        at: if intent.at.is_empty() { outcome.at } else { intent.at },
        caller: intent.caller,
        method: intent.method,
        name: intent.name,
        decision: intent.decision,
        status: if ended { outcome.status } else { Some("open".to_owned()) },
        code: outcome.code.or(intent.code),
        latency_us: outcome.latency_us,
        policies: intent.policies,
        call: intent.call.or(outcome.call),
        detail: outcome.detail.or(intent.detail),
    }
}
