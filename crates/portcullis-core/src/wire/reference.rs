//! A slow and obvious second opinion on what strict JSON is, for property tests and fuzzing.
//! It shares no code with the scanner: serde_json reads, and this visitor refuses what serde_json would let pass.

use std::{cell::Cell, collections::HashSet, fmt};

use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Value};

/// Why the reference does not accept a text.
#[derive(Debug)]
pub(crate) enum Opinion {
    Refused(#[expect(dead_code, reason = "read through Debug when a comparison fails")] String),
    /// serde_json converts numbers and gives up where a float is too small; the scanner never converts, so there is
    /// nothing to compare.
    None,
}

/// The bounds that a strict reading keeps to.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bounds {
    pub(crate) depth: usize,
    pub(crate) keys: usize,
    pub(crate) members: usize,
}

/// Reads a whole text: no duplicate keys, nothing after the value, nothing beyond the bounds.
pub(crate) fn read(bytes: &[u8], bounds: Bounds) -> Result<Value, Opinion> {
    let members = Cell::new(0);
    let mut json = serde_json::Deserializer::from_slice(bytes);
    let seed = Strict { bounds, depth: 0, members: &members };
    let value = seed.deserialize(&mut json).and_then(|value| json.end().map(|()| value));
    value.map_err(|error| match error.to_string() {
        text if text.contains("number out of range") => Opinion::None,
        text => Opinion::Refused(text),
    })
}

#[derive(Clone, Copy)]
struct Strict<'c> {
    bounds: Bounds,
    depth: usize,
    members: &'c Cell<usize>,
}

impl Strict<'_> {
    fn deeper<E: Error>(self) -> Result<Self, E> {
        if self.depth == self.bounds.depth {
            return Err(E::custom("too deep"));
        }
        Ok(Self { depth: self.depth + 1, ..self })
    }
}

impl<'de> DeserializeSeed<'de> for Strict<'_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, json: D) -> Result<Value, D::Error> {
        self.members.set(self.members.get() + 1);
        if self.members.get() > self.bounds.members {
            return Err(D::Error::custom("too many members"));
        }
        json.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Strict<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let inner = self.deeper()?;
        let mut all = Vec::new();
        while let Some(item) = items.next_element_seed(inner)? {
            all.push(item);
        }
        Ok(Value::Array(all))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Value, A::Error> {
        let inner = self.deeper()?;
        let mut seen = HashSet::new();
        let mut all = Map::new();
        while let Some(key) = entries.next_key::<String>()? {
            if !seen.insert(key.clone()) {
                return Err(A::Error::custom("duplicate key"));
            }
            if seen.len() > self.bounds.keys {
                return Err(A::Error::custom("too many keys"));
            }
            all.insert(key, entries.next_value_seed(inner)?);
        }
        Ok(Value::Object(all))
    }
}
