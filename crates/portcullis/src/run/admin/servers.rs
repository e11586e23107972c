//! How the servers are, as the admin address says it: JSON for programs and `portcullis status`, numbers for metrics.

use std::sync::Arc;
use std::time::Duration;

use portcullis_core::upstream::Upstream;
use portcullis_ledger::{RoomNumbers, TransportNumbers};
use portcullis_upstream::HealthBoard;
use portcullis_upstream::breaker::Phase;
use portcullis_upstream::health::{Health, TrackView};
use serde_json::{Value, json};

/// What `/healthz` and `/readyz` say of each server: whether it has answered since the start, and how each way to it is.
pub(super) fn brief(upstreams: &[Arc<dyn Upstream>], board: &HealthBoard) -> Vec<Value> {
    let tracks = board.tracks();
    let way = |track: &TrackView| {
        json!({
            "transport": &*track.transport,
            "health": track.health.as_str(),
            "breaker": track.breaker.as_str(),
        })
    };
    let server = |upstream: &Arc<dyn Upstream>| {
        let own = tracks.iter().filter(|track| *track.server == **upstream.name());
        json!({
            "server": &**upstream.name(),
            "reached": upstream.catalogue().is_read(),
            "transports": own.map(way).collect::<Vec<_>>(),
        })
    };
    upstreams.iter().map(server).collect()
}

/// Whether a call could be answered by anybody.
pub(super) fn any_usable(board: &HealthBoard) -> bool {
    let tracks = board.tracks();
    tracks.is_empty() || tracks.iter().any(|track| track.health != Health::Unhealthy)
}

/// Everything that is known.
pub(super) fn full(board: &HealthBoard) -> Value {
    let servers: Vec<_> = board.tracks().iter().map(track).collect();
    let rooms = board.rooms().into_iter().map(|room| {
        json!({
            "server": &*room.server,
            "calls": room.calls,
            "waiting": room.waiting,
            "streams": room.streams,
            "refused": room.refused,
        })
    });
    json!({ "servers": servers, "rooms": rooms.collect::<Vec<_>>() })
}

fn track(track: &TrackView) -> Value {
    let failure = track.last_failure.as_ref();
    let failure = failure.map(|failure| json!({ "text": failure.text, "agoMs": millis(failure.ago) }));
    let tools = track.tools.iter().map(|tool| {
        json!({
            "tool": &*tool.name,
            "breaker": tool.breaker.as_str(),
            "retryAfterMs": tool.retry_after.map(millis),
        })
    });
    let numbers = &track.numbers;
    json!({
        "server": &*track.server,
        "transport": &*track.transport,
        "health": track.health.as_str(),
        "healthForMs": millis(track.health_for),
        "breaker": track.breaker.as_str(),
        "breakerForMs": millis(track.breaker_for),
        "retryAfterMs": track.retry_after.map(millis),
        "lastFailure": failure,
        "calls": {
            "answered": numbers.answered,
            "failed": numbers.failed,
            "undecided": numbers.undecided,
            "refused": numbers.refused,
        },
        "checks": { "answered": numbers.checks_answered, "failed": numbers.checks_failed },
        "opened": numbers.opened,
        "tools": tools.collect::<Vec<_>>(),
    })
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

/// For metrics. Names of tools are no labels.
pub(super) fn numbers(board: &HealthBoard) -> (Vec<TransportNumbers>, Vec<RoomNumbers>) {
    let transports = board.tracks().into_iter().map(|track| {
        let numbers = track.numbers;
        TransportNumbers {
            server: track.server.to_string(),
            transport: track.transport.to_string(),
            health: track.health.as_str(),
            breaker: track.breaker.as_str(),
            transitions: [Phase::Closed, Phase::HalfOpen, Phase::Open].map(|phase| numbers.came_to(phase)),
            calls: [numbers.answered, numbers.failed, numbers.undecided, numbers.refused],
            checks: [numbers.checks_answered, numbers.checks_failed],
        }
    });
    let rooms = board.rooms().into_iter().map(|room| RoomNumbers {
        server: room.server.to_string(),
        held: [room.calls, room.waiting, room.streams],
        refused: room.refused,
    });
    (transports.collect(), rooms.collect())
}
