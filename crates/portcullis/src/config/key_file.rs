//! The file that `identity.key_file` names: a YAML list of keys, each written as under `identity.keys`. Read strictly, and judged
//! together with the keys of the configuration. Nothing is written here; `commands/keys` does that.

use std::fs;
use std::path::Path;

use portcullis_server::{ApiKey, IdentitySettings, KeyProblem, key_problems};

use super::{COMMAND_LINE, Origin, yaml};
use crate::finding::Finding;

/// A key file that was read.
#[derive(Clone)]
pub(crate) struct KeyFile {
    /// As the operator named it.
    pub(crate) name: String,
    pub(crate) text: String,
    pub(crate) keys: Vec<ApiKey>,
}

impl KeyFile {
    /// # Errors
    /// The file cannot be read, or the first thing in it that is wrong.
    pub(crate) fn read(path: &Path) -> Result<Self, Box<Finding>> {
        let name = path.display().to_string();
        let text = fs::read_to_string(path).map_err(|error| {
            let finding = Finding::error(&name, "identity.key_file", format!("cannot be read: {error}"));
            Box::new(finding.help(format!("`portcullis keys new NAME --file {name}` makes it")))
        })?;
        Self::parse(name, text)
    }

    /// # Errors
    /// The first thing that is wrong.
    pub(crate) fn parse(name: String, text: String) -> Result<Self, Box<Finding>> {
        let remark = |line: &str| line.trim_start().is_empty() || line.trim_start().starts_with('#');
        let keys = if text.lines().all(remark) { Vec::new() } else { yaml::read(&name, &text)? };
        Ok(Self { name, text, keys })
    }

    /// Line of the entry with this index, counted from 1.
    pub(crate) fn line(&self, index: usize) -> Option<u64> {
        yaml::locate(&self.text, &index.to_string()).map(|(line, _)| line)
    }
}

/// The keys of the key file, if there is one, fit to stand beside those of the configuration.
///
/// # Errors
/// Everything that is wrong with the keys of both places.
pub(crate) fn managed(identity: &IdentitySettings, origin: Option<&Origin>) -> Result<Vec<ApiKey>, Vec<Finding>> {
    let file = identity.key_file.as_deref().map(KeyFile::read).transpose();
    let (file, unread) = file.map_or_else(|finding| (None, Some(*finding)), |file| (file, None));
    let mut findings = complaints(&identity.keys, origin, file.as_ref());
    findings.extend(unread);
    if findings.is_empty() { Ok(file.map_or_else(Vec::new, |file| file.keys)) } else { Err(findings) }
}

/// What is wrong with the keys of both places, each complaint with its own.
pub(crate) fn complaints(written: &[ApiKey], origin: Option<&Origin>, file: Option<&KeyFile>) -> Vec<Finding> {
    let filed = file.map_or(&[][..], |file| &file.keys);
    let all = || written.iter().chain(filed);
    let elsewhere = all().enumerate().filter_map(|(index, key)| {
        let server = key.servers.iter().find(|server| !portcullis_policy::is_server_name(server))?;
        let (server, name) = (server.escape_debug(), key.name.escape_debug());
        let text = format!("`{server}` cannot be the name of a server (of `{name}`)");
        Some(KeyProblem { index, text, help: "write the server's name as in `upstream.name`" })
    });
    let finding = |KeyProblem { index, text, help }| {
        let (place, key) = match (index.checked_sub(written.len()), file) {
            (Some(index), Some(file)) => (Some((&file.name, &file.text)), index.to_string()),
            _ => (origin.map(|origin| (&origin.name, &origin.text)), format!("identity.keys.{index}")),
        };
        let name = place.map_or(COMMAND_LINE, |(name, _)| name);
        let found = place.and_then(|(_, text)| yaml::locate(text, &key));
        Finding::error(name, key, text).at(found).help(help)
    };
    key_problems(all()).into_iter().chain(elsewhere).map(finding).collect()
}

#[cfg(test)]
mod tests;
