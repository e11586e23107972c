//! Rewriting by splicing: what is not named stays byte for byte as it came.
//! The outcome is read again by the strict reader, so that no edit can make a message the reader would refuse.

use std::{cmp::Reverse, fmt, ops::Range};

use bytes::Bytes;
use smallvec::SmallVec;

use super::{
    Id, Kind, Known, Limits, Malformed, Message, View,
    outline::{Level, Member, Slot},
    scan::Span,
    text, view_json,
};
use crate::own::quoted;

/// Changes to one message, collected and then applied at once.
#[must_use = "an edit does nothing until it is applied"]
pub struct Edit<'a> {
    message: &'a Message,
    /// Wanted members of `_meta`: a value, or none to remove the member. One entry for each key.
    meta: Vec<(String, Option<String>)>,
    splices: Vec<Splice>,
    refused: bool,
}

/// Puts something in the place of `range`.
struct Splice {
    range: Range<usize>,
    put: Put,
}

enum Put {
    Nothing,
    /// One JSON value that a caller handed in; not yet checked.
    Value(String),
    /// Text that was put together here, of checked values.
    Members(String),
    /// An array that was read before.
    Known(Known),
}

/// Shows how much is to change, never what: values carry secrets.
impl fmt::Debug for Edit<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Edit({} splices, {} meta members)", self.splices.len(), self.meta.len())
    }
}

impl<'a> Edit<'a> {
    pub(super) fn new(message: &'a Message) -> Self {
        Self { message, meta: Vec::new(), splices: Vec::new(), refused: false }
    }

    /// Inserts or replaces a member of `params._meta` (`result._meta` of a result) with raw JSON, making `params` and
    /// `_meta` where they are absent. An error has no `_meta`: refused when applied.
    pub fn set_meta(mut self, key: &str, raw: &str) -> Self {
        self.want(key, Some(raw.to_owned()));
        self
    }

    /// Removes a member of `_meta`, if it is there.
    pub fn remove_meta(mut self, key: &str) -> Self {
        self.want(key, None);
        self
    }

    /// Inserts or replaces a member of `params` with raw JSON, making `params` where it is absent. Refused when applied for a response,
    /// and where `_meta` is set as well while there are no `params`.
    pub fn set_param(mut self, name: &str, raw: &str) -> Self {
        let outline = self.message.outline();
        if let Some(member) = self.message.param(name) {
            return self.replace(member, raw);
        }
        let Some(method) = outline.slot(Slot::Method) else {
            self.refused = true;
            return self;
        };
        if view_json(raw.as_bytes(), &Limits::default()).is_err() {
            self.refused = true;
            return self;
        }
        let member = format!("{}:{raw}", quoted(name));
        match outline.slot(Slot::Params) {
            Some(params) => {
                let comma = if outline.level(Level::Params).next().is_some() { "," } else { "" };
                self.insert(params.value.start + 1, format!("{member}{comma}"));
            }
            None => self.insert(method.value.end, format!(",\"params\":{{{member}}}")),
        }
        self
    }

    /// Replaces the value at `view`, which must be a view into this message, with raw JSON.
    pub fn replace(mut self, view: View<'_>, raw: &str) -> Self {
        if self.owns(view) {
            self.splice(view.span(), Put::Value(raw.to_owned()));
        } else {
            self.refused = true;
        }
        self
    }

    /// Replaces the value at `view` with an array that was read before.
    pub fn replace_by_known(mut self, view: View<'_>, known: &Known) -> Self {
        if self.owns(view) {
            self.splice(view.span(), Put::Known(known.clone()));
        } else {
            self.refused = true;
        }
        self
    }

    /// Replaces the id. A notification is not turned into a request by this: refused when applied.
    pub fn set_id(mut self, id: &Id) -> Self {
        let outline = self.message.outline();
        match outline.slot(Slot::Id) {
            Some(member) => self.splice(member.value, Put::Value(id.raw().to_owned())),
            None if self.message.kind() == Kind::Error => {
                let at = outline.root.start + 1;
                self.insert(at, format!("\"id\":{},", id.raw()));
            }
            None => self.refused = true,
        }
        self
    }

