//! Putting the parts together, in the order in which each can refuse to start: policy, log, upstream, socket, and last the server itself.

mod endpoints;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use portcullis_core::catalogue::Catalogue;
use portcullis_core::clock::Clock;
use portcullis_core::ledger::Ledger;
use portcullis_core::refusal::{Fault, FaultKind};
use portcullis_core::upstream::Upstream;
use portcullis_ledger::{AuditError, AuditLog, Metrics};
use portcullis_server::{Bound, Gateway, SystemClock};
use portcullis_upstream::HealthBoard;
use tokio::net::TcpListener;

use super::{admin, notice};
use crate::commands::said;
use crate::config::Config;
use crate::exit::{Exit, Failure};
use crate::out;
use crate::plan::{self, Cared, Checked, Chosen, Known, Loaded};

/// Everything of a gateway that is ready to serve.
#[derive(Debug)]
pub(crate) struct Assembly {
    pub(crate) gateway: Arc<Gateway>,
    /// `None`: the program that started us is the one client.
    pub(crate) bound: Option<Bound>,
    /// In the order of the configuration.
    pub(crate) servers: Vec<Guarded>,
    pub(crate) board: Arc<HealthBoard>,
    /// What is asked for its health.
    pub(crate) checked: Vec<Checked>,
    pub(crate) ledger: Arc<AuditLog>,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) admin: Option<TcpListener>,
    pub(crate) chosen: Chosen,
    pub(crate) loaded: Loaded,
}

/// A server that was asked what it offers.
#[derive(Debug)]
pub(crate) struct Guarded {
    pub(crate) upstream: Arc<dyn Upstream>,
    /// What it offers, or why that is not known yet.
    pub(crate) answer: Result<Arc<Catalogue>, Fault>,
}

/// How long the start waits for the slowest of several servers. 10 s: those that are up have answered, and a child that must be downloaded
/// first does not hold up the others; it is asked on in the background.
const PATIENCE: Duration = Duration::from_secs(10);

/// Puts a gateway together and opens its sockets.
pub(crate) async fn assemble(config: &Config) -> Result<Assembly, Failure> {
    let chosen = plan::choose(config).ok_or_else(|| {
        Failure::usage(format!("no policy, and `{}` is reachable from the network", config.server.listen)).help(
            "give one with `--policy` (the preset `observe` permits and records everything), or listen on 127.0.0.1",
        )
    })?;
    if config.servers.is_empty() {
        return Err(Failure::usage("no server to guard")
            .help("name one: `--upstream URL`, or `-- COMMAND ARGS…`, or `upstream:` in the configuration"));
    }
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let metrics = Arc::new(Metrics::new());
    let ledger = open_log(config, Arc::clone(&clock), Arc::clone(&metrics))?;
    let record: Arc<dyn Ledger> = Arc::clone(&ledger) as Arc<dyn Ledger>;
    let board = Arc::new(plan::health_board(Arc::clone(&record), Arc::clone(&clock)));
    let (upstreams, checked): (Vec<_>, Vec<_>) =
        cared(config, &board, &record, &clock)?.into_iter().map(|cared| (cared.upstream, cared.checked)).unzip();
    let checked = checked.into_iter().flatten().collect();
    let admin = match config.admin {
        Some(address) => Some(admin::bind(address).await?),
        None => None,
    };

    // The plan without the servers' tools finds wrong files before a child is started; the sockets come next, so that a port in use
    // is told at once; the servers are asked last, because that can take a minute.
    let blind =
        plan::load(config, &chosen, &plan::known(config, |_| None)).map_err(|findings| said(&findings, Exit::Usage))?;
    let gateway = endpoints::gateway(config, &blind, &upstreams, record, clock)?;
    let bound = if config.stdio { None } else { Some(bind(config, &gateway).await?) };
    let servers = ask(config, upstreams).await;
    let loaded = match against(config, &chosen, &servers, blind) {
        Ok(loaded) => loaded,
        Err(failure) => {
            shut_down(&servers).await;
            return Err(failure);
        }
    };
    gateway.reload_plans(loaded.plans(config));
    let whom = bound.as_ref().map(|bound| format!("listening on {}", bound.local_addr));
    notice(ledger.as_ref(), "started", whom.unwrap_or_else(|| "serving the program that started us".to_owned()));
    notice(ledger.as_ref(), "plan", format!("plan {} in force", loaded.common.plan.digest));
    Ok(Assembly { gateway, bound, servers, board, checked, ledger, metrics, admin, chosen, loaded })
}

async fn bind(config: &Config, gateway: &Arc<Gateway>) -> Result<Bound, Failure> {
    gateway.bind().await.map_err(|error| {
        Failure::new(format!("cannot listen on {}: {error}", config.server.listen))
            .help("choose another address with `--listen`")
    })
}

