//! One legacy session over one pipe: every message of the server finds the reply, the standing stream or the waiting room
//! it belongs to (A10, A13). Responses go by id, progress by token; the rest by the rules at [`Desk::route`].

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use portcullis_core::own;
use portcullis_core::refusal::{Fault, FaultKind};
use portcullis_core::wire::{Id, Kind, Limits, Message};
use tokio::sync::mpsc;

use super::outlet::{Delivered, Inlet, Outlet};
use super::running::Router;
use super::{Notes, Watcher, outlet, owners};

/// Requests one session may have open. 256: far above what a client does, and the desk is searched in order.
const MOST_PENDING: usize = 256;
/// Messages that wait for a reader. 64: what comes between `initialize` and the client's GET fits; a flood does not.
const MOST_WAITING: usize = 64;
/// Bytes of all of them. 1 MiB: notices are small, and one that is not is not worth keeping for a client that is not there.
const MOST_WAITING_BYTES: usize = 1 << 20;
/// Ids of replies that were given up, so that their late answers are not taken for answers to nobody.
const MOST_ABANDONED: usize = 64;

/// The session's router.
pub(crate) struct Session {
    desk: Mutex<Desk>,
    input: mpsc::Sender<Bytes>,
    notes: Notes,
    watcher: Watcher,
    limits: Limits,
    stall: Duration,
}

impl std::fmt::Debug for Session {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Session(..)")
    }
}

#[derive(Default)]
struct Desk {
    /// Oldest first.
    pending: Vec<Pending>,
    standing: Option<Outlet>,
    waiting: VecDeque<Message>,
    abandoned: VecDeque<Id>,
    ended: Option<Fault>,
}

struct Pending {
    id: Id,
    token: Option<Id>,
    outlet: Outlet,
}

/// Where a message goes.
enum Route {
    To(Outlet),
    /// An error about a request the server could not read (H1): the only open one, whose id it gets.
    Labelled(Outlet, Id),
    /// It waits for a reader.
    Kept,
    /// Nobody can take this request of the server: the server must hear of it.
    Refused(Id),
    Dropped(&'static str),
}

impl Session {
    pub(crate) fn new(
        input: mpsc::Sender<Bytes>,
        notes: Notes,
        watcher: Watcher,
        limits: Limits,
        stall: Duration,
    ) -> Self {
        Self { desk: Mutex::default(), input, notes, watcher, limits, stall }
    }

    fn desk(&self) -> MutexGuard<'_, Desk> {
        self.desk.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A reply for a request that is about to be written.
    pub(crate) fn expect(&self, request: &Message, first_byte: Duration) -> Result<Inlet, Fault> {
        let Some(id) = request.id() else {
            return Err(Fault::before_sending(FaultKind::Garbage, "a request without an id"));
        };
        let (outlet, inlet) = outlet::answer(first_byte);
        let mut desk = self.desk();
        desk.check()?;
        if desk.pending.len() >= MOST_PENDING {
            return Err(Fault::before_sending(FaultKind::Overloaded, "too many requests are open in this session"));
        }
        // What the server asked while nobody was there is part of whatever happens next.
        let (asked, others) =
            std::mem::take(&mut desk.waiting).into_iter().partition(|message| message.kind() == Kind::Request);
        desk.waiting = others;
        desk.hand_over(asked, &outlet);
        desk.pending.push(Pending { id: id.clone(), token: request.progress_token(), outlet });
        Ok(inlet)
    }

    /// The reply is over without its response.
    pub(crate) fn forget(&self, id: &Id) {
        let mut desk = self.desk();
        let Desk { pending, abandoned, .. } = &mut *desk;
        for over in pending.extract_if(.., |pending| pending.id == *id) {
            remember(abandoned, over.id);
        }
    }

    /// The client's standing stream. A newer one replaces an older: its client has gone, or will not miss it.
    pub(crate) fn stand(&self) -> Result<Inlet, Fault> {
        let (outlet, inlet) = outlet::standing();
        let mut desk = self.desk();
        desk.check()?;
        let waiting = std::mem::take(&mut desk.waiting);
        desk.hand_over(waiting, &outlet);
        desk.standing = Some(outlet);
        Ok(inlet)
    }

    fn refuse(&self, id: &Id) {
        let answer = own::error(Some(id), -32603, "no stream is open on which the client could be asked", None);
        // A server that does not read its input learns nothing, and must not stop us from reading its output.
        if self.input.try_send(answer).is_err() {
            self.notes.line("a refused request of the server could not be answered");
        }
    }
}

impl Desk {
    fn check(&self) -> Result<(), Fault> {
        match &self.ended {
            None => Ok(()),
            Some(fault) => Err(Fault::before_sending(FaultKind::SessionLost, fault.detail.clone())),
        }
    }

    /// A new reply has room for all that may wait; what does not fit after all stays.
    fn hand_over(&mut self, messages: VecDeque<Message>, outlet: &Outlet) {
        for message in messages {
            if let Err(message) = outlet.offer(message) {
                self.waiting.push_back(message);
            }
        }
    }

