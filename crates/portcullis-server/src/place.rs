//! Which servers a client's message is for, and the message as each of them knows it. At an endpoint of one server that is the message as it
//! came; at one of several, names decide (`portcullis_core::naming`) and, for what has no name, the session does.

use std::sync::Arc;

use portcullis_core::catalogue::Catalogue;
use portcullis_core::gate::Exposure;
use portcullis_core::merge;
use portcullis_core::naming::{self, Placed, Unplaced, with_cursor};
use portcullis_core::own::quoted;
use portcullis_core::refusal::{Denial, DenialCode, Manner, Violation};
use portcullis_core::wire::{Id, Kind, Limits, Malformed, Message, view_json};

use crate::answer::{Refusal, gateway_denial};
use crate::cursor::Cursor;
use crate::endpoint::{Endpoint, Merging, Server};
use crate::identify::Known;
use crate::seal::Sealer;
use crate::session::{Session, Targets};

/// One server of an endpoint.
#[derive(Debug)]
pub(crate) struct Place {
    /// Among the servers of the endpoint.
    pub(crate) at: usize,
    pub(crate) server: Arc<Server>,
    /// How its replies are shown, where clients know its things by other names.
    pub(crate) facing: Option<Arc<Facing>>,
}

/// A message on its way to one server.
#[derive(Debug)]
pub(crate) struct Leg {
    pub(crate) place: Place,
    pub(crate) message: Message,
}

/// Everybody a message is for.
#[derive(Debug)]
pub(crate) enum Legs {
    One(Leg),
    /// Several, or one whose answer is made up like that of several. At least one; and how many pages of the list came before.
    Many(Vec<Leg>, usize),
}

impl Legs {
    /// The places of the servers, for what comes later under the id of this message.
    pub(crate) fn targets(&self) -> Targets {
        match self {
            Self::One(leg) => [leg.place.at].into_iter().collect(),
            Self::Many(legs, _) => legs.iter().map(|leg| leg.place.at).collect(),
        }
    }

    /// The id, if it is a request.
    pub(crate) fn request(&self) -> Option<&Id> {
        let leg = match self {
            Self::One(leg) => Some(leg),
            Self::Many(legs, _) => legs.first(),
        };
        leg.map(|leg| &leg.message).filter(|message| message.kind() == Kind::Request)?.id()
    }
}

/// What placing looks at.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Placing<'a> {
    pub(crate) endpoint: &'a Arc<Endpoint>,
    pub(crate) caller: &'a Known,
    pub(crate) session: Option<&'a Session>,
    pub(crate) sealer: &'a Sealer,
    pub(crate) limits: &'a Limits,
}

/// An endpoint of several servers, and what they offer at this moment.
struct Several<'a> {
    merging: &'a Merging,
    known: Arc<[Arc<Catalogue>]>,
    /// The method of the request that replies will answer.
    method: Option<Arc<str>>,
}

