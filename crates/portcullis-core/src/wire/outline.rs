//! What a scan remembers of a message: the members that the gateway decides by, as offsets.

use smallvec::SmallVec;

use super::{Known, scan::Span, text};

/// Which object a member belongs to. Members of all other objects are checked but not remembered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Level {
    Other,
    Top,
    Params,
    ParamsMeta,
    Result,
    ResultMeta,
    Error,
}

/// A member that every message is asked for, found without comparing names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Slot {
    JsonRpc,
    Id,
    Method,
    Params,
    Result,
    Error,
    Name,
    Arguments,
    Uri,
    TaskId,
    Ref,
    RequestId,
    ProgressToken,
    ParamsMeta,
    MetaProgressToken,
    ResultMeta,
    ErrorCode,
    ErrorMessage,
}

const SLOTS: usize = 18;

impl Slot {
    /// The slot of a member of that (unescaped) name.
    pub(super) fn of(level: Level, key: &[u8]) -> Option<Self> {
        Some(match (level, key) {
            (Level::Top, b"jsonrpc") => Self::JsonRpc,
            (Level::Top, b"id") => Self::Id,
            (Level::Top, b"method") => Self::Method,
            (Level::Top, b"params") => Self::Params,
            (Level::Top, b"result") => Self::Result,
            (Level::Top, b"error") => Self::Error,
            (Level::Params, b"name") => Self::Name,
            (Level::Params, b"arguments") => Self::Arguments,
            (Level::Params, b"_meta") => Self::ParamsMeta,
            (Level::Params, b"uri") => Self::Uri,
            (Level::Params, b"taskId") => Self::TaskId,
            (Level::Params, b"ref") => Self::Ref,
            (Level::Params, b"requestId") => Self::RequestId,
            (Level::Params, b"progressToken") => Self::ProgressToken,
            (Level::ParamsMeta, b"progressToken") => Self::MetaProgressToken,
            (Level::Result, b"_meta") => Self::ResultMeta,
            (Level::Error, b"code") => Self::ErrorCode,
            (Level::Error, b"message") => Self::ErrorMessage,
            _ => return None,
        })
    }

    /// The level of an object that stands in this slot.
    pub(super) fn below(self) -> Level {
        match self {
            Self::Params => Level::Params,
            Self::Result => Level::Result,
            Self::Error => Level::Error,
            Self::ParamsMeta => Level::ParamsMeta,
            Self::ResultMeta => Level::ResultMeta,
            _ => Level::Other,
        }
    }
}

/// One remembered member. `key` is the text between the quotes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Member {
    pub(super) level: Level,
    pub(super) escaped: bool,
    pub(super) key: Span,
    pub(super) value: Span,
}

/// The remembered members, in the order in which their keys stand in the text.
#[derive(Debug, Default)]
pub(super) struct Outline {
    pub(super) root: Span,
    members: SmallVec<[Member; 12]>,
    /// Index of each slot's member, plus one.
    slots: [u32; SLOTS],
    /// An array in the result that was known, and where it starts.
    pub(super) known: Option<(Known, u32)>,
}

impl Outline {
    pub(super) fn len(&self) -> usize {
        self.members.len()
    }

    pub(super) fn push(&mut self, member: Member, slot: Option<Slot>) {
        self.members.push(member);
        if let Some(place) = slot.and_then(|slot| self.slots.get_mut(slot as usize)) {
            *place = u32::try_from(self.members.len()).unwrap_or_default();
        }
    }

    /// Says where the value of the member at `index` ends.
    pub(super) fn end(&mut self, index: usize, at: u32) {
        if let Some(member) = self.members.get_mut(index) {
            member.value.end = at;
        }
    }

    pub(super) fn slot(&self, slot: Slot) -> Option<&Member> {
        let place = self.slots.get(slot as usize)?.checked_sub(1)?;
        self.members.get(place as usize)
    }

    /// The member of that name, by its unescaped spelling.
    pub(super) fn member(&self, bytes: &[u8], level: Level, name: &str) -> Option<&Member> {
        self.level(level).find(|member| {
            let key = member.key.of(bytes);
            if member.escaped { text::decode(key) == name } else { key == name.as_bytes() }
        })
    }

    pub(super) fn level(&self, level: Level) -> impl Iterator<Item = &Member> {
        self.members.iter().filter(move |member| member.level == level)
    }
}
