//! Keys for people and for scripts. Neither gets a whole hash: what is not shown is not copied into tickets.

use portcullis_core::clock::Timestamp;
use portcullis_server::ApiKey;
use serde::Serialize;

use crate::exit::Failure;
use crate::out::{self, BAD, GOOD, PLAIN, STRONG, Styled, escaped};

/// Hexadecimal digits of a hash that are shown: enough to tell keys apart.
const SHOWN: usize = 12;
/// Column of the table.
const STATE: usize = 4;

/// One key, as scripts read it.
#[derive(Serialize)]
struct Row<'a> {
    name: &'a str,
    groups: &'a [String],
    servers: &'a [String],
    /// As written; `null`: never.
    expires: Option<String>,
    state: &'static str,
    sha256_prefix: &'a str,
    /// Where it stands.
    file: &'a str,
}

/// Prints keys, each with the file it stands in.
pub(super) fn show(keys: &[(&ApiKey, &str)], now: Timestamp, json: bool) -> Result<(), Failure> {
    let rows: Vec<_> = keys.iter().map(|(key, file)| row(key, file, now)).collect();
    if json {
        let text = serde_json::to_string_pretty(&rows).map_err(|error| Failure::new(error.to_string()))?;
        out::line(text)?;
        return Ok(());
    }
    if rows.is_empty() {
        out::note("no keys; `portcullis keys new NAME` makes one");
        return Ok(());
    }
    table(&rows)
}

fn row<'a>(key: &'a ApiKey, file: &'a str, now: Timestamp) -> Row<'a> {
    let over = key.expires.as_ref().is_some_and(|end| now >= end.at());
    Row {
        name: &key.name,
        groups: &key.groups,
        servers: &key.servers,
        expires: key.expires.as_ref().map(ToString::to_string),
        state: if over { "expired" } else { "valid" },
        sha256_prefix: key.sha256.get(..SHOWN).unwrap_or_default(),
        file,
    }
}

fn table(rows: &[Row<'_>]) -> Result<(), Failure> {
    let words = |words: &[String], none: &str| {
        if words.is_empty() { none.to_owned() } else { escaped(&words.join(", ")) }
    };
    let head = ["NAME", "GROUPS", "SERVERS", "EXPIRES", "STATE", "SHA-256", "FILE"].map(str::to_owned);
    let cells = rows.iter().map(|row| {
        let expires = row.expires.clone().unwrap_or_else(|| "never".to_owned());
        let (name, file) = (escaped(row.name), escaped(row.file));
        let (groups, servers) = (words(row.groups, "-"), words(row.servers, "all"));
        [name, groups, servers, expires, row.state.to_owned(), format!("{}…", row.sha256_prefix), file]
    });
    let all: Vec<[String; 7]> = std::iter::once(head).chain(cells).collect();
    let mut widths = [0; 7];
    for line in &all {
        // Nothing stands right of the last column.
        for (width, cell) in widths.iter_mut().zip(line).take(6) {
            *width = cell.chars().count().max(*width);
        }
    }
    for (index, line) in all.iter().enumerate() {
        let mut text = String::new();
        for (column, (cell, width)) in line.iter().zip(widths).enumerate() {
            let style = match (index, column, cell.as_str()) {
                (0, _, _) => STRONG,
                (_, STATE, "valid") => GOOD,
                (_, STATE, _) => BAD,
                _ => PLAIN,
            };
            text.push_str(&format!("{}  ", Styled(style, format_args!("{cell:<width$}"))));
        }
        out::line(text.trim_end())?;
    }
    Ok(())
}
