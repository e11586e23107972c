//! What an upstream knows of its server between calls: its era and what it offers. Asking anew is single flight.

use std::collections::BTreeMap;
use std::future::Future;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, MutexGuard, PoisonError};
use std::time::Duration;

use arc_swap::{ArcSwap, ArcSwapOption};
use futures_util::StreamExt;
use portcullis_core::call::Call;
use portcullis_core::catalogue::{Catalogue, Tool};
use portcullis_core::refusal::{Fault, FaultKind};
use portcullis_core::upstream::Reply;
use portcullis_core::version::Era;
use portcullis_core::wire::{JsonKind, Kind, Message, View};
use tokio::sync::{Mutex, watch};
use tokio::time::Instant;

use crate::departure::apart;
use crate::probe::Served;
use crate::settings::EraSetting;

/// Tools learned from lists that passed by. As many as one list may have.
const MOST_OBSERVED: usize = 10_000;
/// Bytes of their definitions, as many as our own question may fetch.
const MOST_OBSERVED_BYTES: usize = 32 << 20;
/// Bytes of a list that is remembered for having brought nothing new. 1 MiB: one of them is kept, and longer ones are just looked at again.
const MOST_REMEMBERED: usize = 1 << 20;

/// Between two refreshes that refused headers ask for (D5). 1 s, as for `list_changed`: a server that refuses everything costs one list a second.
const CORRECTED_EVERY: Duration = Duration::from_secs(1);

/// Shared by every call of one upstream.
#[derive(Debug)]
pub(crate) struct Standing {
    setting: EraSetting,
    /// Time for all that one contact asks.
    patience: Duration,
    served: ArcSwapOption<Served>,
    catalogue: ArcSwap<Catalogue>,
    /// The list our own question was answered with.
    own: ArcSwap<Catalogue>,
    observed: std::sync::Mutex<Observed>,
    /// How many contacts were begun and how many ended; with `flight` they tell a waiter whether someone else's will do.
    begun: AtomicU64,
    ended: AtomicU64,
    /// The latest contact that ended: its number and its outcome.
    flight: Mutex<(u64, Result<(), Fault>)>,
    /// A refresh was asked for by the server and did not begin yet.
    due: AtomicBool,
    /// When the tools were last read because the server refused headers. Locked meanwhile, so that others wait for the answer.
    corrected: Mutex<Option<Instant>>,
    closing: watch::Sender<bool>,
}

impl Standing {
    pub(crate) fn new(setting: EraSetting, patience: Duration) -> Self {
        let served = match setting {
            EraSetting::Auto => None,
            EraSetting::Legacy => Some(Arc::new(Served::LEGACY)),
            EraSetting::Modern => Some(Arc::new(Served::MODERN)),
        };
        Self {
            setting,
            patience,
            served: ArcSwapOption::from(served),
            catalogue: ArcSwap::from_pointee(Catalogue::default()),
            own: ArcSwap::from_pointee(Catalogue::default()),
            observed: std::sync::Mutex::default(),
            begun: AtomicU64::new(0),
            ended: AtomicU64::new(0),
            flight: Mutex::new((0, Ok(()))),
            due: AtomicBool::new(false),
            corrected: Mutex::default(),
            closing: watch::Sender::new(false),
        }
    }

    pub(crate) fn served(&self) -> Option<Served> {
        self.served.load().as_deref().copied()
    }

    /// For a server that speaks both eras: the newer.
    pub(crate) fn era(&self) -> Option<Era> {
        self.served().map(Served::newest)
    }

    /// Remembers what was proven; never overrides the operator.
    pub(crate) fn proven(&self, served: Served) {
        if self.setting == EraSetting::Auto {
            self.served.store(Some(Arc::new(served)));
        }
    }

    /// The server refused an era we believed it to speak: the next call asks again (G4).
    pub(crate) fn contradicted(&self, era: Era) {
        if self.setting == EraSetting::Auto && self.served().is_some_and(|served| served.speaks(era)) {
            self.served.store(None);
        }
    }

    pub(crate) fn catalogue(&self) -> Arc<Catalogue> {
        self.catalogue.load_full()
    }

