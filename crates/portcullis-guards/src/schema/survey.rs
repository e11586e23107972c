//! Walks a schema before it is compiled and refuses what would make validation costly (C49).
//!
//! Follows only what a validator follows: subschemas by keyword and references inside the document. It errs on the strict
//! side where dialects differ (a `$ref` beside other keywords counts both).

use std::collections::{HashMap, HashSet};

use serde_json::{Map, Value};

use super::{IN_PLACE, INSTANCE_DEPTH, PATH, PATTERNS, SUBSCHEMAS, Unusable, WORK};

/// What the walk learned.
#[derive(Debug)]
pub(super) struct Survey {
    pub(super) explain_depth: usize,
    pub(super) names: HashSet<Box<str>>,
    pub(super) patterns: usize,
    /// Evaluations that one path through an instance may cost.
    pub(super) work: u64,
}

/// One subschema: what it applies to the same value, and what to values inside it.
#[derive(Debug, Default)]
struct Node {
    /// What it costs by itself; long lists of names and values cost more, and so do patterns.
    own: u64,
    in_place: Vec<usize>,
    /// Of these at most one applies to any inner value.
    either: Vec<usize>,
    /// All of these may apply to one inner value.
    inner: Vec<usize>,
    /// `unevaluated…` looks at everything in place a second time.
    twice: bool,
}

struct Walk<'s> {
    root: &'s Value,
    /// Subschemas by the address of their value in the parsed document, which does not move.
    indices: HashMap<usize, usize>,
    nodes: Vec<Node>,
    waiting: Vec<(usize, &'s Map<String, Value>)>,
    names: HashSet<Box<str>>,
    patterns: usize,
}

/// Measures a schema.
pub(super) fn survey(schema: &Value) -> Result<Survey, Unusable> {
    let mut walk = Walk {
        root: schema,
        indices: HashMap::new(),
        nodes: Vec::new(),
        waiting: Vec::new(),
        names: HashSet::new(),
        patterns: 0,
    };
    walk.index(schema)?;
    // A list instead of recursion: a chain of references can be as long as there are subschemas.
    while let Some((index, object)) = walk.waiting.pop() {
        let node = walk.node(object)?;
        if let Some(place) = walk.nodes.get_mut(index) {
            *place = node;
        }
    }
    let nodes = walk.nodes;
    check_chains(&nodes)?;
    let mut measure = Measure { nodes: &nodes, states: vec![State::New; nodes.len()], recursions: 0 };
    let once = measure.visit(0, 1)?;
    // Each recursive reference is answered once for each value it meets.
    let work = once.saturating_mul(1 + measure.recursions);
    if work > WORK {
        return Err(Unusable::TooLarge { what: "subschema evaluations on one path", limit: WORK });
    }
    let explain_depth = if measure.recursions > 0 { explainable(&nodes) } else { INSTANCE_DEPTH };
    Ok(Survey { explain_depth, names: walk.names, patterns: walk.patterns, work })
}

/// Keywords with one subschema for the same value.
const IN_PLACE_ONE: &[&str] = &["not", "if", "then", "else"];
/// Keywords with a list of subschemas for the same value.
const IN_PLACE_LIST: &[&str] = &["allOf", "anyOf", "oneOf"];
/// Keywords with a map of subschemas for the same value. In `dependencies` an entry may also be a list of names.
const IN_PLACE_MAP: &[&str] = &["dependentSchemas", "dependencies"];
/// Keywords with subschemas for inner values.
const INNER: &[&str] = &[
    "additionalProperties",
    "unevaluatedProperties",
    "propertyNames",
    "additionalItems",
    "unevaluatedItems",
    "contains",
];

impl<'s> Walk<'s> {
    /// The number of a subschema; new ones are put on the list.
    fn index(&mut self, schema: &'s Value) -> Result<usize, Unusable> {
        let address = std::ptr::from_ref(schema).addr();
        if let Some(known) = self.indices.get(&address) {
            return Ok(*known);
        }
        let index = self.nodes.len();
        if index >= SUBSCHEMAS {
            return Err(Unusable::TooLarge { what: "subschemas", limit: SUBSCHEMAS as u64 });
        }
        self.indices.insert(address, index);
        self.nodes.push(Node::default());
        match schema {
            Value::Object(object) => self.waiting.push((index, object)),
            Value::Bool(_) => {}
            _ => return Err(Unusable::NotASchema),
        }
        Ok(index)
    }

