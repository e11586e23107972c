//! From a tool's `inputSchema` to Cedar types. What Cedar cannot express becomes opaque, with the reason: it stays out of the schema,
//! and a call that carries it is denied when a policy mentions it. No reference ever leaves the document.

use std::collections::BTreeMap;

use portcullis_core::wire::{JsonKind, Limits, View, view_json};

/// Nesting and `$ref` hops together. 16: real tool schemas nest to about 6; recursive ones must end somewhere.
const MOST_DEPTH: usize = 16;
/// Types of one tool. 2048: the largest real tools have a few hundred; nested `$ref`s could otherwise grow exponentially.
const MOST_TYPES: usize = 2048;

/// A Cedar type.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Type {
    Bool,
    Long,
    Decimal,
    String,
    Set(Box<Type>),
    Record(Record),
    Opaque(Opaque),
}

/// Fields by their exact names.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Record {
    pub(crate) fields: BTreeMap<String, Field>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Field {
    pub(crate) ty: Type,
    /// Cedar may read it without asking `has` first.
    pub(crate) required: bool,
    /// JSON `null` stands for absence.
    pub(crate) nullable: bool,
}

/// Why a part of a JSON Schema has no Cedar type.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Opaque {
    Untyped,
    SeveralTypes,
    Alternatives,
    Map,
    ArrayOfUnknown,
    Reference,
    TooDeep,
    TooLarge,
    NotASchema,
}

impl Opaque {
    /// Completes "it has no Cedar type because …".
    pub(crate) const fn why(self) -> &'static str {
        match self {
            Self::Untyped => "its schema does not say one `type`",
            Self::SeveralTypes => "its schema allows several types",
            Self::Alternatives => "its schema uses `oneOf`, `anyOf`, `allOf`, `not` or `if`",
            Self::Map => "its schema is an object without declared `properties`",
            Self::ArrayOfUnknown => "the `items` of the array have no single type",
            Self::Reference => "its `$ref` does not lead to a place inside the tool's own schema",
            Self::TooDeep => "its schema nests too deep or refers to itself",
            Self::TooLarge => "the tool's schema is too large",
            Self::NotASchema => "its schema cannot be read",
        }
    }
}

/// The type of a tool's arguments. A tool without a schema takes none.
pub(crate) fn project(input_schema: Option<&[u8]>, limits: &Limits) -> Type {
    let Some(bytes) = input_schema else { return Type::Record(Record::default()) };
    let Ok(root) = view_json(bytes, limits) else { return Type::Opaque(Opaque::NotASchema) };
    let mut projector = Projector { root, left: MOST_TYPES };
    let (ty, _) = projector.read(root, MOST_DEPTH);
    match ty {
        // An object without properties is a map anywhere else; at the top it is a tool without arguments.
        Type::Opaque(Opaque::Map | Opaque::Untyped) if root.get("$ref").is_none() => Type::Record(Record::default()),
        other => other,
    }
}

struct Projector<'a> {
    root: View<'a>,
    left: usize,
}

impl<'a> Projector<'a> {
    /// The type, and whether `null` is allowed beside it.
    fn read(&mut self, schema: View<'a>, depth: usize) -> (Type, bool) {
        let plain = |opaque| (Type::Opaque(opaque), false);
        let Some(depth) = depth.checked_sub(1) else { return plain(Opaque::TooDeep) };
        self.left = match self.left.checked_sub(1) {
            Some(left) => left,
            None => return plain(Opaque::TooLarge),
        };
        if schema.kind() != JsonKind::Object {
            return plain(Opaque::Untyped);
        }
        if let Some(reference) = schema.get("$ref") {
            return match self.resolve(reference) {
                Some(target) => self.read(target, depth),
                None => plain(Opaque::Reference),
            };
        }
        for keyword in ["anyOf", "oneOf", "allOf"] {
            if let Some(branches) = schema.get(keyword) {
                return self.only_branch(branches, keyword != "allOf", depth);
            }
        }
        if ["not", "if"].iter().any(|keyword| schema.get(keyword).is_some()) {
            return plain(Opaque::Alternatives);
        }
        match schema.get("type") {
            Some(ty) if ty.kind() == JsonKind::Array => self.listed_types(schema, ty, depth),
            Some(ty) => {
                (ty.as_str().map_or(Type::Opaque(Opaque::Untyped), |name| self.named(schema, &name, depth)), false)
            }
            None => (by_values(schema), false),
        }
    }

