//! Everything an exchange needs, behind one `Arc`. The plan is an immutable snapshot that a reload swaps; a call keeps the one it began with.

use std::fmt;
use std::net::SocketAddr;
use std::sync::{Arc, OnceLock};

use arc_swap::ArcSwap;
use portcullis_core::clock::Clock;
use portcullis_core::gate::Gate;
use portcullis_core::ledger::{Ledger, Record, Refused};
use portcullis_core::refusal::Violation;
use portcullis_core::upstream::Upstream;
use portcullis_core::wire::Limits;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::answer::{Asked, Refusal};
use crate::identify::Directory;
use crate::origin::OriginRule;
use crate::seal::Sealer;
use crate::session::Sessions;
use crate::settings::{IdentitySettings, ServerSettings};

/// What is decided by: guards, and the form refusals take.
#[derive(Clone, Debug)]
pub struct Plan {
    pub gate: Arc<Gate>,
    /// Digest of configuration and policies; stands in every log entry.
    pub digest: Arc<str>,
    pub refusals: Refusals,
}

/// The form in which a visible tool is refused for its arguments.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Refusals {
    /// A tool result with `isError: true` that carries the policy's `@reason`: the model reads it and can correct itself.
    #[default]
    Result,
    /// A JSON-RPC error.
    Error,
}

/// Why a gateway cannot be set up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SetupError(pub String);

impl fmt::Display for SetupError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for SetupError {}

/// One listener's worth of gateway: callers, sessions, plan, upstream, ledger.
#[derive(Debug)]
pub struct Gateway {
    pub(crate) settings: ServerSettings,
    pub(crate) limits: Limits,
    pub(crate) plan: ArcSwap<Plan>,
    pub(crate) upstream: Arc<dyn Upstream>,
    pub(crate) ledger: Arc<dyn Ledger>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) directory: ArcSwap<Directory>,
    pub(crate) sessions: Sessions,
    pub(crate) sealer: Sealer,
    /// Set once the real port is known.
    pub(crate) origins: OnceLock<OriginRule>,
    /// Work that outlives its request.
    pub(crate) tasks: TaskTracker,
    /// No new requests; standing streams end.
    pub(crate) draining: CancellationToken,
    /// Open calls are answered with an error now.
    pub(crate) overdue: CancellationToken,
}

impl Gateway {
    /// Puts the parts together; opens no socket.
    ///
    /// # Errors
    /// Settings that contradict themselves, or no entropy for the sealing key.
    pub fn new(
        settings: ServerSettings,
        plan: Plan,
        upstream: Arc<dyn Upstream>,
        ledger: Arc<dyn Ledger>,
        clock: Arc<dyn Clock>,
    ) -> Result<Arc<Self>, SetupError> {
        let directory =
            Directory::new(&settings.identity, settings.listen.ip().is_loopback(), None).map_err(SetupError)?;
        if !settings.path.starts_with('/') {
            return Err(SetupError(format!("path: `{}` must begin with `/`", settings.path)));
        }
        let sealer = Sealer::new().ok_or_else(|| SetupError("the operating system has no entropy".to_owned()))?;
        Ok(Arc::new(Self {
            limits: settings.limits.reader(),
            plan: ArcSwap::from_pointee(plan),
            sessions: Sessions::new(settings.sessions.clone()),
            directory: ArcSwap::from_pointee(directory),
            sealer,
            origins: OnceLock::new(),
            tasks: TaskTracker::new(),
            draining: CancellationToken::new(),
            overdue: CancellationToken::new(),
            upstream,
            ledger,
            clock,
            settings,
        }))
    }

    /// Swaps the plan. Every message from now on is judged by the new one, in old sessions too.
    pub fn reload(&self, plan: Plan) {
        self.plan.store(Arc::new(plan));
    }

    /// Swaps who may call. A key that is gone opens nothing from now on, not even the sessions it opened before.
    ///
    /// # Errors
    /// Settings that contradict themselves; the old ones stay in force.
    pub fn reload_identity(&self, identity: &IdentitySettings) -> Result<(), SetupError> {
        let loopback = self.settings.listen.ip().is_loopback();
        let renewed = Directory::new(identity, loopback, Some(&self.directory.load())).map_err(SetupError)?;
        self.directory.store(Arc::new(renewed));
        Ok(())
    }

    /// Open legacy sessions.
    #[must_use]
    pub fn open_sessions(&self) -> usize {
        self.sessions.len()
    }

    /// Counts and records something that never became a call.
    pub(crate) fn record_refused(&self, refusal: &Refusal, facts: &RefusedFacts, asked: &Asked) {
        self.ledger.count(refusal.family(), refusal.code());
        let refused = Refused {
            at: self.clock.now(),
            family: refusal.family(),
            code: refusal.code(),
            detail: Some(refusal.detail()),
            peer: Some(facts.peer.ip().to_string()),
            caller: facts.caller.clone(),
            bytes: facts.bytes as u64,
            http_status: Some(refusal.answer(asked).status.as_u16()),
            trace_id: facts.trace_id.clone(),
        };
        // The refusal stands whether or not it can be recorded; the ledger counts what it loses.
        let _lost = self.ledger.append(Record::Refused(Box::new(refused)));
    }

    /// Counts and records a connection that never came to a request.
    pub(crate) fn record_hung_up(&self, violation: Violation, peer: SocketAddr) {
        let facts = RefusedFacts { peer, caller: None, trace_id: None, bytes: 0 };
        self.record_refused(&Refusal::Violation(violation), &facts, &Asked::default());
    }
}

/// What is known of a request that was refused early.
#[derive(Debug)]
pub(crate) struct RefusedFacts {
    pub(crate) peer: SocketAddr,
    pub(crate) caller: Option<String>,
    /// Of the client's own trace, if it sent one.
    pub(crate) trace_id: Option<String>,
    pub(crate) bytes: usize,
}
