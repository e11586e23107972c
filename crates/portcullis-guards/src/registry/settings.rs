//! The `guards:` section of the configuration. Each key is a guard of the registry; its value is a mode, or a map of a mode and
//! the guard's own settings. Everything is checked while reading, so that building cannot fail.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use portcullis_core::guard::{Guard, Mode};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::{Error, MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::{Map, Value};

use super::Registration;
use crate::GUARDS;

/// What a guard is switched to, as the configuration spells it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ModeSetting {
    /// Decides.
    Enforce,
    /// Decides and records, never blocks.
    Shadow,
    /// Does not run.
    Off,
}

impl From<ModeSetting> for Mode {
    fn from(setting: ModeSetting) -> Self {
        match setting {
            ModeSetting::Enforce => Self::Enforce,
            ModeSetting::Shadow => Self::Shadow,
            ModeSetting::Off => Self::Off,
        }
    }
}

/// Guards named in the configuration; the others run in their default mode with default settings.
#[derive(Clone, Debug, Default)]
pub struct GuardsSettings {
    named: BTreeMap<&'static str, (Arc<dyn Guard>, Mode)>,
}

impl GuardsSettings {
    pub(super) fn configured(&self, name: &str) -> Option<(Arc<dyn Guard>, Mode)> {
        self.named.get(name).map(|(guard, mode)| (Arc::clone(guard), *mode))
    }

    /// Every guard of the registry and the mode it is switched to.
    pub fn modes(&self) -> impl Iterator<Item = (&'static str, Mode)> {
        GUARDS.iter().map(|registration| {
            let name = registration.about.name;
            (name, self.named.get(name).map_or(registration.default_mode, |(_, mode)| *mode))
        })
    }
}

impl<'de> Deserialize<'de> for GuardsSettings {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(SettingsVisitor)
    }
}

struct SettingsVisitor;

impl<'de> Visitor<'de> for SettingsVisitor {
    type Value = GuardsSettings;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a map of guards")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<GuardsSettings, A::Error> {
        let mut settings = GuardsSettings::default();
        // Errors name the whole path, which is how the reader of the configuration finds the line.
        while let Some(name) = map.next_key::<String>()? {
            let registration = GUARDS
                .iter()
                .find(|registration| registration.about.name == name)
                .ok_or_else(|| A::Error::custom(unknown_guard(&name)))?;
            let entry = configure(registration, map.next_value()?).map_err(A::Error::custom)?;
            if settings.named.insert(registration.about.name, entry).is_some() {
                return Err(A::Error::custom(format!("guards.{name}: named twice")));
            }
        }
        Ok(settings)
    }
}

fn configure(registration: &Registration, value: Value) -> Result<(Arc<dyn Guard>, Mode), String> {
    let name = registration.about.name;
    let mode = |value: Value| {
        serde_json::from_value::<ModeSetting>(value)
            .map(Mode::from)
            .map_err(|_| format!("guards.{name}.mode: expected `enforce`, `shadow` or `off`"))
    };
    match value {
        Value::Object(mut own) => {
            let mode = own.remove("mode").map(mode).transpose()?.unwrap_or(registration.default_mode);
            let guard = own_settings(registration, own)?;
            Ok((guard, mode))
        }
        // YAML 1.1 readers turn a bare `off` into `false`.
        Value::Bool(false) => Ok(((registration.default)(), Mode::Off)),
        Value::String(_) => {
            let mode = mode(value).map_err(|_| {
                format!("guards.{name}: expected `enforce`, `shadow`, `off`, or a map with `mode` and settings")
            })?;
            Ok(((registration.default)(), mode))
        }
        _ => Err(format!("guards.{name}: expected `enforce`, `shadow`, `off`, or a map with `mode` and settings")),
    }
}

/// Checks key by key first, so that an error names the key it is about.
fn own_settings(registration: &Registration, own: Map<String, Value>) -> Result<Arc<dyn Guard>, String> {
    let name = registration.about.name;
    for (key, value) in &own {
        let alone = Map::from_iter([(key.clone(), value.clone())]);
        (registration.configured)(alone).map_err(|error| format!("guards.{name}.{key}: {error}"))?;
    }
    (registration.configured)(own).map_err(|error| format!("guards.{name}: {error}"))
}

fn unknown_guard(name: &str) -> String {
    let known = || GUARDS.iter().map(|registration| registration.about.name);
    let nearest = known().map(|known| (distance(name, known), known)).min();
    match nearest {
        Some((distance, nearest)) if distance <= 2 => {
            format!("guards.{name}: no such guard; did you mean `{nearest}`?")
        }
        _ => format!("guards.{name}: no such guard; there are {}", known().collect::<Vec<_>>().join(", ")),
    }
}

/// Edits between two words (Levenshtein). `from` is bounded: names are short, and a long one resembles none.
fn distance(from: &str, to: &str) -> usize {
    if from.len() > 64 {
        return usize::MAX;
    }
    let mut row: Vec<usize> = (0..=to.chars().count()).collect();
    for (done, left) in from.chars().enumerate() {
        let mut diagonal = done;
        let mut last = done + 1;
        for (cell, right) in row.iter_mut().skip(1).zip(to.chars()) {
            let best = (diagonal + usize::from(left != right)).min(last + 1).min(*cell + 1);
            diagonal = *cell;
            *cell = best;
            last = best;
        }
        if let Some(first) = row.first_mut() {
            *first = done + 1;
        }
    }
    row.last().copied().unwrap_or(usize::MAX)
}

impl JsonSchema for GuardsSettings {
    fn schema_name() -> Cow<'static, str> {
        "Guards".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let mode = generator.subschema_for::<ModeSetting>();
        let mut properties = Map::new();
        for registration in GUARDS {
            let own = Value::from((registration.schema)());
            let mut own_properties = own.get("properties").and_then(Value::as_object).cloned().unwrap_or_default();
            own_properties.insert("mode".to_owned(), mode.clone().into());
            properties.insert(
                registration.about.name.to_owned(),
                serde_json::json!({
                    "description": registration.about.purpose,
                    "anyOf": [
                        mode,
                        { "type": "object", "properties": own_properties, "additionalProperties": false },
                    ],
                }),
            );
        }
        json_schema!({
            "description": "Guards by name: `enforce`, `shadow` or `off`, or a map of a mode and the guard's own settings.",
            "type": "object",
            "properties": properties,
            "additionalProperties": false,
        })
    }
}
