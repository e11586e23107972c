//! The same seam without a disk: keeps the newest records in memory, for tests and for the demo's own checks.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

use portcullis_core::ledger::{Ledger, Record, Unwritable};

use crate::metrics::Metrics;

/// Keeps the newest records, up to a limit.
#[derive(Debug)]
pub struct MemoryLedger {
    records: Mutex<VecDeque<Record>>,
    limit: usize,
    metrics: Arc<Metrics>,
}

impl MemoryLedger {
    /// Keeps at most `limit` records; the oldest go first.
    #[must_use]
    pub fn new(limit: usize) -> Self {
        Self { records: Mutex::new(VecDeque::new()), limit, metrics: Arc::new(Metrics::new()) }
    }

    /// What was appended, oldest first.
    #[must_use]
    pub fn records(&self) -> Vec<Record> {
        self.records.lock().unwrap_or_else(PoisonError::into_inner).iter().cloned().collect()
    }

    /// What was counted.
    #[must_use]
    pub const fn metrics(&self) -> &Arc<Metrics> {
        &self.metrics
    }
}

impl Ledger for MemoryLedger {
    fn append(&self, record: Record) -> Result<(), Unwritable> {
        self.metrics.observe(&record);
        let mut records = self.records.lock().unwrap_or_else(PoisonError::into_inner);
        records.push_back(record);
        while records.len() > self.limit {
            records.pop_front();
        }
        Ok(())
    }

    fn count(&self, family: &'static str, code: &'static str) {
        self.metrics.count(family, code);
    }
}
