//! A value that may be secret: written in place, in a file, or in an environment variable. Never printed.

use std::fmt;
use std::path::{Path, PathBuf};

use schemars::JsonSchema;
use serde::Deserialize;

/// Bytes of one secret. 65,536: above any token or key, below what a mistaken path to a log file would bring.
const MOST_BYTES: u64 = 64 << 10;

/// Where a value comes from. Read when what needs it is made.
#[derive(Clone, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Secret {
    /// The value itself. For what is not secret.
    Value(String),
    /// A file holding the value; line ends at its end do not count.
    File(PathBuf),
    /// An environment variable of the gateway.
    Env(String),
}

/// Shows where the value comes from, never the value.
impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Value(_) => f.write_str("Value(..)"),
            Self::File(path) => f.debug_tuple("File").field(path).finish(),
            Self::Env(name) => f.debug_tuple("Env").field(name).finish(),
        }
    }
}

impl Secret {
    /// The value.
    ///
    /// # Errors
    /// Why the file or variable cannot be read: not there, too large, not UTF-8. The text holds nothing of the value.
    pub fn resolve(&self) -> Result<String, String> {
        match self {
            Self::Value(value) => Ok(value.clone()),
            Self::Env(name) => match std::env::var(name) {
                Ok(value) => Ok(value),
                Err(std::env::VarError::NotPresent) => Err(format!("environment variable `{name}` is not set")),
                // Its own text shows the value.
                Err(std::env::VarError::NotUnicode(_)) => Err(format!("environment variable `{name}` is not UTF-8")),
            },
            Self::File(path) => {
                let shown = path.display();
                let size = std::fs::metadata(path).map_err(|error| format!("file `{shown}`: {error}"))?.len();
                if size > MOST_BYTES {
                    return Err(format!("file `{shown}` has {size} bytes; a secret has at most {MOST_BYTES}"));
                }
                let text = std::fs::read_to_string(path).map_err(|error| format!("file `{shown}`: {error}"))?;
                Ok(text.trim_end_matches(['\r', '\n']).to_owned())
            }
        }
    }

    /// A relative file is one beside the configuration.
    pub fn relative_to(&mut self, folder: &Path) {
        if let Self::File(path) = self {
            *path = folder.join(&*path);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Secret;

    #[test]
    fn a_secret_is_never_printed() {
        assert!(!format!("{:?}", Secret::Value("hunter2".to_owned())).contains("hunter2"));
    }

    #[test]
    fn a_secret_in_a_file_loses_its_line_end_and_a_missing_one_is_named() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("token"), "s3cret\r\n").unwrap();
        let mut secret = Secret::File("token".into());
        secret.relative_to(folder.path());
        assert_eq!(secret.resolve(), Ok("s3cret".to_owned()));
        assert!(Secret::File(folder.path().join("none")).resolve().unwrap_err().contains("none"));
        let variable = Secret::Env("PORTCULLIS_TEST_NO_SUCH_VARIABLE".to_owned()).resolve();
        assert!(variable.unwrap_err().contains("PORTCULLIS_TEST_NO_SUCH_VARIABLE"));
    }

    #[test]
    fn a_file_too_large_for_a_secret_is_not_read() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log");
        std::fs::write(&path, vec![b'x'; (64 << 10) + 1]).unwrap();
        assert!(Secret::File(path).resolve().unwrap_err().contains("at most"));
    }
}