    /// Drops the elements that `keep` (called with each index) does not want, with their commas. A replacement inside a
    /// dropped element is dropped with it.
    pub fn remove_elements(mut self, array: View<'_>, keep: &dyn Fn(usize) -> bool) -> Self {
        if !self.owns(array) {
            self.refused = true;
            return self;
        }
        let items: Vec<(Span, bool)> =
            array.elements().enumerate().map(|(index, item)| (item.span(), keep(index))).collect();
        self.drop_items(&items);
        self
    }

    /// Drops the members whose (unescaped) keys `keep` does not want, with their commas. A change inside a dropped member is
    /// dropped with it. Members of the message's own `_meta` go by [`Edit::remove_meta`], which knows of those being set.
    pub fn remove_members(mut self, object: View<'_>, keep: &dyn Fn(&str) -> bool) -> Self {
        if !self.owns(object) {
            self.refused = true;
            return self;
        }
        let mut members = object.members();
        let items: Vec<(Span, bool)> =
            std::iter::from_fn(|| members.next_span()).map(|(key, span)| (span, keep(&key))).collect();
        self.drop_items(&items);
        self
    }

    /// Whether applying would give the same bytes for want of anything to do.
    #[must_use]
    pub fn is_noop(&self) -> bool {
        let wants_meta = |(key, value): &(String, Option<String>)| value.is_some() || self.message.meta(key).is_some();
        !self.refused && self.splices.is_empty() && !self.meta.iter().any(wants_meta)
    }

    /// Splices, then reads the outcome as strictly as anything from outside.
    ///
    /// # Errors
    /// [`Malformed::EditRefused`] when edits overlap, a value is not one JSON value or a view is foreign; otherwise what the
    /// reader says about the outcome.
    pub fn apply(mut self, limits: &Limits) -> Result<Message, Malformed> {
        if self.is_noop() {
            return Ok(self.message.clone());
        }
        let sound_meta =
            |(_, value): &(String, Option<String>)| value.as_ref().is_none_or(|raw| is_one_value(raw, limits));
        let sound = self.meta.iter().all(sound_meta) && self.splices.iter().all(|splice| splice.put.is_sound(limits));
        self.plan_meta();
        if self.refused || !sound {
            return Err(Malformed::EditRefused);
        }
        let bytes = self.message.bytes();
        let put = self
            .splices
            .iter()
            .filter_map(|splice| if let Put::Known(known) = &splice.put { Some(known) } else { None });
        let known = self.message.outline().known.as_ref().map(|(known, _)| known);
        let known: SmallVec<[Known; 2]> = put.chain(known).cloned().collect();
        let text = spliced(bytes, self.splices).ok_or(Malformed::EditRefused)?;
        Message::read_knowing(Bytes::from(text), self.message.direction(), limits, &known)
    }

    fn want(&mut self, key: &str, value: Option<String>) {
        self.meta.retain(|(known, _)| known != key);
        self.meta.push((key.to_owned(), value));
    }

    fn insert(&mut self, at: u32, text: String) {
        self.splice(Span { start: at, end: at }, Put::Members(text));
    }

    fn splice(&mut self, span: Span, put: Put) {
        self.splices.push(Splice { range: span.start as usize..span.end as usize, put });
    }

    /// A view belongs to this message when it points at this message's memory.
    fn owns(&self, view: View<'_>) -> bool {
        std::ptr::eq(view.span().of(self.message.bytes()), view.raw())
    }

    /// Items are (span, keep), in order. After the first kept item each dropped one goes with the comma before it; before
    /// that, with the comma after it.
    fn drop_items(&mut self, items: &[(Span, bool)]) {
        let mut kept_before = false;
        let mut previous_end = None;
        for (index, (span, keep)) in items.iter().enumerate() {
            if *keep {
                kept_before = true;
            } else {
                let (start, end) = match (kept_before, previous_end) {
                    (true, Some(previous)) => (previous, span.end),
                    _ => (span.start, items.get(index + 1).map_or(span.end, |(next, _)| next.start)),
                };
                self.splice(Span { start, end }, Put::Nothing);
            }
            previous_end = Some(span.end);
        }
    }

