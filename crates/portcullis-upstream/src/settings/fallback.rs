//! Which of several ways to a server a call takes, and when it takes another one.

use std::time::Duration;

use schemars::JsonSchema;
use serde::Deserialize;

use super::SettingsError;

/// The choice between the `transports` of one server. They are named by their keys (`http`, `stdio`); of several alike the second is `http-2`, and
/// `http` means all of them.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct FallbackSettings {
    /// Transports in the order in which they are tried; those left out come after them as they are listed. Default none: what the gateway's own
    /// order says, and else as `transports` lists them.
    pub order: Vec<String>,
    /// Another order for some tools; the first entry that fits a tool counts. Default none.
    pub tools: Vec<ToolOrder>,
    /// Which calls go to the next transport although they may have reached the server. Default `never`: whether a tool may be carried out twice is
    /// only known from what the server says of it.
    pub repeat: Repeat,
    /// Milliseconds in which a call finds its way: choosing, connecting, and whatever is tried and fails, over all transports together. Once a transport
    /// carries a call that could not go elsewhere any more, its own times count (`first_byte_timeout_ms` and the others). Default 330 000: what may be
    /// repeated can wait for one transport as long as that may take (`first_byte_timeout_ms`), and has time to fail to reach three others before it.
    pub deadline_ms: u64,
    /// Whether the transports that a client names in `MCP-Transport-Preference` are tried first; an order of `tools` stays as it is. Default false:
    /// how servers are reached is the operator's business, and whoever knows which way is the weakest would ask for it.
    pub clients_choose: bool,
}

/// Tools and the order of transports for them.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ToolOrder {
    /// Names of tools, `*` for any characters and `?` for one.
    pub tools: Vec<String>,
    /// As `order` of the server.
    pub order: Vec<String>,
}

/// What may be sent a second time although the first may have arrived. Lists and what opens a session always may: they carry out nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Repeat {
    /// Nothing that a server carries out.
    #[default]
    Never,
    /// Calls of tools that the server itself declares read-only or idempotent (`readOnlyHint`, `idempotentHint`), and reading of resources and
    /// prompts. Such calls get no sign of life before their answer begins, because what was passed on cannot be taken back.
    Idempotent,
}

impl Default for FallbackSettings {
    fn default() -> Self {
        Self {
            order: Vec::new(),
            tools: Vec::new(),
            repeat: Repeat::Never,
            deadline_ms: 330_000,
            clients_choose: false,
        }
    }
}

impl FallbackSettings {
    /// Whether they can work for a server with these transports.
    ///
    /// # Errors
    /// A deadline of zero, or a transport that the server does not have.
    pub fn check(&self, words: &[impl AsRef<str>]) -> Result<(), SettingsError> {
        self.deadline()?;
        let orders = self.tools.iter().map(|tools| ("tools", &tools.order));
        let mut written = std::iter::once(("order", &self.order))
            .chain(orders)
            .flat_map(|(key, order)| order.iter().map(move |word| (key, word)));
        match written.find(|(_, wanted)| !words.iter().any(|word| is_meant(word.as_ref(), wanted))) {
            Some((key, word)) => {
                let known = words.iter().map(|word| word.as_ref().to_owned()).collect();
                Err(SettingsError::NoSuchTransport { key, word: word.clone(), known })
            }
            None => Ok(()),
        }
    }

    pub(crate) fn deadline(&self) -> Result<Duration, SettingsError> {
        super::none_zero(&[("deadline_ms", self.deadline_ms)])?;
        Ok(Duration::from_millis(self.deadline_ms))
    }
}

/// Whether a transport is meant: by its own word, or by that of all of its kind.
pub(crate) fn is_meant(word: &str, wanted: &str) -> bool {
    word == wanted || word.split('-').next() == Some(wanted)
}
