//! What must not be stored even when content is: values that are named like secrets or look like them. Errs towards removing too much.
//!
//! This is a second line of defence. The first is that content is not stored at all unless the operator asks for it.

use std::borrow::Cow;

#[cfg(test)]
mod tests;

/// Stands where a value was.
pub(crate) const REDACTED: &str = "[redacted]";

/// Compared against names without `-`, `_`, spaces and letter case; a name that *contains* one of these is secret.
const SECRET_NAMES: &[&str] = &[
    "accesskey",
    "apikey",
    "authorization",
    "bearer",
    "clientsecret",
    "connectionstring",
    "cookie",
    "credential",
    "mnemonic",
    "onetimecode",
    "passphrase",
    "passwd",
    "password",
    "privatekey",
    "pwd",
    "refreshtoken",
    "secret",
    "sessionid",
    "signingkey",
    "token",
];

/// How well-known secrets begin. Each is specific enough not to occur in ordinary prose.
const SECRET_STARTS: &[&str] = &[
    "-----BEGIN",
    "AIza",
    "AKIA",
    "ASIA",
    "Basic ",
    "Bearer ",
    "bearer ",
    "eyJ",
    "ghp_",
    "gho_",
    "ghs_",
    "ghu_",
    "github_pat_",
    "glpat-",
    "hf_",
    "npm_",
    "pypi-",
    "rk_live_",
    "sk-",
    "sk_live_",
    "sk_test_",
    "whsec_",
    "xapp-",
    "xoxb-",
    "xoxp-",
    "ya29.",
];

/// JSON text with every secret value replaced. Text that is not JSON after all is dropped whole.
pub(crate) fn json(text: &str) -> String {
    if serde_json::from_str::<serde::de::IgnoredAny>(text).is_err() {
        return REDACTED.to_owned();
    }
    Redactor { rest: text, out: String::with_capacity(text.len()) }.run().unwrap_or_else(|| REDACTED.to_owned())
}

/// Free text (a line a child process wrote): dropped whole when any part looks secret.
pub(crate) fn line(text: &str) -> &str {
    if looks_secret(text) { REDACTED } else { text }
}

/// A name or URI: a secret in the query hides the query, anything else that looks secret hides the name.
pub(crate) fn name(text: &str) -> Cow<'_, str> {
    if !looks_secret(text) {
        return Cow::Borrowed(text);
    }
    match text.split_once('?') {
        Some((path, _)) if !looks_secret(path) => Cow::Owned(format!("{path}?{REDACTED}")),
        Some(_) | None => Cow::Borrowed(REDACTED),
    }
}

fn is_secret_name(name: &str) -> bool {
    let plain: String =
        name.chars().filter(|char| !matches!(char, '-' | '_' | ' ')).flat_map(char::to_lowercase).collect();
    // `max_tokens` and `token_count` are everyday arguments of language tools.
    let counts = plain.ends_with("tokens") || plain.ends_with("tokencount");
    !counts && SECRET_NAMES.iter().any(|secret| plain.contains(secret))
}

fn looks_secret(text: &str) -> bool {
    // Every name in the log comes here, and nearly all are plain words, in which nothing is assigned.
    let separated = text.bytes().any(|byte| matches!(byte, b'=' | b':'));
    starts_like_a_secret(text) || (separated && (assigns_a_secret(text) || has_password_in_url(text)))
}

fn starts_like_a_secret(text: &str) -> bool {
    let mut before = None;
    text.char_indices().any(|(at, char)| {
        // Only where a word begins: that is where secrets begin, and nearly every place in a text is none.
        let begins = before.replace(char).is_none_or(|before: char| !before.is_alphanumeric());
        begins && char.is_ascii() && is_secret(text.get(at..).unwrap_or_default())
    })
}

