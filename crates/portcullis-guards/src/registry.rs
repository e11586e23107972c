//! What a registration is, how settings become guards, and the reference page made from both.
//! Knows no guard by name: everything walks [`crate::GUARDS`].

mod page;
mod settings;

use std::sync::Arc;

use portcullis_core::guard::{About, Guard, Mode};
use schemars::{JsonSchema, Schema, schema_for};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

pub use self::page::reference;
pub use self::settings::{GuardsSettings, ModeSetting};

/// A guard that the registry can build.
pub trait Configured: Guard + Sized + 'static {
    const ABOUT: &'static About;
    /// The mode when the configuration does not name the guard. Write the reason beside it.
    const DEFAULT_MODE: Mode;
    /// The guard's own settings, without `mode`; unknown keys must be errors (`deny_unknown_fields`).
    type Settings: DeserializeOwned + Serialize + JsonSchema + Default;

    fn new(settings: Self::Settings) -> Self;
}

/// A guard, or what is wrong with its settings.
type Built = Result<Arc<dyn Guard>, serde_json::Error>;

/// One guard of the registry.
#[derive(Debug)]
pub struct Registration {
    /// The guard's name plate.
    pub about: &'static About,
    /// The mode when the configuration does not name the guard.
    pub default_mode: Mode,
    default: fn() -> Arc<dyn Guard>,
    configured: fn(Map<String, Value>) -> Built,
    schema: fn() -> Schema,
    defaults: fn() -> Value,
}

impl Registration {
    /// The registration of a guard type.
    #[must_use]
    pub const fn of<G: Configured>() -> Self {
        Self {
            about: G::ABOUT,
            default_mode: G::DEFAULT_MODE,
            default: with_defaults::<G>,
            configured: with_settings::<G>,
            schema: settings_schema::<G>,
            defaults: default_values::<G>,
        }
    }
}

fn with_defaults<G: Configured>() -> Arc<dyn Guard> {
    Arc::new(G::new(G::Settings::default()))
}

fn with_settings<G: Configured>(settings: Map<String, Value>) -> Built {
    Ok(Arc::new(G::new(serde_json::from_value(Value::Object(settings))?)))
}

fn settings_schema<G: Configured>() -> Schema {
    schema_for!(G::Settings)
}

fn default_values<G: Configured>() -> Value {
    serde_json::to_value(G::Settings::default()).unwrap_or_default()
}

/// Every guard of the registry with the mode it is switched to, ready for a gate. Guards that are off are included: the gate
/// leaves them out.
#[must_use]
pub fn build(settings: &GuardsSettings) -> Vec<(Arc<dyn Guard>, Mode)> {
    crate::GUARDS
        .iter()
        .map(|registration| {
            settings
                .configured(registration.about.name)
                .unwrap_or_else(|| ((registration.default)(), registration.default_mode))
        })
        .collect()
}

#[cfg(test)]
mod tests;
