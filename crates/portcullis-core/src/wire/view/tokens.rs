//! Everything in a value, flat: for those who look at all strings and would otherwise walk the same text once a level.
//! It knows nothing of what the values mean.

use std::{borrow::Cow, iter::FusedIterator};

use super::{Cursor, JsonKind, View, scalar_end};

/// One step of [`View::tokens`].
#[derive(Clone, Debug)]
pub enum Token<'a> {
    /// The key of the member whose value comes next.
    Key(Cow<'a, str>),
    /// A string, number, boolean or null.
    Scalar(View<'a>),
    /// `{` or `[`.
    Open(JsonKind),
    /// `}` or `]`.
    Close,
}

/// Iterator over everything in a value.
#[derive(Clone, Debug)]
pub struct Tokens<'a> {
    cursor: Cursor<'a>,
}

impl<'a> Tokens<'a> {
    pub(super) fn new(cursor: Cursor<'a>) -> Self {
        Self { cursor }
    }
}

impl<'a> Iterator for Tokens<'a> {
    type Item = Token<'a>;

    fn next(&mut self) -> Option<Self::Item> {
        let first = self.cursor.next_byte()?;
        let start = self.cursor.pos;
        Some(match first {
            b'{' | b'[' => {
                self.cursor.pos += 1;
                Token::Open(if first == b'{' { JsonKind::Object } else { JsonKind::Array })
            }
            b'}' | b']' => {
                self.cursor.pos += 1;
                Token::Close
            }
            b'"' => {
                let body = self.cursor.string();
                if self.colon_follows() {
                    Token::Key(body.decode())
                } else {
                    Token::Scalar(self.cursor.view(start, body.plain))
                }
            }
            _ => {
                self.cursor.pos = scalar_end(self.cursor.bytes, start);
                Token::Scalar(self.cursor.view(start, false))
            }
        })
    }
}

impl Tokens<'_> {
    /// In validated text only a key is followed by a colon.
    fn colon_follows(&self) -> bool {
        let rest = self.cursor.bytes.get(self.cursor.pos..).unwrap_or_default();
        rest.iter().find(|byte| !matches!(byte, b' ' | b'\t' | b'\n' | b'\r')) == Some(&b':')
    }
}

impl FusedIterator for Tokens<'_> {}
