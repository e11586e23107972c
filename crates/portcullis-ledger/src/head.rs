//! The last durable entry, noted beside the log. Without it nobody can see that whole entries were cut off the end.

use std::fmt;
use std::fs::{self, File};
use std::io::{self, Read as _, Write as _};
use std::path::Path;
use std::str::FromStr;

use serde::Deserialize;

use crate::error::AuditError;
use crate::format::is_hash;
use crate::store::private;

/// Number and hash of one entry; also what an operator keeps elsewhere to prove later that nothing was cut.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Head {
    pub seq: u64,
    /// 64 lower-case hexadecimal digits.
    pub hash: String,
}

impl fmt::Display for Head {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.seq, self.hash)
    }
}

impl FromStr for Head {
    type Err = AuditError;

    /// Reads `SEQ:HASH`.
    fn from_str(text: &str) -> Result<Self, AuditError> {
        let parsed = text.split_once(':').and_then(|(seq, hash)| {
            let seq = seq.parse::<u64>().ok().filter(|seq| *seq > 0)?;
            is_hash(hash).then(|| Self { seq, hash: hash.to_owned() })
        });
        parsed.ok_or_else(|| AuditError::Head { text: text.chars().take(100).collect() })
    }
}

impl Head {
    /// Replaces the side file in one step: a reader sees the old head or the new one, never half of either. `durable` also waits for the
    /// disk; without it a power cut may leave an older head, which claims less but nothing wrong.
    pub(crate) fn write(&self, path: &Path, durable: bool) -> io::Result<()> {
        let beside = path.with_extension("head.new");
        let mut file = private().write(true).create(true).truncate(true).open(&beside)?;
        file.write_all(format!("{{\"seq\":{},\"hash\":\"{}\"}}\n", self.seq, self.hash).as_bytes())?;
        if durable {
            file.sync_data()?;
        }
        fs::rename(&beside, path)
    }

    /// The head at `path`; `Ok(None)` when there is no such file.
    pub(crate) fn read(path: &Path) -> io::Result<Option<Self>> {
        let mut text = String::new();
        match File::open(path) {
            Ok(file) => file.take(1024).read_to_string(&mut text)?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        let head: Self = serde_json::from_str(&text).map_err(io::Error::from)?;
        if is_hash(&head.hash) { Ok(Some(head)) } else { Err(io::Error::new(io::ErrorKind::InvalidData, "not a head")) }
    }
}

#[cfg(test)]
mod tests {
    use super::Head;

    #[test]
    fn a_head_survives_the_file_and_the_command_line() {
        let head = Head { seq: 7, hash: "ab".repeat(32) };
        assert_eq!(head.to_string().parse::<Head>().unwrap(), head);
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x.head");
        assert_eq!(Head::read(&path).unwrap(), None);
        head.write(&path, true).unwrap();
        assert_eq!(Head::read(&path).unwrap(), Some(head));
        std::fs::write(&path, "{}").unwrap();
        assert!(Head::read(&path).is_err());
    }

    #[test]
    fn a_malformed_head_is_refused() {
        for text in ["", "7", "7:ab", "0:", &format!("x:{}", "ab".repeat(32)), &format!("7:{}", "AB".repeat(32))] {
            assert!(text.parse::<Head>().is_err(), "{text}");
        }
    }
}
