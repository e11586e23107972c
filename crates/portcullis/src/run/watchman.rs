//! What happens when the server was down at start: it is asked again until it answers, and the policy is then checked against its tools.

use std::sync::Arc;
use std::time::Duration;

use portcullis_core::upstream::Upstream;
use tokio_util::sync::CancellationToken;

use crate::config::Config;
use crate::finding::Finding;
use crate::plan::{self, Chosen};

/// First pause and the longest: quick for a server that starts beside us, cheap for one that is down for the night.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// Asks the server until it answers, then says how the policy fits. Calls meanwhile go through as they come: each tries the server itself.
pub(crate) async fn recover(config: Config, chosen: Chosen, upstream: Arc<dyn Upstream>, stop: CancellationToken) {
    let mut pause = FIRST_PAUSE;
    loop {
        if stop.run_until_cancelled(tokio::time::sleep(pause)).await.is_none() {
            return;
        }
        match stop.run_until_cancelled(upstream.refresh()).await {
            None => return,
            Some(Err(fault)) => tracing::debug!(%fault, "the server still does not answer"),
            Some(Ok(catalogue)) => {
                tracing::info!(server = %upstream.name(), tools = catalogue.tools().len(), "the server answers now");
                let findings = match plan::load(&config, &chosen, Some(&catalogue)) {
                    Ok(loaded) => loaded.warnings,
                    Err(findings) => findings,
                };
                findings.iter().for_each(tell);
                return;
            }
        }
        pause = pause.saturating_mul(2).min(LONGEST_PAUSE);
    }
}

/// Traffic flows already, so a wrong policy is reported and not enforced harder: what cannot be evaluated denies anyway.
fn tell(finding: &Finding) {
    let place = format!("{}:{}", finding.file, finding.line.unwrap_or_default());
    if finding.is_error() {
        tracing::error!(%place, policy = %finding.key, "{}", finding.text);
    } else {
        tracing::warn!(%place, policy = %finding.key, "{}", finding.text);
    }
}
