//! What happens when servers were down at start: each is asked again until it answers, and the policy is then checked against its tools. And what is
//! said when servers offer something else than before.

use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use portcullis_core::upstream::Upstream;
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;

use super::assembly::offered;
use crate::config::Config;
use crate::finding::Finding;
use crate::plan::{self, Chosen, Known};

/// First pause and the longest: quick for a server that starts beside us, cheap for one that is down for the night.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// Between two looks at what servers offer. 5 s: as quick as a change of a child process's tools is read, and it costs a comparison for each server.
const LOOKED_EVERY: Duration = Duration::from_secs(5);

/// Findings that are told. 10,000: a server could offer other names for ever.
const MOST_TOLD: usize = 10_000;

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

/// Asks each missing server until it answers, then says how the policy fits; and whenever a server offers something else, what is worth a look in it.
/// Calls meanwhile go through as they come: each tries its server itself.
pub(crate) async fn watch(watch: Watch, stop: CancellationToken) {
    let Watch { config, chosen, servers, missing, mut told } = watch;
    let against = Arc::new((config, chosen, servers));
    let mut answered: FuturesUnordered<_> = missing.into_iter().map(until_it_answers).collect();
    let mut seen = offered(&against.0, &against.2);
    let mut look = tokio::time::interval(LOOKED_EVERY);
    look.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        // Ten thousand tools take seconds to check, and workers are for calls.
        let checking = tokio::select! {
            () = stop.cancelled() => return,
            Some(()) = answered.next() => {
                let against = Arc::clone(&against);
                tokio::task::spawn_blocking(move || {
                    let (config, chosen, servers) = &*against;
                    match plan::load(config, chosen, &offered(config, servers)) {
                        Ok(loaded) => loaded.warnings,
                        Err(findings) => findings,
                    }
                })
            }
            _ = look.tick() => {
                let now = offered(&against.0, &against.2);
                let (against, mut before) = (Arc::clone(&against), std::mem::replace(&mut seen, now.clone()));
                tokio::task::spawn_blocking(move || look_at(&against.0, &mut before, now))
            }
        };
        let Ok(findings) = checking.await else { return };
        for finding in findings {
            if told.len() < MOST_TOLD && !told.contains(&finding) {
                tell(&finding);
                told.push(finding);
            }
        }
    }
}

/// What is worth a look in what servers offer, if that is something else than before.
fn look_at(config: &Config, seen: &mut Known, now: Known) -> Vec<Finding> {
    let is_other = seen.iter().zip(&now).any(|((_, before), (_, now))| !Arc::ptr_eq(before, now));
    *seen = now;
    if is_other { plan::remarks(config, seen) } else { Vec::new() }
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

#[cfg(test)]
mod tests {
    use portcullis_core::catalogue::Catalogue;
    use portcullis_core::wire::Limits;

    use super::*;
    use crate::config::Overrides;

    #[test]
    fn what_servers_offer_is_looked_at_whenever_it_is_something_else() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("p.yaml");
        let text = "upstream: { name: notes, http: { url: 'http://127.0.0.1:1/mcp' } }\nendpoints: [{ path: /a, tools: look }]\n";
        std::fs::write(&file, text).unwrap();
        let overrides = Overrides { audit_log: Some(folder.path().to_owned()), ..Overrides::default() };
        let config = Config::load(Some(&file), &overrides).unwrap();
        let offers = |tool: &str| {
            let tools = format!(r#"[{{"name":"{tool}"}}]"#);
            vec![("notes".to_owned(), Arc::new(Catalogue::from_saved(tools.as_bytes(), &Limits::default()).unwrap()))]
        };
        let mut seen = plan::known(&config, |_| None);
        assert!(look_at(&config, &mut seen, offers("look")).is_empty());
        let renamed = offers("regard");
        let findings = look_at(&config, &mut seen, renamed.clone());
        assert_eq!(findings.iter().map(|finding| &*finding.key).collect::<Vec<_>>(), ["fits_nothing"]);
        assert!(look_at(&config, &mut seen, renamed).is_empty(), "said once");
    }
}
