//! How a server is reached: one variant for each transport, each with the key that it has in the file.

use std::path::Path;

use portcullis_upstream::{HttpSettings, HttpSseSettings, StdioSettings, WebSocketSettings};

use super::file::UpstreamFile;

/// How the server is reached.
#[derive(Clone, Debug)]
pub(crate) enum Transport {
    Http(Box<HttpSettings>),
    Stdio(Box<StdioSettings>),
    WebSocket(Box<WebSocketSettings>),
    HttpSse(Box<HttpSseSettings>),
}

impl Transport {
    /// Every key, in the order of the file's own description.
    pub(super) const KEYS: [&'static str; 4] = ["http", "stdio", "websocket", "http_sse"];

    /// Its key in the file.
    pub(crate) const fn key(&self) -> &'static str {
        let [http, stdio, websocket, http_sse] = Self::KEYS;
        match self {
            Self::Http(_) => http,
            Self::Stdio(_) => stdio,
            Self::WebSocket(_) => websocket,
            Self::HttpSse(_) => http_sse,
        }
    }

    /// What a URL alone means.
    pub(super) fn of_url(url: &str) -> Self {
        let scheme = url.split(':').next().unwrap_or_default();
        if matches!(scheme, "ws" | "wss") {
            return Self::WebSocket(Box::new(WebSocketSettings::of_url(url.to_owned())));
        }
        Self::Http(Box::new(HttpSettings::of_url(url.to_owned())))
    }

    /// All that a server's entry says, with paths that start at `folder`.
    pub(super) fn all_of(file: UpstreamFile, folder: &Path) -> Vec<Self> {
        let UpstreamFile { http, stdio, websocket, http_sse, .. } = file;
        let mut all: Vec<Self> = [
            http.map(Box::new).map(Self::Http),
            stdio.map(Box::new).map(Self::Stdio),
            websocket.map(Box::new).map(Self::WebSocket),
            http_sse.map(Box::new).map(Self::HttpSse),
        ]
        .into_iter()
        .flatten()
        .collect();
        all.iter_mut().for_each(|transport| transport.relative_to(folder));
        all
    }

    fn relative_to(&mut self, folder: &Path) {
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
