//! Entries of a key file as text: added at the end, taken out by their lines, so that remarks and order stay as somebody wrote them and a
//! change is a small one to review. Whether the result means what it should is for the caller to check.

use portcullis_core::own::quoted;
use portcullis_server::ApiKey;

use crate::config::key_file::KeyFile;

const HEAD: &str = "\
# Who may call, and the SHA-256 of each key. `portcullis keys` adds and removes entries; editing by hand is fine too. A running gateway
# takes changes up within seconds, and keeps the old keys in force while something here is wrong.

";

/// One entry, each line behind `indent`. A JSON string is a YAML string, whatever is in it.
pub(super) fn entry(key: &ApiKey, indent: &str) -> String {
    let mut lines = vec![format!("- name: {}", quoted(&key.name)), format!("  sha256: {}", key.sha256)];
    let list = |words: &[String]| words.iter().map(|word| quoted(word)).collect::<Vec<_>>().join(", ");
    if !key.groups.is_empty() {
        lines.push(format!("  groups: [{}]", list(&key.groups)));
    }
    if let Some(expires) = &key.expires {
        lines.push(format!("  expires: {}", quoted(&expires.to_string())));
    }
    if !key.servers.is_empty() {
        lines.push(format!("  servers: [{}]", list(&key.servers)));
    }
    lines.iter().map(|line| format!("{indent}{line}\n")).collect()
}

/// The text with one more entry.
pub(super) fn with(text: &str, key: &ApiKey) -> String {
    let head = if text.is_empty() { HEAD } else { text };
    let end = if head.ends_with('\n') { "" } else { "\n" };
    format!("{head}{end}{}", entry(key, ""))
}

/// The text without one entry and the remark right above it. `None` when its lines cannot be told.
pub(super) fn without(file: &KeyFile, index: usize) -> Option<String> {
    let line = |index| file.line(index).and_then(|line| usize::try_from(line).ok()?.checked_sub(1));
    let lines: Vec<_> = file.text.split_inclusive('\n').collect();
    let first = line(index)?;
    let next = line(index + 1).unwrap_or(lines.len());
    let blank = |line: &&&str| line.trim().is_empty();
    let remark = |line: &&&str| line.trim_start().starts_with('#');
    // What stands between two entries is about the second.
    let own = lines.get(first..next)?.iter().rposition(|line| !blank(&line) && !remark(&line))?;
    let above = lines.get(..first)?.iter().rev().take_while(remark).count();
    // At the top of the file it is about the file.
    let above = if above == first { 0 } else { above };
    let kept = lines.iter().take(first - above).chain(lines.iter().skip(first + own + 1));
    Some(kept.copied().collect())
}