    /// The rules. Responses: the request with that id. Progress: the request with that token. Requests of the server, and what
    /// takes them back: the oldest open request, since the server must be working on one (SEP-2260), else the standing stream, else they wait.
    /// Log messages: the only open request, else the standing stream, else the oldest open request, else they wait.
    /// Everything else (lists changed, resources updated): the standing stream, else it waits; the oldest make room.
    fn route(&mut self, message: &Message) -> Route {
        self.clear_away();
        match (message.kind(), message.method()) {
            (Kind::Result | Kind::Error, _) => self.response(message),
            (_, Some("notifications/progress")) => {
                let token = message.progress_token();
                let owner = self.pending.iter().find(|pending| pending.token.is_some() && pending.token == token);
                owner.map_or(Route::Dropped("progress for no open request"), |owner| Route::To(owner.outlet.clone()))
            }
            (Kind::Request, _) | (_, Some("notifications/cancelled")) => {
                match self.oldest().or_else(|| self.standing.clone()) {
                    Some(outlet) => Route::To(outlet),
                    None => self.wait(message),
                }
            }
            (_, Some("notifications/message")) => {
                let only = if self.pending.len() == 1 { self.oldest() } else { None };
                match only.or_else(|| self.standing.clone()).or_else(|| self.oldest()) {
                    Some(outlet) => Route::To(outlet),
                    None => self.wait(message),
                }
            }
            _ => match &self.standing {
                Some(standing) => Route::To(standing.clone()),
                None => self.wait(message),
            },
        }
    }

    /// Replies that were dropped, or given up because their reader was too slow.
    fn clear_away(&mut self) {
        let Self { pending, standing, abandoned, .. } = self;
        for over in pending.extract_if(.., |pending| pending.outlet.is_over()) {
            remember(abandoned, over.id);
        }
        *standing = standing.take().filter(|standing| !standing.is_over());
    }

    fn response(&mut self, message: &Message) -> Route {
        let place = match message.id() {
            Some(id) => self.pending.iter().position(|pending| pending.id == *id),
            None => (self.pending.len() == 1).then_some(0),
        };
        match place.map(|place| self.pending.remove(place)) {
            Some(answered) if message.id().is_none() => Route::Labelled(answered.outlet, answered.id),
            Some(answered) => Route::To(answered.outlet),
            None if message.id().is_some_and(|id| self.abandoned.contains(id)) => Route::Dropped("a late answer"),
            None => Route::Dropped("an answer to an id nobody asked with"),
        }
    }

    fn oldest(&self) -> Option<Outlet> {
        self.pending.first().map(|pending| pending.outlet.clone())
    }

    fn wait(&mut self, message: &Message) -> Route {
        while !self.has_room(message) {
            // Requests are never pushed out: the server waits for their answers.
            let oldest = self.waiting.iter().position(|waiting| waiting.kind() != Kind::Request);
            let asks = (message.kind() == Kind::Request).then(|| message.id().cloned()).flatten();
            match (oldest, asks) {
                (_, Some(id)) => return Route::Refused(id),
                (Some(oldest), None) => drop(self.waiting.remove(oldest)),
                (None, None) => return Route::Dropped("no room to wait for a reader"),
            }
        }
        self.waiting.push_back(message.clone());
        Route::Kept
    }

    fn has_room(&self, message: &Message) -> bool {
        let bytes: usize = self.waiting.iter().map(|waiting| waiting.bytes().len()).sum();
        self.waiting.len() < MOST_WAITING && bytes.saturating_add(message.bytes().len()) <= MOST_WAITING_BYTES
    }
}

fn remember(abandoned: &mut VecDeque<Id>, id: Id) {
    if abandoned.len() >= MOST_ABANDONED {
        abandoned.pop_front();
    }
    abandoned.push_back(id);
}

impl Router for Session {
    async fn message(&self, message: Message) {
        self.watcher.see(&message);
        let asks = (message.kind() == Kind::Request).then(|| message.id().cloned()).flatten();
        let route = self.desk().route(&message);
        match route {
            Route::To(outlet) => {
                if outlet.put(message, self.stall).await != Delivered::Taken {
                    // At once: a reader that was given up learns it when nothing more can come, and the server may never speak again.
                    self.desk().clear_away();
                    if let Some(id) = asks {
                        self.refuse(&id);
                    }
                }
            }
            Route::Labelled(outlet, id) => match message.edit().set_id(&id).apply(&self.limits) {
                Ok(labelled) => {
                    outlet.put(labelled, self.stall).await;
                }
                Err(error) => outlet.end(Fault::new(FaultKind::Garbage, format!("{}: {error}", error.code()))),
            },
            Route::Kept => {}
            Route::Refused(id) => self.refuse(&id),
            Route::Dropped(why) => self.notes.dropped(why),
        }
    }

    fn lost(&self, fault: &Fault, texts: &[&[u8]]) -> bool {
        let mut desk = self.desk();
        let before = desk.pending.len();
        desk.pending.retain(|pending| !owners::end_suspect(texts, &pending.id, &pending.outlet, fault));
        desk.pending.len() < before
    }

    fn ended(&self, fault: &Fault) {
        let mut desk = self.desk();
        desk.ended.get_or_insert_with(|| fault.clone());
        for pending in desk.pending.drain(..) {
            pending.outlet.end(fault.clone());
        }
        if let Some(standing) = desk.standing.take() {
            standing.end(fault.clone());
        }
        desk.waiting.clear();
    }
}

#[cfg(test)]
mod tests;
