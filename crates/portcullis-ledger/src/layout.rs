//! Which file is called what. A log is a stem in a folder: `<stem>-00000001.jsonl`, `<stem>.head`, `<stem>.lock`, `<stem>.torn-…`.

use std::ffi::OsStr;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use crate::error::AuditError;

/// The names of one log's files.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Layout {
    folder: PathBuf,
    stem: String,
}

impl Layout {
    /// Reads the operator's path: `…/x.jsonl` is the log `x` in that folder, a segment's own name means the log it belongs to, and
    /// anything else is a folder holding the log `audit`.
    ///
    /// # Errors
    /// The path is an existing file of another kind, or its name is not Unicode.
    pub fn at(path: &Path) -> Result<Self, AuditError> {
        let wrong = || AuditError::NotALogPath { path: path.to_owned() };
        if path.extension() != Some(OsStr::new("jsonl")) || path.is_dir() {
            if path.exists() && !path.is_dir() {
                return Err(wrong());
            }
            return Ok(Self { folder: path.to_owned(), stem: "audit".to_owned() });
        }
        let stem = path.file_stem().and_then(OsStr::to_str).ok_or_else(wrong)?;
        let stem = match stem.rsplit_once('-') {
            Some((log, number)) if !log.is_empty() && path.is_file() && segment_number(number).is_some() => log,
            Some(_) | None => stem,
        };
        let folder = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or_else(|| Path::new("."));
        Ok(Self { folder: folder.to_owned(), stem: stem.to_owned() })
    }

    /// Folder that holds every file of the log.
    #[must_use]
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Segment `number`, counted from 1.
    #[must_use]
    pub fn segment(&self, number: u64) -> PathBuf {
        self.folder.join(self.segment_name(number))
    }

    pub(crate) fn segment_name(&self, number: u64) -> String {
        format!("{}-{number:08}.jsonl", self.stem)
    }

    /// The side file that names the last durable entry.
    #[must_use]
    pub fn head(&self) -> PathBuf {
        self.folder.join(format!("{}.head", self.stem))
    }

    pub(crate) fn lock(&self) -> PathBuf {
        self.folder.join(format!("{}.lock", self.stem))
    }

    /// Where bytes cut from the end of a segment are kept; never an existing file.
    pub(crate) fn torn(&self, number: u64, offset: u64) -> PathBuf {
        let name = |again: u32| match again {
            0 => format!("{}.torn-{number:08}-{offset}", self.stem),
            _ => format!("{}.torn-{number:08}-{offset}.{again}", self.stem),
        };
        let free = (0..1000).map(|again| self.folder.join(name(again))).find(|path| !path.exists());
        free.unwrap_or_else(|| self.folder.join(name(1000)))
    }

    /// Numbers of the segments present, ascending.
    pub(crate) fn numbers(&self) -> io::Result<Vec<u64>> {
        let mut numbers = Vec::new();
        for entry in fs::read_dir(&self.folder)? {
            let name = entry?.file_name();
            let number = name
                .to_str()
                .and_then(|name| name.strip_prefix(self.stem.as_str()))
                .and_then(|rest| rest.strip_prefix('-'))
                .and_then(|rest| rest.strip_suffix(".jsonl"))
                .and_then(segment_number);
            numbers.extend(number);
        }
        numbers.sort_unstable();
        Ok(numbers)
    }
}

/// Eight digits, or more without leading zeros: exactly what [`Layout::segment_name`] writes, so that no two names mean one segment.
fn segment_number(digits: &str) -> Option<u64> {
    let plain = digits.len() >= 8 && digits.bytes().all(|byte| byte.is_ascii_digit());
    let number = digits.parse::<u64>().ok().filter(|number| plain && *number > 0)?;
    (format!("{number:08}") == digits).then_some(number)
}

#[cfg(test)]
mod tests {
    use super::Layout;
    use std::path::Path;

    #[test]
    fn a_jsonl_path_names_the_stem_and_anything_else_a_folder() {
        let named = Layout::at(Path::new("logs/x.jsonl")).unwrap();
        assert_eq!(named.segment(1), Path::new("logs/x-00000001.jsonl"));
        assert_eq!(named.head(), Path::new("logs/x.head"));
        let folder = Layout::at(Path::new("logs")).unwrap();
        assert_eq!(folder.segment(12), Path::new("logs/audit-00000012.jsonl"));
        let bare = Layout::at(Path::new("x.jsonl")).unwrap();
        assert_eq!(bare.folder(), Path::new("."));
    }

    #[test]
    fn a_segments_own_name_means_the_log_it_belongs_to() {
        let folder = tempfile::tempdir().unwrap();
        let segment = folder.path().join("x-00000002.jsonl");
        std::fs::write(&segment, "").unwrap();
        std::fs::write(folder.path().join("x-2.jsonl"), "").unwrap();
        std::fs::write(folder.path().join("xy-00000003.jsonl"), "").unwrap();
        let layout = Layout::at(&segment).unwrap();
        assert_eq!(layout.segment(2), segment);
        assert_eq!(layout.numbers().unwrap(), [2]);
    }

    #[test]
    fn a_file_of_another_kind_is_not_taken_for_a_folder() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("notes.txt");
        std::fs::write(&file, "").unwrap();
        assert!(Layout::at(&file).unwrap_err().to_string().contains(".jsonl"));
    }
}
