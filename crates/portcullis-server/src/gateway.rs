//! Everything an exchange needs, behind one `Arc`. The plan is an immutable snapshot that a reload swaps; a call keeps the one it began with.

use std::fmt;
use std::net::SocketAddr;
use std::sync::{Arc, OnceLock};

use arc_swap::ArcSwap;
use portcullis_core::clock::Clock;
use portcullis_core::gate::Gate;
use portcullis_core::ledger::{Ledger, Record, Refused};
use portcullis_core::upstream::Upstream;
use portcullis_core::wire::Limits;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::answer::{Asked, Refusal};
use crate::identify::Directory;
use crate::origin::OriginRule;
use crate::seal::Sealer;
use crate::session::Sessions;
use crate::settings::ServerSettings;

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
    pub(crate) directory: Directory,
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
        let directory = Directory::new(&settings.identity, settings.listen.ip().is_loopback()).map_err(SetupError)?;
        if !settings.path.starts_with('/') {
            return Err(SetupError(format!("path: `{}` must begin with `/`", settings.path)));
        }
        let sealer = Sealer::new().ok_or_else(|| SetupError("the operating system has no entropy".to_owned()))?;
        Ok(Arc::new(Self {
            limits: settings.limits.reader(),
            plan: ArcSwap::from_pointee(plan),
            sessions: Sessions::new(settings.sessions.clone()),
            directory,
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

    /// Open legacy sessions.
    #[must_use]
    pub fn open_sessions(&self) -> usize {
        self.sessions.len()
    }

    /// Counts and records something that never became a call.
    pub(crate) fn record_refused(&self, refusal: &Refusal, facts: RefusedFacts<'_>) {
        self.ledger.count(refusal.family(), refusal.code());
        let refused = Refused {
            at: self.clock.now(),
            family: refusal.family(),
            code: refusal.code(),
            detail: Some(refusal.detail()),
            peer: facts.peer.map(|peer| peer.ip().to_string()),
            caller: facts.caller.map(str::to_owned),
            bytes: facts.bytes as u64,
            http_status: Some(refusal.answer(facts.asked).status.as_u16()),
            trace_id: None,
        };
        // The refusal stands whether or not it can be recorded; the ledger counts what it loses.
        let _lost = self.ledger.append(Record::Refused(Box::new(refused)));
    }
}

/// What is known of a request that was refused early.
#[derive(Debug)]
pub(crate) struct RefusedFacts<'a> {
    pub(crate) peer: Option<SocketAddr>,
    pub(crate) caller: Option<&'a str>,
    pub(crate) bytes: usize,
    pub(crate) asked: &'a Asked,
}
