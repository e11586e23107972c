//! An upstream without a server: each call does the next thing that the test has written down.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use futures_util::StreamExt;
use portcullis_core::call::SessionKey;
use portcullis_core::catalogue::Catalogue;
use portcullis_core::gate::Cleared;
use portcullis_core::refusal::{Fault, FaultKind};
use portcullis_core::upstream::{Arrived, Media, Pending, Reply, Upstream};
use portcullis_core::version::Era;
use portcullis_core::wire::{Direction, Limits, Message};
use tokio::sync::oneshot;

use crate::departure::leaves;

/// What one call meets.
#[derive(Debug)]
pub(crate) enum Act {
    Answers,
    /// A JSON-RPC error of the server's own.
    SaysNo,
    Fails(FaultKind),
    /// The reply begins and then breaks off.
    Breaks(FaultKind),
    /// The reply begins and ends without an answer; with event ids, so that another could go on.
    Stops {
        resumable: bool,
    },
    /// It has left, and that is all.
    Hangs,
    /// It never gets as far as leaving.
    Connects,
    /// It has left, and the answer begins after so long.
    Late(Duration),
    /// The reply begins, and ends when the test says so.
    Waits(oneshot::Receiver<()>),
    /// The server asks its client something, and answers when the test says so.
    Asks(oneshot::Receiver<()>),
}

#[derive(Debug)]
pub(crate) struct Scripted {
    name: Arc<str>,
    acts: Mutex<VecDeque<Act>>,
    sent: AtomicUsize,
}

const ANSWER: &str = r#"{"jsonrpc":"2.0","id":1,"result":{}}"#;
const NO: &str = r#"{"jsonrpc":"2.0","id":1,"error":{"code":-32603,"message":"no"}}"#;
const QUESTION: &str = r#"{"jsonrpc":"2.0","id":9,"method":"ping"}"#;

impl Scripted {
    /// Answers everything that nothing else is written down for.
    pub(crate) fn new(acts: impl IntoIterator<Item = Act>) -> Arc<Self> {
        let acts = Mutex::new(acts.into_iter().collect());
        Arc::new(Self { name: "srv".into(), acts, sent: AtomicUsize::new(0) })
    }

    pub(crate) fn next(&self, act: Act) {
        self.acts.lock().unwrap().push_back(act);
    }

    /// Calls, refreshes and checks that arrived.
    pub(crate) fn sent(&self) -> usize {
        self.sent.load(Ordering::SeqCst)
    }

    fn act(&self) -> Act {
        self.sent.fetch_add(1, Ordering::SeqCst);
        self.acts.lock().unwrap().pop_front().unwrap_or(Act::Answers)
    }
}

fn said(text: &'static str) -> Result<Arrived, Fault> {
    let message = Message::read(Bytes::from_static(text.as_bytes()), Direction::ToClient, &Limits::default()).unwrap();
    Ok(Arrived { message: Some(message), event_id: None, retry: None })
}

fn fault(kind: FaultKind) -> Fault {
    Fault::new(kind, "as the test says")
}

impl Upstream for Scripted {
    fn name(&self) -> &Arc<str> {
        &self.name
    }

    fn era(&self) -> Option<Era> {
        None
    }

    fn send(&self, _: Cleared) -> Pending<'_, Result<Reply, Fault>> {
        Box::pin(async move {
            let later = |signal: oneshot::Receiver<()>| {
                futures_util::stream::once(async move {
                    let _ = signal.await;
                    said(ANSWER)
                })
            };
            let act = self.act();
            if !matches!(act, Act::Connects) {
                leaves();
            }
            let items = match act {
                Act::Connects | Act::Hangs => std::future::pending().await,
                Act::Fails(kind) => return Err(fault(kind)),
                Act::Waits(signal) => {
                    return Ok(Reply::new(Media::Json, later(signal).boxed()));
                }
                Act::Asks(signal) => {
                    let first = futures_util::stream::iter([said(QUESTION)]);
                    let arrivals = first.chain(later(signal)).boxed();
                    return Ok(Reply::new(Media::EventStream, arrivals));
                }
                Act::Late(time) => {
                    tokio::time::sleep(time).await;
                    vec![said(ANSWER)]
                }
                Act::Answers => vec![said(ANSWER)],
                Act::SaysNo => vec![said(NO)],
                Act::Breaks(kind) => vec![Err(fault(kind))],
                Act::Stops { resumable } => {
                    let event_id = resumable.then(|| "7".to_owned());
                    vec![Ok(Arrived { message: None, event_id, retry: None })]
                }
            };
            Ok(Reply::new(Media::Json, futures_util::stream::iter(items).boxed()))
        })
    }

    fn catalogue(&self) -> Arc<Catalogue> {
        Arc::default()
    }

    fn refresh(&self) -> Pending<'_, Result<Arc<Catalogue>, Fault>> {
        Box::pin(async move {
            match self.act() {
                Act::Fails(kind) => Err(fault(kind)),
                Act::Hangs => std::future::pending().await,
                _ => Ok(Arc::default()),
            }
        })
    }

    fn observe(&self, _: &Message) {}

    fn forget(&self, _: SessionKey) -> Pending<'_, ()> {
        Box::pin(async {})
    }

    fn shut_down(&self) -> Pending<'_, ()> {
        Box::pin(async {})
    }
}
