//! How the servers are. Nobody counts here: what was counted elsewhere is copied when somebody looks, so a server that is gone leaves no series.

use std::sync::atomic::Ordering;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

/// One transport of one server. Names come from the configuration.
#[derive(Clone, Debug, Default)]
pub struct TransportNumbers {
    pub server: String,
    pub transport: String,
    /// `unknown`, `healthy`, `degraded` or `unhealthy`.
    pub health: &'static str,
    /// `closed`, `half_open` or `open`.
    pub breaker: &'static str,
    /// Times the breaker came to each state, in this order.
    pub transitions: [u64; 3],
    /// Calls by how they ended: answered, failed, undecided, refused.
    pub calls: [u64; 4],
    /// Questions of our own: answered, failed.
    pub checks: [u64; 2],
}

/// What one server holds of the gateway.
#[derive(Clone, Debug, Default)]
pub struct RoomNumbers {
    pub server: String,
    /// Requests under way, requests waiting, streams that stand open.
    pub held: [usize; 3],
    pub refused: u64,
}

/// States of health.
const HEALTH: [&str; 4] = ["unknown", "healthy", "degraded", "unhealthy"];
/// States of a breaker.
const BREAKER: [&str; 3] = ["closed", "half_open", "open"];
/// How a call to a transport ends, for its breaker.
const ENDS: [&str; 4] = ["answered", "failed", "undecided", "refused"];

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct State {
    server: String,
    transport: String,
    state: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Ended {
    server: String,
    transport: String,
    outcome: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Held {
    server: String,
    what: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Named {
    server: String,
}

#[derive(Debug, Default)]
pub(super) struct Servers {
    health: Family<State, Gauge>,
    breaker: Family<State, Gauge>,
    transitions: Family<State, Counter>,
    calls: Family<Ended, Counter>,
    checks: Family<Ended, Counter>,
    held: Family<Held, Gauge>,
    refused: Family<Named, Counter>,
}

impl Servers {
    pub(super) fn register(registry: &mut Registry) -> Self {
        let servers = Self::default();
        registry.register("server_health", "1 for the state of health a transport is in", servers.health.clone());
        registry.register("breaker_state", "1 for the state its breaker is in", servers.breaker.clone());
        let help = "Times a breaker came to a state";
        registry.register("breaker_transitions", help, servers.transitions.clone());
        let help = "Exchanges with a transport by what its breaker made of them";
        registry.register("transport_calls", help, servers.calls.clone());
        registry.register("server_checks", "Checks of health by how they ended", servers.checks.clone());
        let help = "Requests under way, requests waiting and standing streams of a server";
        registry.register("bulkhead", help, servers.held.clone());
        registry.register("bulkhead_refused", "What a server had no room for", servers.refused.clone());
        servers
    }

    pub(super) fn show(&self, transports: &[TransportNumbers], rooms: &[RoomNumbers]) {
        self.clear();
        for numbers in transports {
            let state = |state| State { server: numbers.server.clone(), transport: numbers.transport.clone(), state };
            for name in HEALTH {
                self.health.get_or_create(&state(name)).set((name == numbers.health).into());
            }
            for (name, times) in BREAKER.into_iter().zip(numbers.transitions) {
                self.breaker.get_or_create(&state(name)).set((name == numbers.breaker).into());
                set(&self.transitions, &state(name), times);
            }
            let ended =
                |outcome| Ended { server: numbers.server.clone(), transport: numbers.transport.clone(), outcome };
            for (name, times) in ENDS.into_iter().zip(numbers.calls) {
                set(&self.calls, &ended(name), times);
            }
            for (name, times) in ["answered", "failed"].into_iter().zip(numbers.checks) {
                set(&self.checks, &ended(name), times);
            }
        }
        for room in rooms {
            for (what, count) in ["calls", "waiting", "streams"].into_iter().zip(room.held) {
                let held = Held { server: room.server.clone(), what };
                self.held.get_or_create(&held).set(i64::try_from(count).unwrap_or(i64::MAX));
            }
            set(&self.refused, &Named { server: room.server.clone() }, room.refused);
        }
    }

    fn clear(&self) {
        self.health.clear();
        self.breaker.clear();
        self.transitions.clear();
        self.calls.clear();
        self.checks.clear();
        self.held.clear();
        self.refused.clear();
    }
}

/// The total as it was counted elsewhere.
fn set<L: Clone + std::hash::Hash + Eq>(family: &Family<L, Counter>, labels: &L, total: u64) {
    family.get_or_create(labels).inner().store(total, Ordering::Relaxed);
}
