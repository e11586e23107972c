//! The paths of a listener and the servers behind each: one server under its own names, or several behind one face.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use arc_swap::ArcSwap;
use portcullis_core::catalogue::Catalogue;
use portcullis_core::clock::Timestamp;
use portcullis_core::naming::Names;
use portcullis_core::upstream::Upstream;

use crate::gateway::{Plan, SetupError};
use crate::session::Home;

/// Pause between two refreshes of a server's catalogue that callers can cause. A stdio server is started for each, so a second would be too
/// little; a new tool that its server did not announce is known within this time. Unit: milliseconds.
const REFRESH_PAUSE: u64 = 10_000;

/// One path of the listener, before it serves.
#[derive(Debug)]
pub struct EndpointParts {
    /// Begins with `/`; no other endpoint has it.
    pub path: String,
    /// At least one; in the order that merged lists have.
    pub servers: Vec<Arc<dyn Upstream>>,
    /// How several servers are told apart; needed when there is more than one.
    pub merging: Option<Merging>,
    pub plan: Plan,
}

/// Several servers behind one face.
#[derive(Clone, Debug)]
pub struct Merging {
    /// Of the servers, in their order.
    pub names: Arc<Names>,
    /// What a list says while a server cannot be reached.
    pub missing: Missing,
    /// How long a merged answer waits for each server.
    pub deadline: Duration,
}

/// What a merged list does about a server that fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Missing {
    /// The list of the others, which says who is missing.
    Partial,
    /// No list.
    Strict,
}

/// One path and what serves it.
#[derive(Debug)]
pub(crate) struct Endpoint {
    pub(crate) path: Arc<str>,
    pub(crate) servers: Vec<Arc<Server>>,
    /// The first of them, and the only one where there is no merging.
    pub(crate) first: Arc<Server>,
    /// Of the servers.
    pub(crate) names: Vec<Arc<str>>,
    pub(crate) merging: Option<Merging>,
    /// A reload swaps it; a call keeps the one it began with.
    pub(crate) plan: ArcSwap<Plan>,
}

/// A server as callers reach it here.
#[derive(Debug)]
pub(crate) struct Server {
    pub(crate) upstream: Arc<dyn Upstream>,
    /// When an unknown tool last made us ask for the list. Unit: milliseconds since the epoch.
    refreshed: AtomicU64,
}

/// All paths of a listener.
#[derive(Debug)]
pub(crate) struct Endpoints(Vec<Arc<Endpoint>>);

impl Endpoints {
    /// # Errors
    /// No endpoint, two of one path, or one that nothing serves.
    pub(crate) fn new(parts: Vec<EndpointParts>) -> Result<Self, SetupError> {
        let mut endpoints: Vec<Arc<Endpoint>> = Vec::with_capacity(parts.len());
        for EndpointParts { path, servers, merging, plan } in parts {
            if !path.starts_with('/') {
                return Err(SetupError(format!("path: `{path}` must begin with `/`")));
            }
            if endpoints.iter().any(|other| *other.path == *path) {
                return Err(SetupError(format!("path: `{path}` is served twice")));
            }
            let names = servers.iter().map(|upstream| Arc::clone(upstream.name())).collect();
            let servers: Vec<_> = servers.into_iter().map(|upstream| Arc::new(Server::new(upstream))).collect();
            let first = servers.first().filter(|_| servers.len() == 1 || merging.is_some()).map(Arc::clone);
            let first = first.ok_or_else(|| {
                SetupError(format!("path: `{path}` needs one server, or several and a way to tell them apart"))
            })?;
            endpoints.push(Arc::new(Endpoint {
                path: path.into(),
                servers,
                first,
                names,
                merging,
                plan: ArcSwap::from_pointee(plan),
            }));
        }
        if endpoints.is_empty() {
            return Err(SetupError("there is nothing to serve".to_owned()));
        }
        Ok(Self(endpoints))
    }

    pub(crate) fn at(&self, path: &str) -> Option<&Arc<Endpoint>> {
        self.0.iter().find(|endpoint| *endpoint.path == *path)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Arc<Endpoint>> {
        self.0.iter()
    }

    /// Every server of every endpoint; one that is behind several comes as often.
    pub(crate) fn servers(&self) -> impl Iterator<Item = &Arc<Server>> {
        self.0.iter().flat_map(|endpoint| &endpoint.servers)
    }
}

impl Endpoint {
    pub(crate) fn reload(&self, plan: Plan) {
        plan.gate.inherit(&self.plan.load().gate);
        self.plan.store(Arc::new(plan));
    }

    pub(crate) fn home(&self) -> Home {
        Home { path: Arc::clone(&self.path), several: self.merging.is_some() }
    }

    /// What every server offers now, in their order.
    pub(crate) fn known(&self) -> Vec<Arc<Catalogue>> {
        self.servers.iter().map(|server| server.upstream.catalogue()).collect()
    }
}

impl Server {
    fn new(upstream: Arc<dyn Upstream>) -> Self {
        Self { upstream, refreshed: AtomicU64::new(0) }
    }

    pub(crate) fn name(&self) -> &Arc<str> {
        self.upstream.name()
    }

    /// Whether an unknown tool may make us ask the server for its list now: at most once in [`REFRESH_PAUSE`], whoever calls.
    pub(crate) fn may_refresh(&self, now: Timestamp) -> bool {
        let last = self.refreshed.load(Ordering::Acquire);
        let due = now.0.saturating_sub(last) >= REFRESH_PAUSE;
        due && self.refreshed.compare_exchange(last, now.0, Ordering::AcqRel, Ordering::Relaxed).is_ok()
    }
}
