//! The program at the other end of our standard input and output.

use std::sync::Arc;

use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, DuplexStream, Lines, ReadHalf, WriteHalf, split};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::Running;

/// The parent.
pub(crate) struct Parent {
    pub(crate) input: WriteHalf<DuplexStream>,
    output: Lines<BufReader<ReadHalf<DuplexStream>>>,
    pub(crate) shutdown: CancellationToken,
    pub(crate) served: JoinHandle<()>,
}

impl Parent {
    pub(crate) fn of(running: &Running) -> Self {
        let (ours, theirs) = tokio::io::duplex(1 << 16);
        let (gateway, shutdown) = (Arc::clone(&running.gateway), CancellationToken::new());
        let stop = shutdown.clone();
        let served = tokio::spawn(async move {
            let (input, output) = split(theirs);
            gateway.serve_stdio("ada", input, output, stop).await;
        });
        let (output, input) = split(ours);
        Self { input, output: BufReader::new(output).lines(), shutdown, served }
    }

    pub(crate) async fn say(&mut self, text: &str) {
        self.input.write_all(format!("{text}\n").as_bytes()).await.unwrap();
    }

    pub(crate) async fn hear(&mut self) -> Option<String> {
        self.output.next_line().await.unwrap()
    }

    pub(crate) async fn ask(&mut self, text: &str) -> String {
        self.say(text).await;
        self.hear().await.unwrap()
    }
}
