//! Protocol revisions and the two eras. Everything above asks for the era and never compares dates.

use std::fmt;

/// A revision of the MCP specification that Portcullis speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Version {
    /// Spoken only because old stdio servers answer `initialize` with it; treated like 2025-03-26 without batches.
    V2024_11_05,
    V2025_03_26,
    V2025_06_18,
    V2025_11_25,
    V2026_07_28,
}

/// The two shapes of the protocol: with a handshake and sessions, or stateless.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Era {
    Legacy,
    Modern,
}

impl Version {
    /// Every revision, oldest first.
    pub const ALL: [Self; 5] =
        [Self::V2024_11_05, Self::V2025_03_26, Self::V2025_06_18, Self::V2025_11_25, Self::V2026_07_28];

    /// The newest revision with an `initialize` handshake: what we offer when a peer names none we know (A31).
    pub const LATEST_LEGACY: Self = Self::V2025_11_25;
    /// The newest stateless revision.
    pub const LATEST_MODERN: Self = Self::V2026_07_28;
    /// What a legacy request without a version header speaks (A29).
    pub const ASSUMED: Self = Self::V2025_03_26;

    /// The revision's name as it stands in `MCP-Protocol-Version`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::V2024_11_05 => "2024-11-05",
            Self::V2025_03_26 => "2025-03-26",
            Self::V2025_06_18 => "2025-06-18",
            Self::V2025_11_25 => "2025-11-25",
            Self::V2026_07_28 => "2026-07-28",
        }
    }

    /// Exact match only; a revision we do not speak is `None`.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|version| version.as_str() == text)
    }

    /// Which shape of the protocol this revision has.
    #[must_use]
    pub const fn era(self) -> Era {
        match self {
            Self::V2026_07_28 => Era::Modern,
            Self::V2024_11_05 | Self::V2025_03_26 | Self::V2025_06_18 | Self::V2025_11_25 => Era::Legacy,
        }
    }

    /// Batches exist in this one revision (A7).
    #[must_use]
    pub const fn allows_batches(self) -> bool {
        matches!(self, Self::V2025_03_26)
    }

    /// The revisions of one era that we offer to clients, oldest first, by name. 2024-11-05 is not offered: its HTTP transport was another.
    pub fn names(era: Era) -> impl Iterator<Item = &'static str> {
        let offered = move |version: &Self| version.era() == era && *version != Self::V2024_11_05;
        Self::ALL.into_iter().filter(offered).map(Self::as_str)
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Era {
    /// Lower-case word used in configuration and the log.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Legacy => "legacy",
            Self::Modern => "modern",
        }
    }
}

impl fmt::Display for Era {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
