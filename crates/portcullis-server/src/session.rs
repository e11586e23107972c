//! Legacy sessions: random, sealed towards the client, bound to the caller that opened them, capped per caller and in total.

pub(crate) mod awaited;

use std::borrow::Cow;
use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, RwLock};

use aws_lc_rs::digest::{SHA256, digest};
use portcullis_core::call::{self, Call, SessionKey};
use portcullis_core::capabilities::Declared;
use portcullis_core::clock::Timestamp;
use portcullis_core::gate::{Gate, Judgement, Verdict};
use portcullis_core::own::hex;
use portcullis_core::refusal::{Denial, DenialCode, Violation};
use portcullis_core::tally::{History, Tally};
use portcullis_core::version::Version;
use portcullis_core::wire::{Id, Message};
use smallvec::SmallVec;

use self::awaited::Awaited;
use crate::answer::gateway_denial;
use crate::desk::Desk;
use crate::identify::Account;
use crate::random;
use crate::seal::Sealer;
use crate::settings::SessionSettings;

/// Server requests of one session that may wait for the client's answer. A server that asks more is not answered by us, only forgotten:
/// the oldest cannot be told from the hostile, so new ones are refused.
const WAITING_REQUESTS: usize = 256;
const SHARDS: usize = 16;
/// How long a session must be idle before it may make room for another of its caller. Unit: milliseconds.
const IDLE_ENOUGH: u64 = 60_000;

/// One session.
#[derive(Debug)]
pub(crate) struct Session {
    pub(crate) key: SessionKey,
    /// Digest for the log.
    pub(crate) hash: Arc<str>,
    /// The sealed id the client holds.
    pub(crate) sealed: String,
    pub(crate) owner: Arc<Account>,
    /// Where it was opened; elsewhere it is unknown.
    pub(crate) home: Home,
    /// Set when the `initialize` result passes.
    version: OnceLock<Version>,
    /// What the client declared in `initialize`; holds for the session.
    pub(crate) declared: Declared,
    /// What was answered to `initialize`, for a client that can say it again on another connection (J9).
    greeting: OnceLock<Message>,
    /// Where its messages wait, if they have one connection for all of them.
    desk: OnceLock<Arc<Desk>>,
    seated: AtomicBool,
    last_used: AtomicU64,
    open_streams: AtomicUsize,
    /// The client set a level at which warnings are heard.
    warns: AtomicBool,
    /// What it asked of servers that lasts. Most ask for nothing.
    awaited: OnceLock<Box<Awaited>>,
    /// Held by the message that is being judged, where the order of judgements matters. Waiting for it stops no thread.
    turn: tokio::sync::Mutex<()>,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// With the servers that they were sent to.
    in_flight: HashMap<Id, Targets>,
    /// Server requests the client has yet to answer, with their method.
    asked: HashMap<Id, Arc<str>>,
    history: History,
    /// Servers of the endpoint that this session was refused.
    without: Targets,
}

/// Places of servers in their endpoint. Nearly always one.
pub(crate) type Targets = SmallVec<[usize; 2]>;

/// The endpoint of a session.
#[derive(Clone, Debug)]
pub(crate) struct Home {
    pub(crate) path: Arc<str>,
    /// Several servers are behind it.
    pub(crate) several: bool,
}

/// All sessions of this process.
#[derive(Debug)]
pub(crate) struct Sessions {
    shards: [RwLock<HashMap<SessionKey, Arc<Session>>>; SHARDS],
    count: AtomicUsize,
    settings: SessionSettings,
}

/// A request id in progress; free again when dropped.
#[derive(Debug)]
pub(crate) struct InFlight {
    session: Arc<Session>,
    id: Id,
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.session.state().in_flight.remove(&self.id);
    }
}

/// An open stream keeps its session from expiring.
#[derive(Debug)]
pub(crate) struct StreamGuard(Arc<Session>);

impl Drop for StreamGuard {
    fn drop(&mut self) {
        self.0.open_streams.fetch_sub(1, Ordering::AcqRel);
    }
}

/// A session whose `initialize` is still under way.
#[derive(Debug)]
pub(crate) struct Opening {
    sessions: Arc<Sessions>,
    session: Option<Arc<Session>>,
}

impl Opening {
    pub(crate) fn new(sessions: &Arc<Sessions>, session: &Arc<Session>) -> Self {
        Self { sessions: Arc::clone(sessions), session: Some(Arc::clone(session)) }
    }

