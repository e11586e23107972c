//! What is put around every server: breakers and health, the choice between its ways, limits. The only place that knows in which order.

use std::sync::Arc;

use portcullis_core::clock::Clock;
use portcullis_core::ledger::{Ledger, Notice, Record};
use portcullis_core::upstream::Upstream;
use portcullis_upstream::breaker::Phase;
use portcullis_upstream::bulkhead::Walls;
use portcullis_upstream::health::{Changed, Terms};
use portcullis_upstream::{
    Breaker, BreakerSettings, Bulkhead, Fallback, HealthBoard, HealthSettings, SettingsError, Way,
};

use crate::config::{Config, Transport, UpstreamConfig};
use crate::finding::Finding;

/// A server with everything around it.
#[derive(Clone, Debug)]
pub(crate) struct Cared {
    pub(crate) upstream: Arc<dyn Upstream>,
    pub(crate) checked: Vec<Checked>,
}

/// What is asked for its health, how often, and whether it is a child of ours.
pub(crate) type Checked = (Arc<Breaker>, HealthSettings, bool);

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

/// Puts everything around a server. `ways`: for each of its transports one upstream, or one for each replica. What `board` knows of it already
/// is kept.
///
/// # Errors
/// Settings that cannot work, with their places.
pub(super) fn care(
    config: &Config,
    server: &UpstreamConfig,
    ways: Vec<Vec<Arc<dyn Upstream>>>,
    board: &HealthBoard,
) -> Result<Cared, Vec<Finding>> {
    let (terms, walls) = terms(config, server).map_err(|finding| vec![*finding])?;
    let wrong =
        |error: SettingsError| vec![super::upstream::complaint(config, &format!("{}.fallback", server.key), &error)];
    let name: Arc<str> = Arc::from(server.name.as_str());
    let breaker = |upstream, word: &str| Breaker::new(upstream, board.track(&name, word, terms.clone()));
    let mut checked = Vec::with_capacity(ways.len());
    let words = words(server);
    server.care.fallback.check(&words).map_err(wrong)?;
    let mut several = Vec::with_capacity(ways.len());
    for ((word, way), replicas) in words.into_iter().zip(&server.ways).zip(ways) {
        let child = matches!(way.transport, Transport::Stdio(_));
        let mut check = |guarded: &Arc<Breaker>| checked.push((Arc::clone(guarded), server.care.health.clone(), child));
        let guarded = match <[_; 1]>::try_from(replicas) {
            Ok([only]) => {
                let guarded = breaker(only, &word);
                check(&guarded);
                guarded
            }
            Err(replicas) => {
                let apart = (1..).zip(replicas).map(|(number, upstream): (u32, _)| {
                    let word = format!("{word}/{number}");
                    let guarded = breaker(upstream, &word);
                    check(&guarded);
                    Way::new(word.into(), guarded)
                });
                let together = Fallback::replicas(apart.collect(), &server.care.fallback).map_err(wrong)?;
                // It only counts: a replica that fails must not shut the others.
                let counts = BreakerSettings { enabled: false, ..server.care.breaker.clone() };
                let terms = Terms { breaker: counts.rules().map_err(wrong)?, tools: None, ..terms.clone() };
                Breaker::new(together, board.track(&name, &word, terms))
            }
        };
        several.push((word, guarded));
    }
    let upstream: Arc<dyn Upstream> = match <[_; 1]>::try_from(several) {
        // Nothing to choose: the transport's own deadlines are the only ones.
        Ok([(_, only)]) => only,
        Err(several) => {
            let ways = several.into_iter().map(|(word, guarded)| Way::new(word.into(), guarded)).collect();
            Fallback::new(ways, &server.care.fallback, &config.gateway.transport_order).map_err(wrong)?
        }
    };
    Ok(Cared { upstream: Bulkhead::new(upstream, board.room(&name, &walls)), checked })
}

/// Names of a server's transports on the board: what they are, and which where it has several alike.
fn words(server: &UpstreamConfig) -> Vec<String> {
    let mut words: Vec<String> = Vec::with_capacity(server.ways.len());
    for way in &server.ways {
        let word = way.transport.word();
        let alike = words.iter().filter(|other| other.split('-').next() == Some(word)).count();
        words.push(if alike == 0 { word.to_owned() } else { format!("{word}-{}", alike + 1) });
    }
    words
}

fn terms(config: &Config, server: &UpstreamConfig) -> Result<(Terms, Walls), Box<Finding>> {
    let care = &server.care;
    let of = |section: &'static str| {
        let key = format!("{}.{section}", server.key);
        move |error: SettingsError| Box::new(super::upstream::complaint(config, &key, &error))
    };
    let terms = Terms {
        breaker: care.breaker.rules().map_err(of("breaker"))?,
        tools: care.breaker.tool_rules().map_err(of("breaker"))?,
        health: care.health.thresholds().map_err(of("health"))?,
    };
    let walls = care.limits.walls().map_err(of("limits"))?;
    Ok((terms, walls))
}
