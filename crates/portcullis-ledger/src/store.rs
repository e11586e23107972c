//! Segments on disk: append, sync, rotate, and the way back after a failure. Used by the writer thread alone; knows nothing of queues.
//!
//! The invariant: everything up to `durable` is on disk and linked. After any failure the log returns to that point and goes on from
//! there, so a half-written batch never stays in the chain.

use std::fmt;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::Path;
use std::sync::Arc;

use portcullis_core::clock::Clock;

use crate::error::AuditError;
use crate::format::{Item, Link, Pen};
use crate::head::Head;
use crate::layout::Layout;
use crate::settings::Content;

/// Bytes of a batch that are handed on before it is complete, so that large entries do not pile up in memory a second time.
const MOST_BUFFERED: usize = 1 << 20;

mod recovery;

#[cfg(test)]
mod tests;

/// One open segment. A trait so that tests can fill the disk.
pub(crate) trait Sink: Write + Send + fmt::Debug {
    /// Returns once everything written is on disk.
    fn sync(&mut self) -> io::Result<()>;
}

impl Sink for File {
    fn sync(&mut self) -> io::Result<()> {
        self.sync_data()
    }
}

/// Opens a segment for appending; `fresh` means it must not exist yet.
pub(crate) type Opener = Box<dyn FnMut(&Path, bool) -> io::Result<Box<dyn Sink>> + Send>;

/// How the operating system opens segments.
pub(crate) fn on_disk() -> Opener {
    Box::new(|path, fresh| Ok(Box::new(private().append(true).create_new(fresh).open(path)?)))
}

/// What a store needs besides the disk.
pub(crate) struct Plan {
    pub(crate) layout: Layout,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) gateway: &'static str,
    pub(crate) rotate_bytes: u64,
    pub(crate) content: Content,
}

#[derive(Clone, Debug)]
struct Point {
    number: u64,
    offset: u64,
    link: Link,
}

/// The log on disk, held by this process.
pub(crate) struct Store {
    plan: Plan,
    opener: Opener,
    /// Held for as long as the store lives; the operating system lets go of it when the process dies.
    lock: File,
    sink: Option<Box<dyn Sink>>,
    number: u64,
    /// Bytes in the current segment, written ones only.
    offset: u64,
    pen: Pen,
    /// Written and not yet handed to the operating system; its memory is used again.
    buffer: String,
    /// Items behind `durable`; headers do not count.
    unconfirmed: usize,
    durable: Point,
}

impl fmt::Debug for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Store").field("layout", &self.plan.layout).field("link", &self.pen.link).finish_non_exhaustive()
    }
}

impl Store {
    /// Takes the log: locks it, repairs a torn end, and proves by a first durable write that it can be written.
    ///
    /// # Errors
    /// Another process has it, or the disk says no.
    pub(crate) fn open(plan: Plan, mut opener: Opener) -> Result<Self, AuditError> {
        let layout = plan.layout.clone();
        make_folder(layout.folder()).map_err(AuditError::io("create the folder", layout.folder()))?;
        let lock = take_lock(&layout.lock())?;
        let found = recovery::recover(&layout).map_err(AuditError::io("recover the audit log at", layout.folder()))?;
        let here = layout.segment(found.number);
        let sink =
            if found.number == 0 { None } else { Some(opener(&here, false).map_err(AuditError::io("write", &here))?) };
        let durable = Point { number: found.number, offset: found.offset, link: found.link.clone() };
        let Point { number, offset, link } = durable.clone();
        let (pen, buffer) = (Pen::after(link), String::new());
        let mut store = Self { plan, opener, lock, sink, number, offset, pen, buffer, unconfirmed: 0, durable };
        store.greet(found.notices).map_err(AuditError::io("write the audit log at", layout.folder()))?;
        Ok(store)
    }

