//! A value that may be secret: written in place, in a file, or in an environment variable. Never printed.

use std::fmt;
use std::path::PathBuf;

use schemars::JsonSchema;
use serde::Deserialize;

use super::SettingsError;

/// Bytes of one secret. 65,536: above any token or key, below what a mistaken path to a log file would bring.
const MOST_BYTES: u64 = 64 << 10;

/// Where a value comes from. Read once, when the upstream is made.
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
    /// The value. `key` is the place in the configuration, for the error.
    ///
    /// # Errors
    /// The file or variable cannot be read, is too large or not UTF-8.
    pub fn resolve(&self, key: &str) -> Result<String, SettingsError> {
        let unreadable = |reason: String| SettingsError::SecretUnreadable { key: key.to_owned(), reason };
        match self {
            Self::Value(value) => Ok(value.clone()),
            Self::Env(name) => {
                std::env::var(name).map_err(|error| unreadable(format!("environment variable `{name}`: {error}")))
            }
            Self::File(path) => {
                let shown = path.display();
                let size =
                    std::fs::metadata(path).map_err(|error| unreadable(format!("file `{shown}`: {error}")))?.len();
                if size > MOST_BYTES {
                    return Err(unreadable(format!(
                        "file `{shown}` has {size} bytes; a secret has at most {MOST_BYTES}"
                    )));
                }
                let text =
                    std::fs::read_to_string(path).map_err(|error| unreadable(format!("file `{shown}`: {error}")))?;
                Ok(text.trim_end_matches(['\r', '\n']).to_owned())
            }
        }
    }
}
