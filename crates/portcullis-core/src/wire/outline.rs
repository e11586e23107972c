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
        Some(match level {
            Level::Top => match key {
                b"jsonrpc" => Self::JsonRpc,
                b"id" => Self::Id,
                b"method" => Self::Method,
                b"params" => Self::Params,
                b"result" => Self::Result,
                b"error" => Self::Error,
                _ => return None,
            },
            Level::Params => match key {
                b"name" => Self::Name,
                b"arguments" => Self::Arguments,
                b"_meta" => Self::ParamsMeta,
                b"uri" => Self::Uri,
                b"taskId" => Self::TaskId,
                b"ref" => Self::Ref,
                b"requestId" => Self::RequestId,
                b"progressToken" => Self::ProgressToken,
                _ => return None,
            },
            Level::ParamsMeta if key == b"progressToken" => Self::MetaProgressToken,
            Level::Result if key == b"_meta" => Self::ResultMeta,
            Level::Error => match key {
                b"code" => Self::ErrorCode,
                b"message" => Self::ErrorMessage,
                _ => return None,
            },
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

impl Member {
    /// Whether its key, unescaped, is `name`.
    pub(super) fn is_named(&self, bytes: &[u8], name: &str) -> bool {
        let key = self.key.of(bytes);
        if self.escaped { text::decode(key) == name } else { key == name.as_bytes() }
    }
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
        self.level(level).find(|member| member.is_named(bytes, name))
    }

    pub(super) fn level(&self, level: Level) -> impl Iterator<Item = &Member> {
        self.members.iter().filter(move |member| member.level == level)
    }
}
