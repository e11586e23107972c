//! One token, kept while it is good. Whoever finds it gone asks for it alone; the others wait for what comes of that.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use http::HeaderValue;

use super::answer::Issued;
use super::backoff::{Backoff, Blocked};

/// Between two tokens asked for because the server refused the one before. 60 s: a server that refuses whatever it gets costs the authorization
/// server one request a minute, not one for each call.
const BETWEEN_REFUSALS: Duration = Duration::from_secs(60);
/// A token is not used in its last seconds, since the server reads it later and by its own clock. 10 s, or a tenth of its life if that is less.
const MARGIN: Duration = Duration::from_secs(10);

/// Times are of one clock that never runs backwards.
#[derive(Default)]
pub(super) struct Slot {
    state: Mutex<State>,
    /// Held by whoever asks for the next token.
    pub(super) flight: Arc<tokio::sync::Mutex<()>>,
}

#[derive(Default)]
struct State {
    current: Option<Held>,
    backoff: Backoff,
    /// When a refusal by the server was last answered with a new token.
    renewed: Option<Duration>,
}

struct Held {
    authorization: HeaderValue,
    due: Duration,
    gone: Duration,
}

/// What there is.
pub(super) enum Look {
    Good(HeaderValue),
    /// Good, but it is time for the next one.
    Due(HeaderValue),
    /// None, and none to be asked for yet.
    Blocked(Arc<str>),
    None,
}

impl Slot {
    pub(super) fn look(&self, now: Duration) -> Look {
        let state = self.lock();
        let blocked = state.backoff.blocked(now);
        match state.current.as_ref().filter(|held| now < held.gone) {
            Some(held) if now < held.due || blocked.is_some() => Look::Good(held.authorization.clone()),
            Some(held) => Look::Due(held.authorization.clone()),
            None => blocked.map_or(Look::None, |blocked| Look::Blocked(blocked.reason)),
        }
    }

    /// `asked`: when the request for it began, since its life began no earlier.
    pub(super) fn fill(&self, issued: &Issued, asked: Duration) {
        let life = issued.lifetime;
        let mut state = self.lock();
        state.backoff.succeeded();
        state.current = Some(Held {
            authorization: issued.authorization.clone(),
            // The last fifth is for riding out a failing authorization server.
            due: asked + life.mul_f32(0.8),
            gone: asked + life - MARGIN.min(life / 10),
        });
    }

    /// The token there is, if any, stays in use until its end.
    pub(super) fn failed(&self, reason: &str, now: Duration) {
        let mut state = self.lock();
        if let Ok(attempt) = state.backoff.begin(now) {
            state.backoff.failed(attempt, reason, now);
        }
    }

    /// Waits for a server that is not well.
    pub(super) fn hold(&self, blocked: Blocked) {
        self.lock().backoff.hold(blocked.until, blocked.reason);
    }

    /// The server refused `used`. Whether another try has a chance: with the token of somebody who was faster, or with a new one.
    pub(super) fn refuse(&self, used: &HeaderValue, now: Duration) -> bool {
        let mut state = self.lock();
        if state.current.as_ref().is_none_or(|held| held.authorization != used) {
            return true;
        }
        if state.renewed.is_some_and(|at| now.saturating_sub(at) < BETWEEN_REFUSALS) {
            return false;
        }
        state.renewed = Some(now);
        state.current = None;
        true
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
