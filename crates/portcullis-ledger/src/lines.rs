//! Whole lines of one segment, streamed; the longest line is bounded so that a hostile file cannot grow memory.

use std::fs::File;
use std::io::{self, BufRead as _, BufReader, Read as _, Seek as _, SeekFrom};
use std::path::Path;

use crate::format::MAX_LINE;

/// What the next line turned out to be.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Piece {
    /// A line that ended in a line feed; the buffer holds it without.
    Whole,
    /// The file ended first.
    Torn,
    /// Longer than any entry can be; the buffer holds its beginning.
    TooLong,
    /// Nothing left.
    End,
}

/// Reads one file line by line.
#[derive(Debug)]
pub(crate) struct Lines {
    reader: BufReader<File>,
    /// Bytes consumed so far.
    pub(crate) offset: u64,
}

impl Lines {
    pub(crate) fn open(path: &Path) -> io::Result<Self> {
        Ok(Self { reader: BufReader::with_capacity(1 << 16, File::open(path)?), offset: 0 })
    }

    /// Goes on at `offset`, which has to be the beginning of a line.
    pub(crate) fn skip_to(&mut self, offset: u64) -> io::Result<()> {
        self.offset = self.reader.seek(SeekFrom::Start(offset))?;
        Ok(())
    }

    pub(crate) fn next(&mut self, line: &mut Vec<u8>) -> io::Result<Piece> {
        line.clear();
        let limit = MAX_LINE as u64 + 1;
        let read = self.reader.by_ref().take(limit).read_until(b'\n', line)?;
        self.offset += read as u64;
        if line.last() == Some(&b'\n') {
            line.pop();
            return Ok(Piece::Whole);
        }
        match read {
            0 => Ok(Piece::End),
            _ if (read as u64) < limit => Ok(Piece::Torn),
            _ => {
                self.skip_line()?;
                Ok(Piece::TooLong)
            }
        }
    }

    fn skip_line(&mut self) -> io::Result<()> {
        loop {
            let available = self.reader.fill_buf()?;
            let (step, done) = match available.iter().position(|byte| *byte == b'\n') {
                Some(at) => (at + 1, true),
                None => (available.len(), available.is_empty()),
            };
            self.reader.consume(step);
            self.offset += step as u64;
            if done {
                return Ok(());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Lines, Piece};
    use crate::format::MAX_LINE;

    #[test]
    fn lines_torn_tails_and_monsters_are_told_apart() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x");
        let mut bytes = b"one\n\n".to_vec();
        bytes.extend(std::iter::repeat_n(b'x', 3 * MAX_LINE));
        bytes.extend(b"\nlast\ntorn");
        std::fs::write(&path, &bytes).unwrap();
        let mut lines = Lines::open(&path).unwrap();
        let mut line = Vec::new();
        let mut seen = Vec::new();
        loop {
            let piece = lines.next(&mut line).unwrap();
            if piece == Piece::End {
                break;
            }
            seen.push((piece, line.len()));
        }
        assert_eq!(
            seen,
            [(Piece::Whole, 3), (Piece::Whole, 0), (Piece::TooLong, MAX_LINE + 1), (Piece::Whole, 4), (Piece::Torn, 4)]
        );
        assert_eq!(lines.offset, bytes.len() as u64);
    }
}
