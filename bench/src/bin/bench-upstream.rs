//! The fast server as a program.

use std::io::Write as _;

use clap::Parser;
use portcullis_bench::answers::Answers;

/// A fast MCP server for benchmarks: both eras, answers made in advance.
#[derive(Debug, Parser)]
struct Arguments {
    /// Address to listen on; port 0 takes a free one and prints it.
    #[arg(long, default_value = "127.0.0.1:0")]
    listen: std::net::SocketAddr,
    /// Tools in its list.
    #[arg(long, default_value_t = 100)]
    tools: usize,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> std::io::Result<()> {
    let arguments = Arguments::parse();
    let listener = tokio::net::TcpListener::bind(arguments.listen).await?;
    writeln!(std::io::stdout(), "bench-upstream listens on http://{}/mcp", listener.local_addr()?)?;
    portcullis_bench::server::serve(listener, Answers::new(arguments.tools)).await
}
