//! Follows the log as it grows, over segment boundaries. Never waits: whoever calls decides how often to look.

use std::fs;
use std::io;
use std::path::Path;

use crate::error::AuditError;
use crate::layout::Layout;
use crate::lines::{Lines, Piece};
use crate::rows::{Join, Row, RowKind, StoredEntry};

#[cfg(test)]
mod tests;

/// Rows given at once; a caller that prints them asks again.
const AT_ONCE: usize = 1000;

/// A place in the log.
#[derive(Debug)]
pub struct Tail {
    layout: Layout,
    number: u64,
    offset: u64,
    join: Join,
}

impl Tail {
    /// Begins at the first entry.
    ///
    /// # Errors
    /// There is no log, or its folder cannot be read.
    pub fn from_start(path: &Path) -> Result<Self, AuditError> {
        let layout = Layout::at(path)?;
        let number = segments(&layout, path)?.first().copied().unwrap_or(1);
        Ok(Self { layout, number, offset: 0, join: Join::default() })
    }

    /// Goes to the end and gives the newest `count` rows, as far as the last two segments hold them.
    ///
    /// # Errors
    /// There is no log, or it cannot be read.
    pub fn from_end(path: &Path, count: usize) -> Result<(Self, Vec<Row>), AuditError> {
        let layout = Layout::at(path)?;
        let numbers = segments(&layout, path)?;
        let number = numbers.iter().rev().nth(1).or(numbers.first()).copied().unwrap_or(1);
        let mut tail = Self { layout, number, offset: 0, join: Join::default() };
        let mut newest: Vec<Row> = Vec::new();
        loop {
            let rows = tail.poll()?;
            let done = rows.len() < AT_ONCE;
            newest.extend(rows);
            newest.drain(..newest.len().saturating_sub(count));
            if done {
                return Ok((tail, newest));
            }
        }
    }

    /// Rows that became complete since the last look, at most 1000; fewer means that the end was reached.
    ///
    /// # Errors
    /// The log cannot be read.
    pub fn poll(&mut self) -> Result<Vec<Row>, AuditError> {
        let mut rows = Vec::new();
        while self.read_segment(&mut rows).map_err(AuditError::io("read", &self.layout.segment(self.number)))? {
            let numbers = self.layout.numbers().map_err(AuditError::io("read the folder", self.layout.folder()))?;
            let Some(next) = numbers.into_iter().find(|number| *number > self.number) else { break };
            // The writer may have finished this segment between our last look at it and our look at the folder.
            if self.read_segment(&mut rows).map_err(AuditError::io("read", &self.layout.segment(self.number)))? {
                self.number = next;
                self.offset = 0;
            } else {
                break;
            }
        }
        Ok(rows)
    }

    /// Calls whose outcome has not been seen, oldest first.
    #[must_use]
    pub fn open_calls(&self) -> Vec<Row> {
        self.join.open()
    }

    /// True when the segment has no more whole lines, false when there are rows enough.
    fn read_segment(&mut self, rows: &mut Vec<Row>) -> io::Result<bool> {
        let path = self.layout.segment(self.number);
        let mut lines = match Lines::open(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(true),
            other => other?,
        };
        // After a failed write the gateway takes back what was not durable.
        self.offset = self.offset.min(fs::metadata(&path)?.len());
        lines.skip_to(self.offset)?;
        let mut line = Vec::new();
        while rows.len() < AT_ONCE {
            let piece = lines.next(&mut line)?;
            if matches!(piece, Piece::End | Piece::Torn) {
                return Ok(true);
            }
            self.offset = lines.offset;
            let entry = if piece == Piece::Whole { StoredEntry::of(&line) } else { None };
            rows.extend(match entry {
                Some(entry) => self.join.push(entry),
                None => Some(damaged()),
            });
        }
        Ok(false)
    }
}

fn damaged() -> Row {
    let detail = "this line is no entry; `portcullis audit verify` tells more".to_owned();
    Row { kind: RowKind::Damaged, code: Some("damaged".to_owned()), detail: Some(detail), ..Row::default() }
}

/// The segments present; no segment is no log.
pub(crate) fn segments(layout: &Layout, path: &Path) -> Result<Vec<u64>, AuditError> {
    let missing = || AuditError::NoLog { path: path.to_owned() };
    match layout.numbers() {
        Ok(numbers) if numbers.is_empty() => Err(missing()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Err(missing()),
        other => other.map_err(AuditError::io("read the folder", layout.folder())),
    }
}
