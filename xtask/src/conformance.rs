//! The official conformance suite against the reference server, once direct and once through the gateway. What counts is that both
//! say the same, check by check; `fixtures/conformance/exceptions.json` names the differences that are meant.

use std::path::Path;
use std::time::{Duration, Instant};

use crate::clients::reference_http;
use crate::gateway::Gateway;
use crate::layout::Layout;
use crate::process::{self, Echo};
use crate::report::{Tally, seconds};
use crate::setup;
use crate::{Failure, say};

/// All revisions together; the suite has long waits of its own.
const SUITE: Duration = Duration::from_secs(15 * 60);
const COMPARE: Duration = Duration::from_secs(60);

pub(crate) fn check(layout: &Layout) -> Result<Tally, Failure> {
    let folder = layout.fresh("conformance")?;
    let mut tally = Tally::default();
    comparison_itself(layout, &mut tally)?;
    let (direct, through) = (folder.join("direct"), folder.join("through"));
    let server = reference_http(layout, &folder, "both")?;
    let url = server.peer.as_ref().map(|peer| peer.url.as_str()).unwrap_or_default();
    suite(layout, "direct", url, &direct)?;
    let gateway = Gateway::start(layout, &folder, "conformance", &server.guarded)?;
    suite(layout, "through", gateway.url(), &through)?;
    gateway.stop(layout, &mut tally)?;
    compare(layout, &direct, &through, &mut tally)?;
    Ok(tally)
}

/// A comparison that cannot fail would prove nothing.
fn comparison_itself(layout: &Layout, tally: &mut Tally) -> Result<(), Failure> {
    let arguments = ["--test", "--test-reporter=tap", "fixtures/conformance/compare.test.mjs"];
    let ended = process::run(&mut layout.program(setup::node(layout), &arguments), COMPARE, Echo::Kept)?;
    let count = |word: &str| {
        ended.lines.iter().find_map(|line| line.strip_prefix("# ")?.strip_prefix(word)?.trim().parse().ok())
    };
    let (passed, failed): (u64, u64) = (count("pass ").unwrap_or(0), count("fail ").unwrap_or(0));
    tally.passed += passed;
    if failed > 0 || passed == 0 || !ended.ok() {
        tally.fail(format!("compare.test.mjs: {failed} failed\n{}", ended.tail(60)));
    }
    Ok(())
}

fn suite(layout: &Layout, label: &str, url: &str, out: &Path) -> Result<(), Failure> {
    let begun = Instant::now();
    let mut command = layout.program(setup::node(layout), &["fixtures/conformance/run.mjs", url]);
    let ended = process::run(command.arg(out), SUITE, Echo::Kept)?;
    say(format_args!("{label}: the suite took {}", seconds(begun.elapsed())));
    for line in ended.lines.iter().filter(|line| line.contains('✗')) {
        say(format_args!("  {label} {line}"));
    }
    match ended.failure {
        None => Ok(()),
        Some(ref why) => Err(format!("the suite, {label}: {why}\n{}", ended.tail(30)).into()),
    }
}

fn compare(layout: &Layout, direct: &Path, through: &Path, tally: &mut Tally) -> Result<(), Failure> {
    let mut command = layout.program(setup::node(layout), &["fixtures/conformance/compare.mjs"]);
    let ended = process::run(command.args([direct, through]), COMPARE, Echo::Live)?;
    let (passed, failed) =
        ended.lines.iter().find_map(|line| counts(line)).ok_or("the comparison printed no counts")?;
    tally.passed += passed;
    tally.failed += failed;
    for line in ended.lines.iter().filter(|line| line.contains(": direct ") || line.contains("(explained: ")) {
        tally.note(line.clone());
    }
    if failed == 0 && !ended.ok() {
        tally.fail(format!("the comparison: {}", ended.failure.unwrap_or_default()));
    }
    Ok(())
}

/// `compared: N same, N different`
fn counts(line: &str) -> Option<(u64, u64)> {
    let (same, different) = line.strip_prefix("compared: ")?.split_once(", ")?;
    Some((same.strip_suffix(" same")?.parse().ok()?, different.strip_suffix(" different")?.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::counts;

    #[test]
    fn the_counts_of_a_comparison_are_read() {
        assert_eq!(counts("compared: 346 same, 2 different"), Some((346, 2)));
        assert_eq!(counts("conformance: 109 scenarios"), None);
    }
}
