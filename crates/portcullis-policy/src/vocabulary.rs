//! Which actions there are, which groups they are in, and what their context holds. The schema and the context builder both
//! read this table, so they cannot disagree.

use portcullis_core::call::{SESSION_CLOSE, STREAM_OPEN};
use portcullis_core::wire::{Direction, METHODS, MethodKind, method_info};

/// Action of every `tools/call`; tools are its members.
pub(crate) const TOOLS_CALL: &str = "tools/call";
/// Action of every method that stands in no table; `context.method` tells which it is.
pub(crate) const UNKNOWN: &str = "unknown";
/// Groups of methods. They are actions too, but nothing is ever done under their own name.
pub(crate) const GROUPS: &[&str] = &["read", "protocol", "notification", "server-request"];

/// What a method's context holds beside the facts every message has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Shape {
    Plain,
    /// `name`, `tool`, and `args` when the tool is known.
    Tool,
    /// `name`: a prompt, a task.
    Named,
    /// `name`, `uri`, `url`, `host?`.
    Resource,
    /// `name?`, `uri?`: what is being completed.
    Completion,
    /// `mode`, `url?`, `host?`.
    Elicitation,
}

pub(crate) fn shape(method: &str) -> Shape {
    match method {
        TOOLS_CALL => Shape::Tool,
        "resources/read" | "resources/subscribe" | "resources/unsubscribe" | "notifications/resources/updated" => {
            Shape::Resource
        }
        "completion/complete" => Shape::Completion,
        "elicitation/create" => Shape::Elicitation,
        "prompts/get"
        | "tasks/get"
        | "tasks/cancel"
        | "tasks/result"
        | "tasks/update"
        | "notifications/tasks/status"
        | "notifications/tasks" => Shape::Named,
        _ => Shape::Plain,
    }
}

/// Every method action, pseudo-methods included, `unknown` last.
pub(crate) fn methods() -> impl Iterator<Item = &'static str> {
    METHODS.iter().map(|info| info.name).chain([STREAM_OPEN, SESSION_CLOSE, UNKNOWN])
}

/// The action of a message. `answer`: it answers a request of that method, which travelled the other way. The pseudo-methods are
/// never the action of a message: only the gateway itself says those words.
pub(crate) fn action_of(method: &str, direction: Direction, answer: bool) -> &'static str {
    let asked = match (answer, direction) {
        (false, direction) => direction,
        (true, Direction::ToServer) => Direction::ToClient,
        (true, Direction::ToClient) => Direction::ToServer,
    };
    method_info(method, asked).map_or(UNKNOWN, |info| info.name)
}

/// The groups a method action is in.
pub(crate) fn groups(method: &str) -> Vec<&'static str> {
    let mut groups = Vec::new();
    if reads(method) {
        groups.push("read");
    }
    if is_protocol(method) {
        groups.push("protocol");
    }
    if METHODS.iter().any(|info| info.name == method && info.kind == MethodKind::Notification) {
        groups.push("notification");
    }
    if asks_client(method) {
        groups.push("server-request");
    }
    groups
}

/// Methods that look and change nothing.
fn reads(method: &str) -> bool {
    matches!(
        method,
        "tools/list"
            | "prompts/list"
            | "prompts/get"
            | "resources/list"
            | "resources/templates/list"
            | "resources/read"
            | "resources/subscribe"
            | "resources/unsubscribe"
            | "subscriptions/listen"
            | "completion/complete"
            | "tasks/get"
            | "tasks/result"
            | "tasks/list"
            | "ping"
            | "server/discover"
    )
}

/// What the protocol needs to run at all.
fn is_protocol(method: &str) -> bool {
    matches!(
        method,
        "initialize"
            | "notifications/initialized"
            | "server/discover"
            | "ping"
            | "logging/setLevel"
            | "tasks/cancel"
            | "subscriptions/listen"
            | "notifications/subscriptions/acknowledged"
            | "notifications/cancelled"
            | "notifications/progress"
            | STREAM_OPEN
            | SESSION_CLOSE
    )
}

/// What a server asks of the client: legacy requests, and members of `inputRequests` in the modern era (C58, C59).
pub(crate) fn asks_client(method: &str) -> bool {
    matches!(method, "sampling/createMessage" | "elicitation/create" | "roots/list")
}

/// Name of a direction in policies.
pub(crate) const fn direction_word(direction: Direction) -> &'static str {
    match direction {
        Direction::ToServer => "to_server",
        Direction::ToClient => "to_client",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_method_sent_the_wrong_way_is_unknown() {
        assert_eq!(action_of("tools/call", Direction::ToServer, false), "tools/call");
        assert_eq!(action_of("tools/call", Direction::ToClient, false), UNKNOWN);
        assert_eq!(action_of("sampling/createMessage", Direction::ToServer, true), "sampling/createMessage");
        assert_eq!(action_of("sampling/createMessage", Direction::ToServer, false), UNKNOWN);
        assert_eq!(action_of(STREAM_OPEN, Direction::ToServer, false), UNKNOWN);
        assert_eq!(action_of("Tools/Call", Direction::ToServer, false), UNKNOWN);
    }

    #[test]
    fn every_method_of_the_table_is_an_action_once() {
        let mut all: Vec<_> = methods().collect();
        let count = all.len();
        all.sort_unstable();
        all.dedup();
        assert_eq!(all.len(), count);
        assert!(METHODS.iter().all(|info| all.contains(&info.name)));
    }
}
