//! A server of which one path shows only chosen tools. What is not chosen is to that path's clients as if the server did not have it: it is
//! in no list, the gate refuses it by the catalogue, and what the gate cannot know yet is refused here.

use std::sync::{Arc, PoisonError, RwLock};

use futures_util::{StreamExt, stream};
use portcullis_core::call::Subject;
use portcullis_core::catalogue::Catalogue;
use portcullis_core::gate::Cleared;
use portcullis_core::own;
use portcullis_core::refusal::{Fault, FaultKind};
use portcullis_core::upstream::{self, Arrived, Media, Pending, Reply, Upstream};
use portcullis_core::wire::{Derived, Direction, JsonKind, Kind, Known, Limits, Malformed, Message, View};

use crate::pattern::Pattern;

/// Which tools of a server are meant. Default: all.
#[derive(Clone, Debug, Default)]
pub struct Choice(Option<Vec<Pattern>>);

impl Choice {
    /// The tools that fit any of these; none without a pattern.
    #[must_use]
    pub fn of(patterns: impl IntoIterator<Item = Pattern>) -> Self {
        Self(Some(patterns.into_iter().collect()))
    }

    /// Whether nothing is left out.
    #[must_use]
    pub const fn is_all(&self) -> bool {
        self.0.is_none()
    }

    /// Whether the tool of this name is among them.
    #[must_use]
    pub fn has(&self, name: &str) -> bool {
        self.0.as_ref().is_none_or(|patterns| patterns.iter().any(|pattern| pattern.fits(name)))
    }
}

/// The wrapper.
#[derive(Debug)]
pub struct Selected {
    inner: Arc<dyn Upstream>,
    choice: Arc<Choice>,
    limits: Limits,
    /// Lists without what is not shown, for when the server sends the same ones again.
    left: Arc<Derived<()>>,
    /// The server's catalogue, and what of it is shown: made once for each.
    shown: RwLock<Option<(Arc<Catalogue>, Arc<Catalogue>)>>,
}

impl Selected {
    /// `limits` bound the lists that filtering writes.
    #[must_use]
    pub fn new(inner: Arc<dyn Upstream>, choice: Choice, limits: Limits) -> Arc<Self> {
        let left = Arc::new(Derived::new(MOST_LEFT));
        Arc::new(Self { inner, choice: Arc::new(choice), limits, left, shown: RwLock::default() })
    }

    fn shown(&self, whole: &Arc<Catalogue>) -> Arc<Catalogue> {
        let known = self.shown.read().unwrap_or_else(PoisonError::into_inner);
        if let Some((of, shown)) = known.as_ref()
            && Arc::ptr_eq(of, whole)
        {
            return Arc::clone(shown);
        }
        drop(known);
        let shown = Arc::new(whole.only(&|name| self.choice.has(name)));
        let mut known = self.shown.write().unwrap_or_else(PoisonError::into_inner);
        *known = Some((Arc::clone(whole), Arc::clone(&shown)));
        shown
    }

    /// The answer to a call of a tool that is not shown: what servers say of a tool that they do not have. `None` when the call may go on.
    fn unknown(&self, cleared: &Cleared) -> Option<Result<Reply, Fault>> {
        let message = cleared.call().message()?;
        if message.method() != Some("tools/call") || message.name().is_some_and(|name| self.choice.has(name)) {
            return None;
        }
        let text = own::error(message.id(), INVALID_PARAMS, "Unknown tool", None);
        let answer = Message::read(text, Direction::ToClient, &self.limits).map(|message| {
            let arrived = Arrived { message: Some(message), ..Arrived::default() };
            Reply::new(Media::Json, Box::pin(stream::iter([Ok(arrived)])))
        });
        Some(answer.map_err(|malformed| unwritten(&malformed)))
    }
}

/// Bytes of lists that are remembered, whole and shortened. 1 MiB: as much as is known of one server's.
const MOST_LEFT: usize = 1 << 20;

/// JSON-RPC: the parameters are wrong. What MCP asks servers to say of an unknown tool.
const INVALID_PARAMS: i64 = -32602;

/// What was valid stays valid when something is left out, so nobody should see this.
fn unwritten(malformed: &Malformed) -> Fault {
    Fault::new(FaultKind::Garbage, format!("what is not shown cannot be left out: {}", malformed.code()))
}

/// The message without the tools that are not shown.
fn shortened(message: Message, choice: &Choice, left: &Derived<()>, limits: &Limits) -> Result<Message, Fault> {
    let Some(tools) = listed(&message) else { return Ok(message) };
    let known = message.known_result_member("tools");
    if let Some(left) = known.and_then(|known| left.find(known, |()| true)) {
        return message.edit().replace_by_known(tools, &left).apply(limits).map_err(|malformed| unwritten(&malformed));
    }
    let keep: Vec<bool> = tools
        .elements()
        .map(|tool| tool.get("name").and_then(View::as_str).is_some_and(|name| choice.has(&name)))
        .collect();
    let edit = message.edit().remove_elements(tools, &|index| keep.get(index).copied().unwrap_or_default());
    let shortened = edit.apply(limits).map_err(|malformed| unwritten(&malformed))?;
    if let Some((known, tools)) = known.zip(shortened.result_member("tools").and_then(Known::of)) {
        left.keep(known, (), tools);
    }
    Ok(shortened)
}

/// The tools in a result. Only a list of tools has them there.
fn listed(message: &Message) -> Option<View<'_>> {
    let tools = (message.kind() == Kind::Result).then(|| message.result_member("tools")).flatten()?;
    (tools.kind() == JsonKind::Array).then_some(tools)
}

/// Whether the reply may hold a list of tools: an answer to that question, or a stream that repeats what was missed.
fn may_list(cleared: &Cleared) -> bool {
    match &cleared.call().subject {
        Subject::Message(message) => message.method() == Some("tools/list"),
        Subject::Stream { .. } => true,
        Subject::Close => false,
    }
}

impl upstream::Wrapper for Selected {
    fn inner(&self) -> &dyn Upstream {
        self.inner.as_ref()
    }

    fn send(&self, cleared: Cleared) -> Pending<'_, Result<Reply, Fault>> {
        Box::pin(async move {
            if let Some(answer) = self.unknown(&cleared) {
                return answer;
            }
            let lists = may_list(&cleared);
            let mut reply = self.inner.send(cleared).await?;
            if lists {
                let (choice, left, limits) = (Arc::clone(&self.choice), Arc::clone(&self.left), self.limits);
                reply.arrivals = Box::pin(reply.arrivals.map(move |arrived| {
                    let mut arrived = arrived?;
                    arrived.message =
                        arrived.message.map(|message| shortened(message, &choice, &left, &limits)).transpose()?;
                    Ok(arrived)
                }));
            }
            Ok(reply)
        })
    }

    fn catalogue(&self) -> Arc<Catalogue> {
        self.shown(&self.inner.catalogue())
    }

    fn refresh(&self) -> Pending<'_, Result<Arc<Catalogue>, Fault>> {
        Box::pin(async move { self.inner.refresh().await.map(|whole| self.shown(&whole)) })
    }
}

#[cfg(test)]
mod tests;
