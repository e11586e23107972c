//! The demo: a small sample server, the real gateway in front of it, and a scripted client. All three talk over real sockets on this
//! machine; only the server and the client are made for the show.

mod client;
mod folder;
mod server;
mod story;

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use self::folder::Folder;
use self::server::Sample;
use crate::cli::DemoArgs;
use crate::config::{Config, ConfigError, Overrides};
use crate::exit::{Exit, Failure};
use crate::out::{self, DIM, NAME, STRONG, Styled};
use crate::run::{self, Assembly, assemble, banner};

/// The policy of the demo; ordinary Cedar.
const POLICY: &str = include_str!("demo/policy.cedar");

/// Everything that is up while the story is told.
struct Stage {
    config: Config,
    assembly: Assembly,
    sample: Arc<Sample>,
    server: SocketAddr,
}

/// Tells the story, and stays up afterwards if asked to.
pub(crate) async fn play(args: DemoArgs) -> Result<Exit, Failure> {
    let folder = Folder::new()?;
    let behind = CancellationToken::new();
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.map_err(|error| no_socket(&error))?;
    let server = listener.local_addr().map_err(|error| no_socket(&error))?;
    let sample = Arc::new(Sample::default());
    let serving_sample = tokio::spawn(server::serve(listener, Arc::clone(&sample), behind.clone()));

    let config = config(args, &folder, server)?;
    let assembly = assemble(&config).await?;
    let played = perform(args, Stage { config, assembly, sample, server }).await;
    behind.cancel();
    // The sample server has nothing to lose.
    let _ended = serving_sample.await;
    played
}

fn config(args: DemoArgs, folder: &Folder, server: SocketAddr) -> Result<Config, Failure> {
    // A demo that stays is for real clients, which want the usual address; one that ends must not collide with a gateway that runs.
    let port = if args.stay { 8700 } else { 0 };
    let overrides = Overrides {
        listen: Some(args.listen.unwrap_or_else(|| SocketAddr::from((Ipv4Addr::LOCALHOST, port)))),
        policy: vec![folder.write("policy.cedar", POLICY)?],
        audit_log: Some(folder.path().join("audit")),
        name: Some("notes".to_owned()),
        upstream: Some(format!("http://{server}/mcp")),
        ..Overrides::default()
    };
    Config::load(None, &overrides).map_err(|error| match error {
        ConfigError::Unreadable { reason, .. } => Failure::new(reason),
        ConfigError::Wrong(findings) => crate::commands::said(&findings, Exit::Usage),
    })
}

async fn perform(args: DemoArgs, stage: Stage) -> Result<Exit, Failure> {
    let Stage { config, assembly, sample, server } = stage;
    let Assembly { bound, ledger, servers, .. } = assembly;
    let bound = bound.ok_or_else(|| Failure::new("the gateway has no socket"))?;
    let gateway = bound.local_addr;
    if let Some(fault) = servers.iter().find_map(|server| server.answer.as_ref().err()) {
        return Err(Failure::new(format!("the sample server does not answer: {fault}")));
    }
    let stop = CancellationToken::new();
    let serving = tokio::spawn(bound.serve(run::workers()?, stop.clone()));

    opening(gateway, server)?;
    let told = tokio::select! {
        told = story::tell(gateway, &sample, &ledger) => told,
        // Ctrl-C in the middle still takes everything down in order.
        stopped = run::until_stopped() => stopped.and(Err(Failure::said(Exit::Failure))),
    };
    if told.is_ok() && args.stay {
        stay(&config, gateway, &ledger).await?;
    }
    stop.cancel();
    // Drained or not, the demo ends; its log goes with it.
    let _ended = serving.await;
    let log = Arc::clone(&ledger);
    let _closed = tokio::task::spawn_blocking(move || log.close(run::LAST_WAIT)).await;
    told?;
    Ok(Exit::Success)
}

fn opening(gateway: SocketAddr, server: SocketAddr) -> Result<(), Failure> {
    out::line(Styled(STRONG, "Portcullis demo"))?;
    out::line("A client, the gateway and an MCP server, all real, over sockets on this machine:\n")?;
    let (gateway, server) = (Styled(NAME, gateway), Styled(NAME, server));
    out::line(format_args!("  client  →  Portcullis {gateway}  →  notes-and-payments {server}\n"))?;
    out::line("The policy in force:\n")?;
    for line in POLICY.lines() {
        out::line(Styled(DIM, format_args!("  {line}")))?;
    }
    out::line("")?;
    Ok(())
}

async fn stay(config: &Config, gateway: SocketAddr, ledger: &portcullis_ledger::AuditLog) -> Result<(), Failure> {
    out::line(format_args!(
        "Staying up at {}. Paste into a client:",
        Styled(NAME, format_args!("http://{gateway}/mcp"))
    ))?;
    out::line(banner::snippet(config, gateway))?;
    out::line(format_args!(
        "Watch it with `portcullis audit tail -f {}`. Ctrl-C ends it.",
        ledger.layout().folder().display()
    ))?;
    run::until_stopped().await
}

fn no_socket(error: &std::io::Error) -> Failure {
    Failure::new(format!("the demo cannot open a socket on 127.0.0.1: {error}"))
}
