//! What a client declared that it can do, and whether a server's question stays within it (A33, A44, B13, C60).

use crate::wire::View;

/// The tasks extension, as clients declare it.
pub const TASKS: &str = "io.modelcontextprotocol/tasks";

/// The capabilities that servers' questions depend on. Declares nothing by default.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Declared {
    /// The tasks extension.
    pub tasks: bool,
    form: bool,
    url: bool,
    sampling: bool,
    sampling_tools: bool,
    roots: bool,
}

impl Declared {
    /// Reads a `ClientCapabilities` object.
    #[must_use]
    pub fn of(capabilities: View<'_>) -> Self {
        let has = |path: &[&str]| capabilities.path(path).is_some_and(|declared| !declared.is_null());
        let url = has(&["elicitation", "url"]);
        Self {
            tasks: has(&["extensions", TASKS]),
            // An empty object means forms only (E26).
            form: has(&["elicitation"]) && (has(&["elicitation", "form"]) || !url),
            url,
            sampling: has(&["sampling"]),
            sampling_tools: has(&["sampling", "tools"]),
            roots: has(&["roots"]),
        }
    }

    /// What of a server's question the client did not declare. Methods that ask the client for nothing are no questions.
    #[must_use]
    pub fn lacks(self, method: &str, params: Option<View<'_>>) -> Option<&'static str> {
        let param = |name: &str| params.and_then(|params| params.get(name)).filter(|value| !value.is_null());
        let (declared, what) = match method {
            "elicitation/create" => match param("mode").map(View::as_str) {
                None => (self.form, "`elicitation.form`"),
                Some(Some(mode)) if mode == "form" => (self.form, "`elicitation.form`"),
                Some(Some(mode)) if mode == "url" => (self.url, "`elicitation.url`"),
                Some(_) => (false, "a mode of elicitation that MCP does not have"),
            },
            "sampling/createMessage" if !self.sampling => (false, "`sampling`"),
            "sampling/createMessage" => {
                let tools = param("tools").is_some() || param("toolChoice").is_some();
                (self.sampling_tools || !tools, "`sampling.tools`")
            }
            "roots/list" => (self.roots, "`roots`"),
            _ => return None,
        };
        (!declared).then_some(what)
    }
}
