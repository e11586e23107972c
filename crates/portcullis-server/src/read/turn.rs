//! What one message becomes: a call to one server, or the same call to several.

use std::sync::Arc;

use portcullis_core::call::{Call, Context, Subject};
use portcullis_core::catalogue::Snapshot;
use portcullis_core::clock::Timestamp;
use portcullis_core::mirror;
use portcullis_core::trace::{self, TraceContext};
use portcullis_core::version::{Era, Version};
use portcullis_core::wire::{Kind, Message};

use super::Reader;
use crate::answer::Refusal;
use crate::endpoint::{Endpoint, Server};
use crate::identify::{Directory, Permit};
use crate::place::{Leg, Legs, Place, Placing};
use crate::preference::preferred;
use crate::session::{InFlight, Opening, Session};

/// A call that was read, with what it holds while it is in progress.
#[derive(Debug)]
pub(crate) struct Read {
    pub(crate) call: Call,
    pub(crate) endpoint: Arc<Endpoint>,
    pub(crate) place: Place,
    pub(crate) session: Option<Arc<Session>>,
    /// The session that this `initialize` opens; ends with the call unless the server agrees.
    pub(crate) opening: Option<Opening>,
    pub(crate) in_flight: Option<InFlight>,
    pub(crate) permit: Arc<Permit>,
    /// When what proved the caller ends.
    pub(crate) until: Option<Timestamp>,
    /// What the caller was found in.
    pub(crate) directory: Arc<Directory>,
    /// What was answered to this once before: nothing is sent (J9).
    pub(crate) known: Option<Message>,
}

/// What one message became.
#[derive(Debug)]
pub(crate) enum Turn {
    One(Box<Read>),
    /// The same message for several servers, with one answer.
    Many(Box<Many>),
}

/// A message for several servers.
#[derive(Debug)]
pub(crate) struct Many {
    /// At least one, of different servers.
    pub(crate) reads: Vec<Read>,
    /// Pages of the list that came before.
    pub(crate) pages: usize,
    pub(crate) opening: Option<Opening>,
    pub(crate) in_flight: Option<InFlight>,
}

impl Turn {
    /// The first, which stands for all in everything but the server.
    pub(crate) fn read(&self) -> Option<&Read> {
        match self {
            Self::One(read) => Some(read),
            Self::Many(many) => many.reads.first(),
        }
    }

    pub(crate) fn expects_response(&self) -> bool {
        self.read().is_some_and(|read| read.call.expects_response())
    }

    /// The session id that an `initialize` gives the client.
    pub(crate) fn opens(&self) -> Option<String> {
        let opening = match self {
            Self::One(read) => read.opening.is_some(),
            Self::Many(many) => many.opening.is_some(),
        };
        self.read().filter(|_| opening)?.session.as_ref().map(|session| session.sealed.clone())
    }
}

/// What all messages that one became have in common.
pub(super) struct Exchange {
    pub(super) version: Version,
    pub(super) session: Option<Arc<Session>>,
    pub(super) param_headers: Vec<(String, String)>,
    pub(super) answers: Option<Arc<str>>,
    pub(super) opening: Option<Opening>,
}

impl Reader<'_> {
    pub(super) fn placing<'s>(&'s self, session: Option<&'s Session>) -> Placing<'s> {
        Placing {
            endpoint: self.endpoint,
            caller: &self.identified.known,
            session,
            sealer: &self.gateway.sealer,
            limits: &self.gateway.limits,
        }
    }

    /// Each leg as a call of its own; what belongs to all of them once.
    pub(super) async fn turn(&self, legs: Legs, mut exchange: Exchange) -> Result<Turn, Refusal> {
        let opening = exchange.opening.take();
        let in_flight = match (&exchange.session, legs.request()) {
            (Some(session), Some(id)) if opening.is_none() => Some(session.begin(id, legs.targets())?),
            _ => None,
        };
        match legs {
            Legs::One(leg) => {
                let mut read = self.leg(leg, &exchange).await?;
                (read.opening, read.in_flight) = (opening, in_flight);
                Ok(Turn::One(Box::new(read)))
            }
            Legs::Many(legs, pages) => {
                let mut reads = Vec::with_capacity(legs.len());
                for leg in legs {
                    reads.push(self.leg(leg, &exchange).await?);
                }
                Ok(Turn::Many(Box::new(Many { reads, pages, opening, in_flight })))
            }
        }
    }

    async fn leg(&self, leg: Leg, exchange: &Exchange) -> Result<Read, Refusal> {
        let Leg { place, message } = leg;
        let offers = self.offers(&place.server, &message).await;
        let mut context = self.context(exchange, &place.server, offers, self.trace(Some(&message))?);
        if self.bare && context.version.era() == Era::Modern {
            let tool = message.name().and_then(|name| context.catalogue.tool(name).cloned());
            context.param_headers = mirror::params_of(&message, tool.as_deref());
        }
        let message = match message.kind() {
            Kind::Request => trace::splice(message, &context.trace, &self.gateway.limits)?,
            Kind::Notification | Kind::Result | Kind::Error => message,
        };
        Ok(self.read(place, Call { context: Arc::new(context), subject: Subject::Message(message) }, exchange))
    }

    pub(super) fn context(
        &self,
        exchange: &Exchange,
        server: &Server,
        offers: Snapshot,
        trace: TraceContext,
    ) -> Context {
        Context {
            caller: Arc::clone(&self.identified.known.caller),
            proofs: Arc::clone(&self.identified.proofs),
            version: exchange.version,
            session: exchange.session.as_ref().map(|session| session.facts()),
            server: Arc::clone(server.name()),
            trace,
            now: self.now,
            catalogue: offers,
            param_headers: exchange.param_headers.clone(),
            transports: preferred(self.headers),
            answers: exchange.answers.clone(),
        }
    }

    pub(super) fn read(&self, place: Place, call: Call, exchange: &Exchange) -> Read {
        Read {
            call,
            endpoint: Arc::clone(self.endpoint),
            place,
            session: exchange.session.clone(),
            opening: None,
            in_flight: None,
            permit: Arc::clone(&self.permit),
            until: self.identified.until,
            directory: Arc::clone(&self.identified.directory),
            known: None,
        }
    }
}
