//! Thousands of schedules, each from a seed, played against the breaker and against a model that is written as plainly as its rules read. A failure
//! names the seed, and that seed alone plays it again.

use std::time::Duration;

use super::circuit::{Circuit, Outcome, Permit, Phase, Rules, Transition, Why};
use super::dice::Dice;

const SCHEDULES: u64 = 2_000;
const STEPS: usize = 200;

fn millis(count: u64) -> Duration {
    Duration::from_millis(count)
}

/// The rules read out, with everything remembered that ever happened.
struct Model {
    rules: Rules,
    phase: Phase,
    /// Every outcome counted since the last change: the tenth of a window it fell in, whether it failed, whether it was slow.
    counted: Vec<(u128, bool, bool)>,
    in_a_row: u32,
    opened_in_a_row: u32,
    closed_at: Duration,
    open_until: Duration,
    /// Number of the probe under way, and when it is overdue.
    probe: Option<(usize, Duration)>,
    /// Permits of before are worthless.
    age: usize,
    told: Vec<(Phase, Phase, Why)>,
}

/// A call in the model: what age it was admitted in, and whether as a probe.
#[derive(Clone, Copy)]
struct Admitted {
    age: usize,
    number: usize,
}

impl Model {
    fn new(rules: Rules) -> Self {
        Self {
            rules,
            phase: Phase::Closed,
            counted: Vec::new(),
            in_a_row: 0,
            opened_in_a_row: 0,
            closed_at: Duration::ZERO,
            open_until: Duration::ZERO,
            probe: None,
            age: 0,
            told: Vec::new(),
        }
    }

    fn turn(&mut self, to: Phase, why: Why) {
        self.told.push((self.phase, to, why));
        self.phase = to;
        self.age += 1;
        self.counted.clear();
        self.in_a_row = 0;
        self.probe = None;
    }

    /// `chosen` is how long the breaker says it stays open: the model only knows between what and what that may be.
    fn open(&mut self, at: Duration, why: Why, asked: Option<Duration>, chosen: Option<Duration>) {
        if self.phase == Phase::Closed && at - self.closed_at >= self.rules.window {
            self.opened_in_a_row = 0;
        }
        let mut most = self.rules.open;
        for _ in 0..self.opened_in_a_row {
            most = (most * 2).min(self.rules.most_open);
        }
        self.opened_in_a_row += 1;
        let asked = asked.filter(|_| self.rules.heed_retry_after).unwrap_or_default().min(self.rules.most_open);
        let least = most * (100 - self.rules.jitter_percent) / 100;
        let chosen =
            chosen.unwrap_or_else(|| panic!("the breaker did not open, {why:?} at {at:?} under {:?}", self.rules));
        let slack = millis(1);
        assert!(chosen + slack >= least.max(asked), "open for {chosen:?}, at least {least:?} or {asked:?}");
        assert!(chosen <= most.max(asked) + slack, "open for {chosen:?}, at most {most:?} or {asked:?}");
        self.turn(Phase::Open, why);
        self.open_until = at + chosen;
    }

    fn time_passes(&mut self, now: Duration, chosen: Option<Duration>) {
        if let Some((_, deadline)) = self.probe.filter(|(_, deadline)| *deadline <= now) {
            self.open(deadline, Why::ProbeLate, None, chosen);
        }
    }

    fn admit(&mut self, number: usize, now: Duration, chosen: Option<Duration>) -> Option<Admitted> {
        self.time_passes(now, chosen);
        match self.phase {
            Phase::Closed => {}
            Phase::Open if now < self.open_until => return None,
            Phase::HalfOpen if self.probe.is_some() => return None,
            Phase::Open => {
                self.turn(Phase::HalfOpen, Why::Waited);
                self.probe = Some((number, now + self.rules.probe));
            }
            Phase::HalfOpen => self.probe = Some((number, now + self.rules.probe)),
        }
        Some(Admitted { age: self.age, number })
    }

    fn settle(&mut self, call: Admitted, outcome: Outcome, now: Duration, chosen: Option<Duration>) {
        self.time_passes(now, chosen);
        if call.age != self.age {
            return;
        }
        let slow = matches!(outcome, Outcome::Answered { took } if self.rules.slow.is_some_and(|slow| took >= slow));
        match self.phase {
            Phase::Closed => self.count(outcome, slow, now, chosen),
            Phase::HalfOpen if self.probe.is_some_and(|(number, _)| number == call.number) => match outcome {
                Outcome::Answered { .. } if !slow => {
                    self.turn(Phase::Closed, Why::ProbeAnswered);
                    self.closed_at = now;
                }
                Outcome::Answered { .. } => self.open(now, Why::ProbeFailed, None, chosen),
                Outcome::Failed { retry_after } => self.open(now, Why::ProbeFailed, retry_after, chosen),
                Outcome::Neither => self.probe = None,
            },
            Phase::HalfOpen | Phase::Open => {}
        }
    }

