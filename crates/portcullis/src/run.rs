//! A running gateway: put together, announced, served, reloaded, drained. Decisions are made elsewhere; this file is the order of things.

pub(crate) mod admin;
mod assembly;
pub(crate) mod banner;
mod changes;
pub(crate) mod logging;
mod parent;
mod reload;
mod signals;
mod watchman;

use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use portcullis_core::ledger::{Ledger, Notice, Record};
use portcullis_server::Workers;
use portcullis_upstream::health;
use tokio_util::sync::CancellationToken;

pub(crate) use self::assembly::{Assembly, Guarded, assemble};
use self::changes::Watched;
use self::signals::{Asked, Signals};
use self::watchman::Watch;
use crate::config::{Config, Overrides};
use crate::exit::{Exit, Failure};
use crate::out;

/// How long the last things may take when everything else is done: a disk or a child that hangs must not keep us.
pub(crate) const LAST_WAIT: Duration = Duration::from_secs(5);

/// Where the configuration came from, to read it again.
#[derive(Debug)]
pub(crate) struct Sources {
    pub(crate) file: Option<PathBuf>,
    pub(crate) overrides: Overrides,
}

/// Runs a gateway until the operating system asks to stop, then drains it.
pub(crate) async fn run(config: &Config, sources: &Sources) -> Result<Exit, Failure> {
    let mut signals = Signals::listen().map_err(|error| Failure::new(format!("cannot listen to signals: {error}")))?;
    let assembly = tokio::select! {
        assembled = assemble(config) => assembled?,
        // Asking a server for its tools can take a minute; nobody has to wait for that to stop.
        _ = stop_asked(&mut signals) => return Ok(Exit::Success),
    };
    // A gateway does not stop because nobody reads what it says.
    let _unread = banner::show(config, &assembly);
    serve(config, sources, assembly, signals).await
}

/// Waits until the operating system asks to stop.
pub(crate) async fn until_stopped() -> Result<(), Failure> {
    let mut signals = Signals::listen().map_err(|error| Failure::new(format!("cannot listen to signals: {error}")))?;
    stop_asked(&mut signals).await;
    Ok(())
}

async fn stop_asked(signals: &mut Signals) {
    while signals.next().await != Asked::Stop {}
}

async fn serve(config: &Config, sources: &Sources, assembly: Assembly, mut signals: Signals) -> Result<Exit, Failure> {
    let Assembly { gateway, bound, servers, board, checked, ledger, metrics, admin, chosen, loaded } = assembly;
    let upstreams: Vec<_> = servers.iter().map(|server| Arc::clone(&server.upstream)).collect();
    let stop = CancellationToken::new();
    if let Some(listener) = admin {
        let views = admin::Views { metrics, log: Arc::clone(&ledger), upstreams: upstreams.clone(), board };
        drop(tokio::spawn(admin::serve(listener, views, stop.clone())));
    }
    let asked = stop.clone();
    drop(tokio::spawn(async move { asked.run_until_cancelled(health::watch(checked)).await }));
    let missing = servers.iter().filter(|server| server.answer.is_err());
    let missing: Vec<_> = missing.map(|server| Arc::clone(&server.upstream)).collect();
    let watch = Watch { config: config.clone(), chosen, servers: upstreams.clone(), missing, told: loaded.warnings };
    drop(tokio::spawn(watchman::watch(watch, stop.clone())));
    let mut identity = config.server.identity.clone();
    let mut watched = Watched::default();
    // Boxed, so that stopping at once drops it: unpolled, its own end would hold what ours waits for.
    let mut serving = match bound {
        Some(bound) => Box::pin(bound.serve(workers()?, stop.clone())) as Pin<Box<dyn Future<Output = ()> + Send>>,
        None => Box::pin(parent::serve(Arc::clone(&gateway), stop.clone())),
    };
    loop {
        tokio::select! {
            () = &mut serving => break,
            asked = signals.next() => match asked {
                Asked::Reload => {
                    reload::reload(config, &mut identity, sources, &gateway, &upstreams, ledger.as_ref());
                }
                Asked::Stop if stop.is_cancelled() => {
                    tracing::warn!("stopping at once");
                    break;
                }
                Asked::Stop => {
                    out::note("stopping: open calls may finish; ask again to stop at once");
                    stop.cancel();
                }
            },
            () = watched.changed(identity.key_file.as_deref()) => {
                reload::keys(&mut identity, &gateway, ledger.as_ref());
            }
        }
    }
    drop(serving);
    // Already done after a drain; after a second Ctrl-C this is what ends the children.
    let _late = tokio::time::timeout(LAST_WAIT, assembly::shut_down(&servers)).await;
    finish(&ledger).await
}

/// One thread per core that we may use; a limit of the container's counts.
pub(crate) fn workers() -> Result<Workers, Failure> {
    let cores = std::thread::available_parallelism().unwrap_or(std::num::NonZeroUsize::MIN);
    Workers::threads(cores).map_err(|error| Failure::new(format!("the operating system gives no threads: {error}")))
}

/// The last entry, durable.
async fn finish(ledger: &Arc<portcullis_ledger::AuditLog>) -> Result<Exit, Failure> {
    notice(ledger.as_ref(), "stopped", "the gateway stopped".to_owned());
    let log = Arc::clone(ledger);
    let closed = tokio::task::spawn_blocking(move || log.close(LAST_WAIT)).await;
    match closed {
        Ok(Ok(())) => {
            out::note("stopped; the log is complete");
            Ok(Exit::Success)
        }
        Ok(Err(error)) => Err(Failure::new(format!("the last entries are not in the log: {error}"))),
        Err(error) => Err(Failure::new(format!("the log did not close: {error}"))),
    }
}

/// Records a fact about the gateway itself.
pub(crate) fn notice(ledger: &dyn Ledger, code: &'static str, detail: String) {
    use portcullis_core::clock::Clock;
    let at = portcullis_server::SystemClock.now();
    // A notice that cannot be written is counted by the ledger, like everything it loses.
    let _lost = ledger.append(Record::Notice(Box::new(Notice { at, code, server: None, detail })));
}
