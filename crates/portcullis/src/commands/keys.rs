//! `portcullis keys`: random keys for callers, the file they are kept in, and what is in it. A key itself is printed once and stored nowhere.

mod entry;
mod list;
mod store;

use std::path::{Path, PathBuf};

use portcullis_core::clock::{Clock, Timestamp};
use portcullis_core::own::{hex, quoted};
use portcullis_server::{ApiKey, Expiry, SystemClock};
use rustls::crypto::aws_lc_rs;
use sha2::{Digest, Sha256};

use self::store::Held;
use crate::cli::{KeyStoreArgs, KeysListArgs, KeysNewArgs, KeysRevokeArgs};
use crate::commands::{config_failure, said};
use crate::config::key_file::{KeyFile, complaints};
use crate::config::{Config, WrittenCallers, nearest};
use crate::exit::{Exit, Failure};
use crate::finding::Finding;
use crate::out::{self, DIM, Styled, escaped};

/// 256 bits: nothing shorter can be guessed from its hash either, so a fast hash is enough.
const KEY_BYTES: usize = 32;
/// Tells secret scanners and people what the string is.
const PREFIX: &str = "pck_";
/// A century. What is meant to be longer is meant to be never.
const LONGEST_DAYS: u64 = 36_500;
const DAY: u64 = 86_400_000;

/// Makes a key; stores its entry where a file is named, prints it otherwise.
pub(crate) fn new(args: &KeysNewArgs) -> Result<Exit, Failure> {
    let now = SystemClock.now();
    let expires = args.expires.as_deref().map(|text| expiry(text, now)).transpose()?;
    let secret = secret()?;
    let key = ApiKey {
        name: args.name.clone(),
        sha256: hex(&Sha256::digest(secret.as_bytes())),
        groups: args.groups.clone(),
        expires,
        servers: args.servers.clone(),
    };
    if let Some(finding) = complaints(std::slice::from_ref(&key), None, None).into_iter().next() {
        return Err(unusable(finding));
    }
    if args.store.file.is_none() && args.store.config.is_none() {
        print(&secret, &key)?;
        return Ok(Exit::Success);
    }
    let (file, beside) = place(&args.store)?;
    if beside.iter().any(|beside| beside.identity.keys.iter().any(|other| other.name == key.name)) {
        return Err(taken(&key.name, &args.store));
    }
    let held = Held::or_new(&file).map_err(|error| unwritable(&file, &error))?;
    let kept = KeyFile::parse(file.display().to_string(), held.text.clone()).map_err(|finding| wrong(*finding))?;
    if kept.keys.iter().any(|other| other.name == key.name) {
        return Err(taken(&key.name, &args.store));
    }
    let text = entry::with(&kept.text, &key);
    let mut expected = kept.keys;
    expected.push(key.clone());
    put(held, &kept.name, text, &expected)?;

    out::line(&secret)?;
    let ends = key.expires.as_ref().map_or_else(String::new, |end| format!(", good until {}", last_moment(end)));
    out::note(format_args!("`{}` is in {}{ends}", escaped(&key.name), kept.name));
    out::note("Give the key to the caller; it is shown only now. Sent as `Authorization: Bearer KEY`.");
    out::note(format_args!("In policies: Mcp::Caller::{}", quoted(&key.name)));
    Ok(Exit::Success)
}

/// Lists the keys of a file, or of a configuration and its file.
pub(crate) fn list(args: &KeysListArgs) -> Result<Exit, Failure> {
    let beside = written(&args.store)?;
    let file = match (&args.store.file, &beside) {
        (Some(file), _) => Some(file.as_path()),
        (None, Some(beside)) => beside.identity.key_file.as_deref(),
        (None, None) => return Err(nowhere()),
    };
    let file = file.map(KeyFile::read).transpose().map_err(|finding| wrong(*finding))?;
    let (keys, origin) =
        beside.as_ref().map_or((&[][..], None), |beside| (&beside.identity.keys, Some(&beside.origin)));
    let findings = complaints(keys, origin, file.as_ref());
    if !findings.is_empty() {
        return Err(said(&findings, Exit::Usage));
    }
    let of_config = origin.into_iter().flat_map(|origin| keys.iter().map(|key| (key, origin.name.as_str())));
    let of_file = file.iter().flat_map(|file| file.keys.iter().map(|key| (key, file.name.as_str())));
    let keys: Vec<_> = of_config.chain(of_file).collect();
    list::show(&keys, SystemClock.now(), args.json)?;
    Ok(Exit::Success)
}

/// Removes a key from its file.
pub(crate) fn revoke(args: &KeysRevokeArgs) -> Result<Exit, Failure> {
    let (file, beside) = place(&args.store)?;
    let held = Held::existing(&file).map_err(|error| unwritable(&file, &error))?;
    let kept = KeyFile::parse(file.display().to_string(), held.text.clone()).map_err(|finding| wrong(*finding))?;
    let Some(index) = kept.keys.iter().position(|key| key.name == args.name) else {
        return Err(unknown(&args.name, &kept, beside.as_ref()));
    };
    let text = entry::without(&kept, index).ok_or_else(|| by_hand(&kept.name))?;
    let mut expected = kept.keys;
    expected.remove(index);
    put(held, &kept.name, text, &expected)?;
    out::note(format_args!("`{}` is taken out of {}; {} left", escaped(&args.name), kept.name, expected.len()));
    out::note("A running gateway refuses the key within seconds.");
    Ok(Exit::Success)
}

