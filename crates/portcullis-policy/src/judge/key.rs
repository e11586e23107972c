//! What a decision depends on, as bytes: two calls with the same key cannot be decided differently. A slice whose policies look at
//! anything that does not stand here has no key and is evaluated every time; what is not known to be safe counts as such.

mod proofs;

use std::hash::{Hash, Hasher};
use std::sync::{Arc, Weak};

use portcullis_core::catalogue::{Annotations, Tool};
use portcullis_core::wire::{JsonKind, View as Json};
use smallvec::SmallVec;

use crate::context::Facts;
use crate::mentions::Needs;
use crate::policies::{Slice, View};
use crate::vocabulary::{Shape, direction_word};

/// Bytes of a key. 1 KiB: names and short values, which are what repeats; a call with a longer mentioned value hardly comes twice.
const MOST_KEY: usize = 1 << 10;
/// The effort, see [`Json::search`], of searching arguments for the mentioned ones, however many there are. 4 KiB: a call that was not seen
/// before has them read twice, which takes at most five microseconds there, and would take ten times as long as the policies for 64 KiB of
/// small values.
pub(super) const MOST_ARGUMENTS: usize = 4 << 10;

/// How many of the policies that can apply a key stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Share {
    All,
    /// Those of [`crate::policies::Parts::steady`].
    Steady,
}

/// Which facts belong in the keys of a slice. Worked out once, when the slice is made.
#[derive(Debug, Default)]
pub(crate) struct Recipe(Option<Vec<Part>>);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Part {
    Method,
    Direction,
    Version,
    /// Whether there is one. `counts`: what it counts is mentioned too, and differs from call to call.
    Session {
        counts: bool,
    },
    Name,
    Tool,
    /// Made of the name, except where a message says it in its params.
    Place,
    Arguments,
    Client,
    Agent,
    Signature,
    Chain,
}

impl Recipe {
    /// No recipe, when something is mentioned that is the call's own, such as the time, or that this does not know.
    pub(crate) fn of(needs: &Needs) -> Self {
        if needs.whole {
            return Self(None);
        }
        let part = |(name, below): (&String, &Needs)| match name.as_str() {
            "method" => Some(Part::Method),
            "direction" => Some(Part::Direction),
            "era" | "version" => Some(Part::Version),
            "session" => Some(Part::Session { counts: below.whole || !below.inner.is_empty() }),
            "name" => Some(Part::Name),
            "tool" => Some(Part::Tool),
            "mode" | "uri" | "url" | "host" => Some(Part::Place),
            "args" => Some(Part::Arguments),
            "client" => Some(Part::Client),
            "agent" => Some(Part::Agent),
            "signature" => Some(Part::Signature),
            "chain" => Some(Part::Chain),
            _ => None,
        };
        let parts: Option<Vec<Part>> = needs.inner.iter().map(part).collect();
        Self(parts.map(|mut parts| {
            // Where there is no key, that is known before the arguments are read for one.
            parts.sort_by_key(|part| !matches!(part, Part::Session { .. }));
            parts
        }))
    }

    /// Whether there is a key for whatever is called. Long arguments may have none all the same.
    pub(crate) fn is_steady(&self) -> bool {
        self.0.as_ref().is_some_and(|parts| !parts.contains(&Part::Session { counts: true }))
    }
}

/// A key while it is looked up: no memory is allocated for it, nor is what it does not use written to.
pub(super) struct Key(SmallVec<[u8; MOST_KEY]>);

/// A remembered key.
pub(super) struct Known {
    bytes: Box<[u8]>,
    /// The definition whose address is in the bytes: it may go, but while this is here nothing else gets its address.
    _definition: Weak<Tool>,
}

impl Known {
    pub(super) fn is(&self, key: &Key) -> bool {
        *self.bytes == *key.0
    }
}

impl Hash for Key {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.hash(state);
    }
}

/// What a value is written as. Everything of no fixed length has its length in front or an end behind it, so that no two lists of
/// parts are written alike.
mod tag {
    pub(super) const END: u8 = 0;
    pub(super) const ABSENT: u8 = 1;
    pub(super) const TEXT: u8 = 2;
    pub(super) const OBJECT: u8 = 3;
}

impl Key {
    pub(super) fn new() -> Self {
        Self(SmallVec::new())
    }

    /// Writes what the decision depends on. `None`: on more than a key can hold. The order of the parts is the slice's, and the same
    /// number, view and share have the same slice.
    pub(super) fn write(
        &mut self,
        prepared: u64,
        (view, share): (View, Share),
        slice: &Slice,
        facts: &Facts<'_>,
    ) -> Option<()> {
        let parts = slice.recipe.0.as_ref()?;
        // The client's answers are judged by a weakened form, and nobody repeats them.
        if facts.answer {
            return None;
        }
        self.push(&prepared.to_le_bytes())?;
        self.push(&[u8::from(view == View::WithoutAsk), u8::from(share == Share::Steady)])?;
        for part in parts {
            self.part(*part, slice, facts)?;
        }
        Some(())
    }