    /// The server agreed: the session lives.
    pub(crate) fn opened(mut self, version: Version) {
        if let Some(session) = self.session.take() {
            session.negotiated(version);
        }
    }
}

impl Drop for Opening {
    fn drop(&mut self) {
        if let Some(session) = self.session.take() {
            self.sessions.end(session.key);
        }
    }
}

impl Session {
    fn state(&self) -> MutexGuard<'_, State> {
        // The state stays consistent at every point where a panic could happen, so a poisoned lock is still good.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn version(&self) -> Option<Version> {
        self.version.get().copied()
    }

    /// The version both sides agreed on; the first call counts.
    pub(crate) fn negotiated(&self, version: Version) {
        let _already = self.version.set(version);
    }

    pub(crate) fn touch(&self, now: Timestamp) {
        self.last_used.fetch_max(now.0, Ordering::Relaxed);
    }

    /// What was answered to `initialize`.
    pub(crate) fn greeted(&self, greeting: Message) {
        let _already = self.greeting.set(greeting);
    }

    pub(crate) fn greeting(&self) -> Option<&Message> {
        self.greeting.get()
    }

    /// Where its messages wait for the connection that has it.
    pub(crate) fn desk(&self) -> &Arc<Desk> {
        self.desk.get_or_init(Desk::new)
    }

    /// Whether it had a connection before; from now on it has.
    pub(crate) fn was_seated(&self) -> bool {
        self.seated.swap(true, Ordering::AcqRel)
    }

    /// Nobody can come back: it has been idle for ever, once nothing of it is in progress.
    pub(crate) fn leave(&self) {
        self.last_used.store(0, Ordering::Relaxed);
    }

    /// Registers a request id (A34).
    pub(crate) fn begin(self: &Arc<Self>, id: &Id, targets: Targets) -> Result<InFlight, Violation> {
        match self.state().in_flight.entry(id.clone()) {
            Entry::Occupied(_) => return Err(Violation::IdInUse),
            Entry::Vacant(free) => free.insert(targets),
        };
        Ok(InFlight { session: Arc::clone(self), id: id.clone() })
    }

    pub(crate) fn tell_warnings(&self, wanted: bool) {
        self.warns.store(wanted, Ordering::Relaxed);
    }

    pub(crate) fn tells_warnings(&self) -> bool {
        self.warns.load(Ordering::Relaxed)
    }

    /// Where the request in progress with this id was sent.
    pub(crate) fn targets(&self, id: &Id) -> Option<Targets> {
        self.state().in_flight.get(id).cloned()
    }

    /// A server of the endpoint does not take part in this session: policies refused it the `initialize`.
    pub(crate) fn goes_without(&self, at: usize) {
        let mut state = self.state();
        if !state.without.contains(&at) {
            state.without.push(at);
        }
    }

    pub(crate) fn is_without(&self, at: usize) -> bool {
        self.state().without.contains(&at)
    }

    pub(crate) fn stream(self: &Arc<Self>) -> StreamGuard {
        self.open_streams.fetch_add(1, Ordering::AcqRel);
        StreamGuard(Arc::clone(self))
    }

    /// The server asks the client something; the answer is expected from now on. `false` when too much is waiting already.
    pub(crate) fn asked(&self, id: &Id, method: &str) -> bool {
        let mut state = self.state();
        if state.asked.len() >= WAITING_REQUESTS {
            return false;
        }
        state.asked.insert(id.clone(), Arc::from(method));
        true
    }

    /// Takes the method of the server request that `id` answers (I5). One answer per request.
    pub(crate) fn answered(&self, id: &Id) -> Option<Arc<str>> {
        self.state().asked.remove(id)
    }

    /// Judges a message of this session and counts it, if it is a call and cleared. Where a guard looks at the counts, messages are judged one
    /// after the other: each sees all calls that were cleared before it, no two see the same count, and one that is refused was never
    /// counted. A number given out ahead of the verdict and taken back later would meanwhile refuse others that should pass.
    pub(crate) async fn judge(&self, gate: &Arc<Gate>, call: &mut Call) -> Judgement {
        // Without such a guard the order is nobody's concern, and a session's calls need not wait for each other.
        let turn = if gate.heeds_tally() { Some(self.turn.lock().await) } else { None };
        // Nothing waits from here on.
        if turn.is_some() {
            let tally = self.seen_from(call, self.state().history.seen_by(self.called_tool(call).as_deref()));
            if let Some(session) = &mut Arc::make_mut(&mut call.context).session {
                session.tally = Some(tally);
            }
        }
        let judgement = gate.judge(call.clone());
        if let (Verdict::Cleared(..), Some(tool)) = (&judgement.verdict, self.called_tool(call)) {
            self.state().history.count(&tool);
        }
        judgement
    }

    /// What was called by now, for what the server sends in reply to `call`.
    pub(crate) fn so_far(&self, call: &Call) -> Tally {
        self.seen_from(call, self.state().history.so_far(self.called_tool(call).as_deref()))
    }

    /// The tool that a message calls, with an id or without. Of several servers each has tools of its own, whatever they are called.
    fn called_tool<'a>(&self, call: &'a Call) -> Option<Cow<'a, str>> {
        let message = call.message().filter(|message| message.method() == Some("tools/call"))?;
        let name = message.name().unwrap_or_default();
        Some(if self.home.several {
            Cow::Owned(format!("{}:{name}", call.context.server))
        } else {
            Cow::Borrowed(name)
        })
    }

    /// The tools of the server that the call is for by their own names, those of others as `SERVER:TOOL`: policies about one server read the
    /// same wherever it is reached, and no server's tool passes for another's. An own name with a colon in it keeps its server.
    fn seen_from(&self, call: &Call, tally: Tally) -> Tally {
        if !self.home.several {
            return tally;
        }
        let server = &call.context.server;
        let seen = |name: &Arc<str>| {
            let own = name.strip_prefix(&**server).and_then(|rest| rest.strip_prefix(':'));
            own.filter(|own| !own.contains(':')).map_or_else(|| Arc::clone(name), Arc::from)
        };
        Tally {
            last_tools: tally.last_tools.iter().map(seen).collect(),
            used_tools: tally.used_tools.map(|used| used.iter().map(seen).collect()),
            ..tally
        }
    }

    /// The session as guards see it, until its tally is known.
    pub(crate) fn facts(&self) -> call::Session {
        call::Session { key: self.key, hash: Arc::clone(&self.hash), tally: None }
    }
}

