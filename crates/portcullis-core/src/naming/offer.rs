//! What carries a name that clients call by.

use crate::catalogue::{Catalogue, Listed};

/// A kind of thing that a server offers by name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Offer {
    Tool,
    Prompt,
}

impl Offer {
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Tool => "tool",
            Self::Prompt => "prompt",
        }
    }

    pub(super) fn has(self, catalogue: &Catalogue, name: &str) -> bool {
        match self {
            // With those that only some clients are shown.
            Self::Tool => catalogue.tool(name).is_some(),
            Self::Prompt => catalogue.list(Listed::Prompts).get(name).is_some(),
        }
    }

    pub(super) fn names(self, catalogue: &Catalogue) -> impl Iterator<Item = &str> {
        let tools = (self == Self::Tool).then(|| catalogue.tools().map(|tool| tool.name.as_str()));
        let prompts = (self == Self::Prompt).then(|| catalogue.list(Listed::Prompts).items());
        tools.into_iter().flatten().chain(prompts.into_iter().flatten().map(|prompt| prompt.key.as_str()))
    }
}
