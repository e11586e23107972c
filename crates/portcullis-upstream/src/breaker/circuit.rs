//! The breaker as a state machine. It has no clock, no lock and no thread: each call hands it the time, so that every schedule can be played.
//!
//! closed → open when failures, or slow answers, are too many; open → half-open when its period is over and somebody calls; half-open → closed or
//! open again by the outcome of one probe. There is never more than one probe, and one that does not end in time has failed.

use std::time::Duration;

use super::dice::Dice;
use super::window::{Window, reaches};

/// When to open, and for how long. Zero switches a criterion off.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rules {
    pub window: Duration,
    /// Calls before a rate means anything.
    pub minimum: u32,
    pub error_percent: u32,
    /// What takes longer is slow.
    pub slow: Option<Duration>,
    pub slow_percent: u32,
    /// Failures in a row.
    pub consecutive: u32,
    /// First time open, doubled up to `most_open`.
    pub open: Duration,
    pub most_open: Duration,
    pub jitter_percent: u32,
    /// After this a probe has failed.
    pub probe: Duration,
    /// The server's own word opens it at once.
    pub heed_retry_after: bool,
}

/// Where a breaker is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Phase {
    /// Calls pass.
    #[default]
    Closed,
    /// One call at a time passes, to try.
    HalfOpen,
    /// No call passes.
    Open,
}

/// Why a breaker changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Why {
    /// So many calls failed in a row.
    Consecutive,
    ErrorRate,
    SlowRate,
    /// The server asked for it.
    RetryAfter,
    /// The period is over, and somebody calls.
    Waited,
    ProbeAnswered,
    ProbeFailed,
    /// The probe did not end in time.
    ProbeLate,
    /// The operator.
    Reset,
}

/// A change, told once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Transition {
    pub from: Phase,
    pub to: Phase,
    pub why: Why,
    /// How long it will stay open.
    pub open_for: Option<Duration>,
}

/// How a call that was let through ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    Answered {
        took: Duration,
    },
    Failed {
        retry_after: Option<Duration>,
    },
    /// Nothing is known of the server by it.
    Neither,
}

/// Leave to call once. Worthless after the next transition, and a probe's after its deadline.
#[derive(Debug)]
pub(crate) struct Permit {
    generation: u64,
}

/// Hears of each transition once, in order.
pub(crate) type Tell<'a> = &'a mut dyn FnMut(Transition);

#[derive(Clone, Copy, Debug)]
enum State {
    Closed,
    Open {
        until: Duration,
    },
    /// The deadline of the probe under way, if there is one.
    HalfOpen {
        probe: Option<Duration>,
    },
}

#[derive(Debug)]
pub(crate) struct Circuit {
    rules: Rules,
    dice: Dice,
    state: State,
    window: Window,
    consecutive: u32,
    /// How often it opened without a good while between.
    streak: u32,
    closed_since: Duration,
    /// Changes with each transition and each probe: outcomes of an earlier one do not count.
    generation: u64,
    /// Threads take the time before they take the lock.
    latest: Duration,
}

impl Circuit {
    /// Closed. Permits of a circuit that stood here before must be of other generations than those from `first_generation` on.
    pub(crate) fn new(rules: Rules, dice: Dice, first_generation: u64) -> Self {
        Self {
            window: Window::of(rules.window),
            rules,
            dice,
            state: State::Closed,
            consecutive: 0,
            streak: 0,
            closed_since: Duration::ZERO,
            generation: first_generation,
            latest: Duration::ZERO,
        }
    }

    pub(crate) const fn phase(&self) -> Phase {
        match self.state {
            State::Closed => Phase::Closed,
            State::Open { .. } => Phase::Open,
            State::HalfOpen { .. } => Phase::HalfOpen,
        }
    }

    /// When somebody may try again; `None` while calls pass.
    pub(crate) fn retry_after(&self, now: Duration) -> Option<Duration> {
        match self.state {
            State::Closed | State::HalfOpen { probe: None } => None,
            State::Open { until } | State::HalfOpen { probe: Some(until) } => Some(until.saturating_sub(now)),
        }
    }

    /// Whether nothing would be lost by forgetting it.
    pub(crate) const fn is_closed(&self) -> bool {
        matches!(self.state, State::Closed)
    }

    /// Leave to call, or how long to wait.
    pub(crate) fn admit(&mut self, now: Duration, tell: Tell<'_>) -> Result<Permit, Duration> {
        let now = self.advance(now, tell);
        match self.state {
            State::Closed => {}
            State::Open { until } if now < until => return Err(until - now),
            State::HalfOpen { probe: Some(deadline) } => return Err(deadline.saturating_sub(now)),
            State::Open { .. } => {
                self.turn(State::HalfOpen { probe: None }, Why::Waited, tell);
                self.begin_probe(now);
            }
            State::HalfOpen { probe: None } => self.begin_probe(now),
        }
        Ok(Permit { generation: self.generation })
    }

