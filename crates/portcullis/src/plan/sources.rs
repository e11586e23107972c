//! Policies on disk: presets, files and folders into texts, and the policy crate's findings into ours.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use portcullis_policy::{PRESETS, Source, preset};

use crate::config::{PolicyPath, nearest};
use crate::finding::{Finding, Severity};

/// Bytes of one policy file. 1 MiB is ten thousand policies; what is larger is not a policy file.
const MOST_BYTES: u64 = 1 << 20;

/// Reads the texts, folders in the order of their file names so that the order never depends on the disk.
///
/// # Errors
/// Every file that cannot be read, with the way out.
pub(crate) fn find(paths: &[PolicyPath]) -> Result<Vec<Source>, Vec<Finding>> {
    let mut sources = Vec::new();
    let mut findings = Vec::new();
    for path in paths {
        match path {
            PolicyPath::Preset(name) => sources
                .extend(preset(name).map(|text| Source { file: format!("preset:{name}"), text: text.to_owned() })),
            PolicyPath::Path(path) => match files(path) {
                Ok(files) if files.is_empty() => findings.push(
                    complaint(path, "the folder holds no `*.cedar` files".to_owned())
                        .help("`portcullis policy init -o FILE` writes one to start from"),
                ),
                Ok(files) => files.iter().for_each(|file| match read(file) {
                    Ok(text) => sources.push(Source { file: file.display().to_string(), text }),
                    Err(error) => findings.push(unreadable(file, &error)),
                }),
                Err(error) => findings.push(unreadable(path, &error)),
            },
        }
    }
    if findings.is_empty() { Ok(sources) } else { Err(findings) }
}

/// A file is itself; a folder is its `*.cedar` files, those of its folders not included.
fn files(path: &Path) -> io::Result<Vec<PathBuf>> {
    if !fs::metadata(path)?.is_dir() {
        return Ok(vec![path.to_owned()]);
    }
    let mut files = Vec::new();
    for entry in fs::read_dir(path)? {
        let file = entry?.path();
        if file.extension().is_some_and(|extension| extension == "cedar") && file.is_file() {
            files.push(file);
        }
    }
    files.sort();
    Ok(files)
}

fn read(file: &Path) -> io::Result<String> {
    if fs::metadata(file)?.len() > MOST_BYTES {
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, format!("larger than {MOST_BYTES} bytes")));
    }
    fs::read_to_string(file)
}

fn complaint(path: &Path, text: String) -> Finding {
    Finding::error(path.display().to_string(), "policy", text)
}

fn unreadable(path: &Path, error: &io::Error) -> Finding {
    let meant = path.to_str().and_then(|word| nearest(word, PRESETS));
    let help = match (error.kind(), meant) {
        (io::ErrorKind::NotFound, Some(preset)) => format!("did you mean the preset `{preset}`?"),
        (io::ErrorKind::NotFound, None) => {
            "name a Cedar file, a folder of them, or one of the presets `observe`, `read-only`, `closed`".to_owned()
        }
        _ => "policies are read when the gateway starts and on SIGHUP; it must be able to read them".to_owned(),
    };
    complaint(path, format!("cannot be read: {error}")).help(help)
}

/// The policy crate's findings as everybody sees them.
pub(crate) fn from_policy(found: portcullis_policy::Finding) -> Finding {
    let severity = match found.severity {
        portcullis_policy::Severity::Error => Severity::Error,
        portcullis_policy::Severity::Warning => Severity::Warning,
    };
    let number = |value: usize| u64::try_from(value).ok().filter(|value| *value > 0);
    Finding {
        severity,
        file: found.file,
        line: number(found.line),
        column: number(found.column),
        key: found.key.unwrap_or_else(|| "policy".to_owned()),
        text: found.message,
        help: found.help,
    }
}
