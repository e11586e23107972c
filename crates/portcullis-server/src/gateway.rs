//! Everything an exchange needs, behind one `Arc`. The plan is an immutable snapshot that a reload swaps; a call keeps the one it began with.

use std::fmt;
use std::sync::atomic::AtomicUsize;
use std::sync::{Arc, OnceLock, Weak};

use arc_swap::ArcSwap;
use http::HeaderMap;
use portcullis_core::call::{Call, SessionKey};
use portcullis_core::clock::Clock;
use portcullis_core::gate::{Gate, Inspector};
use portcullis_core::ledger::Ledger;
use portcullis_core::memory::{Embedded, Memory};
use portcullis_core::refusal::{Fault, FaultKind, Violation};
use portcullis_core::upstream::Upstream;
use portcullis_core::version::Era;
use portcullis_core::wire::Limits;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::cors::Page;
use crate::endpoint::{EndpointParts, Endpoints, Server};
use crate::identify::Directory;
use crate::origin::OriginRule;
use crate::proxies::{Proxies, Via};
use crate::record;
use crate::seal::Sealer;
use crate::session::Sessions;
use crate::settings::{IdentitySettings, Refusals, ServerSettings};
use crate::signal::Signal;
use crate::tls::Tls;

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

/// One listener's worth of gateway: callers, sessions, endpoints, ledger.
#[derive(Debug)]
pub struct Gateway {
    pub(crate) settings: ServerSettings,
    pub(crate) limits: Limits,
    pub(crate) endpoints: Endpoints,
    pub(crate) ledger: Arc<dyn Ledger>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) directory: ArcSwap<Directory>,
    pub(crate) sessions: Arc<Sessions>,
    /// What was used once: nonces of signatures, proofs of possession.
    pub(crate) memory: Arc<dyn Memory>,
    /// Bytes of the request bodies of all callers.
    pub(crate) held: Arc<AtomicUsize>,
    pub(crate) sealer: Sealer,
    pub(crate) proxies: Proxies,
    pub(crate) tls: Option<Tls>,
    /// Set once the real port is known.
    pub(crate) origins: OnceLock<OriginRule>,
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
    /// One server, under `settings.path`.
    ///
    /// # Errors
    /// Those of [`Gateway::with_endpoints`].
    pub fn new(
        settings: ServerSettings,
        plan: Plan,
        upstream: Arc<dyn Upstream>,
        ledger: Arc<dyn Ledger>,
        clock: Arc<dyn Clock>,
    ) -> Result<Arc<Self>, SetupError> {
        let only = EndpointParts { path: settings.path.clone(), servers: vec![upstream], merging: None, plan };
        Self::with_endpoints(settings, vec![only], ledger, clock)
    }

    /// Puts the parts together; opens no socket.
    ///
    /// # Errors
    /// Settings that contradict themselves, endpoints that cannot be served, or no entropy for the sealing key.
    pub fn with_endpoints(
        settings: ServerSettings,
        endpoints: Vec<EndpointParts>,
        ledger: Arc<dyn Ledger>,
        clock: Arc<dyn Clock>,
    ) -> Result<Arc<Self>, SetupError> {
        let directory = Directory::new(&settings, &settings.identity, None).map_err(SetupError)?;
        let endpoints = Endpoints::new(endpoints)?;
        settings.contradictions().into_iter().next().map_or(Ok(()), |why| Err(SetupError(why)))?;
        let proxies = Proxies::new(&settings.trusted_proxies).map_err(SetupError)?;
        let tls = settings.tls.as_ref().map(Tls::new).transpose().map_err(SetupError)?;
        let sealer = Sealer::new().ok_or_else(|| SetupError("the operating system has no entropy".to_owned()))?;
        let draining = Signal::default();
        let gateway = Arc::new(Self {
            limits: settings.limits.reader(),
            endpoints,
            held: Arc::default(),
            memory: Arc::new(Embedded::new(settings.limits.used_proofs)),
            sessions: Arc::new(Sessions::new(settings.sessions.clone())),
            directory: ArcSwap::from_pointee(directory),
            sealer,
            proxies,
            tls,
            origins: OnceLock::new(),
            tasks: TaskTracker::new(),
            standing: ArcSwap::from_pointee(draining.token().child_token()),
            draining,
            overdue: Signal::default(),
            cut_off: Signal::default(),
            ledger,
            clock,
            settings,
        });
        for server in gateway.endpoints.servers() {
            let listener: Weak<Self> = Arc::downgrade(&gateway);
            server.upstream.tell_renewals_to(listener);
        }
        Ok(gateway)
    }

    /// Swaps the plan of every endpoint. Every message from now on is judged by the new one, in old sessions too.
    pub fn reload(&self, plan: &Plan) {
        self.endpoints.iter().for_each(|endpoint| endpoint.reload(plan.clone()));
        self.end_standing();
    }

    /// Swaps the plan of each endpoint that is named by its path; others keep theirs.
    pub fn reload_plans(&self, plans: Vec<(String, Plan)>) {
        for (path, plan) in plans {
            if let Some(endpoint) = self.endpoints.at(&path) {
                endpoint.reload(plan);
            }
        }
        self.end_standing();
    }

    /// Whether a request by this way may ask anything at all, and the web page that asks, if one does.
    pub(crate) fn admit(&self, via: &Via, headers: &HeaderMap) -> Result<Option<Page>, Violation> {
        let rule = self.origins.get().ok_or(Violation::HostRefused)?;
        rule.admit(via.client().host.as_deref().unwrap_or_default(), headers)
    }

    fn end_standing(&self) {
        self.standing.swap(Arc::new(self.draining.token().child_token())).cancel();
    }

    /// Swaps who may call. A key that is gone opens nothing from now on, not even the sessions it opened before.
    ///
    /// # Errors
    /// Settings that contradict themselves; the old ones stay in force.
    pub fn reload_identity(&self, identity: &IdentitySettings) -> Result<(), SetupError> {
        let renewed = Directory::new(&self.settings, identity, Some(&self.directory.load())).map_err(SetupError)?;
        self.directory.store(Arc::new(renewed));
        self.end_standing();
        Ok(())
    }

    /// Reads the certificates again if their files have changed, or if `asked`. Those that cannot be used leave the old ones in force. Blocks
    /// on files.
    pub fn refresh_tls(&self, asked: bool) {
        match self.tls.as_ref().and_then(|tls| tls.refresh(asked)) {
            None => {}
            Some(Ok(())) => record::notice(self, "tls", "the certificates were read again".to_owned()),
            Some(Err(why)) => {
                tracing::error!("the old certificates stay in force: {why}");
                record::notice(self, "tls_kept", format!("the old certificates stay in force: {why}"));
            }
        }
    }

    /// Swaps the API keys and nothing else.
    ///
    /// # Errors
    /// What is wrong with them; the old ones stay in force.
    pub fn reload_keys(&self, identity: &IdentitySettings) -> Result<(), SetupError> {
        let renewed = self.directory.load().with_keys(identity).map_err(SetupError)?;
        self.directory.store(Arc::new(renewed));
        self.end_standing();
        Ok(())
    }

    /// Ends the servers' sides of a session that is over. Servers that never heard of it do nothing.
    pub(crate) async fn forget(&self, session: SessionKey) {
        for server in self.endpoints.servers() {
            server.upstream.forget(session).await;
        }
    }

    /// Open legacy sessions.
    #[must_use]
    pub fn open_sessions(&self) -> usize {
        self.sessions.len()
    }

    /// Tells a legacy server that nobody waits for this call any more (A36, B10); a modern one learns it from the closed stream.
    pub(crate) fn cancel(self: &Arc<Self>, server: &Arc<Server>, inspector: &Inspector, reason: &'static str) {
        if inspector.call().era() == Era::Modern {
            return;
        }
        let Some(cancelled) = inspector.cancellation(reason) else { return };
        let (gateway, server) = (Arc::clone(self), Arc::clone(server));
        self.tasks.spawn(async move {
            if let Err(fault) = server.upstream.send(cancelled).await {
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
