//! `cargo xtask bench`: what a call costs end to end, beside the same traffic sent direct and through nginx. Starts everything it needs
//! on loopback and measures in rounds, each place after the other, so that what disturbs the machine disturbs all alike.

mod figures; // one measurement, and many of them
mod goals; // what must be reached
mod learn; // traffic for a build that is guided by it
mod nginx; // the blind proxy
mod policies; // what Portcullis judges by
mod report; // tables and JSON
mod rows; // what is measured
mod single; // start-up, memory, idle sessions and streams
mod stand; // what runs

use std::path::PathBuf;
use std::time::Duration;

pub(crate) use self::learn::learn;

use self::figures::{Cell, Sample};
use self::rows::{At, ROWS, Row};
use self::stand::{Place, Stand};
use crate::layout::Layout;
use crate::process::{self, Echo};
use crate::report::Tally;
use crate::{Failure, say};

/// A release build with link-time optimisation takes minutes on two cores.
const BUILD: Duration = Duration::from_secs(40 * 60);
/// A measurement takes seconds.
const LOAD: Duration = Duration::from_secs(120);

/// The program under an allocator that counts.
const COUNTED: &str = "bench-counted";
/// What sends calls, and what answers them.
const BUILD_TOOLS: &[&str] = &["bench-load", "bench-upstream"];

const HELP: &str = "\
cargo xtask bench [OPTION…]
  --quick                one round of each row at 16 connections, in under two minutes
  --rows TEXT[,TEXT…]    only rows whose name contains one of these (see --list)
  --connections N[,N…]   default 1,16,64
  --rounds N             default 5
  --seconds S            of each measurement; default 1.5
  --pin none|split       split: load and server on their own cores; default split from four cores on
  --peer NAME=COMMAND    another gateway: a shell command that serves http://$LISTEN/mcp in front of $UPSTREAM; may be repeated
  --built                take the programs as they were built last
  --guided               measure the program of `cargo xtask release` in place of a plain release build
  --json                 print JSON in place of tables (it is always in target/xtask/bench/result.json)
  --write                write the tables into docs/performance.md
  --list                 name the rows";

/// Which build of the gateway is started.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Gateway {
    /// Of the same folder as everything else.
    Usual,
    /// As `cargo xtask release` left it.
    Guided,
    /// One that counts what it does, for `cargo xtask release`.
    Counting(PathBuf),
}

/// What was asked for.
#[derive(Clone, Debug)]
pub(crate) struct Options {
    rows: Vec<String>,
    connections: Vec<u32>,
    rounds: usize,
    seconds: f64,
    warmup: f64,
    split: bool,
    peers: Vec<(String, String)>,
    json: bool,
    write: bool,
    built: bool,
    /// Where the programs are: `release`, or `debug` for a test of the benchmark itself.
    folder: &'static str,
    gateway: Gateway,
    /// What takes another build, or minutes, is left out or made smaller.
    quick: bool,
}

impl Options {
    fn usual() -> Self {
        Self {
            rows: Vec::new(),
            connections: vec![1, 16, 64],
            rounds: 5,
            seconds: 1.5,
            warmup: 0.3,
            split: stand::cores() >= 4,
            peers: Vec::new(),
            json: false,
            write: false,
            built: false,
            folder: "release",
            gateway: Gateway::Usual,
            quick: false,
        }
    }

    fn quick(self) -> Self {
        Self { connections: vec![16], rounds: 1, seconds: 0.3, warmup: 0.1, quick: true, ..self }
    }

