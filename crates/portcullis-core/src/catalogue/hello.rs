//! What a server said of itself when the gateway asked: the texts as they came. Untrusted like all that servers say (I12, C17).

use bytes::Bytes;

use super::Listed;
use crate::version::{Era, Version};
use crate::wire::{JsonKind, Kind, Limits, Message, View, view_json};

/// Versions kept of what a server lists. 64: there are five.
const MOST_VERSIONS: usize = 64;

/// The answer to the gateway's own `initialize` or `server/discover`. As large as one message may be.
#[derive(Clone)]
pub struct Hello {
    /// The era of the question.
    pub era: Era,
    /// The one version the server chose, or those it lists, as it wrote them.
    pub versions: Vec<String>,
    /// Exact text of the object.
    pub capabilities: Bytes,
    /// Exact text of the object.
    pub server_info: Option<Bytes>,
    /// Exact text of the JSON string.
    pub instructions: Option<Bytes>,
}

impl Hello {
    /// From the result of `initialize` (legacy) or `server/discover` (modern); `None` for anything that is no such result.
    #[must_use]
    pub fn of(answer: &Message) -> Option<Self> {
        if answer.kind() != Kind::Result {
            return None;
        }
        let string = |view: View<'_>| view.as_str().map(std::borrow::Cow::into_owned);
        let chosen = answer.result_member("protocolVersion").and_then(string);
        let (era, versions) = match (chosen, answer.result_member("supportedVersions")) {
            (Some(chosen), _) => (Era::Legacy, vec![chosen]),
            (None, Some(listed)) => (Era::Modern, listed.elements().take(MOST_VERSIONS).filter_map(string).collect()),
            (None, None) => return None,
        };
        let text = |view: Option<View<'_>>, kind| {
            view.filter(|view| view.kind() == kind).map(|view| Bytes::copy_from_slice(view.raw()))
        };
        let info = answer.result_member("serverInfo").or_else(|| answer.meta("io.modelcontextprotocol/serverInfo"));
        Some(Self {
            era,
            versions,
            // A server that declares nothing readable offers nothing.
            capabilities: text(answer.result_member("capabilities"), JsonKind::Object)
                .unwrap_or_else(|| Bytes::from_static(b"{}")),
            server_info: text(info, JsonKind::Object),
            instructions: text(answer.result_member("instructions"), JsonKind::String),
        })
    }

    /// Whether the server declares the capability, with whatever content.
    #[must_use]
    pub fn declares(&self, capability: &str) -> bool {
        let limits = Limits { bytes: self.capabilities.len(), ..Limits::default() };
        let declared = view_json(&self.capabilities, &limits).ok().and_then(|all| all.get(capability));
        declared.is_some_and(|value| !value.is_null())
    }

    /// Whether the server says that it has such a list.
    #[must_use]
    pub fn offers(&self, list: Listed) -> bool {
        self.declares(list.capability())
    }

    /// The newest version of the handshake that the server named, if it named one.
    #[must_use]
    pub fn newest_legacy(&self) -> Option<Version> {
        let known = self.versions.iter().filter_map(|version| Version::parse(version));
        known.filter(|version| version.era() == Era::Legacy).max()
    }
}

/// Shows no text of the server.
impl std::fmt::Debug for Hello {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Hello").field("era", &self.era).finish_non_exhaustive()
    }
}
