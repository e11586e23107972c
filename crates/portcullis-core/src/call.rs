//! One thing a peer asks for, with every fact a decision may use. Immutable once made.

use std::sync::Arc;

use crate::caller::Caller;
use crate::catalogue::{Snapshot, Tool};
use crate::clock::Timestamp;
use crate::proofs::Proofs;
use crate::tally::Tally;
use crate::trace::TraceContext;
use crate::version::{Era, Version};
use crate::wire::{Direction, Id, Kind, Message, View};

/// Key of a legacy session inside the gateway: random, never shown to anyone; the client sees it sealed.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SessionKey(pub u128);

/// Keys are secrets: a debug print shows none of it.
impl std::fmt::Debug for SessionKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("SessionKey(..)")
    }
}

/// What is known of the legacy session a call belongs to.
#[derive(Clone, Debug)]
pub struct Session {
    /// Ties the call to its upstream session.
    pub key: SessionKey,
    /// Short digest that stands for the session in the log (never the id itself).
    pub hash: Arc<str>,
    /// What it has called. Filled in when the call is judged, for a gate that looks ([`crate::gate::Gate::heeds_tally`]).
    pub tally: Option<Tally>,
}

/// What does not change between the messages of one exchange.
#[derive(Clone, Debug)]
pub struct Context {
    pub caller: Arc<Caller>,
    /// What the request proved beside who calls.
    pub proofs: Arc<Proofs>,
    /// The protocol revision both sides of this exchange speak; hence the era.
    pub version: Version,
    /// Legacy sessions only. Also set on the `initialize` that opens the session.
    pub session: Option<Session>,
    /// Name of the upstream server this call is for.
    pub server: Arc<str>,
    pub trace: TraceContext,
    pub now: Timestamp,
    /// What the server offers, as known when the call arrived. The call keeps this snapshot.
    pub catalogue: Snapshot,
    /// `Mcp-Param-*` headers of a modern request, lower-case name and exact value, validated against the body where the tool
    /// declares them and forwarded in any case (E2).
    pub param_headers: Vec<(String, String)>,
    /// How the client would like the server to be reached (`MCP-Transport-Preference`), first choice first. A wish: heeded only where the operator
    /// gives clients a say.
    pub transports: Vec<Arc<str>>,
    /// For a client's answer to a server request: the method of that request.
    pub answers: Option<Arc<str>>,
}

/// What is being asked for.
#[derive(Clone, Debug)]
pub enum Subject {
    /// One JSON-RPC message.
    Message(Message),
    /// Legacy `GET`: the standalone stream, or the resumption of a broken one.
    Stream {
        /// The upstream's own event id, already unsealed and checked to be this caller's.
        last_event_id: Option<String>,
        /// What the broken stream was the reply to; `None` for the standalone stream.
        request: Option<Box<Interrupted>>,
    },
    /// Legacy `DELETE`: the end of the session.
    Close,
}

/// A request whose reply broke off, as the gateway sealed it into the event ids that it gave the client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Interrupted {
    /// The only one that an answer on the resumed stream may have (A18).
    pub id: Id,
    pub method: String,
    /// What the method named: a tool, a prompt, a resource URI, a task.
    pub name: Option<String>,
}

/// A caller, a subject and the facts around them: what guards judge.
#[derive(Clone, Debug)]
pub struct Call {
    pub context: Arc<Context>,
    pub subject: Subject,
}

/// Pseudo-method under which policies see the opening of the legacy `GET` stream.
pub const STREAM_OPEN: &str = "stream/open";
/// Pseudo-method under which policies see the end of a legacy session.
pub const SESSION_CLOSE: &str = "session/close";

impl Call {
    /// The MCP method, the method being answered for a response, or one of the pseudo-methods above.
    #[must_use]
    pub fn method(&self) -> &str {
        match &self.subject {
            Subject::Message(message) => {
                message.method().or(self.context.answers.as_deref()).unwrap_or("response/unmatched")
            }
            Subject::Stream { .. } => STREAM_OPEN,
            Subject::Close => SESSION_CLOSE,
        }
    }

    /// Which way the subject travels.
    #[must_use]
    pub fn direction(&self) -> Direction {
        match &self.subject {
            Subject::Message(message) => message.direction(),
            Subject::Stream { .. } | Subject::Close => Direction::ToServer,
        }
    }

    #[must_use]
    pub fn message(&self) -> Option<&Message> {
        match &self.subject {
            Subject::Message(message) => Some(message),
            Subject::Stream { .. } | Subject::Close => None,
        }
    }

    #[must_use]
    pub fn era(&self) -> Era {
        self.context.version.era()
    }

    /// Whether the peer waits for a response to this message.
    #[must_use]
    pub fn expects_response(&self) -> bool {
        self.message().is_some_and(|message| message.kind() == Kind::Request)
    }

    /// The tool a `tools/call` towards the server names, if the server is known to offer it.
    #[must_use]
    pub fn tool(&self) -> Option<&Arc<Tool>> {
        if self.method() != "tools/call" || self.direction() != Direction::ToServer {
            return None;
        }
        self.context.catalogue.tool(self.name()?)
    }

    /// What the method names: a tool, a prompt, a resource URI, a task.
    #[must_use]
    pub fn name(&self) -> Option<&str> {
        self.message().and_then(Message::name)
    }

    #[must_use]
    pub fn arguments(&self) -> Option<View<'_>> {
        self.message().and_then(Message::arguments)
    }

    /// The same exchange with another message: how messages of a reply are judged.
    #[must_use]
    pub fn with_message(&self, message: Message) -> Self {
        Self { context: Arc::clone(&self.context), subject: Subject::Message(message) }
    }
}