/// Whether `text` begins with a secret.
fn is_secret(text: &str) -> bool {
    let first = text.as_bytes().first();
    SECRET_STARTS.iter().filter(|start| start.as_bytes().first() == first).any(|start| {
        text.strip_prefix(start).is_some_and(|after| {
            // Eight suffice; counting on would make a text of nothing but such beginnings quadratic.
            let long = after.bytes().take(8).filter(u8::is_ascii_graphic).count() == 8;
            long || start.starts_with("-----")
        })
    })
}

/// `password=…`, `"api_key": "…"`, also inside JSON inside a string.
fn assigns_a_secret(text: &str) -> bool {
    text.match_indices(['=', ':']).any(|(at, _)| {
        let before = text.get(..at).unwrap_or_default().trim_end_matches(['"', '\'', '\\', ' ']);
        let start = before
            .rfind(|char: char| !(char.is_alphanumeric() || matches!(char, '-' | '_')))
            .map_or(0, |found| found + 1);
        let after = text.get(at + 1..).unwrap_or_default().trim_start();
        // The byte after a found separator may lie inside a longer character; such a name is not ASCII and thus not on the list.
        before.get(start..).is_some_and(is_secret_name) && !after.is_empty() && !after.starts_with("//")
    })
}

/// `scheme://user:password@host`.
fn has_password_in_url(text: &str) -> bool {
    text.match_indices("://").any(|(at, separator)| {
        let authority = text.get(at + separator.len()..).unwrap_or_default();
        let authority = authority.split(['/', '?', '#', ' ', '"']).next().unwrap_or_default();
        authority.rsplit_once('@').is_some_and(|(user, _)| user.contains(':'))
    })
}

/// Copies JSON text and replaces values on the way. The text is known to be JSON; anything odd would end the copy.
struct Redactor<'a> {
    rest: &'a str,
    out: String,
}

impl<'a> Redactor<'a> {
    fn run(mut self) -> Option<String> {
        while let Some(first) = self.rest.chars().next() {
            if first != '"' {
                self.take(first.len_utf8(), true)?;
                continue;
            }
            let literal = self.take(string_length(self.rest)?, false)?;
            let value: String = serde_json::from_str(literal).ok()?;
            let is_name = self.rest.trim_start().starts_with(':');
            if !is_name && looks_secret(&value) {
                self.put_redacted();
                continue;
            }
            self.out.push_str(literal);
            if is_name && is_secret_name(&value) {
                let colon = self.rest.find(':')?;
                self.take(colon + 1, true)?;
                let blank = self.rest.len() - self.rest.trim_start().len();
                self.take(blank, true)?;
                self.take(value_length(self.rest)?, false)?;
                self.put_redacted();
            }
        }
        Some(self.out)
    }

    fn put_redacted(&mut self) {
        self.out.push('"');
        self.out.push_str(REDACTED);
        self.out.push('"');
    }

    fn take(&mut self, length: usize, copy: bool) -> Option<&'a str> {
        let (taken, rest) = self.rest.split_at_checked(length)?;
        if copy {
            self.out.push_str(taken);
        }
        self.rest = rest;
        Some(taken)
    }
}

/// Bytes of the string literal that `text` begins with, quotes included.
fn string_length(text: &str) -> Option<usize> {
    let mut escaped = false;
    for (at, byte) in text.bytes().enumerate().skip(1) {
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = true,
            b'"' => return Some(at + 1),
            _ => {}
        }
    }
    None
}

/// Bytes of the value that `text` begins with; nesting is counted, never recursed into.
fn value_length(text: &str) -> Option<usize> {
    let mut depth = 0_usize;
    let mut at = 0;
    while let Some(byte) = text.as_bytes().get(at) {
        match byte {
            b'"' => at += string_length(text.get(at..)?)?,
            b'{' | b'[' => {
                depth += 1;
                at += 1;
            }
            b'}' | b']' => {
                if depth == 0 {
                    return Some(at);
                }
                depth -= 1;
                at += 1;
            }
            b',' if depth == 0 => return Some(at),
            _ => {
                at += 1;
                continue;
            }
        }
        if depth == 0 {
            return Some(at);
        }
    }
    (depth == 0 && at > 0).then_some(at)
}
