//! What cargo itself checks. One profile (dev) and one set of features, so that nothing is built twice.

use std::time::Duration;

use crate::Failure;
use crate::layout::Layout;
use crate::process::{self, Echo, Ended};
use crate::report::Tally;

/// A clean build of everything takes about ten minutes on two cores; three times that hangs.
const BUILD: Duration = Duration::from_secs(30 * 60);
/// All tests take two or three minutes.
const TEST: Duration = Duration::from_secs(20 * 60);

pub(crate) fn format(layout: &Layout) -> Result<Tally, Failure> {
    one(
        layout,
        &["fmt", "--all", "--check", "--", "-l", "--color", "never"],
        "formatting differs: run `cargo fmt --all`",
    )
}

pub(crate) fn clippy(layout: &Layout) -> Result<Tally, Failure> {
    one(layout, &["clippy", "--quiet", "--workspace", "--all-targets", "--locked", "--", "-D", "warnings"], "lints")
}

/// `--all-targets` takes the same features as the tests, so that the programs and the tests share one build.
pub(crate) fn build(layout: &Layout) -> Result<Tally, Failure> {
    one(layout, &["build", "--quiet", "--workspace", "--all-targets", "--locked"], "build")
}

pub(crate) fn document(layout: &Layout) -> Result<Tally, Failure> {
    let mut command = layout.cargo(&["doc", "--quiet", "--workspace", "--no-deps", "--locked"]);
    command.env("RUSTDOCFLAGS", "-D warnings");
    let ended = process::run(&mut command, BUILD, Echo::Live)?;
    Ok(single(&ended, "documentation"))
}

pub(crate) fn test(layout: &Layout) -> Result<Tally, Failure> {
    let mut command = layout.cargo(&["test", "--quiet", "--workspace", "--locked", "--no-fail-fast"]);
    let ended = process::run(&mut command, TEST, Echo::Live)?;
    let mut tally = Tally::default();
    for line in &ended.lines {
        let Some((passed, failed, ignored)) = result(line) else { continue };
        tally.passed += passed;
        tally.failed += failed;
        tally.skipped += ignored;
    }
    for line in ended.lines.iter().filter(|line| line.starts_with("---- ") && line.ends_with(" stdout ----")) {
        tally.note(format!("failed: {}", line.trim_start_matches("---- ").trim_end_matches(" stdout ----")));
    }
    if tally.skipped > 0 {
        let skipped = tally.skipped;
        tally.note(format!("not run: {skipped} marked `ignored`, measurements for a person to start"));
    }
    if let Some(why) = ended.failure.as_ref().filter(|_| tally.failed == 0) {
        tally.fail(format!("cargo test: {why}"));
    }
    Ok(tally)
}

fn one(layout: &Layout, arguments: &[&str], what: &str) -> Result<Tally, Failure> {
    let ended = process::run(&mut layout.cargo(arguments), BUILD, Echo::Live)?;
    Ok(single(&ended, what))
}

fn single(ended: &Ended, what: &str) -> Tally {
    let mut tally = Tally::default();
    tally.check(ended.ok(), || format!("{what} ({})", ended.failure.as_deref().unwrap_or_default()));
    tally
}

/// Passed, failed and ignored of a line such as `test result: ok. 12 passed; 0 failed; 1 ignored; …`.
fn result(line: &str) -> Option<(u64, u64, u64)> {
    // A test that prints without a line end pushes the result to the right.
    let (_, counts) = line.split_once("test result: ")?;
    let (_, counts) = counts.split_once(". ")?;
    let count = |word: &str| {
        let part = counts.split("; ").find_map(|part| part.strip_suffix(word))?;
        part.trim().parse().ok()
    };
    Some((count("passed")?, count("failed")?, count("ignored")?))
}

#[cfg(test)]
mod tests {
    use super::result;

    #[test]
    fn counts_of_a_test_result_are_read() {
        let line = "test result: FAILED. 12 passed; 3 failed; 1 ignored; 0 measured; 4 filtered out; finished in 0.02s";
        assert_eq!(result(line), Some((12, 3, 1)));
        assert_eq!(result(&format!("half a line{line}")), Some((12, 3, 1)));
        assert_eq!(result("running 12 tests"), None);
    }
}
