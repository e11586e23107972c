//! The operational log: what the gateway says about itself, on standard error. Decisions go to the audit log, never here.

use std::io::IsTerminal;

use tracing_subscriber::EnvFilter;

/// Environment variable that says how much to log.
pub(crate) const VARIABLE: &str = "PORTCULLIS_LOG";
/// Warnings of libraries, and what an operator wants to know of us.
const USUAL: &str = "warn,portcullis=info,portcullis_server=info,portcullis_upstream=info,portcullis_ledger=info,portcullis_policy=info";

/// Starts logging; a second call changes nothing.
pub(crate) fn start(usual: Option<&str>) {
    let usual = usual.unwrap_or(USUAL);
    let asked = std::env::var(VARIABLE).ok();
    let filter =
        asked.as_deref().and_then(|text| EnvFilter::try_new(text).ok()).unwrap_or_else(|| EnvFilter::new(usual));
    let started = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal())
        .with_target(false)
        // A closed standard error must not become a panic in the middle of a call.
        .log_internal_errors(false)
        .try_init();
    if started.is_ok()
        && let Some(text) = asked
        && EnvFilter::try_new(&text).is_err()
    {
        tracing::warn!(
            "{VARIABLE}=`{text}` is not a filter; expected something like `debug` or `info,portcullis_server=debug`"
        );
    }
}