    /// `anyOf: [T, null]`, as Python generators write optionals, and `allOf: [T]` are plain types in disguise.
    fn only_branch(&mut self, branches: View<'a>, nullable: bool, depth: usize) -> (Type, bool) {
        let is_null = |branch: &View<'a>| branch.get("type").and_then(View::as_str).is_some_and(|name| name == "null");
        let (nulls, others): (Vec<_>, Vec<_>) = branches.elements().partition(is_null);
        match others.as_slice() {
            [only] if nulls.is_empty() || nullable => {
                let (ty, null) = self.read(*only, depth);
                (ty, null || !nulls.is_empty())
            }
            _ => (Type::Opaque(Opaque::Alternatives), false),
        }
    }

    fn listed_types(&mut self, schema: View<'a>, types: View<'a>, depth: usize) -> (Type, bool) {
        let names: Vec<_> = types.elements().filter_map(View::as_str).collect();
        let nullable = names.iter().any(|name| name == "null");
        let mut others = names.iter().filter(|name| *name != "null");
        match (others.next(), others.next()) {
            (Some(only), None) => (self.named(schema, only, depth), nullable),
            _ => (Type::Opaque(Opaque::SeveralTypes), false),
        }
    }

    fn named(&mut self, schema: View<'a>, name: &str, depth: usize) -> Type {
        match name {
            "boolean" => Type::Bool,
            "integer" => Type::Long,
            "number" => Type::Decimal,
            "string" => Type::String,
            "array" => self.array(schema, depth),
            "object" => self.object(schema, depth),
            _ => Type::Opaque(Opaque::Untyped),
        }
    }

    fn array(&mut self, schema: View<'a>, depth: usize) -> Type {
        let items = schema.get("items").filter(|_| schema.get("prefixItems").is_none());
        let Some(items) = items else { return Type::Opaque(Opaque::ArrayOfUnknown) };
        match self.read(items, depth) {
            (Type::Opaque(opaque @ (Opaque::TooDeep | Opaque::TooLarge)), _) => Type::Opaque(opaque),
            (Type::Opaque(_), _) | (_, true) => Type::Opaque(Opaque::ArrayOfUnknown),
            (ty, false) => Type::Set(Box::new(ty)),
        }
    }

    fn object(&mut self, schema: View<'a>, depth: usize) -> Type {
        let Some(properties) = schema.get("properties").filter(|properties| properties.kind() == JsonKind::Object)
        else {
            return Type::Opaque(Opaque::Map);
        };
        let required: Vec<_> =
            schema.get("required").into_iter().flat_map(View::elements).filter_map(View::as_str).collect();
        let mut record = Record::default();
        for (name, property) in properties.members() {
            let (ty, nullable) = self.read(property, depth);
            let required = !nullable && required.contains(&name);
            record.fields.insert(name.into_owned(), Field { ty, required, nullable });
        }
        Type::Record(record)
    }

    /// A JSON Pointer inside this document (`#/$defs/…`, `#/definitions/…`, or any other place in it).
    fn resolve(&self, reference: View<'a>) -> Option<View<'a>> {
        let reference = reference.as_str()?;
        let pointer = reference.strip_prefix('#')?;
        if pointer.is_empty() {
            return Some(self.root);
        }
        pointer.strip_prefix('/')?.split('/').try_fold(self.root, |at, step| {
            let step = step.replace("~1", "/").replace("~0", "~");
            match at.kind() {
                JsonKind::Array => at.elements().nth(step.parse().ok()?),
                _ => at.get(&step),
            }
        })
    }
}

/// A schema without `type` still has one when it lists its values.
fn by_values(schema: View<'_>) -> Type {
    let listed: Vec<View<'_>> = match (schema.get("const"), schema.get("enum")) {
        (Some(only), _) => vec![only],
        (None, Some(list)) => list.elements().collect(),
        (None, None) => Vec::new(),
    };
    if !listed.is_empty() {
        if listed.iter().all(|value| value.kind() == JsonKind::String) {
            return Type::String;
        }
        if listed.iter().all(|value| value.kind() == JsonKind::Bool) {
            return Type::Bool;
        }
        if listed.iter().all(|value| value.as_i64().is_some()) {
            return Type::Long;
        }
        return Type::Opaque(Opaque::SeveralTypes);
    }
    Type::Opaque(Opaque::Untyped)
}

#[cfg(test)]
mod tests;
