//! Cursors of merged lists: how far each server's list has come, sealed for one caller and one list, so that nothing has to be remembered and
//! nobody can make a server see a cursor that it did not give.

use base64::Engine;
use base64::engine::general_purpose::STANDARD_NO_PAD;

use crate::seal::Sealer;

/// Where each server's list goes on. Servers whose lists have ended are not in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Cursor {
    pages: usize,
    own: Vec<(String, String)>,
}

impl Cursor {
    /// After so many pages.
    pub(crate) const fn after(pages: usize) -> Self {
        Self { pages, own: Vec::new() }
    }

    pub(crate) const fn pages(&self) -> usize {
        self.pages
    }

    pub(crate) fn push(&mut self, server: &str, own: String) {
        self.own.push((server.to_owned(), own));
    }

    /// The cursor that a server gave for its own list.
    pub(crate) fn of(&self, server: &str) -> Option<&str> {
        self.own.iter().find(|(name, _)| name == server).map(|(_, own)| own.as_str())
    }

    /// For the clients of `owner`; `None` when every list has ended.
    pub(crate) fn seal(&self, sealer: &Sealer, owner: &str, method: &str) -> Option<String> {
        if self.own.is_empty() {
            return None;
        }
        let lines = self.own.iter().map(|(server, own)| format!("{server} {}", STANDARD_NO_PAD.encode(own)));
        let text = lines.fold(format!("{method} {}", self.pages), |text, line| text + "\n" + &line);
        sealer.seal("cursor", owner, text.as_bytes())
    }

    pub(crate) fn open(sealer: &Sealer, owner: &str, method: &str, sealed: &str) -> Option<Self> {
        let text = String::from_utf8(sealer.open("cursor", owner, sealed)?).ok()?;
        let mut lines = text.split('\n');
        let (list, pages) = lines.next()?.split_once(' ')?;
        let pages = pages.parse().ok().filter(|_| list == method)?;
        let entry = |line: &str| {
            let (server, own) = line.split_once(' ')?;
            Some((server.to_owned(), String::from_utf8(STANDARD_NO_PAD.decode(own).ok()?).ok()?))
        };
        Some(Self { pages, own: lines.map(entry).collect::<Option<_>>()? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_comes_back_to_its_own_caller_and_its_own_list_only() {
        let sealer = Sealer::new().unwrap();
        let mut cursor = Cursor::after(7);
        assert_eq!(cursor.seal(&sealer, "ana", "tools/list"), None, "all lists have ended");
        cursor.push("notes", "2".to_owned());
        cursor.push("mail", "two words\nand a line".to_owned());
        let sealed = cursor.seal(&sealer, "ana", "tools/list").unwrap();
        assert_eq!(Cursor::open(&sealer, "ana", "tools/list", &sealed), Some(cursor.clone()));
        assert_eq!((cursor.of("mail"), cursor.of("other")), (Some("two words\nand a line"), None));
        for (owner, method, text) in
            [("ben", "tools/list", sealed.as_str()), ("ana", "prompts/list", &sealed), ("ana", "tools/list", "2")]
        {
            assert_eq!(Cursor::open(&sealer, owner, method, text), None, "{owner} {method} {text}");
        }
    }
}
