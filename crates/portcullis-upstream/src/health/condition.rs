//! How healthy a server is, told from outcomes alone. A state machine without a clock, like the breaker's.

use std::time::Duration;

use crate::breaker::{Window, reaches};

/// Time over which the share of failures is taken. A minute: what `portcullis status` shows should be about now.
const WINDOW: Duration = Duration::from_secs(60);

/// What the states mean.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Thresholds {
    /// Failures in a row.
    pub unhealthy_after: u32,
    /// Answers in a row, to leave `unhealthy`.
    pub healthy_after: u32,
    /// Share of failures, to be degraded; below half of it, healthy again.
    pub degraded_percent: u32,
}

/// How a server is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Health {
    /// Nobody has called it yet.
    #[default]
    Unknown,
    Healthy,
    /// It answers, and fails more often than it should.
    Degraded,
    /// It does not answer.
    Unhealthy,
}

#[derive(Debug)]
pub(crate) struct Condition {
    thresholds: Thresholds,
    health: Health,
    window: Window,
    good: u32,
    bad: u32,
    since: Duration,
    latest: Duration,
}

impl Condition {
    pub(crate) fn new(thresholds: Thresholds, now: Duration) -> Self {
        Self {
            thresholds,
            health: Health::Unknown,
            window: Window::of(WINDOW),
            good: 0,
            bad: 0,
            since: now,
            latest: now,
        }
    }

    /// As of now: failures age without anything happening.
    pub(crate) fn health(&mut self, now: Duration) -> Health {
        let now = self.latest.max(now);
        self.latest = now;
        let health = self.judge(now);
        if health != self.health {
            (self.health, self.since) = (health, now);
        }
        health
    }

    /// Since when it is so.
    pub(crate) const fn since(&self) -> Duration {
        self.since
    }

    pub(crate) fn answered(&mut self, now: Duration) -> Health {
        let now = self.latest.max(now);
        (self.good, self.bad) = (self.good.saturating_add(1), 0);
        self.window.count(now, false, false);
        self.health(now)
    }

    pub(crate) fn failed(&mut self, now: Duration) -> Health {
        let now = self.latest.max(now);
        (self.good, self.bad) = (0, self.bad.saturating_add(1));
        self.window.count(now, true, false);
        self.health(now)
    }

    fn judge(&self, now: Duration) -> Health {
        let Thresholds { unhealthy_after, healthy_after, degraded_percent } = self.thresholds;
        if self.bad >= unhealthy_after || (self.health == Health::Unhealthy && self.good < healthy_after) {
            return Health::Unhealthy;
        }
        if self.good == 0 && self.bad == 0 {
            return self.health;
        }
        let sum = self.window.sum(now);
        // Twice the failures reach the whole where one reaches half of it.
        let worth = if self.health == Health::Degraded { 2 } else { 1 };
        let failing = sum.failures > 0 && reaches(sum.failures.saturating_mul(worth), degraded_percent, sum.calls);
        if failing { Health::Degraded } else { Health::Healthy }
    }
}

impl Health {
    /// Stable, for logs and labels.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Unknown => "unknown",
            Self::Healthy => "healthy",
            Self::Degraded => "degraded",
            Self::Unhealthy => "unhealthy",
        }
    }
}
