//! The table against the requirements it was written from.

use std::collections::HashSet;

use super::*;

#[test]
fn no_method_is_listed_twice() {
    let names: HashSet<_> = METHODS.iter().map(|info| info.name).collect();
    assert_eq!(names.len(), METHODS.len());
}

#[test]
fn notifications_are_what_their_name_says() {
    for info in METHODS {
        let is_notification = info.kind == MethodKind::Notification;
        assert_eq!(info.name.starts_with("notifications/"), is_notification, "{}", info.name);
    }
}

/// A38, A39: a method sent the wrong way is unknown.
#[test]
fn direction_decides_what_is_known() {
    for name in ["tools/call", "initialize", "completion/complete", "server/discover", "subscriptions/listen"] {
        assert!(method_info(name, Direction::ToServer).is_some(), "{name}");
        assert!(method_info(name, Direction::ToClient).is_none(), "{name}");
    }
    for name in ["sampling/createMessage", "roots/list", "elicitation/create", "notifications/tasks"] {
        assert!(method_info(name, Direction::ToServer).is_none(), "{name}");
        assert!(method_info(name, Direction::ToClient).is_some(), "{name}");
    }
    for name in ["ping", "tasks/get", "notifications/cancelled", "notifications/progress"] {
        assert!(method_info(name, Direction::ToServer).is_some(), "{name}");
        assert!(method_info(name, Direction::ToClient).is_some(), "{name}");
    }
    assert!(method_info("Tools/Call", Direction::ToServer).is_none());
    assert!(method_info("tools/call ", Direction::ToServer).is_none());
}

/// C20, C81: what the modern era does not have.
#[test]
fn legacy_methods_are_not_modern() {
    for name in [
        "initialize",
        "ping",
        "logging/setLevel",
        "resources/subscribe",
        "resources/unsubscribe",
        "tasks/list",
        "tasks/result",
    ] {
        assert_eq!(any_way(name.as_bytes()).unwrap().eras, Eras::Legacy, "{name}");
    }
    for name in ["server/discover", "subscriptions/listen", "tasks/update"] {
        assert_eq!(any_way(name.as_bytes()).unwrap().eras, Eras::Modern, "{name}");
    }
}
