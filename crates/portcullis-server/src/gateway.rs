//! Everything an exchange needs, behind one `Arc`. The plan is an immutable snapshot that a reload swaps; a call keeps the one it began with.

use std::fmt;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};

use arc_swap::ArcSwap;
use portcullis_core::call::Call;
use portcullis_core::clock::{Clock, Timestamp};
use portcullis_core::gate::{Gate, Inspector};
use portcullis_core::ledger::Ledger;
use portcullis_core::refusal::{Fault, FaultKind};
use portcullis_core::upstream::Upstream;
use portcullis_core::version::Era;
use portcullis_core::wire::Limits;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::identify::Directory;
use crate::origin::OriginRule;
use crate::seal::Sealer;
use crate::session::Sessions;
use crate::settings::{IdentitySettings, Refusals, ServerSettings};
use crate::signal::Signal;

/// Pause between two refreshes of the catalogue that callers can cause. A stdio server is started for each, so a second would be too
/// little; a new tool that its server did not announce is known within this time. Unit: milliseconds.
const REFRESH_PAUSE: u64 = 10_000;

/// What is decided by: guards, and the form refusals take.
#[derive(Clone, Debug)]
pub struct Plan {
    pub gate: Arc<Gate>,
    /// Digest of configuration and policies; stands in every log entry.
    pub digest: Arc<str>,
    pub refusals: Refusals,
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
    pub(crate) sessions: Arc<Sessions>,
    /// Bytes of the request bodies of all callers.
    pub(crate) held: Arc<AtomicUsize>,
    pub(crate) sealer: Sealer,
    /// Set once the real port is known.
    pub(crate) origins: OnceLock<OriginRule>,
    /// When an unknown tool last made us ask the server for its list. Unit: milliseconds since the epoch.
    refreshed: AtomicU64,
    /// Work that outlives its request.
    pub(crate) tasks: TaskTracker,
    /// No new requests; standing streams end.
    pub(crate) draining: Signal,
    /// Standing streams that were opened under the plan in force. A reload ends them: clients open them anew and are judged anew.
    pub(crate) standing: ArcSwap<CancellationToken>,
    /// Open calls are answered with an error now.
    pub(crate) overdue: Signal,
    /// Fires when their answers had time to be written, too: what is still open is dropped, which closes its entries.
    pub(crate) cut_off: Signal,
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
        let draining = Signal::default();
        Ok(Arc::new(Self {
            limits: settings.limits.reader(),
            plan: ArcSwap::from_pointee(plan),
            held: Arc::default(),
            sessions: Arc::new(Sessions::new(settings.sessions.clone())),
            directory: ArcSwap::from_pointee(directory),
            sealer,
            origins: OnceLock::new(),
            refreshed: AtomicU64::new(0),
            tasks: TaskTracker::new(),
            standing: ArcSwap::from_pointee(draining.token().child_token()),
            draining,
            overdue: Signal::default(),
            cut_off: Signal::default(),
            upstream,
            ledger,
            clock,
            settings,
        }))
    }

    /// Swaps the plan. Every message from now on is judged by the new one, in old sessions too.
    pub fn reload(&self, plan: Plan) {
        plan.gate.inherit(&self.plan.load().gate);
        self.plan.store(Arc::new(plan));
        self.end_standing();
    }

    fn end_standing(&self) {
        self.standing.swap(Arc::new(self.draining.token().child_token())).cancel();
    }

    /// Swaps who may call. A key that is gone opens nothing from now on, not even the sessions it opened before.
    ///
    /// # Errors
    /// Settings that contradict themselves; the old ones stay in force.
    pub fn reload_identity(&self, identity: &IdentitySettings) -> Result<(), SetupError> {
        let loopback = self.settings.listen.ip().is_loopback();
        let renewed = Directory::new(identity, loopback, Some(&self.directory.load())).map_err(SetupError)?;
        self.directory.store(Arc::new(renewed));
        self.end_standing();
        Ok(())
    }

    /// Open legacy sessions.
    #[must_use]
    pub fn open_sessions(&self) -> usize {
        self.sessions.len()
    }

    /// Whether an unknown tool may make us ask the server for its list now: at most once in [`REFRESH_PAUSE`], whoever calls.
    pub(crate) fn may_refresh(&self, now: Timestamp) -> bool {
        let last = self.refreshed.load(Ordering::Acquire);
        let due = now.0.saturating_sub(last) >= REFRESH_PAUSE;
        due && self.refreshed.compare_exchange(last, now.0, Ordering::AcqRel, Ordering::Relaxed).is_ok()
    }

    /// Tells a legacy server that nobody waits for this call any more (A36, B10); a modern one learns it from the closed stream.
    pub(crate) fn cancel(self: &Arc<Self>, inspector: &Inspector, reason: &'static str) {
        if inspector.call().era() == Era::Modern {
            return;
        }
        let Some(cancelled) = inspector.cancellation(reason) else { return };
        let gateway = Arc::clone(self);
        self.tasks.spawn(async move {
            if let Err(fault) = gateway.upstream.send(cancelled).await {
                gateway.ledger.count("fault", fault.kind.code());
            }
        });
    }

    /// A session the server lost is over for the client too: its next request gets 404 and it initializes again (A24, B7).
    pub(crate) fn session_lost(&self, call: &Call, fault: &Fault) {
        if let (FaultKind::SessionLost, Some(session)) = (&fault.kind, &call.context.session) {
            self.sessions.end(session.key);
        }
    }
}
