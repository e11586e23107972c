//! A key file held for a change: locked against other commands, replaced as a whole or not at all. What stands in it is not known here.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, fchown};
use std::path::{Path, PathBuf};

/// For the owner only: hashes of keys are no secrets, but whoever can write here decides who may call.
const MODE: u32 = 0o600;

/// A file that nobody else changes through [`Held`] until this is dropped.
#[derive(Debug)]
pub(super) struct Held {
    /// With links resolved, so that a link is not replaced by a file.
    path: PathBuf,
    /// The lock goes with it.
    file: File,
    pub(super) text: String,
}

impl Held {
    /// # Errors
    /// The file does not exist, or cannot be read and written.
    pub(super) fn existing(path: &Path) -> io::Result<Self> {
        Self::open(path, OpenOptions::new().read(true).append(true))
    }

    /// The file, made if it does not exist.
    ///
    /// # Errors
    /// It cannot be made, or read and written.
    pub(super) fn or_new(path: &Path) -> io::Result<Self> {
        Self::open(path, OpenOptions::new().read(true).append(true).create(true).mode(MODE))
    }

    fn open(path: &Path, options: &OpenOptions) -> io::Result<Self> {
        loop {
            let mut file = options.open(path)?;
            file.lock()?;
            let path = fs::canonicalize(path)?;
            let (held, named) = (file.metadata()?, fs::metadata(&path)?);
            // Whoever had the lock before us has put another file in its place.
            if (held.dev(), held.ino()) != (named.dev(), named.ino()) {
                continue;
            }
            let mut text = String::new();
            file.read_to_string(&mut text)?;
            return Ok(Self { path, file, text });
        }
    }

    /// Puts a new text in place of the old one. A reader sees the one or the other, and so does whoever reads after a power cut.
    ///
    /// # Errors
    /// The folder or the disk refuses; the old text is then still there, unless all that failed was to make its replacement durable.
    pub(super) fn replace(self, text: &str) -> io::Result<()> {
        let folder = self.path.parent().unwrap_or(Path::new("/"));
        let mut name = std::ffi::OsString::from(".");
        name.push(self.path.file_name().unwrap_or_default());
        name.push(".new");
        let beside = folder.join(name);
        // We hold the lock, so nobody is writing it: it was left behind by a crash.
        match fs::remove_file(&beside) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            Ok(()) | Err(_) => {}
        }
        let written = self.write(&beside, text).and_then(|()| fs::rename(&beside, &self.path));
        if written.is_err() {
            let _left_behind = fs::remove_file(&beside);
        }
        written?;
        File::open(folder)?.sync_all()
    }

    /// A new file with the owner and the permissions of the old one, on the disk.
    fn write(&self, beside: &Path, text: &str) -> io::Result<()> {
        let old = self.file.metadata()?;
        let mut file = OpenOptions::new().write(true).create_new(true).mode(MODE).open(beside)?;
        let new = file.metadata()?;
        if (new.uid(), new.gid()) != (old.uid(), old.gid()) {
            fchown(&file, Some(old.uid()), Some(old.gid()))?;
        }
        file.set_permissions(old.permissions())?;
        file.write_all(text.as_bytes())?;
        file.sync_all()
    }
}
