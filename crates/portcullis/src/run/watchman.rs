//! What happens when servers were down at start: each is asked again until it answers, and the policy is then checked against its tools.

use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use portcullis_core::upstream::Upstream;
use tokio_util::sync::CancellationToken;

use super::assembly::offered;
use crate::config::Config;
use crate::finding::Finding;
use crate::plan::{self, Chosen};

/// First pause and the longest: quick for a server that starts beside us, cheap for one that is down for the night.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// What the watchman knows.
pub(crate) struct Watch {
    pub(crate) config: Config,
    pub(crate) chosen: Chosen,
    /// All servers.
    pub(crate) servers: Vec<Arc<dyn Upstream>>,
    /// Those that have not answered yet.
    pub(crate) missing: Vec<Arc<dyn Upstream>>,
    /// What was said of the plan already.
    pub(crate) told: Vec<Finding>,
}

/// Asks each missing server until it answers, then says how the policy fits. Calls meanwhile go through as they come: each tries its server
/// itself.
pub(crate) async fn recover(watch: Watch, stop: CancellationToken) {
    let Watch { config, chosen, servers, missing, mut told } = watch;
    let against = Arc::new((config, chosen, servers));
    let mut answered: FuturesUnordered<_> = missing.into_iter().map(until_it_answers).collect();
    while let Some(Some(())) = stop.run_until_cancelled(answered.next()).await {
        let against = Arc::clone(&against);
        // Ten thousand tools take seconds to check, and workers are for calls.
        let checking = tokio::task::spawn_blocking(move || {
            let (config, chosen, servers) = &*against;
            match plan::load(config, chosen, &offered(config, servers)) {
                Ok(loaded) => loaded.warnings,
                Err(findings) => findings,
            }
        });
        let Ok(findings) = checking.await else { return };
        for finding in findings {
            if !told.contains(&finding) {
                tell(&finding);
                told.push(finding);
            }
        }
    }
}

async fn until_it_answers(upstream: Arc<dyn Upstream>) {
    let mut pause = FIRST_PAUSE;
    loop {
        tokio::time::sleep(pause).await;
        match upstream.refresh().await {
            Err(fault) => tracing::debug!(server = %upstream.name(), %fault, "the server still does not answer"),
            Ok(catalogue) => {
                tracing::info!(server = %upstream.name(), tools = catalogue.tools().len(), "the server answers now");
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
