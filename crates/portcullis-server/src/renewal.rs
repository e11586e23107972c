//! What lasts is asked for again of a server that lost a session and was told of it anew: each wish in the client's words and place, through the steps
//! that the client's own message took (judged by the plan in force, recorded, inspected). What does not come back is said to the client.

use std::sync::Arc;
use std::time::Duration;

use portcullis_core::call::{Call, Context, SessionKey, Subject};
use portcullis_core::own::{self, quoted};
use portcullis_core::trace::TraceContext;
use portcullis_core::upstream::Renewals;
use portcullis_core::wire::{Direction, Id, Kind, Message};

use crate::answer::Refusal;
use crate::endpoint::{Endpoint, Server};
use crate::forward::{Forwarded, forward};
use crate::gateway::Gateway;
use crate::place::Place;
use crate::random;
use crate::read::Read;
use crate::session::Session;
use crate::session::awaited::{Proven, Wish};

/// Times that a server which goes on losing the session is asked for everything. 3: then the client may as well know.
const ROUNDS: usize = 3;
/// What one wish may take where the endpoint says nothing. As long as a merged answer waits by default.
const PATIENCE: Duration = Duration::from_secs(10);

impl Renewals for Gateway {
    fn awaits(&self, session: SessionKey, server: &str) -> bool {
        let session = self.sessions.known(session);
        session.is_some_and(|session| place(self, &session, server).is_some_and(|(_, at)| session.awaits(at)))
    }

    fn renewed(self: Arc<Self>, session: SessionKey, server: &str) {
        let Some(session) = self.sessions.known(session) else { return };
        let Some((endpoint, at)) = place(&self, &session, server) else { return };
        let Some(server) = endpoint.servers.get(at).map(Arc::clone) else { return };
        if !session.awaited().begins(at) {
            return;
        }
        let (tasks, overdue) = (self.tasks.clone(), self.overdue.token().clone());
        tasks.spawn(async move {
            let renewal = Renewal { gateway: self, session, endpoint, server, at };
            // At the end of a drain nobody is left who could be told.
            tokio::select! {
                biased;
                () = overdue.cancelled() => {}
                () = renewal.run() => {}
            }
        });
    }
}

/// The endpoint of a session and the place of a server there.
fn place(gateway: &Gateway, session: &Session, server: &str) -> Option<(Arc<Endpoint>, usize)> {
    let endpoint = gateway.endpoints.at(&session.home.path)?;
    let at = endpoint.names.iter().position(|name| **name == *server)?;
    Some((Arc::clone(endpoint), at))
}

/// One server's half of a session.
struct Renewal {
    gateway: Arc<Gateway>,
    session: Arc<Session>,
    endpoint: Arc<Endpoint>,
    server: Arc<Server>,
    at: usize,
}

/// What keeps a wish from being fulfilled again.
enum Failure {
    /// The policy in force, or the server.
    Refused,
    /// Whatever else: later it may be.
    Failed,
}

impl Renewal {
    async fn run(&self) {
        for round in 1..=ROUNDS {
            self.ask_for_everything().await;
            if !self.session.awaited().ends(self.at, round == ROUNDS) {
                return;
            }
        }
        self.tell("the server goes on losing this session; subscribe again if you still need it", &[]);
    }

    async fn ask_for_everything(&self) {
        let Some((wishes, by, beyond)) = self.session.awaited().of(self.at) else { return };
        let mut lost = Vec::new();
        let mut reachable = true;
        for (number, wish) in wishes.into_iter().enumerate() {
            if !self.session.awaited().wants(self.at, &wish) {
                continue;
            }
            // Who does not answer once is not waited for once more for each of them.
            let outcome = if reachable { self.ask(number, &wish, &by).await } else { Err(Failure::Failed) };
            match outcome {
                Ok(()) => {}
                Err(Failure::Refused) => {
                    self.session.awaited().refused(self.at, &wish);
                    lost.push(wish);
                }
                Err(Failure::Failed) => {
                    reachable = false;
                    lost.push(wish);
                }
            }
        }
        if beyond {
            self.tell(
                "the server lost this session, and not all that you asked of it could be kept; subscribe again",
                &[],
            );
        }
        if !lost.is_empty() {
            tracing::warn!(server = %self.server.name(), lost = lost.len(), "not all that a client waits for could be asked for again");
            self.tell("the server lost this session, and what follows could not be asked for again", &lost);
        }
    }

