//! What was asked, what was decided, and how it ended. Tools are not labels: their names belong to the servers.
//!
//! Each counter is looked up in its family once; from then on counting takes no lock and hashes no label.

use std::sync::OnceLock;

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

const DIRECTIONS: [&str; 2] = ["to_server", "to_client"];
const DECISIONS: [&str; 3] = ["allow", "deny", "ask"];
/// One for each [`Status`].
const STATUSES: usize = Status::Ended as usize + 1;

#[derive(Debug)]
pub(super) struct Calls {
    asked: Family<Asked, Counter>,
    /// By method (the last is `other`), direction and decision.
    asked_places: Vec<OnceLock<Counter>>,
    ended: Family<Ended, Counter>,
    ended_places: [OnceLock<Counter>; STATUSES],
    duration: Histogram,
}

impl Calls {
    pub(super) fn register(registry: &mut Registry) -> Self {
        // 0.5 ms to 131 s: from a refusal to the longest tool call a client waits for.
        let calls = Self {
            asked: Family::default(),
            asked_places: (0..(METHODS.len() + 1) * DIRECTIONS.len() * DECISIONS.len())
                .map(|_| OnceLock::new())
                .collect(),
            ended: Family::default(),
            ended_places: Default::default(),
            duration: Histogram::new(exponential_buckets(0.0005, 4.0, 10)),
        };
        registry.register("calls", "Judged messages by method and decision", calls.asked.clone());
        registry.register("outcomes", "Finished calls by how they ended", calls.ended.clone());
        let help = "From judgement to the last byte of the answer; standing and abandoned streams are left out";
        registry.register_with_unit("call_duration", help, Unit::Seconds, calls.duration.clone());
        calls
    }

    pub(super) fn intent(&self, intent: &Intent) {
        let row = METHODS.iter().position(|row| row.name == intent.method).unwrap_or(METHODS.len());
        let method = METHODS.get(row).map_or("other", |row| row.name);
        let asked = || Asked { method, direction: intent.direction, decision: intent.decision };
        let place = || {
            let direction = DIRECTIONS.iter().position(|word| *word == intent.direction)?;
            let decision = DECISIONS.iter().position(|word| *word == intent.decision)?;
            self.asked_places.get((row * DIRECTIONS.len() + direction) * DECISIONS.len() + decision)
        };
        count(&self.asked, place(), asked);
    }

    pub(super) fn outcome(&self, outcome: &Outcome) {
        let ended = || Ended { status: outcome.status.as_str() };
        count(&self.ended, self.ended_places.get(outcome.status as usize), ended);
        match outcome.status {
            Status::Answered | Status::Accepted | Status::Denied | Status::Cut | Status::Failed => {
                self.duration.observe(outcome.latency.as_secs_f64());
            }
            Status::Held | Status::Abandoned | Status::Ended => {}
        }
    }
}

/// Counts in the place kept for these labels; without one the family finds the counter.
fn count<L>(family: &Family<L, Counter>, place: Option<&OnceLock<Counter>>, labels: impl Fn() -> L)
where
    L: Clone + std::hash::Hash + Eq,
{
    match place {
        Some(place) => place.get_or_init(|| family.get_or_create_owned(&labels())).inc(),
        None => family.get_or_create(&labels()).inc(),
    };
}