    /// Adds the tools of a list that passed by and that our own list lacks.
    pub(crate) fn observe(&self, listed: &Message) {
        let Some(tools) = listed.result_member("tools").filter(|tools| tools.kind() == JsonKind::Array) else { return };
        let (own, known) = (self.own.load_full(), self.catalogue());
        if self.lock_observed().brought_nothing(tools.raw(), &own, &known) {
            return;
        }
        let new = |tool: &View<'_>| {
            let name = tool.get("name").and_then(View::as_str);
            name.is_some_and(|name| {
                // What our own question was answered with stays; it changes when we ask again.
                own.tool(&name).is_none() && known.tool(&name).is_none_or(|known| known.definition != tool.raw())
            })
        };
        let new: Vec<Arc<Tool>> = tools.elements().filter(new).filter_map(Tool::from_view).map(Arc::new).collect();
        let mut observed = self.lock_observed();
        if new.is_empty() && tools.raw().len() <= MOST_REMEMBERED {
            observed.nothing_new = Some(NothingNew { list: tools.raw().into(), own, known });
            return;
        }
        let learned = new.into_iter().filter(|tool| observed.learn(tool)).count();
        if learned > 0 {
            self.catalogue.store(Arc::new(self.own.load().with(observed.tools.values().cloned())));
        }
    }

    fn lock_observed(&self) -> MutexGuard<'_, Observed> {
        self.observed.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A complete list of our own.
    fn listed(&self, own: Catalogue) {
        let mut observed = self.lock_observed();
        observed.leave_to(&own);
        self.catalogue.store(Arc::new(own.with(observed.tools.values().cloned())));
        self.own.store(Arc::new(own));
    }

    pub(crate) fn is_closing(&self) -> bool {
        *self.closing.borrow()
    }

    /// Runs `work` unless we stop before it ends.
    pub(crate) async fn unless_closing<T>(&self, work: impl Future<Output = Result<T, Fault>>) -> Result<T, Fault> {
        let mut closing = self.closing.subscribe();
        tokio::select! {
            outcome = work => outcome,
            _ = closing.wait_for(|closing| *closing) => Err(shutting_down()),
        }
    }

    /// Whether this was the first to say so.
    pub(crate) fn close(&self) -> bool {
        !self.closing.send_replace(true)
    }

    /// Asks for the era if nobody did, or if the last time nobody answered. The tools may stay unread; the era is what sending needs.
    pub(crate) async fn know_era<F>(&self, contact: impl FnOnce() -> F) -> Result<(), Fault>
    where
        F: Future<Output = Result<Catalogue, Fault>>,
    {
        if self.served().is_some() {
            return Ok(());
        }
        // A contact that is under way already will do, since an era does not change; for tools it might have read them too early.
        match Box::pin(self.contact_after(self.ended.load(Ordering::Acquire), contact)).await {
            Err(fault) if self.served().is_none() => Err(Fault { never_left: true, ..fault }),
            _ => Ok(()),
        }
    }

    /// Runs `contact`, or takes the outcome of someone else's that began after this call: an older one may have read what
    /// has changed since.
    pub(crate) async fn refresh<F>(&self, contact: impl FnOnce() -> F) -> Result<Arc<Catalogue>, Fault>
    where
        F: Future<Output = Result<Catalogue, Fault>>,
    {
        self.contact_after(self.begun.load(Ordering::Acquire), contact).await
    }

    /// The server refused the headers of a call: its tools may have changed without a word (D5). Returns when they are known anew, or
    /// at once when they were read for that reason a moment ago.
    pub(crate) async fn correct<F>(&self, contact: impl FnOnce() -> F) -> Result<(), Fault>
    where
        F: Future<Output = Result<Catalogue, Fault>>,
    {
        let mut latest = self.corrected.lock().await;
        if latest.is_some_and(|latest| latest.elapsed() < CORRECTED_EVERY) {
            return Ok(());
        }
        let outcome = self.refresh(contact).await;
        *latest = Some(Instant::now());
        outcome.map(drop)
    }

    async fn contact_after<F>(&self, earlier: u64, contact: impl FnOnce() -> F) -> Result<Arc<Catalogue>, Fault>
    where
        F: Future<Output = Result<Catalogue, Fault>>,
    {
        let mut latest = self.flight.lock().await;
        if latest.0 > earlier {
            latest.1.clone()?;
            return Ok(self.catalogue());
        }
        if self.is_closing() {
            return Err(shutting_down());
        }
        let number = self.begun.fetch_add(1, Ordering::AcqRel) + 1;
        let asked = Instant::now().into_std();
        let late = || {
            let detail = format!("the server did not answer our own questions within {:?}", self.patience);
            Err(Fault::new(FaultKind::TimedOut, detail))
        };
        let answered = tokio::time::timeout(self.patience, self.unless_closing(apart(contact()))).await;
        let outcome = answered.unwrap_or_else(|_| late()).map(|catalogue| self.listed(catalogue.asked_at(asked)));
        *latest = (number, outcome.clone());
        self.ended.store(number, Ordering::Release);
        outcome?;
        Ok(self.catalogue())
    }

    /// Whether the caller is the one to schedule the refresh that a `list_changed` asks for.
    pub(crate) fn becomes_due(&self) -> bool {
        !self.is_closing() && !self.due.swap(true, Ordering::AcqRel)
    }

    /// The scheduled refresh begins: later changes need another.
    pub(crate) fn begins(&self) -> bool {
        self.due.store(false, Ordering::Release);
        !self.is_closing()
    }

    /// Refuses a call of an era that the server does not speak, before anything is sent. `opens` is true for an `initialize`.
    ///
    /// A list of versions proves what is on it, not what is missing: SDKs that serve both eras list only the modern one. So a
    /// client's `initialize` is let through to such a server, and its answer is the proof (G3); see [`Standing::prove`].
    pub(crate) fn admit(&self, era: Era, opens: bool) -> Result<Admission, Fault> {
        match self.served() {
            None => Err(Fault::before_sending(FaultKind::Unreachable, "the server's era is not known yet")),
            Some(served) if served.speaks(era) => Ok(Admission::Known),
            Some(served) if served.modern && opens && self.setting == EraSetting::Auto => Ok(Admission::Trial),
            Some(served) => Err(mismatch(served.newest())),
        }
    }

    /// Takes the outcome of an `initialize` that was let through on trial: a result proves that the server serves both eras,
    /// anything else that is MCP or nonsense proves that it does not.
    pub(crate) async fn prove(&self, outcome: Result<Reply, Fault>) -> Result<Reply, Fault> {
        let refused = || Fault { never_left: false, ..mismatch(Era::Modern) };
        let refusal = |fault: Fault| match fault.kind {
            FaultKind::Garbage | FaultKind::SessionLost | FaultKind::AnswerUnmatched | FaultKind::Died => refused(),
            _ => fault,
        };
        let mut reply = outcome.map_err(refusal)?;
        let mut items = Vec::new();
        let answered = async {
            while let Some(item) = reply.arrivals.next().await {
                let arrived = item.map_err(refusal)?;
                let kind = arrived.message.as_ref().map(Message::kind);
                items.push(Ok(arrived));
                match kind {
                    Some(Kind::Result) => return Ok(()),
                    None | Some(Kind::Notification) if items.len() < MOST_BEFORE_GREETING => {}
                    _ => break,
                }
            }
            Err(refused())
        };
        tokio::time::timeout(self.patience, answered).await.unwrap_or_else(|_| {
            Err(Fault::new(FaultKind::TimedOut, "the server did not answer `initialize` in time"))
        })?;
        self.proven(Served { legacy: true, modern: true });
        let arrivals = Box::pin(futures_util::stream::iter(items).chain(reply.arrivals));
        Ok(Reply { arrivals, ..reply })
    }
}

