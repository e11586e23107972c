use serde_json::{Value, json};

use super::*;
use crate::testing::{call, guard, passes};

fn cases() -> [(Value, bool); 11] {
    // (case, whether read-only permits it)
    [
        (json!({"method": "initialize"}), true),
        (json!({"method": "tools/list"}), true),
        (json!({"method": "stream/open"}), true),
        (json!({"method": "session/close"}), true),
        (json!({"method": "notifications/progress", "params": {"progressToken": 1, "progress": 1}}), true),
        (json!({"method": "resources/read", "uri": "notes://a"}), true),
        (json!({"tool": "list_notes"}), true),
        (json!({"tool": "pay", "arguments": {}}), false),
        (json!({"method": "made/up"}), false),
        (json!({"method": "sampling/createMessage"}), false),
        (json!({"method": "elicitation/create"}), false),
    ]
}

#[test]
fn observe_permits_everything_read_only_what_reads_and_closed_nothing() {
    let guards = PRESETS.map(|name| guard(preset(name).unwrap()));
    for (case, reads) in cases() {
        let message = call(case.clone());
        let [observe, read_only, closed] = &guards;
        let came = (passes(observe, &message), passes(read_only, &message), passes(closed, &message));
        assert_eq!(came, (true, reads, false), "{case}");
    }
    // Not even `observe` lets a call through that names what the server never showed.
    let missing = call(json!({"tool": "no_such_tool"}));
    assert!(guards.iter().all(|guard| !passes(guard, &missing)));
}
