//! What is put around every server: breaker, health and limits. The only place that knows in which order.

use std::sync::Arc;

use portcullis_core::clock::Clock;
use portcullis_core::ledger::{Ledger, Notice, Record};
use portcullis_core::upstream::Upstream;
use portcullis_upstream::breaker::Phase;
use portcullis_upstream::bulkhead::Walls;
use portcullis_upstream::health::{Changed, Terms};
use portcullis_upstream::{Breaker, Bulkhead, HealthBoard, HealthSettings, SettingsError};

use crate::config::{Config, Transport, UpstreamConfig};
use crate::finding::Finding;

/// A server with everything around it.
#[derive(Clone, Debug)]
pub(crate) struct Cared {
    pub(crate) upstream: Arc<dyn Upstream>,
    /// What is asked for its health, how often, and whether it is a child of ours.
    pub(crate) checked: (Arc<Breaker>, HealthSettings, bool),
}

/// A board that writes every change of a breaker into the log, and says it.
pub(crate) fn board(ledger: Arc<dyn Ledger>, clock: Arc<dyn Clock>) -> HealthBoard {
    HealthBoard::new(Arc::new(move |changed: &Changed<'_>| {
        let (code, detail) = (code(changed.transition.to), told(changed));
        match changed.transition.to {
            Phase::Open => tracing::warn!(server = %changed.server, "{detail}"),
            Phase::HalfOpen | Phase::Closed => tracing::info!(server = %changed.server, "{detail}"),
        }
        let notice = Notice { at: clock.now(), code, server: Some(Arc::clone(changed.server)), detail };
        // What cannot be written is counted by the ledger, like everything it loses.
        let _lost = ledger.append(Record::Notice(Box::new(notice)));
    }))
}

const fn code(to: Phase) -> &'static str {
    match to {
        Phase::Open => "breaker_open",
        Phase::HalfOpen => "breaker_half_open",
        Phase::Closed => "breaker_closed",
    }
}

fn told(changed: &Changed<'_>) -> String {
    let whose = match changed.tool {
        // A name from a caller, in a log for people.
        Some(tool) => format!("the breaker of tool `{}` over {}", crate::out::clipped(tool, 64), changed.transport),
        None => format!("the breaker of {}", changed.transport),
    };
    let (to, why) = (changed.transition.to.as_str().replace('_', " "), changed.transition.why.as_str());
    let time = changed.transition.open_for.map(|time| format!(", for {} ms", time.as_millis()));
    format!("{whose} is {to}: {why}{}", time.unwrap_or_default())
}

/// Puts breaker, health and limits around a server. What `board` knows of it already is kept.
///
/// # Errors
/// A setting that cannot work, with its section.
pub(crate) fn care(
    config: &UpstreamConfig,
    upstream: Arc<dyn Upstream>,
    board: &HealthBoard,
) -> Result<Cared, (&'static str, SettingsError)> {
    let (terms, walls) = checked(config)?;
    let name: Arc<str> = Arc::clone(upstream.name());
    let (transport, child) = (config.transport.key(), matches!(config.transport, Transport::Stdio(_)));
    let breaker = Breaker::new(upstream, board.track(&name, transport, terms));
    let guarded = Arc::clone(&breaker) as Arc<dyn Upstream>;
    let upstream = Bulkhead::new(guarded, board.room(&name, &walls));
    Ok(Cared { upstream, checked: (breaker, config.care.health.clone(), child) })
}

/// Whether the settings can work.
pub(crate) fn check(config: &Config) -> Option<Finding> {
    let (section, error) = checked(config.upstream.as_ref()?).err()?;
    Some(complaint(config, section, &error))
}

/// A setting that cannot work, with its place.
pub(crate) fn complaint(config: &Config, section: &'static str, error: &SettingsError) -> Finding {
    super::upstream::complaint_in(config, section, error)
}

fn checked(config: &UpstreamConfig) -> Result<(Terms, Walls), (&'static str, SettingsError)> {
    let care = &config.care;
    let of_breaker = |error| ("upstream.breaker", error);
    let terms = Terms {
        breaker: care.breaker.rules().map_err(of_breaker)?,
        tools: care.breaker.tool_rules().map_err(of_breaker)?,
        health: care.health.thresholds().map_err(|error| ("upstream.health", error))?,
    };
    let walls = care.limits.walls().map_err(|error| ("upstream.limits", error))?;
    Ok((terms, walls))
}
