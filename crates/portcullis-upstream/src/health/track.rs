//! What is known of one way to one server: its breaker, its tools' breakers, its health, and what was counted. Outlives the upstream that feeds it, so
//! that a reload forgets nothing.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use portcullis_core::refusal::{Fault, FaultKind};
use tokio::time::Instant;

use super::condition::{Condition, Health, Thresholds};
use super::view::{LastFailure, Numbers, ToolView, TrackView};
use crate::breaker::{Circuit, Dice, Outcome, Permit, Phase, Rules, Tools, Transition};

/// Characters of a failure that are kept. 200: one sentence.
const SENTENCE: usize = 200;

/// By what a track judges. Where these differ, what was counted means something else, and a new track begins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Terms {
    pub breaker: Rules,
    /// Rules of each tool's breaker, and how many there may be.
    pub tools: Option<(Rules, usize)>,
    pub health: Thresholds,
}

/// A breaker changed.
#[derive(Clone, Copy, Debug)]
pub struct Changed<'a> {
    pub server: &'a Arc<str>,
    pub transport: &'a Arc<str>,
    /// Whose breaker it is; `None` for that of the transport.
    pub tool: Option<&'a Arc<str>>,
    pub transition: Transition,
}

/// Hears of every change once, in order. It is called under a lock: it must not wait, nor call back.
pub type Observer = Arc<dyn Fn(&Changed<'_>) + Send + Sync>;

/// One transport of one server.
pub struct Track {
    server: Arc<str>,
    transport: Arc<str>,
    terms: Terms,
    start: Instant,
    observer: Observer,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    circuit: Circuit,
    tools: Option<Tools>,
    condition: Condition,
    numbers: Numbers,
    last_failure: Option<(String, Duration)>,
    /// When the breaker last changed.
    turned: Duration,
}

/// Leave to call, from a breaker and perhaps from a tool's.
#[derive(Debug)]
pub(crate) struct Leave {
    permit: Permit,
    tool: Option<(Arc<str>, Option<Permit>)>,
}

impl fmt::Debug for Track {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (server, transport) = (&self.server, &self.transport);
        f.debug_struct("Track").field("server", server).field("transport", transport).finish_non_exhaustive()
    }
}

impl Track {
    pub(super) fn new(
        server: Arc<str>,
        transport: Arc<str>,
        terms: Terms,
        mut dice: Dice,
        observer: Observer,
    ) -> Arc<Self> {
        let tools = terms.tools.clone().map(|(rules, most)| Tools::new(rules, most, Dice::seeded(dice.roll())));
        let state = State {
            circuit: Circuit::new(terms.breaker.clone(), dice, 0),
            tools,
            condition: Condition::new(terms.health.clone(), Duration::ZERO),
            numbers: Numbers::default(),
            last_failure: None,
            turned: Duration::ZERO,
        };
        Arc::new(Self { server, transport, terms, start: Instant::now(), observer, state: Mutex::new(state) })
    }

    pub(super) const fn server(&self) -> &Arc<str> {
        &self.server
    }

    pub(super) const fn transport(&self) -> &Arc<str> {
        &self.transport
    }

    pub(super) const fn terms(&self) -> &Terms {
        &self.terms
    }

    /// Whether tools have breakers of their own.
    pub(crate) const fn minds_tools(&self) -> bool {
        self.terms.tools.is_some()
    }

    /// Leave to call, or a fault that says when to try again.
    pub(crate) fn admit(&self, tool: Option<Arc<str>>) -> Result<Leave, Fault> {
        let now = self.now();
        let mut state = self.lock();
        let state = &mut *state;
        // First the tool's: leave to call a tool that is shut would take the server's only probe for nothing.
        let of_tool = match (&mut state.tools, tool) {
            (Some(tools), Some(tool)) => {
                match tools.admit(&tool, now, &mut |tool, change| self.tell(Some(tool), change)) {
                    Ok(permit) => Some((tool, permit)),
                    Err(wait) => {
                        state.numbers.refused += 1;
                        return Err(refusal(wait, "this tool kept failing"));
                    }
                }
            }
            _ => None,
        };
        let (numbers, turned) = (&mut state.numbers, &mut state.turned);
        match state.circuit.admit(now, &mut |change| self.turned(change, now, numbers, turned)) {
            Ok(permit) => {
                state.numbers.calls += 1;
                Ok(Leave { permit, tool: of_tool })
            }
            Err(wait) => {
                state.numbers.refused += 1;
                if let (Some(tools), Some((tool, permit))) = (&mut state.tools, of_tool) {
                    let tell = &mut |tool: &Arc<str>, change| self.tell(Some(tool), change);
                    tools.settle(&tool, permit.as_ref(), Outcome::Neither, now, tell);
                }
                Err(refusal(wait, "this transport kept failing"))
            }
        }
    }

