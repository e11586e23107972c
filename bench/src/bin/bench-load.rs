//! The load as a program: prints what it measured as one line of `name=value`, times in nanoseconds.

use std::io::{self, Write as _};
use std::net::SocketAddr;
use std::time::Duration;

use clap::{Parser, Subcommand};
use portcullis_bench::load::{self, Measured, Settings};
use portcullis_bench::traffic::{Era, Kind};

/// Load for MCP servers and gateways at http://ADDRESS/mcp.
#[derive(Debug, Parser)]
struct Arguments {
    /// Where the server or gateway listens.
    address: SocketAddr,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Send calls one after the other on each connection, for a time.
    Calls {
        kind: Kind,
        #[arg(long, default_value = "modern")]
        era: Era,
        #[arg(long, default_value_t = 16)]
        connections: usize,
        #[arg(long, default_value_t = 2.0)]
        seconds: f64,
        /// Seconds before that, not measured.
        #[arg(long, default_value_t = 0.3)]
        warmup: f64,
        /// The policy of the benchmark is in force, so `refused` must be refused.
        #[arg(long)]
        refused: bool,
        /// Processes whose processor time and memory are told.
        #[arg(long, value_delimiter = ',')]
        watch: Vec<u32>,
        /// Where `bench-counted` tells what it allocates.
        #[arg(long)]
        counter: Option<SocketAddr>,
    },
    /// Open legacy sessions and leave them.
    Sessions { count: usize },
    /// Open standing streams, say so, and keep them until killed.
    Streams { count: usize },
    /// Send nothing and tell what processes use meanwhile.
    Idle {
        #[arg(long, default_value_t = 2.0)]
        seconds: f64,
        #[arg(long, value_delimiter = ',')]
        watch: Vec<u32>,
    },
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> io::Result<()> {
    let Arguments { address, command } = Arguments::parse();
    match command {
        Command::Calls { kind, era, connections, seconds, warmup, refused, watch, counter } => {
            let (warmup, window) = (Duration::from_secs_f64(warmup), Duration::from_secs_f64(seconds));
            let settings =
                Settings { address, era, kind, connections, warmup, window, refused, watched: watch, counter };
            tell(&load::run(settings).await?)
        }
        Command::Sessions { count } => {
            load::open_sessions(address, count).await?;
            writeln!(io::stdout(), "sessions={count}")
        }
        Command::Streams { count } => {
            let _open = load::open_streams(address, count).await?;
            writeln!(io::stdout(), "holds {count} streams on http://{address}/mcp")?;
            std::future::pending().await
        }
        Command::Idle { seconds, watch } => {
            let used = load::watch(&watch, Duration::from_secs_f64(seconds), || true).await;
            writeln!(io::stdout(), "{used}")
        }
    }
}

fn tell(measured: &Measured) -> io::Result<()> {
    let Measured { used, latency, first_event, allocated } = measured;
    let allocated = allocated.map(|allocated| format!(" {allocated}")).unwrap_or_default();
    let at = |quantile| latency.value_at_quantile(quantile);
    let first = |quantile| first_event.value_at_quantile(quantile);
    writeln!(
        io::stdout(),
        "{used} requests={} p50={} p99={} p999={} first50={} first99={}{allocated}",
        latency.len(),
        at(0.5),
        at(0.99),
        at(0.999),
        first(0.5),
        first(0.99),
    )
}
