//! Breakers of single tools: made when a tool first fails, so that tools which work cost nothing. Names come from callers, so their number is
//! bounded.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use super::circuit::{Circuit, Outcome, Permit, Phase, Rules, Transition};
use super::dice::Dice;

/// Permits a breaker can give before those of its successor could be taken for its own.
const GENERATIONS: u64 = 1 << 32;

#[derive(Debug)]
pub(crate) struct Tools {
    rules: Rules,
    most: usize,
    dice: Dice,
    made: u64,
    circuits: HashMap<Arc<str>, Circuit>,
}

/// A tool's name with each transition of its breaker.
pub(crate) type TellOf<'a> = &'a mut dyn FnMut(&Arc<str>, Transition);

impl Tools {
    pub(crate) fn new(rules: Rules, most: usize, dice: Dice) -> Self {
        Self { rules, most, dice, made: 0, circuits: HashMap::new() }
    }

    /// Leave to call; `None` where nothing is known against the tool.
    pub(crate) fn admit(&mut self, tool: &str, now: Duration, tell: TellOf<'_>) -> Result<Option<Permit>, Duration> {
        let Some((name, _)) = self.circuits.get_key_value(tool) else { return Ok(None) };
        let name = Arc::clone(name);
        let Some(circuit) = self.circuits.get_mut(tool) else { return Ok(None) };
        circuit.admit(now, &mut |change| tell(&name, change)).map(Some)
    }

    pub(crate) fn settle(
        &mut self,
        tool: &Arc<str>,
        permit: Option<&Permit>,
        outcome: Outcome,
        now: Duration,
        tell: TellOf<'_>,
    ) {
        let tell = &mut |change: Transition| tell(tool, change);
        let failed = matches!(outcome, Outcome::Failed { .. });
        if let Some(circuit) = self.circuits.get_mut(tool) {
            match permit {
                Some(permit) => circuit.settle(permit, outcome, now, tell),
                // It was admitted before the tool was watched.
                None if failed && circuit.is_closed() => Self::count(circuit, outcome, now, tell),
                None => {}
            }
        } else if failed && self.has_room() {
            self.made = self.made.wrapping_add(1);
            let dice = Dice::seeded(self.dice.roll());
            let mut circuit = Circuit::new(self.rules.clone(), dice, self.made.wrapping_mul(GENERATIONS));
            Self::count(&mut circuit, outcome, now, tell);
            self.circuits.insert(Arc::clone(tool), circuit);
        }
    }

    fn count(circuit: &mut Circuit, outcome: Outcome, now: Duration, tell: &mut dyn FnMut(Transition)) {
        if let Ok(permit) = circuit.admit(now, tell) {
            circuit.settle(&permit, outcome, now, tell);
        }
    }

    /// Makes room by forgetting one that lets calls pass; those that are open stay.
    fn has_room(&mut self) -> bool {
        if self.circuits.len() < self.most {
            return true;
        }
        let idle = self.circuits.iter().find(|(_, circuit)| circuit.is_closed()).map(|(name, _)| Arc::clone(name));
        idle.is_some_and(|name| self.circuits.remove(&name).is_some())
    }

    /// Those that do not let every call pass, by name.
    pub(crate) fn troubled(&self, now: Duration) -> Vec<(Arc<str>, Phase, Option<Duration>)> {
        let open = self.circuits.iter().filter(|(_, circuit)| !circuit.is_closed());
        let mut rows: Vec<_> =
            open.map(|(name, circuit)| (Arc::clone(name), circuit.phase(), circuit.retry_after(now))).collect();
        rows.sort();
        rows
    }

    pub(crate) fn reset(&mut self, now: Duration, tell: TellOf<'_>) {
        for (name, circuit) in &mut self.circuits {
            circuit.reset(now, &mut |change| tell(name, change));
        }
        self.circuits.clear();
    }

    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.circuits.len()
    }
}
