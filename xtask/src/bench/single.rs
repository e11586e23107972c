//! What is measured once and not per call: start-up, memory at rest, what an idle session and an open stream hold, and whether a call
//! costs more beside many of them.

use std::time::{Duration, Instant};

use super::figures::{Sample, median};
use super::rows::{At, ROWS, Row};
use super::stand::{self, Extras, Ground, Place, Side};
use super::{COUNTED, LOAD, Options, build, load, told};
use crate::Failure;
use crate::layout::Layout;
use crate::peer::{Peer, free_port};
use crate::process;

/// Opening ten thousand sessions takes seconds, on a busy machine many.
const OPENING: Duration = Duration::from_secs(300);
/// How long idle streams are watched.
const WATCHED: &str = "2";

/// One figure.
#[derive(Clone, Debug)]
pub(crate) struct Fact {
    pub(crate) key: &'static str,
    pub(crate) what: String,
    pub(crate) place: &'static str,
    pub(crate) value: f64,
    pub(crate) unit: &'static str,
}

/// Something that is measured.
#[derive(Debug)]
pub(crate) struct Single {
    pub(crate) name: &'static str,
    pub(crate) what: &'static str,
    /// Belongs to a quick run too.
    pub(crate) quick: bool,
    pub(crate) work: fn(&Layout, &Options) -> Result<Vec<Fact>, Failure>,
}

pub(crate) const ALL: &[Single] = &[
    Single { name: "start", what: "time until ready, and memory at rest", quick: true, work: start },
    Single {
        name: "streams",
        what: "1,000 open idle streams: memory, time, and calls beside them",
        quick: true,
        work: streams,
    },
    Single {
        name: "sessions",
        what: "10,000 idle sessions against 1,000: memory, and calls beside them",
        quick: true,
        work: sessions,
    },
    Single { name: "allocations", what: "allocations per call, of every kind", quick: false, work: allocations },
];

fn start(layout: &Layout, options: &Options) -> Result<Vec<Fact>, Failure> {
    let direct = Ground::new(layout, options, "start-server")?.upstream(100)?;
    let mut facts = Vec::new();
    for at in [At::Nginx, At::Portcullis, At::Policies1000] {
        let (mut times, mut sizes) = (Vec::new(), Vec::new());
        for _ in 0..options.rounds {
            let ground = Ground::new(layout, options, "start")?;
            let begun = Instant::now();
            let place = ground.proxy(at, &direct)?;
            times.push(begun.elapsed().as_secs_f64() * 1e3);
            sizes.push(watch(layout, options, &place)?.resident);
        }
        facts.push(fact("start", "time until ready", at, median(&times), "ms"));
        facts.push(fact("rest", "memory at rest", at, median(&sizes), "MiB"));
    }
    Ok(facts)
}

fn fact(key: &'static str, what: &str, at: At, value: f64, unit: &'static str) -> Fact {
    Fact { key, what: what.to_owned(), place: at.name(), value, unit }
}

fn streams(layout: &Layout, options: &Options) -> Result<Vec<Fact>, Failure> {
    let count: u32 = if options.quick { 200 } else { 1000 };
    let ground = Ground::new(layout, options, "streams")?;
    let direct = ground.upstream(100)?;
    let mut facts = Vec::new();
    for at in [At::Nginx, At::Portcullis] {
        let place = ground.proxy(at, &direct)?;
        // The first calls make what every connection shares.
        let alone = cpu(layout, options, &place)?;
        let before = watch(layout, options, &place)?;
        let mut open = stand::on(options, Side::Load, &layout.compiled(options.folder, "bench-load"));
        open.args([&place.address, "streams", &count.to_string()]);
        let held = Peer::start(&mut open, &ground.file(&format!("{}-streams.log", at.name())), Peer::announced)?;
        let after = watch(layout, options, &place)?;
        let beside = cpu(layout, options, &place)?;
        drop(held);
        let grown = (after.resident - before.resident) * 1024.0 / f64::from(count);
        let idle = after.processor / after.seconds / f64::from(count);
        facts.push(fact("stream", &format!("memory per idle stream, {count} open"), at, grown, "KiB"));
        facts.push(fact("stream-idle", &format!("CPU per idle stream and second, {count} open"), at, idle, "µs"));
        let what = format!("CPU per small call beside {count} idle streams, against none");
        facts.push(fact("stream-beside", &what, at, beside / alone, "×"));
    }
    Ok(facts)
}