    fn node(&mut self, object: &'s Map<String, Value>) -> Result<Node, Unusable> {
        self.refuse_unbounded(object)?;
        let mut node = Node { own: own_work(object), ..Node::default() };
        if let Some(reference) = object.get("$ref").and_then(Value::as_str) {
            let target = self.target(reference)?;
            node.in_place.push(self.index(target)?);
        }
        for keyword in IN_PLACE_ONE {
            node.in_place.extend(object.get(*keyword).map(|schema| self.index(schema)).transpose()?);
        }
        for keyword in IN_PLACE_LIST {
            for schema in object.get(*keyword).and_then(Value::as_array).into_iter().flatten() {
                node.in_place.push(self.index(schema)?);
            }
        }
        for keyword in IN_PLACE_MAP {
            for schema in object.get(*keyword).and_then(Value::as_object).into_iter().flat_map(Map::values) {
                if !schema.is_array() {
                    node.in_place.push(self.index(schema)?);
                }
            }
        }
        for keyword in INNER {
            node.inner.extend(object.get(*keyword).map(|schema| self.index(schema)).transpose()?);
        }
        self.named(object, &mut node)?;
        self.items(object, &mut node)?;
        node.twice = object.contains_key("unevaluatedProperties") || object.contains_key("unevaluatedItems");
        // Kept for references, and compiled whether or not anything refers to them.
        for keyword in ["$defs", "definitions"] {
            for schema in object.get(keyword).and_then(Value::as_object).into_iter().flat_map(Map::values) {
                self.index(schema)?;
            }
        }
        Ok(node)
    }

    fn named(&mut self, object: &'s Map<String, Value>, node: &mut Node) -> Result<(), Unusable> {
        for (name, schema) in object.get("properties").and_then(Value::as_object).into_iter().flatten() {
            self.names.insert(name.as_str().into());
            node.either.push(self.index(schema)?);
        }
        for schema in object.get("patternProperties").and_then(Value::as_object).into_iter().flat_map(Map::values) {
            self.patterns += 1;
            node.inner.push(self.index(schema)?);
        }
        self.patterns += usize::from(object.contains_key("pattern"));
        if self.patterns > PATTERNS {
            return Err(Unusable::TooLarge { what: "regular expressions", limit: PATTERNS as u64 });
        }
        Ok(())
    }

    fn items(&mut self, object: &'s Map<String, Value>, node: &mut Node) -> Result<(), Unusable> {
        for keyword in ["items", "prefixItems"] {
            match object.get(keyword) {
                Some(Value::Array(list)) => {
                    for schema in list {
                        node.either.push(self.index(schema)?);
                    }
                }
                Some(schema) => node.inner.push(self.index(schema)?),
                None => {}
            }
        }
        Ok(())
    }

    /// What a validator would resolve in ways this walk does not follow, so that no bound would hold.
    fn refuse_unbounded(&self, object: &Map<String, Value>) -> Result<(), Unusable> {
        for keyword in ["$dynamicRef", "$recursiveRef"] {
            match object.get(keyword).and_then(Value::as_str) {
                Some(reference) if !reference.starts_with('#') => return Err(Unusable::RemoteReference { keyword }),
                Some(_) => return Err(Unusable::Unsupported { keyword }),
                None => {}
            }
        }
        let is_root = self.root.as_object().is_some_and(|root| std::ptr::eq(root, object));
        for keyword in ["$id", "id", "$schema"] {
            let embedded = object.get(keyword).and_then(Value::as_str).is_some_and(|id| !id.starts_with('#'));
            if embedded && !is_root {
                return Err(Unusable::Unsupported { keyword });
            }
        }
        Ok(())
    }

    /// Only `#`, `#/pointer` and those behind the root's own `$id`.
    fn target(&self, reference: &str) -> Result<&'s Value, Unusable> {
        let own = self.root.get("$id").and_then(Value::as_str).map(|id| id.strip_suffix('#').unwrap_or(id));
        let local = own.filter(|id| !id.is_empty()).and_then(|id| reference.strip_prefix(id)).unwrap_or(reference);
        let Some(fragment) = local.strip_prefix('#') else {
            let remote = Unusable::RemoteReference { keyword: "$ref" };
            return if local.is_empty() { Ok(self.root) } else { Err(remote) };
        };
        if fragment.is_empty() {
            return Ok(self.root);
        }
        if !fragment.starts_with('/') {
            return Err(Unusable::Unsupported { keyword: "$anchor" });
        }
        let pointer = percent_decoded(fragment).ok_or(Unusable::LostReference)?;
        self.root.pointer(&pointer).ok_or(Unusable::LostReference)
    }
}

fn own_work(object: &Map<String, Value>) -> u64 {
    let length = |keyword: &str| match object.get(keyword) {
        Some(Value::Array(list)) => list.len(),
        Some(Value::Object(map)) => map.len(),
        _ => 0,
    };
    let listed = length("enum") + length("required") + length("properties");
    let patterns = usize::from(object.contains_key("pattern")) + length("patternProperties");
    (1 + listed / 16 + patterns * 16) as u64
}

/// A pointer in a URI fragment is percent-encoded (RFC 6901, section 6).
fn percent_decoded(fragment: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(fragment.len());
    let mut rest = fragment.bytes();
    while let Some(byte) = rest.next() {
        if byte == b'%' {
            let digit = |byte: Option<u8>| char::from(byte?).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
            let (high, low) = (digit(rest.next())?, digit(rest.next())?);
            bytes.push(high * 16 + low);
        } else {
            bytes.push(byte);
        }
    }
    String::from_utf8(bytes).ok()
}

