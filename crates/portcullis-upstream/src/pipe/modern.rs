//! One pipe shared by every caller. Ids of different callers collide, so each request gets an id of ours and each message
//! its caller's id back (C11); progress tokens and subscription ids likewise. Nothing reaches a caller unless it provably is that caller's.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use portcullis_core::own;
use portcullis_core::refusal::{Fault, FaultKind};
use portcullis_core::wire::{Id, Kind, Limits, Malformed, Message};
use tokio::sync::mpsc;

use super::outlet::{Delivered, Inlet, Outlet};
use super::running::{Router, WRITE_PATIENCE};
use super::{Notes, Watcher, outlet, owners};

/// Requests of all callers together. 4096: each may hold 64 messages; the listener's own caps are lower.
const MOST_PENDING: usize = 4096;
/// What an id of ours may add to a message of the largest size.
const ID_ROOM: usize = 256;
const SUBSCRIPTION: &str = "io.modelcontextprotocol/subscriptionId";
const LOG_LEVEL: &str = "io.modelcontextprotocol/logLevel";

/// The router of the shared pipe.
pub(crate) struct Switchboard {
    calls: Mutex<Calls>,
    input: mpsc::Sender<Bytes>,
    notes: Notes,
    watcher: Watcher,
    limits: Limits,
    stall: Duration,
}

impl std::fmt::Debug for Switchboard {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Switchboard(..)")
    }
}

#[derive(Default)]
struct Calls {
    next: i64,
    open: BTreeMap<i64, Open>,
    ended: Option<Fault>,
}

struct Open {
    id: Id,
    token: Option<Id>,
    /// Asked for log messages.
    logs: bool,
    listens: bool,
    outlet: Outlet,
}

/// A message on its way to one caller, looking as that caller must see it.
struct Routed {
    number: i64,
    outlet: Outlet,
    message: Message,
}

impl Switchboard {
    pub(crate) fn new(
        input: mpsc::Sender<Bytes>,
        notes: Notes,
        watcher: Watcher,
        limits: Limits,
        stall: Duration,
    ) -> Self {
        let limits = Limits { bytes: limits.bytes.saturating_add(ID_ROOM), ..limits };
        Self { calls: Mutex::default(), input, notes, watcher, limits, stall }
    }

    fn calls(&self) -> MutexGuard<'_, Calls> {
        self.calls.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A reply for `request`, and the request as the server must see it.
    pub(crate) fn expect(self: &Arc<Self>, request: &Message, first_byte: Duration) -> Result<(Bytes, Inlet), Fault> {
        let listens = request.method() == Some("subscriptions/listen");
        let Some(id) = request.id().cloned() else {
            return Err(Fault::before_sending(FaultKind::Garbage, "a request without an id"));
        };
        let (outlet, mut inlet) = outlet::answer(first_byte);
        let token = request.progress_token();
        let asks_progress = token.is_some();
        let logs = request.meta(LOG_LEVEL).is_some();
        let number = {
            let mut calls = self.calls();
            if let Some(fault) = &calls.ended {
                return Err(Fault { never_left: true, ..fault.clone() });
            }
            if calls.open.len() >= MOST_PENDING {
                return Err(Fault::before_sending(FaultKind::Overloaded, "too many calls wait for this server"));
            }
            calls.next += 1;
            let number = calls.next;
            calls.open.insert(number, Open { id, token, logs, listens, outlet });
            number
        };
        let ours = Id::number(number);
        let mut edit = request.edit().set_id(&ours);
        if asks_progress {
            edit = edit.set_meta("progressToken", ours.raw());
        }
        match edit.apply(&self.limits) {
            Ok(renamed) => {
                let board = Arc::downgrade(self);
                inlet.on_abandon(move || {
                    if let Some(board) = board.upgrade() {
                        board.cancel(number);
                    }
                });
                Ok((renamed.bytes().clone(), inlet))
            }
            Err(error) => {
                self.calls().open.remove(&number);
                Err(Fault::before_sending(
                    FaultKind::Garbage,
                    format!("{}: the request cannot be given an id of ours", error.code()),
                ))
            }
        }
    }