    pub(super) fn known(&self, facts: &Facts<'_>) -> Known {
        Known { bytes: self.0.as_slice().into(), _definition: facts.tool.map(Arc::downgrade).unwrap_or_default() }
    }

    fn part(&mut self, part: Part, slice: &Slice, facts: &Facts<'_>) -> Option<()> {
        match part {
            Part::Method => self.text(facts.method.as_bytes()),
            Part::Direction => self.text(direction_word(facts.direction).as_bytes()),
            Part::Version => self.text(facts.context.version.as_str().as_bytes()),
            Part::Session { counts } => {
                let present = facts.context.session.is_some();
                if present && counts { None } else { self.push(&[u8::from(present)]) }
            }
            Part::Name => self.name(facts),
            Part::Tool => {
                self.name(facts)?;
                self.hints(facts.hints?)
            }
            Part::Place => match facts.shape {
                Shape::Elicitation | Shape::Completion => None,
                Shape::Plain | Shape::Tool | Shape::Named | Shape::Resource => self.name(facts),
            },
            Part::Arguments if facts.shape == Shape::Tool => {
                // By its address, which `Known` keeps from being used again.
                self.push(&Arc::as_ptr(facts.tool?).addr().to_le_bytes())?;
                match facts.arguments {
                    None => self.push(&[tag::ABSENT]),
                    Some(arguments) => self.value(arguments, slice.needs.below("args")?),
                }
            }
            Part::Arguments => Some(()),
            Part::Client => self.client(&facts.context.proofs.client),
            Part::Agent => self.agent(facts.context.proofs.agent.as_ref()),
            Part::Signature => self.signature(facts.context.proofs.signature.as_ref()),
            Part::Chain => self.chain(&facts.context.proofs.chain),
        }
    }

    fn name(&mut self, facts: &Facts<'_>) -> Option<()> {
        self.maybe(facts.name.as_deref())
    }

    fn hints(&mut self, hints: Annotations) -> Option<()> {
        let Annotations { read_only, destructive, idempotent, open_world } = hints;
        self.push(&[read_only, destructive, idempotent, open_world].map(|hint| hint.map_or(2, u8::from)))
    }

    /// What `needs` names of a value, as it is written in the message. Must go wherever [`crate::context::build`] looks: members nobody
    /// mentions are passed over there too, and an object is otherwise only known to be one.
    fn value(&mut self, value: Json<'_>, needs: &Needs) -> Option<()> {
        if needs.whole || value.kind() != JsonKind::Object {
            return self.text(value.raw());
        }
        self.push(&[tag::OBJECT])?;
        let mut missing = needs.inner.len();
        let mut search = value.search(MOST_ARGUMENTS);
        while missing > 0 {
            let Some((name, value)) = search.member().ok()? else { break };
            if let Some(below) = needs.inner.get(name.as_ref()) {
                missing -= 1;
                self.text(name.as_bytes())?;
                self.value(value, below)?;
            }
        }
        self.push(&[tag::END])
    }

    fn maybe(&mut self, text: Option<&str>) -> Option<()> {
        match text {
            None => self.push(&[tag::ABSENT]),
            Some(text) => self.text(text.as_bytes()),
        }
    }

    fn text(&mut self, text: &[u8]) -> Option<()> {
        self.push(&[tag::TEXT])?;
        self.push(&u16::try_from(text.len()).ok()?.to_le_bytes())?;
        self.push(text)
    }

    fn push(&mut self, bytes: &[u8]) -> Option<()> {
        // Never more than what needs no allocation.
        if bytes.len() > MOST_KEY.saturating_sub(self.0.len()) {
            return None;
        }
        self.0.extend_from_slice(bytes);
        Some(())
    }
}

#[cfg(test)]
mod tests {
    use super::Key;

    #[test]
    fn no_two_lists_of_texts_are_written_alike() {
        let written = |texts: &[&str]| {
            let mut key = Key::new();
            texts.iter().for_each(|text| key.text(text.as_bytes()).unwrap());
            key.0.to_vec()
        };
        // The middle one looks like the tag between two texts.
        assert_ne!(written(&["a", "b"]), written(&["a\u{2}b"]));
        assert_ne!(written(&["ab", "c"]), written(&["a", "bc"]));
        assert_ne!(written(&["a", ""]), written(&["a"]));
    }
}
