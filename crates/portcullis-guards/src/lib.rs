//! Guards: each is one file here, one entry in [`GUARDS`], and one page of cases in `cases/`.
//!
//! To add one: write `src/<name>.rs` (a type that implements [`Configured`] and `Guard`), add its two lines below, write
//! `cases/<name>.md`. Configuration, command line, metrics and reference pages walk [`GUARDS`]; nothing else changes.
//! No guard may do input or output, ask the time, or keep state without a bound.

pub mod registry; // what a registration is; settings; the reference page
mod remembered; // tasks that answers made: shared by the guards that must know them again
mod schema; // JSON Schema, compiled once and bounded: shared by the guards that validate

mod arguments;
mod definitions;
mod outputs;
mod results;
mod tasks;

pub use self::registry::{Configured, GuardsSettings, ModeSetting, Registration, build, reference};

/// Every guard of this build, in the order of the reference page. Phases decide the order of judgement.
pub const GUARDS: &[Registration] = &[
    Registration::of::<arguments::Arguments>(),
    Registration::of::<outputs::Outputs>(),
    Registration::of::<definitions::Definitions>(),
    Registration::of::<tasks::Tasks>(),
    Registration::of::<results::Results>(),
];
