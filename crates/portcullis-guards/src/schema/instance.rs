//! An instance as the validator walks it: made in one pass over text that was read strictly, its strings left where they stand. A
//! `serde_json::Value` would be a second parser's work and a copy of every string, most of what judging arguments cost.

use std::borrow::Cow;

use jsonschema::JsonType;
use jsonschema::json::{Array, Json, Node, NodeIdentity, Object, cmp};
use portcullis_core::wire::{JsonKind, Token, View};
use serde_json::{Number, Value};

/// Members of an object that are looked at one after the other for a name. Of more the names are sorted, so that no instance makes
/// every property of a schema a walk over all of its members.
const FEW: u32 = 8;
/// Around the whole instance.
const OUTSIDE: u32 = u32::MAX;
/// Entries that there is room for from the start. 16: an ordinary call's arguments, so that they take one allocation. Unit: entries.
const LIKELY: usize = 16;

/// Why there is nothing to walk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unmade {
    /// Nested deeper than was allowed.
    TooDeep,
    /// A number that no double can hold.
    Number,
}

/// All values of an instance, each before what is in it; the name of a member stands before its value.
#[derive(Debug, Default)]
pub(super) struct Instance<'a> {
    entries: Vec<Entry<'a>>,
    /// For each object of more than [`FEW`] members, its names in order; one object's behind the other's.
    sorted: Vec<u32>,
    /// Nesting (a scalar has none).
    pub(super) depth: usize,
    pub(super) values: u64,
}

#[derive(Debug)]
struct Entry<'a> {
    what: What<'a>,
    /// What comes after this and everything in it. While it is open, what it is in.
    after: u32,
}

#[derive(Debug)]
enum What<'a> {
    Null,
    Bool(bool),
    Number(Number),
    /// A string, or the name of a member.
    Text(Cow<'a, str>),
    List {
        len: u32,
    },
    Object {
        len: u32,
        /// Where its names begin among the sorted ones.
        sorted: u32,
    },
}

impl<'a> Instance<'a> {
    /// `deepest`: levels that are gone down.
    ///
    /// # Errors
    /// What the validator cannot be asked about.
    pub(super) fn of(view: View<'a>, deepest: usize) -> Result<Self, Unmade> {
        let mut made = Self { entries: Vec::with_capacity(LIKELY), ..Self::default() };
        let (mut open, mut depth) = (OUTSIDE, 0);
        for token in view.tokens() {
            match token {
                Token::Key(name) => made.put(What::Text(name)),
                Token::Scalar(scalar) => {
                    made.counts(open);
                    made.put(scalar_of(scalar)?);
                }
                Token::Open(kind) => {
                    depth += 1;
                    made.depth = made.depth.max(depth);
                    if depth > deepest {
                        return Err(Unmade::TooDeep);
                    }
                    made.counts(open);
                    let object = kind == JsonKind::Object;
                    let what = if object { What::Object { len: 0, sorted: 0 } } else { What::List { len: 0 } };
                    let around = std::mem::replace(&mut open, made.next());
                    made.entries.push(Entry { what, after: around });
                }
                Token::Close => {
                    depth = depth.saturating_sub(1);
                    open = made.close(open);
                }
            }
        }
        Ok(made)
    }

    /// The whole of it.
    pub(super) const fn root(&'a self) -> Place<'a> {
        Place { all: self, at: 0 }
    }

    fn next(&self) -> u32 {
        small(self.entries.len())
    }

    /// Puts something behind the others that nothing is in.
    fn put(&mut self, what: What<'a>) {
        let after = self.next() + 1;
        self.entries.push(Entry { what, after });
    }

    /// One value more, in what is open.
    fn counts(&mut self, open: u32) {
        self.values += 1;
        if let Some(What::List { len } | What::Object { len, .. }) =
            self.entries.get_mut(open as usize).map(|entry| &mut entry.what)
        {
            *len += 1;
        }
    }

    /// Ends what is open, and gives what that is in.
    fn close(&mut self, open: u32) -> u32 {
        let end = self.next();
        let Some(entry) = self.entries.get_mut(open as usize) else { return OUTSIDE };
        let around = std::mem::replace(&mut entry.after, end);
        if let What::Object { len, sorted } = &mut entry.what
            && *len > FEW
        {
            *sorted = small(self.sorted.len());
            self.sort_names(open);
        }
        around
    }

    fn sort_names(&mut self, object: u32) {
        let from = self.sorted.len();
        let mut next = object + 1;
        let end = self.after(object);
        while next < end {
            self.sorted.push(next);
            next = self.after(next + 1);
        }
        let Self { entries, sorted, .. } = self;
        let names = sorted.get_mut(from..).unwrap_or_default();
        names.sort_unstable_by(|one, other| text(entries, *one).cmp(text(entries, *other)));
    }

    fn what(&self, at: u32) -> &What<'a> {
        self.entries.get(at as usize).map_or(&What::Null, |entry| &entry.what)
    }