/// Tools that clients were shown and our own question was not, newest definition. They stay as long as we do, within bounds: a tool that no
/// list shows any more is refused by the server itself, and one that a later question of ours brings is left to that answer.
#[derive(Debug, Default)]
struct Observed {
    tools: BTreeMap<String, Arc<Tool>>,
    /// Of their definitions.
    bytes: usize,
    nothing_new: Option<NothingNew>,
}

/// The latest list with nothing in it that was not known: most lists are the same one again.
#[derive(Debug)]
struct NothingNew {
    list: Box<[u8]>,
    own: Arc<Catalogue>,
    known: Arc<Catalogue>,
}

impl Observed {
    /// Whether this very list was looked at while the same was known.
    fn brought_nothing(&self, list: &[u8], own: &Arc<Catalogue>, known: &Arc<Catalogue>) -> bool {
        let same =
            |last: &NothingNew| Arc::ptr_eq(&last.own, own) && Arc::ptr_eq(&last.known, known) && *last.list == *list;
        self.nothing_new.as_ref().is_some_and(same)
    }

    /// Whether there was room for it.
    fn learn(&mut self, tool: &Arc<Tool>) -> bool {
        let older = self.tools.get(&tool.name).map(|older| older.definition.len());
        let bytes = self.bytes.saturating_sub(older.unwrap_or(0)).saturating_add(tool.definition.len());
        let fits = bytes <= MOST_OBSERVED_BYTES && (older.is_some() || self.tools.len() < MOST_OBSERVED);
        if fits {
            self.tools.insert(tool.name.clone(), Arc::clone(tool));
            self.bytes = bytes;
        }
        fits
    }

    fn leave_to(&mut self, own: &Catalogue) {
        self.tools.retain(|name, _| own.tool(name).is_none());
        self.bytes = self.tools.values().map(|tool| tool.definition.len()).sum();
    }
}

/// How sure we are that the server speaks a call's era.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Admission {
    Known,
    /// It may; the answer will tell.
    Trial,
}

/// Messages and events before the answer to `initialize`. 16: a priming event and some log lines.
const MOST_BEFORE_GREETING: usize = 16;

fn mismatch(served: Era) -> Fault {
    Fault::before_sending(FaultKind::EraMismatch { served }, format!("the server speaks only the {served} era"))
}

/// Whether this is the `initialize` that opens a session.
pub(crate) fn opens(call: &Call) -> bool {
    call.era() == Era::Legacy && call.expects_response() && call.method() == "initialize"
}

/// What callers get once we stop.
pub(crate) fn shutting_down() -> Fault {
    Fault::before_sending(FaultKind::ShuttingDown, "the gateway is shutting down")
}

#[cfg(test)]
mod tests;
