//! What must be reached, as ratios within one run: `docs/performance.md` shows what is and what is not.

use super::Results;
use super::figures::{Cell, Sample};
use super::rows::At;

/// A figure with its bounds.
#[derive(Debug)]
pub(crate) struct Goal {
    pub(crate) what: &'static str,
    pub(crate) unit: &'static str,
    pub(crate) must: f64,
    pub(crate) aim: f64,
    /// More is better.
    pub(crate) rising: bool,
    pub(crate) reached: fn(&Results) -> Option<f64>,
}

impl Goal {
    pub(crate) fn verdict(&self, value: f64) -> &'static str {
        let within = |bound: f64| if self.rising { value >= bound } else { value <= bound };
        match (within(self.must), within(self.aim)) {
            (_, true) => "aim reached",
            (true, false) => "reached",
            (false, false) => "**not reached**",
        }
    }
}

const fn at_most(
    what: &'static str,
    unit: &'static str,
    must: f64,
    aim: f64,
    reached: fn(&Results) -> Option<f64>,
) -> Goal {
    Goal { what, unit, must, aim, rising: false, reached }
}

pub(crate) const GOALS: &[Goal] = &[
    at_most("CPU per small `tools/call`, against nginx, 16 connections", "×", 2.5, 1.5, |all| {
        ratio(all, "small/modern", 16, At::Portcullis, At::Nginx, |sample| sample.cpu)
    }),
    Goal {
        what: "requests/s at 64 connections, against nginx",
        unit: "×",
        must: 0.45,
        aim: 0.7,
        rising: true,
        reached: |all| ratio(all, "small/modern", 64, At::Portcullis, At::Nginx, |sample| sample.rps),
    },
    at_most("added p50 at 1 connection, against direct", "µs", 120.0, 60.0, |all| {
        let p50 = |at| Some(cell(all, "small/modern", 1, at)?.median(|sample| sample.p50));
        Some(p50(At::Portcullis)? - p50(At::Direct)?)
    }),
    at_most("p99 at 16 connections, against nginx", "×", 2.5, 1.5, |all| {
        ratio(all, "small/modern", 16, At::Portcullis, At::Nginx, |sample| sample.p99)
    }),
    at_most("64 KiB string argument, CPU against nginx", "×", 2.5, 1.5, |all| {
        ratio(all, "string-64k/modern", 16, At::Portcullis, At::Nginx, |sample| sample.cpu)
    }),
    at_most("1,000 policies against 10, CPU", "×", 1.3, 1.1, |all| {
        ratio(all, "small/modern", 16, At::Policies1000, At::Portcullis, |sample| sample.cpu)
    }),
    at_most("1,000 tools against 100, CPU", "×", 1.3, 1.1, |all| {
        ratio(all, "small/modern", 16, At::Tools1000, At::Portcullis, |sample| sample.cpu)
    }),
    at_most("SSE event passed on (sent at once), CPU against nginx", "×", 4.0, 2.0, |all| {
        ratio(all, "stream/modern", 16, At::Portcullis, At::Nginx, |sample| sample.cpu)
    }),
    at_most("SSE event passed on (one each millisecond), CPU against nginx", "×", 4.0, 2.0, |all| {
        ratio(all, "paced/modern", 16, At::Portcullis, At::Nginx, |sample| sample.cpu)
    }),
    at_most("first event of a stream, added to direct, 1 connection", "µs", 1000.0, 300.0, |all| {
        let first = |at| Some(cell(all, "paced/modern", 1, at)?.median(|sample| sample.first));
        Some(first(At::Portcullis)? - first(At::Direct)?)
    }),
    at_most("memory at rest", "MiB", 40.0, 20.0, |all| fact(all, "rest", "portcullis")),
    at_most("memory per idle session", "KiB", 8.0, 2.0, |all| fact(all, "session", "portcullis")),
    at_most("memory per open stream", "KiB", 40.0, 16.0, |all| fact(all, "stream", "portcullis")),
    at_most("10,000 idle sessions against 1,000, CPU per small call", "×", 1.3, 1.1, |all| {
        fact(all, "flat", "portcullis")
    }),
];

fn cell<'a>(all: &'a Results, row: &str, connections: u32, at: At) -> Option<&'a Cell> {
    let found =
        all.cells.iter().find(|cell| cell.row == row && cell.connections == connections && cell.place == at.name());
    found.filter(|cell| !cell.samples.is_empty())
}

fn ratio(all: &Results, row: &str, connections: u32, at: At, to: At, figure: fn(&Sample) -> f64) -> Option<f64> {
    let value = |at| Some(cell(all, row, connections, at)?.median(figure));
    Some(value(at)? / value(to)?).filter(|ratio| ratio.is_finite())
}

fn fact(all: &Results, key: &str, place: &str) -> Option<f64> {
    all.facts.iter().find(|fact| fact.key == key && fact.place == place).map(|fact| fact.value)
}