    fn count(&mut self, outcome: Outcome, slow: bool, now: Duration, chosen: Option<Duration>) {
        let tenth = |at: Duration| at.as_millis() / (self.rules.window.as_millis() / 10);
        let failed = match outcome {
            Outcome::Neither => return,
            Outcome::Answered { .. } => false,
            Outcome::Failed { .. } => true,
        };
        self.in_a_row = if failed { self.in_a_row + 1 } else { 0 };
        self.counted.push((tenth(now), failed, slow));
        let recent: Vec<_> = self.counted.iter().filter(|(at, ..)| at + 10 > tenth(now)).collect();
        let calls = recent.len();
        let enough = calls >= self.rules.minimum as usize;
        let share = |part: usize, percent: u32| enough && part * 100 >= calls * percent as usize;
        let failures = recent.iter().filter(|(_, failed, _)| *failed).count();
        let slows = recent.iter().filter(|(.., slow)| *slow).count();
        match outcome {
            Outcome::Failed { retry_after } => {
                let asked = retry_after.is_some_and(|wait| wait > Duration::ZERO) && self.rules.heed_retry_after;
                let why = if asked {
                    Why::RetryAfter
                } else if self.rules.consecutive > 0 && self.in_a_row >= self.rules.consecutive {
                    Why::Consecutive
                } else if self.rules.error_percent > 0 && share(failures, self.rules.error_percent) {
                    Why::ErrorRate
                } else {
                    return;
                };
                self.open(now, why, retry_after, chosen);
            }
            _ if slow && share(slows, self.rules.slow_percent) => self.open(now, Why::SlowRate, None, chosen),
            _ => {}
        }
    }
}

fn rules(dice: &mut Dice) -> Rules {
    let mut pick = |choices: &[u64]| choices[usize::try_from(dice.roll()).unwrap_or(0) % choices.len()];
    let small = |count: u64| u32::try_from(count).unwrap();
    let slow = pick(&[0, 0, 50, 500]);
    let open = pick(&[1, 100, 2_000]);
    Rules {
        window: millis(pick(&[100, 1_000, 30_000])),
        minimum: small(pick(&[1, 5, 20])),
        error_percent: small(pick(&[0, 20, 50, 100])),
        slow: (slow > 0).then(|| millis(slow)),
        slow_percent: small(pick(&[10, 80])),
        consecutive: small(pick(&[0, 1, 3, 5])),
        open: millis(open),
        most_open: millis(open * pick(&[1, 4, 64])),
        jitter_percent: small(pick(&[0, 20, 100])),
        probe: millis(pick(&[1, 200, 30_000])),
        heed_retry_after: pick(&[0, 1]) == 1,
    }
}

fn outcome(dice: &mut Dice, trouble: u64) -> Outcome {
    let roll = dice.roll() % 100;
    if roll < trouble {
        let retry_after = [None, None, Some(0), Some(700), Some(3_600_000)][usize::try_from(dice.roll() % 5).unwrap()];
        Outcome::Failed { retry_after: retry_after.map(millis) }
    } else if roll < trouble + 8 {
        Outcome::Neither
    } else {
        Outcome::Answered { took: millis(dice.roll() % 1_000) }
    }
}

/// One schedule: calls that begin, end, are given up or never end, in any order, while time goes on and now and then seems to go back.
struct Play {
    seed: u64,
    dice: Dice,
    circuit: Circuit,
    model: Model,
    now: Duration,
    /// The latest time the breaker was told.
    heard: Duration,
    under_way: Vec<(Permit, Admitted)>,
    told: Vec<Transition>,
    calls: usize,
}

impl Play {
    fn new(seed: u64) -> Self {
        let mut dice = Dice::seeded(seed);
        let rules = rules(&mut dice);
        Self {
            seed,
            circuit: Circuit::new(rules.clone(), Dice::seeded(dice.roll()), 0),
            model: Model::new(rules),
            dice,
            now: Duration::ZERO,
            heard: Duration::ZERO,
            under_way: Vec::new(),
            told: Vec::new(),
            calls: 0,
        }
    }

    fn step(&mut self) {
        self.now += millis([0, 1, 7, 90, 900, 40_000][usize::try_from(self.dice.roll() % 6).unwrap()]);
        // Threads read the clock before they wait for the lock, so it may be handed in late.
        let late = if self.dice.roll().is_multiple_of(8) { millis(self.dice.roll() % 50) } else { Duration::ZERO };
        let handed = self.now.saturating_sub(late);
        let before = self.told.len();
        let choice = match self.dice.roll() % 16 {
            0..=7 => Self::call,
            8..=14 if !self.under_way.is_empty() => Self::end,
            15 if self.dice.roll().is_multiple_of(6) => Self::reset,
            _ => return,
        };
        self.heard = self.heard.max(handed);
        choice(self, handed);
        let told: Vec<_> = self.told.iter().map(|change| (change.from, change.to, change.why)).collect();
        assert_eq!(told, self.model.told, "seed {}: every transition once, in order", self.seed);
        assert_eq!(self.circuit.phase(), self.model.phase, "seed {}", self.seed);
        for change in &self.told[before..] {
            assert_ne!(change.from, change.to, "seed {}", self.seed);
        }
    }

