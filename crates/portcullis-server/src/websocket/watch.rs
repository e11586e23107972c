//! What ends a connection though nothing comes on it: time, a proof that is over, another connection that has its session, our own end.

use std::future::pending;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_util::sync::CancellationToken;

use super::Asker;
use super::frames::Ending;
use super::settings::seconds;
use crate::gateway::Gateway;
use crate::line::Line;

/// Beyond this nobody sets an alarm, and clocks overflow.
const LONGEST: Duration = Duration::from_secs(365 * 86_400);

/// When something was last heard, and when we last asked to hear something.
pub(super) struct Heard(Mutex<(Instant, Instant)>);

impl Heard {
    pub(super) fn now() -> Self {
        Self(Mutex::new((Instant::now(), Instant::now())))
    }

    fn times(&self) -> (Instant, Instant) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn again(&self) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = (Instant::now(), Instant::now());
    }

    pub(super) fn asked(&self) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).1 = Instant::now();
    }

    /// Waits until nothing was heard, and nothing asked, for this long.
    pub(super) async fn silent_for(&self, silence: Option<Duration>) {
        self.passes(silence, |(_, asked)| asked).await;
    }

    async fn passes(&self, silence: Option<Duration>, since: impl Fn((Instant, Instant)) -> Instant) {
        let Some(silence) = silence else { return pending().await };
        loop {
            let due = since(self.times()) + silence;
            if due <= Instant::now() {
                return;
            }
            tokio::time::sleep_until(due).await;
        }
    }
}

pub(super) async fn watch(
    gateway: &Gateway,
    line: &Line,
    asker: &Asker,
    heard: &Heard,
    finish: &CancellationToken,
) -> Ending {
    let settings = &gateway.settings.websocket;
    let lifetime = async {
        match seconds(settings.lifetime_seconds) {
            Some(lifetime) => tokio::time::sleep(lifetime).await,
            None => pending().await,
        }
    };
    let drained = async {
        gateway.draining.token().cancelled().await;
        line.answered_all().await;
        // The rest is written first.
        finish.cancel();
        pending::<()>().await;
    };
    tokio::select! {
        biased;
        ending = taken(line) => ending,
        ending = proof(gateway, asker) => ending,
        () = heard.passes(seconds(settings.idle_seconds), |(heard, _)| heard) => {
            Ending::Over(CloseCode::Away, "nothing was heard for too long")
        }
        () = lifetime => Ending::Over(CloseCode::Away, "the connection is old; connect again"),
        () = drained => Ending::Gone,
    }
}

/// Another connection has the session (J9).
async fn taken(line: &Line) -> Ending {
    let mut seats = line.seat.subscribe();
    loop {
        let taken = seats.borrow_and_update().as_ref().map(|seat| seat.taken.clone());
        tokio::select! {
            () = async { match &taken { Some(taken) => taken.cancelled().await, None => pending().await } } => {
                return Ending::Over(CloseCode::Normal, "MCP session reconnected on another connection");
            }
            changed = seats.changed() => if changed.is_err() { return Ending::Gone },
        }
    }
}

/// What the handshake showed proves nothing any more: its time is over, or who may call was changed.
async fn proof(gateway: &Gateway, asker: &Asker) -> Ending {
    loop {
        let standing = gateway.standing.load_full();
        let until = asker.until().map(|until| until.since(gateway.clock.now())).filter(|left| *left < LONGEST);
        let over = async {
            match until {
                Some(left) => tokio::time::sleep(left).await,
                None => pending().await,
            }
        };
        tokio::select! {
            () = over => {}
            () = standing.cancelled() => {
                if gateway.draining.is_said() {
                    return pending().await;
                }
            }
        }
        if let Err(denial) = asker.proven().await {
            return asker.unproven(&denial);
        }
    }
}
