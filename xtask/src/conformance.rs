//! The official conformance suite against the reference server, once direct and once through the gateway. What counts is that both
//! say the same, check by check; `fixtures/conformance/exceptions*.json` name the differences that are meant, one list for each
//! transport behind the gateway. Then the suite's client scenarios, with the gateway as the client.

use std::path::Path;
use std::time::{Duration, Instant};

use crate::clients::{reference_http, reference_stdio};
use crate::gateway::{Gateway, Guarded};
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
    let direct = folder.join("direct");
    let server = reference_http(layout, &folder, "both")?;
    let url = server.peer.as_ref().map(|peer| peer.url.as_str()).unwrap_or_default();
    suite(layout, "direct", url, &direct)?;
    let run = Run { layout, folder: &folder, direct: &direct };
    run.through("http", &server.guarded, "exceptions.json", &mut tally)?;
    run.by_name(url, &mut tally)?;
    run.through("stdio", &reference_stdio(layout, &folder)?.guarded, "exceptions-stdio.json", &mut tally)?;
    as_a_client(layout, &folder.join("as-a-client"), &mut tally)?;
    Ok(tally)
}

struct Run<'a> {
    layout: &'a Layout,
    folder: &'a Path,
    /// What the suite found without a gateway.
    direct: &'a Path,
}

impl Run<'_> {
    /// The suite through a gateway in front of the reference server, by one of its transports.
    fn through(&self, transport: &str, guarded: &Guarded, exceptions: &str, tally: &mut Tally) -> Result<(), Failure> {
        let name = format!("through-{transport}");
        let out = self.folder.join(&name);
        let gateway = Gateway::start(self.layout, self.folder, &name, guarded)?;
        suite(self.layout, &name, gateway.url(), &out)?;
        gateway.stop(self.layout, tally)?;
        let exceptions = self.layout.root.join("fixtures/conformance").join(exceptions);
        compare(self.layout, [self.direct, &out, &exceptions], tally)
    }

    /// The suite at the path where the server is alone, of a gateway that has another one too.
    fn by_name(&self, url: &str, tally: &mut Tally) -> Result<(), Failure> {
        let servers = ["reference", "other"].map(|name| format!("- {{ name: {name}, http: {{ url: \"{url}\" }} }}\n"));
        let file = format!("listen: 127.0.0.1:0\npolicy: observe\nupstreams:\n{}", servers.concat());
        let out = self.folder.join("by-name");
        let gateway = Gateway::configured(self.layout, self.folder, "by-name", &file)?;
        suite(self.layout, "by-name", &format!("{}/reference", gateway.url()), &out)?;
        gateway.stop(self.layout, tally)?;
        let exceptions = self.layout.root.join("fixtures/conformance/exceptions.json");
        compare(self.layout, [self.direct, &out, &exceptions], tally)
    }
}

/// A mock server of the suite judges what the gateway sends.
fn as_a_client(layout: &Layout, out: &Path, tally: &mut Tally) -> Result<(), Failure> {
    let mut command = layout.program(setup::node(layout), &["fixtures/conformance/run-client.mjs"]);
    let ended = process::run(command.arg(layout.built("portcullis")).arg(out), SUITE, Echo::Live)?;
    let read = |line: &String| counts(line, "as a client: ", [" passed", " failed"]);
    let (passed, failed) = ended.lines.iter().find_map(read).ok_or("the client scenarios printed no counts")?;
    tally.passed += passed;
    if failed > 0 || !ended.ok() {
        tally.fail(format!("client scenarios: {failed} checks; see above"));
    }
    Ok(())
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

fn compare(layout: &Layout, arguments: [&Path; 3], tally: &mut Tally) -> Result<(), Failure> {
    let mut command = layout.program(setup::node(layout), &["fixtures/conformance/compare.mjs"]);
    let ended = process::run(command.args(arguments), COMPARE, Echo::Live)?;
    let (passed, failed) = ended
        .lines
        .iter()
        .find_map(|line| counts(line, "compared: ", [" same", " different"]))
        .ok_or("the comparison printed no counts")?;
    tally.passed += passed;
    tally.failed += failed;
    let differences = |line: &&String| line.contains(": direct ") && !line.contains("(explained: ");
    for line in ended.lines.iter().filter(differences) {
        tally.note(format!("failed: {line}"));
    }
    if let Some(summary) = ended.lines.iter().find(|line| line.starts_with("conformance: ")) {
        tally.note(summary.clone());
    }
    if failed == 0 && !ended.ok() {
        tally.fail(format!("the comparison: {}", ended.failure.unwrap_or_default()));
    }
    Ok(())
}

/// Two numbers of a line such as `compared: N same, N different`.
fn counts(line: &str, label: &str, words: [&str; 2]) -> Option<(u64, u64)> {
    let (first, second) = line.strip_prefix(label)?.split_once(", ")?;
    let [good, bad] = words;
    Some((first.strip_suffix(good)?.parse().ok()?, second.strip_suffix(bad)?.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::counts;

    #[test]
    fn the_counts_of_a_comparison_are_read() {
        let read = |line| counts(line, "compared: ", [" same", " different"]);
        assert_eq!(read("compared: 346 same, 2 different"), Some((346, 2)));
        assert_eq!(read("conformance: 109 scenarios"), None);
    }
}