impl Placing<'_> {
    /// # Errors
    /// What nobody here has, or what this caller may not reach: both look the same.
    pub(crate) fn place(&self, message: Message) -> Result<Legs, Refusal> {
        let Some(merging) = &self.endpoint.merging else { return Ok(Legs::One(Leg { place: self.only(), message })) };
        let several = Several {
            merging,
            known: self.endpoint.known().into(),
            method: message.method().filter(|_| message.kind() == Kind::Request).map(Arc::from),
        };
        match merging.names.place(&message, &several.known, self.limits) {
            Ok(Placed::One { server, message }) => self.one(server, message, &several),
            Ok(Placed::All(legs)) => self.all(legs, 0, &several),
            Ok(Placed::Page { cursor }) => self.page(&message, &cursor, &several),
            Ok(Placed::Cancel { id }) => self.cancelled(&message, &id, &several),
            Ok(Placed::Progress { token }) => self.progress(&message, &token, &several),
            Ok(Placed::Answer) => self.answer(&message, &several),
            Err(Unplaced::Malformed(malformed)) => Err(malformed.into()),
            Err(unplaced) => Err(unknown(unplaced.to_string())),
        }
    }

    /// Every server that takes part, for what has no message.
    pub(crate) fn everywhere(&self) -> Vec<Place> {
        let Some(merging) = &self.endpoint.merging else { return vec![self.only()] };
        let several = Several { merging, known: self.endpoint.known().into(), method: None };
        (0..self.endpoint.servers.len()).filter_map(|at| self.taking_part(at, &several)).collect()
    }

    fn only(&self) -> Place {
        Place { at: 0, server: Arc::clone(&self.endpoint.first), facing: None }
    }

    fn one(&self, at: usize, message: Message, several: &Several<'_>) -> Result<Legs, Refusal> {
        let place = self.at(at, several).ok_or_else(|| unknown("not a server of this caller's".to_owned()))?;
        Ok(Legs::One(Leg { place, message }))
    }

    /// `None` for a server that the caller may not reach.
    fn at(&self, at: usize, several: &Several<'_>) -> Option<Place> {
        let server = self.endpoint.servers.get(at).filter(|server| self.caller.reaches(server.name()))?;
        let facing = naming::Facing {
            names: Arc::clone(&several.merging.names),
            server: at,
            answers: several.method.clone(),
            known: Arc::clone(&several.known),
            limits: *self.limits,
        };
        let facing = Some(Arc::new(Facing { facing, server: Arc::clone(server.name()) }));
        Some(Place { at, server: Arc::clone(server), facing })
    }

    /// Nor one that the session has to do without.
    fn taking_part(&self, at: usize, several: &Several<'_>) -> Option<Place> {
        if self.session.is_some_and(|session| session.is_without(at)) { None } else { self.at(at, several) }
    }

    /// Whether the server, as far as it is known, can be asked this at all.
    fn may_have(&self, at: usize, method: &str, several: &Several<'_>) -> bool {
        let Some(hello) = several.known.get(at).and_then(|known| known.hello()) else { return true };
        view_json(&hello.capabilities, self.limits).is_ok_and(|capabilities| merge::is_for(method, capabilities))
    }

    fn all(&self, legs: Vec<(usize, Message)>, pages: usize, several: &Several<'_>) -> Result<Legs, Refusal> {
        let leg = |(at, message)| {
            let asked = several.method.as_deref().is_none_or(|method| self.may_have(at, method, several));
            self.taking_part(at, several).filter(|_| asked).map(|place| Leg { place, message })
        };
        let legs: Vec<Leg> = legs.into_iter().filter_map(leg).collect();
        if legs.is_empty() {
            return Err(unknown("no server of this endpoint is for this caller".to_owned()));
        }
        Ok(Legs::Many(legs, pages))
    }

    /// A list goes on where its cursor says, at those servers whose lists have not ended.
    fn page(&self, message: &Message, sealed: &str, several: &Several<'_>) -> Result<Legs, Refusal> {
        let method = message.method().unwrap_or_default();
        let cursor =
            Cursor::open(self.sealer, &self.caller.account.owner, method, sealed).ok_or(Violation::CursorUnknown)?;
        let mut legs = Vec::new();
        for (at, server) in self.endpoint.servers.iter().enumerate() {
            if let Some(own) = cursor.of(server.name()) {
                legs.push((at, with_cursor(message, Some(own), self.limits)?));
            }
        }
        self.all(legs, cursor.pages(), several)
    }

    /// To whoever the cancelled request was sent.
    fn cancelled(&self, message: &Message, id: &Id, several: &Several<'_>) -> Result<Legs, Refusal> {
        let targets = self.session.and_then(|session| session.targets(id)).ok_or(Violation::CancelUnmatched)?;
        self.all(targets.iter().map(|at| (*at, message.clone())).collect(), 0, several)
    }

    /// To the server whose request it is about.
    fn progress(&self, message: &Message, token: &Id, several: &Several<'_>) -> Result<Legs, Refusal> {
        let (at, own) = self.unmark(token).ok_or(Violation::ResponseUnmatched)?;
        let written = message.param("progressToken").ok_or(Violation::ResponseUnmatched)?;
        let message = message.edit().replace(written, own.raw()).apply(self.limits)?;
        self.one(at, several.merging.names.answer(at, &message, self.limits)?, several)
    }

    /// To the server whose request it answers; that it does, the session has found out.
    fn answer(&self, message: &Message, several: &Several<'_>) -> Result<Legs, Refusal> {
        let (at, own) = message.id().and_then(|id| self.unmark(id)).ok_or(Violation::ResponseUnmatched)?;
        let message = several.merging.names.answer(at, message, self.limits)?;
        self.one(at, message.edit().set_id(&own).apply(self.limits)?, several)
    }

    /// The server of an id that [`mark`] made, and its own id.
    fn unmark(&self, id: &Id) -> Option<(usize, Id)> {
        let (server, own) = id.as_str()?.split_once(':')?;
        Some((self.endpoint.names.iter().position(|name| **name == *server)?, Id::from_text(own)?))
    }
}

/// A server's own id or token, told from every other server's. Names of servers have no colon.
fn mark(server: &str, raw: &str) -> String {
    format!("{server}:{raw}")
}

/// Answered like what does not exist at a server: nothing tells one from the other.
fn unknown(detail: String) -> Refusal {
    let denial = gateway_denial(DenialCode::NotListed, "not found", detail);
    Denial { manner: Manner::Unknown, ..denial }.into()
}

/// How one server's messages are shown at an endpoint of several.
#[derive(Debug)]
pub(crate) struct Facing {
    facing: naming::Facing,
    server: Arc<str>,
}

impl Facing {
    /// The id of a server's request as the client knows it.
    pub(crate) fn id(&self, own: &Id) -> Id {
        Id::string(&mark(&self.server, own.raw()))
    }
}

impl Exposure for Facing {
    /// Ids and tokens that the server chose get its name in front, so that no two servers' are the same.
    fn expose(&self, message: &Message) -> Result<Message, Malformed> {
        let shown = self.facing.expose(message)?;
        let mut edit = shown.edit();
        if let (Kind::Request, Some(id)) = (shown.kind(), shown.id()) {
            edit = edit.set_id(&self.id(id));
            if let Some(token) = shown.meta("progressToken") {
                edit = edit.set_meta("progressToken", &quoted(&mark(&self.server, token.text())));
            }
        }
        if let Some(id) = shown.param("requestId").filter(|_| shown.method() == Some("notifications/cancelled")) {
            edit = edit.replace(id, &quoted(&mark(&self.server, id.text())));
        }
        edit.apply(&self.facing.limits)
    }
}
