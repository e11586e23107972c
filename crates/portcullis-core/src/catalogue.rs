//! What a server offers, as last seen: its tools with their schemas and annotations, its other lists, and what it said of itself.
//! An immutable snapshot; a refresh makes a new one.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;

use crate::mirror::{self, HeaderParam};
use crate::wire::{JsonKind, Limits, Malformed, View, view_json};

mod hello;
mod listing;
mod snapshot;

pub use self::hello::Hello;
pub use self::listing::{Caching, Item, Listed, Listing};
pub use self::snapshot::Snapshot;

/// What one server offers: its tools by exact name, and its lists as it gave them.
#[derive(Clone, Debug, Default)]
pub struct Catalogue {
    tools: BTreeMap<String, Arc<Tool>>,
    /// Whether a complete list (all pages) was read at least once. An unread catalogue knows nothing, rather than knowing that nothing exists.
    read: bool,
    listed_tools: Arc<Listing>,
    prompts: Arc<Listing>,
    resources: Arc<Listing>,
    templates: Arc<Listing>,
    hello: Option<Arc<Hello>>,
    asked: Option<Instant>,
}

/// One tool definition.
#[derive(Clone)]
pub struct Tool {
    pub name: String,
    /// The definition's exact JSON text.
    pub definition: Bytes,
    /// `inputSchema`, exact text.
    pub input_schema: Option<Bytes>,
    /// `outputSchema`, exact text.
    pub output_schema: Option<Bytes>,
    /// Hints of the server about itself; untrusted unless the operator trusts the server (A43).
    pub annotations: Annotations,
    /// Arguments that modern clients mirror as `Mcp-Param-*` (C36–C38).
    pub header_params: Vec<HeaderParam>,
    /// Whether all `x-mcp-header` annotations obey C36–C38. If not, modern clients must not use the tool (D4).
    pub header_params_valid: bool,
}

/// `annotations` of a tool; absent hints stay absent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Annotations {
    pub read_only: Option<bool>,
    pub destructive: Option<bool>,
    pub idempotent: Option<bool>,
    pub open_world: Option<bool>,
}

impl Annotations {
    /// From the `annotations` of a tool; what is not a boolean counts as absent.
    #[must_use]
    pub fn from_view(view: View<'_>) -> Self {
        let hint = |key: &str| view.get(key).and_then(View::as_bool);
        Self {
            read_only: hint("readOnlyHint"),
            destructive: hint("destructiveHint"),
            idempotent: hint("idempotentHint"),
            open_world: hint("openWorldHint"),
        }
    }
}

/// Why a list of tools cannot be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CatalogueError {
    Malformed(Malformed),
    /// Not an array of tools, nor a `tools/list` result, nor a response holding one.
    NoTools,
    /// A tool without a name, or one that is not an object.
    BadTool {
        index: usize,
    },
    /// The same name twice on one server.
    RepeatedTool {
        name: String,
    },
    /// A prompt, a resource or a template without the member that names it.
    BadItem {
        list: Listed,
        index: usize,
    },
}

impl fmt::Display for CatalogueError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Malformed(malformed) => write!(f, "{malformed}"),
            Self::NoTools => f.write_str("no `tools` array: expected a saved `tools/list` result"),
            Self::BadTool { index } => write!(f, "tool number {} has no usable `name`", index + 1),
            Self::RepeatedTool { name } => write!(f, "the tool `{name}` is listed twice"),
            Self::BadItem { list, index } => {
                write!(f, "number {} of `{}` has no usable `{}`", index + 1, list.method(), list.key())
            }
        }
    }
}

impl std::error::Error for CatalogueError {}

