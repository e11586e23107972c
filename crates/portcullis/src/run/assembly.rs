//! Putting the parts together, in the order in which each can refuse to start: policy, log, upstream, socket, and last the server itself.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use portcullis_core::catalogue::Catalogue;
use portcullis_core::clock::Clock;
use portcullis_core::ledger::Ledger;
use portcullis_core::refusal::Fault;
use portcullis_core::upstream::Upstream;
use portcullis_ledger::{AuditError, AuditLog, Metrics};
use portcullis_server::{Bound, Gateway, SystemClock};
use portcullis_upstream::{Breaker, HealthBoard, HealthSettings};
use tokio::net::TcpListener;

use super::{admin, notice};
use crate::commands::said;
use crate::config::{Config, UpstreamConfig};
use crate::exit::{Exit, Failure};
use crate::out;
use crate::plan::{self, Cared, Chosen, Loaded};

/// Everything of a gateway that is ready to serve.
#[derive(Debug)]
pub(crate) struct Assembly {
    pub(crate) gateway: Arc<Gateway>,
    /// `None`: the program that started us is the one client.
    pub(crate) bound: Option<Bound>,
    pub(crate) upstream: Arc<dyn Upstream>,
    pub(crate) board: Arc<HealthBoard>,
    /// What is asked for its health.
    pub(crate) checked: Vec<(Arc<Breaker>, HealthSettings, bool)>,
    pub(crate) ledger: Arc<AuditLog>,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) admin: Option<TcpListener>,
    pub(crate) chosen: Chosen,
    pub(crate) loaded: Loaded,
    /// What the server offers, or why it could not be asked.
    pub(crate) reached: Result<Arc<Catalogue>, Fault>,
}

/// Puts a gateway together and opens its sockets.
pub(crate) async fn assemble(config: &Config) -> Result<Assembly, Failure> {
    let chosen = plan::choose(config).ok_or_else(|| {
        Failure::usage(format!("no policy, and `{}` is reachable from the network", config.server.listen)).help(
            "give one with `--policy` (the preset `observe` permits and records everything), or listen on 127.0.0.1",
        )
    })?;
    let server = config.upstream.as_ref().ok_or_else(|| {
        Failure::usage("no server to guard")
            .help("name one: `--upstream URL`, or `-- COMMAND ARGS…`, or `upstream:` in the configuration")
    })?;
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let metrics = Arc::new(Metrics::new());
    let ledger = open_log(config, Arc::clone(&clock), Arc::clone(&metrics))?;
    let record: Arc<dyn Ledger> = Arc::clone(&ledger) as Arc<dyn Ledger>;
    let chain = plan::chain_signer(config).map_err(|finding| said(&[*finding], Exit::Usage))?;
    let upstream =
        plan::make_upstream(server, config.server.limits.reader(), Arc::clone(&record), Arc::clone(&clock), chain)
            .map_err(|error| said(&[plan::upstream_complaint(config, server, &error)], Exit::Usage))?;
    let board = Arc::new(plan::health_board(Arc::clone(&record), Arc::clone(&clock)));
    let Cared { upstream, checked } = plan::care(server, upstream, &board)
        .map_err(|(section, error)| said(&[plan::care_complaint(config, section, &error)], Exit::Usage))?;
    let admin = match config.admin {
        Some(address) => Some(admin::bind(address).await?),
        None => None,
    };

    // The plan without the server's tools finds wrong files before a child is started; the sockets come next, so that a port in use
    // is told at once; the server is asked last, because that can take a minute.
    let blind = plan::load(config, &chosen, None).map_err(|findings| said(&findings, Exit::Usage))?;
    let gateway = Gateway::new(config.server.clone(), blind.plan.clone(), Arc::clone(&upstream), record, clock)
        .map_err(|error| Failure::usage(error.to_string()))?;
    let bound = if config.stdio { None } else { Some(bind(config, &gateway).await?) };
    tracing::info!(server = %server.name, "asking for its tools: {}", plan::describe_upstream(server));
    let reached = upstream.refresh().await;
    let loaded = match against(config, &chosen, server, &reached, blind) {
        Ok(loaded) => loaded,
        Err(failure) => {
            upstream.shut_down().await;
            return Err(failure);
        }
    };
    gateway.reload(&loaded.plan);
    let whom = bound.as_ref().map(|bound| format!("listening on {}", bound.local_addr));
    notice(ledger.as_ref(), "started", whom.unwrap_or_else(|| "serving the program that started us".to_owned()));
    notice(ledger.as_ref(), "plan", format!("plan {} in force", loaded.plan.digest));
    let checked = vec![checked];
    Ok(Assembly { gateway, bound, upstream, board, checked, ledger, metrics, admin, chosen, loaded, reached })
}

async fn bind(config: &Config, gateway: &Arc<Gateway>) -> Result<Bound, Failure> {
    gateway.bind().await.map_err(|error| {
        Failure::new(format!("cannot listen on {}: {error}", config.server.listen))
            .help("choose another address with `--listen`")
    })
}

/// The plan checked against what the server really offers; the unchecked one when the server cannot be asked.
fn against(
    config: &Config,
    chosen: &Chosen,
    server: &UpstreamConfig,
    reached: &Result<Arc<Catalogue>, Fault>,
    blind: Loaded,
) -> Result<Loaded, Failure> {
    match reached {
        Ok(catalogue) => {
            let loaded = plan::load(config, chosen, Some(catalogue)).map_err(|findings| {
                let failure = said(&findings, Exit::Usage);
                out::note(format_args!(
                    "the policy does not fit the tools of {}; nothing was started",
                    plan::describe_upstream(server)
                ));
                failure
            })?;
            loaded.warnings.iter().for_each(out::note);
            Ok(loaded)
        }
        Err(fault) => {
            tracing::warn!(server = %server.name, %fault, "the server cannot be asked for its tools; starting anyway, and trying again");
            Ok(blind)
        }
    }
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
