//! The way from a server's one pipe to the many replies that wait for it: bounded, so that a slow reader slows the server.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use portcullis_core::refusal::{Fault, FaultKind};
use portcullis_core::upstream::{Arrivals, Arrived};
use portcullis_core::wire::{Kind, Message};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::time::Instant;

/// Messages waiting for one reader. 64: a burst of progress fits, and 64 messages are what one reader can cost at most.
const ROOM: usize = 64;

/// Bytes waiting for one reader. 1 MiB: all small messages fit, and of large ones only one waits at a time.
const ROOM_BYTES: u32 = 1 << 20;

/// A message, and its share of the room until it is read.
type Waiting = (Message, OwnedSemaphorePermit);

/// Where messages for one reply are put.
#[derive(Clone, Debug)]
pub(crate) struct Outlet {
    messages: mpsc::Sender<Waiting>,
    room: Arc<Semaphore>,
    /// Why the reply ended without its response. Beside the channel, because the channel may be full.
    ending: Arc<OnceLock<Fault>>,
}

/// What became of one message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Delivered {
    Taken,
    /// Nobody reads this reply any more.
    Gone,
    /// The reader let one message wait for too long; its reply is over.
    Stalled,
}

impl Outlet {
    /// Puts a message, waiting at most `stall` for room. While this waits the pipe is not read.
    pub(crate) async fn put(&self, message: Message, stall: Duration) -> Delivered {
        if self.is_over() {
            return Delivered::Gone;
        }
        let put = async {
            let share = Arc::clone(&self.room).acquire_many_owned(share_of(&message)).await.map_err(|_| ())?;
            self.messages.send((message, share)).await.map_err(|_| ())
        };
        match tokio::time::timeout(stall, put).await {
            Ok(Ok(())) => Delivered::Taken,
            Ok(Err(())) => Delivered::Gone,
            Err(_) => {
                self.end(Fault::new(
                    FaultKind::Overloaded,
                    format!("the reader of this reply let a message wait for {stall:?}"),
                ));
                Delivered::Stalled
            }
        }
    }

    /// Puts a message if there is room now.
    pub(crate) fn offer(&self, message: Message) -> Result<(), Message> {
        match Arc::clone(&self.room).try_acquire_many_owned(share_of(&message)) {
            Ok(share) => self.messages.try_send((message, share)).map_err(|refused| refused.into_inner().0),
            Err(_) => Err(message),
        }
    }

    /// What the reader learns when it has read all that was put.
    pub(crate) fn end(&self, fault: Fault) {
        let _ = self.ending.set(fault);
    }

    /// Whether nothing more will be read from this reply.
    pub(crate) fn is_over(&self) -> bool {
        self.messages.is_closed() || self.ending.get().is_some()
    }
}

/// A message larger than the room takes all of it.
fn share_of(message: &Message) -> u32 {
    u32::try_from(message.bytes().len()).unwrap_or(ROOM_BYTES).min(ROOM_BYTES)
}

/// The reader's end of an [`Outlet`].
pub(crate) struct Inlet {
    messages: mpsc::Receiver<Waiting>,
    room: Arc<Semaphore>,
    ending: Arc<OnceLock<Fault>>,
    /// Taken already, to know that there is one.
    first: Option<Waiting>,
    /// When the first message must be there; not set for standing streams.
    first_by: Option<Instant>,
    /// Ends with its response; a standing stream does not.
    answers: bool,
    over: bool,
    /// Runs when the reply is over without its response: dropped, or out of time.
    abandon: Option<Box<dyn FnOnce() + Send>>,
}

/// A reply that ends with its response, and must begin within `first_byte`.
pub(crate) fn answer(first_byte: Duration) -> (Outlet, Inlet) {
    pair(Some(Instant::now() + first_byte), true)
}

/// A stream without a response.
pub(crate) fn standing() -> (Outlet, Inlet) {
    pair(None, false)
}

fn pair(first_by: Option<Instant>, answers: bool) -> (Outlet, Inlet) {
    let (sender, receiver) = mpsc::channel(ROOM);
    let ending = Arc::new(OnceLock::new());
    let room = Arc::new(Semaphore::new(ROOM_BYTES as usize));
    let outlet = Outlet { messages: sender, room: Arc::clone(&room), ending: Arc::clone(&ending) };
    (outlet, Inlet { messages: receiver, room, ending, first: None, first_by, answers, over: false, abandon: None })
}

impl Inlet {
    pub(crate) fn on_abandon(&mut self, abandon: impl FnOnce() + Send + 'static) {
        self.abandon = Some(Box::new(abandon));
    }

    pub(crate) fn arrivals(self) -> Arrivals {
        Box::pin(futures_util::stream::unfold(self, |mut inlet| async move {
            let item = inlet.next().await?;
            let arrived = item.map(|message| Arrived { message: Some(message), event_id: None, retry: None });
            Some((arrived, inlet))
        }))
    }

    /// Returns when there is a message to read, and never if there will be none.
    pub(crate) async fn begins(&mut self) {
        if self.first.is_none() {
            self.first = self.messages.recv().await;
        }
        if self.first.is_none() {
            std::future::pending().await
        }
    }

    pub(crate) async fn next(&mut self) -> Option<Result<Message, Fault>> {
        if self.over {
            return None;
        }
        let message = match (self.first.take(), self.first_by.take()) {
            (Some(first), _) => Some(first),
            (None, None) => self.messages.recv().await,
            (None, Some(deadline)) => match tokio::time::timeout_at(deadline, self.messages.recv()).await {
                Ok(message) => message,
                Err(_) => return Some(Err(self.give_up(Fault::new(FaultKind::TimedOut, "no answer began in time")))),
            },
        };
        match message {
            Some((message, _share)) => {
                if self.answers && matches!(message.kind(), Kind::Result | Kind::Error) {
                    self.over = true;
                    self.abandon = None;
                }
                Some(Ok(message))
            }
            None => {
                let ending = self.ending.get().cloned();
                let owed = self.answers.then(|| Fault::new(FaultKind::Died, "the reply ended before the response"));
                match ending.or(owed) {
                    Some(fault) => Some(Err(self.give_up(fault))),
                    None => {
                        self.over = true;
                        None
                    }
                }
            }
        }
    }

    fn give_up(&mut self, fault: Fault) -> Fault {
        self.over = true;
        if let Some(abandon) = self.abandon.take() {
            abandon();
        }
        fault
    }
}

impl Drop for Inlet {
    fn drop(&mut self) {
        // Who waits for room must learn that nobody reads.
        self.room.close();
        if let Some(abandon) = self.abandon.take() {
            abandon();
        }
    }
}
