//! Who is calling, and how that was proven. Nothing a caller merely asserts ever becomes a field here.

use std::collections::BTreeMap;

/// An authenticated (or deliberately anonymous) party. Made by the *identify* step, once per request.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Caller {
    /// Stable and unique over all kinds of proof: `anonymous`; the configured name of an API key (which holds no `:`);
    /// `ISSUER:SUBJECT` for a token, where ISSUER is the configured name of the issuer; `spiffe://…` or `cert:SUBJECT` for a certificate;
    /// `agent:NAME` for an agent of a call chain; `local:USER` for the program that started us.
    pub name: String,
    /// How the name was proven.
    pub proof: Proof,
    /// Groups the operator put this caller in, or that a mapping of the operator's read from its token.
    pub groups: Vec<String>,
    /// `iss` of the token.
    pub issuer: Option<String>,
    /// OAuth client that the token was issued to.
    pub client: Option<String>,
    /// Scopes of the token, those they imply included; sorted.
    pub scopes: Vec<String>,
    /// SPIFFE id of the client certificate or token.
    pub spiffe: Option<String>,
    /// What the operator's mapping takes from claims or from the certificate; policies read them as tags.
    pub attributes: BTreeMap<String, Vec<String>>,
    /// Who acts for the subject (`act`, RFC 8693 §4.1), the current actor first.
    pub actors: Vec<String>,
}

/// How a caller's identity was established.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Proof {
    /// The operator's configuration lets callers in without proof.
    Anonymous,
    /// A key whose hash stands in the operator's configuration.
    ApiKey,
    /// A TLS client certificate.
    Certificate,
    /// An OAuth access token.
    Token,
    /// A verified entry of a call chain.
    Chain,
    /// The program that started us and holds the other end of our standard input and output.
    Stdio,
}

impl Caller {
    /// A caller of whom nothing but its name and groups is known.
    #[must_use]
    pub fn new(name: impl Into<String>, proof: Proof, groups: Vec<String>) -> Self {
        Self {
            name: name.into(),
            proof,
            groups,
            issuer: None,
            client: None,
            scopes: Vec::new(),
            spiffe: None,
            attributes: BTreeMap::new(),
            actors: Vec::new(),
        }
    }

    /// The caller of a listener that asks for no proof.
    #[must_use]
    pub fn anonymous() -> Self {
        Self::new("anonymous", Proof::Anonymous, Vec::new())
    }

    /// What sessions, streams, tasks and cursors are bound to: equal exactly when the same party called (issuer, subject, client; F12).
    #[must_use]
    pub fn owner(&self) -> String {
        let mut owner = format!("{}:{}", self.proof.as_str(), self.name);
        // Lengths in front, so that no issuer or client can be read as another pair.
        for part in [&self.issuer, &self.client].into_iter().flatten() {
            owner.push_str(&format!("|{}:{part}", part.len()));
        }
        owner
    }

    /// Whether both have the same [`Caller::owner`], without writing either.
    #[must_use]
    pub fn has_owner_of(&self, other: &Self) -> bool {
        (self.proof, &self.name, &self.issuer, &self.client) == (other.proof, &other.name, &other.issuer, &other.client)
    }
}

impl Proof {
    /// Every kind.
    pub const ALL: [Self; 6] =
        [Self::Anonymous, Self::ApiKey, Self::Certificate, Self::Token, Self::Chain, Self::Stdio];

    /// Lower-case word used in policies and the log.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Anonymous => "anonymous",
            Self::ApiKey => "api_key",
            Self::Certificate => "certificate",
            Self::Token => "token",
            Self::Chain => "chain",
            Self::Stdio => "stdio",
        }
    }
}
