//! The methods of MCP, 2025-03-26 to 2026-07-28 and the tasks extension: what each is and what it names.
//! A method that is missing here is unknown; nothing in the reader guesses from a method's spelling.

use super::Direction;

/// Whether the method expects an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MethodKind {
    Request,
    Notification,
}

/// Who may send the method.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    ToServer,
    ToClient,
    Both,
}

/// The protocol eras that have the method: legacy is 2025-03-26 to 2025-11-25, modern is 2026-07-28.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Eras {
    Legacy,
    Modern,
    Both,
}

/// Where a message says what it is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NameSource {
    Nothing,
    /// `params.name`
    Name,
    /// `params.uri`
    Uri,
    /// `params.taskId`
    TaskId,
    /// `params.ref.name` of a `ref/prompt`, `params.ref.uri` of a `ref/resource`
    Ref,
}

/// One row of the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MethodInfo {
    pub name: &'static str,
    pub kind: MethodKind,
    pub direction: Way,
    pub names: NameSource,
    pub eras: Eras,
}

impl MethodInfo {
    /// Whether a message travelling in `direction` may carry this method.
    #[must_use]
    pub fn travels(&self, direction: Direction) -> bool {
        matches!(
            (self.direction, direction),
            (Way::Both, _) | (Way::ToServer, Direction::ToServer) | (Way::ToClient, Direction::ToClient)
        )
    }
}

/// The row for `name` in this direction. A method that only travels the other way is unknown here.
#[must_use]
pub fn method_info(name: &str, direction: Direction) -> Option<&'static MethodInfo> {
    any_way(name.as_bytes()).filter(|info| info.travels(direction))
}

/// The row for `name` whoever sent it: shape rules hold for a method sent the wrong way too.
pub(super) fn any_way(name: &[u8]) -> Option<&'static MethodInfo> {
    METHODS.iter().find(|info| info.name.as_bytes() == name)
}

const fn request(name: &'static str, direction: Way, names: NameSource, eras: Eras) -> MethodInfo {
    MethodInfo { name, kind: MethodKind::Request, direction, names, eras }
}

const fn notification(name: &'static str, direction: Way, names: NameSource, eras: Eras) -> MethodInfo {
    MethodInfo { name, kind: MethodKind::Notification, direction, names, eras }
}

/// Every known method, the busiest first because look-up is linear (A38, A39, C20, C41, C70, C75–C83).
pub const METHODS: &[MethodInfo] = &[
    request("tools/call", Way::ToServer, NameSource::Name, Eras::Both),
    request("tools/list", Way::ToServer, NameSource::Nothing, Eras::Both),
    notification("notifications/progress", Way::Both, NameSource::Nothing, Eras::Both),
    notification("notifications/message", Way::ToClient, NameSource::Nothing, Eras::Both),
    request("resources/read", Way::ToServer, NameSource::Uri, Eras::Both),
    request("prompts/get", Way::ToServer, NameSource::Name, Eras::Both),
    request("ping", Way::Both, NameSource::Nothing, Eras::Legacy),
    request("initialize", Way::ToServer, NameSource::Nothing, Eras::Legacy),
    notification("notifications/initialized", Way::ToServer, NameSource::Nothing, Eras::Legacy),
    notification("notifications/cancelled", Way::Both, NameSource::Nothing, Eras::Both),
    request("server/discover", Way::ToServer, NameSource::Nothing, Eras::Modern),
    request("subscriptions/listen", Way::ToServer, NameSource::Nothing, Eras::Modern),
    request("prompts/list", Way::ToServer, NameSource::Nothing, Eras::Both),
    request("resources/list", Way::ToServer, NameSource::Nothing, Eras::Both),
    request("resources/templates/list", Way::ToServer, NameSource::Nothing, Eras::Both),
    request("resources/subscribe", Way::ToServer, NameSource::Uri, Eras::Legacy),
    request("resources/unsubscribe", Way::ToServer, NameSource::Uri, Eras::Legacy),
    request("completion/complete", Way::ToServer, NameSource::Ref, Eras::Both),
    request("logging/setLevel", Way::ToServer, NameSource::Nothing, Eras::Legacy),
    // Legacy tasks run both ways; the modern extension has get, update and cancel, towards the server only (C81).
    request("tasks/get", Way::Both, NameSource::TaskId, Eras::Both),
    request("tasks/cancel", Way::Both, NameSource::TaskId, Eras::Both),
    request("tasks/result", Way::Both, NameSource::TaskId, Eras::Legacy),
    request("tasks/list", Way::Both, NameSource::Nothing, Eras::Legacy),
    request("tasks/update", Way::ToServer, NameSource::TaskId, Eras::Modern),
    // In the modern era these three travel inside `inputRequests`, never as messages of their own (C58, C59).
    request("sampling/createMessage", Way::ToClient, NameSource::Nothing, Eras::Legacy),
    request("elicitation/create", Way::ToClient, NameSource::Nothing, Eras::Legacy),
    request("roots/list", Way::ToClient, NameSource::Nothing, Eras::Legacy),
    notification("notifications/roots/list_changed", Way::ToServer, NameSource::Nothing, Eras::Legacy),
    notification("notifications/resources/updated", Way::ToClient, NameSource::Uri, Eras::Both),
    notification("notifications/resources/list_changed", Way::ToClient, NameSource::Nothing, Eras::Both),
    notification("notifications/tools/list_changed", Way::ToClient, NameSource::Nothing, Eras::Both),
    notification("notifications/prompts/list_changed", Way::ToClient, NameSource::Nothing, Eras::Both),
    notification("notifications/elicitation/complete", Way::ToClient, NameSource::Nothing, Eras::Legacy),
    notification("notifications/tasks/status", Way::Both, NameSource::TaskId, Eras::Legacy),
    notification("notifications/tasks", Way::ToClient, NameSource::TaskId, Eras::Modern),
    notification("notifications/subscriptions/acknowledged", Way::ToClient, NameSource::Nothing, Eras::Modern),
];

#[cfg(test)]
mod tests;