    fn plan_meta(&mut self) {
        let wanted = std::mem::take(&mut self.meta);
        if wanted.is_empty() {
            return;
        }
        let message = self.message;
        let (holder, holder_slot, meta_slot) = match message.kind() {
            Kind::Request | Kind::Notification => (Level::Params, Slot::Params, Slot::ParamsMeta),
            Kind::Result => (Level::Result, Slot::Result, Slot::ResultMeta),
            Kind::Error => {
                self.refused |= wanted.iter().any(|(_, value)| value.is_some());
                return;
            }
        };
        let inserts: Vec<String> = wanted
            .iter()
            .filter(|(key, _)| message.meta(key).is_none())
            .filter_map(|(key, value)| Some(format!("{}:{}", quoted(key), value.as_ref()?)))
            .collect();
        let inserts = inserts.join(",");
        let outline = message.outline();
        if let Some(meta) = outline.slot(meta_slot) {
            self.plan_members(meta.value, &wanted, &inserts);
        } else if inserts.is_empty() {
        } else if let Some(outer) = outline.slot(holder_slot) {
            let comma = if outline.level(holder).next().is_some() { "," } else { "" };
            let at = outer.value.start + 1;
            self.insert(at, format!("\"_meta\":{{{inserts}}}{comma}"));
        } else if let Some(method) = outline.slot(Slot::Method) {
            let at = method.value.end;
            self.insert(at, format!(",\"params\":{{\"_meta\":{{{inserts}}}}}"));
        }
    }

    /// Changes the members of a `_meta` that exists.
    fn plan_members(&mut self, meta: Span, wanted: &[(String, Option<String>)], inserts: &str) {
        let message = self.message;
        let members: Vec<&Member> = message.outline().level(message.meta_level()).collect();
        let mut items = Vec::with_capacity(members.len());
        for member in members {
            let key = text::decode(member.key.of(message.bytes()));
            let wish = wanted.iter().find(|(wanted, _)| *wanted == key).map(|(_, value)| value);
            if let Some(Some(raw)) = wish {
                self.splice(member.value, Put::Value(raw.clone()));
            }
            let whole = Span { start: member.key.start - 1, end: member.value.end };
            items.push((whole, wish != Some(&None)));
        }
        if !inserts.is_empty() {
            let last_kept = items.iter().rev().find(|(_, keep)| *keep);
            let (at, text) = match last_kept {
                Some((span, _)) => (span.end, format!(",{inserts}")),
                None => (meta.start + 1, inserts.to_owned()),
            };
            self.insert(at, text);
        }
        self.drop_items(&items);
    }
}

/// The text with all splices done; `None` when two of them want the same bytes.
fn spliced(bytes: &[u8], mut splices: Vec<Splice>) -> Option<Vec<u8>> {
    // Insertions come before whatever else starts at their place; among equals the wider comes first and swallows.
    splices.sort_by_key(|splice| {
        let Range { start, end } = splice.range;
        (start, start != end, Reverse(end))
    });
    let added: usize = splices.iter().map(|splice| splice.put.text().len()).sum();
    let mut out = Vec::with_capacity(bytes.len() + added);
    let mut done = 0;
    let mut dropped_until = 0;
    for Splice { range, put } in splices {
        if range.start < dropped_until && range.end <= dropped_until {
            continue;
        }
        out.extend_from_slice(bytes.get(done..range.start)?);
        out.extend_from_slice(put.text());
        done = range.end;
        if matches!(put, Put::Nothing) {
            dropped_until = range.end;
        }
    }
    out.extend_from_slice(bytes.get(done..)?);
    Some(out)
}

impl Put {
    fn text(&self) -> &[u8] {
        match self {
            Self::Nothing => &[],
            Self::Value(text) | Self::Members(text) => text.as_bytes(),
            Self::Known(known) => known.text(),
        }
    }

    /// A value that is more, or less, than one JSON value could smuggle members in.
    fn is_sound(&self, limits: &Limits) -> bool {
        match self {
            Self::Value(raw) => is_one_value(raw, limits),
            Self::Nothing | Self::Members(_) | Self::Known(_) => true,
        }
    }
}

fn is_one_value(raw: &str, limits: &Limits) -> bool {
    view_json(raw.as_bytes(), limits).is_ok()
}

#[cfg(test)]
mod tests;
