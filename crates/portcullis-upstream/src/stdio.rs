//! An upstream over stdio: the server is our child. Legacy: one child for each client session. Modern: one for everybody.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use portcullis_core::refusal::Fault;
use portcullis_core::wire::Limits;
use tokio::process;

use crate::account::Account;
use crate::pipe::{Carrier, PipeSettings, PipeUpstream, Post, Router, Source, StderrSink};
use crate::settings::{SettingsError, StdioSettings};

mod child; // one running child
pub mod guardian; // the child's last step before its own program
mod launch; // which program, with what
mod lines; // bytes -> lines
mod stderr; // a child's error output

use self::launch::Launcher;

/// Servers that run as our children.
pub struct Children {
    launcher: Launcher,
}

/// Not the launcher: an environment may hold secrets.
impl fmt::Debug for Children {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Children(..)")
    }
}

impl PipeUpstream<Children> {
    /// Checks the settings; starts no process. `guardian` is the gateway's own program, which must call [`guardian::exec_child`]
    /// under [`guardian::GUARDIAN_WORD`]; with `None` children are started directly and outlive a gateway that is killed.
    /// `sink` gets every line of the children's error output.
    ///
    /// # Errors
    /// A setting that cannot work, naming its key.
    pub fn new(
        name: Arc<str>,
        settings: &StdioSettings,
        limits: Limits,
        guardian: Option<PathBuf>,
        sink: StderrSink,
    ) -> Result<Arc<Self>, SettingsError> {
        let common = PipeSettings {
            era: settings.era,
            most: settings.max_children,
            first_byte_timeout_ms: settings.first_byte_timeout_ms,
            probe_timeout_ms: settings.probe_timeout_ms,
            stall_timeout_ms: settings.stall_timeout_ms,
        };
        Self::over(name, &common, Children { launcher: Launcher::new(settings, guardian)? }, limits, sink)
    }

    /// Whether the program is there to be started, for telling a typing error from a server that is down.
    ///
    /// # Errors
    /// [`SettingsError::BadCommand`] when it is not.
    pub fn find_program(&self) -> Result<(), SettingsError> {
        self.source.launcher.find().map(drop).map_err(|fault| SettingsError::BadCommand { reason: fault.detail })
    }
}

impl Source for Children {
    type Raw = process::Child;
    const MOST: &'static str = "max_children";

    async fn open(&self, _: Account<'_>) -> Result<process::Child, Fault> {
        self.launcher.launch()
    }

    fn run<R: Router>(&self, raw: process::Child, carrier: Carrier<R>) -> Option<Arc<dyn Post>> {
        child::run(raw, carrier);
        None
    }
}

#[cfg(test)]
pub(crate) mod tests;
