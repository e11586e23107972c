//! Request ids and progress tokens: strings and integers, kept exactly as written and compared by what they mean.
//! Fractions, exponents and null are not ids: peers round or drop them differently.

use std::{
    cmp::Ordering,
    fmt,
    hash::{Hash, Hasher},
    sync::Arc,
};

use super::{JsonKind, Limits, View, text, view_json};

/// An id. `"a"` and `"\u0061"` are equal; `1` and `"1"` are not.
#[derive(Clone)]
pub struct Id {
    raw: Arc<str>,
    /// The comparable form, where it differs from `raw`.
    meaning: Option<Arc<str>>,
}

impl Id {
    /// The id's exact JSON text.
    #[must_use]
    pub fn raw(&self) -> &str {
        &self.raw
    }

    /// Reads an id from JSON text: one string, or an integer of plain digits.
    #[must_use]
    pub fn from_text(json: &str) -> Option<Self> {
        let view = view_json(json.as_bytes(), &Limits::default()).ok()?;
        Self::from_view(view)
    }

    /// The id with this string as its value.
    #[must_use]
    pub fn string(value: &str) -> Self {
        let raw = text::quote(value);
        let meaning = raw
            .contains('\\')
            .then(|| Arc::from(format!("\"{value}\"")));
        Self {
            raw: Arc::from(raw),
            meaning,
        }
    }

    /// The id with this number as its value.
    #[must_use]
    pub fn number(value: i64) -> Self {
        Self {
            raw: Arc::from(value.to_string()),
            meaning: None,
        }
    }

    pub(super) fn from_view(view: View<'_>) -> Option<Self> {
        let raw = view.text();
        match view.kind() {
            JsonKind::String => {
                let meaning = raw.contains('\\').then(|| view.as_str()).flatten();
                Some(Self {
                    raw: Arc::from(raw),
                    meaning: meaning.map(|value| Arc::from(format!("\"{value}\""))),
                })
            }
            JsonKind::Number if raw.bytes().skip(1).all(|byte| byte.is_ascii_digit()) => {
                let meaning = (raw == "-0").then(|| Arc::from("0"));
                Some(Self {
                    raw: Arc::from(raw),
                    meaning,
                })
            }
            _ => None,
        }
    }

    fn meaning(&self) -> &str {
        self.meaning.as_ref().unwrap_or(&self.raw)
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
        write!(f, "Id({})", self.raw)
    }
}

impl fmt::Display for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.raw)
    }
}

#[cfg(test)]
mod tests;