/// Processor time of a small call.
fn cpu(layout: &Layout, options: &Options, place: &Place) -> Result<f64, Failure> {
    let row = small("modern")?;
    let one = |_| Ok::<_, Failure>(load(layout, options, row, 16, place)?.cpu);
    Ok(median(&(0..options.rounds).map(one).collect::<Result<Vec<_>, _>>()?))
}

fn sessions(layout: &Layout, options: &Options) -> Result<Vec<Fact>, Failure> {
    let many: u32 = if options.quick { 1_000 } else { 10_000 };
    let direct = Ground::new(layout, options, "sessions-server")?.upstream(100)?;
    let mut facts = Vec::new();
    let mut places = Vec::new();
    for count in [many / 10, many] {
        let ground = Ground::new(layout, options, &format!("sessions-{count}"))?;
        // One caller has them all, and those of the load on top.
        let config = ground.file("portcullis.yaml");
        std::fs::write(&config, "sessions: { total: 20000, per_caller: 20000 }\n")?;
        let place =
            ground.portcullis(At::Portcullis, &direct, &Extras { config: Some(config), ..Extras::default() })?;
        load(layout, options, small("legacy")?, 16, &place)?;
        let before = watch(layout, options, &place)?;
        let mut open = stand::on(options, Side::Load, &layout.compiled(options.folder, "bench-load"));
        process::must(open.args([&place.address, "sessions", &count.to_string()]), OPENING)?;
        let after = watch(layout, options, &place)?;
        let grown = (after.resident - before.resident) * 1024.0 / f64::from(count);
        // A thousand are lost in what the allocator keeps for itself.
        if count == many {
            let what = format!("memory per idle session, {count} of them");
            facts.push(fact("session", &what, At::Portcullis, grown, "KiB"));
        }
        places.push((place, Vec::new()));
    }
    for _ in 0..options.rounds {
        for (place, samples) in &mut places {
            samples.push(load(layout, options, small("legacy")?, 16, place)?.cpu);
        }
    }
    if let [(_, few), (_, all)] = places.as_slice() {
        let what = format!("CPU per small call beside {many} idle sessions, against {}", many / 10);
        facts.push(fact("flat", &what, At::Portcullis, median(all) / median(few), "×"));
    }
    Ok(facts)
}

/// In a gateway like any other, but for an allocator that counts.
fn allocations(layout: &Layout, options: &Options) -> Result<Vec<Fact>, Failure> {
    build(layout, options, &[COUNTED])?;
    let ground = Ground::new(layout, options, "allocations")?;
    let direct = ground.upstream(100)?;
    let counter = format!("127.0.0.1:{}", free_port()?);
    let extras = Extras { counter: Some(counter.clone()), ..Extras::default() };
    let place = ground.portcullis(At::Portcullis, &direct, &extras)?;
    let mut facts = Vec::new();
    for row in ROWS.iter().filter(|row| row.at.contains(&At::Portcullis)) {
        let line = told(layout, options, row, 16, &place, &["--counter", &counter])?;
        let count = |name| Ok::<_, Failure>(Sample::figure(&line, name)? / Sample::figure(&line, "requests")?);
        let what = |unit: &str| format!("{unit} per call, {}", row.name);
        facts.push(fact("allocations", &what("allocations"), At::Portcullis, count("allocations")?, ""));
        facts.push(fact("allocated", &what("bytes allocated"), At::Portcullis, count("allocated")? / 1024.0, "KiB"));
    }
    Ok(facts)
}

fn small(era: &str) -> Result<&'static Row, Failure> {
    Ok(ROWS.iter().find(|row| row.kind == "small" && row.era == era).ok_or("there is no row of small calls")?)
}

/// What a place holds and uses while nothing is sent to it.
struct Watched {
    seconds: f64,
    /// Microseconds.
    processor: f64,
    /// MiB.
    resident: f64,
}

fn watch(layout: &Layout, options: &Options, place: &Place) -> Result<Watched, Failure> {
    let pids: Vec<String> = place.pids().iter().map(u32::to_string).collect();
    let mut command =
        layout.program(layout.compiled(options.folder, "bench-load"), &[&place.address, "idle", "--seconds", WATCHED]);
    let lines = process::must(command.args(["--watch", &pids.join(",")]), LOAD)?;
    let line = lines.last().map_or("", String::as_str);
    let figure = |name| Sample::figure(line, name);
    Ok(Watched {
        seconds: figure("seconds")?,
        processor: figure("processor")? / 1e3,
        resident: figure("resident")? / f64::from(1 << 20),
    })
}
