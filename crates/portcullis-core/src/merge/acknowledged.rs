//! What several servers honour of one `subscriptions/listen` (C70).

use bytes::Bytes;

use super::META_SUBSCRIPTION;
use super::capabilities::object;
use crate::own::{notification, quoted};
use crate::wire::{Id, JsonKind, View};

/// One acknowledgement of all: `params` of each server's, in the clients' words. Kinds that one of them honours are honoured; subscriptions
/// and tasks, which belong to one server each, stand one after the other.
#[must_use]
pub fn acknowledged(id: &Id, params: &[View<'_>]) -> Bytes {
    let of = |key: &str| params.iter().filter_map(|params| params.get(key)).collect::<Vec<_>>();
    let honoured = object(&of("notifications"), |_, values| value(values));
    let tasks = of("taskIds");
    let tasks = if tasks.is_empty() { String::new() } else { format!(r#","taskIds":{}"#, value(&tasks)) };
    let meta = format!(r#""_meta":{{{}:{}}}"#, quoted(META_SUBSCRIPTION), id.raw());
    notification(
        "notifications/subscriptions/acknowledged",
        &format!(r#"{{{meta},"notifications":{honoured}{tasks}}}"#),
    )
}

fn value(values: &[View<'_>]) -> String {
    let all = |kind: JsonKind| values.iter().all(|value| value.kind() == kind);
    if all(JsonKind::Array) {
        let items: Vec<&str> = values.iter().flat_map(|array| array.elements()).map(View::text).collect();
        format!("[{}]", items.join(","))
    } else if all(JsonKind::Bool) {
        values.iter().any(|value| value.as_bool() == Some(true)).to_string()
    } else {
        values.first().map(|value| value.text()).unwrap_or_default().to_owned()
    }
}
