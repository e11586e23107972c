//! The configuration described: its JSON Schema for editors, and the reference page for people. Both are generated from the types'
//! doc comments, so they cannot disagree with what the program reads.

use std::fmt::Write;

use serde_json::Value;

use super::File;

const HEAD: &str = "\
# Configuration

<!-- Generated from the types by `portcullis config reference`; edit the doc comments, not this file. -->

One YAML file (JSON is YAML too), given with `portcullis run --config FILE`. What the command line says wins over the file. Relative
paths start at the folder of the file. Unknown keys and keys written twice are errors; `portcullis check --config FILE` finds them,
with line and column, without starting anything. `portcullis config schema` prints the JSON Schema for editors.

A small, complete file:

```yaml
upstream:
  name: notes
  http: { url: \"http://127.0.0.1:3001/mcp\" }
policy: policies/
audit: { strict: true }
```

Every key may be left out, unless it is marked *required*.
";

/// The JSON Schema (2020-12) of the configuration file.
pub(crate) fn schema() -> Value {
    schemars::schema_for!(File).to_value()
}

/// The reference page, as Markdown.
pub(crate) fn markdown() -> String {
    let root = schema();
    let mut page = Page { root: &root, text: HEAD.to_owned(), listed: Vec::new() };
    for (name, schema) in properties(&root) {
        let node = page.resolve(schema);
        page.text.push_str(&format!("\n## `{name}`\n\n"));
        let about = described(schema).or_else(|| described(node)).unwrap_or_default();
        if properties(node).next().is_some() {
            page.text.push_str(&format!("{about}\n\n"));
            page.members(name, node, 1);
        } else if let Some(items) = page.items(node) {
            page.text.push_str(&format!("{}. {about}\n\n", capital(&page.kind(schema))));
            page.members(&format!("{name}[]"), items, 1);
        } else {
            page.text.push_str(&format!("{}. {about}\n", capital(&page.kind(schema))));
            page.words(node);
        }
    }
    page.text
}

struct Page<'a> {
    root: &'a Value,
    text: String,
    /// Types with members of their own that were described, and where.
    listed: Vec<(&'a Value, String)>,
}

/// Deeper than any settings type nests; stops a schema that would refer to itself.
const MOST_DEPTH: usize = 8;

impl<'a> Page<'a> {
    /// Follows a reference, and looks through `T or null`.
    fn resolve(&self, schema: &'a Value) -> &'a Value {
        if let Some(target) = schema.get("$ref").and_then(Value::as_str) {
            let pointer = target.strip_prefix('#').unwrap_or_default();
            return self.root.pointer(pointer).unwrap_or(schema);
        }
        let some = schema.get("anyOf").and_then(Value::as_array).and_then(|choices| {
            let real: Vec<_> =
                choices.iter().filter(|choice| choice.get("type") != Some(&Value::from("null"))).collect();
            match real.as_slice() {
                [only] if choices.len() == 2 => Some(*only),
                _ => None,
            }
        });
        some.map_or(schema, |some| self.resolve(some))
    }

    /// What a list holds, if that has members of its own.
    fn items(&self, schema: &'a Value) -> Option<&'a Value> {
        let items = self.resolve(schema.get("items")?);
        properties(items).next().is_some().then_some(items)
    }

    fn members(&mut self, path: &str, schema: &'a Value, depth: usize) {
        if depth > MOST_DEPTH {
            return;
        }
        // Once is enough, wherever the type stands.
        if let Some((_, first)) = self.listed.iter().find(|(known, _)| std::ptr::eq(*known, schema)) {
            let _ = writeln!(self.text, "- **`{path}.…`** (the same again): the keys of `{first}`.");
            return;
        }
        self.listed.push((schema, path.to_owned()));
        let required: Vec<&str> =
            schema.get("required").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str).collect();
        for (name, member) in properties(schema) {
            let path = format!("{path}.{name}");
            let must = if required.contains(&name.as_str()) { ", *required*" } else { "" };
            let node = self.resolve(member);
            let about = described(member).or_else(|| described(node)).unwrap_or_default();
            // Writing to a string cannot fail.
            let _ = writeln!(self.text, "- **`{path}`** ({}{must}): {about}", self.kind(member));
            self.words(node);
            if properties(node).next().is_some() {
                self.members(&path, node, depth + 1);
            } else if let Some(items) = self.items(node) {
                self.members(&format!("{path}[]"), items, depth + 1);
            } else if let Some(items) = node.get("items") {
                self.words(self.resolve(items));
            }
        }
    }

    /// The words an enumeration takes, with what each means.
    fn words(&mut self, schema: &'a Value) {
        for choice in schema.get("oneOf").and_then(Value::as_array).into_iter().flatten() {
            let about = described(choice).unwrap_or_default();
            if let Some(word) = choice.get("const").and_then(Value::as_str) {
                let _ = writeln!(self.text, "  - `{word}`: {about}");
            } else if let Some((name, _)) = properties(choice).next() {
                let _ = writeln!(self.text, "  - `{{ {name}: … }}`: {about}");
            }
        }
    }

    fn kind(&self, schema: &'a Value) -> String {
        let node = self.resolve(schema);
        if node.get("oneOf").is_some() || node.get("enum").is_some() {
            return choices(node);
        }
        if let Some(choices) = node.get("anyOf").and_then(Value::as_array) {
            return choices.iter().map(|choice| self.kind(choice)).collect::<Vec<_>>().join(" or ");
        }
        let name = match node.get("type") {
            Some(Value::String(name)) => name.as_str(),
            Some(Value::Array(names)) => {
                names.iter().filter_map(Value::as_str).find(|name| *name != "null").unwrap_or("any")
            }
            _ => "any",
        };
        match (name, node.get("items"), node.get("additionalProperties")) {
            ("array", Some(items), _) => format!("list of {}", plural(&self.kind(items))),
            ("object", _, Some(values @ Value::Object(_))) => format!("map of names to {}", plural(&self.kind(values))),
            (plain, _, _) => plain.to_owned(),
        }
    }
}

/// What an enumeration takes: plain words, or maps with one key.
fn choices(schema: &Value) -> String {
    let listed = |key: &str| schema.get(key).and_then(Value::as_array).into_iter().flatten();
    let plain: Vec<_> = listed("enum").filter_map(Value::as_str).map(|word| format!("`{word}`")).collect();
    if !plain.is_empty() {
        return plain.join(" or ");
    }
    let maps: Vec<_> = listed("oneOf")
        .filter_map(|choice| properties(choice).next())
        .map(|(name, _)| format!("`{{ {name}: … }}`"))
        .collect();
    if maps.is_empty() { "one of the words below".to_owned() } else { maps.join(" or ") }
}

fn plural(kind: &str) -> String {
    if kind.chars().all(char::is_alphabetic) { format!("{kind}s") } else { kind.to_owned() }
}

fn capital(text: &str) -> String {
    let mut letters = text.chars();
    letters.next().map_or_else(String::new, |first| first.to_uppercase().chain(letters).collect())
}

fn properties(schema: &Value) -> impl Iterator<Item = (&String, &Value)> {
    schema.get("properties").and_then(Value::as_object).into_iter().flatten()
}

/// A doc comment on one line.
fn described(schema: &Value) -> Option<String> {
    let text = schema.get("description")?.as_str()?;
    Some(text.split_whitespace().collect::<Vec<_>>().join(" "))
}
