//! Lines of bytes within a limit. A longer line is not held: its two ends are kept, so that its owner may be found, and the
//! reader is in step again at the next line.

use bytes::{Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt};

/// Bytes kept of each end of a line that is too long. 4096: an id stands near one end of a message.
const ENDS: usize = 4096;
/// Bytes asked for at once. 16 KiB: most messages in one read, without holding much for an idle child.
const PIECE: usize = 16 << 10;

/// One line, without its end.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Line {
    Whole(Bytes),
    TooLong { head: Bytes, tail: Bytes },
}

#[derive(Debug)]
pub(super) struct Lines<R> {
    source: R,
    limit: usize,
    held: BytesMut,
    /// How much of `held` has no line end.
    searched: usize,
    /// The beginning of a line that is too long and still goes on; `held` then has its latest bytes.
    head: Option<Bytes>,
}

impl<R: AsyncRead + Unpin> Lines<R> {
    pub(super) fn new(source: R, limit: usize) -> Self {
        Self { source, limit, held: BytesMut::new(), searched: 0, head: None }
    }

    /// The next line; `None` at the end. Half a line at the end is not a line.
    pub(super) async fn next(&mut self) -> std::io::Result<Option<Line>> {
        loop {
            let unseen = self.held.get(self.searched..).unwrap_or_default();
            if let Some(at) = memchr::memchr(b'\n', unseen) {
                let mut line = self.held.split_to(self.searched + at + 1).freeze();
                self.searched = 0;
                line.truncate(line.len().saturating_sub(1));
                if line.last() == Some(&b'\r') {
                    line.truncate(line.len() - 1);
                }
                return Ok(Some(self.finish(line)));
            }
            self.searched = self.held.len();
            self.bound();
            self.held.reserve(PIECE);
            if self.source.read_buf(&mut self.held).await? == 0 {
                return Ok(None);
            }
        }
    }

    fn finish(&mut self, line: Bytes) -> Line {
        match self.head.take() {
            Some(head) => Line::TooLong { head, tail: tail(&line) },
            None if line.len() > self.limit => {
                Line::TooLong { head: line.slice(..line.len().min(ENDS)), tail: tail(&line) }
            }
            None => Line::Whole(line),
        }
    }

    /// Lets go of the middle of a line that is too long.
    fn bound(&mut self) {
        if self.head.is_none() && self.held.len() > self.limit {
            let head = self.held.get(..self.held.len().min(ENDS)).unwrap_or_default();
            self.head = Some(Bytes::copy_from_slice(head));
        }
        if self.head.is_some() && self.held.len() > ENDS {
            let rest = self.held.split_off(self.held.len() - ENDS);
            self.held = BytesMut::from(rest.as_ref());
            self.searched = self.held.len();
        }
    }
}

fn tail(line: &Bytes) -> Bytes {
    line.slice(line.len().saturating_sub(ENDS)..)
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;
    use tokio::io::AsyncWriteExt;

    use super::*;

    async fn read(text: &[u8], limit: usize) -> Vec<Line> {
        let mut lines = Lines::new(text, limit);
        let mut all = Vec::new();
        while let Some(line) = lines.next().await.unwrap() {
            all.push(line);
        }
        all
    }

    fn whole(text: &'static str) -> Line {
        Line::Whole(Bytes::from_static(text.as_bytes()))
    }

    #[tokio::test]
    async fn both_line_ends_count_and_half_a_line_does_not() {
        assert_eq!(read(b"a\r\n\nb\nhalf", 10).await, [whole("a"), whole(""), whole("b")]);
    }

    #[tokio::test]
    async fn a_line_at_the_limit_passes_and_a_longer_one_keeps_its_ends_and_the_step() {
        let text = format!("{}\n{}tail\nnext\n", "x".repeat(20_000), "y".repeat(100_000));
        let lines = read(text.as_bytes(), 20_000).await;
        assert!(matches!(&lines[0], Line::Whole(line) if line.len() == 20_000));
        let Line::TooLong { head, tail } = &lines[1] else { panic!("too long") };
        assert!(head.starts_with(b"yyy") && head.len() == ENDS && tail.ends_with(b"tail") && tail.len() <= ENDS);
        assert_eq!(lines[2], whole("next"));
    }

    #[tokio::test]
    async fn an_endless_line_holds_no_more_than_the_limit_and_a_piece() {
        let (mut child, ours) = tokio::io::duplex(PIECE);
        let mut lines = Lines::new(ours, 50_000);
        for _ in 0..100 {
            child.write_all(&[b'x'; PIECE]).await.unwrap();
            assert!(lines.next().now_or_never().is_none(), "no line ends");
            assert!(lines.held.len() <= 50_000 + PIECE, "{}", lines.held.len());
        }
        child.write_all(b"\nnext\n").await.unwrap();
        assert!(matches!(lines.next().await.unwrap(), Some(Line::TooLong { .. })));
        assert_eq!(lines.next().await.unwrap(), Some(whole("next")));
    }
}
