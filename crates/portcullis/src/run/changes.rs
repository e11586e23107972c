//! Tells when a file is not what it was. It asks once a second instead of subscribing: that costs one system call, and works for renamed
//! files, links, mounted secrets and network drives alike. It reads nothing.

use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Short enough for whoever takes back a key and watches.
const PAUSE: Duration = Duration::from_secs(1);

/// A file, as it was when last looked at.
#[derive(Debug, Default)]
pub(crate) struct Watched {
    /// `None` before the first look, which therefore counts as a change: what happened since the start is not missed.
    seen: Option<Result<Stamp, io::ErrorKind>>,
}

/// What differs when a file was written or replaced: device, inode, length, and the last change of content and of inode.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Stamp {
    place: (u64, u64),
    length: u64,
    written: (i64, i64),
    changed: (i64, i64),
}

impl Watched {
    /// Waits until `file` has changed; forever without one. May be dropped at any time.
    pub(crate) async fn changed(&mut self, file: Option<&Path>) {
        let Some(file) = file else { return std::future::pending().await };
        loop {
            tokio::time::sleep(PAUSE).await;
            let file = file.to_owned();
            // Network drives can hang, and no thread that serves may hang with them.
            let Ok(stamp) = tokio::task::spawn_blocking(move || stamp(file)).await else { continue };
            if self.seen.replace(stamp) != Some(stamp) {
                return;
            }
        }
    }
}

fn stamp(file: PathBuf) -> Result<Stamp, io::ErrorKind> {
    let data = std::fs::metadata(file).map_err(|error| error.kind())?;
    Ok(Stamp {
        place: (data.dev(), data.ino()),
        length: data.len(),
        written: (data.mtime(), data.mtime_nsec()),
        changed: (data.ctime(), data.ctime_nsec()),
    })
}
