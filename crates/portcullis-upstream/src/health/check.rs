//! Asking servers on our own account, all at the same time and out of step.

use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;

use super::condition::Health;
use crate::breaker::{Breaker, Dice};
use crate::settings::HealthSettings;

/// Percent by which each pause is shortened at random.
const JITTER: u32 = 20;

/// Asks each server again and again; ends only when dropped. `child`: it runs as a process of ours.
pub async fn watch(servers: impl IntoIterator<Item = (Arc<Breaker>, HealthSettings, bool)>) {
    let mut dice = Dice::from_system();
    let asked = servers.into_iter().filter_map(|(breaker, settings, child)| {
        let interval = settings.interval(child)?;
        Some(ask(breaker, settings, interval, Dice::seeded(dice.roll())))
    });
    let mut all: FuturesUnordered<_> = asked.collect();
    while all.next().await.is_some() {}
    // Nobody is to be asked.
    std::future::pending::<()>().await;
}

async fn ask(breaker: Arc<Breaker>, settings: HealthSettings, interval: Duration, mut dice: Dice) {
    let patience = Duration::from_millis(settings.timeout_ms);
    let recheck = Duration::from_millis(settings.recheck_ms).min(interval);
    loop {
        let (health, before) = breaker.track().pulse();
        let usual = matches!(health, Health::Healthy | Health::Unknown);
        tokio::time::sleep(dice.shorten(if usual { interval } else { recheck }, JITTER)).await;
        let (health, after) = breaker.track().pulse();
        // Calls that are answered say more than any question.
        if health != Health::Healthy || before == after {
            breaker.examine(patience).await;
        }
    }
}
