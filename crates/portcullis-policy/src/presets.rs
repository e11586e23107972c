//! Policies that come with the binary. They are ordinary Cedar, shown by `policy show` and copied by `policy init`.

/// Names of all presets, the most permissive first.
pub const PRESETS: [&str; 3] = ["observe", "read-only", "closed"];

/// The Cedar text of a preset.
#[must_use]
pub fn preset(name: &str) -> Option<&'static str> {
    match name {
        "observe" => Some(include_str!("../presets/observe.cedar")),
        "read-only" => Some(include_str!("../presets/read-only.cedar")),
        "closed" => Some(include_str!("../presets/closed.cedar")),
        _ => None,
    }
}

#[cfg(test)]
mod tests;
