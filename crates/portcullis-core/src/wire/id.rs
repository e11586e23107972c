//! Request ids and progress tokens: strings and integers, kept exactly as written and compared by what they mean.
//! Fractions, exponents and null are not ids: peers round or drop them differently.

use std::{
    cmp::Ordering,
    fmt,
    hash::{Hash, Hasher},
    sync::Arc,
};

use super::{JsonKind, Limits, View, view_json};
use crate::own::quoted;

/// An id. `"a"` and `"\u0061"` are equal; `1` and `"1"` are not.
#[derive(Clone)]
pub struct Id {
    raw: Text,
    /// The comparable form, where it differs from `raw`: a string between quotes with its escapes undone.
    meaning: Option<Arc<str>>,
}

/// Counters and short names stay inside the id; what is longer is shared, so that cloning never copies it.
#[derive(Clone)]
enum Text {
    Short(u8, [u8; SHORT]),
    Long(Arc<str>),
}

const SHORT: usize = 22;

impl Text {
    /// Of text that was checked to be UTF-8.
    fn new(text: &[u8]) -> Self {
        let mut short = [0; SHORT];
        match (short.get_mut(..text.len()), u8::try_from(text.len())) {
            (Some(place), Ok(len)) => {
                place.copy_from_slice(text);
                Self::Short(len, short)
            }
            _ => Self::Long(Arc::from(simdutf8::basic::from_utf8(text).unwrap_or_default())),
        }
    }

    fn bytes(&self) -> &[u8] {
        match self {
            Self::Short(len, short) => short.get(..usize::from(*len)).unwrap_or_default(),
            Self::Long(text) => text.as_bytes(),
        }
    }
}

impl Id {
    /// The id's exact JSON text.
    #[must_use]
    pub fn raw(&self) -> &str {
        match &self.raw {
            Text::Long(text) => text,
            short @ Text::Short(..) => std::str::from_utf8(short.bytes()).unwrap_or_default(),
        }
    }

    /// Reads an id from JSON text: one string, or an integer of plain digits.
    #[must_use]
    pub fn from_text(json: &str) -> Option<Self> {
        Self::from_view(view_json(json.as_bytes(), &Limits::default()).ok()?)
    }

    /// The id with this string as its value.
    #[must_use]
    pub fn string(value: &str) -> Self {
        let raw = quoted(value);
        let meaning = raw.contains('\\').then(|| Arc::from(format!("\"{value}\"")));
        Self { raw: Text::new(raw.as_bytes()), meaning }
    }

    /// The id with this number as its value.
    #[must_use]
    pub fn number(value: i64) -> Self {
        Self { raw: Text::new(value.to_string().as_bytes()), meaning: None }
    }

    /// Whether a value can be an id.
    pub(super) fn fits(view: View<'_>) -> bool {
        view.kind() == JsonKind::String || view.is_integer()
    }

    pub(super) fn from_view(view: View<'_>) -> Option<Self> {
        if !Self::fits(view) {
            return None;
        }
        let raw = view.raw();
        let meaning = if raw == b"-0" {
            Some(Arc::from("0"))
        } else if raw.contains(&b'\\') {
            view.as_str().map(|value| Arc::from(format!("\"{value}\"")))
        } else {
            None
        };
        Some(Self { raw: Text::new(raw), meaning })
    }

    /// The value of an id that is a string.
    #[must_use]
    pub fn as_str(&self) -> Option<&str> {
        std::str::from_utf8(self.meaning()).ok()?.strip_prefix('"')?.strip_suffix('"')
    }

    fn meaning(&self) -> &[u8] {
        match &self.meaning {
            Some(meaning) => meaning.as_bytes(),
            None => self.raw.bytes(),
        }
    }
}

impl PartialEq for Id {
    fn eq(&self, other: &Self) -> bool {
        self.meaning() == other.meaning()
    }
}

impl Eq for Id {}

impl Hash for Id {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.meaning().hash(state);
    }
}

impl Ord for Id {
    fn cmp(&self, other: &Self) -> Ordering {
        self.meaning().cmp(other.meaning())
    }
}

impl PartialOrd for Id {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl fmt::Debug for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Id({})", self.raw())
    }
}

impl fmt::Display for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.raw())
    }
}

#[cfg(test)]
mod tests;
