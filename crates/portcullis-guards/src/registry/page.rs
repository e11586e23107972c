//! The reference page `docs/reference/guards.md`, made from the registry, the settings types and their doc comments.

use std::fmt::Write;

use serde_json::Value;

use super::Registration;
use crate::GUARDS;

/// The whole page as Markdown.
#[must_use]
pub fn reference() -> String {
    let mut page = String::from(
        "<!-- Generated from the guard registry; do not edit. -->\n\n# Guards\n\n\
         A guard judges calls, or watches the messages of a reply, or both. Each is `enforce` (decides), `shadow` (decides and \
         records, never blocks) or `off`, as the `guards` section of the configuration says:\n\n\
         ```yaml\nguards:\n  arguments: shadow        # short form\n  outputs:                 # with settings\n    mode: enforce\n    max_bytes: 1048576\n```\n\n\
         The phase fixes the order of judgement; configuration cannot change it.\n\n\
         | code | name | phase | default | what it does |\n|---|---|---|---|---|\n",
    );
    for registration in GUARDS {
        let about = registration.about;
        let _ = writeln!(
            page,
            "| {} | [`{}`](#{}) | {} | `{}` | {} |",
            about.code,
            about.name,
            about.name,
            about.phase.as_str(),
            registration.default_mode.as_str(),
            about.purpose
        );
    }
    for registration in GUARDS {
        section(&mut page, registration);
    }
    page
}

fn section(page: &mut String, registration: &Registration) {
    let about = registration.about;
    let _ = write!(
        page,
        "\n## {name}\n\n{purpose}\n\nCode `{code}`, phase *{phase}*. How it decides, case by case: \
         [`cases/{name}.md`](../../crates/portcullis-guards/cases/{name}.md).\n\n\
         | setting | default | meaning |\n|---|---|---|\n\
         | `guards.{name}.mode` | `{mode}` | `enforce`, `shadow` or `off` |\n",
        name = about.name,
        purpose = about.purpose,
        code = about.code,
        phase = about.phase.as_str(),
        mode = registration.default_mode.as_str(),
    );
    let schema = Value::from((registration.schema)());
    let defaults = (registration.defaults)();
    for (key, setting) in schema.get("properties").and_then(Value::as_object).into_iter().flatten() {
        let default = defaults.get(key).map(ToString::to_string).unwrap_or_default();
        let meaning = setting.get("description").and_then(Value::as_str).unwrap_or_default();
        let meaning = meaning.split_whitespace().collect::<Vec<_>>().join(" ");
        let _ = writeln!(page, "| `guards.{}.{key}` | `{default}` | {meaning} |", about.name);
    }
}
