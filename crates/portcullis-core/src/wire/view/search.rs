//! An object's members as far as it is worth the effort.

use std::borrow::Cow;

use super::{Cursor, View};

/// Bytes of a string's value, up to its first escape, that take the effort of one byte elsewhere: vectors pass them.
const STRIDE: usize = 32;

/// Gives members until its effort is used up.
#[derive(Clone, Debug)]
pub struct Search<'a> {
    cursor: Cursor<'a>,
    left: usize,
}

/// The effort was used up: there may be more members.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TooFar;

impl<'a> Search<'a> {
    pub(super) fn new(cursor: Cursor<'a>, effort: usize) -> Self {
        Self { cursor, left: effort }
    }

    /// The next member, or `None` behind the last one.
    ///
    /// # Errors
    /// [`TooFar`], also when asked again.
    pub fn member(&mut self) -> Result<Option<(Cow<'a, str>, View<'a>)>, TooFar> {
        let whole = self.cursor.bytes;
        if whole.is_empty() {
            return Ok(None);
        }
        let from = self.cursor.pos;
        let mut cursor = Cursor { bytes: start_of(whole, from, self.left), ..self.cursor };
        if cursor.next_byte().ok_or(TooFar)? != b'"' {
            return Ok(None);
        }
        let key = cursor.string();
        let first = cursor.next_byte().ok_or(TooFar)?;
        let start = cursor.pos;
        let left = self.left.saturating_sub(start - from);
        // What stands before the first escape of a string is passed with vectors; behind each escape they begin anew.
        let quick = if first == b'"' { plain_from(whole, start + 1, left.saturating_mul(STRIDE)) } else { 0 };
        cursor.bytes = start_of(whole, start + quick, left);
        let value = if quick > 0 && whole.get(start + 1 + quick) == Some(&b'"') {
            cursor.pos = start + quick + 2;
            cursor.view(start, true)
        } else {
            cursor.value()
        };
        // The object's closing bracket is never passed, so what ends with the bytes was cut off.
        if cursor.pos >= cursor.bytes.len() {
            return Err(TooFar);
        }
        self.left = left.saturating_sub(cursor.pos - start - quick + quick / STRIDE);
        self.cursor = Cursor { bytes: whole, ..cursor };
        Ok(Some((key.decode(), value)))
    }
}

fn start_of(bytes: &[u8], from: usize, most: usize) -> &[u8] {
    bytes.get(..from.saturating_add(most)).unwrap_or(bytes)
}

/// Bytes before the first quote or backslash among the next `most`.
fn plain_from(bytes: &[u8], from: usize, most: usize) -> usize {
    let rest = start_of(bytes, from, most).get(from..).unwrap_or_default();
    memchr::memchr2(b'"', b'\\', rest).unwrap_or(rest.len())
}

#[cfg(test)]
mod tests {
    use super::TooFar;
    use crate::wire::{Limits, view_json};

    /// The names of the members that are found, and whether all were.
    fn found(text: &str, effort: usize) -> (Vec<String>, bool) {
        let mut search = view_json(text.as_bytes(), &Limits::default()).unwrap().search(effort);
        let mut names = Vec::new();
        loop {
            match search.member() {
                Ok(Some((name, value))) => {
                    assert!(text.contains(value.text()) && !value.raw().is_empty());
                    names.push(name.into_owned());
                }
                Ok(None) => return (names, true),
                Err(TooFar) => {
                    assert!(matches!(search.member(), Err(TooFar)));
                    return (names, false);
                }
            }
        }
    }

    #[test]
    fn a_search_gives_every_member_or_says_that_it_did_not() {
        let texts = [
            r#"{"a":1,"b":{"c":[1,2,{"d":"e"}]},"f":"g\"h","i":true}"#.to_owned(),
            r#" { "a" : 1 , "b" : { "c" : [ 1 ] } , "f" : "" , "i" : null } "#.to_owned(),
            format!(r#"{{"a":"{}","b":0,"f":"{}","i":[]}}"#, "x".repeat(3000), "\\n".repeat(900)),
        ];
        for text in texts {
            let text = text.trim();
            for effort in 0..text.len() + 10 {
                let (names, all) = found(text, effort);
                assert_eq!(names, ["a", "b", "f", "i"][..names.len()], "{effort}");
                assert_eq!(all, all && names.len() == 4, "{effort}");
                assert!(all || effort <= text.len(), "{effort}: {text}");
            }
        }
    }

    #[test]
    fn a_long_text_is_passed_with_little_effort_and_many_values_or_escapes_are_not() {
        let string = format!(r#"{{"text":"{}","path":"/a"}}"#, "x".repeat(64 << 10));
        assert_eq!(found(&string, 4 << 10), (vec!["text".to_owned(), "path".to_owned()], true));
        let list = format!(r#"{{"rows":[{}0],"path":"/a"}}"#, "1,".repeat(32 << 10));
        assert_eq!(found(&list, 4 << 10), (vec![], false));
        let lines = format!(r#"{{"text":"{}","path":"/a"}}"#, "\\n".repeat(4 << 10));
        assert_eq!(found(&lines, 4 << 10), (vec![], false));
        let strings: String = (0..2 << 10).map(|i| format!(r#""{i}":"","#)).collect();
        let (names, all) = found(&format!(r#"{{{strings}"path":"/a"}}"#), 4 << 10);
        assert!(!all && names.len() < 1 << 10, "{}", names.len());
    }

    #[test]
    fn nothing_but_an_object_has_members() {
        for text in ["[1]", "\"a\"", "1", "null", "{}"] {
            assert_eq!(found(text, 100), (vec![], true));
        }
    }
}