    /// The caller is gone or out of patience: the server must hear of it (D11), if it does not know better.
    fn cancel(&self, number: i64) {
        if self.calls().open.remove(&number).is_none() {
            return;
        }
        let params = format!(r#"{{"requestId":{number},"reason":"the caller no longer waits"}}"#);
        let cancelled = own::notification("notifications/cancelled", &params);
        if let Err(mpsc::error::TrySendError::Full(cancelled)) = self.input.try_send(cancelled)
            && let Ok(runtime) = tokio::runtime::Handle::try_current()
        {
            let input = self.input.clone();
            runtime.spawn(async move { tokio::time::timeout(WRITE_PATIENCE, input.send(cancelled)).await });
        }
    }

    fn route(&self, message: &Message) -> Result<Routed, &'static str> {
        let mut calls = self.calls();
        match (message.kind(), message.method()) {
            (Kind::Result | Kind::Error, _) => {
                let number = match (message.id(), calls.open.first_key_value()) {
                    (Some(id), _) => number_of(id),
                    // About a request the server could not read (H1): certain only if there is one.
                    (None, Some((only, _))) if calls.open.len() == 1 => Some(*only),
                    (None, _) => None,
                };
                let number = number.ok_or("an answer to an id nobody asked with")?;
                let open = calls.open.remove(&number).ok_or("an answer to an id nobody asked with")?;
                let renamed =
                    self.answer_for(&open, message).map_err(|_| "an answer that cannot be given its caller's id");
                if renamed.is_err() {
                    open.outlet.end(Fault::new(FaultKind::Garbage, "an answer that cannot be given its caller's id"));
                }
                Ok(Routed { number, outlet: open.outlet, message: renamed? })
            }
            // C6: a modern server has no requests, and nobody could answer one.
            (Kind::Request, _) => Err("a request of a modern server"),
            (_, Some("notifications/progress")) => {
                let number = message
                    .progress_token()
                    .and_then(|token| number_of(&token))
                    .ok_or("progress for no open request")?;
                let open = calls.open.get(&number).ok_or("progress for no open request")?;
                let (Some(token), Some(place)) = (&open.token, message.param("progressToken")) else {
                    return Err("progress nobody asked for");
                };
                let renamed = message.edit().replace(place, token.raw()).apply(&self.limits);
                let message = renamed.map_err(|_| "progress that cannot be given its caller's token")?;
                Ok(Routed { number, outlet: open.outlet.clone(), message })
            }
            (_, Some("notifications/cancelled")) => {
                // The server ends a subscription the hard way; over HTTP the end of the stream says so.
                let number = message
                    .cancelled_id()
                    .and_then(|id| number_of(&id))
                    .filter(|number| calls.open.get(number).is_some_and(|open| open.listens));
                if let Some(open) = number.and_then(|number| calls.open.remove(&number)) {
                    open.outlet.end(Fault::new(FaultKind::Died, "the server ended the subscription"));
                }
                Err("a cancellation of a subscription")
            }
            (_, method) => self.notification(&calls, message, method == Some("notifications/message")),
        }
    }

    fn notification(&self, calls: &Calls, message: &Message, is_log: bool) -> Result<Routed, &'static str> {
        if let Some(place) = message.meta(SUBSCRIPTION) {
            let number = place.as_i64().ok_or("a notification for no open subscription")?;
            let open =
                calls.open.get(&number).filter(|open| open.listens).ok_or("a notification for no open subscription")?;
            let renamed = message.edit().replace(place, open.id.raw()).apply(&self.limits);
            let message = renamed.map_err(|_| "a notification that cannot be given its subscription's id")?;
            return Ok(Routed { number, outlet: open.outlet.clone(), message });
        }
        if !is_log {
            return Err("a notification that says no caller");
        }
        // Log messages name no request (2026-07-28 stdio). With one open request that asked for them the owner is certain;
        // with more, one caller's log could reach another.
        let mut askers = calls.open.iter().filter(|(_, open)| open.logs);
        match (askers.next(), askers.next()) {
            (Some((number, only)), None) => {
                Ok(Routed { number: *number, outlet: only.outlet.clone(), message: message.clone() })
            }
            _ => Err("a log message that may be several callers'"),
        }
    }

    fn answer_for(&self, open: &Open, answer: &Message) -> Result<Message, Malformed> {
        let mut edit = answer.edit().set_id(&open.id);
        if open.listens && answer.kind() == Kind::Result && answer.meta(SUBSCRIPTION).is_some() {
            edit = edit.set_meta(SUBSCRIPTION, open.id.raw());
        }
        edit.apply(&self.limits)
    }
}

impl Router for Switchboard {
    async fn message(&self, message: Message) {
        self.watcher.see(&message);
        let routed = self.route(&message);
        match routed {
            Ok(Routed { number, outlet, message }) => {
                if outlet.put(message, self.stall).await != Delivered::Taken {
                    self.cancel(number);
                }
            }
            Err(why) => self.notes.dropped(why),
        }
    }

    fn lost(&self, fault: &Fault, texts: &[&[u8]]) -> bool {
        let mut calls = self.calls();
        let before = calls.open.len();
        calls.open.retain(|number, open| !owners::end_suspect(texts, &Id::number(*number), &open.outlet, fault));
        calls.open.len() < before
    }

    fn ended(&self, fault: &Fault) {
        let mut calls = self.calls();
        calls.ended.get_or_insert_with(|| fault.clone());
        for open in std::mem::take(&mut calls.open).into_values() {
            open.outlet.end(fault.clone());
        }
    }
}

fn number_of(id: &Id) -> Option<i64> {
    id.raw().parse().ok()
}