    /// Never back, so that whoever walks comes to an end.
    fn after(&self, at: u32) -> u32 {
        self.entries.get(at as usize).map_or(OUTSIDE, |entry| entry.after)
    }
}

fn scalar_of(scalar: View<'_>) -> Result<What<'_>, Unmade> {
    Ok(match scalar.kind() {
        JsonKind::String => What::Text(scalar.as_str().unwrap_or_default()),
        JsonKind::Number => What::Number(scalar.text().parse().map_err(|_| Unmade::Number)?),
        _ => scalar.as_bool().map_or(What::Null, What::Bool),
    })
}

fn text<'t>(entries: &'t [Entry<'_>], at: u32) -> &'t str {
    match entries.get(at as usize).map(|entry| &entry.what) {
        Some(What::Text(text)) => text,
        _ => "",
    }
}

/// Entries are fewer than the bytes they were made of, of which there is never more than 1 GiB.
fn small(count: usize) -> u32 {
    u32::try_from(count).unwrap_or(OUTSIDE)
}

/// One value of an instance.
#[derive(Clone, Copy, Debug)]
pub(super) struct Place<'a> {
    all: &'a Instance<'a>,
    at: u32,
}

#[derive(Debug)]
pub(super) struct Members<'a> {
    of: Place<'a>,
    len: u32,
    sorted: u32,
}

#[derive(Debug)]
pub(super) struct Elements<'a> {
    of: Place<'a>,
    len: u32,
}

/// What is directly in a list or an object, in its order.
#[derive(Debug)]
pub(super) struct Walk<'a> {
    all: &'a Instance<'a>,
    next: u32,
    end: u32,
}

/// The same with names.
#[derive(Debug)]
pub(super) struct NamedWalk<'a>(Walk<'a>);

impl<'a> Place<'a> {
    fn walk(self) -> Walk<'a> {
        Walk { all: self.all, next: self.at + 1, end: self.all.after(self.at) }
    }
}

impl<'a> Iterator for Walk<'a> {
    type Item = Place<'a>;

    fn next(&mut self) -> Option<Place<'a>> {
        let at = self.next;
        (at < self.end).then(|| {
            self.next = self.all.after(at);
            Place { all: self.all, at }
        })
    }
}

impl<'a> Iterator for NamedWalk<'a> {
    type Item = (&'a str, Place<'a>);

    fn next(&mut self) -> Option<Self::Item> {
        let name = self.0.next()?;
        Some((text(&name.all.entries, name.at), self.0.next()?))
    }
}

/// The representation, for the validator.
#[derive(Debug)]
pub(super) enum Read {}

impl Json for Read {
    type Node<'a> = Place<'a>;
    type PreparedKey = Box<str>;
    /// Looking for one of a few names looks at half of them.
    const KEYS_PER_LOOKUP: usize = 4;
    type StringBuffer = Instance<'static>;

    fn prepare_key(key: &str) -> Box<str> {
        key.into()
    }

    fn with_string_node<T>(buffer: &mut Instance<'static>, string: &str, f: impl FnOnce(Place<'_>) -> T) -> T {
        buffer.entries.clear();
        buffer.put(What::Text(Cow::Owned(string.to_owned())));
        f(buffer.root())
    }
}

