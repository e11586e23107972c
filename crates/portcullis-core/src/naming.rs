//! Many servers behind one endpoint: which names, URIs and task ids its clients see, and which server each belongs to.
//! Pure words. What a name means depends on what the servers offer, never on which of them is up: a message is for one server or
//! for none, and falls through to no other.

mod conflicts;
mod expose;
mod facing;
mod offer;
mod place;
mod short;
mod shown;
mod uris;

use std::borrow::Cow;
use std::sync::Arc;

pub use self::conflicts::{Conflict, ConflictKind, Named};
pub use self::facing::Facing;
pub use self::offer::Offer;
pub use self::place::{Placed, Unplaced, cursor, with_cursor};
use self::shown::Shown;
use crate::catalogue::Catalogue;

/// Which tools and prompts carry their server's name.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Prefix {
    /// All of them. The default: what a name means then never changes, whatever else a server begins to offer.
    #[default]
    Always,
    /// Those that several servers offer, and those that would read as another's with its prefix.
    OnConflict,
    /// None. The first server in order that offers a name keeps it; the others' is hidden, and reported as a conflict.
    Never,
}

/// Characters of a server's name with its separator. 40: of a shortened name's 64 the digest takes 13, and some of the name itself
/// should be left to read.
const MOST_PREFIX: usize = 40;

/// Characters of a separator. 8: longer ones only eat into the 64 that a name may have.
const MOST_SEPARATOR: usize = 8;

/// The servers of one endpoint, in configured order, and how their words are told apart. Immutable, but for what it remembers of its own work.
#[derive(Clone, Debug)]
pub struct Names {
    servers: Vec<Server>,
    prefix: Prefix,
    /// Lists in these words, for when they come again.
    shown: Arc<Shown>,
}

#[derive(Clone, Debug)]
struct Server {
    name: Arc<str>,
    /// Before its tools, prompts and task ids: name and separator. No other server's begins with it.
    prefix: String,
    /// Before its URIs: the name as it can stand in a URI's scheme, where only lower-case letters survive every reader.
    label: String,
}

impl Names {
    /// `servers`: their names, in configured order.
    ///
    /// # Errors
    /// One sentence, when words could not be told apart, or not be written: no server, a separator other than 1 to 8 of `_`, `-`, `.`;
    /// a name that does not begin with a letter, has other characters than letters, digits and `_`, or is too long; names of which one,
    /// with the separator, is the beginning of another; names that differ only by case.
    pub fn new(servers: Vec<Arc<str>>, separator: &str, prefix: Prefix) -> Result<Self, String> {
        let fits = |character: char| matches!(character, '_' | '-' | '.');
        if separator.is_empty() || separator.len() > MOST_SEPARATOR || !separator.chars().all(fits) {
            return Err(format!(
                "the separator `{separator}` cannot stand in names: it takes 1 to {MOST_SEPARATOR} of `_`, `-` and `.`"
            ));
        }
        if servers.is_empty() {
            return Err("an endpoint needs at least one server".to_owned());
        }
        let servers =
            servers.into_iter().map(|name| Server::new(name, separator)).collect::<Result<Vec<_>, String>>()?;
        for (index, server) in servers.iter().enumerate() {
            for other in servers.iter().skip(index + 1) {
                server.is_told_from(other)?;
            }
        }
        Ok(Self { servers, prefix, shown: Arc::default() })
    }

    /// The servers' names, in configured order; everywhere else a server is its place in it, from 0.
    pub fn servers(&self) -> impl ExactSizeIterator<Item = &Arc<str>> {
        self.servers.iter().map(|server| &server.name)
    }

