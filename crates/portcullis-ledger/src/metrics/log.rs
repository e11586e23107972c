//! The audit log itself: is it written, how much waits, what was lost.

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

#[derive(Debug)]
pub(crate) struct Log {
    /// Records that are not in the log.
    pub(crate) lost: Counter,
    /// Times that writing began to fail.
    pub(crate) failures: Counter,
    /// Records between the pipeline and the writer.
    pub(crate) queue: Gauge,
    /// 1 while the log can be written.
    pub(crate) healthy: Gauge,
    /// Number of the newest durable entry.
    pub(crate) entries: Gauge,
}

impl Log {
    pub(super) fn register(registry: &mut Registry) -> Self {
        let log = Self {
            lost: Counter::default(),
            failures: Counter::default(),
            queue: Gauge::default(),
            healthy: Gauge::default(),
            entries: Gauge::default(),
        };
        registry.register("audit_lost", "Records that could not be written to the audit log", log.lost.clone());
        registry.register("audit_failures", "Times that writing the audit log began to fail", log.failures.clone());
        registry.register("audit_queue", "Records waiting for the writer of the audit log", log.queue.clone());
        registry.register("audit_healthy", "1 while the audit log can be written", log.healthy.clone());
        registry.register("audit_entries", "Number of the newest durable entry", log.entries.clone());
        log
    }
}
