//! What a new process finds: the last whole entry, a torn end to set aside, and whatever deserves a notice in the log itself.
//!
//! Nothing is destroyed: cut bytes are kept beside the log, and an entry that was tampered with stays where it is for `verify` to name.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _, Seek as _, SeekFrom};
use std::path::Path;

use super::{drop_file, private, sync_folder};
use crate::format::{Frame, Link};
use crate::head::Head;
use crate::layout::Layout;
use crate::lines::{Lines, Piece};

/// Where to go on.
pub(super) struct Found {
    /// Newest segment with a whole entry; 0 for a new log.
    pub(super) number: u64,
    pub(super) offset: u64,
    pub(super) link: Link,
    /// Code and detail, to be recorded first.
    pub(super) notices: Vec<(&'static str, String)>,
}

/// What one segment holds.
#[derive(Default)]
struct Scan {
    /// End of the last whole entry.
    end: u64,
    link: Option<Link>,
    /// An entry did not follow the one before.
    broken: bool,
    /// The last whole entry says that the gateway stopped cleanly.
    closed: bool,
    length: u64,
}

/// Finds the end of the log and sets torn bytes aside. The newest segment is read once, from its beginning: that is bounded by its
/// size, and finds damage at start that would otherwise wait for the next `verify`.
pub(super) fn recover(layout: &Layout) -> io::Result<Found> {
    let mut found = Found { number: 0, offset: 0, link: Link::default(), notices: Vec::new() };
    let mut numbers = layout.numbers()?;
    let mut cut = Vec::new();
    let mut scan = Scan::default();
    let was_there = !numbers.is_empty();
    while let Some(number) = numbers.pop() {
        let path = layout.segment(number);
        scan = scan_segment(&path)?;
        if let Some(link) = scan.link.take() {
            found.number = number;
            found.offset = scan.end;
            found.link = link;
            cut.extend(set_aside(layout, number, scan.end, scan.length)?);
            break;
        }
        // Not one whole entry in it: it never became part of the chain.
        cut.extend(set_aside(layout, number, 0, scan.length)?);
        drop_file(&path)?;
    }
    if was_there {
        sync_folder(layout.folder())?;
    }
    let seq = found.link.seq;
    if !cut.is_empty() {
        let detail = format!("after entry {seq} the log ended in the middle of an entry; {}", cut.join("; "));
        found.notices.push(("recovered", detail));
    } else if was_there && !scan.closed {
        found
            .notices
            .push(("recovered", format!("the gateway had not stopped cleanly; the log is whole up to entry {seq}")));
    }
    if scan.broken {
        found.notices.push((
            "chain_broken",
            "the newest segment does not verify; `portcullis audit verify` names the first bad entry".to_owned(),
        ));
    }
    match Head::read(&layout.head()) {
        Ok(Some(head)) if head.seq > seq => found.notices.push((
            "entries_lost",
            format!("the head says that entry {head} was durable, but the log ended at entry {seq}"),
        )),
        Ok(_) => {}
        Err(error) => found.notices.push((
            "head_unreadable",
            format!("nothing tells whether entries were cut off behind entry {seq}: the head cannot be read ({error})"),
        )),
    }
    Ok(found)
}

fn scan_segment(path: &Path) -> io::Result<Scan> {
    let mut lines = Lines::open(path)?;
    let mut line = Vec::new();
    let mut scan = Scan { length: fs::metadata(path)?.len(), ..Scan::default() };
    loop {
        match lines.next(&mut line)? {
            Piece::End => return Ok(scan),
            Piece::Torn | Piece::TooLong => continue,
            Piece::Whole => {}
        }
        let Some(frame) = Frame::of(&line).filter(|frame| frame.is_intact(&line)) else {
            continue;
        };
        // Bad lines before a whole entry are damage in the middle, not a torn end.
        let contiguous = scan.link.as_ref().map_or(lines.offset == line.len() as u64 + 1, |link| frame.follows(link));
        scan.broken |= !contiguous;
        scan.end = lines.offset;
        scan.link = Some(frame.link());
        scan.closed = is_closing(&line);
    }
}

/// Quotes inside texts are escaped, so this sequence can only be the members themselves.
fn is_closing(line: &[u8]) -> bool {
    const CLOSED: &[u8] = b"\"kind\":\"notice\",\"code\":\"closed\"";
    line.windows(CLOSED.len()).any(|window| window == CLOSED)
}

/// Moves the bytes from `from` to `length` into a file of their own and says so; nothing to say when there are none.
fn set_aside(layout: &Layout, number: u64, from: u64, length: u64) -> io::Result<Option<String>> {
    if from >= length {
        return Ok(None);
    }
    let (path, torn) = (layout.segment(number), layout.torn(number, from));
    let mut source = File::open(&path)?;
    source.seek(SeekFrom::Start(from))?;
    let mut kept = private().write(true).create_new(true).open(&torn)?;
    let bytes = io::copy(&mut source.take(length - from), &mut kept)?;
    kept.sync_all()?;
    let segment = OpenOptions::new().write(true).open(&path)?;
    segment.set_len(from)?;
    segment.sync_all()?;
    let name = torn.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    Ok(Some(format!("{bytes} bytes were cut off and kept in `{name}`")))
}
