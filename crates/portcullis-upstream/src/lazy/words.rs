//! What a server is not asked for: the answer to `initialize` from what it once said, and messages that mean nothing to a server without a session.

use portcullis_core::catalogue::Hello;
use portcullis_core::version::Version;
use portcullis_core::wire::{Kind, Message};

/// The levels of RFC 5424 that `logging/setLevel` takes. A server answers for any other itself.
const LEVELS: [&str; 8] = ["debug", "info", "notice", "warning", "error", "critical", "alert", "emergency"];

/// The result of `initialize`. The version is what the server would have answered: the client's, unless that is newer than the server's own.
pub(super) fn greeting(hello: &Hello, asked: Version) -> String {
    let version = hello.newest_legacy().map_or(asked, |newest| newest.min(asked));
    let mut text = format!(r#"{{"protocolVersion":"{version}","capabilities":{}"#, raw(&hello.capabilities));
    for (name, value) in [("serverInfo", &hello.server_info), ("instructions", &hello.instructions)] {
        if let Some(value) = value {
            text.push_str(&format!(r#","{name}":{}"#, raw(value)));
        }
    }
    text.push('}');
    text
}

/// It was read from a message, so it is UTF-8.
fn raw(json: &[u8]) -> &str {
    str::from_utf8(json).unwrap_or("null")
}

/// Whether it sets a level that every server knows.
pub(super) fn is_level(message: &Message) -> bool {
    let level = message.param("level").and_then(|level| level.as_str());
    level.is_some_and(|level| LEVELS.contains(&level.as_ref()))
}

/// Whether a message is about what was said in the session before. A server that does not know the session has no use for it: it asked for no
/// answer, works on nothing that could be cancelled, and reads the roots when it wants them.
pub(super) fn is_about_a_session(message: &Message) -> bool {
    match message.kind() {
        Kind::Result | Kind::Error => true,
        Kind::Notification => matches!(
            message.method(),
            Some("notifications/cancelled" | "notifications/progress" | "notifications/roots/list_changed")
        ),
        Kind::Request => false,
    }
}
