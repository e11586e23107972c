//! `cargo xtask release`: the program built as fast as it gets. It is built once so that it counts which ways calls take, meets the
//! benchmark's traffic, and is built again with what it learnt. Decides nothing about what the program does: the sources are the same.

mod tool; // the program that joins profiles

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use crate::bench;
use crate::layout::Layout;
use crate::process::{self, Echo};
use crate::{Failure, say};

/// Each of the two builds compiles every dependency anew and takes a quarter of an hour on two cores; three times that hangs.
const BUILD: Duration = Duration::from_secs(45 * 60);
/// Joining takes seconds.
const JOIN: Duration = Duration::from_secs(5 * 60);
/// Of each kind of call. Some ten thousand small calls: what every call passes is then counted a hundred times as often as what starts.
const SECONDS: f64 = 4.0;

const HELP: &str = "\
cargo xtask release [OPTION…]
  builds `portcullis` twice: the first one counts which ways calls take while it meets the benchmark's traffic, the second is laid
  out by what was counted. Half an hour on two cores; the program is target/guided/portcullis. Measure it with
  `cargo xtask bench --guided`. A plain `cargo build --release` does the same work and takes more time for each call.
  --seconds S            learn from each kind of call for so long; default 4
  --profile FILE         take what was learnt before (target/guided/joined.profdata) and build only once

Needs `llvm-profdata` of the compiler's LLVM: `rustup component add llvm-tools`, or LLVM_PROFDATA=/path/to/llvm-profdata";

/// What was asked for.
#[derive(Debug, PartialEq)]
struct Options {
    seconds: f64,
    profile: Option<PathBuf>,
}

impl Options {
    fn parse(arguments: &[&str]) -> Result<Self, Failure> {
        let mut options = Self { seconds: SECONDS, profile: None };
        let mut words = arguments.iter();
        while let Some(word) = words.next() {
            let mut value = || words.next().copied().ok_or_else(|| format!("{word} wants a value\n\n{HELP}"));
            match *word {
                "--seconds" => options.seconds = value()?.parse()?,
                "--profile" => options.profile = Some(PathBuf::from(value()?)),
                other => return Err(format!("not an option of `release`: `{other}`\n\n{HELP}").into()),
            }
        }
        Ok(options)
    }
}

/// Where the steps leave what they make.
#[derive(Debug)]
struct Folders {
    guided: PathBuf,
    /// Counts as each run leaves them.
    raw: PathBuf,
    joined: PathBuf,
}

impl Folders {
    fn of(layout: &Layout) -> Self {
        let guided = layout.target.join("guided");
        Self { raw: guided.join("raw"), joined: guided.join("joined.profdata"), guided }
    }
}

pub(crate) fn command(layout: &Layout, arguments: &[&str]) -> Result<bool, Failure> {
    if arguments == ["--help"] {
        say(format_args!("{HELP}"));
        return Ok(true);
    }
    let options = Options::parse(arguments)?;
    let folders = Folders::of(layout);
    let host = tool::host(layout)?;
    let profile = match &options.profile {
        Some(file) => {
            let file = std::env::current_dir()?.join(file);
            let known = file.canonicalize().map_err(|error| format!("{}: {error}", file.display()))?;
            if known != folders.joined.canonicalize().unwrap_or_default() {
                std::fs::create_dir_all(&folders.guided)?;
                std::fs::copy(known, &folders.joined)?;
                forget(&folders)?;
            }
            folders.joined.clone()
        }
        None => learn(layout, &options, &folders, &host)?,
    };
    say(format_args!("building the program with what was learnt"));
    let flag = format!("-Cprofile-use={}", profile.display());
    let built = build(layout, &folders.guided.join("build"), &host, &flag)?;
    let program = layout.compiled("guided", "portcullis");
    // A program that runs cannot be written to; another file of its name can be made.
    if program.exists() {
        std::fs::remove_file(&program)?;
    }
    std::fs::copy(built, &program)?;
    say(format_args!("{}", layout.short(&program)));
    Ok(true)
}

/// What calls do, counted by a program that meets them.
fn learn(layout: &Layout, options: &Options, folders: &Folders, host: &str) -> Result<PathBuf, Failure> {
    // Missed now rather than after a quarter of an hour.
    let tool = tool::find(layout, host)?;
    say(format_args!("building the program that counts"));
    // Counts of other sources would be joined with these.
    if folders.raw.exists() {
        std::fs::remove_dir_all(&folders.raw)?;
    }
    let flag = format!("-Cprofile-generate={}", folders.raw.display());
    let program = build(layout, &folders.guided.join("learn"), host, &flag)?;
    say(format_args!("counting"));
    bench::learn(layout, &program, options.seconds)?;
    let mut join = Command::new(tool);
    // Sparse: what was not met is compiled as ever, and not as if nobody would ever call it.
    join.args(["merge", "--sparse", "--output"]).arg(&folders.joined).args(counts(&folders.raw)?);
    process::must(&mut join, JOIN)?;
    forget(folders)?;
    Ok(folders.joined.clone())
}

/// Cargo does not see that a file named by a compiler's flag has changed.
fn forget(folders: &Folders) -> Result<(), Failure> {
    let old = folders.guided.join("build");
    if old.exists() {
        std::fs::remove_dir_all(&old).map_err(|error| format!("{}: {error}", old.display()))?;
    }
    Ok(())
}

fn counts(folder: &Path) -> Result<Vec<PathBuf>, Failure> {
    let entries = std::fs::read_dir(folder).map_err(|error| format!("{}: {error}", folder.display()))?;
    let found: Vec<PathBuf> = entries
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| path.extension().is_some_and(|ending| ending == "profraw"))
        .collect();
    if found.is_empty() {
        return Err(format!("{}: the program that counts has left no counts", folder.display()).into());
    }
    Ok(found)
}

/// A release build with one more flag. A target is named so that the flag reaches the program and not what runs while it is compiled.
fn build(layout: &Layout, folder: &Path, host: &str, flag: &str) -> Result<PathBuf, Failure> {
    let arguments = ["build", "--quiet", "--release", "--locked", "-p", "portcullis", "--bin", "portcullis"];
    let mut cargo = layout.cargo(&arguments);
    cargo.args(["--target", host]).env("CARGO_TARGET_DIR", folder).env("RUSTFLAGS", flag);
    // Cargo would prefer it.
    cargo.env_remove("CARGO_ENCODED_RUSTFLAGS");
    let ended = process::run(&mut cargo, BUILD, Echo::Live)?;
    match ended.failure {
        None => Ok(folder.join(host).join("release/portcullis")),
        Some(why) => Err(format!("{flag}: {why}").into()),
    }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::{Options, SECONDS};

    #[test]
    fn options_are_read_and_wrong_ones_are_refused() {
        let usual = Options { seconds: SECONDS, profile: None };
        assert_eq!(Options::parse(&[]).unwrap(), usual);
        let options = Options::parse(&["--seconds", "0.5", "--profile", "x.profdata"]).unwrap();
        assert_eq!(options, Options { seconds: 0.5, profile: Some(PathBuf::from("x.profdata")) });
        for wrong in [["--seconds"].as_slice(), &["--seconds", "long"], &["--profile"], &["--fast"]] {
            assert!(Options::parse(wrong).is_err(), "{wrong:?}");
        }
    }
}
