//! Everything a context can be made of, gathered from a call, from one item of a list or from one embedded request. Borrowed; nothing is
//! converted before a policy asks for it.

use std::borrow::Cow;
use std::sync::Arc;

use portcullis_core::call::{self, Call, Subject};
use portcullis_core::caller::Caller;
use portcullis_core::catalogue::{Annotations, Tool};
use portcullis_core::wire::{Direction, Kind, View};

use super::Unfit;
use crate::vocabulary::{Shape, action_of, shape};

/// One thing to be judged.
#[derive(Clone, Debug)]
pub(crate) struct Facts<'a> {
    pub(crate) context: &'a call::Context,
    /// Who is judged: who calls, or an agent that the request went through.
    pub(crate) caller: &'a Arc<Caller>,
    pub(crate) method: &'a str,
    /// Id of the method action.
    pub(crate) action: &'static str,
    pub(crate) direction: Direction,
    /// A response of the client; the request it answers was judged with its own params.
    pub(crate) answer: bool,
    /// An item of a list: the server offers it right now, whatever the catalogue knows.
    pub(crate) listed: bool,
    pub(crate) shape: Shape,
    pub(crate) name: Option<Cow<'a, str>>,
    /// The tool of that name, as the catalogue knows it.
    pub(crate) tool: Option<&'a Arc<Tool>>,
    /// What the server says of the tool. `None` while nothing is known of any tool: no hints is not the same as not knowing.
    pub(crate) hints: Option<Annotations>,
    pub(crate) params: Option<View<'a>>,
    pub(crate) arguments: Option<View<'a>>,
    /// The completion refers to a resource, not to a prompt.
    pub(crate) completes_resource: bool,
}

impl<'a> Facts<'a> {
    pub(crate) fn of_call(call: &'a Call) -> Self {
        let message = call.message();
        let answer = message.is_some_and(|message| matches!(message.kind(), Kind::Result | Kind::Error));
        let (method, direction) = (call.method(), call.direction());
        let action = match &call.subject {
            Subject::Message(_) => action_of(method, direction, answer),
            Subject::Stream { .. } => call::STREAM_OPEN,
            Subject::Close => call::SESSION_CLOSE,
        };
        let shape = shape(action);
        let params = message.and_then(|message| message.params());
        let reference = || params?.path(&["ref", "type"])?.as_str();
        let name = call.name();
        let tool = name.filter(|_| shape == Shape::Tool).and_then(|name| call.context.catalogue.tool(name));
        let hints = match tool {
            Some(tool) => Some(tool.annotations),
            None => call.context.catalogue.is_read().then(Annotations::default),
        };
        Self {
            context: &call.context,
            caller: &call.context.caller,
            method,
            action,
            direction,
            answer,
            listed: false,
            shape,
            name: name.map(Cow::Borrowed),
            tool,
            hints,
            params,
            arguments: call.arguments(),
            completes_resource: shape == Shape::Completion && reference().is_some_and(|kind| kind == "ref/resource"),
        }
    }

    /// One item of a list, as the call that would use it.
    pub(crate) fn of_item(context: &'a call::Context, action: &'static str, name: Option<Cow<'a, str>>) -> Self {
        Self {
            context,
            caller: &context.caller,
            method: action,
            action,
            direction: Direction::ToServer,
            answer: false,
            listed: true,
            shape: shape(action),
            name,
            tool: None,
            hints: None,
            params: None,
            arguments: None,
            completes_resource: false,
        }
    }

    /// One member of `inputRequests`: the modern form of a server's request (C58, C59).
    pub(crate) fn of_embedded(context: &'a call::Context, method: &'a str, params: Option<View<'a>>) -> Self {
        let action = action_of(method, Direction::ToClient, false);
        Self { method, direction: Direction::ToClient, listed: false, params, ..Self::of_item(context, action, None) }
    }

    /// The same for each agent of the chain that is judged too, with the number of its entry.
    pub(crate) fn agents(&self) -> impl Iterator<Item = (usize, Self)> {
        let agents = self.context.proofs.chain.agents();
        agents.map(|(at, agent)| (at, Self { caller: agent, ..self.clone() }))
    }

    /// Form or url elicitation; form when the server does not say: older revisions know nothing else.
    pub(crate) fn mode(&self) -> Result<Option<Cow<'a, str>>, Unfit> {
        if self.shape != Shape::Elicitation || self.answer {
            return Ok(None);
        }
        match self.params.and_then(|params| params.get("mode")) {
            None => Ok(Some(Cow::Borrowed("form"))),
            Some(mode) => mode.as_str().map(Some).ok_or_else(|| Unfit::new("mode", "not a string")),
        }
    }

    /// The URI the message is about, exactly as written.
    pub(crate) fn uri(&self) -> Option<&str> {
        match self.shape {
            Shape::Resource => self.name.as_deref(),
            Shape::Completion if self.completes_resource => self.name.as_deref(),
            _ => None,
        }
    }

    /// Whether the action depends on more than the method: every tool is an action of its own.
    pub(crate) fn is_by_name(&self) -> bool {
        self.shape == Shape::Tool
    }

    /// Whether the tool may exist as far as anyone knows; an unread catalogue rules nothing out.
    pub(crate) fn exists(&self) -> bool {
        self.tool.is_some() || !self.context.catalogue.is_read()
    }
}
