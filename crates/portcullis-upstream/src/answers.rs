//! Ties what a server sends to the request it answers: one response, with the request's id, and nothing after it. And the replies of one message
//! or none.

use futures_util::StreamExt;
use portcullis_core::own;
use portcullis_core::refusal::{Fault, FaultKind};
use portcullis_core::upstream::{Arrived, Media, Reply};
use portcullis_core::wire::{Direction, Id, Kind, Limits, Message};

/// The response in a reply; what else is in it is not for us.
pub(crate) async fn answer_of(mut reply: Reply) -> Result<Message, Fault> {
    while let Some(arrival) = reply.arrivals.next().await {
        if let Some(message) = arrival?.message
            && matches!(message.kind(), Kind::Result | Kind::Error)
        {
            return Ok(message);
        }
    }
    Err(Fault::new(FaultKind::Died, "the stream ended before the response"))
}

/// What has no answer was taken.
pub(crate) fn accepted() -> Reply {
    Reply::new(Media::Accepted, Box::pin(futures_util::stream::empty()))
}

/// A reply of one message.
pub(crate) fn one(message: Message) -> Reply {
    let only = futures_util::stream::iter([Ok(Arrived { message: Some(message), event_id: None, retry: None })]);
    Reply::new(Media::Json, Box::pin(only))
}

/// A reply made of what we know of a server: raw JSON for the result. `None` when it is larger than a server's own answer may be.
pub(crate) fn at_hand(id: &Id, result: &str, limits: &Limits) -> Option<Reply> {
    Message::read(own::result(id, result), Direction::ToClient, limits).ok().map(one)
}

/// The id of our error response stands in the place of what a server leaves out or sets to null.
#[derive(Debug)]
pub(crate) struct Awaiting {
    id: Id,
    answered: bool,
}

/// What to do with one message of a reply.
#[derive(Debug)]
pub(crate) enum Step {
    /// A notification or a server request: pass it on.
    Give(Message),
    /// The response: pass it on and stop (A16).
    Last(Message),
    /// An answer to something else, or a second answer. The text is for the log.
    Unmatched(&'static str),
}

impl Awaiting {
    pub(crate) const fn new(id: Id) -> Self {
        Self { id, answered: false }
    }

    pub(crate) const fn is_answered(&self) -> bool {
        self.answered
    }

    pub(crate) fn step(&mut self, message: Message, limits: &Limits) -> Step {
        let matched = match (message.kind(), message.id()) {
            (Kind::Request | Kind::Notification, _) => return Step::Give(message),
            (Kind::Result | Kind::Error, Some(id)) => *id == self.id,
            // The reply belongs to one request, so an error without an id can only be about that one (H1, G3).
            (Kind::Result | Kind::Error, None) => true,
        };
        if self.answered {
            return Step::Unmatched("a second response after the first");
        }
        if !matched {
            return Step::Unmatched("a response with an id that was not asked with");
        }
        self.answered = true;
        if message.id().is_some() {
            return Step::Last(message);
        }
        match message.edit().set_id(&self.id).apply(limits) {
            Ok(labelled) => Step::Last(labelled),
            Err(_) => Step::Unmatched("an error without an id that could not be given one"),
        }
    }
}
