//! Which crate may know which, read from what cargo resolves and not from what somebody meant. `docs/architecture.md` says why.

use std::time::Duration;

use crate::Failure;
use crate::layout::Layout;
use crate::process;
use crate::report::Tally;

const LIMIT: Duration = Duration::from_secs(5 * 60);

/// What decides must be able to run without a network: these crates have no runtime, no sockets, no TLS.
const PURE: [&str; 3] = ["portcullis-core", "portcullis-guards", "portcullis-policy"];
const RUNTIME: [&str; 3] = ["tokio", "hyper", "rustls"];

/// Siblings meet only in the binary.
const SIBLINGS: [&str; 5] =
    ["portcullis-guards", "portcullis-policy", "portcullis-upstream", "portcullis-ledger", "portcullis-server"];

/// The official SDK is for fixtures: a gateway that parsed with it would share its blind spots.
const SDK: [&str; 1] = ["rmcp"];

pub(crate) fn check(layout: &Layout) -> Result<Tally, Failure> {
    let mut tally = Tally::default();
    for name in PURE {
        none_of(&mut tally, name, &tree(layout, name)?, &RUNTIME);
    }
    none_of(&mut tally, "portcullis-core", &tree(layout, "portcullis-core")?, &SIBLINGS);
    // Both sides of the gateway prove things by it, so it can know neither.
    none_of(&mut tally, "portcullis-identity", &tree(layout, "portcullis-identity")?, &SIBLINGS);
    for name in SIBLINGS {
        let others: Vec<&str> = SIBLINGS.into_iter().filter(|other| *other != name).chain(["portcullis"]).collect();
        none_of(&mut tally, name, &tree(layout, name)?, &others);
    }
    none_of(&mut tally, "portcullis", &tree(layout, "portcullis")?, &SDK);
    Ok(tally)
}

fn none_of(tally: &mut Tally, name: &str, tree: &[String], banned: &[&str]) {
    for other in banned {
        tally.check(!tree.iter().any(|found| found == other), || {
            format!("{name} depends on {other}: see `cargo tree -e normal -p {name} -i {other}`")
        });
    }
}

/// Every crate that ends up in this one, tests and build scripts left out.
fn tree(layout: &Layout, name: &str) -> Result<Vec<String>, Failure> {
    let mut command =
        layout.cargo(&["tree", "--locked", "-e", "normal", "--prefix", "none", "--format", "{p}", "-p", name]);
    let lines = process::must(&mut command, LIMIT)?;
    let names = crates(&lines);
    if names.first().map(String::as_str) != Some(name) {
        return Err(format!("`cargo tree -p {name}` does not begin with {name}").into());
    }
    Ok(names)
}

fn crates(lines: &[String]) -> Vec<String> {
    let mut words = lines.iter().map(|line| {
        let mut words = line.split(' ');
        (words.next().unwrap_or_default(), words.next().unwrap_or_default())
    });
    let mut names = Vec::new();
    // Downloads and warnings share the stream; a crate's line is its name and its version.
    for (name, version) in words.by_ref() {
        if version.strip_prefix('v').is_some_and(|rest| rest.starts_with(|first: char| first.is_ascii_digit())) {
            names.push(name.to_owned());
        }
    }
    names
}

#[cfg(test)]
mod tests {
    use super::crates;

    #[test]
    fn names_are_read_and_chatter_is_not() {
        let lines =
            ["  Downloaded serde v1.0.0", "portcullis v0.1.0 (/somewhere)", "tokio v1.54.0", "tokio v1.54.0 (*)", ""];
        assert_eq!(crates(&lines.map(str::to_owned)), ["portcullis", "tokio", "tokio"]);
    }
}