    /// One wish, to the end of its answer.
    async fn ask(&self, number: usize, wish: &Wish, by: &Proven) -> Result<(), Failure> {
        let read = self.read(number, wish, by).ok_or(Failure::Failed)?;
        let patience = self.endpoint.merging.as_ref().map_or(PATIENCE, |merging| merging.deadline);
        let answered = async {
            let Forwarded { mut journey } = match forward(&self.gateway, read).await {
                Ok(forwarded) => forwarded,
                Err(unread) if matches!(unread.refusal, Refusal::Fault(_)) => return Err(Failure::Failed),
                Err(_) => return Err(Failure::Refused),
            };
            let mut last = None;
            while let Some(message) = journey.next().await {
                last = message.kind();
            }
            match last {
                Some(Kind::Result) => Ok(()),
                Some(Kind::Error) => Err(Failure::Refused),
                _ => Err(Failure::Failed),
            }
        };
        tokio::time::timeout(patience, answered).await.unwrap_or(Err(Failure::Failed))
    }

    /// The wish as a call of the client's: its proof must still hold, and it takes one of its places.
    fn read(&self, number: usize, wish: &Wish, by: &Proven) -> Option<Read> {
        let gateway = &self.gateway;
        let now = gateway.clock.now();
        if by.until.is_some_and(|until| until <= now) {
            return None;
        }
        let permit = self.session.owner.admit(gateway.settings.limits.requests_per_caller, &gateway.held).ok()?;
        let id = Id::string(&format!("portcullis-renewal-{}-{number}", self.at));
        let in_flight = self.session.begin(&id, [self.at].into_iter().collect()).ok()?;
        let bytes = own::request(&id, wish.method(), &wish.params());
        let message = Message::read(bytes, Direction::ToServer, &gateway.limits).ok()?;
        let (trace_id, span) = (random::id::<16>()?, random::id::<8>()?);
        let context = Context {
            session: Some(self.session.facts()),
            server: Arc::clone(self.server.name()),
            trace: TraceContext::from_request(&[], &[], None, trace_id, span),
            now,
            catalogue: self.server.upstream.catalogue().into(),
            param_headers: Vec::new(),
            answers: None,
            ..(*by.context).clone()
        };
        Some(Read {
            call: Call { context: Arc::new(context), subject: Subject::Message(message) },
            endpoint: Arc::clone(&self.endpoint),
            place: Place { at: self.at, server: Arc::clone(&self.server), facing: None },
            session: Some(Arc::clone(&self.session)),
            opening: None,
            in_flight: Some(in_flight),
            permit: Arc::new(permit),
            until: by.until,
            directory: gateway.directory.load_full(),
            known: None,
        })
    }

    /// On the stream on which the client would have heard what is lost, if it wants warnings at all.
    fn tell(&self, why: &str, lost: &[Wish]) {
        if !self.session.tells_warnings() {
            return;
        }
        let names = self.endpoint.merging.as_ref().map(|merging| &merging.names);
        let shown = |wish: &Wish| match wish {
            Wish::Resource(uri) => names.and_then(|names| names.shown_uri(self.at, uri)).map(|uri| quoted(&uri)),
            Wish::Level(_) => None,
        };
        let resources: Vec<String> = lost.iter().filter_map(shown).collect();
        let level = lost.iter().any(|wish| matches!(wish, Wish::Level(_)));
        let (server, why) = (quoted(self.server.name()), quoted(why));
        let resources = resources.join(",");
        self.session
            .awaited()
            .tell(format!(r#"{{"server":{server},"message":{why},"resources":[{resources}],"logLevel":{level}}}"#));
    }
}
