//! One variant for each way to a server. Adding a transport takes a variant here, a key in `upstream`, and an arm in `plan/upstream.rs`.

use std::path::Path;

use portcullis_upstream::{HttpSettings, HttpSseSettings, StdioSettings, WebSocketSettings};
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
    /// WebSocket, with the keys of `upstream.websocket`.
    #[serde(rename = "websocket")]
    WebSocket(Box<WebSocketSettings>),
    /// HTTP+SSE of 2024-11-05, with the keys of `upstream.http_sse`.
    HttpSse(Box<HttpSseSettings>),
}

impl Transport {
    /// Its key in the configuration.
    pub(crate) const fn word(&self) -> &'static str {
        match self {
            Self::Http(_) => "http",
            Self::Stdio(_) => "stdio",
            Self::WebSocket(_) => "websocket",
            Self::HttpSse(_) => "http_sse",
        }
    }

    /// What a URL alone means.
    pub(super) fn of_url(url: &str) -> Self {
        if matches!(url.split(':').next(), Some("ws" | "wss")) {
            return Self::WebSocket(Box::new(WebSocketSettings::of_url(url.to_owned())));
        }
        Self::Http(Box::new(HttpSettings::of_url(url.to_owned())))
    }

    /// Makes relative paths start at `folder`.
    pub(super) fn relative_to(&mut self, folder: &Path) {
        let (headers, credentials) = match self {
            Self::Stdio(stdio) => return of_child(stdio, folder),
            Self::Http(http) => {
                http.socket = http.socket.take().map(|socket| folder.join(socket));
                (&mut http.headers, &mut http.credentials)
            }
            Self::WebSocket(socket) => (&mut socket.headers, &mut socket.credentials),
            Self::HttpSse(stream) => (&mut stream.headers, &mut stream.credentials),
        };
        headers.values_mut().for_each(|secret| secret.relative_to(folder));
        if let Some(credentials) = credentials {
            credentials.relative_to(folder);
        }
    }
}

fn of_child(stdio: &mut StdioSettings, folder: &Path) {
    stdio.env.values_mut().for_each(|secret| secret.relative_to(folder));
    stdio.cwd = stdio.cwd.take().map(|cwd| folder.join(cwd));
    if stdio.command.contains('/') {
        let command = folder.join(&stdio.command);
        // A child with a folder of its own would look for a relative program there.
        let command = std::path::absolute(&command).unwrap_or(command);
        stdio.command = command.to_string_lossy().into_owned();
    }
}
