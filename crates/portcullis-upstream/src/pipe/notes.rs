//! What is said about a server in our own log, and what is noticed while its messages pass.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use portcullis_core::wire::Message;

/// Characters of a stray output line that are shown. 200: enough to recognise a banner, too little to leak an answer.
const SHOWN: usize = 200;

type TakeLine = dyn Fn(&str, &str) + Send + Sync;

/// Gets what is to be said of servers behind pipes, lines of children's error output among it: the server's name and one line.
#[derive(Clone)]
pub struct StderrSink(Arc<TakeLine>);

impl StderrSink {
    /// `take` must not block: it runs where a server's output is read.
    #[must_use]
    pub fn new(take: impl Fn(&str, &str) + Send + Sync + 'static) -> Self {
        Self(Arc::new(take))
    }
}

impl fmt::Debug for StderrSink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("StderrSink(..)")
    }
}

/// The log under one server's name.
#[derive(Clone)]
pub(crate) struct Notes {
    server: Arc<str>,
    sink: StderrSink,
    dropped: Arc<AtomicU64>,
}

impl Notes {
    pub(crate) fn new(server: Arc<str>, sink: StderrSink) -> Self {
        Self { server, sink, dropped: Arc::default() }
    }

    pub(crate) fn line(&self, line: &str) {
        (self.sink.0)(&self.server, line);
    }

    /// A text that is no message.
    pub(crate) fn noise(&self, line: &[u8]) {
        let shown: String = String::from_utf8_lossy(line).chars().take(SHOWN).collect();
        self.line(&format!("not MCP, ignored: {shown}"));
    }

    /// A message without a reader. Counted always, said when the count doubles: a flood of them is one line a doubling.
    pub(crate) fn dropped(&self, why: &str) {
        let count = self.dropped.fetch_add(1, Ordering::Relaxed) + 1;
        if count.is_power_of_two() {
            self.line(&format!("dropped {why} (dropped so far: {count})"));
        }
    }
}

/// Sees every message of a server.
pub(crate) struct Watcher(Box<dyn Fn() + Send + Sync>);

impl Watcher {
    pub(crate) fn new(tools_changed: impl Fn() + Send + Sync + 'static) -> Self {
        Self(Box::new(tools_changed))
    }

    pub(crate) fn see(&self, message: &Message) {
        if message.method() == Some("notifications/tools/list_changed") {
            (self.0)();
        }
    }
}