impl Sessions {
    pub(crate) fn new(settings: SessionSettings) -> Self {
        Self { shards: Default::default(), count: AtomicUsize::new(0), settings }
    }

    fn shard(&self, key: SessionKey) -> Option<&RwLock<HashMap<SessionKey, Arc<Session>>>> {
        // Keys are random, so their low bits spread evenly.
        self.shards.get(usize::try_from(key.0 % SHARDS as u128).unwrap_or(0))
    }

    /// Opens a session for `owner`.
    pub(crate) fn open(
        &self,
        owner: &Arc<Account>,
        sealer: &Sealer,
        now: Timestamp,
        declared: Declared,
        home: Home,
    ) -> Result<Arc<Session>, Denial> {
        let total = self.count.fetch_add(1, Ordering::AcqRel);
        let own = owner.sessions.fetch_add(1, Ordering::AcqRel);
        let opened = if total >= self.settings.total {
            Err(too_many(format!("limit of {} sessions in total", self.settings.total)))
        } else if own >= self.settings.per_caller {
            let (limit, name) = (self.settings.per_caller, owner.name());
            Err(too_many(format!("limit of {limit} sessions for `{name}`")))
        } else {
            self.insert(owner, sealer, now, declared, home)
                .ok_or_else(|| too_many("no entropy for a session id".to_owned()))
        };
        if opened.is_err() {
            self.count.fetch_sub(1, Ordering::AcqRel);
            owner.sessions.fetch_sub(1, Ordering::AcqRel);
        }
        opened
    }

    fn insert(
        &self,
        owner: &Arc<Account>,
        sealer: &Sealer,
        now: Timestamp,
        declared: Declared,
        home: Home,
    ) -> Option<Arc<Session>> {
        let bytes = random::bytes::<16>()?;
        let key = SessionKey(u128::from_be_bytes(bytes));
        let sealed = sealer.seal("session", &owner.owner, &bytes)?;
        let hash = hex(digest(&SHA256, &bytes).as_ref().get(..8).unwrap_or_default());
        let session = Arc::new(Session {
            key,
            hash: Arc::from(hash),
            sealed,
            owner: Arc::clone(owner),
            home,
            version: OnceLock::new(),
            declared,
            greeting: OnceLock::new(),
            desk: OnceLock::new(),
            seated: AtomicBool::new(false),
            last_used: AtomicU64::new(now.0),
            open_streams: AtomicUsize::new(0),
            warns: AtomicBool::new(false),
            awaited: OnceLock::new(),
            turn: tokio::sync::Mutex::const_new(()),
            state: Mutex::default(),
        });
        let mut shard = self.shard(key)?.write().unwrap_or_else(PoisonError::into_inner);
        shard.insert(key, Arc::clone(&session));
        Some(session)
    }