    /// Takes the outcome of a call. Each permit is settled at most once.
    pub(crate) fn settle(&mut self, permit: &Permit, outcome: Outcome, now: Duration, tell: Tell<'_>) {
        let now = self.advance(now, tell);
        if permit.generation != self.generation {
            return;
        }
        match (self.state, outcome) {
            (State::Closed, Outcome::Answered { took }) => self.answered(took, now, tell),
            (State::Closed, Outcome::Failed { retry_after }) => self.failed(retry_after, now, tell),
            (State::HalfOpen { .. }, Outcome::Answered { took }) if self.is_slow(took) => {
                self.open(now, None, Why::ProbeFailed, tell);
            }
            (State::HalfOpen { .. }, Outcome::Answered { .. }) => self.close(now, Why::ProbeAnswered, tell),
            (State::HalfOpen { .. }, Outcome::Failed { retry_after }) => {
                self.open(now, retry_after, Why::ProbeFailed, tell);
            }
            (State::HalfOpen { .. }, Outcome::Neither) => self.state = State::HalfOpen { probe: None },
            (State::Closed, Outcome::Neither) | (State::Open { .. }, _) => {}
        }
    }

    /// As if it were new; what is under way does not count.
    pub(crate) fn reset(&mut self, now: Duration, tell: Tell<'_>) {
        let now = self.advance(now, tell);
        self.streak = 0;
        if self.is_closed() {
            self.forget();
        } else {
            self.close(now, Why::Reset, tell);
        }
    }

    /// Does what time alone does: a probe that is overdue has failed when it became so, not when somebody looks.
    fn advance(&mut self, now: Duration, tell: Tell<'_>) -> Duration {
        let now = now.max(self.latest);
        self.latest = now;
        if let State::HalfOpen { probe: Some(deadline) } = self.state
            && deadline <= now
        {
            self.open(deadline, None, Why::ProbeLate, tell);
        }
        now
    }

    fn begin_probe(&mut self, now: Duration) {
        self.generation = self.generation.wrapping_add(1);
        self.state = State::HalfOpen { probe: Some(now.saturating_add(self.rules.probe)) };
    }

    fn answered(&mut self, took: Duration, now: Duration, tell: Tell<'_>) {
        self.consecutive = 0;
        let slow = self.is_slow(took);
        self.window.count(now, false, slow);
        if !slow {
            return;
        }
        let sum = self.window.sum(now);
        if sum.calls >= self.rules.minimum && reaches(sum.slow, self.rules.slow_percent, sum.calls) {
            self.open(now, None, Why::SlowRate, tell);
        }
    }

    fn failed(&mut self, retry_after: Option<Duration>, now: Duration, tell: Tell<'_>) {
        self.consecutive = self.consecutive.saturating_add(1);
        self.window.count(now, true, false);
        let (sum, rules) = (self.window.sum(now), &self.rules);
        let why = if rules.heed_retry_after && retry_after.is_some_and(|wait| !wait.is_zero()) {
            Why::RetryAfter
        } else if rules.consecutive > 0 && self.consecutive >= rules.consecutive {
            Why::Consecutive
        } else if rules.error_percent > 0
            && sum.calls >= rules.minimum
            && reaches(sum.failures, rules.error_percent, sum.calls)
        {
            Why::ErrorRate
        } else {
            return;
        };
        self.open(now, retry_after, why, tell);
    }

    fn is_slow(&self, took: Duration) -> bool {
        self.rules.slow.is_some_and(|slow| took >= slow)
    }

    fn open(&mut self, at: Duration, retry_after: Option<Duration>, why: Why, tell: Tell<'_>) {
        if self.is_closed() && at.saturating_sub(self.closed_since) >= self.rules.window {
            self.streak = 0;
        }
        let doubled = self.rules.open.saturating_mul(1_u32.checked_shl(self.streak).unwrap_or(u32::MAX));
        self.streak = self.streak.saturating_add(1);
        let own = self.dice.shorten(doubled.min(self.rules.most_open), self.rules.jitter_percent);
        let asked = retry_after.filter(|_| self.rules.heed_retry_after).unwrap_or_default();
        let open_for = own.max(asked.min(self.rules.most_open));
        self.forget();
        let from = self.phase();
        self.state = State::Open { until: at.saturating_add(open_for) };
        tell(Transition { from, to: Phase::Open, why, open_for: Some(open_for) });
    }

    fn close(&mut self, now: Duration, why: Why, tell: Tell<'_>) {
        self.closed_since = now;
        self.forget();
        self.turn(State::Closed, why, tell);
    }

    fn turn(&mut self, to: State, why: Why, tell: Tell<'_>) {
        let from = self.phase();
        self.state = to;
        tell(Transition { from, to: self.phase(), why, open_for: None });
    }

    /// What was counted, and what is under way.
    fn forget(&mut self) {
        self.window.clear();
        self.consecutive = 0;
        self.generation = self.generation.wrapping_add(1);
    }
}

impl Phase {
    /// Stable, for logs and labels.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Closed => "closed",
            Self::HalfOpen => "half_open",
            Self::Open => "open",
        }
    }
}

impl Why {
    /// For a person, after "the breaker is …:".
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Consecutive => "too many calls failed in a row",
            Self::ErrorRate => "too many calls failed",
            Self::SlowRate => "too many answers were slow",
            Self::RetryAfter => "the server asked for it",
            Self::Waited => "its time is over, and one call may try",
            Self::ProbeAnswered => "the call that tried was answered",
            Self::ProbeFailed => "the call that tried failed",
            Self::ProbeLate => "the call that tried was not answered in time",
            Self::Reset => "the operator reset it",
        }
    }
}
