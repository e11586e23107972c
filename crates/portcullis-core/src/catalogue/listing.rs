//! One list of a server (tools, prompts, resources, templates) as it gave it: its order, its exact text. Nothing here is edited.

use std::collections::BTreeMap;

use bytes::Bytes;

use super::CatalogueError;
use crate::wire::{Message, View};

/// The lists that a server may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Listed {
    Tools,
    Prompts,
    Resources,
    Templates,
}

impl Listed {
    pub const ALL: [Self; 4] = [Self::Tools, Self::Prompts, Self::Resources, Self::Templates];

    /// Which list a request by this method asks for.
    #[must_use]
    pub fn of_method(method: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|list| list.method() == method)
    }

    /// The lists that a notification by this method says have changed; none for any other method.
    pub fn changed_by(method: &str) -> impl Iterator<Item = Self> {
        let what = method.strip_prefix("notifications/").and_then(|rest| rest.strip_suffix("/list_changed"));
        Self::ALL.into_iter().filter(move |list| what == Some(list.capability()))
    }

    #[must_use]
    pub const fn method(self) -> &'static str {
        match self {
            Self::Tools => "tools/list",
            Self::Prompts => "prompts/list",
            Self::Resources => "resources/list",
            Self::Templates => "resources/templates/list",
        }
    }

    /// The member of a result that holds the list.
    #[must_use]
    pub const fn member(self) -> &'static str {
        match self {
            Self::Tools => "tools",
            Self::Prompts => "prompts",
            Self::Resources => "resources",
            Self::Templates => "resourceTemplates",
        }
    }

    /// The member of an item that names it.
    #[must_use]
    pub const fn key(self) -> &'static str {
        match self {
            Self::Tools | Self::Prompts => "name",
            Self::Resources => "uri",
            Self::Templates => "uriTemplate",
        }
    }

    /// The server capability that comes with the list.
    #[must_use]
    pub const fn capability(self) -> &'static str {
        match self {
            Self::Tools => "tools",
            Self::Prompts => "prompts",
            Self::Resources | Self::Templates => "resources",
        }
    }
}

/// All items of one list, in the server's order.
#[derive(Clone, Debug, Default)]
pub struct Listing {
    items: Vec<Item>,
    places: BTreeMap<String, usize>,
    read: bool,
    /// What the server said of how long the list may be kept.
    pub caching: Caching,
}

/// One prompt, resource, template or tool.
#[derive(Clone, Debug)]
pub struct Item {
    /// Its name, URI or URI template, escapes undone.
    pub key: String,
    /// Exact JSON text.
    pub definition: Bytes,
}

/// `ttlMs` and `cacheScope` of modern lists (C43). Absent in the legacy era, which is: no time, and private.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Caching {
    pub ttl_ms: u64,
    pub public: bool,
}

impl Caching {
    /// Of one result; what cannot be read counts as absent, and a negative time as none (D12).
    #[must_use]
    pub fn of(page: &Message) -> Self {
        let [ttl, scope] = page.result_members(["ttlMs", "cacheScope"]);
        let ttl = ttl.and_then(View::as_i64).and_then(|ttl| u64::try_from(ttl).ok());
        let scope = scope.and_then(View::as_str);
        Self { ttl_ms: ttl.unwrap_or_default(), public: scope.as_deref() == Some("public") }
    }

    /// What holds for both: the shorter time, the narrower scope.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        Self { ttl_ms: self.ttl_ms.min(other.ttl_ms), public: self.public && other.public }
    }
}

impl Listing {
    /// From the items of all pages, in order. Of items with the same key the first is found by it; all stay in the list.
    ///
    /// # Errors
    /// An item without its key.
    pub fn from_items<'a>(
        list: Listed,
        items: impl IntoIterator<Item = View<'a>>,
        caching: Caching,
    ) -> Result<Self, CatalogueError> {
        let read = items.into_iter().enumerate().map(|(index, view)| {
            let key = view.get(list.key()).and_then(View::as_str);
            let key = key.ok_or(CatalogueError::BadItem { list, index })?.into_owned();
            Ok(Item { key, definition: Bytes::copy_from_slice(view.raw()) })
        });
        Ok(Self::of(read.collect::<Result<_, _>>()?, caching))
    }

    pub(super) fn of(items: Vec<Item>, caching: Caching) -> Self {
        let mut places = BTreeMap::new();
        for (place, item) in items.iter().enumerate() {
            places.entry(item.key.clone()).or_insert(place);
        }
        Self { items, places, read: true, caching }
    }

    /// Whether the whole list was read. One that was not knows nothing, rather than knowing that nothing exists.
    #[must_use]
    pub const fn is_read(&self) -> bool {
        self.read
    }

    /// Exact, case-sensitive match.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<&Item> {
        self.items.get(*self.places.get(key)?)
    }

    /// In the server's order.
    pub fn items(&self) -> impl ExactSizeIterator<Item = &Item> {
        self.items.iter()
    }
}
