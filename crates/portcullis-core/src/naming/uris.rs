//! URIs of many servers: `LABEL+scheme:rest`, and `ui://LABEL/rest` for the one scheme that hosts look at (MCP Apps).
//! Only text is put before text, so that a URI stays one (RFC 3986: letters, digits, `+`, `-` and `.` make a scheme), a template stays
//! one (RFC 6570: literals), and whatever a template expands to belongs to the server that gave it.

use super::Names;

const UI: &str = "ui://";

impl Names {
    /// What clients know one server's URI, or template of URIs, by. `None`: no such server.
    #[must_use]
    pub fn shown_uri(&self, server: usize, uri: &str) -> Option<String> {
        let label = &self.servers.get(server)?.label;
        Some(match uri.strip_prefix(UI) {
            Some(rest) => format!("{UI}{label}/{rest}"),
            None if has_scheme(uri) => format!("{label}+{uri}"),
            // Servers also name resources by words that are no URIs, and templates may begin with an expression. Then all of it stands
            // behind a scheme of its own.
            None => format!("{label}+:{uri}"),
        })
    }

    /// Whose URI a client's is, and what that server calls it. Exact: schemes in capital letters are nobody's.
    #[must_use]
    pub fn own_uri(&self, shown: &str) -> Option<(usize, String)> {
        let labelled = |label: &str| self.servers.iter().position(|server| server.label == label);
        if let Some(rest) = shown.strip_prefix(UI) {
            let (label, rest) = rest.split_once('/')?;
            return Some((labelled(label)?, format!("{UI}{rest}")));
        }
        let (label, rest) = shown.split_once('+')?;
        let server = labelled(label)?;
        match rest.strip_prefix(':') {
            Some(words) => Some((server, words.to_owned())),
            None => has_scheme(rest).then(|| (server, rest.to_owned())),
        }
    }
}

/// Whether the text begins with a scheme and its colon (RFC 3986, 3.1).
fn has_scheme(uri: &str) -> bool {
    let Some((scheme, _)) = uri.split_once(':') else { return false };
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'-' | b'.');
    scheme.starts_with(|first: char| first.is_ascii_alphabetic()) && scheme.bytes().all(fits)
}
