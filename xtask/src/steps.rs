//! What `cargo xtask test` consists of: cheapest first, what needs the gateway last. A failed step does not stop the others, but
//! what is built on it is not run.

use std::time::Instant;

use crate::layout::Layout;
use crate::report::{self, Row, Tally};
use crate::{
    Failure, bench, clients, conformance, docs, fuzz, identity, licences, many, process, rust, say, seals, setup,
    signatures, sizes, walls,
};

type Work = fn(&Layout) -> Result<Tally, Failure>;

struct Step {
    name: &'static str,
    what: &'static str,
    needs: &'static [&'static str],
    work: Work,
}

const STEPS: &[Step] = &[
    Step { name: "fmt", what: "every file is formatted", needs: &[], work: rust::format },
    Step {
        name: "sizes",
        what: "no file is too long to read, each says what it is for",
        needs: &[],
        work: sizes::check,
    },
    Step { name: "walls", what: "no crate knows what it must not know", needs: &[], work: walls::check },
    Step {
        name: "licences",
        what: "every dependency may be used, and none is banned",
        needs: &[],
        work: licences::check,
    },
    Step { name: "links", what: "links between pages lead somewhere", needs: &[], work: docs::links },
    Step { name: "clippy", what: "lints, warnings denied", needs: &[], work: rust::clippy },
    Step { name: "build", what: "programs and tests, once", needs: &[], work: rust::build },
    Step { name: "docs", what: "generated pages are current", needs: &["build"], work: docs::check },
    Step { name: "test", what: "unit, contract, pipeline and command-line tests", needs: &["build"], work: rust::test },
    Step {
        name: "seals",
        what: "what must not compile fails for the right reason",
        needs: &["build"],
        work: seals::check,
    },
    Step { name: "rustdoc", what: "documentation, warnings denied", needs: &[], work: rust::document },
    Step { name: "setup", what: "pinned SDKs, servers and the conformance suite", needs: &[], work: setup::install },
    Step {
        name: "clients",
        what: "real clients through the gateway to real servers",
        needs: &["build", "setup"],
        work: clients::check,
    },
    Step {
        name: "many",
        what: "real clients through one gateway to nine real servers at once",
        needs: &["build", "setup"],
        work: many::check,
    },
    Step {
        name: "identity",
        what: "real clients log in through the gateway; chains of three gateways",
        needs: &["build", "setup"],
        work: identity::check,
    },
    Step {
        name: "signatures",
        what: "requests signed in Python, in TypeScript and by the program itself",
        needs: &["build", "setup"],
        work: signatures::check,
    },
    Step {
        name: "conformance",
        what: "the official suite, direct and through the gateway",
        needs: &["build", "setup"],
        work: conformance::check,
    },
    Step {
        name: "bench",
        what: "the benchmark runs and every answer is right; no figure is judged",
        needs: &["build"],
        work: bench::smoke,
    },
    Step { name: "fuzz", what: "every fuzz target for one minute", needs: &[], work: fuzz::smoke },
];

pub(crate) fn list() {
    for Step { name, what, .. } in STEPS {
        say(format_args!("{name:<14}{what}"));
    }
}

/// Runs the named steps in their order; true when nothing failed.
pub(crate) fn run(layout: &Layout, chosen: &[&'static str]) -> Result<bool, Failure> {
    let start = Instant::now();
    let mut rows: Vec<Row> = Vec::new();
    for step in STEPS.iter().filter(|step| chosen.contains(&step.name)) {
        say(format_args!("\n── {}: {}", step.name, step.what));
        let begun = Instant::now();
        let missing = step.needs.iter().find(|need| rows.iter().any(|row| row.step == **need && row.tally.failed > 0));
        let tally = match missing {
            Some(need) => {
                let mut tally = Tally::default();
                tally.skip(format!("`{need}` failed"));
                tally
            }
            None => settle((step.work)(layout))?,
        };
        let took = begun.elapsed();
        say(format_args!(
            "   {}: {} passed, {} failed, {}",
            step.name,
            tally.passed,
            tally.failed,
            report::seconds(took)
        ));
        rows.push(Row { step: step.name, took, tally });
    }
    Ok(report::close(&rows, start.elapsed()))
}

/// A step that could not do its work has failed; only Ctrl-C ends the run.
fn settle(done: Result<Tally, Failure>) -> Result<Tally, Failure> {
    done.or_else(|failure| {
        if process::interrupted() {
            return Err(failure);
        }
        let mut tally = Tally::default();
        tally.fail(failure.to_string());
        Ok(tally)
    })
}

/// The named steps and what they need; all of them when none is named.
pub(crate) fn with_needs(chosen: &[&str]) -> Result<Vec<&'static str>, Failure> {
    if chosen.is_empty() {
        return Ok(STEPS.iter().map(|step| step.name).collect());
    }
    let mut found = named(chosen)?;
    for step in STEPS.iter().filter(|step| chosen.contains(&step.name)) {
        found.extend(step.needs);
    }
    Ok(found)
}

/// The named steps alone.
pub(crate) fn named(chosen: &[&str]) -> Result<Vec<&'static str>, Failure> {
    let find = |name: &&str| {
        let step = STEPS.iter().find(|step| step.name == *name);
        step.map(|step| step.name).ok_or_else(|| format!("no step `{name}`: see `cargo xtask test --list`").into())
    };
    chosen.iter().map(find).collect()
}

#[cfg(test)]
mod tests {
    use super::{STEPS, named, with_needs};

    #[test]
    fn a_step_comes_after_what_it_needs() {
        for (place, step) in STEPS.iter().enumerate() {
            for need in step.needs {
                assert!(STEPS.iter().take(place).any(|earlier| earlier.name == *need), "{} before {need}", step.name);
            }
        }
    }

    #[test]
    fn a_named_step_brings_what_it_needs_and_a_wrong_name_is_refused() {
        assert_eq!(with_needs(&["clients"]).unwrap(), ["clients", "build", "setup"]);
        assert_eq!(named(&["clients"]).unwrap(), ["clients"]);
        assert!(with_needs(&["client"]).is_err());
    }
}
