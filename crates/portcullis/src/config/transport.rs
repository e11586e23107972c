//! One variant for each way to a server. Adding a transport takes a variant here, a key in `upstream`, and an arm in `plan/upstream.rs`.

use std::path::Path;

use portcullis_upstream::{HttpSettings, StdioSettings};
use schemars::JsonSchema;
use serde::Deserialize;

/// How a server is reached.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Transport {
    /// Streamable HTTP, with the keys of `upstream.http`.
    Http(Box<HttpSettings>),
    /// A child process, with the keys of `upstream.stdio`.
    Stdio(Box<StdioSettings>),
}

impl Transport {
    /// Its key in the configuration.
    pub(crate) const fn word(&self) -> &'static str {
        match self {
            Self::Http(_) => "http",
            Self::Stdio(_) => "stdio",
        }
    }

    /// Makes relative paths start at `folder`.
    pub(super) fn relative_to(&mut self, folder: &Path) {
        match self {
            Self::Http(http) => {
                http.headers.values_mut().for_each(|secret| secret.relative_to(folder));
                if let Some(credentials) = &mut http.credentials {
                    credentials.relative_to(folder);
                }
            }
            Self::Stdio(stdio) => {
                stdio.env.values_mut().for_each(|secret| secret.relative_to(folder));
                stdio.cwd = stdio.cwd.take().map(|cwd| folder.join(cwd));
                if stdio.command.contains('/') {
                    let command = folder.join(&stdio.command);
                    // A child with a folder of its own would look for a relative program there.
                    let command = std::path::absolute(&command).unwrap_or(command);
                    stdio.command = command.to_string_lossy().into_owned();
                }
            }
        }
    }
}
