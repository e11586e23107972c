//! The reader against the standard's own examples, against every border of chunks, and against a slow reference.

use std::time::Duration;

use bytes::Bytes;
use proptest::prelude::*;

use super::{SseError, SseEvent, SseLimits, SseReader};

const LIMITS: SseLimits = SseLimits { line: 4096, event: 4096 };

fn read(chunks: &[&[u8]], limits: SseLimits) -> Result<(Vec<SseEvent>, bool), SseError> {
    let mut reader = SseReader::new(limits);
    let mut events = Vec::new();
    for chunk in chunks {
        reader.feed(Bytes::copy_from_slice(chunk));
        while let Some(event) = reader.next_event()? {
            events.push(event);
        }
    }
    Ok((events, reader.is_inside_event()))
}

fn whole(text: &str) -> Vec<SseEvent> {
    read(&[text.as_bytes()], LIMITS).unwrap().0
}

fn data(text: &'static str) -> SseEvent {
    SseEvent { data: Bytes::from_static(text.as_bytes()), ..SseEvent::default() }
}

#[test]
fn several_data_lines_are_joined_by_line_feeds() {
    assert_eq!(whole("data: YHOO\ndata: +2\ndata: 10\n\n"), [data("YHOO\n+2\n10")]);
    assert_eq!(whole("data\n\ndata\ndata\n\ndata:"), [data(""), data("\n")]);
}

#[test]
fn comments_and_unknown_fields_make_no_event() {
    assert_eq!(whole(": keep-alive\n\n: again\nfoo: bar\n\ndata:x\n\n"), [data("x")]);
}

#[test]
fn only_one_space_after_the_colon_is_removed() {
    assert_eq!(whole("data:  a\n\ndata:b\n\n"), [data(" a"), data("b")]);
}

#[test]
fn id_event_and_retry_are_read() {
    let events = whole("event: message\nid: 7\nretry: 1500\ndata: {}\n\n");
    let [event] = events.as_slice() else { panic!("one event") };
    assert_eq!(event.id.as_deref(), Some("7"));
    assert_eq!(event.retry, Some(Duration::from_millis(1500)));
    assert!(event.is_message());
    assert!(!whole("event: endpoint\ndata: /x\n\n")[0].is_message());
}

#[test]
fn an_id_with_a_nul_and_a_retry_that_is_not_digits_are_ignored() {
    assert_eq!(whole("id: a\0b\nretry: +5\nretry: 5s\n\ndata: x\n\n"), [data("x")]);
}

#[test]
fn an_event_with_an_id_and_no_data_primes_the_stream_a14() {
    let events = whole("id: 0\ndata:\n\nid: 1\n\n");
    assert_eq!(events.len(), 2);
    assert!(events.iter().all(|event| event.data.is_empty() && event.id.is_some()));
}

#[test]
fn a_byte_order_mark_at_the_start_is_dropped_even_when_split() {
    let (events, _) = read(&[b"\xEF", b"\xBB", b"\xBFdata: x\n", b"\n"], LIMITS).unwrap();
    assert_eq!(events, [data("x")]);
    assert!(whole("data: x\n\n\u{feff}data: y\n\n").len() == 1, "only at the start");
}

#[test]
fn every_line_end_counts_once_even_across_chunks() {
    for text in ["data: a\n\ndata: b\n\n", "data: a\r\rdata: b\r\r", "data: a\r\n\r\ndata: b\r\n\r\n"] {
        let bytes: Vec<&[u8]> = text.as_bytes().chunks(1).collect();
        assert_eq!(read(&bytes, LIMITS).unwrap().0, [data("a"), data("b")], "{text:?}");
    }
}

#[test]
fn half_an_event_at_the_end_is_not_given() {
    for text in ["data: x", "data: x\n", "data: x\r\n", "id: 1\n"] {
        let (events, inside) = read(&[text.as_bytes()], LIMITS).unwrap();
        assert!(events.is_empty() && inside, "{text:?}");
    }
    assert!(!read(&[b"data: x\n\n: comment\n"], LIMITS).unwrap().1);
}

