//! Fuzz targets, built with what a stable compiler has: the instrumentation is a flag, and code without `unsafe` has nothing that
//! a sanitizer could find.

use std::path::PathBuf;
use std::time::Duration;

use crate::Failure;
use crate::layout::Layout;
use crate::process::{self, Echo};
use crate::report::Tally;
use crate::together::{self, Piece};

/// Each target, in `cargo xtask test`.
const SMOKE: u64 = 60;
/// Each target, when started by hand without a time.
const LONG: u64 = 600;
const BUILD: Duration = Duration::from_secs(15 * 60);
/// Loading the corpus and writing the last statistics.
const MARGIN: Duration = Duration::from_secs(120);

/// What `cargo fuzz` passes, without the sanitizer.
const INSTRUMENT: &str = "--cfg fuzzing -Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 \
    -Cllvm-args=-sanitizer-coverage-inline-8bit-counters -Cllvm-args=-sanitizer-coverage-pc-table \
    -Cllvm-args=-sanitizer-coverage-trace-compares -Ccodegen-units=1";

/// `cargo xtask fuzz [TARGET] [--seconds N]`
pub(crate) fn command(layout: &Layout, arguments: &[&str]) -> Result<bool, Failure> {
    let (mut seconds, mut chosen) = (LONG, None);
    let mut words = arguments.iter();
    while let Some(word) = words.next() {
        match *word {
            "--seconds" => seconds = words.next().ok_or("--seconds wants a number")?.parse()?,
            name if chosen.is_none() && !name.starts_with('-') => chosen = Some(name.to_owned()),
            other => return Err(format!("not an option of `fuzz`: `{other}`").into()),
        }
    }
    let all = targets(layout)?;
    let names = match chosen {
        Some(name) if all.contains(&name) => vec![name],
        Some(name) => return Err(format!("no target `{name}`: there are {}", all.join(", ")).into()),
        None => all,
    };
    let programs = build(layout)?;
    let mut tally = Tally::default();
    for name in &names {
        tally.add(fuzz(layout, &programs, name, seconds, Echo::Live)?);
    }
    Ok(tally.failed == 0)
}

/// Every target for a minute, as many at once as there are cores.
pub(crate) fn smoke(layout: &Layout) -> Result<Tally, Failure> {
    let mut tally = Tally::default();
    let names = targets(layout)?;
    if process::must(&mut layout.program("c++", &["--version"]), MARGIN).is_err() {
        tally.skip("fuzzing needs a C++ compiler".to_owned());
        return Ok(tally);
    }
    let programs = build(layout)?;
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    for chosen in names.chunks(cores) {
        let piece = |name: &String| {
            let (name, programs) = (name.clone(), &programs);
            let work: Piece<'_> = Box::new({
                let name = name.clone();
                move || fuzz(layout, programs, &name, SMOKE, Echo::Kept)
            });
            (name, work)
        };
        tally.add(together::run(chosen.iter().map(piece).collect()));
    }
    Ok(tally)
}

fn targets(layout: &Layout) -> Result<Vec<String>, Failure> {
    let files = layout.files("fuzz/fuzz_targets", ".rs")?;
    Ok(files.iter().filter_map(|file| Some(file.file_stem()?.to_str()?.to_owned())).collect())
}

/// The folder of the built programs.
fn build(layout: &Layout) -> Result<PathBuf, Failure> {
    let about = process::must(&mut layout.program("rustc", &["-vV"]), MARGIN)?;
    let host = about.iter().find_map(|line| line.strip_prefix("host: ")).ok_or("rustc does not name its host")?;
    let target = layout.target.join("fuzz");
    // A named target keeps the flags away from build scripts and macros.
    let mut cargo = layout.cargo(&[
        "build",
        "--quiet",
        "--release",
        "--locked",
        "--manifest-path",
        "fuzz/Cargo.toml",
        "--target",
        host,
    ]);
    cargo.env("RUSTFLAGS", INSTRUMENT).env("CARGO_TARGET_DIR", &target);
    process::must(&mut cargo, BUILD)?;
    Ok(target.join(host).join("release"))
}

fn fuzz(layout: &Layout, programs: &std::path::Path, name: &str, seconds: u64, echo: Echo) -> Result<Tally, Failure> {
    let mut tally = Tally::default();
    let folder = layout.root.join("fuzz");
    let (corpus, artifacts) = (folder.join("corpus").join(name), folder.join("artifacts").join(name));
    for made in [&corpus, &artifacts] {
        std::fs::create_dir_all(made)?;
    }
    let mut command =
        layout.program(programs.join(name), &["-rss_limit_mb=2048", "-timeout=10", "-print_final_stats=1"]);
    command.arg(format!("-max_total_time={seconds}")).arg(format!("-artifact_prefix={}/", artifacts.display()));
    if folder.join("json.dict").exists() {
        command.arg(format!("-dict={}", folder.join("json.dict").display()));
    }
    // What is found goes into the first folder; the seeds are only read.
    command.arg(&corpus);
    let seeds = folder.join("seeds").join(name);
    if seeds.exists() {
        command.arg(seeds);
    }
    let ended = process::run(&mut command, Duration::from_secs(seconds) + MARGIN, echo)?;
    let ran = ended.lines.iter().find_map(|line| line.strip_prefix("stat::number_of_executed_units:")).map(str::trim);
    tally.check(ended.ok() && ran.is_some(), || {
        format!("fuzz target {name}: {}\n{}", ended.failure.as_deref().unwrap_or("no end"), ended.tail(40))
    });
    tally.note(format!("{name}: {} inputs in {seconds} s", ran.unwrap_or("no")));
    Ok(tally)
}