    /// What a client knows one server's tool or prompt by. `None`: another server keeps the name ([`Prefix::Never`]), or there is no
    /// such server.
    #[must_use]
    pub fn shown_name<'a>(
        &self,
        server: usize,
        of: Offer,
        name: &'a str,
        known: &[Arc<Catalogue>],
    ) -> Option<Cow<'a, str>> {
        let prefixed = || Some(Cow::Owned(self.servers.get(server)?.full(name)));
        match self.prefix {
            Prefix::Always => prefixed(),
            Prefix::OnConflict => {
                let bare = short::shortened(name);
                let imitates = self.by_prefix(&bare).is_some();
                let is_its_own = |(owner, own): (usize, &str)| owner == server && own == name;
                if imitates || !owners(of, &bare, known).all(is_its_own) { prefixed() } else { Some(bare) }
            }
            Prefix::Never => {
                let bare = short::shortened(name);
                let first = owners(of, &bare, known).next();
                let keeps = first.is_none_or(|(owner, own)| owner > server || (owner == server && own == name));
                keeps.then_some(bare)
            }
        }
    }

    /// Whose tool or prompt a client's name means, and what that server calls it. Exact and case-sensitive.
    #[must_use]
    pub fn own_name<'a>(&self, of: Offer, shown: &'a str, known: &[Arc<Catalogue>]) -> Option<(usize, Cow<'a, str>)> {
        if self.prefix != Prefix::Never
            && let Some((index, rest)) = self.by_prefix(shown)
        {
            return Some((index, self.unshortened(index, of, shown, rest, known)));
        }
        if self.prefix == Prefix::Always {
            return None;
        }
        let mut owners = owners(of, shown, known);
        let (index, own) = owners.next()?;
        if self.prefix == Prefix::OnConflict && owners.next().is_some() {
            return None;
        }
        Some((index, if own == shown { Cow::Borrowed(shown) } else { Cow::Owned(own.to_owned()) }))
    }

    /// The server whose prefix `shown` begins with, and the rest. At most one fits, so that it is the longest too.
    fn by_prefix<'a>(&self, shown: &'a str) -> Option<(usize, &'a str)> {
        let strip = |(index, server): (usize, &Server)| Some((index, shown.strip_prefix(server.prefix.as_str())?));
        self.servers.iter().enumerate().find_map(strip)
    }

    /// What the server calls what a client's `shown` names; `rest` is `shown` without the prefix.
    fn unshortened<'a>(
        &self,
        index: usize,
        of: Offer,
        shown: &str,
        rest: &'a str,
        known: &[Arc<Catalogue>],
    ) -> Cow<'a, str> {
        let (Some(server), Some(catalogue)) = (self.servers.get(index), known.get(index)) else {
            return Cow::Borrowed(rest);
        };
        if !short::may_be_shortened(shown) || of.has(catalogue, rest) {
            return Cow::Borrowed(rest);
        }
        let longer = of.names(catalogue).find(|name| short::begins_alike(rest, name) && server.full(name) == shown);
        longer.map_or(Cow::Borrowed(rest), |name| Cow::Owned(name.to_owned()))
    }

    fn shown_task(&self, server: usize, id: &str) -> Option<String> {
        Some(format!("{}{id}", self.servers.get(server)?.prefix))
    }
}

/// All servers' tools or prompts that would be called `bare` without a prefix, in order.
fn owners<'a>(of: Offer, bare: &'a str, known: &'a [Arc<Catalogue>]) -> impl Iterator<Item = (usize, &'a str)> {
    let may_be_shortened = short::may_be_shortened(bare);
    known.iter().enumerate().flat_map(move |(index, catalogue)| {
        let exact = of.has(catalogue, bare).then_some(bare);
        // Only a name of this form can stand for a longer one; looking for that means looking at all names.
        let longer = may_be_shortened.then(|| of.names(catalogue).filter(move |name| short::stands_for(bare, name)));
        exact.into_iter().chain(longer.into_iter().flatten()).map(move |name| (index, name))
    })
}

impl Server {
    fn new(name: Arc<str>, separator: &str) -> Result<Self, String> {
        let begins = name.starts_with(|first: char| first.is_ascii_alphabetic());
        if !begins || !name.chars().all(|character| character.is_ascii_alphanumeric() || character == '_') {
            return Err(format!(
                "the server name `{name}` cannot stand in URIs: it takes letters, digits and `_`, a letter first"
            ));
        }
        let prefix = format!("{name}{separator}");
        if prefix.len() > MOST_PREFIX {
            return Err(format!("the server name `{name}` with its separator has more than {MOST_PREFIX} characters"));
        }
        let label = name.to_ascii_lowercase().replace('_', "-");
        Ok(Self { name, prefix, label })
    }

    fn is_told_from(&self, other: &Self) -> Result<(), String> {
        let (one, two) = (&self.name, &other.name);
        if self.label == other.label {
            return Err(format!(
                "the servers `{one}` and `{two}` cannot be told apart in URIs, where case has no meaning"
            ));
        }
        if self.prefix.starts_with(&other.prefix) || other.prefix.starts_with(&self.prefix) {
            return Err(format!(
                "the servers `{one}` and `{two}` cannot be told apart: `{}` and `{}` begin alike",
                self.prefix, other.prefix
            ));
        }
        Ok(())
    }

    /// With its prefix, shortened where it has to be.
    fn full(&self, name: &str) -> String {
        let full = format!("{}{name}", self.prefix);
        match short::shortened(&full) {
            Cow::Owned(short) => short,
            Cow::Borrowed(_) => full,
        }
    }
}

#[cfg(test)]
mod tests;