impl<'a> Node<'a, Read> for Place<'a> {
    type Object = Members<'a>;
    type Array = Elements<'a>;
    type Number = &'a Number;

    fn as_object(&self) -> Option<Members<'a>> {
        match self.all.what(self.at) {
            What::Object { len, sorted } => Some(Members { of: *self, len: *len, sorted: *sorted }),
            _ => None,
        }
    }

    fn as_array(&self) -> Option<Elements<'a>> {
        match self.all.what(self.at) {
            What::List { len } => Some(Elements { of: *self, len: *len }),
            _ => None,
        }
    }

    fn as_string(&self) -> Option<Cow<'a, str>> {
        match self.all.what(self.at) {
            What::Text(text) => Some(Cow::Borrowed(text)),
            _ => None,
        }
    }

    fn as_number(&self) -> Option<&'a Number> {
        match self.all.what(self.at) {
            What::Number(number) => Some(number),
            _ => None,
        }
    }

    fn as_boolean(&self) -> Option<bool> {
        match self.all.what(self.at) {
            What::Bool(value) => Some(*value),
            _ => None,
        }
    }

    fn is_null(&self) -> bool {
        matches!(self.all.what(self.at), What::Null)
    }

    fn json_type(&self) -> JsonType {
        match self.all.what(self.at) {
            What::Null => JsonType::Null,
            What::Bool(_) => JsonType::Boolean,
            What::Number(_) => JsonType::Number,
            What::Text(_) => JsonType::String,
            What::List { .. } => JsonType::Array,
            What::Object { .. } => JsonType::Object,
        }
    }

    /// Without a copy of what is compared: a list of permitted values may be long.
    fn equals_value(&self, expected: &Value) -> bool {
        match (self.all.what(self.at), expected) {
            (What::Null, Value::Null) => true,
            (What::Bool(value), Value::Bool(expected)) => value == expected,
            (What::Number(number), Value::Number(expected)) => cmp::equal_numbers(number, expected),
            (What::Text(text), Value::String(expected)) => text == expected,
            (What::List { len }, Value::Array(expected)) => {
                *len as usize == expected.len() && self.walk().zip(expected).all(|(one, other)| one.equals_value(other))
            }
            (What::Object { len, .. }, Value::Object(expected)) => {
                let same =
                    |(name, value): (&str, Self)| expected.get(name).is_some_and(|other| value.equals_value(other));
                *len as usize == expected.len() && NamedWalk(self.walk()).all(same)
            }
            _ => false,
        }
    }

    fn to_value(&self) -> Cow<'a, Value> {
        Cow::Owned(match self.all.what(self.at) {
            What::Null => Value::Null,
            What::Bool(value) => Value::Bool(*value),
            What::Number(number) => Value::Number(number.clone()),
            What::Text(text) => Value::String(text.clone().into_owned()),
            What::List { .. } => self.walk().map(|element| element.to_value().into_owned()).collect(),
            What::Object { .. } => {
                NamedWalk(self.walk()).map(|(name, value)| (name.to_owned(), value.to_value().into_owned())).collect()
            }
        })
    }

    /// Every entry has a place of its own in memory, for as long as the instance lives.
    fn identity(&self) -> Option<NodeIdentity> {
        self.all.entries.get(self.at as usize).map(|entry| NodeIdentity::new(std::ptr::from_ref(entry).addr()))
    }
}

impl<'a> Object<'a, Read> for Members<'a> {
    type Node = Place<'a>;
    type MemberName = &'a str;
    type MembersIter = NamedWalk<'a>;

    fn len(&self) -> usize {
        self.len as usize
    }

    fn get(&self, key: &Box<str>) -> Option<Place<'a>> {
        let Self { of, len, sorted } = *self;
        if len <= FEW {
            return self.members().find_map(|(name, value)| (*name == **key).then_some(value));
        }
        let names = of.all.sorted.get(sorted as usize..)?.get(..len as usize)?;
        let at = names.binary_search_by(|at| text(&of.all.entries, *at).cmp(key)).ok()?;
        Some(Place { all: of.all, at: names.get(at)? + 1 })
    }

    fn members(&self) -> NamedWalk<'a> {
        NamedWalk(self.of.walk())
    }
}

impl<'a> Array<'a, Read> for Elements<'a> {
    type Node = Place<'a>;
    type ElementsIter = Walk<'a>;

    fn len(&self) -> usize {
        self.len as usize
    }

    fn elements(&self) -> Walk<'a> {
        self.of.walk()
    }
}

#[cfg(test)]
mod tests;