    /// Takes an outcome: what it says about the breaker, and what about health. `fault` is what is shown of it.
    pub(crate) fn settle(&self, leave: Leave, outcome: Outcome, health: Outcome, fault: Option<&Fault>) {
        let now = self.now();
        let mut state = self.lock();
        let state = &mut *state;
        if let (Some(tools), Some((tool, permit))) = (&mut state.tools, &leave.tool) {
            let tell = &mut |tool: &Arc<str>, change| self.tell(Some(tool), change);
            tools.settle(tool, permit.as_ref(), outcome, now, tell);
        }
        let before = state.condition.health(now);
        let after = match health {
            Outcome::Answered { .. } => {
                state.numbers.answered += 1;
                state.condition.answered(now)
            }
            Outcome::Failed { .. } => {
                state.numbers.failed += 1;
                state.last_failure = fault.map(|fault| (sentence(fault), now));
                state.condition.failed(now)
            }
            Outcome::Neither => {
                state.numbers.undecided += 1;
                before
            }
        };
        if before != after {
            tracing::info!(server = %self.server, transport = %self.transport, from = before.as_str(), to = after.as_str(), "health");
        }
        let (numbers, turned) = (&mut state.numbers, &mut state.turned);
        state.circuit.settle(&leave.permit, outcome, now, &mut |change| self.turned(change, now, numbers, turned));
    }

    /// Counts a question of our own.
    pub(crate) fn checked(&self, answered: bool) {
        let numbers = &mut self.lock().numbers;
        if answered {
            numbers.checks_answered += 1;
        } else {
            numbers.checks_failed += 1;
        }
    }

    /// How it is, and how many answers there were by now.
    pub(crate) fn pulse(&self) -> (Health, u64) {
        let now = self.now();
        let mut state = self.lock();
        (shown(state.condition.health(now), state.circuit.phase()), state.numbers.answered)
    }

    /// As if nothing had been heard of it yet.
    pub(super) fn reset(&self) {
        let now = self.now();
        let mut state = self.lock();
        let state = &mut *state;
        let (numbers, turned) = (&mut state.numbers, &mut state.turned);
        state.circuit.reset(now, &mut |change| self.turned(change, now, numbers, turned));
        if let Some(tools) = &mut state.tools {
            tools.reset(now, &mut |tool, change| self.tell(Some(tool), change));
        }
        state.condition = Condition::new(self.terms.health.clone(), now);
    }

    pub(super) fn view(&self) -> TrackView {
        let now = self.now();
        let mut state = self.lock();
        let health = state.condition.health(now);
        let breaker = state.circuit.phase();
        let tools = state.tools.as_ref().map(|tools| tools.troubled(now)).unwrap_or_default();
        TrackView {
            server: Arc::clone(&self.server),
            transport: Arc::clone(&self.transport),
            health: shown(health, breaker),
            // Where the breaker decides what is shown, it is as old as that.
            health_for: now.saturating_sub(if shown(health, breaker) == health {
                state.condition.since()
            } else {
                state.turned
            }),
            breaker,
            breaker_for: now.saturating_sub(state.turned),
            retry_after: state.circuit.retry_after(now),
            last_failure: state
                .last_failure
                .as_ref()
                .map(|(text, at)| LastFailure { text: text.clone(), ago: now.saturating_sub(*at) }),
            numbers: state.numbers,
            tools: tools
                .into_iter()
                .map(|(name, breaker, retry_after)| ToolView { name, breaker, retry_after })
                .collect(),
        }
    }

    fn turned(&self, change: Transition, now: Duration, numbers: &mut Numbers, turned: &mut Duration) {
        *turned = now;
        match change.to {
            Phase::Open => numbers.opened += 1,
            Phase::HalfOpen => numbers.half_opened += 1,
            Phase::Closed => numbers.closed += 1,
        }
        self.tell(None, change);
    }

    fn tell(&self, tool: Option<&Arc<str>>, transition: Transition) {
        (self.observer)(&Changed { server: &self.server, transport: &self.transport, tool, transition });
    }

    fn now(&self) -> Duration {
        self.start.elapsed()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    #[cfg(test)]
    pub(crate) fn watched_tools(&self) -> usize {
        self.lock().tools.as_ref().map_or(0, Tools::len)
    }
}

/// A server whose calls are refused is not healthy, whatever it last said.
fn shown(health: Health, breaker: Phase) -> Health {
    match breaker {
        Phase::Closed => health,
        Phase::HalfOpen => health.max(Health::Degraded),
        Phase::Open => Health::Unhealthy,
    }
}

fn refusal(wait: Duration, why: &'static str) -> Fault {
    let retry_after_ms = u64::try_from(wait.as_millis()).unwrap_or(u64::MAX).max(1);
    Fault::before_sending(FaultKind::CircuitOpen { retry_after_ms }, format!("{why}; next try in {wait:?}"))
}

fn sentence(fault: &Fault) -> String {
    fault.to_string().chars().take(SENTENCE).collect()
}
