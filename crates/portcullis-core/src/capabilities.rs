//! What a client declared that it can do, whether a server's question stays within it (A33, A44, B13, C60), and what of it a
//! server is told (I1).

use crate::classify::META_CAPABILITIES;
use crate::wire::{Limits, Malformed, Message, View, reads_as};

/// The tasks extension, as clients declare it.
pub const TASKS: &str = "io.modelcontextprotocol/tasks";

/// What a client must declare to use it, as JSON text.
pub const DECLARES_TASKS: &str = r#"{"extensions":{"io.modelcontextprotocol/tasks":{}}}"#;

/// The questions a server may put to a client, each with the capability that invites it.
pub const QUESTIONS: [(&str, &str); 3] =
    [("sampling/createMessage", "sampling"), ("elicitation/create", "elicitation"), ("roots/list", "roots")];

/// The message without the declaration of these capabilities (members of `ClientCapabilities`), so that a server cannot ask for
/// what policy forbids anyway (I1): in the `params` of `initialize`, and in the `_meta` of any modern request. `None` when it
/// declares none of them, which leaves the bytes as they came. Whole capabilities only: `elicitation` without its `url` would
/// read as one with forms (E26).
///
/// # Errors
/// When the reader refuses the outcome; removing members does not cause that.
pub fn without(message: &Message, forbidden: &[&str], limits: &Limits) -> Result<Option<Message>, Malformed> {
    // A look-alike goes too: a server that folds letter case would still take it for an invitation.
    let keep = |name: &str| !reads_as(forbidden, name.as_bytes());
    let mut edit = message.edit();
    let own = message.param("capabilities").filter(|_| message.method() == Some("initialize"));
    for capabilities in own.into_iter().chain(message.meta(META_CAPABILITIES)) {
        edit = edit.remove_members(capabilities, &keep);
        // Questions put as tasks are declared apart (2025-11-25).
        for tasks in below(capabilities, "tasks") {
            for requests in below(tasks, "requests") {
                edit = edit.remove_members(requests, &keep);
            }
        }
    }
    if edit.is_noop() { Ok(None) } else { edit.apply(limits).map(Some) }
}

/// Every member that is, or could be taken for, the one of that name.
fn below<'a>(object: View<'a>, name: &'static str) -> impl Iterator<Item = View<'a>> {
    object.members().filter(move |(key, _)| reads_as(&[name], key.as_bytes())).map(|(_, value)| value)
}

/// Whether a modern request is about tasks, and so needs a client that declared the extension (C80): a `tasks/*` method, or
/// `taskIds` in `subscriptions/listen`.
#[must_use]
pub fn needs_tasks(message: &Message) -> bool {
    match message.method() {
        Some("subscriptions/listen") => {
            let filter = message.param("notifications").and_then(|wanted| wanted.get("taskIds"));
            filter.or_else(|| message.param("taskIds")).is_some()
        }
        Some(method) => method.starts_with("tasks/"),
        None => false,
    }
}

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

#[cfg(test)]
mod tests;
