//! Types of the Cedar world: tools' argument types projected from their JSON Schemas, and the Cedar schema written from them.
//! Both the checker (before traffic) and the context builder (under traffic) use the same projection.

mod text;
mod types;

pub use self::text::schema_text;
pub(crate) use self::text::{Placeholders, schema_source, type_text};
pub(crate) use self::types::{Field, Opaque, Record, Type, project};
