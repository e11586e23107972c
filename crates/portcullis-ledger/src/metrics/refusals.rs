//! Every way to say no, and every guard finding, by stable code.

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::registry::Registry;

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Said {
    family: &'static str,
    code: &'static str,
}

#[derive(Debug)]
pub(super) struct Refusals(Family<Said, Counter>);

impl Refusals {
    pub(super) fn register(registry: &mut Registry) -> Self {
        let refusals = Self(Family::default());
        registry.register("refusals", "Refusals, faults and guard findings by stable code", refusals.0.clone());
        refusals
    }

    pub(super) fn count(&self, family: &'static str, code: &'static str) {
        self.0.get_or_create(&Said { family, code }).inc();
    }
}