    fn parse(arguments: &[&str]) -> Result<Self, Failure> {
        let mut options = Self::usual();
        if arguments.contains(&"--quick") {
            options = options.quick();
        }
        let mut words = arguments.iter();
        while let Some(word) = words.next() {
            let mut value = || words.next().copied().ok_or_else(|| format!("{word} wants a value\n\n{HELP}"));
            match *word {
                "--quick" => {}
                "--built" => options.built = true,
                "--guided" => options.gateway = Gateway::Guided,
                "--json" => options.json = true,
                "--write" => options.write = true,
                "--rows" | "--only" => options.rows = value()?.split(',').map(str::to_owned).collect(),
                "--connections" => {
                    options.connections = value()?.split(',').map(str::parse).collect::<Result<_, _>>()?;
                }
                "--rounds" => options.rounds = value()?.parse()?,
                "--seconds" => options.seconds = value()?.parse()?,
                "--pin" => options.split = value()? == "split",
                "--peer" => {
                    let (name, command) = value()?.split_once('=').ok_or("--peer wants NAME=COMMAND")?;
                    options.peers.push((name.to_owned(), command.to_owned()));
                }
                other => return Err(format!("not an option of `bench`: `{other}`\n\n{HELP}").into()),
            }
        }
        Ok(options)
    }

    /// The gateway's program.
    fn program(&self, layout: &Layout) -> PathBuf {
        match &self.gateway {
            Gateway::Usual => layout.compiled(self.folder, "portcullis"),
            Gateway::Guided => layout.compiled("guided", "portcullis"),
            Gateway::Counting(program) => program.clone(),
        }
    }

    fn wants(&self, name: &str) -> bool {
        self.rows.is_empty() || self.rows.iter().any(|part| name.contains(part.as_str()))
    }
}

/// All that was measured.
#[derive(Debug, Default)]
pub(crate) struct Results {
    cells: Vec<Cell>,
    facts: Vec<single::Fact>,
}

pub(crate) fn command(layout: &Layout, arguments: &[&str]) -> Result<bool, Failure> {
    if arguments == ["--help"] {
        say(format_args!("{HELP}"));
        return Ok(true);
    }
    if arguments == ["--list"] {
        ROWS.iter().for_each(|row| say(format_args!("{:<24}{}", row.name, row.what)));
        single::ALL.iter().for_each(|one| say(format_args!("{:<24}{}", one.name, one.what)));
        return Ok(true);
    }
    let options = Options::parse(arguments)?;
    let results = measure(layout, &options)?;
    let json = report::json(layout, &options, &results);
    std::fs::write(layout.work("bench")?.join("result.json"), &json)?;
    let text = report::markdown(layout, &options, &results);
    if options.json {
        say(format_args!("{json}"));
    } else {
        say(format_args!("{text}"));
    }
    if options.write {
        report::write(layout, &text)?;
    }
    Ok(true)
}

/// The step of `cargo xtask test`: that everything runs and every answer is right, with the programs as they were built for the tests.
/// Judges no figure, and shows none: they are those of a build that is not optimised.
pub(crate) fn smoke(layout: &Layout) -> Result<Tally, Failure> {
    let options = Options { built: true, folder: "debug", ..Options::usual().quick() };
    let results = measure(layout, &options)?;
    Ok(Tally { passed: u64::try_from(results.cells.len() + results.facts.len())?, ..Tally::default() })
}

fn measure(layout: &Layout, options: &Options) -> Result<Results, Failure> {
    match options.gateway {
        Gateway::Usual => build(layout, options, &[&["portcullis"], BUILD_TOOLS].concat())?,
        _ => build(layout, options, BUILD_TOOLS)?,
    }
    let program = options.program(layout);
    if !program.exists() {
        let way = if options.gateway == Gateway::Guided { "cargo xtask release" } else { "leave out `--built`" };
        return Err(format!("there is no {}: {way}", layout.short(&program)).into());
    }
    stand::allow_many_files();
    let mut results = Results::default();
    let chosen: Vec<&Row> = ROWS.iter().filter(|row| options.wants(row.name)).collect();
    if !chosen.is_empty() {
        let mut stand = Stand::start(layout, options, &chosen)?;
        for row in chosen {
            calls(layout, options, &mut stand, row, &mut results)?;
        }
        stand.lost_nothing()?;
    }
    for one in single::ALL.iter().filter(|one| options.wants(one.name) && (one.quick || !options.quick)) {
        results.facts.extend((one.work)(layout, options)?);
    }
    if results.cells.is_empty() && results.facts.is_empty() {
        return Err("no such row: see `cargo xtask bench --list`".into());
    }
    Ok(results)
}