    /// The live session a sealed id stands for, if it is `owner`'s and of the endpoint at `path`. Forged, ended, expired and foreign ids look
    /// all the same (A24).
    pub(crate) fn find(
        &self,
        owner: &Account,
        sealer: &Sealer,
        sealed: &str,
        now: Timestamp,
        path: &str,
    ) -> Result<Arc<Session>, Violation> {
        let bytes = sealer.open("session", &owner.owner, sealed).ok_or(Violation::SessionUnknown)?;
        let bytes = <[u8; 16]>::try_from(bytes.as_slice()).map_err(|_| Violation::SessionUnknown)?;
        let key = SessionKey(u128::from_be_bytes(bytes));
        let shard = self.shard(key).ok_or(Violation::SessionUnknown)?;
        let session = shard.read().unwrap_or_else(PoisonError::into_inner).get(&key).cloned();
        let session = session.filter(|session| *session.home.path == *path).ok_or(Violation::SessionUnknown)?;
        session.touch(now);
        Ok(session)
    }

    /// The live session of a key, for what goes on by itself.
    pub(crate) fn known(&self, key: SessionKey) -> Option<Arc<Session>> {
        self.shard(key)?.read().unwrap_or_else(PoisonError::into_inner).get(&key).cloned()
    }

    /// Ends a session. `false` when it had ended before.
    pub(crate) fn end(&self, key: SessionKey) -> bool {
        let Some(shard) = self.shard(key) else { return false };
        let removed = shard.write().unwrap_or_else(PoisonError::into_inner).remove(&key);
        if let Some(session) = &removed {
            self.count.fetch_sub(1, Ordering::AcqRel);
            session.owner.sessions.fetch_sub(1, Ordering::AcqRel);
        }
        removed.is_some()
    }

    /// Ends the longest idle session of the caller that owns `newest`, if one has been idle for a minute, and returns its key and
    /// digest. Less would let live clients of one caller push each other out between two calls.
    pub(crate) fn end_longest_idle(&self, newest: SessionKey, now: Timestamp) -> Option<(SessionKey, Arc<str>)> {
        let owner = {
            let shard = self.shard(newest)?.read().unwrap_or_else(PoisonError::into_inner);
            Arc::clone(&shard.get(&newest)?.owner)
        };
        let mut longest: Option<(u64, Arc<Session>)> = None;
        for shard in &self.shards {
            let shard = shard.read().unwrap_or_else(PoisonError::into_inner);
            let idle = shard.values().filter(|session| {
                session.key != newest && session.owner.owner == owner.owner && session.is_idle(now, IDLE_ENOUGH)
            });
            longest = idle
                .map(|session| (session.last_used.load(Ordering::Relaxed), Arc::clone(session)))
                .chain(longest)
                .min_by_key(|(last_used, _)| *last_used);
        }
        let (_, session) = longest?;
        self.end(session.key).then(|| (session.key, Arc::clone(&session.hash)))
    }

    /// Ends every session that was idle for too long and returns their keys, for the upstream to forget.
    pub(crate) fn expire(&self, now: Timestamp) -> Vec<SessionKey> {
        let idle = self.settings.idle_seconds.saturating_mul(1000);
        let mut expired = Vec::new();
        for shard in &self.shards {
            let shard = shard.read().unwrap_or_else(PoisonError::into_inner);
            expired.extend(shard.values().filter(|session| session.is_idle(now, idle)).map(|session| session.key));
        }
        expired.retain(|key| self.end(*key));
        expired
    }

    pub(crate) fn len(&self) -> usize {
        self.count.load(Ordering::Acquire)
    }
}

impl Session {
    fn is_idle(&self, now: Timestamp, idle_millis: u64) -> bool {
        self.open_streams.load(Ordering::Acquire) == 0
            && self.state().in_flight.is_empty()
            && now.0.saturating_sub(self.last_used.load(Ordering::Relaxed)) >= idle_millis
    }
}

fn too_many(detail: String) -> Denial {
    gateway_denial(DenialCode::TooManySessions, "too many open sessions; end one with DELETE", detail)
}

#[cfg(test)]
mod tests;
