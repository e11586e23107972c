//! What it costs to split an event stream: one hundred events of one hundred bytes, in pieces of different sizes.

#![expect(clippy::unwrap_used, reason = "a benchmark that cannot be set up must stop")]

use bytes::Bytes;
use divan::Bencher;
use divan::counter::ItemsCount;
use mimalloc::MiMalloc;
use portcullis_upstream::sse::{SseLimits, SseReader};

// The gateway's, as it is: counting would be measured too. `cargo xtask bench --rows allocations` counts.
#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

const EVENTS: usize = 100;

fn main() {
    divan::main();
}

/// Events whose payload has one hundred bytes, as servers write them: with their ids or without.
fn stream(ids: bool) -> Bytes {
    let mut text = String::new();
    for number in 0..EVENTS {
        let head =
            if ids { format!("id: s-{number:04}\r\nevent: message\r\n") } else { "event: message\r\n".to_owned() };
        let open = r#"{"jsonrpc":"2.0","method":"notifications/progress","params":{"progress":"#;
        let payload = format!("{open}{number:0width$}}}}}", width = 98 - open.len());
        assert_eq!(payload.len(), 100);
        text.push_str(&format!("{head}data: {payload}\r\n\r\n"));
    }
    Bytes::from(text)
}

fn split(bencher: Bencher<'_, '_>, ids: bool, piece: usize) {
    let stream = stream(ids);
    let pieces: Vec<Bytes> = (0..stream.len())
        .step_by(piece)
        .map(|start| stream.slice(start..stream.len().min(start.saturating_add(piece))))
        .collect();
    bencher.counter(ItemsCount::new(EVENTS)).bench_local(|| {
        let mut reader = SseReader::new(SseLimits::for_messages(4 << 20));
        let mut bytes = 0;
        for piece in &pieces {
            reader.feed(piece.clone());
            while let Some(event) = reader.next_event().unwrap() {
                bytes += event.data.len();
            }
        }
        assert_eq!(bytes, EVENTS * 100);
    });
}

/// In pieces of so many bytes: one event after the other, what one read of a socket brings, and a server that writes by the word.
#[divan::bench(args = [126, 4096, 16])]
fn plain(bencher: Bencher<'_, '_>, piece: usize) {
    split(bencher, false, piece);
}

/// The same with an id for each event, as servers write that can resume.
#[divan::bench(args = [140, 4096, 16])]
fn with_ids(bencher: Bencher<'_, '_>, piece: usize) {
    split(bencher, true, piece);
}
