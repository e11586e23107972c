//! A folder for the demo's files, gone when the demo ends.

use std::fs;
use std::path::{Path, PathBuf};

use crate::exit::Failure;

/// Removed when dropped.
#[derive(Debug)]
pub(super) struct Folder(PathBuf);

impl Folder {
    /// Makes a folder that nobody else has.
    pub(super) fn new() -> Result<Self, Failure> {
        let path = std::env::temp_dir().join(format!("portcullis-demo-{}", std::process::id()));
        fs::create_dir(&path).map_err(|error| trouble(&path, &error))?;
        Ok(Self(path))
    }

    pub(super) fn path(&self) -> &Path {
        &self.0
    }

    /// Writes a file and gives its path.
    pub(super) fn write(&self, name: &str, text: &str) -> Result<String, Failure> {
        let path = self.0.join(name);
        fs::write(&path, text).map_err(|error| trouble(&path, &error))?;
        Ok(path.display().to_string())
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // What cannot be removed is left to the system's own cleaning.
        let _left = fs::remove_dir_all(&self.0);
    }
}

fn trouble(path: &Path, error: &std::io::Error) -> Failure {
    Failure::new(format!("the demo cannot write `{}`: {error}", path.display()))
        .help("set TMPDIR to a folder that can be written")
}
