//! What a client has asked of its servers that lasts, and that they agreed to: subscriptions, and the level of log messages. A server that lost the
//! session has forgotten it, and is asked again (`renewal.rs`).

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use portcullis_core::call::{Call, Context};
use portcullis_core::clock::Timestamp;
use portcullis_core::own::quoted;
use portcullis_core::wire::{Message, View};
use tokio::sync::Notify;

use super::{Session, Targets};

/// What asks for something that lasts, or for its end.
const LASTING: [&str; 3] = ["logging/setLevel", "resources/subscribe", "resources/unsubscribe"];
/// Wishes of one session. 256: clients subscribe to what their user has open.
const MOST: usize = 256;
/// Bytes of all of them. 64 KiB, so that addresses may be long, but not all of them.
const MOST_BYTES: usize = 64 << 10;
/// Sentences for the client that nobody has heard yet. 16: one says all of one server's session.
const MOST_NEWS: usize = 16;

/// One thing that lasts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Wish {
    /// `logging/setLevel`
    Level(Box<str>),
    /// `resources/subscribe`, by the server's own URI.
    Resource(Box<str>),
}

impl Wish {
    pub(crate) const fn method(&self) -> &'static str {
        match self {
            Self::Level(_) => "logging/setLevel",
            Self::Resource(_) => "resources/subscribe",
        }
    }

    pub(crate) fn params(&self) -> String {
        match self {
            Self::Level(level) => format!(r#"{{"level":{}}}"#, quoted(level)),
            Self::Resource(uri) => format!(r#"{{"uri":{}}}"#, quoted(uri)),
        }
    }

    const fn len(&self) -> usize {
        match self {
            Self::Level(text) | Self::Resource(text) => text.len(),
        }
    }

    /// Whether the later one takes the place of this one.
    fn gives_way_to(&self, later: &Self) -> bool {
        self == later || matches!((self, later), (Self::Level(_), Self::Level(_)))
    }
}

/// Who asked last, and when what proved it ends: who asks again in the client's place.
#[derive(Clone, Debug)]
pub(crate) struct Proven {
    pub(crate) context: Arc<Context>,
    pub(crate) until: Option<Timestamp>,
}

#[derive(Debug, Default)]
pub(crate) struct Awaited {
    state: Mutex<State>,
    /// There is news.
    told: Notify,
}

#[derive(Debug, Default)]
struct State {
    wishes: Vec<(usize, Wish)>,
    bytes: usize,
    /// Servers that promised more than there was room for.
    beyond: Targets,
    proven: Option<Proven>,
    /// Servers that are being asked again, and whether one of them lost the session meanwhile.
    renewing: Vec<(usize, bool)>,
    news: VecDeque<String>,
}

impl Session {
    /// A server agreed to what a message asked for. Where one server is alone, its session is the client's, and who loses it is told so.
    pub(crate) fn agreed(&self, at: usize, call: &Call, until: Option<Timestamp>) {
        if let Some(message) = call.message().filter(|_| self.home.several && LASTING.contains(&call.method())) {
            let by = Proven { context: Arc::clone(&call.context), until };
            self.awaited().agreed(at, message, by);
        }
    }

    /// Its caller has proven itself anew.
    pub(crate) fn proves(&self, call: &Call, until: Option<Timestamp>) {
        if let Some(mut state) =
            self.awaited.get().map(|awaited| awaited.state()).filter(|state| !state.wishes.is_empty())
        {
            state.proven = Some(Proven { context: Arc::clone(&call.context), until });
        }
    }

    /// What it waits for.
    pub(crate) fn awaited(&self) -> &Awaited {
        self.awaited.get_or_init(Box::default)
    }

    /// Whether it waits for more of a server than words to the log.
    pub(crate) fn awaits(&self, at: usize) -> bool {
        self.awaited.get().is_some_and(|awaited| awaited.awaits(at))
    }

    /// The next sentence of ours for the client's log.
    pub(crate) async fn news(self: Arc<Self>) -> String {
        self.awaited().news().await
    }
}

impl Awaited {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn agreed(&self, at: usize, message: &Message, by: Proven) {
        let text = |name| message.param(name).and_then(View::as_str).map(Box::<str>::from);
        let mut state = self.state();
        match message.method() {
            Some("logging/setLevel") => state.keep(at, text("level").map(Wish::Level)),
            Some("resources/subscribe") => state.keep(at, text("uri").map(Wish::Resource)),
            Some("resources/unsubscribe") => {
                if let Some(uri) = text("uri") {
                    state.forget(at, &Wish::Resource(uri));
                }
            }
            _ => return,
        }
        state.proven = Some(by);
    }

    fn awaits(&self, at: usize) -> bool {
        self.state().wishes.iter().any(|(whose, wish)| *whose == at && matches!(wish, Wish::Resource(_)))
    }

    /// All that one server has to be asked again, and for whom. The flag says whether there was more than could be kept.
    pub(crate) fn of(&self, at: usize) -> Option<(Vec<Wish>, Proven, bool)> {
        let mut state = self.state();
        let beyond =
            state.beyond.iter().position(|whose| *whose == at).map(|place| state.beyond.remove(place)).is_some();
        let wishes: Vec<Wish> =
            state.wishes.iter().filter(|(whose, _)| *whose == at).map(|(_, wish)| wish.clone()).collect();
        Some((wishes, state.proven.clone()?, beyond))
    }

    /// Whether the client still wants it.
    pub(crate) fn wants(&self, at: usize, wish: &Wish) -> bool {
        self.state().wishes.iter().any(|(whose, kept)| *whose == at && kept == wish)
    }

    /// The server does not do it any more.
    pub(crate) fn refused(&self, at: usize, wish: &Wish) {
        self.state().forget(at, wish);
    }

    /// Whether the caller is the one to ask the server again; who does it already is told to begin once more.
    pub(crate) fn begins(&self, at: usize) -> bool {
        let mut state = self.state();
        match state.renewing.iter_mut().find(|(whose, _)| *whose == at) {
            Some((_, again)) => {
                *again = true;
                false
            }
            None => {
                state.renewing.push((at, false));
                true
            }
        }
    }

    /// Whether the server lost the session once more, after who asks has asked for everything.
    pub(crate) fn ends(&self, at: usize, gives_up: bool) -> bool {
        let mut state = self.state();
        let again =
            state.renewing.iter_mut().find(|(whose, _)| *whose == at).is_some_and(|(_, again)| std::mem::take(again));
        if !again || gives_up {
            state.renewing.retain(|(whose, _)| *whose != at);
        }
        again
    }

    /// For the client's log, once it listens: the oldest gives way.
    pub(crate) fn tell(&self, data: String) {
        let mut state = self.state();
        if state.news.len() >= MOST_NEWS {
            state.news.pop_front();
        }
        state.news.push_back(data);
        drop(state);
        self.told.notify_one();
    }

    async fn news(&self) -> String {
        loop {
            if let Some(data) = self.state().news.pop_front() {
                return data;
            }
            self.told.notified().await;
        }
    }
}

impl State {
    fn keep(&mut self, at: usize, wish: Option<Wish>) {
        let Some(wish) = wish else { return };
        let bytes = &mut self.bytes;
        self.wishes.retain(|(whose, earlier)| {
            let stays = *whose != at || !earlier.gives_way_to(&wish);
            *bytes -= if stays { 0 } else { earlier.len() };
            stays
        });
        if self.wishes.len() < MOST && self.bytes + wish.len() <= MOST_BYTES {
            self.bytes += wish.len();
            self.wishes.push((at, wish));
        } else if !self.beyond.contains(&at) {
            self.beyond.push(at);
        }
    }

    fn forget(&mut self, at: usize, wish: &Wish) {
        if let Some(place) = self.wishes.iter().position(|(whose, kept)| *whose == at && kept == wish) {
            self.wishes.remove(place);
            self.bytes -= wish.len();
        }
    }
}

#[cfg(test)]
mod tests;
