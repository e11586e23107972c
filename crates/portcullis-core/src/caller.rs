//! Who is calling, and how that was proven. Nothing a caller merely asserts ever becomes a field here.

/// An authenticated (or deliberately anonymous) party. Made by the *identify* step, once per request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Caller {
    /// Stable name, unique per proof kind: `anonymous`, or the configured name of an API key.
    pub name: String,
    /// How the name was proven.
    pub proof: Proof,
    /// Groups the operator put this caller in.
    pub groups: Vec<String>,
}

/// How a caller's identity was established.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Proof {
    /// The operator's configuration lets callers in without proof.
    Anonymous,
    /// A key whose hash stands in the operator's configuration.
    ApiKey,
}

impl Caller {
    /// The caller of a listener that asks for no proof.
    #[must_use]
    pub fn anonymous() -> Self {
        Self { name: "anonymous".to_owned(), proof: Proof::Anonymous, groups: Vec::new() }
    }

    /// What sessions, streams and cursors are bound to: equal exactly when the same party called.
    #[must_use]
    pub fn owner(&self) -> String {
        format!("{}:{}", self.proof.as_str(), self.name)
    }
}

impl Proof {
    /// Lower-case word used in policies and the log.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Anonymous => "anonymous",
            Self::ApiKey => "api_key",
        }
    }
}