/// The longest chain of subschemas that apply to one value; refuses chains that are endless or too long.
fn check_chains(nodes: &[Node]) -> Result<(), Unusable> {
    let mut lengths = vec![Some(0); nodes.len()];
    for index in 0..nodes.len() {
        chain(nodes, index, 1, &mut lengths)?;
    }
    Ok(())
}

/// `lengths`: 0 is unknown, `None` is being worked out. Recursion ends at [`IN_PLACE`].
fn chain(nodes: &[Node], index: usize, so_far: usize, lengths: &mut [Option<usize>]) -> Result<usize, Unusable> {
    let too_long = Unusable::TooLarge { what: "subschemas in a row for one value", limit: IN_PLACE as u64 };
    let (Some(length), Some(node)) = (lengths.get_mut(index), nodes.get(index)) else { return Ok(0) };
    match length {
        None => return Err(Unusable::Endless),
        Some(0) => *length = None,
        Some(known) => return Ok(*known),
    }
    if so_far > IN_PLACE {
        return Err(too_long);
    }
    let mut longest = 1;
    for next in &node.in_place {
        longest = longest.max(chain(nodes, *next, so_far + 1, lengths)? + 1);
    }
    if longest > IN_PLACE {
        return Err(too_long);
    }
    if let Some(place) = lengths.get_mut(index) {
        *place = Some(longest);
    }
    Ok(longest)
}

#[derive(Clone, Copy)]
enum State {
    New,
    /// On the path from the root.
    Open,
    Done(u64),
}

/// What one path through an instance costs when recursive references are answered from memory, as the validator does.
struct Measure<'n> {
    nodes: &'n [Node],
    states: Vec<State>,
    /// References met that lead back to a subschema on the path.
    recursions: u64,
}

impl Measure<'_> {
    /// Recursion ends at [`PATH`].
    fn visit(&mut self, index: usize, path: usize) -> Result<u64, Unusable> {
        match self.states.get(index) {
            Some(State::Done(work)) => return Ok(*work),
            Some(State::Open) => {
                self.recursions += 1;
                return Ok(1);
            }
            Some(State::New) | None => {}
        }
        if path > PATH {
            return Err(Unusable::TooLarge { what: "subschemas on one path", limit: PATH as u64 });
        }
        self.set(index, State::Open);
        let nodes = self.nodes;
        let Some(node) = nodes.get(index) else { return Ok(1) };
        let mut in_place = node.own;
        for next in &node.in_place {
            in_place = in_place.saturating_add(self.visit(*next, path + 1)?);
        }
        let mut either = 0;
        for next in &node.either {
            either = either.max(self.visit(*next, path + 1)?);
        }
        let mut inner = 0_u64;
        for next in &node.inner {
            inner = inner.saturating_add(self.visit(*next, path + 1)?);
        }
        let work = node.work(in_place, either, inner);
        self.set(index, State::Done(work));
        Ok(work)
    }

    fn set(&mut self, index: usize, state: State) {
        if let Some(place) = self.states.get_mut(index) {
            *place = state;
        }
    }
}

impl Node {
    fn work(&self, in_place: u64, either: u64, inner: u64) -> u64 {
        let times = if self.twice { 2 } else { 1 };
        in_place.saturating_mul(times).saturating_add(either).saturating_add(inner)
    }
}

/// The deepest instance for which a recursive schema costs at most [`WORK`] evaluations on one path, nothing being memoised.
fn explainable(nodes: &[Node]) -> usize {
    // Level by level: what each subschema costs for an instance of that depth.
    let mut before = vec![0_u64; nodes.len()];
    for depth in 0..=INSTANCE_DEPTH {
        let mut now = vec![None; nodes.len()];
        if unfolded(nodes, 0, &before, &mut now) > WORK {
            return depth.saturating_sub(1);
        }
        for index in 0..nodes.len() {
            unfolded(nodes, index, &before, &mut now);
        }
        before = now.into_iter().map(Option::unwrap_or_default).collect();
    }
    INSTANCE_DEPTH
}

/// Recursion ends: chains of subschemas for one value were found to be finite and at most [`IN_PLACE`] long.
fn unfolded(nodes: &[Node], index: usize, before: &[u64], now: &mut [Option<u64>]) -> u64 {
    if let Some(Some(known)) = now.get(index) {
        return *known;
    }
    let Some(node) = nodes.get(index) else { return 0 };
    let deeper = |index: &usize| before.get(*index).copied().unwrap_or_default();
    let in_place =
        node.in_place.iter().fold(node.own, |sum, next| sum.saturating_add(unfolded(nodes, *next, before, now)));
    let either = node.either.iter().map(deeper).max().unwrap_or_default();
    let inner = node.inner.iter().map(deeper).fold(0_u64, u64::saturating_add);
    let work = node.work(in_place, either, inner);
    if let Some(place) = now.get_mut(index) {
        *place = Some(work);
    }
    work
}
