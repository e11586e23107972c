//! What was asked, what was decided, and how it ended. Tools are not labels: their names belong to the servers.

use portcullis_core::ledger::{Intent, Outcome, Status};
use portcullis_core::wire::METHODS;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::{Registry, Unit};

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Asked {
    method: &'static str,
    direction: &'static str,
    decision: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Ended {
    status: &'static str,
}

#[derive(Debug)]
pub(super) struct Calls {
    asked: Family<Asked, Counter>,
    ended: Family<Ended, Counter>,
    duration: Histogram,
}

impl Calls {
    pub(super) fn register(registry: &mut Registry) -> Self {
        // 0.5 ms to 131 s: from a refusal to the longest tool call a client waits for.
        let calls = Self {
            asked: Family::default(),
            ended: Family::default(),
            duration: Histogram::new(exponential_buckets(0.0005, 4.0, 10)),
        };
        registry.register("calls", "Judged messages by method and decision", calls.asked.clone());
        registry.register("outcomes", "Finished calls by how they ended", calls.ended.clone());
        let help = "From judgement to the last byte of the answer; standing and abandoned streams are left out";
        registry.register_with_unit("call_duration", help, Unit::Seconds, calls.duration.clone());
        calls
    }

    pub(super) fn intent(&self, intent: &Intent) {
        let known = METHODS.iter().find(|row| row.name == intent.method);
        let method = known.map_or("other", |row| row.name);
        let asked = Asked { method, direction: intent.direction, decision: intent.decision };
        self.asked.get_or_create(&asked).inc();
    }

    pub(super) fn outcome(&self, outcome: &Outcome) {
        self.ended.get_or_create(&Ended { status: outcome.status.as_str() }).inc();
        match outcome.status {
            Status::Answered | Status::Accepted | Status::Denied | Status::Cut | Status::Failed => {
                self.duration.observe(outcome.latency.as_secs_f64());
            }
            Status::Held | Status::Abandoned | Status::Ended => {}
        }
    }
}