/// Every server with everything around it, in the order of the configuration.
fn cared(
    config: &Config,
    board: &HealthBoard,
    record: &Arc<dyn Ledger>,
    clock: &Arc<dyn Clock>,
) -> Result<Vec<Cared>, Failure> {
    let chain = plan::chain_signer(config).map_err(|finding| said(&[*finding], Exit::Usage))?;
    let mut findings = Vec::new();
    let mut cared = Vec::with_capacity(config.servers.len());
    for server in &config.servers {
        match plan::make_upstream(config, server, board, Arc::clone(record), Arc::clone(clock), chain.clone()) {
            Ok(made) => cared.push(made),
            Err(found) => findings.extend(found),
        }
    }
    if findings.is_empty() { Ok(cared) } else { Err(said(&findings, Exit::Usage)) }
}

/// Asks all servers at once. Each has its own deadline; several are waited for together only for as long as is good for those that answer.
async fn ask(config: &Config, upstreams: Vec<Arc<dyn Upstream>>) -> Vec<Guarded> {
    let several = upstreams.len() > 1;
    let asking = config.servers.iter().zip(upstreams).map(|(server, upstream)| async move {
        tracing::info!(server = %server.name, "asking for its tools: {}", plan::describe_upstream(server));
        let asked = Arc::clone(&upstream);
        // A task of its own: what is not waited for goes on, and whoever asks next joins it.
        let answering = tokio::spawn(async move { asked.refresh().await });
        let patience = if several { PATIENCE } else { Duration::MAX };
        let answer = match tokio::time::timeout(patience, answering).await {
            Ok(Ok(answer)) => answer,
            Ok(Err(broken)) => Err(Fault::new(FaultKind::Died, broken.to_string())),
            Err(_) => {
                Err(Fault::new(FaultKind::TimedOut, format!("no answer within {} s; asked on", PATIENCE.as_secs())))
            }
        };
        Guarded { upstream, answer }
    });
    join_all(asking).await
}

/// Ends all servers, together.
pub(crate) async fn shut_down(servers: &[Guarded]) {
    join_all(servers.iter().map(|server| server.upstream.shut_down())).await;
}

/// What the servers offer now, as the plan takes it.
pub(crate) fn offered(config: &Config, servers: &[Arc<dyn Upstream>]) -> Known {
    let of = |name: &str| servers.iter().find(|upstream| **upstream.name() == *name);
    plan::known(config, |name| of(name).map(|upstream| upstream.catalogue()))
}

/// The plan checked against what the servers really offer; of one that cannot be asked, nothing is checked.
fn against(config: &Config, chosen: &Chosen, servers: &[Guarded], blind: Loaded) -> Result<Loaded, Failure> {
    for Guarded { upstream, answer } in servers {
        if let Err(fault) = answer {
            tracing::warn!(server = %upstream.name(), %fault, "the server cannot be asked for its tools; starting anyway, and trying again");
        }
    }
    if servers.iter().all(|server| server.answer.is_err()) {
        return Ok(blind);
    }
    let answers = |name: &str| {
        let server = servers.iter().find(|server| **server.upstream.name() == *name)?;
        server.answer.as_ref().ok().cloned()
    };
    let loaded = plan::load(config, chosen, &plan::known(config, answers)).map_err(|findings| {
        let failure = said(&findings, Exit::Usage);
        let whose: Vec<_> = config.servers.iter().map(plan::describe_upstream).collect();
        out::note(format_args!("the policy does not fit the tools of {}; nothing was started", whose.join(", ")));
        failure
    })?;
    loaded.warnings.iter().for_each(out::note);
    Ok(loaded)
}

/// Logs that the gateways of one configuration may have at once, where clients start them.
const LOGS: usize = 64;

fn open_log(config: &Config, clock: Arc<dyn Clock>, metrics: Arc<Metrics>) -> Result<Arc<AuditLog>, Failure> {
    let path = config.audit.path.as_deref().ok_or_else(|| {
        Failure::usage("there is no home to keep the log in").help("say where with `--audit-log PATH` or `audit.path`")
    })?;
    let open = |path: &Path| {
        AuditLog::open(path, &config.audit, Arc::clone(&clock), env!("CARGO_PKG_VERSION"), Arc::clone(&metrics))
    };
    let mut opened = open(path);
    // Each client starts a gateway of its own, and a log has one writer.
    let mut others = (2..=LOGS).filter(|_| config.stdio);
    while matches!(opened, Err(AuditError::Locked { .. }))
        && let Some(number) = others.next()
    {
        opened = open(&beside(path, number));
    }
    opened.map(Arc::new).map_err(|error| {
        let failure = Failure::new(error.to_string());
        match error {
            AuditError::Locked { .. } => failure.help("perhaps another `portcullis run` is still up"),
            AuditError::NoLog { .. }
            | AuditError::NotALogPath { .. }
            | AuditError::Setting { .. }
            | AuditError::Head { .. }
            | AuditError::Io { .. } => failure.help("say where the log may be written with `--audit-log PATH`"),
        }
    })
}

/// `audit` becomes `audit-2`, and `audit.jsonl` becomes `audit-2.jsonl`.
fn beside(path: &Path, number: usize) -> PathBuf {
    let mut name = path.file_stem().unwrap_or_default().to_owned();
    name.push(format!("-{number}"));
    if let Some(extension) = path.extension() {
        name.push(".");
        name.push(extension);
    }
    path.with_file_name(name)
}