/// Writes a file that was edited as text, once it is proven to say what was meant.
fn put(held: Held, name: &str, text: String, expected: &[ApiKey]) -> Result<(), Failure> {
    match KeyFile::parse(name.to_owned(), text) {
        Ok(edited) if edited.keys == expected => {
            held.replace(&edited.text).map_err(|error| Failure::new(format!("cannot write `{name}`: {error}")))
        }
        Ok(_) | Err(_) => Err(by_hand(name)),
    }
}

/// The configuration that was named, as it is written.
fn written(store: &KeyStoreArgs) -> Result<Option<WrittenCallers>, Failure> {
    store.config.as_deref().map(Config::callers).transpose().map_err(config_failure)
}

/// The key file, and the configuration that led there.
fn place(store: &KeyStoreArgs) -> Result<(PathBuf, Option<WrittenCallers>), Failure> {
    let beside = written(store)?;
    let file = match (&store.file, &beside) {
        (Some(file), _) => file.clone(),
        (None, Some(WrittenCallers { origin, identity })) => identity.key_file.clone().ok_or_else(|| {
            Failure::usage(format!("`{}` names no key file", origin.name))
                .help("add `key_file: keys.yaml` under `identity`, or name a file with `--file`")
        })?,
        (None, None) => return Err(nowhere()),
    };
    Ok((file, beside))
}

fn nowhere() -> Failure {
    Failure::usage("which keys?").help("name a key file with `--file FILE`, or a configuration with `--config FILE`")
}

fn unwritable(file: &Path, error: &std::io::Error) -> Failure {
    let failure = Failure::usage(format!("cannot open `{}`: {error}", file.display()));
    match error.kind() {
        std::io::ErrorKind::NotFound => {
            failure.help("`portcullis keys new NAME --file FILE` makes one; its folder must exist")
        }
        _ => failure.help("it must be a file that you may write"),
    }
}

/// A file that is wrong already, said with its place.
fn wrong(finding: Finding) -> Failure {
    said(&[finding], Exit::Usage)
}

/// What was typed cannot be in a file.
fn unusable(finding: Finding) -> Failure {
    let failure = Failure::usage(finding.text);
    match finding.help {
        Some(help) => failure.help(help),
        None => failure,
    }
}

fn taken(name: &str, store: &KeyStoreArgs) -> Failure {
    let option = store.file.as_ref().map_or("--config", |_| "--file");
    Failure::usage(format!("there is a key of `{}` already", escaped(name)))
        .help(format!("`portcullis keys list {option} FILE` shows it; revoke it first to replace it"))
}

fn unknown(name: &str, kept: &KeyFile, beside: Option<&WrittenCallers>) -> Failure {
    let inline = beside.and_then(|beside| beside.identity.keys.iter().any(|key| key.name == name).then_some(beside));
    if let Some(WrittenCallers { origin, .. }) = inline {
        return Failure::usage(format!("the key of `{}` stands in `{}` itself", escaped(name), origin.name))
            .help("remove its entry under `identity.keys` there, then send the gateway SIGHUP");
    }
    let failure = Failure::usage(format!("there is no key of `{}` in {}", escaped(name), kept.name));
    match nearest(name, kept.keys.iter().map(|key| key.name.as_str())) {
        Some(near) => failure.help(format!("did you mean `{}`?", escaped(near))),
        None => failure.help("`portcullis keys list` shows all"),
    }
}

/// YAML can be written in ways that lines do not show.
fn by_hand(name: &str) -> Failure {
    Failure::usage(format!("`{name}` is not written as one entry after another, so it was left as it is"))
        .help("begin each entry with `- name: …` at the start of a line, or make the change by hand")
}

fn secret() -> Result<String, Failure> {
    let mut secret = [0; KEY_BYTES];
    aws_lc_rs::default_provider()
        .secure_random
        .fill(&mut secret)
        .map_err(|_| Failure::new("the operating system gives no random bytes"))?;
    Ok(format!("{PREFIX}{}", hex(&secret)))
}

/// `90d`, or what the file takes; never the past.
fn expiry(text: &str, now: Timestamp) -> Result<Expiry, Failure> {
    let wrong =
        |why: String| Failure::usage(why).help("write something like `90d`, `2027-01-31` or `2027-01-31T18:00:00Z`");
    let days = text.strip_suffix('d').and_then(|days| days.parse().ok()).filter(|days| *days <= LONGEST_DAYS);
    let moment = days.map(|days: u64| {
        // Whole seconds are plenty, and shorter to read.
        let end = Timestamp((now.0 / 1000 * 1000).saturating_add(days * DAY));
        end.to_string().replace(".000Z", "Z")
    });
    let expiry = Expiry::parse(moment.as_deref().unwrap_or(text)).map_err(wrong)?;
    if expiry.at() <= now {
        return Err(wrong(format!("`{}` is over already", escaped(text))));
    }
    Ok(expiry)
}

/// A date lasts to its end, which is said where somebody may wonder.
fn last_moment(expiry: &Expiry) -> String {
    let text = expiry.to_string();
    if text.contains(['T', 't']) { text } else { format!("the end of {text} (UTC)") }
}

/// For whoever keeps keys in the configuration itself.
fn print(secret: &str, key: &ApiKey) -> Result<(), Failure> {
    let advice = "# Give this key to the caller; it is shown only now. Sent as `Authorization: Bearer …`.";
    out::line(format_args!("{}", Styled(DIM, advice)))?;
    out::line(format_args!("# key: {secret}"))?;
    out::line("identity:\n  keys:")?;
    out::raw(&entry::entry(key, "    "))?;
    Ok(())
}

#[cfg(test)]
mod tests;