/// Builds programs in release mode. Only those: each takes its own pass of link-time optimisation.
fn build(layout: &Layout, options: &Options, programs: &[&str]) -> Result<(), Failure> {
    if options.built {
        return Ok(());
    }
    let mut cargo =
        layout.cargo(&["build", "--quiet", "--release", "--locked", "-p", "portcullis", "-p", "portcullis-bench"]);
    cargo.args(programs.iter().flat_map(|program| ["--bin", program]));
    if !programs.contains(&COUNTED) {
        cargo.arg("--no-default-features");
    }
    let ended = process::run(&mut cargo, BUILD, Echo::Live)?;
    ended.failure.map_or(Ok(()), |why| Err(format!("release build: {why}").into()))
}

/// One row: for each number of connections, rounds over all places.
fn calls(
    layout: &Layout,
    options: &Options,
    stand: &mut Stand,
    row: &Row,
    results: &mut Results,
) -> Result<(), Failure> {
    for connections in &options.connections {
        let mut cells: Vec<Cell> = Vec::new();
        for place in stand.places(row) {
            cells.push(Cell::new(row, *connections, &place.name));
        }
        for _ in 0..options.rounds {
            for (cell, place) in cells.iter_mut().zip(stand.places(row)) {
                if cell.failure.is_some() {
                    continue;
                }
                match load(layout, options, row, *connections, place) {
                    Ok(sample) => cell.samples.push(sample),
                    // Another gateway may answer wrongly; that is a result. Ours, nginx and the server may not.
                    Err(failure) if place.at == At::Peer && !process::interrupted() => {
                        cell.failure = Some(failure.to_string());
                    }
                    Err(failure) => return Err(failure),
                }
            }
        }
        if !options.json {
            cells.iter().for_each(|cell| say(format_args!("{}", report::short(cell))));
        }
        stand.tidy()?;
        results.cells.append(&mut cells);
    }
    Ok(())
}

/// One measurement of one place.
fn load(layout: &Layout, options: &Options, row: &Row, connections: u32, place: &Place) -> Result<Sample, Failure> {
    Sample::parse(&told(layout, options, row, connections, place, &[])?)
}

/// What the load says of it.
fn told(
    layout: &Layout,
    options: &Options,
    row: &Row,
    connections: u32,
    place: &Place,
    more: &[&str],
) -> Result<String, Failure> {
    let mut command = stand::on(options, stand::Side::Load, &layout.compiled(options.folder, "bench-load"));
    command.arg(&place.address).args(["calls", row.kind, "--era", row.era]).args(more);
    command.args(["--connections", &connections.to_string()]);
    command.args(["--seconds", &options.seconds.to_string(), "--warmup", &options.warmup.to_string()]);
    let pids: Vec<String> = place.pids().iter().map(u32::to_string).collect();
    command.args(["--watch", &pids.join(",")]);
    if place.at.refuses() {
        command.arg("--refused");
    }
    let mut lines =
        process::must(&mut command, LOAD).map_err(|error| format!("{} at {}: {error}", row.name, place.name))?;
    lines.pop().ok_or_else(|| format!("{} at {}: the load says nothing", row.name, place.name).into())
}

#[cfg(test)]
mod tests {
    use super::Options;

    #[test]
    fn options_are_read_in_any_order_and_wrong_ones_are_refused() {
        let options =
            Options::parse(&["--rounds", "2", "--quick", "--rows", "small,list", "--peer", "x=run a=b"]).unwrap();
        assert_eq!((options.rounds, options.connections.as_slice()), (2, [16].as_slice()));
        assert!(options.wants("small/modern") && !options.wants("stream/modern"));
        assert_eq!(options.peers, [("x".to_owned(), "run a=b".to_owned())]);
        assert!(Options::parse(&["--round", "2"]).is_err());
        assert!(Options::parse(&["--rounds"]).is_err());
    }
}
