//! One JSON-RPC message that passed the strict reader, with the offsets everyone decides by.
//! It owns the original bytes and never changes them: rewriting goes through [`Edit`], which reads the outcome anew.

mod batch;
mod shape;

use std::{
    fmt,
    sync::{Arc, OnceLock},
};

use bytes::Bytes;

pub use self::batch::{looks_like_batch, read_batch, salvage_id};
use super::{
    Edit, Id, Known, Limits, Malformed, MethodInfo, NameSource, Span, View,
    outline::{Level, Outline, Slot},
    scan::scan_knowing,
};

/// Which way a message travels.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Direction {
    ToServer,
    ToClient,
}

/// What a message is, by its shape.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    Request,
    Notification,
    Result,
    Error,
}

/// One strictly read message. Cloning shares everything: a message is kept by the pipeline, by its call and by whoever
/// watches the reply.
#[derive(Clone)]
pub struct Message(Arc<Read>);

/// What reading gave. One allocation, because several hundred bytes would otherwise be moved from hand to hand.
struct Read {
    bytes: Bytes,
    direction: Direction,
    kind: Kind,
    id: Option<Id>,
    method: Option<Method>,
    /// See [`Message::name`]: kept when it is asked for, because everybody on a message's way asks.
    name: OnceLock<Option<Box<str>>>,
    outline: Outline,
}

enum Method {
    Known(&'static MethodInfo),
    Unknown(Box<str>),
}

impl Method {
    fn name(&self) -> &str {
        match self {
            Self::Known(info) => info.name,
            Self::Unknown(name) => name,
        }
    }

    fn names(&self) -> NameSource {
        match self {
            Self::Known(info) => info.names,
            Self::Unknown(_) => NameSource::Nothing,
        }
    }
}

impl Read {
    fn method(&self) -> Option<&str> {
        self.method.as_ref().map(Method::name)
    }

    fn name_view(&self) -> Option<View<'_>> {
        match self.method.as_ref()?.names() {
            NameSource::Nothing => None,
            NameSource::Name => self.slot(Slot::Name),
            NameSource::Uri => self.slot(Slot::Uri),
            NameSource::TaskId => self.slot(Slot::TaskId),
            NameSource::Ref => {
                let reference = self.slot(Slot::Ref)?;
                match reference.get("type")?.as_str()?.as_ref() {
                    "ref/prompt" => reference.get("name"),
                    "ref/resource" => reference.get("uri"),
                    _ => None,
                }
            }
        }
    }

    fn slot(&self, slot: Slot) -> Option<View<'_>> {
        self.outline.slot(slot).map(|member| self.view(member.value))
    }

    fn view(&self, span: Span) -> View<'_> {
        View::new(&self.bytes, span)
    }
}

impl Message {
    /// Reads exactly one message.
    ///
    /// # Errors
    /// The first rule that the text breaks: grammar before shape, envelope before params.
    pub fn read(bytes: Bytes, direction: Direction, limits: &Limits) -> Result<Self, Malformed> {
        Self::read_knowing(bytes, direction, limits, &[])
    }

    /// The same where some arrays were accepted before: one that stands in the result as it stood then is compared and not read.
    ///
    /// # Errors
    /// Those of [`Message::read`].
    pub fn read_knowing(
        bytes: Bytes,
        direction: Direction,
        limits: &Limits,
        known: &[Known],
    ) -> Result<Self, Malformed> {
        let outline = Outline::default();
        let mut read =
            Read { bytes, direction, kind: Kind::Result, id: None, method: None, name: OnceLock::new(), outline };
        scan_knowing(&read.bytes, limits, known, &mut read.outline)?;
        shape::judge(&mut read, limits)?;
        Ok(Self(Arc::new(read)))
    }

    /// The text as it arrived.
    #[must_use]
    pub fn bytes(&self) -> &Bytes {
        &self.0.bytes
    }

    #[must_use]
    pub fn direction(&self) -> Direction {
        self.0.direction
    }

    #[must_use]
    pub fn kind(&self) -> Kind {
        self.0.kind
    }

    /// `None` for notifications, and for an error that a server sent without an id.
    #[must_use]
    pub fn id(&self) -> Option<&Id> {
        self.0.id.as_ref()
    }

    /// The method of a request or notification, escapes undone.
    #[must_use]
    pub fn method(&self) -> Option<&str> {
        self.0.method()
    }