    fn greet(&mut self, notices: Vec<(&'static str, String)>) -> io::Result<()> {
        if self.sink.is_none() {
            self.begin(self.number.saturating_add(1))?;
        }
        for (code, detail) in notices {
            self.append(&Item::Own { at: self.plan.clock.now(), code, detail })?;
        }
        self.sync()
    }

    pub(crate) fn clock(&self) -> &dyn Clock {
        self.plan.clock.as_ref()
    }

    /// Number of the newest entry, durable or not.
    pub(crate) const fn seq(&self) -> u64 {
        self.pen.link.seq
    }

    /// How many of the items appended are not on disk yet. A new segment confirms all before it, so this may be fewer than came
    /// since the last [`Self::sync`] that the caller asked for.
    pub(crate) const fn unconfirmed(&self) -> usize {
        self.unconfirmed
    }

    /// Puts one entry behind the others; it reaches the file with [`Self::write_out`] and the disk with [`Self::sync`].
    pub(crate) fn append(&mut self, item: &Item) -> io::Result<()> {
        if self.offset.saturating_add(self.buffer.len() as u64) >= self.plan.rotate_bytes {
            // The old segment is durable before the new one exists: a rollback never has to cross more than one boundary.
            self.sync()?;
            self.begin(self.number.saturating_add(1))?;
        }
        self.pen.item(&mut self.buffer, item, self.plan.content);
        self.unconfirmed = self.unconfirmed.saturating_add(1);
        if self.buffer.len() >= MOST_BUFFERED { self.write_out() } else { Ok(()) }
    }

    /// Hands everything appended to the operating system.
    pub(crate) fn write_out(&mut self) -> io::Result<()> {
        let Some(sink) = self.sink.as_deref_mut() else {
            return Err(io::Error::other("no segment is open"));
        };
        sink.write_all(self.buffer.as_bytes())?;
        self.offset = self.offset.saturating_add(self.buffer.len() as u64);
        self.buffer.clear();
        Ok(())
    }

    /// Returns once everything appended is on disk and the head says so.
    pub(crate) fn sync(&mut self) -> io::Result<()> {
        self.write_out()?;
        if let Some(sink) = self.sink.as_deref_mut() {
            sink.sync()?;
        }
        // Writing to a file that somebody removed or cut succeeds; only its name tells.
        let length = fs::metadata(self.plan.layout.segment(self.number))?.len();
        if length != self.offset {
            return Err(io::Error::other(format!("the segment has {length} bytes where {} were written", self.offset)));
        }
        self.write_head(false)?;
        self.durable = Point { number: self.number, offset: self.offset, link: self.pen.link.clone() };
        self.unconfirmed = 0;
        Ok(())
    }

    /// Writes the head once more, durably: for a clean end.
    pub(crate) fn seal(&mut self) -> io::Result<()> {
        self.sync()?;
        self.write_head(true)
    }

    fn write_head(&self, durable: bool) -> io::Result<()> {
        Head { seq: self.pen.link.seq, hash: self.pen.link.hash.clone() }.write(&self.plan.layout.head(), durable)
    }

    /// Goes back to the last durable entry after a failure; what was appended since has to be appended again.
    pub(crate) fn rollback(&mut self) -> io::Result<()> {
        self.sink = None;
        self.buffer.clear();
        self.unconfirmed = 0;
        let lock = self.plan.layout.lock();
        if !lock.exists() {
            make_folder(self.plan.layout.folder())?;
            self.lock = take_lock(&lock).map_err(io::Error::other)?;
        }
        let begun = std::mem::replace(&mut self.number, self.durable.number);
        let ours = self.plan.layout.segment(self.durable.number);
        self.pen.link = self.durable.link.clone();
        if begun > self.durable.number {
            // Begun by us, and nothing in it ever became durable.
            drop_file(&self.plan.layout.segment(begun))?;
        }
        match fs::metadata(&ours) {
            Ok(found) if found.is_file() && found.len() >= self.durable.offset => {
                OpenOptions::new().write(true).open(&ours)?.set_len(self.durable.offset)?;
                self.offset = self.durable.offset;
                self.sink = Some((self.opener)(&ours, false)?);
                Ok(())
            }
            // Removed or cut by somebody else: go on in a new segment, whose link to what is gone makes the loss evident.
            Ok(_) | Err(_) => {
                let newest = self.plan.layout.numbers()?.last().copied().unwrap_or_default();
                self.begin(newest.max(self.durable.number).saturating_add(1))
            }
        }
    }

    fn begin(&mut self, number: u64) -> io::Result<()> {
        let path = self.plan.layout.segment(number);
        self.sink = Some((self.opener)(&path, true)?);
        sync_folder(self.plan.layout.folder())?;
        self.number = number;
        self.offset = 0;
        self.pen.header(&mut self.buffer, self.plan.clock.now(), number, self.plan.gateway);
        Ok(())
    }
}

/// Audit data is nobody else's business: readable by the owner alone where the system knows owners.
pub(crate) fn private() -> OpenOptions {
    let mut options = OpenOptions::new();
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options
}

fn make_folder(folder: &Path) -> io::Result<()> {
    let mut builder = fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(folder)
}

/// Makes the name of a new file as durable as its content; only Unix lets a folder be opened for that.
fn sync_folder(folder: &Path) -> io::Result<()> {
    if cfg!(unix) { File::open(folder)?.sync_all() } else { Ok(()) }
}

fn drop_file(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        Ok(()) | Err(_) => Ok(()),
    }
}

fn take_lock(path: &Path) -> Result<File, AuditError> {
    let file = private()
        .write(true)
        .create(true)
        .truncate(false)
        .open(path)
        .map_err(AuditError::io("open the lock file", path))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(fs::TryLockError::WouldBlock) => Err(AuditError::Locked { lock: path.to_owned() }),
        Err(fs::TryLockError::Error(source)) => Err(AuditError::io("lock", path)(source)),
    }
}
