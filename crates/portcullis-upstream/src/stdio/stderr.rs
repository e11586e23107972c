//! A child's error output, line by line into our log. It is never an error by itself (B20), and never more than the log can bear.

use std::time::Duration;

use tokio::process::ChildStderr;
use tokio::time::Instant;

use super::lines::{Line, Lines};
use crate::pipe::notes::Notes;

/// Bytes of one line. 8 KiB: a stack trace on one line; the rest is cut.
const LINE: usize = 8 << 10;
/// Lines in one second. 200: a start-up that says much fits; a loop that logs does not fill the disk.
const MOST_PER_SECOND: u32 = 200;
const SECOND: Duration = Duration::from_secs(1);

pub(super) async fn copy(stderr: ChildStderr, notes: Notes) {
    let mut lines = Lines::new(stderr, LINE);
    let (mut since, mut count) = (Instant::now(), 0_u32);
    while let Ok(Some(line)) = lines.next().await {
        if since.elapsed() >= SECOND {
            if count > MOST_PER_SECOND {
                notes.line(&format!("{} more lines within one second were dropped", count - MOST_PER_SECOND));
            }
            (since, count) = (Instant::now(), 0);
        }
        count = count.saturating_add(1);
        if count <= MOST_PER_SECOND {
            match line {
                Line::Whole(line) => notes.line(&String::from_utf8_lossy(&line)),
                Line::TooLong { head, .. } => notes.line(&format!("{}… (cut)", String::from_utf8_lossy(&head))),
            }
        }
    }
}
