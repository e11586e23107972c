//! Developer commands: `cargo xtask help`. Everything that is checked about this repository is checked from here, with the same
//! commands on a laptop and in CI. Installs only under `target/` and `fixtures/clients/node_modules`.

mod bench; // what a call costs
mod clients; // real clients, real servers, the gateway between them
mod conformance; // the official suite, direct and through the gateway
mod docs; // pages made from the code, links between pages
mod fuzz; // fuzz targets, without cargo-fuzz
mod gateway; // a running gateway and what must be true when it stops
mod identity; // real clients prove who they are, to one gateway and through three
mod layout; // where things are
mod licences; // under which terms everything may be used
mod many; // real clients and nine real servers at once
mod peer; // a server in the background
mod process; // one external command, with a time limit
mod release; // the program, guided by what calls do
mod report; // counts and the closing table
mod rust; // what cargo itself checks
mod seals; // what must not compile, and why it does not
mod setup; // packages of other languages, pinned
mod signatures; // requests signed by other implementations
mod sizes; // no file grows without somebody noticing
mod steps; // what `test` consists of, in order
mod together; // pieces of work side by side
mod walls; // which crate may know which

use std::io::Write as _;
use std::process::ExitCode;

use crate::layout::Layout;

const HELP: &str = "\
cargo xtask test [STEP…]            run every check, or the named ones and what they need; ends with `N passed, N failed`
cargo xtask test --only STEP…       the named steps alone, with what is built and installed already
cargo xtask test --list             name the steps
cargo xtask docs [--check]          write the generated pages anew, or say which are not current
cargo xtask fuzz [TARGET] [--seconds N]
                                    fuzz one target or all, for N seconds each (default 600)
cargo xtask bench [OPTION…]         measure what a call costs, beside nginx and without a proxy (`bench --help`)
cargo xtask release [OPTION…]       build the program guided by a profile: a quarter less time for each call (`release --help`)
cargo xtask walls | sizes | setup   one step by its name; any step of `test --list` can be run so
cargo xtask help                    this text";

/// What any command may fail with: a sentence for the person who ran it.
pub(crate) type Failure = Box<dyn std::error::Error>;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let done = process::heed_interrupts().and_then(|()| run(&arguments));
    match done {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(failure) => {
            say(format_args!("{failure}"));
            // What a shell says of a command that Ctrl-C ended.
            ExitCode::from(if process::interrupted() { 130 } else { 2 })
        }
    }
}

fn run(arguments: &[String]) -> Result<bool, Failure> {
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let layout = Layout::find()?;
    match arguments.as_slice() {
        [] | ["help" | "--help" | "-h"] => {
            say(format_args!("{HELP}"));
            Ok(true)
        }
        ["test", "--list"] => {
            steps::list();
            Ok(true)
        }
        ["test", "--only", chosen @ ..] => steps::run(&layout, &steps::named(chosen)?),
        ["test", chosen @ ..] => steps::run(&layout, &steps::with_needs(chosen)?),
        ["docs"] => docs::write(&layout),
        ["docs", "--check"] => steps::run(&layout, &steps::with_needs(&["docs"])?),
        ["bench", rest @ ..] => bench::command(&layout, rest),
        ["release", rest @ ..] => release::command(&layout, rest),
        ["fuzz", rest @ ..] => fuzz::command(&layout, rest),
        [step] => steps::run(&layout, &steps::with_needs(&[step])?),
        _ => Err(format!("not a command: `{}`\n\n{HELP}", arguments.join(" ")).into()),
    }
}

/// The one place that prints.
pub(crate) fn say(text: std::fmt::Arguments<'_>) {
    // Nobody is left to tell when stdout is gone.
    let _gone = writeln!(std::io::stdout(), "{text}");
}