#[test]
fn a_single_data_line_inside_one_chunk_is_not_copied() {
    let chunk = Bytes::from_static(b"data: {\"a\":1}\n\n");
    let mut reader = SseReader::new(LIMITS);
    reader.feed(chunk.clone());
    let event = reader.next_event().unwrap().unwrap();
    assert!(std::ptr::eq(event.data.as_ref(), &chunk[6..13]));
}

#[test]
fn an_endless_line_is_refused_without_being_held() {
    let limits = SseLimits { line: 100, event: 50 };
    let piece = [b'x'; 64];
    assert_eq!(read(&[&piece, &piece], limits), Err(SseError::LineTooLong { limit: 100 }));
}

#[test]
fn an_endless_event_is_refused_even_when_its_lines_are_empty() {
    let limits = SseLimits { line: 100, event: 50 };
    let lines = "data\n".repeat(60);
    assert_eq!(read(&[lines.as_bytes()], limits), Err(SseError::EventTooLarge { limit: 50 }));
    let id = format!("id: {}\n", "i".repeat(2000));
    assert!(read(&[id.as_bytes()], LIMITS).is_err());
}

/// The standard read slowly: the whole text at once, line by line.
fn reference(text: &[u8]) -> Vec<SseEvent> {
    let text = text.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(text);
    let mut lines: Vec<Vec<u8>> = vec![Vec::new()];
    let mut bytes = text.iter().peekable();
    while let Some(byte) = bytes.next() {
        match byte {
            b'\r' => {
                if bytes.peek() == Some(&&b'\n') {
                    bytes.next();
                }
                lines.push(Vec::new());
            }
            b'\n' => lines.push(Vec::new()),
            other => lines.last_mut().unwrap().push(*other),
        }
    }
    lines.pop();
    let mut events = Vec::new();
    let (mut event, mut data, mut begun) = (SseEvent::default(), Vec::<Vec<u8>>::new(), false);
    for line in lines {
        if line.is_empty() {
            if begun {
                event.data = Bytes::from(data.join(&b'\n'));
                events.push(std::mem::take(&mut event));
                data.clear();
                begun = false;
            }
            continue;
        }
        let colon = line.iter().position(|byte| *byte == b':');
        let (name, value) = colon.map_or((line.as_slice(), &[][..]), |at| (&line[..at], &line[at + 1..]));
        let value = value.strip_prefix(b" ").unwrap_or(value);
        let text = String::from_utf8_lossy(value).into_owned();
        match name {
            b"data" => data.push(value.to_vec()),
            b"id" if !value.contains(&0) => event.id = Some(text),
            b"event" => event.kind = (text != "message").then_some(text),
            b"retry" if text.bytes().all(|byte| byte.is_ascii_digit()) && text.parse::<u64>().is_ok() => {
                event.retry = text.parse().ok().map(Duration::from_millis);
            }
            _ => continue,
        }
        begun = true;
    }
    events
}

fn stream() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop_oneof![
        Just(b"data".to_vec()),
        Just(b"id".to_vec()),
        Just(b"event".to_vec()),
        Just(b"retry".to_vec()),
        Just(b":".to_vec()),
        Just(b" ".to_vec()),
        Just(b"\r".to_vec()),
        Just(b"\n".to_vec()),
        Just(b"\n\n".to_vec()),
        Just(b"\r\n".to_vec()),
        Just(b"\0".to_vec()),
        Just(b"12".to_vec()),
        Just(b"\xEF\xBB\xBF".to_vec()),
        proptest::collection::vec(any::<u8>(), 0..6),
    ];
    proptest::collection::vec(piece, 0..40).prop_map(|pieces| pieces.concat())
}

proptest! {
    #[test]
    fn any_chunking_gives_the_events_of_the_slow_reference(text in stream(), cuts in proptest::collection::vec(0_usize..64, 0..12)) {
        let mut chunks = Vec::new();
        let mut rest = text.as_slice();
        for cut in cuts {
            let (head, tail) = rest.split_at(cut.min(rest.len()));
            chunks.push(head);
            rest = tail;
        }
        chunks.push(rest);
        prop_assert_eq!(read(&chunks, LIMITS).unwrap().0, reference(&text));
    }
}
