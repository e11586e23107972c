//! What recording a call costs: one intent and one outcome, as a small `tools/call` leaves them.
//!
//! `asked` is what the request path pays, `written` is the whole way into a real file. The writer is a thread of its own, so look at the
//! processor time of the process too, not only at the clock.

#![expect(clippy::unwrap_used, reason = "a benchmark that cannot be set up must stop")]

use std::sync::Arc;
use std::time::Duration;

use divan::Bencher;
use divan::counter::ItemsCount;
use mimalloc::MiMalloc;
use portcullis_core::clock::{FixedClock, Timestamp};
use portcullis_core::ledger::{Intent, Ledger as _, Outcome, Record, Status};
use portcullis_ledger::{AuditLog, AuditSettings, MemoryLedger, Metrics};

// The gateway's, as it is: counting would be measured too. `cargo xtask bench --rows allocations` counts.
#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

/// Calls of one sample: as many as a busy gateway sees in a tenth of a second.
const CALLS: usize = 2_000;

fn main() {
    divan::main();
}

fn intent() -> Record {
    Record::Intent(Box::new(Intent {
        call: "00f067aa0ba902b7".into(),
        at: Timestamp(1_785_231_000_125),
        caller: "ann".into(),
        proof: "api_key",
        session: Some("5d41402abc4b2a76".into()),
        server: "notes".into(),
        version: "2025-11-25",
        direction: "to_server",
        method: "tools/call".into(),
        name: Some("search_notes".into()),
        id: Some("1234".into()),
        arguments_blake3: Some("af1349b9f5f9a1a6a0404dea36dcc9499bcb25c9adc112b7cc9a93cae41f3262".into()),
        bytes: 200,
        decision: "allow",
        policies: vec!["staff-read".into()],
        plan: "6e340b9cffb37a98".into(),
        trace_id: "4bf92f3577b34da6a3ce929d0e0e4736".into(),
        parent_span: Some("00f067aa0ba902b8".into()),
        ..Intent::default()
    }))
}

fn outcome() -> Record {
    Record::Outcome(Box::new(Outcome {
        call: "00f067aa0ba902b7".into(),
        at: Timestamp(1_785_231_000_126),
        status: Status::Answered,
        messages: 1,
        bytes: 200,
        latency: Duration::from_micros(812),
        http_status: Some(200),
        trace_id: Some("4bf92f3577b34da6a3ce929d0e0e4736".into()),
        ..Outcome::default()
    }))
}

/// Making the two records, which is the caller's part: to be subtracted from the others.
#[divan::bench]
fn made() -> [Record; 2] {
    [intent(), outcome()]
}

/// The metrics of both, without a log.
#[divan::bench]
fn counted(bencher: Bencher<'_, '_>) {
    let metrics = Metrics::new();
    let (intent, outcome) = (intent(), outcome());
    bencher.bench_local(|| {
        metrics.observe(&intent);
        metrics.observe(&outcome);
    });
}

/// A refusal's counter.
#[divan::bench]
fn refused(bencher: Bencher<'_, '_>) {
    let ledger = MemoryLedger::new(1);
    bencher.bench_local(|| ledger.count("denial", "forbidden"));
}

/// Both records on their way to the writer.
#[divan::bench(sample_count = 20, sample_size = 1)]
fn asked(bencher: Bencher<'_, '_>) {
    let folder = tempfile::tempdir().unwrap();
    let log = open(folder.path());
    bencher
        .counter(ItemsCount::new(CALLS))
        .with_inputs(|| {
            log.flush(Duration::from_secs(20)).unwrap();
            (0..CALLS).map(|_| [intent(), outcome()]).collect::<Vec<_>>()
        })
        .bench_local_values(|calls| calls.into_iter().flatten().for_each(|record| log.append(record).unwrap()));
}

/// Both records until the disk has confirmed them, many calls together.
#[divan::bench(sample_count = 20, sample_size = 1)]
fn written(bencher: Bencher<'_, '_>) {
    let folder = tempfile::tempdir().unwrap();
    let log = open(folder.path());
    bencher
        .counter(ItemsCount::new(CALLS))
        .with_inputs(|| (0..CALLS).map(|_| [intent(), outcome()]).collect::<Vec<_>>())
        .bench_local_values(|calls| {
            calls.into_iter().flatten().for_each(|record| log.append(record).unwrap());
            log.flush(Duration::from_secs(20)).unwrap();
        });
}

fn open(folder: &std::path::Path) -> AuditLog {
    let clock = Arc::new(FixedClock::at(Timestamp(1_785_231_000_000)));
    let settings = AuditSettings { strict: true, ..AuditSettings::default() };
    AuditLog::open(folder, &settings, clock, "0.1.0", Arc::new(Metrics::new())).unwrap()
}