impl Catalogue {
    /// From the items of all pages of `tools/list`, in order.
    ///
    /// # Errors
    /// A tool without a name, or a name that occurs twice.
    pub fn from_tools<'a>(tools: impl IntoIterator<Item = View<'a>>) -> Result<Self, CatalogueError> {
        let mut catalogue = Self { read: true, ..Self::default() };
        let mut listed = Vec::new();
        for (index, view) in tools.into_iter().enumerate() {
            let tool = Tool::from_view(view).ok_or(CatalogueError::BadTool { index })?;
            let name = tool.name.clone();
            listed.push(Item { key: name.clone(), definition: tool.definition.clone() });
            if catalogue.tools.insert(name.clone(), Arc::new(tool)).is_some() {
                return Err(CatalogueError::RepeatedTool { name });
            }
        }
        catalogue.listed_tools = Arc::new(Listing::of(listed, Caching::default()));
        Ok(catalogue)
    }

    /// The same with what the server said of how long the list of tools may be kept.
    #[must_use]
    pub fn caching_tools(mut self, caching: Caching) -> Self {
        Arc::make_mut(&mut self.listed_tools).caching = caching;
        self
    }

    /// The same with another list in its place. Tools come from [`Catalogue::from_tools`] only, so a list of tools changes nothing.
    #[must_use]
    pub fn with_list(mut self, list: Listed, listing: Listing) -> Self {
        match list {
            Listed::Tools => {}
            Listed::Prompts => self.prompts = Arc::new(listing),
            Listed::Resources => self.resources = Arc::new(listing),
            Listed::Templates => self.templates = Arc::new(listing),
        }
        self
    }

    /// The same with what the server said of itself.
    #[must_use]
    pub fn with_hello(mut self, hello: Hello) -> Self {
        self.hello = Some(Arc::new(hello));
        self
    }

    /// The same with when the server was asked: before the first question, so that whatever changed later is newer.
    #[must_use]
    pub fn asked_at(mut self, asked: Instant) -> Self {
        self.asked = Some(asked);
        self
    }

    /// From a saved file: a JSON-RPC response, a `tools/list` result, or a bare array of tools.
    ///
    /// # Errors
    /// Unreadable JSON, no tools, or one of the errors of [`Catalogue::from_tools`].
    pub fn from_saved(bytes: &[u8], limits: &Limits) -> Result<Self, CatalogueError> {
        let root = view_json(bytes, limits).map_err(CatalogueError::Malformed)?;
        let list = match root.kind() {
            JsonKind::Array => Some(root),
            _ => root.get("tools").or_else(|| root.path(&["result", "tools"])),
        };
        let list = list.filter(|list| list.kind() == JsonKind::Array).ok_or(CatalogueError::NoTools)?;
        Self::from_tools(list.elements())
    }

    /// The same with more tools; a tool that is known already stays as it is.
    #[must_use]
    pub fn with(&self, more: impl IntoIterator<Item = Arc<Tool>>) -> Self {
        let mut joined = self.clone();
        for tool in more {
            joined.tools.entry(tool.name.clone()).or_insert(tool);
        }
        joined
    }

    /// The same with only the tools whose names `keep` wants.
    #[must_use]
    pub fn only(&self, keep: &dyn Fn(&str) -> bool) -> Self {
        let mut fewer = self.clone();
        fewer.tools.retain(|name, _| keep(name));
        if self.listed_tools.is_read() {
            let items = self.listed_tools.items().filter(|item| keep(&item.key)).cloned();
            fewer.listed_tools = Arc::new(Listing::of(items.collect(), self.listed_tools.caching));
        }
        fewer
    }

    /// Exact, case-sensitive match.
    #[must_use]
    pub fn tool(&self, name: &str) -> Option<&Arc<Tool>> {
        self.tools.get(name)
    }

    /// All tools, ordered by name.
    pub fn tools(&self) -> impl ExactSizeIterator<Item = &Arc<Tool>> {
        self.tools.values()
    }

    /// Whether a complete list was read at least once.
    #[must_use]
    pub const fn is_read(&self) -> bool {
        self.read
    }

    /// A list as the server answered the gateway's own question with it: its order, without tools that only others were shown.
    #[must_use]
    pub fn list(&self, list: Listed) -> &Listing {
        match list {
            Listed::Tools => &self.listed_tools,
            Listed::Prompts => &self.prompts,
            Listed::Resources => &self.resources,
            Listed::Templates => &self.templates,
        }
    }

    /// What the server said of itself. `None` before the first contact, and for servers that were not asked.
    #[must_use]
    pub const fn hello(&self) -> Option<&Arc<Hello>> {
        self.hello.as_ref()
    }

    /// When the questions began that this is the answer to.
    #[must_use]
    pub const fn asked(&self) -> Option<Instant> {
        self.asked
    }
}

impl Tool {
    /// From one element of a `tools` array; `None` without a string `name`.
    #[must_use]
    pub fn from_view(view: View<'_>) -> Option<Self> {
        let name = view.get("name")?.as_str()?.into_owned();
        let schema = |key: &str| {
            view.get(key).filter(|schema| !schema.is_null()).map(|schema| Bytes::copy_from_slice(schema.raw()))
        };
        let header_params = view.get("inputSchema").map(mirror::header_params).transpose();
        Some(Self {
            definition: Bytes::copy_from_slice(view.raw()),
            input_schema: schema("inputSchema"),
            output_schema: schema("outputSchema"),
            annotations: view.get("annotations").map(Annotations::from_view).unwrap_or_default(),
            header_params_valid: header_params.is_ok(),
            header_params: header_params.ok().flatten().unwrap_or_default(),
            name,
        })
    }
}

impl fmt::Debug for Tool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tool").field("name", &self.name).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
