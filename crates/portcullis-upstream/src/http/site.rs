//! One server as HTTP requests reach it: its address, what goes with every request, and the connections. What the requests mean is no
//! business of it, so every transport that begins as HTTP uses it.

use std::sync::Arc;
use std::time::Duration;

use http::Uri;
use portcullis_core::clock::Clock;
use portcullis_identity::chain::ChainSigner;

use super::account::Papers;
use super::headers::{self, Fixed};
use super::line::Lines;
use crate::door;
use crate::settings::{HttpSettings, SettingsError};

pub(crate) struct Site {
    pub(super) name: Arc<str>,
    /// Path and query of the endpoint, as they stand in a request.
    pub(super) target: Uri,
    pub(crate) fixed: Fixed,
    pub(super) papers: Papers,
    pub(super) lines: Arc<Lines>,
    pub(crate) first_byte: Duration,
}

impl Site {
    /// Checks the settings; opens no connection. `chain` signs our entry in the call chain of each request; without it none is sent.
    ///
    /// # Errors
    /// A setting that cannot work, naming its key.
    pub(crate) fn new(
        name: Arc<str>,
        settings: &HttpSettings,
        clock: Arc<dyn Clock>,
        chain: Option<Arc<ChainSigner>>,
    ) -> Result<Self, SettingsError> {
        let endpoint = headers::endpoint(settings)?;
        let papers = Papers::new(&name, settings, clock, chain)?;
        let fixed = Fixed::new(&settings.headers, &endpoint)?;
        let door =
            door::open(&endpoint, settings.socket.as_deref(), Duration::from_millis(settings.connect_timeout_ms))?;
        Ok(Self {
            name,
            target: headers::target(&endpoint)?,
            fixed,
            papers,
            lines: Lines::new(door, endpoint),
            first_byte: Duration::from_millis(settings.first_byte_timeout_ms),
        })
    }
}