    /// What the breaker said of how long it is open, for the model, which must decide on its own whether it opened at all.
    fn chosen(&self, before: usize) -> Option<Duration> {
        self.told[before..].iter().find_map(|change| change.open_for)
    }

    fn call(&mut self, handed: Duration) {
        let before = self.told.len();
        let told = &mut self.told;
        let admitted = self.circuit.admit(handed, &mut |change| told.push(change));
        let chosen = self.chosen(before);
        self.calls += 1;
        let expected = self.model.admit(self.calls, self.heard, chosen);
        match (admitted, expected) {
            (Ok(permit), Some(call)) => self.under_way.push((permit, call)),
            (Err(wait), None) => assert!(wait > Duration::ZERO, "seed {}: refused and not told to wait", self.seed),
            (admitted, _) => panic!("seed {}: {admitted:?}, and the model says otherwise", self.seed),
        }
        // Probes that are neither overdue nor done: at most one.
        let probing = self.under_way.iter().filter(|(_, call)| {
            self.model.phase == Phase::HalfOpen
                && call.age == self.model.age
                && self.model.probe.is_some_and(|(number, _)| number == call.number)
        });
        assert!(probing.count() <= 1, "seed {}: more than one probe", self.seed);
    }

    fn end(&mut self, handed: Duration) {
        let which = usize::try_from(self.dice.roll()).unwrap_or(0) % self.under_way.len();
        let (permit, call) = self.under_way.swap_remove(which);
        // A server is well for a while and ill for a while.
        let ill = (self.now.as_secs() / 60 + self.seed).is_multiple_of(2);
        let outcome = outcome(&mut self.dice, if ill { 70 } else { 5 });
        let before = self.told.len();
        let told = &mut self.told;
        self.circuit.settle(&permit, outcome, handed, &mut |change| told.push(change));
        // A probe that was late and a failure cannot both open it in one step: the first makes the permit worthless.
        let chosen = self.chosen(before);
        self.model.settle(call, outcome, self.heard, chosen);
    }

    fn reset(&mut self, handed: Duration) {
        let before = self.told.len();
        let told = &mut self.told;
        self.circuit.reset(handed, &mut |change| told.push(change));
        let chosen = self.chosen(before);
        self.model.time_passes(self.heard, chosen);
        self.model.opened_in_a_row = 0;
        if self.model.phase == Phase::Closed {
            self.model.counted.clear();
            self.model.in_a_row = 0;
            self.model.age += 1;
        } else {
            self.model.turn(Phase::Closed, Why::Reset);
            self.model.closed_at = self.heard;
        }
    }

    /// Whatever happened, and whoever never came back: after the longest wait somebody may call, and one good answer closes the breaker.
    fn recovers_in_the_end(mut self) {
        let rules = self.model.rules.clone();
        self.under_way.clear();
        let (told, begin) = (&mut self.told, self.heard);
        self.now = begin;
        let permit = loop {
            match self.circuit.admit(self.now, &mut |change| told.push(change)) {
                Ok(permit) => break permit,
                Err(wait) => self.now += wait,
            }
            // At worst a probe that never ends, and the period after it.
            let longest = rules.probe + rules.most_open;
            assert!(self.now - begin <= longest, "seed {}: wedged for {:?}", self.seed, self.now - begin);
        };
        let answered = Outcome::Answered { took: Duration::ZERO };
        self.circuit.settle(&permit, answered, self.now, &mut |change| told.push(change));
        assert_eq!(self.circuit.phase(), Phase::Closed, "seed {}", self.seed);
        for pair in self.told.windows(2) {
            assert_eq!(pair[0].to, pair[1].from, "seed {}: a transition was lost", self.seed);
        }
    }
}

#[test]
fn the_breaker_does_what_its_rules_say_in_every_schedule() {
    let (mut transitions, mut reasons) = (0, Vec::new());
    for seed in 0..SCHEDULES {
        let mut play = Play::new(seed);
        for _ in 0..STEPS {
            play.step();
        }
        transitions += play.told.len();
        for change in &play.told {
            if !reasons.contains(&change.why) {
                reasons.push(change.why);
            }
        }
        play.recovers_in_the_end();
    }
    assert!(transitions > 10_000, "the schedules exercise it: {transitions}");
    assert_eq!(reasons.len(), 9, "every reason occurs: {reasons:?}");
}
