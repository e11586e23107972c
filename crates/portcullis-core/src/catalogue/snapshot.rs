//! What a server offered when a call arrived, with the tool that the call names at hand.

use std::ops::Deref;
use std::sync::{Arc, OnceLock};

use super::{Catalogue, Tool};

/// A catalogue that stays as it is for as long as the call lasts.
#[derive(Clone, Debug, Default)]
pub struct Snapshot {
    catalogue: Arc<Catalogue>,
    /// The first tool that was asked for and is there: a call names one, and everybody who judges it asks for that.
    found: OnceLock<Arc<Tool>>,
}

impl Snapshot {
    /// Exact, case-sensitive match.
    #[must_use]
    pub fn tool(&self, name: &str) -> Option<&Arc<Tool>> {
        match self.found.get() {
            Some(found) if found.name == name => Some(found),
            Some(_) => self.catalogue.tool(name),
            None => {
                let tool = self.catalogue.tool(name)?;
                let _first = self.found.set(Arc::clone(tool));
                Some(tool)
            }
        }
    }
}

impl From<Arc<Catalogue>> for Snapshot {
    fn from(catalogue: Arc<Catalogue>) -> Self {
        Self { catalogue, found: OnceLock::new() }
    }
}

impl Deref for Snapshot {
    type Target = Catalogue;

    fn deref(&self) -> &Catalogue {
        &self.catalogue
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::{Catalogue, Snapshot};
    use crate::wire::Limits;

    #[test]
    fn each_name_gives_its_own_tool_in_any_order() {
        let text = r#"{"tools":[{"name":"a"},{"name":"b"}]}"#;
        let catalogue = Arc::new(Catalogue::from_saved(text.as_bytes(), &Limits::default()).unwrap());
        let snapshot = Snapshot::from(Arc::clone(&catalogue));
        for name in ["c", "b", "b", "a", "B", "c", "a", "b"] {
            assert_eq!(snapshot.tool(name).map(Arc::as_ptr), catalogue.tool(name).map(Arc::as_ptr), "{name}");
        }
        assert!(snapshot.is_read());
    }
}