    #[must_use]
    pub fn params(&self) -> Option<View<'_>> {
        self.slot(Slot::Params)
    }

    #[must_use]
    pub fn param(&self, name: &str) -> Option<View<'_>> {
        self.member(Level::Params, name)
    }

    #[must_use]
    pub fn result(&self) -> Option<View<'_>> {
        self.slot(Slot::Result)
    }

    #[must_use]
    pub fn result_member(&self, name: &str) -> Option<View<'_>> {
        // Most messages of a stream have no result, and every watcher asks.
        self.result()?;
        self.member(Level::Result, name)
    }

    /// The members of the result of these names.
    #[must_use]
    pub fn result_members<const N: usize>(&self, names: [&str; N]) -> [Option<View<'_>>; N] {
        // Most messages of a stream have no result, and every watcher asks.
        if self.result().is_none() { [None; N] } else { self.members(Level::Result, names) }
    }

    /// The members of `params` of these names.
    #[must_use]
    pub fn param_members<const N: usize>(&self, names: [&str; N]) -> [Option<View<'_>>; N] {
        self.members(Level::Params, names)
    }

    /// In one pass.
    fn members<const N: usize>(&self, level: Level, names: [&str; N]) -> [Option<View<'_>>; N] {
        let mut found = [None; N];
        for member in self.outline().level(level) {
            let place = names.iter().position(|name| member.is_named(&self.0.bytes, name));
            if let Some(place) = place.and_then(|index| found.get_mut(index)) {
                *place = Some(self.0.view(member.value));
            }
        }
        found
    }

    /// The array of that name in the result, if it was known when this was read.
    #[must_use]
    pub fn known_result_member(&self, name: &str) -> Option<&Known> {
        let (known, at) = self.outline().known.as_ref()?;
        (self.result_member(name)?.span().start == *at).then_some(known)
    }

    #[must_use]
    pub fn error(&self) -> Option<View<'_>> {
        self.slot(Slot::Error)
    }

    /// The error's code; `None` also when it does not fit 64 bits.
    #[must_use]
    pub fn error_code(&self) -> Option<i64> {
        self.slot(Slot::ErrorCode)?.as_i64()
    }

    /// A member of `params._meta`, or of `result._meta` for a result.
    #[must_use]
    pub fn meta(&self, key: &str) -> Option<View<'_>> {
        self.member(self.meta_level(), key)
    }

    /// What the method is about: a tool, a prompt, a URI or a task. See [`NameSource`].
    #[must_use]
    pub fn name(&self) -> Option<&str> {
        self.0.name.get_or_init(|| self.name_view()?.as_str().map(Into::into)).as_deref()
    }

    /// Where [`Message::name`] stands in the text, for an [`Edit::replace`].
    #[must_use]
    pub fn name_view(&self) -> Option<View<'_>> {
        self.0.name_view()
    }

    #[must_use]
    pub fn arguments(&self) -> Option<View<'_>> {
        self.slot(Slot::Arguments)
    }

    /// The token under which progress is reported: asked for in `params._meta`, or carried by `notifications/progress`.
    #[must_use]
    pub fn progress_token(&self) -> Option<Id> {
        let view = match self.method()? {
            "notifications/progress" => self.slot(Slot::ProgressToken),
            _ => self.slot(Slot::MetaProgressToken),
        };
        Id::from_view(view?)
    }

    /// The request that a `notifications/cancelled` means.
    #[must_use]
    pub fn cancelled_id(&self) -> Option<Id> {
        match self.method()? {
            "notifications/cancelled" => Id::from_view(self.slot(Slot::RequestId)?),
            _ => None,
        }
    }

    /// Starts a rewrite of this message.
    pub fn edit(&self) -> Edit<'_> {
        Edit::new(self)
    }

    pub(super) fn outline(&self) -> &Outline {
        &self.0.outline
    }

    pub(super) fn meta_level(&self) -> Level {
        match self.0.kind {
            Kind::Request | Kind::Notification => Level::ParamsMeta,
            Kind::Result | Kind::Error => Level::ResultMeta,
        }
    }

    pub(super) fn slot(&self, slot: Slot) -> Option<View<'_>> {
        self.0.slot(slot)
    }

    pub(super) fn member(&self, level: Level, name: &str) -> Option<View<'_>> {
        self.0.outline.member(&self.0.bytes, level, name).map(|member| self.0.view(member.value))
    }
}

/// Shows the shape, never the content: messages carry secrets.
impl fmt::Debug for Message {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Message")
            .field("direction", &self.0.direction)
            .field("kind", &self.0.kind)
            .field("bytes", &self.0.bytes.len())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
